"""The columns that a table of layers can show, by the name they have on the command line."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

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
PROFILE_COLUMNS = (*COSTS, "share")
DEFAULT = ("params", "macs", "share", "flops", "activations", "bytes_moved", "intensity")


def chosen(names: Sequence[str], known: Collection[str]) -> Sequence[str]:
    """Return column names as they are; raise `UsageError` for one that does not exist."""
    for name in names:
        if name not in known:
            raise UsageError(f"unknown column {name!r}{nearest(name, known)} (columns: {', '.join(known)})")
    return names


def cost_table(
    profile: Profile,
    names: Sequence[str] = DEFAULT,
    depth: int | None = None,
    sort: str | None = None,
    top: int | None = None,
) -> Table:
    """Return a row a layer, or a row a block of `depth` path parts.

    `sort` orders by a column, largest first; `top` keeps the first rows and sums the rest in one
    more, so that every column still adds up to its total.
    """
    if top is not None and top < 1:
        raise UsageError(f"--top must be at least 1, got {top}")
    heads, entries = _entries(profile, depth)
    if sort is not None:
        chosen([sort], PROFILE_COLUMNS)
        entries.sort(key=lambda entry: -COSTS["macs" if sort == "share" else sort].get(entry[1]))
    rest = entries[top:] if top is not None else []
    entries = entries[:top]
    if rest:
        unit = "layers" if depth is None else "blocks"
        entries.append(((f"… {len(rest)} more {unit}", *[""] * (len(heads) - 1)), total(cost for _, cost in rest)))
    names = chosen(names, PROFILE_COLUMNS)
    columns = (*heads, *(SHARE if name == "share" else COSTS[name].column for name in names))

    def values(cost: Cost) -> list[Any]:
        return [_value(name, cost, profile.total) for name in names]

    return Table(
        columns,
        [(*words, *values(cost)) for words, cost in entries],
        total=("total", *[""] * (len(heads) - 1), *values(profile.total)),
    )


def _value(name: str, cost: Cost, whole: Cost) -> Any:
    if name == "share":
        return cost.macs / whole.macs if whole.macs else 0.0
    return COSTS[name].get(cost)


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
