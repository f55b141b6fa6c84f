"""The columns that a table of layers can show, by the name they have on the command line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

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


MEASURED = ("seconds", "iqr", "time_share", "rate")
"""Columns of what was measured, which a profile that was counted alone has not."""


BOUNDED = ("bound", "bound_seconds", "bound_share", "attained")
"""Columns of the bounds on a machine, which a profile without one has not."""


class Figure(NamedTuple):
    """A column of what is not counted: its value for the layers of a row, by their names, and what they cost."""

    column: Column
    get: Callable[[Sequence[str], Cost], Any]


class Entry(NamedTuple):
    """A row before its columns are chosen: its words, its cost, and the names of its layers."""

    words: tuple[str, ...]
    cost: Cost
    layers: tuple[str, ...]


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
        _known(self.columns, (*COSTS, SHARE.key, *REACH, *MEASURED, *BOUNDED))
        _known([] if self.sort is None else [self.sort], (*COSTS, SHARE.key, *MEASURED, *BOUNDED))
        for name, value in (("depth", self.depth), ("top", self.top)):
            if value is not None and value < 1:
                raise UsageError(f"{name} must be at least 1, got {value}")


def _known(names: Iterable[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise UsageError(f"unknown column {name!r}{nearest(name, known)} (columns: {', '.join(known)})")


def cost_table(
    profile: Profile,
    shaping: Shaping | None = None,
    figures: Mapping[str, Figure] | None = None,
    default: Sequence[str] = (),
) -> Table:
    """Return a row a layer, or a row a block, with the totals.

    `figures` are the columns of what was measured or bounded, by key. `default` are the columns where none are
    chosen; without it those of what was counted. Raises `UsageError` for a column that `figures` lack.
    """
    shaping, figures = shaping or Shaping(), figures or {}
    names = shaping.columns or tuple(default) or (WITH_BACKWARD if profile.backward else DEFAULT)
    _check_measured((*names, *([] if shaping.sort is None else [shaping.sort])), figures)
    heads, entries = _entries(profile, shaping.depth)
    whole = Entry(("total", *[""] * (len(heads) - 1)), profile.total, tuple(n for e in entries for n in e.layers))
    if shaping.sort is not None:
        by = _key(shaping.sort, figures)
        entries.sort(key=lambda entry: -by(entry))
    if shaping.top is not None and len(entries) > shaping.top:
        rest, entries = entries[shaping.top :], entries[: shaping.top]
        words = f"… {len(rest)} more {'layers' if shaping.depth is None else 'blocks'}"
        cost, layers = total(entry.cost for entry in rest), tuple(n for entry in rest for n in entry.layers)
        entries.append(Entry((words, *[""] * (len(heads) - 1)), cost, layers))
    fields = receptive_field(profile.graph) if shaping.depth is None and REACH.keys() & set(names) else {}

    def row(entry: Entry) -> list[Any]:
        def value(name: str) -> Any:
            if name in figures:
                return figures[name].get(entry.layers, entry.cost)
            return _value(name, entry.cost, profile.total, fields.get(entry.words[0]))

        return [*entry.words, *map(value, names)]

    columns = (*heads, *(_column(name, figures) for name in names))
    return Table(columns, [row(entry) for entry in entries], total=row(whole))


def _check_measured(names: Iterable[str], figures: Mapping[str, Figure]) -> None:
    for name in names:
        if name in MEASURED and name not in figures:
            raise UsageError(f"the column {name!r} is measured, and nothing was; add --device cpu")
        if name in BOUNDED and name not in figures:
            raise UsageError(f"the column {name!r} is of bounds on a machine; add --hardware NAME")


def _column(name: str, figures: Mapping[str, Figure]) -> Column:
    if name in figures:
        return figures[name].column
    return COSTS[name].column if name in COSTS else REACH.get(name, SHARE)


def _key(name: str, figures: Mapping[str, Figure]) -> Callable[[Entry], float]:
    """Return how much of a column an entry takes."""
    if name not in figures:
        by = COSTS["macs" if name == SHARE.key else name]
        return lambda entry: float(by.get(entry.cost))

    def measured(entry: Entry) -> float:
        value = figures[name].get(entry.layers, entry.cost)
        return value if isinstance(value, (int, float)) else 0.0

    return measured


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


def _entries(profile: Profile, depth: int | None) -> tuple[tuple[Column, ...], list[Entry]]:
    shown = [layer for layer in profile.layers if not layer.node.op.is_input]
    if depth is not None:
        members: dict[str, list[str]] = {}
        for layer in shown:
            members.setdefault("/".join(layer.name.split("/")[:depth]), []).append(layer.name)
        blocks = profile.by_block(depth)
        return (Column("block", key="block"),), [
            Entry((name,), cost, tuple(members[name])) for name, cost in blocks.items()
        ]
    heads = (
        Column("layer", key="layer"),
        Column("op", importance=6, key="op"),
        Column("output", importance=7, key="output"),
    )
    return heads, [Entry((layer.name, layer.op, shape(layer)), layer.cost, (layer.name,)) for layer in shown]


def shape(layer: Layer) -> str:
    """Return the layer's output shapes as text."""
    return ", ".join(str(spec) for spec in layer.outputs)
