"""Documents that show one profile: its table, its totals, the explanation of a layer."""

from __future__ import annotations

from collections.abc import Mapping

from archlab.formula import Formula
from archlab.profiles import Layer, Profile
from archlab.report.columns import Shaping, cost_table, shape
from archlab.report.numbers import human, in_bytes
from archlab.report.table import Column, Document, Table, Text

CLASS_NAMES: Mapping[str, str] = {
    "mac": "MACs",
    "add": "additions",
    "mul": "multiplications",
    "div": "divisions",
    "exp": "exponentials and other transcendentals",
    "cmp": "comparisons",
}


def profile_document(profile: Profile, shaping: Shaping | None = None) -> Document:
    """Return a profile's table and its totals, each with every digit."""
    return Document(
        f"{profile.subject} · {profile.mode} · {_given(profile)}",
        (cost_table(profile, shaping), totals_table(profile), Text(completeness(profile))),
    )


def totals_table(profile: Profile) -> Table:
    """Return the totals of a profile, one a row: rounded, exact, and what it says."""
    from archlab.analyses.depth import depth
    from archlab.analyses.memory import peak_memory

    cost, parameters = profile.total, profile.parameters
    layers = depth(profile.graph, profile.mode)
    peak = peak_memory(profile.graph, profile.mode)
    alive = ", ".join(f"{name} {in_bytes(size)}" for name, size in peak.alive[:4])
    more = f" and {len(peak.alive) - 4} more" if len(peak.alive) > 4 else ""
    unread = "".join(f"; {human(parameters[k])} {k}" for k in ("frozen", "unused", "buffers") if parameters[k])
    other = ", ".join(f"{human(n)} {kind}" for kind, n in cost.operations.items() if n and kind != "mac")
    rows = [
        ("MACs", human(cost.macs), f"{cost.macs:,}", ""),
        ("FLOPs", human(cost.flops), f"{cost.flops:,}", f"2·MACs + {other}" if other else "2·MACs"),
        ("params", human(cost.params), f"{cost.params:,}", f"{in_bytes(cost.weight_bytes)}{unread}"),
        ("activations", human(cost.activations), f"{cost.activations:,}", "elements that layers write"),
        ("bytes moved", in_bytes(cost.bytes_moved), f"{cost.bytes_moved:,}", f"unfused; {cost.intensity:.2f} FLOP/B"),
        ("peak memory", in_bytes(peak.bytes), f"{peak.bytes:,}", f"at {peak.node}: {alive}{more}"),
        (
            "depth",
            str(layers.weighted),
            "",
            f"weighted layers on the longest path; {layers.with_pooling} with pooling",
        ),
    ]
    heads = (
        Column("total", key="metric"),
        Column("", "count", key="rounded"),
        Column("exact", "count", key="exact"),
        Column("", key="note"),
    )
    return Table(heads, rows)


def completeness(profile: Profile) -> str:
    """Return in one sentence what was not counted and what was assumed."""
    if not profile.uncounted and not profile.assumed:
        return "Uncounted: nothing; every operation has a rule."
    parts = []
    for word, found in (("Uncounted", profile.uncounted), ("Assumed", profile.assumed)):
        if found:
            parts.append(f"{word}: {', '.join(f'{name} ({times}×)' for name, times in found.items())}.")
    return " ".join(parts)


def explanation(profile: Profile, layer: Layer) -> Document:
    """Return how every number of one layer comes about: the rule, the symbols, the numbers put in."""
    node, cost = layer.node, layer.cost
    reads = ", ".join(f"{name} {spec}" for (name, _), spec in zip(node.inputs, layer.inputs, strict=True))
    facts = [("op", str(node.op)), ("reads", reads or "nothing"), ("writes", shape(layer)), ("rule", node.op.rule)]
    for kind, name in CLASS_NAMES.items():
        if kind in layer.formulas:
            facts.extend(_formula_lines(name, layer.formulas[kind]))
    terms = [f"{2 if k == 'mac' else 1}·{n:,}" if k == "mac" else f"{n:,}" for k, n in cost.operations.items() if n]
    facts.append(("FLOPs", f"{' + '.join(terms) or '0'} = {cost.flops:,}" if len(terms) > 1 else f"{cost.flops:,}"))
    weights = [(role, key, profile.graph.params[key]) for role, key in node.weights.items()]
    for role, key, param in weights:
        kind = "buffer" if param.buffer else "parameter" if param.trainable else "frozen parameter"
        facts.append((role, f"{'·'.join(map(str, param.shape)) or '1'} = {param.spec.numel:,} ({kind} {key})"))
    facts.append(("params", f"{cost.params:,}"))
    if node.op.is_view:
        facts.append(("bytes moved", "0; the output is the input's storage, or given by the caller"))
    else:
        read = [spec.bytes for spec in dict(zip(node.inputs, layer.inputs, strict=True)).values()]
        kept = [p.spec.bytes for p in {key: p for _, key, p in weights}.values() if not p.buffer]
        written = [spec.bytes for spec in layer.outputs]
        terms = [f"{size:,}" for size in [*read, *kept, *written]]
        facts.append(("bytes moved", f"{' + '.join(terms)} = {cost.bytes_moved:,} (inputs + weights + outputs)"))
        facts.append(("intensity", f"{cost.flops:,} FLOPs / {cost.bytes_moved:,} B = {cost.intensity:.2f} FLOP/B"))
    share = f" ({100 * cost.macs / profile.total.macs:.2f} % of {profile.subject})" if profile.total.macs else ""
    facts.append(("share", f"{cost.macs:,} of {profile.total.macs:,} MACs{share}"))
    heads = (Column("", key="what"), Column("", key="how"))
    return Document(f"{profile.subject} · {layer.name} · {profile.mode}", (Table(heads, facts),))


def overview(profile: Profile) -> Document:
    """Return the MACs of a whole profile as a sum of its layers' formulas."""
    heads = (
        Column("layer", key="layer"),
        Column("MACs", "count", exact=True, key="macs"),
        Column("formula", importance=8, key="formula"),
        Column("numbers", key="numbers"),
    )
    rows = [
        (layer.name, layer.cost.macs, layer.formula.symbolic, layer.formula.substituted.rpartition(" = ")[0])
        for layer in profile.layers
        if layer.cost.macs
    ]
    table = Table(heads, rows, total=("total", profile.total.macs, "", ""))
    return Document(f"{profile.subject} · {profile.mode}", (table,))


def _formula_lines(name: str, formula: Formula) -> list[tuple[str, str]]:
    return [(name, f"{formula.symbolic}"), ("", f"= {formula.substituted}")]


def _given(profile: Profile) -> str:
    return ", ".join(f"{name} {spec}" for name, spec in profile.input.items())
