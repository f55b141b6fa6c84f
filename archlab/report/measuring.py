"""Documents that show what was measured: times beside counts, the machine they are of, and verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from archlab.cost import Cost
from archlab.measured_comparisons import MeasuredComparison
from archlab.measurements import Counts, Measurement, Seconds, Timing
from archlab.report.columns import Figure, Shaping, cost_table
from archlab.report.comparing import comparison_document
from archlab.report.table import ESSENTIAL, Block, Column, Document, Heading, Table, Text
from archlab.report.views import profile_document
from archlab.samples import CONFIDENCE, Verdict

DEFAULT = ("params", "macs", "seconds", "iqr", "time_share", "rate")
"""The columns of a measured profile."""
SHARED = "shared"
"""What stands for the time of a layer that another carries."""


def measurement_document(
    measurement: Measurement, shaping: Shaping | None = None, bounds: Mapping[str, Figure] | None = None
) -> Document:
    """Return a profile's table with what each layer took, and its totals with what all of it took.

    `bounds` are the columns of the bounds on a machine, of which the attained part is shown.
    """
    profile = measurement.profile
    counted = profile_document(profile, shaping=None)
    default = (*DEFAULT, "bound", "attained") if bounds else DEFAULT
    table = cost_table(profile, shaping, {**figures(measurement), **(bounds or {})}, default)
    blocks: list[Block] = [table, times_table(measurement), Text(machine(measurement))]
    if measurement.interrupted:
        blocks.append(Text("Interrupted: this is what was measured until then."))
    blocks += [Text(text) for text in _said(measurement)]
    if measurement.counts is not None:
        blocks += counts_blocks(measurement.counts, profile.total.macs, measurement.machine.device)
    title = f"{counted.title} · measured on {measurement.machine.device}, {measurement.machine.setting}"
    return Document(title, (*blocks, *counted.blocks[1:]), table)


def figures(measurement: Measurement) -> dict[str, Figure]:
    """Return the columns of what was measured: the median, its spread, the share of all layers, MACs a second."""
    whole = measurement.layers_seconds.median

    def found(layers: Sequence[str]) -> list[Seconds]:
        return [measurement.layers[name] for name in layers if name in measurement.layers]

    def seconds(layers: Sequence[str]) -> float | str | None:
        took = found(layers)
        if took:
            return sum(each.median for each in took)
        if any(name in measurement.carried for name in layers):
            return SHARED
        return None

    def spread(layers: Sequence[str], _: Cost) -> float | None:
        took = found(layers)
        return took[0].iqr if len(took) == 1 else None

    def share(layers: Sequence[str], _: Cost) -> float | None:
        took = seconds(layers)
        return took / whole if isinstance(took, float) and whole else None

    def rate(layers: Sequence[str], cost: Cost) -> float | None:
        took, macs = seconds(layers), cost.macs
        group = [g for g in measurement.shared if set(g.layers) & set(layers)]
        if any(not set(g.layers) <= set(layers) for g in group):
            if len(group) > 1 or len(layers) > 1:
                return None
            costs = {layer.name: layer.cost.macs for layer in measurement.profile.layers}
            macs = sum(costs[name] for name in group[0].layers)
        return macs / took / 1e9 if isinstance(took, float) and took and macs else None

    return {
        "seconds": Figure(Column("latency", "seconds", "", 8, "seconds"), lambda layers, _: seconds(layers)),
        "iqr": Figure(Column("iqr", "seconds", "", 5, "iqr"), spread),
        "time_share": Figure(Column("share", "share", "", 7, "time_share"), share),
        "rate": Figure(Column("rate", "decimal", "GMAC/s", 6, "rate"), rate),
    }


def times_table(measurement: Measurement) -> Table:
    """Return what the whole model took by itself, and what its layers took together while they were listened to."""
    whole, layers = measurement.whole, measurement.layers_seconds
    rows = [("whole model", *_times(whole), "run with nobody listening")]
    listened = measurement.listened
    if listened is not None:
        share, reach = measurement.listened_share
        between = "" if reach is None else f" ({100 * reach.low:.1f} to {100 * reach.high:.1f} %)"
        rows.append(("layers, run by run", *_times(listened), f"{100 * share:.1f} %{between} of the run beside it"))
    if measurement.machine.compiled:
        rows.append(("sum of layers", *_times(layers), "compiled: one call runs all of them"))
    elif measurement.layers:
        rows.append(("sum of layers", *_times(layers), "their medians: the total of the column above"))
    heads = (
        Column("measured", key="measured"),
        Column("median", "seconds", key="median"),
        Column("iqr", "seconds", "", 6, "iqr"),
        Column("95 % from", "seconds", "", 5, "low"),
        Column("to", "seconds", "", 5, "high"),
        Column("runs", "count", "", 4, "runs"),
        Column("", "text", "", 7, "note"),
    )
    return Table(heads, rows)


def _times(seconds: Seconds) -> tuple[float, float, float, float, int]:
    return seconds.median, seconds.iqr, seconds.low, seconds.high, seconds.runs


def machine(measurement: Measurement) -> str:
    """Return in one sentence where it was measured."""
    return f"Measured on {measurement.machine.place}; {measurement.machine.setting}."


def timings_table(timings: Sequence[Timing]) -> Table:
    """Return a row a result that was measured some time, somewhere: what it took, and where."""
    rows = [(each.subject, each.whole.median, each.whole.iqr, each.layers, each.machine.place) for each in timings]
    heads = (
        Column("measured", key="subject"),
        Column("whole", "seconds", key="whole_seconds"),
        Column("iqr", "seconds", "", 6, "iqr"),
        Column("sum of layers", "seconds", "", 6, "layers_seconds"),
        Column("on", key="machine"),
    )
    return Table(heads, rows)


_GROUPS = 5
"""How many groups of layers that share a call are told one by one."""


def _said(measurement: Measurement) -> list[str]:
    """Return what has no time of its own, and why."""
    said = []
    for group in measurement.shared[:_GROUPS]:
        names = ", ".join(group.layers[:6]) + (f" and {len(group.layers) - 6} more" if len(group.layers) > 6 else "")
        said.append(f"One call ({group.what}) runs {names}; its time stands at {group.carrier}.")
    if len(measurement.shared) > _GROUPS:
        said.append(f"So do {len(measurement.shared) - _GROUPS} more calls: see `shared` in the JSON.")
    if measurement.unplaced:
        names = ", ".join(measurement.unplaced[:6])
        said.append(f"Not seen to run, so without a time: {names} ({len(measurement.unplaced)} layers).")
    return [*said, *([measurement.note] if measurement.note else [])]


_ROWS = 12
"""How many differing counts are shown."""


def counts_blocks(counts: Counts, ours: int, device: str) -> list[Block]:
    """Return what torch counted on the device beside our count: that they are equal, or where not, and why."""
    if not counts.differing:
        said = f"torch's own counter saw {counts.macs:,} MACs there, as many as we count, layer by layer."
        return [Text(f"Counted on {device}: {said}")]
    heads = (
        Column("layers", key="layers"),
        Column("ours", "count", exact=True, key="ours"),
        Column("on the device", "count", exact=True, key="theirs"),
        Column("reason", key="reason"),
    )
    shown = [
        (
            ", ".join(each.layers[:3]) + (" …" if len(each.layers) > 3 else ""),
            each.ours,
            each.theirs,
            each.reason or "unexplained",
        )
        for each in counts.differing[:_ROWS]
    ]
    more = f"; the first {_ROWS} are shown" if len(counts.differing) > _ROWS else ""
    text = (
        f"Counted on {device}: torch's own counter saw {counts.macs:,} MACs there, we count {ours:,}; "
        f"they differ in {len(counts.differing)} of {len(counts.calls)} calls{more}."
    )
    return [Text(text), Table(heads, shown)]


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
        blocks += [Text(f"{each.profile.subject}: {text}") for text in _said(each)]
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
    seen = f"{found.ratio:.3f} times the time, {100 * CONFIDENCE:g} % interval {low:.3f} to {high:.3f}"
    return f"{other} against {base}: {found.word} ({seen}; {found.rounds} rounds run in turn)."


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
    whole = ("total", *(each.layers_seconds.median for each in measured.measurements))
    return Table(tuple(heads), [(name, *sums) for name, sums in entries], total=whole)


def _spread(sums: Sequence[float | None]) -> float:
    values = [value or 0.0 for value in sums]
    return max(values) - min(values)


def _sums(rows: Sequence[Sequence[float | None]]) -> list[float | None]:
    return [sum(value or 0.0 for value in column) for column in zip(*rows, strict=True)]
