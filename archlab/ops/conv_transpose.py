"""Transposed convolutions over one, two or three axes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from archlab.dims import equal, require
from archlab.formula import Formula
from archlab.ir import Shape, TensorSpec
from archlab.ops.computed import require_shapes
from archlab.ops.conv import AXES, TAPS, Convolution
from archlab.ops.elements import require_floating
from archlab.ops.windows import effective, image, sizes_of


@dataclass(frozen=True)
class _ConvTranspose(Convolution):
    """A transposed convolution over (N, C, *axes)."""

    out_channels: int
    kernel: Any
    stride: Any = 1
    padding: Any = 0
    output_padding: Any = 0
    dilation: Any = 1
    groups: int = 1
    bias: bool = True
    computed: Any = field(default=(), repr=False)

    def __init_subclass__(cls) -> None:
        taps = "·".join(TAPS[cls.rank])
        cls.rule = f"each input element is spread over C_out/g·{taps} products; a bias adds 1 per output element"

    def __post_init__(self) -> None:
        self._check()
        for name in ("padding", "output_padding"):
            object.__setattr__(self, name, sizes_of(getattr(self, name), name, 0, self.rank))
        for extra, s, d in zip(self.output_padding, self.stride, self.dilation, strict=True):
            small = (extra < s) | (extra < d)
            require(small, "output_padding {} must be below the stride {} or the dilation {}", extra, s, d)

    def infer(self, x: TensorSpec, *computed: TensorSpec) -> TensorSpec:
        """(N, C_in, *axes) -> (N, C_out, *axes)."""
        n, c, *sizes = image(x, self.rank)
        require_floating(x)
        require_floating(x)
        require(equal(c % self.groups, 0), "{} input channels do not divide into {} groups", c, self.groups)
        made = []
        for axis, size in enumerate(sizes):
            spans = effective(self.kernel[axis], self.dilation[axis])
            out = (size - 1) * self.stride[axis] - 2 * self.padding[axis] + spans + self.output_padding[axis]
            require(out >= 1, "the output would be {} wide", out)
            made.append(out)
        if computed:
            require_shapes(self._roles(x), self.computed, computed)
        return x.reshaped((n, self.out_channels, *made))

    def _kernel(self, x: TensorSpec) -> Shape:
        """(C_in, C_out/g, *kernel)."""
        return (x.shape[1], self.out_channels // self.groups, *self.kernel)

    def arithmetic(
        self, outputs: tuple[TensorSpec, ...], x: TensorSpec, *computed: TensorSpec
    ) -> Mapping[str, Formula]:
        """MACs are N·(input positions)·C_in·(C_out/g)·(taps)."""
        n, c, *sizes = x.shape
        axes = zip((f"{axis}_in" for axis in AXES[self.rank]), sizes, strict=True)
        return self._counts((("N", n), *axes, ("C_in", c)), outputs[0], "C_out", self.out_channels)

    def to_torch(self, nn: Any, x: TensorSpec, *computed: TensorSpec) -> Any:
        """`torch.nn.ConvTranspose1d`, `2d` or `3d`."""
        return getattr(nn, f"ConvTranspose{self.rank}d")(
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


@dataclass(frozen=True)
class ConvTranspose1d(_ConvTranspose):
    """A transposed convolution over (N, C, L)."""

    rank = 1


@dataclass(frozen=True)
class ConvTranspose2d(_ConvTranspose):
    """A transposed convolution over (N, C, H, W)."""

    rank = 2


@dataclass(frozen=True)
class ConvTranspose3d(_ConvTranspose):
    """A transposed convolution over (N, C, D, H, W)."""

    rank = 3
