"""Documents that show subjects which ran side by side: the verdicts, what each took, and where they differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from archlab.measured_comparisons import MeasuredComparison
from archlab.report.columns import Shaping
from archlab.report.comparing import comparison_document
from archlab.report.measuring import busy, counts_blocks, machine, without_time
from archlab.report.table import ESSENTIAL, Block, Column, Document, Heading, Table, Text
from archlab.samples import CONFIDENCE, Verdict


def measured_comparison_document(
    measured: MeasuredComparison, shaping: Shaping | None = None, exact: bool = False
) -> Document:
    """Return a comparison of counts, and before it which subject is faster and what each took, block by block."""
    counted = comparison_document(measured.comparison, shaping, exact)
    base, *others = measured.measurements
    blocks: list[Block] = [
        Text(verdict_sentence(base.profile.subject, other.profile.subject, found))
        for other, found in zip(others, measured.verdicts, strict=measured.paired)
    ]
    blocks += [subjects_table(measured), Text(machine(base))]
    if measured.interrupted:
        blocks.append(Text("Interrupted: this is what was measured until then."))
    for each in measured.measurements:
        texts = [*([text] if (text := busy(each)) else []), *without_time(each)]
        blocks += [Text(f"{each.profile.subject}: {text}") for text in texts]
        if each.counts is not None and each.counts.differing:
            blocks.append(Text(f"{each.profile.subject}:"))
            blocks += counts_blocks(each.counts, each.profile.total.macs, each.machine.device)
    where = f"{base.machine.device}, {base.machine.setting}"
    blocks += [latency_table(measured, shaping or Shaping()), Heading("Counted")]
    return Document(f"{counted.title} · measured on {where}", (*blocks, *counted.blocks), counted.data)


def verdict_sentence(base: str, other: str, found: Verdict) -> str:
    """Return a verdict in words, with the interval that it rests on."""
    if found.interval is None:
        return (
            f"{other} against {base}: {found.word}; {found.rounds} rounds are too few for a verdict, raise --seconds."
        )
    low, high = found.interval
    if high > _WIDE * low:
        return (
            f"{other} against {base}: {found.word}; {found.rounds} rounds differ too much among themselves for a "
            "verdict, raise --seconds or wait for a quieter machine."
        )
    seen = f"{found.ratio:.3f} times the time, {100 * CONFIDENCE:g} % interval {low:.3f} to {high:.3f}"
    return f"{other} against {base}: {found.word} ({seen}; {found.rounds} rounds run in turn)."


_WIDE = 4
"""An interval whose ends are further apart than by this factor says nothing of what was compared."""


def subjects_table(measured: MeasuredComparison) -> Table:
    """Return a row a subject: what the whole took, what its layers took, and the verdict against the base."""
    words: list[Any] = ["", *(found.word for found in measured.verdicts)]
    words += [""] * (len(measured.measurements) - len(words))
    rows = [
        (
            each.profile.subject,
            each.whole.median,
            each.whole.iqr,
            each.layers_seconds.median,
            each.profile.total.macs / each.whole.median / 1e9 if each.whole.median else None,
            word,
        )
        for each, word in zip(measured.measurements, words, strict=True)
    ]
    heads = (
        Column("measured", key="subject"),
        Column("whole", "seconds", key="whole_seconds"),
        Column("iqr", "seconds", "", 6, "iqr"),
        Column("sum of layers", "seconds", "", 6, "layers_seconds"),
        Column("rate", "decimal", "GMAC/s", 5, "rate"),
        Column("verdict", key="verdict"),
    )
    return Table(heads, rows)


_SMALL = 24
"""The most layers that are shown one by one if nothing else is asked for."""


def latency_table(measured: MeasuredComparison, shaping: Shaping) -> Table:
    """Return a row a block, or a layer of small networks: what each subject takes for it, and how these differ."""
    rows = measured.comparison.rows
    depth = shaping.depth or (None if len(rows) <= _SMALL or shaping.top is not None else 1)
    took: dict[str, list[float | None]] = {}
    for row in rows:
        name = "/".join(row.name.split("/")[:depth])
        sums = took.setdefault(name, [None] * len(measured.measurements))
        for place, (each, layer) in enumerate(zip(measured.measurements, row.layers, strict=True)):
            seconds = each.seconds(layer) if layer is not None else None
            if seconds is not None:
                sums[place] = (sums[place] or 0.0) + seconds.median
    entries = [(name, sums) for name, sums in took.items() if any(sums)]
    if shaping.sort is not None or shaping.top is not None:
        entries.sort(key=lambda entry: -_spread(entry[1]))
    if shaping.top is not None and len(entries) > shaping.top:
        rest, entries = entries[shaping.top :], entries[: shaping.top]
        entries.append((f"… {len(rest)} more", _sums([sums for _, sums in rest])))
    heads = [Column("block" if depth else "layer", key="layer")]
    for place, each in enumerate(measured.measurements):
        subject = each.profile.subject
        heads.append(Column(f"latency\n{subject}", "seconds", "", ESSENTIAL - place, f"seconds {subject}"))
    whole = ("total", *(each.sum_of_medians for each in measured.measurements))
    return Table(tuple(heads), [(name, *sums) for name, sums in entries], total=whole)


def _spread(sums: Sequence[float | None]) -> float:
    values = [value or 0.0 for value in sums]
    return max(values) - min(values)


def _sums(rows: Sequence[Sequence[float | None]]) -> list[float | None]:
    return [sum(value or 0.0 for value in column) for column in zip(*rows, strict=True)]
