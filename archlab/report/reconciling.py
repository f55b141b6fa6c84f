"""Documents that show a reconciliation: every convention's figure, why each differs, and what gives a number."""

from __future__ import annotations

from archlab.analyses.conventions import largest
from archlab.reconciliations import Reconciliation
from archlab.report.numbers import human
from archlab.report.table import Block, Column, Document, Heading, Table, Text
from archlab.report.views import completeness

NEAREST = 5
"""How many near misses are shown where nothing matches."""
MOST = 12
"""How many matches are shown."""


def reconciliation_document(result: Reconciliation, layers: bool = False) -> Document:
    """Return the conventions side by side and every difference by reason; with `layers`, by layer, too."""
    given = ", ".join(f"{name} {spec}" for name, spec in result.profile.input.items())
    blocks: list[Block] = [*_claim(result)]
    if result.claim is not None:
        blocks.append(Heading("Every convention"))
    blocks += [_side_by_side(result), Heading("Why they differ"), _reasons(result)]
    if layers:
        blocks += [Heading("Layer by layer"), _by_layer(result)]
    blocks.append(Text(completeness(result.profile)))
    return Document(f"{result.subject} · {result.profile.mode} · {given}", tuple(blocks))


def _claim(result: Reconciliation) -> tuple[Block, ...]:
    claim = result.claim
    if claim is None:
        return ()
    plainest = result.plainest
    if plainest is None:
        near = result.matches[:NEAREST]
        words = f"Nothing gives {claim.text}. The nearest:"
        return Text(words), Table(_MATCH_HEADS, [_row(i, m) for i, m in enumerate(near, 1)])
    found = result.found
    shown = found[:MOST]
    more = f" The {len(shown)} nearest of {len(found)}:" if len(found) > len(shown) else ""
    plain = f"{claim.text} is {plainest.sentence}."
    return Text(f"{plain}{more}"), Table(_MATCH_HEADS, [_row(i, m) for i, m in enumerate(shown, 1)])


_MATCH_HEADS = (
    Column("", "count", key="rank"),
    Column("value", "count", exact=True, key="value"),
    Column("off", "share", key="distance"),
    Column("which is", key="sentence"),
)


def _row(rank: int, match: object) -> list[object]:
    value, distance, sentence = (getattr(match, name) for name in ("value", "distance", "sentence"))
    return [rank, value, distance, sentence.partition(" ")[2]]


def _side_by_side(result: Reconciliation) -> Table:
    total = result.profile.total
    rows: list[list[object]] = [
        ["archlab", total.macs, "MACs", 0, "multiply-accumulates of every contraction"],
        ["archlab", total.flops, "FLOPs", total.flops - 2 * total.macs, "2·MACs + every other operation"],
    ]
    for tally in result.tallies:
        convention = tally.convention
        off = tally.reported - convention.per_mac * total.macs
        rows.append([convention.name, tally.reported, tally.unit, off, convention.says])
    heads = (
        Column("convention", key="convention"),
        Column("prints", "count", exact=True, key="reported"),
        Column("unit", key="unit"),
        Column("beside MACs", "count", exact=True, key="difference"),
        Column("what it counts", importance=4, key="says"),
    )
    return Table(heads, rows)


def _reasons(result: Reconciliation) -> Table:
    rows: list[list[object]] = []
    for tally in result.tallies:
        for reason, items in tally.reasons.items():
            most = largest(items)
            count = sum(item.count for item in items)
            rows.append([tally.convention.name, count, len(items), reason, f"{most.layer}: {human(most.count)}"])
    heads = (
        Column("convention", key="convention"),
        Column("adds", "count", exact=True, key="count"),
        Column("layers", "count", importance=6, key="layers"),
        Column("reason", key="reason"),
        Column("most at", importance=4, key="largest"),
    )
    return Table(heads, rows)


def _by_layer(result: Reconciliation) -> Table:
    """Return what each convention counts for a layer beside our MACs, in its own unit."""
    differing = [tally for tally in result.tallies if tally.items]
    sums = [tally.by_layer for tally in differing]
    macs = {layer.name: layer.cost.macs for layer in result.profile.layers}
    names = [*macs, *(name for found in sums for name in found if name not in macs)]
    shown = [name for name in dict.fromkeys(names) if any(name in found for found in sums)]
    rows = [[name, macs.get(name), *(found.get(name, 0) for found in sums)] for name in shown]
    heads = (
        Column("layer", key="layer"),
        Column("MACs", "count", exact=True, key="macs"),
        *(Column(t.convention.name, "count", importance=5, exact=True, key=t.convention.name) for t in differing),
    )
    return Table(heads, rows)
