"""Documents that show a comparison: totals side by side, layers aligned, and the products behind them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

from archlab.comparisons import Comparison
from archlab.cost import Cost, total
from archlab.errors import UsageError
from archlab.profiles import Layer, Profile
from archlab.report.columns import COSTS, Shaping, shape
from archlab.report.numbers import change, human, in_bytes
from archlab.report.table import ESSENTIAL, Block, Column, Document, Heading, Table, Text
from archlab.report.views import completeness

Costs = tuple[Cost | None, ...]
"""The cost of one layer or block in each subject; None where a subject lacks it."""
Entry = tuple[tuple[str, ...], Costs]

_SMALL = 24
"""The most layers that are shown one by one, with their products, if nothing else is asked for."""
_METRICS = {
    "macs": "MACs",
    "backward_macs": "  of them backward",
    "reported": "",
    "params": "params",
    "weights": "  without biases",
    "flops": "FLOPs",
    "activations": "activations",
    "bytes_moved": "bytes moved [B]",
    "peak_memory": "peak memory [B]",
}
"""The rows of the totals, by metric."""
_TELLING = ("macs", "params", "flops", "bytes_moved", "activations")
"""The columns that tell networks apart, the most telling first."""
_BYTES = ("bytes_moved", "peak_memory", "weight_bytes")


def comparison_document(comparison: Comparison, shaping: Shaping | None = None, exact: bool = False) -> Document:
    """Return a comparison: small networks layer by layer with their products, large ones by block."""
    shaping = shaping or Shaping()
    small = len(comparison.rows) <= _SMALL
    if not small and shaping.depth is None and shaping.top is None:
        shaping = replace(shaping, depth=1)
    blocks: list[Block] = [Text(headline(comparison)), totals(comparison, exact), Text(_output(comparison))]
    for profile in comparison.subjects:
        if profile.uncounted or profile.assumed:
            blocks.append(Text(f"{profile.subject}: {completeness(profile)}"))
    if comparison.unchanged:
        blocks.append(Text("No change: every layer and every total is the same."))
        return Document(_title(comparison), tuple(blocks))
    table = cost_table(comparison, shaping)
    blocks.append(table)
    if small:
        blocks.append(Heading("The multiplications"))
        blocks.extend(Text(_products(profile), code=True) for profile in comparison.subjects)
    else:
        blocks.append(Text(_differences(comparison)))
    return Document(_title(comparison), tuple(blocks), table)


def _title(comparison: Comparison) -> str:
    base, *others = (profile.subject for profile in comparison.subjects)
    inputs = dict.fromkeys(", ".join(map(str, profile.input.values())) for profile in comparison.subjects)
    return f"{base} against {', '.join(others)} · {comparison.base.way} · {' / '.join(inputs)}"


def headline(comparison: Comparison) -> str:
    """Return the comparison of MACs in one sentence."""
    counts = [profile.total.macs for profile in comparison.subjects]
    shown = [human(count) for count in counts]
    if len(set(shown)) < len(set(counts)):
        shown = [f"{count:,}" for count in counts]
    words = [f"{text}{_change(counts[0], count)}" for text, count in zip(shown, counts, strict=True)]
    if len(counts) == 2:
        return f"{shown[0]} against {shown[1]} MACs{_change(counts[0], counts[1])}."
    parts = [f"{p.subject} {text}" for p, text in zip(comparison.others, words[1:], strict=True)]
    return f"{comparison.base.subject} takes {shown[0]} MACs; {'; '.join(parts)}."


def _change(base: int, value: int) -> str:
    return f", {change(value / base)}" if base else ""


def totals(comparison: Comparison, exact: bool = False) -> Table:
    """Return a row a metric: each subject's total, and how each other relates to the base.

    Two subjects have room for every digit and a column for the change; of more, each tells its own
    change and is rounded unless `exact`.
    """
    subjects = comparison.subjects
    alone = len(subjects) == 2
    rows: list[list[object]] = []
    for metric, title in _METRICS.items():
        if metric == "backward_macs" and not comparison.base.backward:
            continue
        if metric == "reported" and comparison.base.tally is None:
            continue
        words = title or f"{comparison.base.convention}'s {comparison.base.total.unit}"
        values = [_value(profile, metric) for profile in subjects]
        in_units = [in_bytes(v) if metric in _BYTES else human(v) for v in values]
        rounded = not exact and not alone and len(set(in_units)) == len(set(values))
        shown = in_units if rounded else [f"{v:,}" for v in values]
        if alone:
            rows.append([words, *shown, Fraction(values[1], values[0]) if values[0] else None])
        else:
            changes = [_change(values[0], value) for value in values[1:]]
            rows.append([words, shown[0], *(f"{s}{c}" for s, c in zip(shown[1:], changes, strict=True))])
    rows.append(["intensity [FLOP/B]", *(f"{p.total.intensity:.2f}" for p in subjects), *([""] if alone else [])])
    heads = [Column("total", key="metric"), *(Column(p.subject, "decimal", key=p.subject) for p in subjects)]
    if alone:
        heads.append(Column("change", "ratio", "", 5, "change"))
    return Table(tuple(heads), rows)


def cost_table(comparison: Comparison, shaping: Shaping) -> Table:
    """Return a row a layer or a block, with each subject's value of each column."""
    heads, entries = _layers(comparison) if shaping.depth is None else _blocks(comparison, shaping)
    names = _names(comparison, shaping)
    if shaping.sort is not None or shaping.top is not None:
        entries.sort(key=lambda entry: -_spread(shaping.sort or names[0], entry[1]))
    end = tuple(profile.total for profile in comparison.subjects)
    if shaping.top is not None and len(entries) > shaping.top:
        rest, entries = entries[shaping.top :], entries[: shaping.top]
        sums = tuple(total(cost for _, costs in rest if (cost := costs[i]) is not None) for i in range(len(end)))
        words = f"… {len(rest)} more {'layers' if shaping.depth is None else 'blocks'}"
        entries.append(((words, *[""] * (len(heads) - 1)), sums))
    columns = (*heads, *_columns(comparison, names))
    blank = ("total", *[""] * (len(heads) - 1))
    return Table(
        columns, [(*words, *_values(names, costs)) for words, costs in entries], total=(*blank, *_values(names, end))
    )


