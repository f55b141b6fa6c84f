"""`Check`, `Verdict`, `Finding`: what a check found, of all models, of one, and one thing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from archlab.guard.config import Model
from archlab.guard.difference import Difference
from archlab.guard.entry import Entry

_FIRST = (1, 3, 2, 70, 5, 4)
"""Of several exit codes the first of these is the check's: a regression is one whatever else went wrong."""


@dataclass(frozen=True)
class Place:
    """A line of a file of the project."""

    file: str
    line: int


@dataclass(frozen=True)
class Finding:
    """One thing that a check found.

    `level` is fail, warn or note; `kind` is budget, growth (against the lock), missing or stale (the lock's
    entry), error, incomplete, tighten or moved; `accept` is the command that accepts it, `place` where to look.
    """

    level: str
    kind: str
    text: str
    metric: str = ""
    accept: str = ""
    code: int = 0
    place: Place | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "level": self.level,
            "kind": self.kind,
            "metric": self.metric or None,
            "message": self.text,
            "accept": self.accept or None,
            "file": self.place and self.place.file,
            "line": self.place and self.place.line,
        }


@dataclass(frozen=True)
class Verdict:
    """What a check found of one model: its counts, those of the lock, and the findings."""

    name: str
    model: Model | None
    entry: Entry | None
    locked: Entry | None
    findings: tuple[Finding, ...] = ()

    @cached_property
    def difference(self) -> Difference | None:
        """How the counts differ from the lock's, None where one is not there or counts something else."""
        if self.entry is None or self.locked is None or self.entry.way != self.locked.way:
            return None
        return Difference(self.locked, self.entry)

    @property
    def status(self) -> str:
        """In a word or two: fails, warns, improved, changed, no change."""
        levels = {finding.level for finding in self.findings}
        if "fail" in levels:
            return "fails"
        if "warn" in levels:
            return "warns"
        difference = self.difference
        if difference is None or difference.old == difference.new:
            return "no change"
        changes = [difference.change(metric) for metric in difference.totals]
        return "improved" if any(c < 0 for c in changes) and all(c <= 0 for c in changes) else "changed"

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "name": self.name,
            "target": self.model and self.model.target,
            "status": self.status,
            "total": self.entry and dict(self.entry.total),
            "uncounted": dict(self.entry.uncounted) if self.entry else {},
            "assumed": dict(self.entry.assumed) if self.entry else {},
            "locked": self.locked and dict(self.locked.total),
            "findings": [finding.to_dict() for finding in self.findings],
            "difference": self.difference and self.difference.to_dict(),
        }


@dataclass(frozen=True)
class Check:
    """The verdicts on all models that were checked, in the config's order."""

    verdicts: tuple[Verdict, ...]

    @property
    def exit_code(self) -> int:
        """0, or what the gravest finding means: 1 a regression, 2 or 3 no count, 5 no baseline, 4 incomplete."""
        failing = {finding.code for v in self.verdicts for finding in v.findings if finding.level == "fail"}
        return next((code for code in _FIRST if code in failing), 0)

    def count(self, status: str) -> int:
        """Return how many models have a status."""
        return sum(verdict.status == status for verdict in self.verdicts)

    @property
    def unchanged(self) -> bool:
        """Whether nothing is to be said: every model costs what the lock says."""
        return all(verdict.status == "no change" for verdict in self.verdicts)

    @property
    def status(self) -> str:
        """The gravest of the statuses."""
        found = [verdict.status for verdict in self.verdicts]
        return next((s for s in ("fails", "warns", "changed", "improved") if s in found), "no change")

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data, schema ``archlab.check/1``."""
        return {
            "schema": "archlab.check/1",
            "status": self.status,
            "exit_code": self.exit_code,
            "models": [verdict.to_dict() for verdict in self.verdicts],
        }
