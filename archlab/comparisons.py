"""`Comparison`: a base and others, their layers aligned by path and structure, their ratios exact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from fractions import Fraction
from functools import cached_property
from typing import Any

from archlab.cost import METRICS
from archlab.errors import UsageError, nearest
from archlab.profiles import Layer, Profile

RATIO_METRICS = (*METRICS, "peak_memory")


@dataclass(frozen=True)
class Row:
    """One layer in every subject that has it, in the order base, others."""

    layers: tuple[Layer | None, ...]

    @property
    def name(self) -> str:
        """Its name in the first subject that has it."""
        return next(layer.name for layer in self.layers if layer is not None)

    @property
    def unchanged(self) -> bool:
        """Whether every subject has it at the same cost."""
        first = self.layers[0]
        return first is not None and all(layer is not None and layer.cost == first.cost for layer in self.layers)


@dataclass(frozen=True)
class Comparison:
    """A base profile and the others that are measured against it."""

    base: Profile
    others: tuple[Profile, ...]

    @property
    def subjects(self) -> tuple[Profile, ...]:
        """The base, then the others."""
        return (self.base, *self.others)

    def ratio(self, metric: str, other: int = 0) -> Fraction:
        """Return other ÷ base of a metric, exactly; raise `UsageError` where the base has none."""
        if metric not in RATIO_METRICS:
            raise UsageError(f"unknown metric {metric!r}{nearest(metric, RATIO_METRICS)}")
        if not -len(self.others) <= other < len(self.others):
            raise UsageError(f"there is no other number {other}; there are {len(self.others)}")
        base, value = (_metric(profile, metric) for profile in (self.base, self.others[other]))
        if base == 0:
            raise UsageError(f"{self.base.subject} has no {metric} to divide by")
        return Fraction(value, base)

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """The layers of all subjects, aligned to the base; inputs are left out."""
        return tuple(Row(tuple(layers)) for layers in _align([_layers(p) for p in self.subjects]))

    @property
    def unchanged(self) -> bool:
        """Whether every other has the same layers at the same costs as the base."""
        return all(row.unchanged for row in self.rows) and all(p.total == self.base.total for p in self.others)

    @property
    def same_output(self) -> bool:
        """Whether all subjects return tensors of the same shapes and types."""
        return all(p.graph.output_specs == self.base.graph.output_specs for p in self.others)

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as plain data, schema ``archlab.comparison/1``; ratios are other ÷ base."""
        ratios = []
        for i in range(len(self.others)):
            with_base = [metric for metric in RATIO_METRICS if _metric(self.base, metric)]
            ratios.append({metric: float(self.ratio(metric, i)) for metric in with_base})
        return {
            "schema": "archlab.comparison/1",
            "base": self.base.to_dict(),
            "others": [other.to_dict() for other in self.others],
            "ratios": ratios,
            "rows": [[layer and layer.name for layer in row.layers] for row in self.rows],
            "unchanged": self.unchanged,
            "same_output": self.same_output,
        }

    def to_json(self) -> str:
        """Return `to_dict` as JSON text."""
        import json

        return json.dumps(self.to_dict(), indent=1, ensure_ascii=False) + "\n"

    def to_markdown(self) -> str:
        """Return the comparison as markdown."""
        from archlab.report.comparing import comparison_document
        from archlab.report.markdown import render

        return render(comparison_document(self))

    def __str__(self) -> str:
        from archlab.report.comparing import comparison_document
        from archlab.report.terminal import render

        return render(comparison_document(self))


def compare_profiles(base: Profile, others: tuple[Profile, ...]) -> Comparison:
    """Return the comparison; raise `UsageError` if there is nothing to compare with or rules differ."""
    if not others:
        raise UsageError("compare needs a base and at least one other")
    for other in others:
        if (other.way, other.convention) != (base.way, base.convention):
            raise UsageError(
                f"{base.subject} is counted in {base.way} by {base.convention}, "
                f"{other.subject} in {other.way} by {other.convention}; count both alike"
            )
    return Comparison(base, others)


def _metric(profile: Profile, metric: str) -> int:
    value: int = profile.peak_memory if metric == "peak_memory" else getattr(profile.total, metric)
    return value


def _layers(profile: Profile) -> list[Layer]:
    return [layer for layer in profile.layers if not layer.node.op.is_input]


def _align(subjects: Sequence[list[Layer]]) -> list[list[Layer | None]]:
    """Return rows of layers: the base's in order, each layer that it lacks behind its predecessor."""
    absent: list[Layer | None] = [None] * len(subjects)
    rows = [[layer, *absent[1:]] for layer in subjects[0]]
    for column, layers in enumerate(subjects[1:], 1):
        partner = _pairs(subjects[0], layers)
        known = {(row[0] is not None, name): row for row in rows for name in _names(row)}
        behind: dict[int, list[list[Layer | None]]] = {}
        anchor = 0
        for layer in layers:
            name = partner.get(layer.name)
            row = known.get((name is not None, name or layer.name))
            if row is None:
                row = absent.copy()
                behind.setdefault(anchor, []).append(row)
            else:
                anchor = id(row)
            row[column] = layer
        rows = [*behind.get(0, []), *(new for row in rows for new in (row, *behind.get(id(row), [])))]
    return rows


def _names(row: list[Layer | None]) -> list[str]:
    """Return the base's name of a row, or, where the base lacks it, the others'."""
    named = row[:1] if row[0] is not None else row
    return [layer.name for layer in named if layer is not None]


def _pairs(base: list[Layer], other: list[Layer]) -> dict[str, str]:
    """Return the base's name for each layer of the other that corresponds to one.

    The same path is the same layer; what is left is matched in order where op, input and output
    shapes are the same, so that renamed networks line up, too.
    """
    names = {layer.name for layer in base}
    pairs = {layer.name: layer.name for layer in other if layer.name in names}
    left = [[layer for layer in layers if layer.name not in pairs] for layers in (base, other)]
    ours, theirs = ([(x.node.op, x.input_shapes, x.output_shapes) for x in layers] for layers in left)
    for block in SequenceMatcher(None, ours, theirs, autojunk=False).get_matching_blocks():
        for i in range(block.size):
            pairs[left[1][block.b + i].name] = left[0][block.a + i].name
    return pairs
