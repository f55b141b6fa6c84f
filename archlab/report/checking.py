"""Documents that show a check: the verdict, a row a model, why each that changed did, and what accepts it."""

from __future__ import annotations

from collections.abc import Sequence

from archlab.guard.entry import Entry
from archlab.guard.findings import Check, Verdict
from archlab.report.changes import (
    accepting,
    first_layer,
    headline,
    installed,
    listed,
    movers,
    others,
    reason,
    telling,
)
from archlab.report.table import Block, Column, Details, Document, Kind, Table, Text

_MANY = 8
"""From more models than that the unchanged ones are one row."""
_NAMED = 5
_LONGEST = 60
_GRAVITY = ("fails", "warns", "changed", "improved", "no change")
_VERBS = {
    "fails": ("fails", "fail"),
    "warns": ("warns", "warn"),
    "changed": ("changed", "changed"),
    "improved": ("improved", "improved"),
}
"""What one and what several models do, by status."""
_METRICS = {"macs": ("MACs", 8), "params": ("params", 7), "peak_memory": ("peak\nmemory", 6)}
_LEVELS = {"fail": "fails", "warn": "warns", "note": "note"}


def check_document(check: Check, reproduce: str) -> Document:
    """Return a check: the verdict, one table, and for each model that is not as it was why and what accepts it.

    `reproduce` is the command that checks again. How it was counted is an aside.
    """
    ordered = sorted(check.verdicts, key=lambda verdict: _GRAVITY.index(verdict.status))
    same = [verdict for verdict in ordered if verdict.status == "no change"]
    folded = same if len(ordered) > _MANY and len(same) > 1 else []
    shown = [verdict for verdict in ordered if verdict not in folded]
    blocks: list[Block] = [_table(shown, len(folded))] if shown else []
    told: dict[tuple[str, str], list[Verdict]] = {}
    for verdict in ordered:
        if verdict.status != "no change":
            told.setdefault(_alike(verdict), []).append(verdict)
    blocks += [_model(group[0]) if len(group) == 1 else _models(group) for group in told.values()]
    blocks += _incomplete(ordered)
    if folded:
        blocks.append(Details(f"{len(folded)} models without a change", (_table(folded),), aside=True))
    blocks.append(_how(ordered, reproduce))
    return Document(verdict_of(check), tuple(blocks), _table(check.verdicts))


def verdict_of(check: Check) -> str:
    """Return the verdict on all models in one sentence, with counts and names."""
    if not check.verdicts:
        return "No model was checked."
    alone = check.verdicts[0].name if len(check.verdicts) == 1 else None
    if check.status == "no change":
        cost = f"{_short(alone)} costs" if alone else f"all {len(check.verdicts)} models cost"
        return f"No change: {cost} what the lock says."
    found = {status: [v.name for v in check.verdicts if v.status == status] for status in _VERBS}
    parts: list[str] = []
    for status, names in found.items():
        if names:
            of = f" of {len(check.verdicts)} models" if not parts else ""
            parts.append(f"{len(names)}{of} {_VERBS[status][len(names) > 1]}: {_named(names)}")
    return f"{_short(alone)} {check.status}." if alone else f"{'; '.join(parts)}."


def _named(names: Sequence[str]) -> str:
    listed = ", ".join(_short(name) for name in names[:_NAMED])
    return f"{listed} and {len(names) - _NAMED} more" if len(names) > _NAMED else listed


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"


def _table(verdicts: Sequence[Verdict], folded: int = 0) -> Table:
    """Return a row a model: its status, what it costs, by how much that changed; one more for those `folded`."""
    columns = [Column("model", key="model", code=True), Column("status", key="status")]
    for metric, (title, importance) in _METRICS.items():
        kind: Kind = "bytes" if metric == "peak_memory" else "count"
        changed = f"{title.split()[-1]}\nchange"
        columns.append(Column(title, kind, "", importance, metric))
        columns.append(Column(changed, kind, "", importance, f"{metric}_change", signed=True))
    rows: list[tuple[object, ...]] = []
    for verdict in verdicts:
        difference, total = verdict.difference, verdict.entry.total if verdict.entry else {}
        cells = [(total.get(m), None if difference is None else difference.change(m)) for m in _METRICS]
        rows.append((verdict.name, verdict.status, *(cell for pair in cells for cell in pair)))
    if folded:
        rows.append((f"… {folded} more", "no change", *("", "~") * len(_METRICS)))
    return Table(tuple(columns), rows)


