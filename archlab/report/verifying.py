"""Documents that show a verification: each counter's total, the checks against torch, a row a layer."""

from __future__ import annotations

from collections import Counter

from archlab.report.table import Column, Document, Heading, Table, Text
from archlab.verifications import Row, Verification


def verification_document(result: Verification) -> Document:
    """Return how far independent counters agree, and the reason for each difference."""
    counters = _agreements(result) if result.agreements else (_totals(result),)
    return Document(
        f"{result.subject} · {result.mode}",
        (
            Text(_verdict_of_all(result)),
            *counters,
            Heading("Compared with torch's own module"),
            _checks(result),
            *_layers(result),
            *_reasons(result),
        ),
    )


def _verdict_of_all(result: Verification) -> str:
    if not result.ok:
        verdict = "Something is not explained."
    elif result.agreements:
        verdict = "Nothing is left unexplained where a counter claims what we claim."
    else:
        verdict = "Everything agrees or is explained."
    times = Counter(each.verdict for each in result.agreements)
    said = [f"{n} {_PLURAL.get(word, word) if n > 1 else word}" for word, n in times.items()]
    return f"{verdict} Of {len(result.agreements)} counters: {', '.join(said)}." if said else verdict


_PLURAL = {"agrees": "agree", "differs": "differ", "as its convention says": "as their conventions say"}


def _agreements(result: Verification) -> tuple[Heading | Table | Text, ...]:
    """Return a row a counter, the first layer of each disagreement, what failed, and what was changed."""
    rows: list[tuple[object, ...]] = [("archlab", "", None, "", result.macs, 0, result.params, "", "")]
    for each in result.agreements:
        said = each.opinion
        changed = "changed the model" if said.changed else ""
        verdict = ", ".join(word for word in (each.verdict, changed) if word)
        numbers = (said.total, said.unit if said.total is not None else "", said.macs, each.difference, said.params)
        rows.append((said.counter, said.version, *numbers, _layers_equal(result, said.counter), verdict))
    heads = (
        Column("counter", key="counter"),
        Column("version", importance=2, key="version"),
        Column("prints", "count", importance=5, exact=True, key="total"),
        Column("unit", importance=5, key="unit"),
        Column("as MACs", "count", exact=True, key="macs"),
        Column("difference", "count", exact=True, key="difference"),
        Column("params", "count", importance=3, exact=True, key="params"),
        Column("layers equal", importance=4, key="layers_equal"),
        Column("", key="verdict"),
    )
    return (Table(heads, rows), *_first(result), *_failures(result), *_changes(result))


def _layers_equal(result: Verification, counter: str) -> str:
    readings = [reading for row in result.rows for reading in row.readings if reading.counter == counter]
    equal = sum(not reading.difference for reading in readings)
    return f"{equal} of {len(readings)}" if readings else ""


def _first(result: Verification) -> list[Heading | Table]:
    differing = [each for each in result.agreements if each.difference or each.first]
    rows = []
    for each in differing:
        if each.first is None:
            where: tuple[object, ...] = ("has no figures by layer", None, None, "")
        else:
            where = (each.first.layer, each.first.ours, each.first.theirs, each.first.reason)
        rows.append((each.opinion.counter, *where))
    heads = (
        Column("counter", key="counter"),
        Column("layer", key="layer"),
        Column("archlab", "count", exact=True, key="macs"),
        Column("counter's", "count", exact=True, key="count"),
        Column("why", key="reason"),
    )
    return [Heading("The first layer where each differs, in MACs"), Table(heads, rows)] if rows else []


def _failures(result: Verification) -> list[Heading | Table]:
    """Return what went wrong, with the counters that it went wrong for."""
    by_error: dict[tuple[str, str], list[str]] = {}
    for each in result.agreements:
        if each.opinion.error:
            by_error.setdefault((each.verdict, each.opinion.error), []).append(each.opinion.counter)
    rows = [(", ".join(counters), verdict, error) for (verdict, error), counters in by_error.items()]
    heads = (Column("counter", key="counter"), Column("", key="status"), Column("why", key="error"))
    return [Heading("What did not count"), Table(heads, rows)] if rows else []


def _changes(result: Verification) -> list[Heading | Table]:
    rows = [(each.opinion.counter, change) for each in result.agreements for change in each.opinion.changed]
    heads = (Column("counter", key="counter"), Column("what is different afterwards", key="changed"))
    return [Heading("What counters did to the model"), Table(heads, rows)] if rows else []


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


def _layers(result: Verification) -> list[Heading | Table]:
    """Return the layers that someone counts something for; the others are 0 for all."""
    if not result.rows:
        return []
    names = [count.name for count in result.counters]
    shown = [row for row in result.rows if row.macs or any(reading.difference for reading in row.readings)]
    rows = [(row.name, row.macs, *(reading.count for reading in row.readings), _verdict(row)) for row in shown]
    heads = (
        Column("layer", key="layer"),
        *(Column(name, "count", exact=True, key=name) for name in ("archlab", *names)),
        Column("", key="verdict"),
    )
    whole = ("total", result.macs, *(count.total for count in result.counters), "")
    return [Heading("Layer by layer"), Table(heads, rows, total=whole)]


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
    rule = {reading.reason: reading.reason.partition(": ")[0] for _, reading in readings}
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
