"""Documents that show what was measured: times beside counts, the machine they are of, and verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from archlab.analyses.memory import live_memory
from archlab.cost import Cost
from archlab.measurements import ENOUGH, Counts, Measurement, Seconds, Timing
from archlab.report.columns import Figure, Shaping, cost_table
from archlab.report.numbers import in_seconds
from archlab.report.table import Block, Column, Document, Table, Text
from archlab.report.views import profile_document

DEFAULT = ("params", "macs", "seconds", "iqr", "time_share", "rate", "live")
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
    default = (*DEFAULT, "bound", "attained" if "attained" in bounds else "bound_seconds") if bounds else DEFAULT
    table = cost_table(profile, shaping, {**figures(measurement), **(bounds or {})}, default)
    blocks: list[Block] = [table, times_table(measurement), Text(machine(measurement))]
    if said := busy(measurement):
        blocks.append(Text(said))
    if measurement.interrupted:
        blocks.append(Text("Interrupted: this is what was measured until then."))
    blocks += [Text(text) for text in without_time(measurement)]
    if measurement.counts is not None:
        blocks += counts_blocks(measurement.counts, profile.total.macs, measurement.machine.device)
    title = f"{counted.title} · measured on {measurement.machine.device}, {measurement.machine.setting}"
    return Document(title, (*blocks, *counted.blocks[1:]), table)


def figures(measurement: Measurement) -> dict[str, Figure]:
    """Return the columns of what was measured: the median, its spread, the share of all layers, MACs a second."""
    whole = measurement.sum_of_medians

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

    alive = live_memory(measurement.profile.graph)

    def live(layers: Sequence[str], _: Cost) -> int | None:
        return max((alive[name] for name in layers if name in alive), default=None)

    return {
        "live": Figure(Column("live\nmemory", "bytes", "", 4, "live"), live),
        "seconds": Figure(Column("latency", "seconds", "", 8, "seconds"), lambda layers, _: seconds(layers)),
        "iqr": Figure(Column("iqr", "seconds", "", 5, "iqr"), spread),
        "time_share": Figure(Column("share", "share", "", 7, "time_share"), share),
        "rate": Figure(Column("rate", "decimal", "GMAC/s", 6, "rate"), rate),
    }


def times_table(measurement: Measurement) -> Table:
    """Return what the whole model took by itself, and what its layers took together while they were listened to."""
    whole, layers = measurement.whole, measurement.layers_seconds
    rows = [("whole model", *_times(whole), "run with nobody listening")]
    share, reach = measurement.listened_share
    if measurement.machine.compiled:
        rows.append(("sum of layers", *_times(layers), "compiled: one call runs all of them"))
    elif layers.runs:
        between = "" if reach is None else f" ({100 * reach.low:.1f} to {100 * reach.high:.1f} %)"
        rows.append(("sum of layers", *_times(layers), f"{100 * share:.1f} %{between} of the run beside it"))
    sure = all(each.runs == 0 or each.runs >= ENOUGH for each in (whole, layers))
    heads = (
        Column("measured", key="measured"),
        Column("median", "seconds", key="median"),
        Column("iqr", "seconds", "", 6, "iqr"),
        Column("95 % from" if sure else "shortest", "seconds", "", 5, "low"),
        Column("to" if sure else "longest", "seconds", "", 5, "high"),
        Column("runs", "count", "", 4, "runs"),
        Column("", "text", "", 7, "note"),
    )
    return Table(heads, rows)


def busy(measurement: Measurement) -> str:
    """Return why times are not the machine's own: something else ran on it; an empty string where nothing says so."""
    column, layers = measurement.sum_of_medians, measurement.layers_seconds.median
    load, threads = measurement.machine.load, measurement.machine.threads
    if not layers or column > (1 - _MUCH) * layers:
        if measurement.machine.device != "cpu" or load is None or load < threads:
            return ""
        return (
            f"Something else ran on this machine: a load of {load:.1f} before, and {threads} threads of this run. "
            "Threads that wait for each other take longer than on a machine of their own; --threads 1 is hurt less."
        )
    return (
        f"The medians of the layers sum to {in_seconds(column)}, {100 * column / layers:.0f} % of what they take run "
        "by run: something else ran on this machine, and what interrupts a run now and then is in few of a layer's."
    )


_MUCH = 0.1


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


def without_time(measurement: Measurement) -> list[str]:
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
