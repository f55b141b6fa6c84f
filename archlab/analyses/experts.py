"""Mixtures of experts: which parameters only some tokens read, and how many one token reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple

from archlab.ir import Graph, Node, Ref, Shape
from archlab.ops import Concat, Counted, Layout, Reduce

_GATHERS = frozenset({"index", "index_select", "gather", "masked_select", "take_along_dim"})
_BACK = frozenset(
    {"copy", "index_add", "index_copy", "index_put", "masked_scatter", "scatter", "scatter_add", "setitem"}
)
"""Functions that write rows where the tokens stand."""


class _Routed(NamedTuple):
    """Rows that a choice sent somewhere: how many for each token, and in which block."""

    share: Fraction
    block: str


@dataclass
class _Sweep:
    """What is known on the way through a graph."""

    graph: Graph
    chosen: dict[Ref, Node] = field(default_factory=dict)
    routed: dict[Ref, _Routed] = field(default_factory=dict)
    fixed: dict[Ref, str] = field(default_factory=dict)
    shares: dict[str, set[tuple[str, Fraction]]] = field(default_factory=dict)
    by_all: set[str] = field(default_factory=set)


def active_parameters(graph: Graph) -> int:
    """Return how many of the parameters that a graph reads one token reads, on average.

    An expert's parameters count as often as a token meets them: for k of E experts of one size, k of them.
    All others count once.
    """
    sweep = _Sweep(graph)
    for node in graph.nodes:
        _visit(sweep, node)
    total = Fraction(0)
    for key in {key for node in graph.nodes for key in node.weights.values()}:
        param = graph.params[key]
        if not param.buffer:
            met = sum((share for _, share in sweep.shares.get(key, ())), Fraction(key in sweep.by_all))
            total += param.spec.numel * (min(met, Fraction(1)) if key in sweep.shares else 1)
    return round(total)


def _visit(sweep: _Sweep, node: Node) -> None:
    graph, op = sweep.graph, node.op
    outputs = [(node.name, i) for i in range(len(graph.specs[node.name]))]
    learned = [key for key in node.weights.values() if not graph.params[key].buffer]
    if op.is_kept:
        sweep.fixed.update(dict.fromkeys(outputs, learned[0] if learned else ""))
        return
    if node.inputs and all(ref in sweep.fixed for ref in node.inputs) and not node.weights:
        keys = {sweep.fixed[ref] for ref in node.inputs} - {""}
        if len(keys) <= 1:
            sweep.fixed.update(dict.fromkeys(outputs, keys.pop() if keys else ""))
            return
    chooses = _choice(node)
    if chooses is not None:
        sweep.chosen[node.name, chooses] = node
    elif _gathers(sweep, node):
        _gather(sweep, node, outputs)
        return
    elif any(ref in sweep.chosen for ref in node.inputs) and all(
        ref in sweep.chosen or sweep.fixed.get(ref) == "" for ref in node.inputs
    ):
        choice = next(sweep.chosen[ref] for ref in node.inputs if ref in sweep.chosen)
        sweep.chosen.update(dict.fromkeys(outputs, choice))
        return
    routed = _arriving(sweep, node)
    _read(sweep, node, learned, routed)
    if routed is not None and not _is_back(node):
        rows = graph.input_specs(node)[0].shape
        for ref in outputs:
            sweep.routed[ref] = routed._replace(share=routed.share * _part(rows, graph.specs[ref[0]][ref[1]].shape))


def _arriving(sweep: _Sweep, node: Node) -> _Routed | None:
    """Return the routed rows that a node reads, within the block that they were sent in; joined ones add up."""
    found = [sweep.routed[ref] for ref in node.inputs if ref in sweep.routed]
    found = [routed for routed in found if node.name.startswith(routed.block)]
    if not found:
        return None
    if isinstance(node.op, Concat) and node.op.dim == 0:
        return found[0]._replace(share=sum((routed.share for routed in found), Fraction(0)))
    return max(found, key=lambda routed: routed.share)


def _choice(node: Node) -> int | None:
    """Return which output of a node says what it chose, None for one that chooses nothing."""
    op = node.op
    if isinstance(op, Layout) and op.function == "topk":
        return 1
    if isinstance(op, Reduce) and op.function in ("argmax", "max"):
        return 0 if op.function == "argmax" else 1 if op.results == 2 else None
    return None


def _gathers(sweep: _Sweep, node: Node) -> bool:
    """Return whether a node picks rows of a tensor by what was chosen."""
    if not isinstance(node.op, Layout) or node.op.function not in _GATHERS or node.inputs[0] in sweep.chosen:
        return False
    return any(ref in sweep.chosen for ref in node.inputs[1:])


def _gather(sweep: _Sweep, node: Node, outputs: list[Ref]) -> None:
    graph = sweep.graph
    choice = next(sweep.chosen[ref] for ref in node.inputs[1:] if ref in sweep.chosen)
    data, key = graph.input_specs(node)[0], sweep.fixed.get(node.inputs[0])
    wide = data.numel // max(data.shape[0], 1) if key else data.shape[-1] if len(data.shape) > 1 else 1
    share = Fraction(graph.specs[node.name][0].numel // max(wide, 1), _tokens(graph, choice))
    if key:  # rows of a table of experts, one expert a row
        sweep.shares.setdefault(key, set()).add((node.name, share / max(data.shape[0], 1)))
    if key or choice.assumed:
        sweep.routed.update(dict.fromkeys(outputs, _Routed(share, f"{node.block}/" if node.block else "")))


def _tokens(graph: Graph, choice: Node) -> int:
    """Return how many rows chose."""
    scores = graph.input_specs(choice)[0]
    dim = choice.op.dims[0] if isinstance(choice.op, Reduce) and choice.op.dims else -1
    return max(scores.numel // max(scores.shape[dim], 1), 1)


def _read(sweep: _Sweep, node: Node, learned: list[str], routed: _Routed | None) -> None:
    """Note by how many tokens the parameters that a node reads are met, its own and those it reads as tensors."""
    specs = sweep.graph.input_specs(node)
    parts: Mapping[str, Fraction] = dict.fromkeys(learned, Fraction(1))
    for ref, spec in zip(node.inputs, specs, strict=True):
        if key := sweep.fixed.get(ref):
            part = Fraction(spec.numel, max(sweep.graph.params[key].spec.numel, 1))
            grouped = isinstance(node.op, Counted) and node.op.function == "grouped_mm"
            parts = {**parts, key: part / max(spec.shape[0], 1) if grouped else part}
    for key, part in parts.items():
        if routed is None:
            sweep.by_all.add(key)
        else:
            sweep.shares.setdefault(key, set()).add((node.name, part * routed.share))


def _part(rows: Shape, shape: Shape) -> Fraction:
    """Return which part of the rows a tensor has that is cut out of them."""
    cut = len(rows) == len(shape) > 1 and rows[1:] == shape[1:] and 0 < shape[0] < rows[0]
    return Fraction(shape[0], rows[0]) if cut else Fraction(1)


def _is_back(node: Node) -> bool:
    """Return whether a node brings rows back to the tokens that sent them: writes them there, or sums them."""
    op = node.op
    if isinstance(op, Reduce):
        return not op.keepdim
    return isinstance(op, (Counted, Layout)) and op.function.removesuffix("_") in _BACK
