"""The columns that a table of layers can show, by the name they have on the command line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from archlab.analyses.receptive_field import ReceptiveField, receptive_field
from archlab.cost import Cost, total
from archlab.errors import UsageError, nearest
from archlab.ir import OPERATION_CLASSES
from archlab.profiles import Layer, Profile
from archlab.report.table import Block, Column, Kind, Table


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
ON_REQUEST: dict[str, str] = dict.fromkeys(("bound", "bound_seconds", "bound_share"), "--hardware NAME")
"""Columns of what is not counted, and the option that each comes with."""


@dataclass(frozen=True)
class Added:
    """A column whose values come from elsewhere than costs: of the layers of a row, by their names."""

    column: Column
    get: Callable[[Sequence[str]], Any]


@dataclass(frozen=True)
class Addition:
    """What another analysis adds to a profile's document: columns, those shown by default, and blocks at its end."""

    columns: tuple[Added, ...]
    default: tuple[str, ...] = ()
    blocks: tuple[Block, ...] = ()


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
        _known(self.columns, (*COSTS, SHARE.key, *REACH, *ON_REQUEST))
        _known([] if self.sort is None else [self.sort], (*COSTS, SHARE.key, *ON_REQUEST))
        for name, value in (("depth", self.depth), ("top", self.top)):
            if value is not None and value < 1:
                raise UsageError(f"{name} must be at least 1, got {value}")


def _known(names: Iterable[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise UsageError(f"unknown column {name!r}{nearest(name, known)} (columns: {', '.join(known)})")


def cost_table(profile: Profile, shaping: Shaping | None = None, additions: Sequence[Addition] = ()) -> Table:
    """Return a row a layer, or a row a block, with the totals.

    Raises `UsageError` for a column that comes with an option which was not given.
    """
    shaping = shaping or Shaping()
    added = {column.column.key: column for addition in additions for column in addition.columns}
    names = shaping.columns or _default(profile, additions)
    for name in (*names, shaping.sort):
        if name in ON_REQUEST and name not in added:
            raise UsageError(f"the column {name} comes with {ON_REQUEST[name]}; add it")
    heads, entries = _entries(profile, shaping.depth)
    if shaping.sort in added:
        entries.sort(key=lambda entry: _key(added[shaping.sort or ""].get(entry[2])))
    elif shaping.sort is not None:
        by = COSTS["macs" if shaping.sort == SHARE.key else shaping.sort]
        entries.sort(key=lambda entry: -by.get(entry[1]))
    if shaping.top is not None and len(entries) > shaping.top:
        rest, entries = entries[shaping.top :], entries[: shaping.top]
        words = f"… {len(rest)} more {'layers' if shaping.depth is None else 'blocks'}"
        members = [name for entry in rest for name in entry[2]]
        entries.append(((words, *[""] * (len(heads) - 1)), total(entry[1] for entry in rest), members))
    fields = receptive_field(profile.graph) if shaping.depth is None and REACH.keys() & set(names) else {}

    def row(words: tuple[str, ...], cost: Cost, members: Sequence[str]) -> list[Any]:
        values = (
            added[name].get(members) if name in added else _value(name, cost, profile.total, fields.get(words[0]))
            for name in names
        )
        return [*words, *values]

    columns = (*heads, *(_column(name, added) for name in names))
    whole = row(("total", *[""] * (len(heads) - 1)), profile.total, profile.names)
    return Table(columns, [row(*entry) for entry in entries], total=whole)


def _default(profile: Profile, additions: Sequence[Addition]) -> tuple[str, ...]:
    named = tuple(name for addition in additions for name in addition.default)
    return named or (WITH_BACKWARD if profile.backward else DEFAULT)


def _column(name: str, added: Mapping[str, Added]) -> Column:
    if name in added:
        return added[name].column
    return COSTS[name].column if name in COSTS else REACH.get(name, SHARE)


def _key(value: Any) -> tuple[bool, Any]:
    """Return what puts the largest number first, words in order, and what has no value last."""
    return value is None, (0 if value is None else value if isinstance(value, str) else -value)


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


Entry = tuple[tuple[str, ...], Cost, Sequence[str]]
"""The words of a row, its cost, and the names of its layers."""


def _entries(profile: Profile, depth: int | None) -> tuple[tuple[Column, ...], list[Entry]]:
    shown = [layer for layer in profile.layers if not layer.node.op.is_input]
    if depth is not None:
        blocks = profile.by_block(depth)
        members: dict[str, list[str]] = {name: [] for name in blocks}
        for layer in shown:
            members["/".join(layer.name.split("/")[:depth])].append(layer.name)
        return (Column("block", key="block"),), [((name,), cost, members[name]) for name, cost in blocks.items()]
    heads = (
        Column("layer", key="layer"),
        Column("op", importance=6, key="op"),
        Column("output", importance=7, key="output"),
    )
    return heads, [((layer.name, layer.op, shape(layer)), layer.cost, [layer.name]) for layer in shown]


def shape(layer: Layer) -> str:
    """Return the layer's output shapes as text."""
    return ", ".join(str(spec) for spec in layer.outputs)
