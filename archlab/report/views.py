"""Documents that show one profile: its table and its totals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from archlab.analyses.conventions import Tally, largest
from archlab.profiles import Profile
from archlab.report.columns import Figure, Shaping, cost_table
from archlab.report.numbers import human, in_bytes
from archlab.report.table import Column, Document, Heading, Table, Text


def profile_document(
    profile: Profile,
    shaping: Shaping | None = None,
    figures: Mapping[str, Figure] | None = None,
    default: Sequence[str] = (),
) -> Document:
    """Return a profile's table and its totals, each with every digit; `figures` and `default` as `cost_table` has."""
    return Document(
        f"{profile.subject} · {profile.way} · {_given(profile)}",
        (
            cost_table(profile, shaping, figures, default),
            totals_table(profile),
            Text(completeness(profile)),
            *uncounted_tables(profile),
            *_convention(profile),
        ),
    )


def _convention(profile: Profile) -> tuple[Heading | Text | Table, ...]:
    """Return what another convention prints for the same graph, and what it counts differently."""
    tally = profile.tally
    if tally is None:
        return ()
    name = tally.convention.name
    says = f"{name} prints {tally.reported:,} {tally.unit}: {tally.convention.says}."
    return Heading(f"By the convention of {name}"), Text(says), differences_table(tally)


def differences_table(tally: Tally) -> Table:
    """Return the way from our MACs to a convention's figure: a row a reason, and a layer that shows it."""
    ours = tally.convention.per_mac * tally.macs
    words = "MACs" if tally.convention.per_mac == 1 else f"{tally.convention.per_mac}·MACs"
    rows: list[tuple[object, ...]] = [(f"archlab: {words}", ours, None, "")]
    for reason, items in tally.reasons.items():
        most = largest(items)
        rows.append((reason, sum(item.count for item in items), len(items), f"{most.layer}: {most.count:+,}"))
    heads = (
        Column("what", key="reason"),
        Column(tally.unit, "count", exact=True, key="count"),
        Column("layers", "count", importance=6, key="layers"),
        Column("most at", importance=5, key="largest"),
    )
    return Table(heads, rows, total=(tally.convention.name, tally.reported, None, ""))


_PLACES = 3
"""How many layers are shown of those that run one uncounted operation."""


def uncounted_tables(profile: Profile) -> tuple[Table, ...]:
    """Return what has no rule, one operation a row: how often and where it ran, and the line that begins a rule."""
    where: dict[str, list[str]] = {}
    for layer in profile.layers:
        if layer.node.op.uncounted:
            where.setdefault(layer.node.op.uncounted, []).append(layer.name)
    if not where:
        return ()
    heads = (
        Column("uncounted", key="operation"),
        Column("times", "count", exact=True, key="times"),
        Column("where", key="where"),
        Column("to count it", key="rule"),
    )
    rows = [(name, len(layers), _places(layers), f'@archlab.rule("{name}")') for name, layers in where.items()]
    return (Table(heads, rows),)


def _places(layers: list[str]) -> str:
    more = f" and {len(layers) - _PLACES} more" if len(layers) > _PLACES else ""
    return ", ".join(layers[:_PLACES]) + more


def totals_table(profile: Profile) -> Table:
    """Return the totals of a profile, one a row: rounded, exact, and what it says."""
    from archlab.analyses.depth import depth
    from archlab.analyses.memory import peak_memory

    cost, parameters = profile.total, profile.parameters
    layers = depth(profile.graph, profile.mode)
    peak = peak_memory(profile.graph, profile.mode)
    alive = ", ".join(f"{name} {in_bytes(size)}" for name, size in peak.alive[:4])
    more = f" and {len(peak.alive) - 4} more" if len(peak.alive) > 4 else ""
    unread = "".join(
        f"; {human(parameters[k])} {k}" for k in ("active", "frozen", "unused", "buffers") if parameters.get(k)
    )
    other = ", ".join(f"{human(n)} {kind}" for kind, n in cost.operations.items() if n and kind != "mac")
    split = f"{human(cost.macs - cost.backward_macs)} forward + {human(cost.backward_macs)} backward"
    alone = ", forward alone" if profile.backward else ""
    flops = f"2·MACs + {other}{alone}" if other else "2·MACs"
    moved = f"unfused{alone}; {cost.intensity:.2f} FLOP/B"
    rows = [
        ("MACs", human(cost.macs), f"{cost.macs:,}", split if profile.backward else ""),
        ("FLOPs", human(cost.flops), f"{cost.flops:,}", flops),
        ("params", human(cost.params), f"{cost.params:,}", f"{in_bytes(cost.weight_bytes)}{unread}"),
        ("activations", human(cost.activations), f"{cost.activations:,}", f"elements that layers write{alone}"),
        ("bytes moved", in_bytes(cost.bytes_moved), f"{cost.bytes_moved:,}", moved),
        ("peak memory", in_bytes(peak.bytes), f"{peak.bytes:,}", f"at {peak.node}{alone}: {alive}{more}"),
        (
            "depth",
            str(layers.weighted),
            "",
            f"weighted layers on the longest path; {layers.with_pooling} with pooling",
        ),
    ]
    heads = (
        Column("total", key="metric"),
        Column("", "count", key="rounded"),
        Column("exact", "count", key="exact"),
        Column("", key="note"),
    )
    return Table(heads, rows)


def completeness(profile: Profile) -> str:
    """Return in one sentence what was not counted and what was assumed."""
    if not profile.uncounted and not profile.assumed:
        return "Uncounted: nothing; every operation has a rule."
    parts = []
    for word, found in (("Uncounted", profile.uncounted), ("Assumed", profile.assumed)):
        if found:
            parts.append(f"{word}: {', '.join(f'{name} ({times}×)' for name, times in found.items())}.")
    return " ".join(parts)


def _given(profile: Profile) -> str:
    return ", ".join(f"{name} {spec}" for name, spec in profile.input.items())
