"""How raw values become text: units a person reads, or every digit."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from archlab.report.table import Column, Table

_STEPS = ((10**15, "P", 3), (10**12, "T", 3), (10**9, "G", 3), (10**6, "M", 1), (10**3, "k", 1))


def human(value: int) -> str:
    """Return a count in SI units: 112.9 M, 1.583 G; below 10,000 every digit."""
    if abs(value) < 10_000:
        return f"{value:,}"
    step, unit, digits = next(s for s in _STEPS if abs(value) >= s[0])
    scaled = round(value / step, digits)
    if abs(scaled) >= 1000 and step < _STEPS[0][0]:
        step, unit, digits = _STEPS[_STEPS.index((step, unit, digits)) - 1]
        scaled = round(value / step, digits)
    return f"{scaled:,.{digits}f} {unit}"


def in_bytes(value: int) -> str:
    """Return a size in decimal units: 2.7 MB; below 10,000 every digit."""
    shown = human(value)
    return f"{shown}B" if shown[-1].isalpha() else f"{shown} B"


def in_seconds(value: float) -> str:
    """Return a time with three significant digits in the unit that suits it: 1.23 s, 45.6 ms, 789 µs, 12.3 ns."""
    for step, unit in ((1, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if abs(value) >= 0.9995 * step:
            return f"{_three(value / step)} {unit}"
    return f"{_three(value / 1e-9)} ns" if value else "0 s"


def _three(value: float) -> str:
    digits = 0 if abs(value) >= 99.95 else 1 if abs(value) >= 9.995 else 2
    return f"{value:,.{digits}f}"


def in_rate(value: float, unit: str) -> str:
    """Return a rate in SI units with up to four significant digits: 989.5 TFLOP/s, 3.35 TB/s."""
    step, prefix = next((s, p) for s, p in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (0, "")) if value >= s)
    return f"{value / (step or 1):.4g} {prefix}{unit}"


def times(ratio: float) -> str:
    """Return a factor with three significant digits, such as 21.4× or 7.94×."""
    if ratio >= 1000:
        return f"{ratio:,.0f}×"
    if ratio >= 100:
        return f"{ratio:.0f}×"
    return f"{ratio:.1f}×" if ratio >= 10 else f"{ratio:.2f}×"


def change(ratio: float) -> str:
    """Return other ÷ base in words: 21.4× fewer, 7.94× more, equal."""
    if ratio == 1:
        return "equal"
    if ratio == 0:
        return "none"
    if abs(ratio - 1) < 0.005:
        percent = 100 * abs(ratio - 1)
        shown = f"{percent:.2g} %" if percent >= 0.01 else "under 0.01 %"
        return f"{shown} {'more' if ratio > 1 else 'fewer'}"
    return f"{times(ratio)} more" if ratio > 1 else f"{times(1 / ratio)} fewer"


def show(value: Any, column: Column, exact: bool) -> str:
    """Return a cell's text."""
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    if column.kind in ("count", "bytes"):
        if column.signed and value == 0:
            return "~"
        text = f"{value:,}" if exact or column.exact else (human if column.kind == "count" else in_bytes)(value)
        return f"+{text}" if column.signed and value > 0 else text
    if column.kind == "seconds":
        return f"{value:.9f}" if exact or column.exact else in_seconds(value)
    if column.kind == "ratio":
        return change(float(value))
    if column.kind == "share":
        return f"{100 * value:.1f} %"
    if column.kind == "decimal":
        return f"{value:,.2f}"
    return str(value)


def cells(table: Table, exact: bool = False) -> list[list[str]]:
    """Return the text of every cell, the total row last if there is one.

    Two counts of one row or one column that print equal but differ are both printed exactly, and so
    are the same counts elsewhere in their rows.
    """
    rows = [*table.rows, *([table.total] if table.total is not None else [])]
    shown = [[show(v, c, exact) for v, c in zip(row, table.columns, strict=True)] for row in rows]
    counting = [i for i, c in enumerate(table.columns) if c.kind in ("count", "bytes")]
    groups: dict[Any, list[tuple[int, int]]] = defaultdict(list)
    for r in range(len(rows)):
        for i in counting:
            if isinstance(rows[r][i], int):
                groups["column", i, shown[r][i]].append((r, i))
                groups["row", r, table.columns[i].kind, table.columns[i].unit, shown[r][i]].append((r, i))
    clashing = {p for places in groups.values() if len({rows[r][i] for r, i in places}) > 1 for p in places}
    for r, i in clashing:
        alike = [j for j in counting if rows[r][j] == rows[r][i] and table.columns[j].kind == table.columns[i].kind]
        for j in alike:
            digits = show(rows[r][j], table.columns[j], exact=True)
            shown[r][j] = f"{digits}{' B' if table.columns[j].kind == 'bytes' else ''}"
    return shown


def heads(table: Table, newline: str = " ") -> list[str]:
    """Return the title of every column with its unit; `newline` stands where a title breaks."""
    titles = (f"{c.title} [{c.unit}]" if c.unit else c.title for c in table.columns)
    return [title.replace("\n", newline) for title in titles]
