"""The inception module, and the convolution with norm and activation that Inception networks repeat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from archlab.ir import Builder, Ref
from archlab.ops import BatchNorm, Concat, Conv2d, MaxPool2d, ReLU


class Widths(NamedTuple):
    """The filters of one module, in the order of the paper's Table 1."""

    n1x1: int
    n3x3_reduce: int
    n3x3: int
    n5x5_reduce: int
    n5x5: int
    pool_proj: int


@dataclass(frozen=True)
class Style:
    """How an implementation writes its convolutions: norm, padding, and the kernel of the 5×5 branch."""

    norm: BatchNorm | None = None
    tensorflow_padding: bool = False
    five: int = 5

    def padding(self, kernel: int) -> Any:
        """Return the padding that keeps the size at stride 1."""
        return "same_upper" if self.tensorflow_padding else kernel // 2

    def pool(self, kernel: int, stride: int) -> MaxPool2d:
        """Return the max pool between stages: Caffe's ceil mode, or TensorFlow's SAME."""
        if self.tensorflow_padding:
            return MaxPool2d(kernel, stride, "same_upper")
        return MaxPool2d(kernel, stride, ceil_mode=True)


def conv(b: Builder, style: Style, name: str, x: Ref, channels: int, kernel: int, stride: int = 1) -> Ref:
    """Add a convolution, its norm if the style has one, and a ReLU."""
    op = Conv2d(channels, kernel, stride, style.padding(kernel), bias=style.norm is None)
    x = b.add(name, op, x)
    if style.norm is not None:
        x = b.add(f"{name}_bn", style.norm, x)
    return b.add(f"{name}_relu", ReLU(), x)


def inception(b: Builder, style: Style, name: str, x: Ref, widths: Widths) -> Ref:
    """Add one module (Figure 2b of the paper) and return its concatenation."""
    w = Widths(*widths)
    with b.scope(name):
        one = conv(b, style, "1x1", x, w.n1x1, 1)
        three = conv(b, style, "3x3", conv(b, style, "3x3_reduce", x, w.n3x3_reduce, 1), w.n3x3, 3)
        five = conv(b, style, "5x5", conv(b, style, "5x5_reduce", x, w.n5x5_reduce, 1), w.n5x5, style.five)
        pooled = b.add("pool", MaxPool2d(3, 1, "same_upper" if style.tensorflow_padding else 1), x)
        pooled = conv(b, style, "pool_proj", pooled, w.pool_proj, 1)
        return b.add("output", Concat(), one, three, five, pooled)
