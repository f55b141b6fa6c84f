"""Documents and data that explain numbers: the rule, the symbols, the numbers put in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from archlab.formula import Formula
from archlab.ir import Shape
from archlab.profiles import Layer, Profile
from archlab.report.columns import shape
from archlab.report.table import Column, Document, Table, Text
from archlab.report.views import completeness

CLASS_NAMES: Mapping[str, str] = {
    "mac": "MACs",
    "add": "additions",
    "mul": "multiplications",
    "div": "divisions",
    "exp": "exponentials and other transcendentals",
    "cmp": "comparisons",
}


BACKWARD = (
    "a contraction takes its product again for each operand that needs a gradient, as trainable parameters ask "
    "for it; elementwise work, memory traffic and recomputation are not counted"
)


def explanation(profile: Profile, layer: Layer) -> Document:
    """Return how every number of one layer comes about: the rule, the symbols, the numbers put in."""
    node, cost = layer.node, layer.cost
    reads = ", ".join(f"{name} {spec}" for (name, _), spec in zip(node.inputs, layer.inputs, strict=True))
    facts = [("op", str(node.op)), ("reads", reads or "nothing"), ("writes", shape(layer)), ("rule", node.op.rule)]
    if layer.gradients is not None:
        facts.append(("backward", BACKWARD))
    for kind, name in CLASS_NAMES.items():
        if kind == "mac" and layer.gradients:
            facts.extend(_products(layer, layer.gradients))
        elif kind in layer.formulas:
            facts.extend(_formula_lines(name, layer.formulas[kind]))
    terms = [f"{2 if k == 'mac' else 1}·{n:,}" if k == "mac" else f"{n:,}" for k, n in cost.operations.items() if n]
    facts.append(("FLOPs", f"{' + '.join(terms) or '0'} = {cost.flops:,}" if len(terms) > 1 else f"{cost.flops:,}"))
    weights = [(role, key, profile.graph.params[key]) for role, key in node.weights.items()]
    for role, key, param in weights:
        kind = "buffer" if param.buffer else "parameter" if param.trainable else "frozen parameter"
        facts.append((role, f"{_product(param.shape)} ({kind} {key})"))
    facts.append(("params", f"{cost.params:,}"))
    if node.op.is_view:
        facts.append(("bytes moved", "0; the output is the input's storage, or given by the caller"))
    else:
        given = (
            node.op.fetched(i, spec, *layer.inputs) if node.op.gathers else spec
            for i, spec in enumerate(layer.inputs)
        )
        read = [spec.bytes for spec in dict(zip(node.inputs, given, strict=True)).values()]
        roles = {key: (role, p.spec) for role, key, p in weights if not p.buffer}
        kept = [node.op.fetched(role, spec, *layer.inputs).bytes for role, spec in roles.values()]
        written = [spec.bytes for spec in layer.outputs]
        forward = cost.flops - 2 * cost.backward_macs
        terms = [f"{size:,}" for size in [*read, *kept, *written]]
        facts.append(("bytes moved", f"{' + '.join(terms)} = {cost.bytes_moved:,} (inputs + weights + outputs)"))
        facts.append(("intensity", f"{forward:,} FLOPs / {cost.bytes_moved:,} B = {cost.intensity:.2f} FLOP/B"))
    share = f" ({100 * cost.macs / profile.total.macs:.2f} % of {profile.subject})" if profile.total.macs else ""
    facts.append(("share", f"{cost.macs:,} of {profile.total.macs:,} MACs{share}"))
    heads = (Column("", key="what"), Column("", key="how"))
    return Document(f"{profile.subject} · {layer.name} · {profile.way}", (Table(heads, facts),))


def overview(profile: Profile, layers: Sequence[Layer]) -> Document:
    """Return the MACs of some layers of a profile as a sum of their formulas."""
    heads = (
        Column("layer", key="layer"),
        Column("MACs", "count", exact=True, key="macs"),
        Column("formula", importance=8, key="formula"),
        Column("numbers", key="numbers"),
    )
    rows = [
        (layer.name, layer.cost.macs, layer.formula.symbolic, layer.formula.substituted.rpartition(" = ")[0])
        for layer in layers
        if layer.cost.macs
    ]
    table = Table(heads, rows, total=("total", sum(layer.cost.macs for layer in layers), "", ""))
    return Document(f"{profile.subject} · {profile.way}", (table, *_incomplete(profile)))


def _incomplete(profile: Profile) -> tuple[Text, ...]:
    """Return what is missing from the figures, nothing where nothing is."""
    return (Text(completeness(profile)),) if profile.uncounted or profile.assumed else ()


def explanation_data(profile: Profile, layers: Sequence[Layer]) -> dict[str, Any]:
    """Return the explanation of layers as plain data, schema ``archlab.explanation/1``."""
    return {
        "schema": "archlab.explanation/1",
        "subject": profile.subject,
        "mode": profile.mode,
        "backward": profile.backward,
        "layers": [_layer_data(profile, layer) for layer in layers],
    }


def _layer_data(profile: Profile, layer: Layer) -> dict[str, Any]:
    weights = {role: profile.graph.params[key] for role, key in layer.node.weights.items()}
    data = {
        **layer.to_dict(),
        "rule": layer.node.op.rule,
        "formulas": _formula_data(layer.formulas),
        "weights": {role: {"key": layer.node.weights[role], **param.to_dict()} for role, param in weights.items()},
    }
    return data if layer.gradients is None else {**data, "gradients": _formula_data(layer.gradients)}


def _formula_data(formulas: Mapping[str, Formula]) -> dict[str, Any]:
    return {
        name: {"symbolic": f.symbolic, "substituted": f.substituted, "value": f.value} for name, f in formulas.items()
    }


def _product(shape: Shape) -> str:
    factors = "·".join(map(str, shape))
    return f"{factors} = {prod(shape):,}" if len(shape) > 1 else f"{prod(shape):,}"


def _products(layer: Layer, gradients: Mapping[str, Formula]) -> list[tuple[str, str]]:
    """Return the MACs of a layer as the sum of its forward product and of one product a gradient."""
    parts = {"forward": layer.forward, **{f"gradient of {operand}": f for operand, f in gradients.items()}}
    terms = " + ".join(f"{formula.value:,}" for formula in parts.values())
    lines = [("MACs", f"{terms} = {layer.formula.value:,}")]
    for name, formula in parts.items():
        lines.extend(_formula_lines(f"  {name}", formula))
    return lines


def _formula_lines(name: str, formula: Formula) -> list[tuple[str, str]]:
    return [(name, f"{formula.symbolic}"), ("", f"= {formula.substituted}")]
