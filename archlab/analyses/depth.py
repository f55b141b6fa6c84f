"""Depth: how many layers lie on the longest path from an input to an output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from archlab.ir import Graph, Node, Op
from archlab.ops import POOLS, Counted, MatMul


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
    learned = _learned(graph)
    weighted: dict[str, int] = {}
    pooled: dict[str, int] = {}
    for node in graph.nodes:
        own = int(getattr(node.op, "layers", 1)) if _is_weighted(graph, node, learned) else 0
        before = [name for name, _ in node.inputs]
        weighted[node.name] = own + max((weighted[name] for name in before), default=0)
        either = own or int(_is_pool(node.op))
        pooled[node.name] = either + max((pooled[name] for name in before), default=0)
    ends = [name for name, _ in graph.outputs]
    return Depth(max(weighted[name] for name in ends), max(pooled[name] for name in ends))


def _learned(graph: Graph) -> set[str]:
    """Return the nodes made of kept tensors alone, a parameter among them: weights, as they are or computed."""
    fixed: set[str] = set()
    learned: set[str] = set()
    for node in graph.nodes:
        before = {name for name, _ in node.inputs}
        if node.op.is_kept or (before and before <= fixed):
            fixed.add(node.name)
            if node.weights or before & learned:
                learned.add(node.name)
    return learned


def _is_weighted(graph: Graph, node: Node, learned: set[str]) -> bool:
    """Return whether a layer multiplies by weights: a norm has no MACs, a product of activations no weights.

    The weights may be its own, computed of learned tensors, or the matrix of a product written out.
    """
    if node.name in learned:
        return False
    op: Any = node.op
    inputs = graph.input_specs(node)
    if isinstance(op, MatMul):
        pairs = zip(node.inputs, inputs, strict=True)
        return any(name in learned and len(spec.shape) == 2 for (name, _), spec in pairs)
    computed: tuple[str, ...] = getattr(op, "computed", ())
    if "weight" in computed:
        return node.inputs[1 + computed.index("weight")][0] in learned
    roles = op.weights(*inputs)
    has_weight = any(role == "weight" or role.startswith("weight_") for role in roles)
    return has_weight and "mac" in op.arithmetic(graph.specs[node.name], *inputs)


def _is_pool(op: Op) -> bool:
    return isinstance(op, POOLS) or (isinstance(op, Counted) and "pool" in op.function)
