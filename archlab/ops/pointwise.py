"""Elementwise operations: activations, and sums and products of tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from archlab.dims import equal, require, where
from archlab.formula import Formula
from archlab.ir import Op, Shape, TensorSpec, is_floating, promoted
from archlab.ops.elements import element_factors, per_element, require_floating


def broadcast(a: Shape, b: Shape) -> Shape:
    """Return the shape that two shapes broadcast to, as torch does it; raise `ShapeError` if none."""
    rank = max(len(a), len(b))
    left, right = ((1,) * (rank - len(shape)) + shape for shape in (a, b))
    shape = []
    for p, q in zip(left, right, strict=True):
        require(equal(p, q) | equal(p, 1) | equal(q, 1), "cannot broadcast {} with {}: {} is not {}", a, b, p, q)
        shape.append(where(equal(p, 1), q, p))
    return tuple(shape)


class _Pointwise(Op):
    """An op that computes each output element from the elements at its place."""

    costs: ClassVar[Mapping[str, int]] = {}

    def __init_subclass__(cls) -> None:
        if cls.costs and "rule" not in vars(cls):
            cls.rule = ", ".join(f"{n} {kind}" for kind, n in cls.costs.items()) + " per output element"

    def infer(self, x: TensorSpec) -> TensorSpec:
        """The shape is unchanged."""
        return x

    def arithmetic(self, outputs: tuple[TensorSpec, ...], *inputs: TensorSpec) -> Mapping[str, Formula]:
        """`costs` operations per output element."""
        return {kind: per_element(outputs[0], times) for kind, times in self.costs.items()}


@dataclass(frozen=True)
class ReLU(_Pointwise):
    """max(x, 0)."""

    costs = {"cmp": 1}

    def infer(self, x: TensorSpec) -> TensorSpec:
        """The shape is unchanged."""
        require(x.dtype != "bool", "needs numbers, got bool")
        return x

    def to_torch(self, nn: Any, x: TensorSpec) -> Any:
        """`torch.nn.ReLU`."""
        return nn.ReLU()


@dataclass(frozen=True)
class GELU(_Pointwise):
    """x·Φ(x)."""

    costs = {"mul": 3, "add": 1, "exp": 1}

    def infer(self, x: TensorSpec) -> TensorSpec:
        """The shape is unchanged."""
        require_floating(x)
        return x

    def to_torch(self, nn: Any, x: TensorSpec) -> Any:
        """`torch.nn.GELU`."""
        return nn.GELU()


@dataclass(frozen=True)
class Sigmoid(_Pointwise):
    """1 / (1 + exp(-x))."""

    costs = {"exp": 1, "add": 1, "div": 1}

    def infer(self, x: TensorSpec) -> TensorSpec:
        """The shape is unchanged; integers give float32."""
        return x if is_floating(x.dtype) else TensorSpec(x.shape)

    def to_torch(self, nn: Any, x: TensorSpec) -> Any:
        """`torch.nn.Sigmoid`."""
        return nn.Sigmoid()


@dataclass(frozen=True)
class Softmax(_Pointwise):
    """exp(x - max) / Σ exp(x - max) along one dimension, or (`log`) its logarithm x - max - log Σ exp(x - max)."""

    dim: int = -1
    log: bool = False

    costs = {"cmp": 1, "add": 2, "exp": 1, "div": 1}
    rule = "cmp 1, add 2, exp 1, div 1 per element; its logarithm: cmp 1, add 3, exp 1 per element and exp 1 per sum"

    def arithmetic(self, outputs: tuple[TensorSpec, ...], *inputs: TensorSpec) -> Mapping[str, Formula]:
        """See `rule`: the logarithm takes a difference for the quotient, and one logarithm for each sum."""
        if not self.log:
            return super().arithmetic(outputs, *inputs)
        factors = element_factors(outputs[0])
        axis = self.dim % max(len(factors), 1)
        each = per_element(outputs[0])
        sums = Formula.product(*(factor for i, factor in enumerate(factors) if i != axis))
        return {"cmp": each, "add": per_element(outputs[0], 3), "exp": each + sums}

    def infer(self, x: TensorSpec) -> TensorSpec:
        """The shape is unchanged."""
        rank = max(len(x.shape), 1)  # torch lets a scalar have one
        require(-rank <= self.dim < rank, "dimension {} does not exist in {}", self.dim, x.shape)
        require_floating(x)
        return x

    def to_torch(self, nn: Any, x: TensorSpec) -> Any:
        """`torch.nn.Softmax` or `torch.nn.LogSoftmax`."""
        return nn.LogSoftmax(self.dim) if self.log else nn.Softmax(self.dim)


@dataclass(frozen=True)
class Dropout(_Pointwise):
    """Zeroes elements with probability `p` in training; hands its input through in inference."""

    p: float = 0.5
    training: bool = False

    rule = "training: 1 cmp and 1 mul per element; inference or p 0: nothing, the input is handed through"

    def __post_init__(self) -> None:
        require(0 <= self.p <= 1, "p must lie in 0 to 1, got {}", self.p)

    @property
    def is_view(self) -> bool:
        """Whether it hands its input through."""
        return not self.training or self.p == 0

    def arithmetic(self, outputs: tuple[TensorSpec, ...], *inputs: TensorSpec) -> Mapping[str, Formula]:
        """In training each element is compared with p and scaled by 0 or 1/(1-p)."""
        return {} if self.is_view else {"cmp": per_element(outputs[0]), "mul": per_element(outputs[0])}

    def in_mode(self, mode: str) -> Dropout:
        """Training drops; inference does not."""
        training = mode == "training"
        return self if training == self.training else replace(self, training=training)

    def to_torch(self, nn: Any, x: TensorSpec) -> Any:
        """`torch.nn.Dropout`."""
        return nn.Dropout(self.p)


class _Binary(_Pointwise):
    """Two tensors, broadcast to one shape."""

    arity = 2

    def infer(self, a: TensorSpec, b: TensorSpec) -> TensorSpec:
        """The broadcast shape and the combined dtype, as torch has them."""
        return TensorSpec(broadcast(a.shape, b.shape), promoted(a.dtype, b.dtype))


@dataclass(frozen=True)
class Add(_Binary):
    """The sum of two tensors, broadcast."""

    costs = {"add": 1}

    def to_torch(self, nn: Any, a: TensorSpec, b: TensorSpec) -> Any:
        """Our module around `torch.add`."""
        return nn.Add()


@dataclass(frozen=True)
class Mul(_Binary):
    """The elementwise product of two tensors, broadcast."""

    costs = {"mul": 1}

    def to_torch(self, nn: Any, a: TensorSpec, b: TensorSpec) -> Any:
        """Our module around `torch.mul`."""
        return nn.Mul()
