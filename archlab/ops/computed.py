"""Weights that a layer reads as inputs, since the forward pass computes them, instead of keeping them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from archlab.dims import equal, require
from archlab.ir import Gradient, Shape, TensorSpec


def computed_roles(value: Any, bias: bool) -> tuple[str, ...]:
    """Return the field `computed` as a tuple of roles; raise `ShapeError` unless each is one that the layer has."""
    roles = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    known = ("weight", "bias") if bias else ("weight",)
    fits = all(role in known for role in roles) and len(set(roles)) == len(roles)
    require(fits, "computed names some of {}, each once, got {!r}", known, value)
    return roles


def kept(roles: Mapping[str, Shape], computed: tuple[str, ...]) -> Mapping[str, Shape]:
    """Return the roles that the layer keeps itself."""
    return {role: shape for role, shape in roles.items() if role not in computed}


def require_shapes(roles: Mapping[str, Shape], computed: tuple[str, ...], given: tuple[TensorSpec, ...]) -> None:
    """Raise `ShapeError` unless the tensors given for the computed roles have the shapes that they need."""
    for role, spec in zip(computed, given, strict=True):
        needed = roles[role]
        agree: Any = len(spec.shape) == len(needed)
        for a, b in zip(spec.shape, needed, strict=False):
            agree = agree & equal(a, b)
        require(agree, "the computed {} is {}, it needs {}", role, spec.shape, needed)


def weighted_gradients(op: Any, outputs: tuple[TensorSpec, ...], *inputs: TensorSpec) -> tuple[Gradient, ...]:
    """Return the gradients of an input and a weight that are multiplied: each takes the forward's product again."""
    macs = op.arithmetic(outputs, *inputs)["mac"]
    weight = 1 + op.computed.index("weight") if "weight" in op.computed else "weight"
    return Gradient("input", (0,), macs), Gradient("weight", (weight,), macs)
