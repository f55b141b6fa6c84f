"""Normalisation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from archlab.dims import equal, product, require, require_integer
from archlab.formula import Formula
from archlab.ir import Op, Shape, TensorSpec
from archlab.ops.elements import element_factors, per_element, require_floating
from archlab.ops.windows import image


def affine(op: Any, shape: Shape) -> Mapping[str, Shape]:
    """Return the scale and the shift, those that exist, by their role."""
    roles = {"weight": op.scale, "bias": op.shift}
    return {role: shape for role, present in roles.items() if present}


@dataclass(frozen=True)
class LayerNorm(Op):
    """Layer normalisation over the last `dims` dimensions."""

    dims: int = 1
    scale: bool = True
    shift: bool = True
    eps: float = 1e-5

    rule = "4 add and 3 mul per input element, 2 div and 1 exp per normalised group"

    def __post_init__(self) -> None:
        object.__setattr__(self, "dims", require_integer(self.dims, "dims", 1))
        require(self.scale or not self.shift, "a layer norm with a shift has a scale, too, in torch")

    def infer(self, x: TensorSpec) -> TensorSpec:
        """The shape is unchanged."""
        require(len(x.shape) >= self.dims, "normalises {} dimensions, got {}", self.dims, x.shape)
        require_floating(x)
        return x

    def weights(self, x: TensorSpec) -> Mapping[str, Shape]:
        """Weight and bias of the normalised shape."""
        return affine(self, x.shape[-self.dims :])

    def arithmetic(self, outputs: tuple[TensorSpec, ...], x: TensorSpec) -> Mapping[str, Formula]:
        """See `rule`."""
        return normalise(x, *element_factors(x, "in")[: len(x.shape) - self.dims])

    def to_torch(self, nn: Any, x: TensorSpec) -> Any:
        """`torch.nn.LayerNorm`."""
        return nn.LayerNorm(x.shape[-self.dims :], self.eps, self.scale, self.shift)


@dataclass(frozen=True)
class GroupNorm(Op):
    """Normalisation over `groups` groups of the channels of (N, C, *); an instance norm has a group a channel."""

    groups: int
    scale: bool = True
    shift: bool = True
    eps: float = 1e-5

    rule = "4 add and 3 mul per input element, 2 div and 1 exp per group of each sample"

    def __post_init__(self) -> None:
        object.__setattr__(self, "groups", require_integer(self.groups, "groups", 1))

    def infer(self, x: TensorSpec) -> TensorSpec:
        """The shape is unchanged."""
        require(len(x.shape) >= 2, "needs at least (N, C), got {}", x.shape)
        for size in x.shape[1:]:
            require(size >= 1, "needs at least one channel and one position, got {}", x.shape)
        require_floating(x)
        divides = equal(x.shape[1] % self.groups, 0)
        require(divides, "{} channels do not divide into {} groups", x.shape[1], self.groups)
        values = product((x.shape[0] * x.shape[1] // self.groups, *x.shape[2:]))
        several = (values > 1) | equal(values, 0)
        require(several, "needs more than one value in the groups of {}, got {}", self.groups, x.shape)
        return x

    def weights(self, x: TensorSpec) -> Mapping[str, Shape]:
        """Weight (C) and bias (C), those that exist."""
        return affine(self, x.shape[1:2])

    def arithmetic(self, outputs: tuple[TensorSpec, ...], x: TensorSpec) -> Mapping[str, Formula]:
        """See `rule`."""
        return normalise(x, ("N", x.shape[0]), ("groups", self.groups))

    def to_torch(self, nn: Any, x: TensorSpec) -> Any:
        """`torch.nn.GroupNorm`, without the scale or the shift that it lacks."""
        norm = nn.GroupNorm(self.groups, x.shape[1], self.eps, self.scale or self.shift)
        for role, present in (("weight", self.scale), ("bias", self.shift)):
            if not present:
                norm.register_parameter(role, None)
        return norm


@dataclass(frozen=True)
class RMSNorm(Op):
    """Division by the root of the mean square over the last `dims` dimensions."""

    dims: int = 1
    scale: bool = True
    eps: float = 1e-6

    rule = "1 add and 3 mul per input element, 1 div and 1 exp per normalised group"

    def __post_init__(self) -> None:
        object.__setattr__(self, "dims", require_integer(self.dims, "dims", 1))

    def infer(self, x: TensorSpec) -> TensorSpec:
        """The shape is unchanged."""
        require(len(x.shape) >= self.dims, "normalises {} dimensions, got {}", self.dims, x.shape)
        require_floating(x)
        return x

    def weights(self, x: TensorSpec) -> Mapping[str, Shape]:
        """Weight of the normalised shape, if it exists."""
        return {"weight": x.shape[-self.dims :]} if self.scale else {}

    def arithmetic(self, outputs: tuple[TensorSpec, ...], x: TensorSpec) -> Mapping[str, Formula]:
        """See `rule`."""
        groups = Formula.product(*(element_factors(x, "in")[: len(x.shape) - self.dims] or (1,)))
        return {"add": per_element(x, 1, "in"), "mul": per_element(x, 3, "in"), "div": groups, "exp": groups}

    def to_torch(self, nn: Any, x: TensorSpec) -> Any:
        """`torch.nn.RMSNorm`."""
        return nn.RMSNorm(x.shape[-self.dims :], self.eps, self.scale)


@dataclass(frozen=True)
class LocalResponseNorm(Op):
    """Normalisation across `size` neighbouring channels of (N, C, H, W) (Krizhevsky 2012)."""

    size: int = 5
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1.0

    rule = "2 mul, size+1 add, 1 exp and 1 div per element"

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", require_integer(self.size, "size", 1))

    def infer(self, x: TensorSpec) -> TensorSpec:
        """The shape is unchanged."""
        image(x)
        require_floating(x)
        return x

    def arithmetic(self, outputs: tuple[TensorSpec, ...], x: TensorSpec) -> Mapping[str, Formula]:
        """See `rule`."""
        each = per_element(x)
        adds = Formula.product(*element_factors(x), ("(n+1)", self.size + 1))
        return {"mul": per_element(x, 2), "add": adds, "exp": each, "div": each}

    def to_torch(self, nn: Any, x: TensorSpec) -> Any:
        """`torch.nn.LocalResponseNorm`."""
        return nn.LocalResponseNorm(self.size, self.alpha, self.beta, self.k)


def normalise(x: TensorSpec, *groups: tuple[str, int]) -> Mapping[str, Formula]:
    """Count a normalisation by statistics of the tensor itself; `groups` are the factors of their number."""
    return {
        "add": per_element(x, 4, "in"),
        "mul": per_element(x, 3, "in"),
        "div": Formula.product(2, *groups),
        "exp": Formula.product(*(groups or (1,))),
    }
