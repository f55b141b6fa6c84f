"""`Found`: what a bisection of a model's history came to: the commit, its counts, its share of the whole change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from archlab.guard.bisect import Bisection
from archlab.guard.difference import Difference
from archlab.guard.entry import Entry
from archlab.guard.revisions import Repository, Revision
from archlab.guard.runs import Failure


@dataclass(frozen=True)
class Found:
    """Where a metric of a model left its good side among the `size` commits behind the first of two ends."""

    model: str
    metric: str
    ends: tuple[Revision, Revision]
    size: int
    steps: Bisection[Revision]
    counts: Mapping[Revision, Entry | Failure]

    def value(self, revision: Revision) -> int:
        """Return the metric in a revision that was counted."""
        return self._entry(revision).total[self.metric]

    @property
    def whole(self) -> tuple[int, int]:
        """The metric at both ends."""
        return self.value(self.ends[0]), self.value(self.ends[1])

    @property
    def step(self) -> tuple[int, int] | None:
        """The metric before and after, None where both ends are the same."""
        return None if self.steps.after is None else (self.value(self.steps.before), self.value(self.steps.after))

    @property
    def share(self) -> float | None:
        """How much of the whole change in the range the step is: 1.0 is all of it."""
        if self.step is None:
            return None
        (before, after), (good, bad) = self.step, self.whole
        return (after - before) / (bad - good)

    @property
    def difference(self) -> Difference | None:
        """How the model before differs from the one after, None where both ends are the same."""
        if self.steps.after is None:
            return None
        return Difference(self._entry(self.steps.before), self._entry(self.steps.after))

    @property
    def failures(self) -> dict[Revision, str]:
        """Why some revisions could not be counted."""
        return {revision: found.message for revision, found in self.counts.items() if isinstance(found, Failure)}

    def next_ranges(self, repository: Repository) -> list[tuple[str, str]]:
        """Return where to look next, each range behind its reason: into a merge, and for the rest of the change."""
        after = self.steps.after
        if after is None:
            return []
        found = []
        if not self.steps.hidden and repository.is_merge(after):
            found.append(("It is a merge. Within it:", f"{after.short}^...{after.short}^2"))
        if self.value(after) != self.whole[1]:
            found.append(("The rest of the change:", f"{after.short}..{self.ends[1].short}"))
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data, schema ``archlab.bisect/1``."""
        after = self.steps.after
        good, bad = self.whole
        return {
            "schema": "archlab.bisect/1",
            "model": self.model,
            "metric": self.metric,
            "good": self._plain(self.ends[0]),
            "bad": self._plain(self.ends[1]),
            "change": bad - good,
            "found": self._plain(after) if after and not self.steps.hidden else None,
            "candidates": [self._plain(revision) for revision in self.steps.candidates],
            "before": self._plain(self.steps.before) if after else None,
            "after": after and self._plain(after),
            "step": self.step and self.step[1] - self.step[0],
            "share": self.share,
            "difference": (difference := self.difference) and difference.to_dict(),
            "counted": [self._plain(revision) for revision in self.steps.values],
        }

    def _entry(self, revision: Revision) -> Entry:
        entry = self.counts[revision]
        assert isinstance(entry, Entry)
        return entry

    def _plain(self, revision: Revision) -> dict[str, Any]:
        error = self.failures.get(revision)
        value = self.steps.values.get(revision)
        return {"commit": revision.commit, "subject": revision.subject, "value": value, "error": error}
