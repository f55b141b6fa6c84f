"""Why a counter's figure is not ours: what each counter counts instead, stated so that it can be checked.

A rule is a count. One that does not give the counter's very figure explains nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import product
from typing import Any

from archlab.formula import Formula
from archlab.ir import Graph, is_complex
from archlab.ops import (
    AdaptiveAvgPool2d,
    Attention,
    BatchNorm,
    Conv1d,
    Conv2d,
    Conv3d,
    Counted,
    GlobalAvgPool2d,
    GroupNorm,
    LayerNorm,
    Linear,
    MatMul,
    Recurrent,
)
from archlab.ops.elements import element_factors, per_element
from archlab.profiles import Layer
from archlab.pytorch.counters import FVCORE, TORCH
from archlab.verifications import Count

Rule = Callable[[Layer], tuple[str, Formula] | None]
"""What a counter counts for a layer of some op, in words and as a count; None where the rule does not apply."""


def _batch_norm(layer: Layer) -> tuple[str, Formula]:
    op: Any = layer.node.op
    times = (4 + op.scale) if op.training else (1 + op.scale)
    return f"fvcore counts {times} per element of a batch norm", per_element(layer.inputs[0], times)


def _layer_norm(layer: Layer) -> tuple[str, Formula]:
    op: Any = layer.node.op
    return f"fvcore counts {4 + op.scale} per element of a layer norm", per_element(layer.inputs[0], 4 + op.scale)


def _group_norm(layer: Layer) -> tuple[str, Formula]:
    op: Any = layer.node.op
    return f"fvcore counts {4 + op.scale} per element of a group norm", per_element(layer.inputs[0], 4 + op.scale)


def _adaptive_pool(layer: Layer) -> tuple[str, Formula]:
    return "fvcore counts each input element of an adaptive pool", per_element(layer.inputs[0], side="in")


def _interpolation(layer: Layer) -> tuple[str, Formula] | None:
    op: Any = layer.node.op
    times = {"interpolate_nearest": 1, "interpolate_bilinear": 4}.get(op.function)
    if times is None or len(layer.output_shape) != 4:
        return None
    return f"fvcore counts {times} per output of an interpolation", per_element(layer.outputs[0], times)


def _broadcast_matmul(layer: Layer) -> tuple[str, Formula]:
    left, right = layer.inputs
    factors = (*element_factors(left, "in"), ("P", right.shape[-1]))
    return "fvcore leaves out the batch dimensions that only the right operand has", Formula.product(*factors)


def _vector_product(layer: Layer) -> tuple[str, Formula] | None:
    if all(len(spec.shape) != 1 for spec in layer.inputs):
        return None
    return "torch's counter has no rule for aten.mv and aten.dot", Formula()


BESIDES: Mapping[str, Mapping[type, Rule]] = {
    FVCORE: {
        BatchNorm: _batch_norm,
        LayerNorm: _layer_norm,
        GroupNorm: _group_norm,
        GlobalAvgPool2d: _adaptive_pool,
        AdaptiveAvgPool2d: _adaptive_pool,
        Counted: _interpolation,
    },
}
"""What a counter counts besides our MACs, so that it must be the difference."""

INSTEAD: Mapping[str, Mapping[type, Rule]] = {TORCH: {MatMul: _vector_product}, FVCORE: {MatMul: _broadcast_matmul}}
"""What a counter counts instead of our MACs, so that it must be the counter's figure."""

CONTRACTIONS = frozenset({"aten::_convolution_mode"})
"""Operators that multiply and accumulate and that a counter may say it has no rule for."""

_PRODUCTS = ("aten::baddbmm", "aten::addbmm", "aten::addmv", "aten::mv", "aten::dot", "aten::bilinear")
MISSED: Mapping[str, Mapping[type, tuple[str, ...]]] = {
    FVCORE: {
        Attention: ("aten::scaled_dot_product_attention",),
        Recurrent: ("aten::lstm", "aten::gru", "aten::rnn_tanh", "aten::rnn_relu"),
        Conv1d: ("aten::_convolution_mode",),
        Conv2d: ("aten::_convolution_mode",),
        Conv3d: ("aten::_convolution_mode",),
        MatMul: _PRODUCTS,
        Linear: _PRODUCTS,
    },
    TORCH: {Attention: ("the attention of the CPU",), Recurrent: ("the LSTM of the CPU",)},
}
"""Ops that a counter has no rule for, by the operators that it meets instead; torch's does not say which it met."""


