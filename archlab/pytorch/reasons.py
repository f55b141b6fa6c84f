"""Why a counter's figure is not ours: what each counter counts instead, stated so that it can be checked.

A rule is a count. One that does not give the counter's very figure explains nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from archlab.formula import Formula
from archlab.ops import AdaptiveAvgPool2d, BatchNorm, GlobalAvgPool2d, LayerNorm, MatMul
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


def _adaptive_pool(layer: Layer) -> tuple[str, Formula]:
    return "fvcore counts each input element of an adaptive pool", per_element(layer.inputs[0], side="in")


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
        GlobalAvgPool2d: _adaptive_pool,
        AdaptiveAvgPool2d: _adaptive_pool,
    },
}
"""What a counter counts besides our MACs, so that it must be the difference."""

INSTEAD: Mapping[str, Mapping[type, Rule]] = {TORCH: {MatMul: _vector_product}, FVCORE: {MatMul: _broadcast_matmul}}
"""What a counter counts instead of our MACs, so that it must be the counter's figure."""

CONTRACTIONS = frozenset({"aten::_convolution_mode"})
"""Operators that multiply and accumulate and that a counter may say it has no rule for."""


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
    if not counted:
        if count.name == FVCORE and not returned:
            return "fvcore counts what leads to an output, and this layer leads to none: 0"
        for operator in count.unsupported.get(layer.name, ()):
            if operator in CONTRACTIONS:
                return f"{count.name} has no rule for {operator}: 0"
        for operator in count.failed.get(layer.name, ()):
            return f"the rule of {count.name} for {operator} fails on these shapes: 0"
    return ""
