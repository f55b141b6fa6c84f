"""Names for the dimensions of a tensor, so that formulas read like the textbook."""

from __future__ import annotations

from collections.abc import Mapping

from archlab.dims import require
from archlab.formula import Factor, Formula
from archlab.ir import TensorSpec, is_floating

_NAMES = {0: (), 1: ("N",), 2: ("N", "C"), 3: ("N", "L", "C"), 4: ("N", "C", "H", "W"), 5: ("N", "C", "D", "H", "W")}


def element_factors(spec: TensorSpec, side: str = "out") -> tuple[Factor, ...]:
    """Return a tensor's dimensions as factors, such as N·C_out·H_out·W_out."""
    names = _NAMES.get(len(spec.shape)) or tuple(f"d{i}" for i in range(len(spec.shape)))
    return tuple((name if name == "N" else f"{name}_{side}", d) for name, d in zip(names, spec.shape, strict=True))


def require_floating(x: TensorSpec) -> None:
    """Raise `ShapeError` unless a tensor holds floating or complex numbers, which weights and kernels need."""
    require(is_floating(x.dtype), "needs floating-point elements, got {}", x.dtype)


def per_element(spec: TensorSpec, times: int = 1, side: str = "out") -> Formula:
    """Return `times` operations for each element of a tensor."""
    factors = element_factors(spec, side)
    return Formula.product(*factors) if times == 1 else Formula.product(times, *factors)


def counts_of(spec: TensorSpec, costs: Mapping[str, int], side: str = "out") -> dict[str, Formula]:
    """Return so many operations of each class for each element of a tensor."""
    return {kind: per_element(spec, times, side) for kind, times in costs.items()}


def require_name(function: str) -> None:
    """Raise `ShapeError` unless it can be the name of a function: printable text, for it will be printed."""
    require(function != "" and function.isprintable(), "a function has a printable name, got {!r}", function)
