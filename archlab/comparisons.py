"""`Comparison`: a base and others, their layers aligned by path and structure, their ratios exact."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

from archlab.alignment import Likeness, align
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
        return tuple(Row(tuple(layers)) for layers in align([_layers(p) for p in self.subjects], _LIKENESS))

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


_LIKENESS: Likeness[Layer] = Likeness(
    kind=lambda layer: layer.op,
    structure=lambda layer: (layer.node.op, layer.input_shapes, layer.output_shapes),
    cost=lambda layer: (layer.node.op, layer.input_shapes, layer.output_shapes, layer.cost),
)
