"""The batch of a graph: the first dimension that all its inputs have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from archlab.errors import UsageError
from archlab.ir.graph import Graph
from archlab.ir.tensor import TensorSpec


def with_batch(specs: Iterable[TensorSpec], batch: int, where: str) -> list[TensorSpec]:
    """Return tensors with another first dimension; raise `UsageError` where they have none in common."""
    given = list(specs)
    first = {spec.shape[0] if spec.shape else None for spec in given}
    if len(first) != 1 or None in first:
        shapes = ", ".join(map(str, given)) or "nothing"
        raise UsageError(f"{where} reads {shapes}: its inputs have no first dimension in common, so it has no batch")
    return [spec.reshaped((batch, *spec.shape[1:])) for spec in given]


def rebatched(graph: Graph) -> Callable[[int], Graph]:
    """Return what makes a graph for another batch; it raises as `Graph.with_inputs` and `with_batch` do."""

    def make(batch: int) -> Graph:
        specs = dict(zip(graph.inputs, with_batch(graph.inputs.values(), batch, graph.name), strict=True))
        return graph if specs == dict(graph.inputs) else graph.with_inputs(specs)

    return make
