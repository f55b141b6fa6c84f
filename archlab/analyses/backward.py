"""What a backward pass multiplies: a sweep over a graph that finds which operands need a gradient."""

from __future__ import annotations

from collections.abc import Mapping

from archlab.formula import Formula
from archlab.ir import Graph, Node, Ref, is_floating, products_of

Products = Mapping[str, Formula]
"""The products of one node's backward pass, by the operand whose gradient they give."""


def backward(graph: Graph) -> dict[str, Products]:
    """Return the products of the backward pass of each node that takes part in it; most are empty.

    Trainable parameters need a gradient, inputs do not. It is handed from every floating output of the
    graph towards them, through floating tensors, and not past `detach` or `no_grad`.
    """
    needing = needing_gradients(graph)
    handed = {ref for ref in graph.outputs if ref in needing}
    found: dict[str, Products] = {}
    for node in reversed(graph.nodes):
        outputs = graph.specs[node.name]
        if all((node.name, i) not in handed for i in range(len(outputs))):
            continue
        operands = needing_operands(graph, node, needing)
        handed.update(node.inputs[i] for i in operands if isinstance(i, int))
        products = node.op.gradients(outputs, *graph.input_specs(node))
        found[node.name] = {
            p.operand: products_of(p.macs, outputs) for p in products if operands.intersection(p.of) and p.macs.value
        }
    return found


def needing_gradients(graph: Graph) -> set[Ref]:
    """Return the tensors that a trainable parameter leads to."""
    needing: set[Ref] = set()
    for node in graph.nodes:
        if not node.detached and needing_operands(graph, node, needing):
            outputs = enumerate(graph.specs[node.name])
            needing.update((node.name, i) for i, spec in outputs if is_floating(spec.dtype))
    return needing


def needing_operands(graph: Graph, node: Node, needing: set[Ref]) -> set[int | str]:
    """Return the inputs of a node, by place, and its weights, by role, that need a gradient."""
    places = {i for i, ref in enumerate(node.inputs) if ref in needing and node.op.passes_gradient(i)}
    params = ((role, graph.params[key]) for role, key in node.weights.items())
    return {*places, *(role for role, p in params if p.trainable and not p.buffer and is_floating(p.dtype))}
