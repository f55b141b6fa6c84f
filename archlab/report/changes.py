"""What every report of a check says of one model: the first layer that differs, what moved most, what accepts it."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from archlab.cost import METRICS
from archlab.guard.difference import WORDS, Changed, Difference
from archlab.guard.entry import Entry
from archlab.guard.findings import Verdict
from archlab.guard.quantities import IN_BYTES
from archlab.report.table import Column, Kind, Table

SIDES = ("locked", "now")
"""What the two sides of a check are called."""
TOP = 5
"""How many layers are named that moved most."""
_REASONS = {
    "error": "it cannot be counted",
    "missing": "the lock has no entry",
    "stale": "the lock is stale",
    "incomplete": "the count is incomplete",
    "budget": "over budget",
    "growth": "it grew",
}
"""What the gravest finding comes to, where that is no good news."""


def headline(verdict: Verdict) -> str:
    """Return what a model's part of a report is about: ``googlenet fails: it grew, first at conv2/3x3``."""
    difference = verdict.difference
    words = [why] if (why := reason(verdict)) else []
    words += [f"first at {difference.first.name}"] if difference and difference.first else []
    return f"{verdict.name} {verdict.status}{': ' if words else ''}{', '.join(words)}"


def reason(verdict: Verdict) -> str:
    """Return what the gravest finding comes to in a word or a few, "" where that is only noted."""
    gravest = next((finding for finding in verdict.findings if finding.level != "note"), None)
    return _REASONS.get(gravest.kind, "") if gravest else ""


def accepting(verdict: Verdict) -> str:
    """Return the one command that accepts what was found of a model, "" where none does.

    It is the gravest finding's; of several as grave a budget's, since that command writes the lock, too.
    """
    found = [finding for finding in verdict.findings if finding.accept]
    gravest = [finding for finding in found if finding.level == found[0].level]
    over = [finding for finding in gravest if finding.kind == "budget"]
    return (over or gravest)[0].accept if found else ""


def first_layer(difference: Difference | None, sides: tuple[str, str] = SIDES) -> str:
    """Return the first layer that differs and its products on both sides, a line each; "" where none does."""
    if difference is None or difference.first is None:
        return ""
    first = difference.first
    lines = [f"first layer that differs: {first.name} ({_what(first)})"]
    for word, product in zip(sides, first.products, strict=True):
        lines.append(f"  {word:6}  {product}{'' if product == '-' else f' {first.unit}'}")
    return "\n".join(lines)


def _what(pair: Changed) -> str:
    old, new = pair.old, pair.new
    if old is None or new is None:
        row = new or old
        assert row is not None
        return f"{'new' if old is None else 'gone'}: {row.op} {row.output}"
    op = new.op if old.op == new.op else f"{old.op} → {new.op}"
    output = new.output if old.output == new.output else f"{old.output} → {new.output}"
    return f"{op} {output}{'' if old.name == new.name else f', was {old.name}'}"


def others(difference: Difference) -> str:
    """Return in a sentence how many layers differ besides the first."""
    count = len(difference.changed) - 1
    return f"{count or 'No'} other layer{'s differ' if count > 1 else ' differs'}."


def telling(verdict: Verdict) -> str:
    """Return the metric that tells best what moved: the gravest finding's, where layers have it, or the first."""
    difference = verdict.difference
    moved = [metric for metric in METRICS if difference is not None and difference.movers(metric)]
    named = [finding.metric for finding in verdict.findings if finding.metric in moved]
    return (*named, *moved, METRICS[0])[0]


def movers(difference: Difference, metric: str, top: int = TOP, sides: tuple[str, str] = SIDES) -> Table:
    """Return the layers whose count of a metric changed most, the rest in one row; the changes sum to the total's."""
    kind: Kind = "bytes" if metric in IN_BYTES else "count"
    columns = (
        Column("layer", key="layer", code=True),
        Column(sides[0], kind, importance=5, key=sides[0]),
        Column(sides[1], kind, importance=6, key=sides[1]),
        Column("change", kind, key="change", signed=True),
    )
    pairs = difference.movers(metric)
    shown, rest = (pairs, []) if len(pairs) <= top + 1 else (pairs[:top], pairs[top:])
    rows: list[tuple[object, ...]] = [
        (p.name, p.old and p.old.count(metric), p.new and p.new.count(metric), p.change(metric)) for p in shown
    ]
    if rest:
        rows.append((f"… {len(rest)} more", "", "", sum(p.change(metric) for p in rest)))
    total = ("total", "", "", sum(p.change(metric) for p in pairs))
    return Table(columns, rows, f"{WORDS.get(metric, metric)}, the largest changes first", total)


def movers_text(difference: Difference, metric: str, top: int = TOP) -> list[str]:
    """Return a line for each layer whose count of a metric changed most."""
    pairs = difference.movers(metric)
    word = WORDS.get(metric, metric)
    lines = [f"{pair.change(metric):+,} {word}  {pair.name}" for pair in pairs[:top]]
    return [*lines, f"… {len(pairs) - top} more layers"] if len(pairs) > top else lines


def told(verdict: Verdict) -> list[str]:
    """Return in lines where a change comes from: the first layer that differs, then those that moved most."""
    difference = verdict.difference
    if difference is None or difference.first is None:
        return []
    moved = movers_text(difference, telling(verdict)) if len(difference.changed) > 1 else []
    return [*first_layer(difference).splitlines(), others(difference), *moved]


def listed(entry: Entry, word: str) -> str:
    """Return the names of what is `uncounted` or `assumed` of a model, with how often each ran."""
    return ", ".join(f"{name} ({times}×)" for name, times in getattr(entry, word).items())


def installed(package: str) -> str | None:
    """Return the version of a package, None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
