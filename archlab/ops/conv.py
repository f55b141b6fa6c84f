"""Convolutions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from archlab.dims import equal, require, require_integer
from archlab.formula import Formula
from archlab.ir import Op, Shape, TensorSpec
from archlab.ops.elements import element_factors, require_floating
from archlab.ops.windows import (
    SAME,
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
class Conv2d(Op):
    """A 2-D convolution over (N, C, H, W).

    `padding` is numbers, ``"same"`` (torch's: stride 1 only) or ``"same_upper"`` (any stride, the odd
    position behind: TensorFlow's SAME).
    """

    out_channels: int
    kernel: Any
    stride: Any = 1
    padding: Any = 0
    dilation: Any = 1
    groups: int = 1
    bias: bool = True

    rule = "each output element sums C_in/g·k_h·k_w products, padded positions included; a bias adds 1"

    def __post_init__(self) -> None:
        _check_conv(self)
        object.__setattr__(self, "padding", padding_field(self.padding, named=(SAME, SAME_UPPER)))
        if self.padding == SAME:
            unit = equal(self.stride[0], 1) & equal(self.stride[1], 1)
            require(unit, "padding 'same' needs stride 1, got {}; use 'same_upper'", self.stride)

    def pads(self, height: int, width: int) -> tuple[Pair, Pair]:
        """Return the padding (before, after) of each axis for an input of that size."""
        return pad_shape(self.padding, (height, width), self.kernel, self.stride, self.dilation)

    def infer(self, x: TensorSpec) -> TensorSpec:
        """(N, C_in, H, W) -> (N, C_out, H_out, W_out)."""
        n, c, h, w = image(x)
        require_floating(x)
        require(equal(c % self.groups, 0), "{} input channels do not divide into {} groups", c, self.groups)
        sizes = []
        for axis, size in enumerate((h, w)):
            k, s, d = self.kernel[axis], self.stride[axis], self.dilation[axis]
            before, after = pads(self.padding, size, k, s, d, axis)
            spans, padded = effective(k, d), size + before + after
            require(padded >= spans, "the kernel spans {}, the padded input only {}", spans, padded)
            sizes.append(window_count(size, k, s, before, after, d))
        return x.reshaped((n, self.out_channels, sizes[0], sizes[1]))

    def weights(self, x: TensorSpec) -> Mapping[str, Shape]:
        """Weight (C_out, C_in/g, k_h, k_w) and bias (C_out)."""
        weight = (self.out_channels, x.shape[1] // self.groups, *self.kernel)
        return {"weight": weight, "bias": (self.out_channels,)} if self.bias else {"weight": weight}

    def arithmetic(self, outputs: tuple[TensorSpec, ...], x: TensorSpec) -> Mapping[str, Formula]:
        """MACs are N·H_out·W_out·C_out·(C_in/g)·k_h·k_w."""
        n, c, h, w = outputs[0].shape
        macs = Formula.product(("N", n), ("H_out", h), ("W_out", w), ("C_out", c), *_taps(self, "C_in", x.shape[1]))
        return {"mac": macs, "add": _bias_adds(outputs[0])} if self.bias else {"mac": macs}

    def to_torch(self, nn: Any, x: TensorSpec) -> Any:
        """`torch.nn.Conv2d`, or our module that pads as TensorFlow does."""
        conv = nn.SameUpperConv2d if self.padding == SAME_UPPER else nn.Conv2d
        padding = 0 if self.padding == SAME_UPPER else self.padding
        return conv(
            x.shape[1], self.out_channels, self.kernel, self.stride, padding, self.dilation, self.groups, self.bias
        )


@dataclass(frozen=True)
class ConvTranspose2d(Op):
    """A transposed 2-D convolution over (N, C, H, W)."""

    out_channels: int
    kernel: Any
    stride: Any = 1
    padding: Any = 0
    output_padding: Any = 0
    dilation: Any = 1
    groups: int = 1
    bias: bool = True

    rule = "each input element is spread over C_out/g·k_h·k_w products; a bias adds 1 per output element"

    def __post_init__(self) -> None:
        _check_conv(self)
        object.__setattr__(self, "padding", pair(self.padding, "padding", 0))
        object.__setattr__(self, "output_padding", pair(self.output_padding, "output_padding", 0))
        for extra, s, d in zip(self.output_padding, self.stride, self.dilation, strict=True):
            require(
                (extra < s) | (extra < d),
                "output_padding {} must be below the stride {} or the dilation {}",
                extra,
                s,
                d,
            )

    def infer(self, x: TensorSpec) -> TensorSpec:
        """(N, C_in, H, W) -> (N, C_out, H_out, W_out)."""
        n, c, h, w = image(x)
        require_floating(x)
        require(equal(c % self.groups, 0), "{} input channels do not divide into {} groups", c, self.groups)
        sizes = []
        for axis, size in enumerate((h, w)):
            spans = effective(self.kernel[axis], self.dilation[axis])
            out = (size - 1) * self.stride[axis] - 2 * self.padding[axis] + spans + self.output_padding[axis]
            require(out >= 1, "the output would be {} wide", out)
            sizes.append(out)
        return x.reshaped((n, self.out_channels, sizes[0], sizes[1]))

    def weights(self, x: TensorSpec) -> Mapping[str, Shape]:
        """Weight (C_in, C_out/g, k_h, k_w) and bias (C_out)."""
        weight = (x.shape[1], self.out_channels // self.groups, *self.kernel)
        return {"weight": weight, "bias": (self.out_channels,)} if self.bias else {"weight": weight}

    def arithmetic(self, outputs: tuple[TensorSpec, ...], x: TensorSpec) -> Mapping[str, Formula]:
        """MACs are N·H_in·W_in·C_in·(C_out/g)·k_h·k_w."""
        n, c, h, w = x.shape
        macs = Formula.product(
            ("N", n), ("H_in", h), ("W_in", w), ("C_in", c), *_taps(self, "C_out", self.out_channels)
        )
        return {"mac": macs, "add": _bias_adds(outputs[0])} if self.bias else {"mac": macs}

    def to_torch(self, nn: Any, x: TensorSpec) -> Any:
        """`torch.nn.ConvTranspose2d`."""
        return nn.ConvTranspose2d(
            x.shape[1],
            self.out_channels,
            self.kernel,
            self.stride,
            self.padding,
            self.output_padding,
            self.groups,
            self.bias,
            self.dilation,
        )


def _check_conv(op: Any) -> None:
    for name in ("kernel", "stride", "dilation"):
        object.__setattr__(op, name, pair(getattr(op, name), name, 1))
    for name in ("out_channels", "groups"):
        object.__setattr__(op, name, require_integer(getattr(op, name), name, 1))
    divides = equal(op.out_channels % op.groups, 0)
    require(divides, "{} output channels do not divide into {} groups", op.out_channels, op.groups)


def _taps(op: Any, name: str, channels: int) -> tuple[tuple[str, int], ...]:
    shared = (name, channels) if type(op.groups) is int and op.groups == 1 else (f"{name}/g", channels // op.groups)
    return shared, ("k_h", op.kernel[0]), ("k_w", op.kernel[1])


def _bias_adds(output: TensorSpec) -> Formula:
    return Formula.product(*element_factors(output))
