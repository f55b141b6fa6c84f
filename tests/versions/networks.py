"""Small networks whose counts must not depend on the version of torch: what it fuses, decomposes or renames."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint


class Convolutions(nn.Module):
    """Strided, grouped, dilated, padded by name, transposed, in one, two and three dimensions, with norms."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 7, 2, 3, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True))
        self.depthwise = nn.Conv2d(16, 16, 3, padding="same", dilation=2, groups=16)
        self.grouped = nn.Conv2d(16, 32, 3, groups=4)
        self.up = nn.ConvTranspose2d(32, 8, 4, 2, 1, output_padding=1)
        self.line = nn.Conv1d(8, 4, 5, stride=2)
        self.cube = nn.Conv3d(1, 2, 3)
        self.norms = nn.ModuleList([nn.GroupNorm(4, 16), nn.InstanceNorm2d(32, affine=True)])
        self.weight_normed = parametrizations.weight_norm(nn.Conv2d(8, 8, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.norms[0](self.depthwise(self.stem(x))) + 1
        x = F.max_pool2d(F.gelu(self.norms[1](self.grouped(x))), 3, 2, ceil_mode=True)
        x = F.interpolate(self.weight_normed(self.up(x)), scale_factor=2, mode="bilinear")
        line = self.line(x.flatten(2)[:, :, :100])
        cube = self.cube(x[:, None, :, :8, :8])
        return line.mean() + cube.sum() + F.adaptive_avg_pool2d(x, 1).sum()


class Recurrent(nn.Module):
    """LSTMs and GRUs, stacked, both ways, with a projection, and cells in a loop."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(16, 24, num_layers=2, bidirectional=True, batch_first=True, proj_size=8)
        self.gru = nn.GRU(16, 12, num_layers=2, dropout=0.1)
        self.cell = nn.LSTMCell(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.lstm(x)
        z, _ = self.gru(y)
        state = (z.new_zeros(z.shape[1], 5), z.new_zeros(z.shape[1], 5))
        for step in z:
            state = self.cell(step, state)
        return state[0]


class Attention(nn.Module):
    """Every door to attention: the module, the encoder's fast path, the function, grouped heads, and by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(100, 32)
        self.mha = nn.MultiheadAttention(32, 4, batch_first=True)
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(32, 4, 64, batch_first=True), 2)
        self.decoder = nn.TransformerDecoderLayer(32, 4, 64, batch_first=True)
        self.qkv = nn.Linear(32, 64)
        self.norm = nn.RMSNorm(32)
        self.head = nn.Linear(32, 100, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embed(ids)
        x = x + self.mha(x, x, x)[0]
        x = self.decoder(self.encoder(x), x)
        q, k, v = (part.unflatten(-1, (-1, 8)).transpose(1, 2) for part in self.qkv(x).split([32, 16, 16], -1))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        k, v = (part.repeat_interleave(2, 1) for part in (k, v))
        mask = torch.ones(ids.shape[1], ids.shape[1], dtype=torch.bool).tril()
        weights = torch.softmax((q @ k.mT * 8**-0.5).masked_fill(~mask, float("-inf")), -1)
        by_hand = torch.einsum("bhqk,bhkd->bhqd", weights, v)
        return self.head(self.norm(x + (mixed + by_hand).transpose(1, 2).flatten(2)))


class Functions(nn.Module):
    """Products and elementwise work through functions, methods, operators, in place, vmap and a checkpoint."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.empty(16, 16))
        self.bilinear = nn.Bilinear(16, 16, 4)

    def forward(self, x: Tensor) -> Any:
        y = torch.addmm(x, x, self.w).mul_(2).clamp(min=0)
        y = checkpoint(lambda t: F.linear(t, self.w).sigmoid() * t, y, use_reentrant=False)
        mapped = torch.vmap(lambda row: self.w @ row)(y)
        windows = F.unfold(y[None, None], 3).transpose(1, 2) @ x.new_ones(9, 2)
        picked = y.index_select(0, torch.tensor([0, 2])).topk(3).values
        complex_ = torch.fft.rfft(y).abs() if not self.training else y
        loss = F.cross_entropy(y, torch.zeros(len(y), dtype=torch.int64))
        return (
            self.bilinear(x, y),
            mapped.logsumexp(0),
            windows,
            picked,
            torch.bmm(y[None], self.w[None]),
            complex_,
            loss,
        )
