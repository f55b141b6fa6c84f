"""Pooling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from archlab.dims import gcd, require
from archlab.formula import Formula
from archlab.ir import Op, TensorSpec
from archlab.ops.elements import element_factors, per_element
from archlab.ops.windows import (
    SAME_UPPER,
    Pair,
    effective,
    image,
    pad_shape,
    padding_field,
    pads,
    pair,
    window_count,
)


@dataclass(frozen=True)
class _Pool2d(Op):
    """What max and average pooling share: windows over (N, C, H, W); `stride` defaults to the kernel."""

    kernel: Any
    stride: Any = None
    padding: Any = 0
    ceil_mode: bool = False

    @property
    def spacing(self) -> Pair:
        """The dilation (height, width)."""
        return (1, 1)

    def __post_init__(self) -> None:
        object.__setattr__(self, "kernel", pair(self.kernel, "kernel", 1))
        object.__setattr__(self, "stride", pair(self.kernel if self.stride is None else self.stride, "stride", 1))
        object.__setattr__(self, "padding", padding_field(self.padding, named=(SAME_UPPER,)))
        if not isinstance(self.padding, str):
            # As torch has it: half of the kernel, however far dilation spreads it.
            for p, k in zip(self.padding, self.kernel, strict=True):
                require(p <= k // 2, "padding {} is more than half of the kernel ({})", p, k)

    def pads(self, height: int, width: int) -> tuple[Pair, ...]:
        """Return the padding (before, after) of each axis for an input of that size."""
        return pad_shape(self.padding, (height, width), self.kernel, self.stride, self.spacing)

    def infer(self, x: TensorSpec) -> TensorSpec:
        """(N, C, H, W) -> (N, C, H_out, W_out)."""
        n, c, h, w = image(x)
        sizes = []
        for axis, size in enumerate((h, w)):
            k, s, d = self.kernel[axis], self.stride[axis], self.spacing[axis]
            before, after = pads(self.padding, size, k, s, d, axis)
            out = window_count(size, k, s, before, after, d, self.ceil_mode)
            require(
                out >= 1, "a window of {} does not fit into an input of {}", effective(k, d), size + before + after
            )
            sizes.append(out)
        return x.reshaped((n, c, sizes[0], sizes[1]))

    def _window(self, outputs: tuple[TensorSpec, ...]) -> Formula:
        return Formula.product(*element_factors(outputs[0]), ("k_h", self.kernel[0]), ("k_w", self.kernel[1]))


@dataclass(frozen=True)
class MaxPool2d(_Pool2d):
    """The maximum of each window."""

    dilation: Any = 1

    rule = "each output element compares its k_h·k_w window"

    def __post_init__(self) -> None:
        object.__setattr__(self, "dilation", pair(self.dilation, "dilation", 1))
        super().__post_init__()

    @property
    def spacing(self) -> Pair:
        """The dilation (height, width)."""
        return self.dilation  # type: ignore[no-any-return]

    def arithmetic(self, outputs: tuple[TensorSpec, ...], x: TensorSpec) -> Mapping[str, Formula]:
        """k_h·k_w comparisons per output element."""
        return {"cmp": self._window(outputs)}

    def to_torch(self, nn: Any, x: TensorSpec) -> Any:
        """`torch.nn.MaxPool2d`, or our module that pads as TensorFlow does."""
        if self.padding == SAME_UPPER:
            return nn.SameUpperMaxPool2d(self.kernel, self.stride, 0, self.dilation)
        return nn.MaxPool2d(self.kernel, self.stride, self.padding, self.dilation, ceil_mode=self.ceil_mode)


@dataclass(frozen=True)
class AvgPool2d(_Pool2d):
    """The average of each window."""

    count_include_pad: bool = True

    rule = "each output element adds its k_h·k_w window, padded positions included, and divides once"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(not isinstance(self.padding, str), "AvgPool2d takes padding as numbers, got {!r}", self.padding)

    def arithmetic(self, outputs: tuple[TensorSpec, ...], x: TensorSpec) -> Mapping[str, Formula]:
        """k_h·k_w additions and one division per output element."""
        return {"add": self._window(outputs), "div": per_element(outputs[0])}

    def to_torch(self, nn: Any, x: TensorSpec) -> Any:
        """`torch.nn.AvgPool2d`."""
        return nn.AvgPool2d(self.kernel, self.stride, self.padding, self.ceil_mode, self.count_include_pad)


@dataclass(frozen=True)
class GlobalAvgPool2d(Op):
    """The average over all positions: (N, C, H, W) -> (N, C, 1, 1)."""

    rule = "each output element adds its H_in·W_in positions and divides once"

    def infer(self, x: TensorSpec) -> TensorSpec:
        """(N, C, H, W) -> (N, C, 1, 1)."""
        n, c, _, _ = image(x)
        return x.reshaped((n, c, 1, 1))

    def arithmetic(self, outputs: tuple[TensorSpec, ...], x: TensorSpec) -> Mapping[str, Formula]:
        """H_in·W_in additions and one division per output element."""
        return {"add": per_element(x, side="in"), "div": per_element(outputs[0])}

    def to_torch(self, nn: Any, x: TensorSpec) -> Any:
        """`torch.nn.AdaptiveAvgPool2d(1)`."""
        return nn.AdaptiveAvgPool2d(1)


@dataclass(frozen=True)
class AdaptiveAvgPool2d(Op):
    """The averages over an even division of the input into `output_size` windows, which may overlap."""

    output_size: Any

    rule = "adds every position of every window (windows may overlap) and divides once per output element"

    def __post_init__(self) -> None:
        object.__setattr__(self, "output_size", pair(self.output_size, "output_size", 1))

    def infer(self, x: TensorSpec) -> TensorSpec:
        """(N, C, H, W) -> (N, C, *output_size)."""
        n, c, _, _ = image(x)
        return x.reshaped((n, c, *self.output_size))

    def arithmetic(self, outputs: tuple[TensorSpec, ...], x: TensorSpec) -> Mapping[str, Formula]:
        """Σk_h·Σk_w additions a channel, summed over the windows, and one division per output element."""
        n, c, h, w = x.shape
        rows, columns = (window_sum(size, out) for size, out in zip((h, w), self.output_size, strict=True))
        return {
            "add": Formula.product(("N", n), ("C_out", c), ("Σk_h", rows), ("Σk_w", columns)),
            "div": per_element(outputs[0]),
        }

    def to_torch(self, nn: Any, x: TensorSpec) -> Any:
        """`torch.nn.AdaptiveAvgPool2d`."""
        return nn.AdaptiveAvgPool2d(self.output_size)


def window_sum(size: int, count: int) -> int:
    """Return Σ(end - start) over the windows [⌊i·size/count⌋, ⌈(i+1)·size/count⌉), i = 0..count-1.

    The starts and the ends rounded down are the same numbers but for the last end, `size`; rounding up
    adds 1 to each end except at the gcd(size, count) ones that are whole.
    """
    return size + count - gcd(size, count)  # type: ignore[no-any-return]
