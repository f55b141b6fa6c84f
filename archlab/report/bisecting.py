"""Documents that show the commit at which a metric left its good side."""

from __future__ import annotations

from collections.abc import Sequence

from archlab.guard.check import grown
from archlab.guard.difference import WORDS
from archlab.guard.found import Found
from archlab.guard.quantities import IN_BYTES
from archlab.report.changes import TOP, first_layer, movers, others
from archlab.report.table import Block, Column, Document, Kind, Table, Text

SIDES = ("before", "after")


def bisect_document(found: Found, commands: Sequence[tuple[str, str]] = (), top: int | None = None) -> Document:
    """Return the commit at which a metric left its good side, what it changed, and how much of the whole that is.

    `commands` are what to type next, each behind its reason.
    """
    steps, word = found.steps, WORDS.get(found.metric, found.metric)
    counted = Text(f"Counted {len(steps.values)} of {found.size + 1} revisions.")
    good, bad = found.whole
    if steps.after is None or found.step is None or found.share is None:
        title = f"No change: {found.model} has {good:,} {word} in {found.ends[0].name} and in {found.ends[1].name}."
        between = Text("What went up and down again in between is not looked for.")
        return Document(title, (between, counted) if found.size > 1 else (counted,))
    by = f"{steps.after.short} {steps.after.subject}"
    if steps.hidden:
        by = f"one of {len(steps.candidates)} commits"
    title = f"{found.model}: {word} {grown(*found.step)} by {by}"
    blocks: list[Block] = [_steps(found)]
    if steps.hidden:
        blocks.append(Text("Those between cannot be counted, so it may be any of them or the one behind them."))
    blocks.append(Text(f"That is {_percent(found.share)} of the change in the range, {grown(good, bad)}."))
    difference = found.difference
    if difference is not None and difference.first is not None:
        blocks += [Text(first_layer(difference, SIDES), code=True), Text(others(difference))]
        if len(difference.changed) > 1 and difference.movers(found.metric):
            blocks.append(movers(difference, found.metric, top or TOP, SIDES))
    for reason, command in commands:
        blocks += [Text(reason), Text(command, code=True)]
    if found.failures:
        columns = (
            Column("commit", key="commit", code=True),
            Column("why it cannot be counted", key="why", code=True),
        )
        rows = [(revision.short, " ".join(why.split())) for revision, why in found.failures.items()]
        blocks.append(Table(columns, rows))
    return Document(title, (*blocks, counted))


def _percent(share: float) -> str:
    if share == 1:
        return "100 %"
    percent = 100 * share
    return f"{percent:.2f} %" if 0.01 <= abs(percent) < 99.995 or abs(percent) > 100.005 else f"{percent:.6g} %"


def _steps(found: Found) -> Table:
    """Return a row for both ends, for the last good and the first bad revision, and for what is hidden between."""
    metric, steps = found.metric, found.steps
    kind: Kind = "bytes" if metric in IN_BYTES else "count"
    columns = (
        Column("", key="role"),
        Column("commit", key="commit", code=True),
        Column(WORDS.get(metric, metric), kind, key=metric, exact=True),
        Column("change", kind, importance=6, key="change", exact=True, signed=True),
        Column("subject", key="subject", code=True),
    )
    assert steps.after is not None
    shown = [("before", steps.before), *(("?", each) for each in steps.hidden), ("after", steps.after)]
    shown = shown if steps.before == found.ends[0] else [("good", found.ends[0]), *shown]
    shown = shown if steps.after == found.ends[1] else [*shown, ("bad", found.ends[1])]
    rows: list[tuple[object, ...]] = []
    last: int | None = None
    for role, revision in shown:
        value = steps.values.get(revision)
        change = None if value is None or last is None else value - last
        rows.append((role, revision.short, value, change, revision.subject))
        last = last if value is None else value
    return Table(columns, rows)
