"""Convolutions over one, two or three axes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from archlab.dims import equal, require, require_integer
from archlab.formula import Factor, Formula
from archlab.ir import Gradient, Op, Shape, TensorSpec
from archlab.ops.computed import computed_roles, kept, require_shapes, weighted_gradients
from archlab.ops.elements import require_floating
from archlab.ops.windows import (
    SAME,
    SAME_UPPER,
    Pair,
    effective,
    image,
    pad_shape,
    padding_field,
    sizes_of,
    window_count,
)

AXES = {1: ("L",), 2: ("H", "W"), 3: ("D", "H", "W")}
TAPS = {1: ("k",), 2: ("k_h", "k_w"), 3: ("k_d", "k_h", "k_w")}


class Convolution(Op):
    """What convolutions share. `computed` names the roles whose tensors are read as inputs, not kept."""

    rank: ClassVar[int]
    computed: tuple[str, ...]

    @property
    def reads(self) -> int:
        """The input, and the weights that are computed."""
        return 1 + len(self.computed)

    def _check(self) -> None:
        op: Any = self
        for name in ("kernel", "stride", "dilation"):
            object.__setattr__(op, name, sizes_of(getattr(op, name), name, 1, self.rank))
        for name in ("out_channels", "groups"):
            object.__setattr__(op, name, require_integer(getattr(op, name), name, 1))
        divides = equal(op.out_channels % op.groups, 0)
        require(divides, "{} output channels do not divide into {} groups", op.out_channels, op.groups)
        object.__setattr__(op, "computed", computed_roles(op.computed, op.bias))

    def _kernel(self, x: TensorSpec) -> Shape:
        """Return the shape of the weight for an input."""
        raise NotImplementedError

    def _roles(self, x: TensorSpec) -> Mapping[str, Shape]:
        op: Any = self
        return {"weight": self._kernel(x), **({"bias": (op.out_channels,)} if op.bias else {})}

    def weights(self, x: TensorSpec, *computed: TensorSpec) -> Mapping[str, Shape]:
        """The weight and the bias (C_out), those that are kept."""
        op: Any = self
        return kept(self._roles(x), op.computed)

    def gradients(self, outputs: tuple[TensorSpec, ...], *inputs: TensorSpec) -> tuple[Gradient, ...]:
        """The forward's product for the input, and again for the weight; groups stay groups."""
        return weighted_gradients(self, outputs, *inputs)

    def _counts(
        self, positions: tuple[Factor, ...], output: TensorSpec, name: str, channels: int
    ) -> Mapping[str, Formula]:
        op: Any = self
        alone = type(op.groups) is int and op.groups == 1
        shared = (name, channels) if alone else (f"{name}/g", channels // op.groups)
        macs = Formula.product(*positions, shared, *zip(TAPS[self.rank], op.kernel, strict=True))
        if not op.bias:
            return {"mac": macs}
        n, c, *sizes = output.shape
        each = zip((f"{axis}_out" for axis in AXES[self.rank]), sizes, strict=True)
        return {"mac": macs, "add": Formula.product(("N", n), ("C_out", c), *each)}


@dataclass(frozen=True)
class _Conv(Convolution):
    """A convolution over (N, C, *axes).

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
    computed: Any = field(default=(), repr=False)

    def __init_subclass__(cls) -> None:
        taps = "·".join(TAPS[cls.rank])
        cls.rule = f"each output element sums C_in/g·{taps} products, padded positions included; a bias adds 1"

    def __post_init__(self) -> None:
        self._check()
        named = (SAME, SAME_UPPER) if self.rank == 2 else (SAME,)
        object.__setattr__(self, "padding", padding_field(self.padding, named=named, rank=self.rank))
        if self.padding == SAME:
            unit: Any = True
            for step in self.stride:
                unit = unit & equal(step, 1)
            require(unit, "padding 'same' needs stride 1, got {}; use 'same_upper'", self.stride)

    def pads(self, *sizes: int) -> tuple[Pair, ...]:
        """Return the padding (before, after) of each axis for an input of those sizes."""
        return pad_shape(self.padding, sizes, self.kernel, self.stride, self.dilation)

    def infer(self, x: TensorSpec, *computed: TensorSpec) -> TensorSpec:
        """(N, C_in, *axes) -> (N, C_out, *axes)."""
        n, c, *sizes = image(x, self.rank)
        require_floating(x)
        require(equal(c % self.groups, 0), "{} input channels do not divide into {} groups", c, self.groups)
        made = []
        for size, k, s, d, (before, after) in zip(
            sizes, self.kernel, self.stride, self.dilation, self.pads(*sizes), strict=True
        ):
            spans, padded = effective(k, d), size + before + after
            require(padded >= spans, "the kernel spans {}, the padded input only {}", spans, padded)
            made.append(window_count(size, k, s, before, after, d))
        if computed:
            require_shapes(self._roles(x), self.computed, computed)
        return x.reshaped((n, self.out_channels, *made))

    def _kernel(self, x: TensorSpec) -> Shape:
        """(C_out, C_in/g, *kernel)."""
        return (self.out_channels, x.shape[1] // self.groups, *self.kernel)

    def arithmetic(
        self, outputs: tuple[TensorSpec, ...], x: TensorSpec, *computed: TensorSpec
    ) -> Mapping[str, Formula]:
        """MACs are N·(output positions)·C_out·(C_in/g)·(taps)."""
        n, c, *sizes = outputs[0].shape
        axes = zip((f"{axis}_out" for axis in AXES[self.rank]), sizes, strict=True)
        return self._counts((("N", n), *axes, ("C_out", c)), outputs[0], "C_in", x.shape[1])

    def to_torch(self, nn: Any, x: TensorSpec, *computed: TensorSpec) -> Any:
        """`torch.nn.Conv1d`, `2d` or `3d`, or our module that pads as TensorFlow does."""
        named = self.padding == SAME_UPPER
        conv = getattr(nn, f"{'SameUpper' if named else ''}Conv{self.rank}d")
        return conv(
            x.shape[1],
            self.out_channels,
            self.kernel,
            self.stride,
            0 if named else self.padding,
            self.dilation,
            self.groups,
            self.bias,
        )


@dataclass(frozen=True)
class Conv1d(_Conv):
    """A convolution over (N, C, L)."""

    rank = 1


@dataclass(frozen=True)
class Conv2d(_Conv):
    """A convolution over (N, C, H, W); see `_Conv` for the fields."""

    rank = 2


@dataclass(frozen=True)
class Conv3d(_Conv):
    """A convolution over (N, C, D, H, W)."""

    rank = 3
