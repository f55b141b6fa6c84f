"""`MeasuredComparison`: subjects that ran side by side, with a verdict on each; and results of other machines."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from archlab.comparisons import Comparison, compare_profiles
from archlab.machines import warn_of_machines
from archlab.measurements import Measurement
from archlab.samples import Verdict, verdict


@dataclass(frozen=True)
class MeasuredComparison:
    """A comparison of counts, and what was measured of the same subjects, the base first.

    `paired` says that they ran round by round in one process, so that whatever slowed the machine slowed
    all of them: only then are there verdicts.
    """

    comparison: Comparison
    measurements: tuple[Measurement, ...]
    paired: bool = True

    @cached_property
    def verdicts(self) -> tuple[Verdict, ...]:
        """For each other, whether it is faster or slower than the base; empty where they did not run together."""
        if not self.paired:
            return ()
        base, *others = self.measurements
        return tuple(verdict(base.rounds, other.rounds) for other in others)

    @property
    def interrupted(self) -> bool:
        """Whether someone stopped it early."""
        return any(each.interrupted for each in self.measurements)

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as plain data, schema ``archlab.comparison/1``, with what was measured."""
        base, *others = self.measurements
        verdicts = [
            {"subject": other.profile.subject, **found.to_dict()}
            for other, found in zip(others, self.verdicts, strict=self.paired)
        ]
        return {
            **self.comparison.to_dict(),
            "base": base.to_dict(),
            "others": [other.to_dict() for other in others],
            "verdicts": verdicts,
            "interrupted": self.interrupted,
        }

    def to_json(self) -> str:
        """Return `to_dict` as JSON text."""
        import json

        return json.dumps(self.to_dict(), indent=1, ensure_ascii=False) + "\n"

    def to_markdown(self) -> str:
        """Return the comparison as markdown."""
        from archlab.report.markdown import render
        from archlab.report.measured_comparing import measured_comparison_document

        return render(measured_comparison_document(self))

    def __str__(self) -> str:
        from archlab.report.measured_comparing import measured_comparison_document
        from archlab.report.terminal import render

        return render(measured_comparison_document(self))


def compare_measurements(*measurements: Measurement, paired: bool = False) -> MeasuredComparison:
    """Return the comparison of two or more measurements, the base first; raise `UsageError` as `compare` does.

    Without `paired` they were made one after the other, and there is no verdict. Warns where they are of
    different machines or settings.
    """
    base, *others = measurements
    for other in others:
        warn_of_machines(base.profile.subject, base.machine, other.profile.subject, other.machine)
    found = compare_profiles(base.profile, tuple(other.profile for other in others))
    return MeasuredComparison(found, measurements, paired)
