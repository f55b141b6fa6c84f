"""Depth: how many layers lie on the longest path from an input to an output."""

from __future__ import annotations

from dataclasses import dataclass

from archlab.ir import Graph, Node
from archlab.ops import POOLS


@dataclass(frozen=True)
class Depth:
    """Layers on the longest path: those with weights that multiply, and these with the pools."""

    weighted: int
    with_pooling: int


def depth(graph: Graph, mode: str = "inference") -> Depth:
    """Return the depth as papers count it: convolutions and linear layers; norms do not count.

    The two paths may differ. GoogLeNet's are 22 and 27 (Szegedy et al. 2014, arXiv 1409.4842, section 5).
    Raises `UsageError` for an unknown mode.
    """
    graph = graph.in_mode(mode)
    weighted: dict[str, int] = {}
    pooled: dict[str, int] = {}
    for node in graph.nodes:
        own = int(_is_weighted(graph, node))
        before = [name for name, _ in node.inputs]
        weighted[node.name] = own + max((weighted[name] for name in before), default=0)
        either = own or int(isinstance(node.op, POOLS))
        pooled[node.name] = either + max((pooled[name] for name in before), default=0)
    ends = [name for name, _ in graph.outputs]
    return Depth(max(weighted[name] for name in ends), max(pooled[name] for name in ends))


def _is_weighted(graph: Graph, node: Node) -> bool:
    """Return whether a layer has MACs and weights: a norm has no MACs, a matmul no weights."""
    inputs = graph.input_specs(node)
    return "weight" in node.op.weights(*inputs) and "mac" in node.op.arithmetic(graph.specs[node.name], *inputs)
