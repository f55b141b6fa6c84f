"""The columns that a table of layers can show, by the name they have on the command line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from archlab.analyses.receptive_field import ReceptiveField, receptive_field
from archlab.cost import Cost, total
from archlab.errors import UsageError, nearest
from archlab.ir import OPERATION_CLASSES
from archlab.profiles import Layer, Profile
from archlab.report.table import Column, Kind, Table


@dataclass(frozen=True)
class CostColumn:
    """A column whose values come from costs, so that layers, blocks and totals all have one."""

    column: Column
    get: Callable[[Cost], Any]


def _cost_column(key: str, title: str, kind: Kind, importance: int, unit: str = "") -> CostColumn:
    return CostColumn(Column(title, kind, unit, importance, key), lambda cost: getattr(cost, key))


COSTS: dict[str, CostColumn] = {
    "params": _cost_column("params", "params", "count", 8),
    "macs": _cost_column("macs", "MACs", "count", 8),
    "backward_macs": _cost_column("backward_macs", "backward", "count", 7),
    "flops": _cost_column("flops", "FLOPs", "count", 5),
    "activations": _cost_column("activations", "activations", "count", 4),
    "bytes_moved": _cost_column("bytes_moved", "moved", "bytes", 3),
    "weight_bytes": _cost_column("weight_bytes", "weights", "bytes", 2),
    "intensity": _cost_column("intensity", "intensity", "decimal", 2, "FLOP/B"),
    **{
        kind: CostColumn(Column(kind, "count", "", 2, kind), lambda cost, kind=kind: cost.operations[kind])  # type: ignore[misc]
        for kind in OPERATION_CLASSES
    },
}
SHARE = Column("share", "share", "", 6, "share")
REACH: dict[str, Column] = {
    "receptive_field": Column("receptive field", importance=2, key="receptive_field"),
    "effective_stride": Column("stride", importance=2, key="effective_stride"),
    "effective_padding": Column("padding", importance=2, key="effective_padding"),
}
"""Columns of the receptive field, which layers have and blocks have not."""
DEFAULT = ("params", "macs", "share", "flops", "activations", "bytes_moved", "intensity")
WITH_BACKWARD = ("params", "macs", "backward_macs", *DEFAULT[2:])
"""The columns of a profile that counts its backward pass."""


@dataclass(frozen=True)
class Shaping:
    """How a table of layers or blocks is cut: its columns, the depth of blocks, the order, the number of rows.

    `sort` puts the rows first that take most of a column (in a comparison: that differ most); `top`
    keeps that many and sums the rest in one more, so that every column still adds up to its total.
    """

    columns: tuple[str, ...] = ()
    depth: int | None = None
    sort: str | None = None
    top: int | None = None

    def __post_init__(self) -> None:
        _known(self.columns, (*COSTS, SHARE.key, *REACH))
        _known([] if self.sort is None else [self.sort], (*COSTS, SHARE.key))
        for name, value in (("depth", self.depth), ("top", self.top)):
            if value is not None and value < 1:
                raise UsageError(f"{name} must be at least 1, got {value}")


def _known(names: Iterable[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise UsageError(f"unknown column {name!r}{nearest(name, known)} (columns: {', '.join(known)})")


def cost_table(profile: Profile, shaping: Shaping | None = None) -> Table:
    """Return a row a layer, or a row a block, with the totals."""
    shaping = shaping or Shaping()
    names = shaping.columns or (WITH_BACKWARD if profile.backward else DEFAULT)
    heads, entries = _entries(profile, shaping.depth)
    if shaping.sort is not None:
        by = COSTS["macs" if shaping.sort == SHARE.key else shaping.sort]
        entries.sort(key=lambda entry: -by.get(entry[1]))
    if shaping.top is not None and len(entries) > shaping.top:
        rest, entries = entries[shaping.top :], entries[: shaping.top]
        words = f"… {len(rest)} more {'layers' if shaping.depth is None else 'blocks'}"
        entries.append(((words, *[""] * (len(heads) - 1)), total(cost for _, cost in rest)))
    fields = receptive_field(profile.graph) if shaping.depth is None and REACH.keys() & set(names) else {}

    def row(words: tuple[str, ...], cost: Cost) -> list[Any]:
        return [*words, *(_value(name, cost, profile.total, fields.get(words[0])) for name in names)]

    columns = (*heads, *(COSTS[name].column if name in COSTS else REACH.get(name, SHARE) for name in names))
    blank = [""] * (len(heads) - 1)
    return Table(columns, [row(*entry) for entry in entries], total=row(("total", *blank), profile.total))


def _value(name: str, cost: Cost, whole: Cost, field: ReceptiveField | None) -> Any:
    if name == SHARE.key:
        return cost.macs / whole.macs if whole.macs else 0.0
    if name not in REACH:
        return COSTS[name].get(cost)
    if field is None:
        return None
    value = {"receptive_field": field.size, "effective_stride": field.stride, "effective_padding": field.padding}[
        name
    ]
    return value if isinstance(value, int) else "x".join(map(str, value))


def _entries(profile: Profile, depth: int | None) -> tuple[tuple[Column, ...], list[tuple[tuple[str, ...], Cost]]]:
    if depth is not None:
        blocks = profile.by_block(depth)
        return (Column("block", key="block"),), [((name,), cost) for name, cost in blocks.items()]
    heads = (
        Column("layer", key="layer"),
        Column("op", importance=6, key="op"),
        Column("output", importance=7, key="output"),
    )
    shown = [layer for layer in profile.layers if not layer.node.op.is_input]
    return heads, [((layer.name, layer.op, shape(layer)), layer.cost) for layer in shown]


def shape(layer: Layer) -> str:
    """Return the layer's output shapes as text."""
    return ", ".join(str(spec) for spec in layer.outputs)