def _model(verdict: Verdict) -> Details:
    """Return what was found of one model, the gravest first, where it begins, and the command that accepts it."""
    blocks: list[Block] = [Text(_findings(verdict), plain=True)] if verdict.findings else []
    difference = verdict.difference
    if difference is not None and difference.first is not None:
        blocks.append(Text(first_layer(difference), code=True))
        blocks.append(Text(others(difference)))
        if len(difference.changed) > 1:
            blocks.append(movers(difference, telling(verdict)))
    if command := accepting(verdict):
        grave = verdict.status in ("fails", "warns")
        blocks += [Text("To accept it:" if grave else "To lock it in:"), Text(command, code=True)]
    return Details(headline(verdict), tuple(blocks))


def _alike(verdict: Verdict) -> tuple[str, str]:
    """Return what verdicts are told together by: the lock has no entry of a model, or one of no model."""
    if {finding.kind for finding in verdict.findings} == {"missing"}:
        return "missing", ""
    return ("stale", "") if verdict.model is None else ("", verdict.name)


def _models(verdicts: Sequence[Verdict]) -> Details:
    """Return what was found of models that are told together, and the commands that accept it, a line each."""
    commands = "\n".join(dict.fromkeys(accepting(verdict) for verdict in verdicts))
    findings = "\n".join(_findings(verdict) for verdict in verdicts)
    blocks = (Text(findings, plain=True), Text("To accept it:"), Text(commands, code=True))
    return Details(f"{len(verdicts)} models fail: {reason(verdicts[0])}", blocks)


def _findings(verdict: Verdict) -> str:
    return "\n".join(f"{_LEVELS[f.level]}: {' '.join(f.text.split())}" for f in verdict.findings)


def _incomplete(verdicts: Sequence[Verdict]) -> list[Block]:
    rows = [
        (verdict.name, listed(entry, "uncounted"), listed(entry, "assumed"))
        for verdict in verdicts
        if (entry := verdict.entry) is not None and (entry.uncounted or entry.assumed)
    ]
    if not rows:
        return []
    names = ("model", "uncounted", "assumed")
    table = Table(tuple(Column(name, key=name, code=True) for name in names), rows)
    are = "1 model is" if len(rows) == 1 else f"{len(rows)} models are"
    return [Details(f"{are} not counted in full", (table,))]


def _how(verdicts: Sequence[Verdict], reproduce: str) -> Details:
    """Return how the models were counted, by which versions, and how to count them again."""
    names = ("model", "target", "input", "mode", "convention")
    rows = [_way(verdict.name, verdict.entry) for verdict in verdicts if verdict.entry is not None]
    versions = [f"{package} {found}" for package in ("archlab", "torch") if (found := installed(package))]
    table = Table(tuple(Column(name, key=name, code=name in names[:3]) for name in names), rows)
    return Details(
        "How it was counted",
        (
            *((table,) if rows else ()),
            Text(f"{', '.join(versions)}. The same again:" if versions else "The same again:", plain=True),
            Text(reproduce, code=True),
        ),
        aside=True,
    )


def _way(name: str, entry: Entry) -> tuple[str, ...]:
    inputs = ", ".join(spec if len(entry.input) == 1 else f"{key}={spec}" for key, spec in entry.input.items())
    mode = f"{entry.mode}, with the backward pass" if entry.backward else entry.mode
    arguments = (
        f"({', '.join(f'{key}={value}' for key, value in entry.arguments.items())})" if entry.arguments else ""
    )
    return name, f"{entry.target}{arguments}", inputs, mode, entry.convention
