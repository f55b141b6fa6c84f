"""`Tally`: what one tool prints for a graph, as our MACs and every difference from them with its reason."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from archlab.analyses.conventions.seen import Seen

MACS, FLOPS = "MACs", "FLOPs"


@dataclass(frozen=True)
class Item:
    """One difference: so much more (or less) than our MACs at one layer, and why, in the tool's unit."""

    layer: str
    count: int
    reason: str


def largest(items: Iterable[Item]) -> Item:
    """Return the item of the largest difference."""
    return max(items, key=lambda item: abs(item.count))


Rule = Callable[["Seen"], Iterable[Item]]
"""What a tool counts differently from our MACs, layer by layer."""


@dataclass(frozen=True)
class Convention:
    """A named set of rules: whose it is, the unit it prints, what it says in one sentence, and where it differs.

    A figure in FLOPs counts each MAC twice. `tool` is the distribution whose figure it reproduces, empty
    where it is a publication's.
    """

    name: str
    tool: str
    unit: str
    says: str
    rule: Rule

    @property
    def per_mac(self) -> int:
        """What it counts for one multiply-accumulate."""
        return 2 if self.unit == FLOPS else 1


@dataclass(frozen=True)
class Tally:
    """A convention's figure for one graph: `per_mac` times our MACs, and the differences."""

    convention: Convention
    macs: int
    items: tuple[Item, ...]

    @property
    def unit(self) -> str:
        """The unit of the figure, MACs or FLOPs."""
        return self.convention.unit

    @property
    def reported(self) -> int:
        """What the tool prints."""
        return self.convention.per_mac * self.macs + sum(item.count for item in self.items)

    @property
    def reasons(self) -> dict[str, list[Item]]:
        """The differences by reason, the reason with the largest sum first."""
        found: dict[str, list[Item]] = {}
        for item in self.items:
            found.setdefault(item.reason, []).append(item)
        return dict(sorted(found.items(), key=lambda pair: -abs(sum(item.count for item in pair[1]))))

    @property
    def by_reason(self) -> dict[str, int]:
        """The differences summed by reason, the largest first."""
        return {reason: sum(item.count for item in items) for reason, items in self.reasons.items()}

    @property
    def by_layer(self) -> dict[str, int]:
        """The differences summed by layer, in order."""
        sums: dict[str, int] = {}
        for item in self.items:
            sums[item.layer] = sums.get(item.layer, 0) + item.count
        return sums

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "convention": self.convention.name,
            "unit": self.unit,
            "reported": self.reported,
            "differences": [{"layer": i.layer, "count": i.count, "reason": i.reason} for i in self.items],
        }
