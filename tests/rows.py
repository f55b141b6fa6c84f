"""The row of a conformance table."""

from __future__ import annotations

from dataclasses import dataclass, field

from archlab.ir import Op, TensorSpec

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Row:
    """An op on inputs of these shapes: its output, its parameters by role, its operations by class."""

    op: Op
    inputs: list[Shape | TensorSpec]
    output: Shape | TensorSpec
    weights: dict[str, Shape] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    buffers: dict[str, Shape] = field(default_factory=dict)
    is_view: bool = False
    more: tuple[TensorSpec, ...] = ()
    """The outputs behind the first."""
    fetched: dict[str, Shape] | None = None
    """What it reads of its parameters, where that is not all of them."""

    def __repr__(self) -> str:
        return f"{self.op} of {[str(spec_of(x)) for x in self.inputs]}"


def spec_of(given: Shape | TensorSpec) -> TensorSpec:
    """Return a tensor of float32, unless more is said than its shape."""
    return given if isinstance(given, TensorSpec) else TensorSpec(given)
