"""Documents that show a verification: each counter's total, the checks against torch, a row a layer."""

from __future__ import annotations

from collections import Counter

from archlab.report.table import Column, Document, Heading, Table, Text
from archlab.verifications import Row, Verification


def verification_document(result: Verification) -> Document:
    """Return how far independent counters agree, and the reason for each difference."""
    verdict = "Everything agrees or is explained." if result.ok else "Something is not explained."
    return Document(
        f"{result.subject} · {result.mode}",
        (
            Text(verdict),
            _totals(result),
            Heading("Compared with torch's own module"),
            _checks(result),
            Heading("Layer by layer"),
            _layers(result),
            *_reasons(result),
        ),
    )


def _totals(result: Verification) -> Table:
    rows: list[tuple[object, ...]] = [("archlab", result.macs, 0, "")]
    for i, count in enumerate(result.counters):
        readings = [row.readings[i] for row in result.rows]
        equal = sum(not reading.difference for reading in readings)
        explained = sum(bool(reading.difference) and reading.ok for reading in readings)
        words = f"{equal} of {len(readings)} layers equal, {explained} explained"
        missing = len(readings) - equal - explained
        rows.append(
            (f"{count.name} {count.version}", count.total, count.total - result.macs, f"{words}, {missing} not")
        )
    heads = (
        Column("counter", key="counter"),
        Column("MACs", "count", exact=True, key="macs"),
        Column("difference", "count", exact=True, key="difference"),
        Column("", key="verdict"),
    )
    return Table(heads, rows)


def _checks(result: Verification) -> Table:
    rows = [(check.name, "equal" if check.ok else "DIFFERS", check.detail) for check in result.checks]
    return Table((Column("what", key="what"), Column("", key="verdict"), Column("detail", key="detail")), rows)


def _layers(result: Verification) -> Table:
    """Return the layers that someone counts something for; the others are 0 for all."""
    names = [count.name for count in result.counters]
    shown = [row for row in result.rows if row.macs or any(reading.difference for reading in row.readings)]
    rows = [(row.name, row.macs, *(reading.count for reading in row.readings), _verdict(row)) for row in shown]
    heads = (
        Column("layer", key="layer"),
        *(Column(name, "count", exact=True, key=name) for name in ("archlab", *names)),
        Column("", key="verdict"),
    )
    return Table(heads, rows, total=("total", result.macs, *(count.total for count in result.counters), ""))


def _verdict(row: Row) -> str:
    differing = [reading for reading in row.readings if reading.difference]
    if not differing:
        return "equal"
    return ", ".join(f"{reading.counter} {'explained' if reading.ok else 'UNEXPLAINED'}" for reading in differing)


def _reasons(result: Verification) -> list[Heading | Table]:
    """Return each rule that explains a difference once, with how many layers it explains and one of them."""
    readings = [(row, reading) for row in result.rows for reading in row.readings if reading.difference]
    if not readings:
        return []
    rule = {reading.reason: reading.reason.partition(":")[0] for _, reading in readings}
    times = Counter(rule[reading.reason] for _, reading in readings)
    sums: Counter[str] = Counter()
    examples: dict[str, str] = {}
    for row, reading in readings:
        sums[rule[reading.reason]] += reading.difference
        examples.setdefault(rule[reading.reason], f"{row.name}: {reading.reason.partition(': ')[2] or reading.count}")
    rows = [(name, count, sums[name], examples[name]) for name, count in times.items()]
    heads = (
        Column("reason", key="reason"),
        Column("layers", "count", exact=True, key="layers"),
        Column("adds", "count", exact=True, key="difference"),
        Column("for example", importance=5, key="example"),
    )
    return [Heading("Why they differ"), Table(heads, rows)]