def _names(comparison: Comparison, shaping: Shaping) -> tuple[str, ...]:
    """Return the columns asked for, or the first two that differ; raise `UsageError` for one of profiles alone."""
    totals = [profile.total for profile in comparison.subjects]
    differing = [name for name in _TELLING if len({COSTS[name].get(cost) for cost in totals}) > 1]
    names = shaping.columns or tuple(differing[:2]) or _TELLING[:2]
    for name in (*names, *([] if shaping.sort is None else [shaping.sort])):
        if name not in COSTS:
            raise UsageError(f"a comparison has no column {name!r} (columns: {', '.join(COSTS)})")
    return names


def _layers(comparison: Comparison) -> tuple[tuple[Column, ...], list[Entry]]:
    entries: list[Entry] = []
    for row in comparison.rows:
        shapes = [shape(layer) if layer else None for layer in row.layers]
        same = len({text for text in shapes if text}) == 1
        output = next(text for text in shapes if text) if same else " / ".join(text or "-" for text in shapes)
        entries.append(((row.name, output), tuple(layer.cost if layer else None for layer in row.layers)))
    return (Column("layer", key="layer"), Column("output", importance=6, key="output")), entries


def _blocks(comparison: Comparison, shaping: Shaping) -> tuple[tuple[Column, ...], list[Entry]]:
    """Return the blocks in the order of the aligned layers; those with 0 in every column are one row."""
    groups = [profile.by_block(shaping.depth or 1) for profile in comparison.subjects]
    layers = (layer for row in comparison.rows for layer in row.layers if layer)
    names = dict.fromkeys("/".join(layer.name.split("/")[: shaping.depth]) for layer in layers)
    blocks: list[Entry] = [((name,), tuple(group.get(name) for group in groups)) for name in names]
    empty = [costs for _, costs in blocks if not any(_values(_names(comparison, shaping), costs))]
    entries = [(words, costs) for words, costs in blocks if any(_values(_names(comparison, shaping), costs))]
    if empty:
        sums = tuple(total(cost for costs in empty if (cost := costs[i]) is not None) for i in range(len(groups)))
        entries.append(((f"… {len(empty)} more with 0",), sums))
    return (Column("block", key="block"),), entries


def _columns(comparison: Comparison, names: Sequence[str]) -> list[Column]:
    """Return a column for each name and subject; the first name's are never left out."""
    columns = []
    for place, name in enumerate(names):
        for profile in comparison.subjects:
            head = COSTS[name].column
            title, key = f"{head.title}\n{profile.subject}", f"{name} {profile.subject}"
            columns.append(replace(head, title=title, key=key, importance=ESSENTIAL - min(place, 1) - place))
    return columns


def _values(names: Sequence[str], costs: Costs) -> list[object]:
    return [None if cost is None else COSTS[name].get(cost) for name in names for cost in costs]


def _spread(name: str, costs: Costs) -> int:
    values: list[int] = [0 if cost is None else COSTS[name].get(cost) for cost in costs]
    return max(values) - min(values)


def _value(profile: Profile, metric: str) -> int:
    if metric == "weights":
        return profile.total.params - profile.biases
    return int(profile.peak_memory if metric == "peak_memory" else getattr(profile.total, metric))


def _output(comparison: Comparison) -> str:
    outputs = [", ".join(map(str, p.graph.output_specs)) for p in comparison.subjects]
    if comparison.same_output:
        return f"The output is identical: {outputs[0]}."
    named = (f"{p.subject} {output}" for p, output in zip(comparison.subjects, outputs, strict=True))
    return f"The outputs differ: {'; '.join(named)}."


def _products(profile: Profile) -> str:
    """Return each layer's MACs as a product, and their sum."""
    counted = [layer for layer in profile.layers if layer.cost.macs]
    wide = max((len(layer.name) for layer in counted), default=0)
    lines = [profile.subject]
    for layer in counted:
        lines.append(f"  {layer.name:{wide}}  {layer.formula.symbolic}")
        lines.append(f"  {'':{wide}}  = {layer.formula.substituted} MACs")
    if len(counted) > 1:
        lines.append(
            f"  {'total':{wide}}  {' + '.join(f'{layer.cost.macs:,}' for layer in counted)} = {profile.total.macs:,}"
        )
    return "\n".join(lines)


def _differences(comparison: Comparison) -> str:
    """Return how many layers each other adds, lacks and changes."""
    lines = []
    for i, other in enumerate(comparison.others, 1):
        pairs: list[tuple[Layer | None, Layer | None]] = [(row.layers[0], row.layers[i]) for row in comparison.rows]
        new = sum(a is None and b is not None for a, b in pairs)
        gone = sum(a is not None and b is None for a, b in pairs)
        changed = sum(a is not None and b is not None and a.cost != b.cost for a, b in pairs)
        plural = "" if gone == 1 else "s"
        lines.append(f"{other.subject}: {gone} layer{plural} gone, {new} new, {changed} at another cost.")
    return " ".join(lines)
