"""Documents that show what changed between two sides, such as two revisions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from archlab.cost import METRICS
from archlab.guard.check import grown
from archlab.guard.difference import WORDS, Difference
from archlab.guard.entry import Entry
from archlab.guard.quantities import IN_BYTES
from archlab.guard.runs import Failure
from archlab.guard.sides import Change, Changes
from archlab.report.changes import TOP, first_layer, listed, movers, others
from archlab.report.table import Block, Column, Details, Document, Kind, Table, Text

SIDES = ("old", "new")
_METRICS = {"macs": ("MACs", 8), "params": ("params", 7), "peak_memory": ("peak\nmemory", 6)}
_NAMED = 5
_MANY = 8
"""From more models than that the unchanged ones are one row."""
_SAID = {"not counted": "could not be counted", "changed": "changed", "new": "is new", "removed": "was removed"}


def diff_document(changes: Changes, top: int | None = None) -> Document:
    """Return what changed: a row a model, and for each that is another its totals, first layer and movers."""
    same = [model for model in changes.models if model.status == "no change"]
    folded = same if len(changes.models) > _MANY and len(same) > 1 else []
    shown = [model for model in changes.models if model not in folded]
    blocks: list[Block] = [_models(shown, len(folded))] if changes.models else []
    blocks += [_model(model, changes, top or TOP) for model in shown if model.status != "no change"]
    if folded:
        blocks.append(Details(f"{len(folded)} models without a change", (_models(folded),), aside=True))
    return Document(_verdict(changes), tuple(blocks), _models(changes.models))


def _verdict(changes: Changes) -> str:
    between = f"{changes.old.name} → {changes.new.name}"
    if not changes.models:
        return f"{between}: neither has a model."
    count = len(changes.models)
    if changes.unchanged:
        same = {1: f"{changes.models[0].name} costs", 2: "both models cost"}.get(count, f"all {count} models cost")
        return f"{between}: no change, {same} the same."
    if count == 1:
        name, said = changes.models[0].name, _SAID[changes.models[0].status]
        return f"{between}: {said}." if name == between else f"{between}: {name} {said}."
    parts = []
    for status in ("not counted", "changed", "new", "removed"):
        names = [model.name for model in changes.models if model.status == status]
        if names:
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            parts.append(f"{len(names)} {status} ({', '.join(names[:_NAMED])}{more})")
    return f"{between}: of {count} model{'s' * (count != 1)} {', '.join(parts)}."


def _models(models: Sequence[Change], folded: int = 0) -> Table:
    """Return a row a model: its status, its cost on the new side, by how much that changed; one for those folded."""
    columns = [Column("model", key="model", code=True), Column("status", key="status")]
    for metric, (title, importance) in _METRICS.items():
        kind: Kind = "bytes" if metric == "peak_memory" else "count"
        columns.append(Column(title, kind, "", importance, metric))
        columns.append(Column(f"{title.split()[-1]}\nchange", kind, "", importance, f"{metric}_change", signed=True))
    rows = []
    for model in models:
        old, new = model.entries
        difference, shown = model.difference, old if model.status == "removed" else new
        cells: list[Any] = []
        for metric in _METRICS:
            cells += [shown and shown.total.get(metric), difference and difference.change(metric)]
        rows.append((model.name, model.status, *cells))
    if folded:
        rows.append((f"… {folded} more", "no change", *("", "~") * len(_METRICS)))
    return Table(tuple(columns), rows)


def _model(model: Change, changes: Changes, top: int) -> Details:
    failures = [
        (side.name, found) for side, found in zip((changes.old, changes.new), (model.old, model.new), strict=True)
    ]
    blocks: list[Block] = [
        Text(f"{name}: {found.message}", plain=True) for name, found in failures if isinstance(found, Failure)
    ]
    if model.otherwise:
        ways = (f"{word} {_way(old)}, now {_way(new)}" for word, old, new in model.otherwise)
        blocks.append(Text(f"counted otherwise: {'; '.join(ways)}", plain=True))
    if model.difference is not None:
        blocks += _difference(model.difference, top)
    else:
        known = zip((changes.old, changes.new), model.entries, strict=True)
        blocks += [Text(f"{side.name}: {_summary(entry)}", plain=True) for side, entry in known if entry is not None]
    return Details(_headline(model), tuple(blocks))


def _headline(model: Change) -> str:
    difference = model.difference
    if difference is None or difference.unchanged:
        return f"{model.name}: {model.status}"
    moved = [metric for metric in difference.totals if difference.change(metric)]
    told = f"{WORDS.get(moved[0], moved[0])} {grown(*difference.totals[moved[0]])}" if moved else "the same totals"
    first = f", first at {difference.first.name}" if difference.first else ""
    return f"{model.name}: {told}{first}"


def _difference(difference: Difference, top: int) -> list[Block]:
    """Return the totals that changed, the first layer that differs, and the layers that moved most."""
    blocks: list[Block] = [_totals(difference)]
    same = [WORDS.get(metric, metric) for metric, (old, new) in difference.totals.items() if old == new and old]
    if same:
        blocks.append(Text(f"No change: {', '.join(same)}."))
    if difference.first is not None:
        blocks += [Text(first_layer(difference, SIDES), code=True), Text(others(difference))]
        moved = next((metric for metric in METRICS if difference.movers(metric)), None)
        if len(difference.changed) > 1 and moved:
            blocks.append(movers(difference, moved, top, SIDES))
    for word in ("uncounted", "assumed"):
        if found := listed(difference.new, word):
            blocks.append(Text(f"{word}: {found}", plain=True))
    return blocks


def _totals(difference: Difference) -> Table:
    """Return a row a total that changed, with every digit."""
    columns = (
        Column("total", key="metric"),
        Column("old", "count", importance=6, key="old", exact=True),
        Column("new", "count", importance=7, key="new", exact=True),
        Column("change", "count", key="change", exact=True, signed=True),
        Column("share", "decimal", importance=5, key="share"),
    )
    rows = [
        (
            f"{WORDS.get(metric, metric)}{' [B]' if metric in IN_BYTES else ''}",
            old,
            new,
            new - old,
            f"{100 * (new - old) / old:+.2f} %" if old else "-",
        )
        for metric, (old, new) in difference.totals.items()
        if old != new
    ]
    return Table(columns, rows)


def _summary(entry: Entry) -> str:
    parts = [f"{entry.total[metric]:,} {WORDS.get(metric, metric)}" for metric in ("macs", "params", "flops")]
    left = [f"{word}: {found}" for word in ("uncounted", "assumed") if (found := listed(entry, word))]
    return "; ".join([", ".join(parts), *left])


def _way(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {each}" for key, each in value.items()) or "none"
    return str(value)