def explain(layer: Layer, count: Count, *, returned: bool = True) -> str:
    """Return the rule that accounts exactly for the counter's figure and ours, or an empty string.

    `returned` says whether the layer leads to an output.
    """
    counted, op = count.layers[layer.name], type(layer.node.op)
    for rules, figure in ((BESIDES, counted - layer.cost.macs), (INSTEAD, counted)):
        rule = rules.get(count.name, {}).get(op)
        found = rule(layer) if rule is not None else None
        if found is not None and found[1].value == figure:
            return f"{found[0]}: {found[1]}"
    if counted and counted == _plain(layer).value:
        return f"{count.name} {_ONCE}: {_plain(layer)}"
    if not counted:
        if count.name == FVCORE and not returned:
            return "fvcore counts what leads to an output, and this layer leads to none: 0"
        for operator in count.unsupported.get(layer.name, ()):
            if operator in CONTRACTIONS:
                return f"{count.name} has no rule for {operator}: 0"
        for operator in count.failed.get(layer.name, ()):
            return f"the rule of {count.name} for {operator} fails on these shapes: 0"
    return ""


def explain_together(
    layers: Sequence[Layer], counter: str, figure: int, unsupported: Mapping[str, int], graph: Graph
) -> str:
    """Return the rules that account exactly for a counter's figure for several layers together, or an empty string.

    Each op among them is counted as we do or as one rule says; `unsupported` are the operators that the
    counter says it has no rule for.
    """
    kinds: dict[type, list[Layer]] = {}
    for layer in layers:
        kinds.setdefault(type(layer.node.op), []).append(layer)
    choices = [_readings(kind, found, counter, unsupported, graph) for kind, found in kinds.items()]
    for chosen in product(*choices):
        if sum(formula.value for _, formula in chosen) == figure:
            told = [(words, formula) for words, formula in chosen if words]
            return f"{' and '.join(words for words, _ in told)}: {' + '.join(str(f) for _, f in told)}"
    return ""


def _readings(
    kind: type, layers: Sequence[Layer], counter: str, unsupported: Mapping[str, int], graph: Graph
) -> list[tuple[str, Formula]]:
    """Return how a counter may count the layers of one op: as we do (no words), or as a rule says."""
    ours = _sum(layer.formula for layer in layers)
    found = [("", ours)]
    for rules, besides in ((BESIDES, True), (INSTEAD, False)):
        rule = rules.get(counter, {}).get(kind)
        said = [(layer, rule(layer)) for layer in layers] if rule is not None else []
        words = next((told[0] for _, told in said if told is not None), "")
        if words:
            kept = (layer.formula for layer, told in said if besides or told is None)
            found.append((words, _sum([*kept, *(told[1] for _, told in said if told is not None)])))
    if any(is_complex(layer.outputs[0].dtype) for layer in layers):
        found.append((f"{counter} {_ONCE}", _sum(_plain(layer) for layer in layers)))
    if ours.value:
        for operator in MISSED.get(counter, {}).get(kind, ()):
            if counter == TORCH or operator in unsupported:
                found.append((f"{counter} has no rule for {operator}", Formula()))
        if counter == FVCORE and not {layer.name for layer in layers} & leading_to_outputs(graph):
            found.append(("fvcore counts what leads to an output, and this leads to none", Formula()))
    return found


_ONCE = "counts a product of complex numbers once"


def _plain(layer: Layer) -> Formula:
    """Return how the MACs of a layer are counted if its numbers were real."""
    return layer.node.op.arithmetic(layer.outputs, *layer.inputs).get("mac", Formula())


def leading_to_outputs(graph: Graph) -> set[str]:
    """Return the names of the nodes that an output depends on."""
    names = {name for name, _ in graph.outputs}
    for node in reversed(graph.nodes):
        if node.name in names:
            names.update(name for name, _ in node.inputs)
    return names


def _sum(formulas: Iterable[Formula]) -> Formula:
    total = Formula()
    for formula in formulas:
        total = total + formula
    return total
