"""Networks in torch of every kind that files are made of, each with an input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional


class Convolutions(nn.Module):
    """Batch norms, pools, residual sums, and convolutions of every kind."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.depthwise = nn.Conv2d(16, 16, 5, padding=2, groups=16)
        self.dilated = nn.Conv2d(16, 24, 3, padding=2, dilation=2)
        self.grouped = nn.Conv2d(24, 24, (1, 3), padding=(0, 1), groups=4)
        self.up = nn.ConvTranspose2d(24, 12, 4, 2, 1)
        self.up_grouped = nn.ConvTranspose2d(12, 12, 3, 2, 1, output_padding=1, groups=3, bias=False)
        self.average = nn.AvgPool2d(2)
        self.head = nn.Linear(12, 10)

    def forward(self, x: Any) -> Any:
        x = self.pool(self.stem(x))
        x = functional.hardswish(self.depthwise(x)) + x
        x = functional.leaky_relu(self.grouped(self.dilated(x)), 0.1)
        x = torch.cat([self.up(x)[:, :4], self.up(-x)[:, 4:]], 1)
        x = self.average(torch.tanh(self.up_grouped(x)))
        return self.head(functional.adaptive_avg_pool2d(x, 1).flatten(1))


class Signals(nn.Module):
    """Convolutions over one axis and over three."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv1d(4, 6, 5, stride=2)
        self.back = nn.ConvTranspose1d(6, 3, 3, stride=2)
        self.three = nn.Conv3d(1, 2, 3, padding=1)

    def forward(self, x: Any) -> Any:
        y = self.back(functional.relu(self.one(x)))
        return self.three(y[:, None, :, None, :]).sigmoid()


def perceptron() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(48, 32),
        nn.SELU(),
        nn.Linear(32, 32, bias=False),
        nn.ELU(),
        nn.Linear(32, 7),
        nn.Softmax(-1),
    )


class Block(nn.Module):
    """A transformer block over embedded tokens, its output tied to the table."""

    def __init__(self, width: int = 32, heads: int = 4) -> None:
        super().__init__()
        self.table = nn.Embedding(50, width)
        self.places = nn.Parameter(torch.zeros(1, 6, width))
        self.norm, self.after = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wide, self.narrow = nn.Linear(width, 64), nn.Linear(64, width)
        self.heads, self.width = heads, width
        self.readout = nn.Linear(width, 50, bias=False)
        self.readout.weight = self.table.weight

    def forward(self, tokens: Any) -> Any:
        x = self.table(tokens) + self.places
        n, length, _ = x.shape
        q, k, v = self.qkv(self.norm(x)).view(n, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        x = x + self.out(
            functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, length, self.width)
        )
        x = x + self.narrow(functional.gelu(self.wide(self.after(x))))
        return self.readout(x)


class Recurrent(nn.Module):
    """An LSTM of two layers in both directions, a GRU and a plain recurrent layer."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(8, 6, 2, bidirectional=True)
        self.gru = nn.GRU(12, 5, batch_first=False)
        self.plain = nn.RNN(5, 4, nonlinearity="relu", bias=False)

    def forward(self, x: Any) -> Any:
        return self.plain(self.gru(self.lstm(x)[0])[0])[0]


class Mixed(nn.Module):
    """Elementwise functions, reductions, products of tensors and norms without a layer of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.group = nn.GroupNorm(2, 8)
        self.slope = nn.PReLU(8)

    def forward(self, x: Any) -> Any:
        x = self.slope(self.group(x))
        y = torch.exp(-x).clamp(0.1, 3.0).sqrt() * 2.0 - x / 3.0
        y = torch.where(y > 0.5, y.abs(), y.pow(3)) + x.mean(dim=(2, 3), keepdim=True)
        z = functional.softplus(y).amax(dim=1).matmul(torch.log(y.sum(1).square() + 1.0).transpose(1, 2))
        return functional.interpolate(z[:, None], scale_factor=2.0, mode="nearest").cumsum(-1)


MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[Any, ...]]] = {
    "convolutions": (Convolutions, (1, 3, 32, 32)),
    "signals": (Signals, (2, 4, 21)),
    "perceptron": (perceptron, (2, 3, 4, 4)),
    "block": (Block, (2, 6, torch.int64)),
    "recurrent": (Recurrent, (5, 2, 8)),
    "mixed": (Mixed, (2, 8, 6, 6)),
}
"""Each network and the shape of its input, with a type where it is not floating."""


def made(name: str) -> tuple[nn.Module, torch.Tensor]:
    """Return a network with weights that differ everywhere, since exporters join equal ones, and its input."""
    build, shape = MODELS[name]
    torch.manual_seed(0)
    model = build().eval()
    for parameter in model.parameters():
        parameter.data.uniform_(0.1, 1.0)
    if shape[-1] is torch.int64:
        return model, torch.zeros(shape[:-1], dtype=torch.int64)
    return model, torch.rand(shape)
