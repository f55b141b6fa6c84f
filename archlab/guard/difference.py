"""`Difference`: how the cost of one model changed, layer by layer, and the first layer where it did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from archlab.alignment import Likeness, align
from archlab.cost import METRICS
from archlab.guard.entry import Entry, Row

WORDS = {
    "macs": "MACs",
    "flops": "FLOPs",
    "bytes_moved": "bytes moved",
    "weight_bytes": "weight bytes",
    "peak_memory": "peak memory",
    "backward_macs": "backward MACs",
}
"""How metrics are said where that is not their name."""
CLASSES = ("mac", "mul", "exp", "div", "cmp", "add")
"""The operation classes, those first whose formula tells a layer's shape best."""


@dataclass(frozen=True)
class Changed:
    """One layer before and after; None where it is not there."""

    old: Row | None
    new: Row | None

    @property
    def name(self) -> str:
        """Its name now, or the one that it had."""
        row = self.new or self.old
        assert row is not None
        return row.name

    def change(self, metric: str) -> int:
        """Return by how much a count of it grew."""
        return (self.new.count(metric) if self.new else 0) - (self.old.count(metric) if self.old else 0)

    @property
    def what(self) -> str:
        """The class of operations whose products tell the two apart, or the first metric that does."""
        old, new = (row.formulas if row else {} for row in (self.old, self.new))
        differing = (kind for kind in CLASSES if old.get(kind) != new.get(kind))
        metric = next((metric for metric in METRICS if self.change(metric)), "macs")
        return next(differing, metric)

    @property
    def products(self) -> tuple[str, str]:
        """What tells the two apart, with the numbers put in; ``-`` for a layer that is not there."""
        return self._said(self.old), self._said(self.new)

    def _said(self, row: Row | None) -> str:
        if row is None:
            return "-"
        what = self.what
        if what in METRICS:
            return f"{row.count(what):,}"
        return row.formulas.get(what, "0")

    @property
    def unit(self) -> str:
        """What the products count: MACs, another class of operations, or a metric."""
        what = self.what
        return "MACs" if what == "mac" else WORDS.get(what, what)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        before, after = self.products
        return {
            "layer": self.name,
            "unit": self.unit,
            "old_formula": before,
            "new_formula": after,
            "old": None if self.old is None else {"name": self.old.name, **self.old.to_dict()},
            "new": None if self.new is None else {"name": self.new.name, **self.new.to_dict()},
        }


@dataclass(frozen=True)
class Difference:
    """Two entries of one model, the old and the new."""

    old: Entry
    new: Entry

    @property
    def totals(self) -> Mapping[str, tuple[int, int]]:
        """Every metric that both have, before and after."""
        return {m: (self.old.total[m], self.new.total[m]) for m in self.new.total if m in self.old.total}

    def change(self, metric: str) -> int:
        """Return by how much a total grew."""
        old, new = self.totals[metric]
        return new - old

    @cached_property
    def changed(self) -> tuple[Changed, ...]:
        """The layers that cost something else, are new or gone, in the network's order."""
        rows = align([self.old.rows, self.new.rows], _LIKENESS)
        pairs = (Changed(old, new) for old, new in rows)
        return tuple(p for p in pairs if p.old is None or p.new is None or p.old.counts != p.new.counts)

    @property
    def first(self) -> Changed | None:
        """The first layer that differs, None where none does."""
        return self.changed[0] if self.changed else None

    @property
    def unchanged(self) -> bool:
        """Whether every layer and every total is the same."""
        return not self.changed and all(old == new for old, new in self.totals.values())

    def movers(self, metric: str) -> list[Changed]:
        """Return the layers whose count of a metric changed, the most first."""
        moved = [pair for pair in self.changed if pair.change(metric)]
        return sorted(moved, key=lambda pair: -abs(pair.change(metric)))

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "totals": {
                metric: {"old": old, "new": new, "change": new - old} for metric, (old, new) in self.totals.items()
            },
            "unchanged": self.unchanged,
            "first": self.first and self.first.to_dict(),
            "layers": [pair.to_dict() for pair in self.changed],
        }


_LIKENESS: Likeness[Row] = Likeness(
    kind=lambda row: row.op,
    structure=lambda row: (row.op, row.output),
    cost=lambda row: (row.op, row.output, tuple(sorted(row.counts.items())), row.formulas.get("mac")),
)
