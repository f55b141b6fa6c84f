"""Small models, one a habit of writing them: what other counters make of each is known only from running them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

Made = tuple[nn.Module, tuple[Tensor, ...]]


class Calls(nn.Module):
    """A module whose forward is a function of itself and its inputs."""

    def __init__(self, forward: Callable[..., Any], *modules: nn.Module, **weights: tuple[int, ...]) -> None:
        super().__init__()
        self.run = forward
        for i, module in enumerate(modules):
            self.add_module(f"m{i}", module)
        for name, shape in weights.items():
            self.register_parameter(name, nn.Parameter(torch.zeros(shape)))

    def forward(self, *inputs: Tensor) -> Any:
        return self.run(self, *inputs)


def fed(module: nn.Module, *shapes: tuple[int, ...]) -> Callable[[], Made]:
    return lambda: (module, tuple(torch.zeros(shape) for shape in shapes))


def stack(*modules: nn.Module) -> nn.Module:
    return nn.Sequential(*modules)


def in_two_parents() -> Made:
    shared = nn.Linear(6, 6)
    return stack(stack(shared, nn.ReLU()), stack(shared)), (torch.zeros(3, 6),)


def tied() -> Made:
    table, head = nn.Embedding(10, 6), nn.Linear(6, 10, bias=False)
    head.weight = table.weight
    return stack(table, head), (torch.zeros(2, 4, dtype=torch.int64),)


def attend(s: Any, x: Tensor, **options: Any) -> Tensor:
    made: Tensor = s.m0(x, x, x, **options)[0]
    return made


f = functional
SMALL: dict[str, Callable[[], Made]] = {
    "conv": fed(stack(nn.Conv2d(3, 8, 3, padding=1)), (1, 3, 8, 8)),
    "conv, batch norm, batch of 4": fed(
        stack(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU()), (4, 3, 8, 8)
    ),
    "padding same": fed(stack(nn.Conv2d(3, 8, 3, padding="same")), (1, 3, 8, 8)),
    "conv3d": fed(stack(nn.Conv3d(3, 4, 3), nn.BatchNorm3d(4), nn.MaxPool3d(2)), (1, 3, 8, 8, 8)),
    "conv1d": fed(
        stack(nn.Conv1d(3, 4, 3), nn.BatchNorm1d(4), nn.AvgPool1d(2), nn.AdaptiveAvgPool1d(3)), (2, 3, 20)
    ),
    "transposed": fed(stack(nn.ConvTranspose2d(4, 6, 3, stride=2)), (1, 4, 8, 8)),
    "transposed, grouped": fed(stack(nn.ConvTranspose2d(4, 4, 3, stride=2, groups=2)), (1, 4, 8, 8)),
    "functional conv": fed(Calls(lambda s, x: f.conv2d(x, s.w, s.b), w=(8, 3, 3, 3), b=(8,)), (1, 3, 8, 8)),
    "functional linear": fed(Calls(lambda s, x: f.linear(x, s.w), w=(8, 3)), (2, 5, 3)),
    "operator @": fed(Calls(lambda s, x: x @ s.w, w=(3, 8)), (2, 5, 3)),
    "torch.matmul": fed(Calls(lambda s, x: torch.matmul(x, s.w), w=(3, 8)), (2, 5, 3)),
    "broadcast matmul": fed(Calls(lambda s, x: torch.matmul(x, s.w), w=(2, 3, 4, 5)), (3, 6, 4)),
    "bmm": fed(Calls(lambda s, x: torch.bmm(x, x.transpose(1, 2)), w=(3, 8)), (2, 5, 3)),
    "einsum": fed(Calls(lambda s, x: torch.einsum("bij,jk->bik", x, s.w), w=(3, 8)), (2, 5, 3)),
    "einsum, no sum": fed(
        Calls(lambda s, x: torch.einsum("bi,bj->bij", s.m0(x), x), nn.Linear(6, 6)), (2, 6)
    ),
    "attention": fed(Calls(lambda s, x: f.scaled_dot_product_attention(x, x, x) * s.w, w=(1,)), (2, 4, 5, 8)),
    "attention, one head": fed(Calls(lambda s, x: f.scaled_dot_product_attention(x, x, x) * s.w, w=(1,)), (4, 5, 8)),
    "attention, wider values": fed(
        Calls(lambda s, x, v: f.scaled_dot_product_attention(x, x, v) * s.w, w=(1,)), (2, 4, 5, 8), (2, 4, 5, 6)
    ),
    "multi-head attention": fed(
        Calls(lambda s, x: attend(s, x, need_weights=False), nn.MultiheadAttention(8, 2, batch_first=True)), (2, 5, 8)
    ),
    "multi-head attention with weights": fed(Calls(attend, nn.MultiheadAttention(8, 2)), (5, 2, 8)),
    "encoder layer": fed(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (2, 5, 8)),
    "lstm": fed(Calls(lambda s, x: s.m0(x)[0], nn.LSTM(6, 5, 2, batch_first=True)), (2, 7, 6)),
    "lstm, both directions": fed(Calls(lambda s, x: s.m0(x)[0], nn.LSTM(6, 5, 2, bidirectional=True)), (7, 2, 6)),
    "gru": fed(Calls(lambda s, x: s.m0(x)[0], nn.GRU(6, 5, 1, bidirectional=True)), (7, 2, 6)),
    "rnn": fed(Calls(lambda s, x: s.m0(x)[0], nn.RNN(6, 5, 2)), (7, 2, 6)),
    "cells": fed(
        Calls(
            lambda s, x: s.m0(x)[0] + s.m1(x) + s.m2(x), nn.LSTMCell(6, 5), nn.GRUCell(6, 5), nn.RNNCell(6, 5)
        ),
        (3, 6),
    ),
    "called three times": fed(Calls(lambda s, x: s.m0(s.m0(s.m0(x))), nn.Linear(6, 6)), (3, 6)),
    "in two parents": in_two_parents,
    "tied": tied,
    "addmm": fed(Calls(lambda s, x: torch.addmm(s.b, x, s.w), w=(6, 4), b=(4,)), (3, 6)),
    "baddbmm": fed(Calls(lambda s, x: torch.baddbmm(s.b, x, x.transpose(1, 2)), b=(2, 5, 5)), (2, 5, 3)),
    "matrix times vector": fed(Calls(lambda s, x: torch.mv(x, s.b), b=(6,)), (3, 6)),
    "bilinear": fed(Calls(lambda s, x: s.m0(x, x), nn.Bilinear(4, 4, 3)), (2, 4)),
    "norms of images": fed(
        stack(
            nn.GroupNorm(2, 4), nn.InstanceNorm2d(4, affine=True), nn.InstanceNorm2d(4),
            nn.BatchNorm2d(4, affine=False), nn.GroupNorm(2, 4, affine=False), nn.Conv2d(4, 2, 1),
        ),
        (2, 4, 6, 6),
    ),
    "norms of rows": fed(
        stack(nn.LayerNorm(6), nn.LayerNorm(6, elementwise_affine=False), nn.RMSNorm(6), nn.Linear(6, 2)), (2, 4, 6)
    ),
    "activations": fed(
        stack(
            nn.ReLU(), nn.ReLU6(), nn.LeakyReLU(), nn.ELU(), nn.GELU(), nn.SiLU(), nn.Hardswish(), nn.Sigmoid(),
            nn.PReLU(), nn.Softmax(-1), nn.Linear(6, 2),
        ),
        (2, 4, 6),
    ),
    "functional activations": fed(
        Calls(
            lambda s, x: s.m0(
                f.softmax(f.gelu(f.relu6(f.elu(torch.relu(f.silu(f.leaky_relu(f.relu(x))))))), -1)
            ),
            nn.Linear(6, 2),
        ),
        (2, 4, 6),
    ),
    "pools": fed(
        stack(nn.MaxPool2d(2), nn.AvgPool2d(2), nn.AdaptiveMaxPool2d(4), nn.AdaptiveAvgPool2d(3), nn.Conv2d(3, 2, 1)),
        (2, 3, 32, 32),
    ),
    "functional pools": fed(
        Calls(
            lambda s, x: s.m0(f.adaptive_avg_pool2d(f.max_pool2d(f.avg_pool2d(x, 2), 2), (3, 2))), nn.Conv2d(3, 2, 1)
        ),
        (2, 3, 32, 32),
    ),
    "upsampling": fed(
        stack(nn.Upsample(scale_factor=2), nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(3, 2, 1)),
        (2, 3, 4, 4),
    ),
    "interpolate": fed(
        Calls(lambda s, x: s.m0(f.interpolate(x, size=(8, 8), mode="bilinear")), nn.Conv2d(3, 2, 1)), (2, 3, 4, 4)
    ),
    "arithmetic": fed(
        Calls(
            lambda s, x: s.m0(torch.mul(x, x) + torch.add(x, 2) * x - x * 0.5 + x.mean(-1, keepdim=True)),
            nn.Linear(6, 2),
        ),
        (2, 4, 6),
    ),
    "in place": fed(Calls(lambda s, x: s.m0(x.clone().mul_(2).add_(x)), nn.Linear(6, 2)), (2, 4, 6)),
    "leading nowhere": fed(Calls(lambda s, x: (s.m1(x), s.m0(x))[1], nn.Linear(6, 2), nn.Linear(6, 3)), (2, 4, 6)),
    "linear on a vector": fed(stack(nn.Linear(6, 2)), (6,)),
    "linear on four dimensions": fed(stack(nn.Linear(6, 2)), (2, 3, 4, 6)),
    "linear on a transposition": fed(Calls(lambda s, x: s.m0(x.transpose(0, 1)), nn.Linear(6, 2)), (3, 4, 6)),
    "nothing but a linear layer": fed(nn.Linear(6, 2), (3, 6)),
    "weight norm": fed(stack(nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3))), (1, 3, 8, 8)),
    "local response norm": fed(stack(nn.LocalResponseNorm(3), nn.Conv2d(4, 2, 1)), (2, 4, 6, 6)),
    "unfold": fed(Calls(lambda s, x: s.w @ f.unfold(x, 3), w=(4, 27)), (1, 3, 8, 8)),
    "sizes multiplied": fed(
        Calls(lambda s, x: s.m0(x.reshape(x.shape[0], x.shape[1] * x.shape[2])), nn.Linear(6, 2)), (5, 2, 3)
    ),
}  # fmt: skip
"""Each is made anew where it is run, since some counters leave something behind."""


def of_torchvision(name: str) -> Callable[[], Made]:
    def make() -> Made:
        from torchvision import models

        quick = {"init_weights": False} if name == "googlenet" else {}
        return models.get_model(name, weights=None, **quick), (torch.zeros(1, 3, 224, 224),)

    return make


_SIX = ("googlenet", "alexnet", "vgg16", "resnet50", "mobilenet_v3_large", "vit_b_16")
SETS = {"small": SMALL, "torchvision": {name: of_torchvision(name) for name in _SIX}}
