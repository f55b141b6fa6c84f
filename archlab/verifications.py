"""`Verification`: a graph's counts beside those of independent counters, and what was compared with torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from archlab.opinions import Figure, Opinion

UNEXPLAINED = "unexplained"


@dataclass(frozen=True)
class Count:
    """What one counter says: its whole count and that of each layer, and what it says it cannot count.

    `unsupported` are the operators that it met and has no rule for, `failed` those whose rule raised,
    both by layer and then by operator.
    """

    name: str
    version: str
    total: int
    layers: Mapping[str, int]
    unsupported: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    failed: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Reading:
    """One counter's figure for one layer, and why it is not ours: empty if it is, else a rule or `UNEXPLAINED`."""

    counter: str
    count: int
    difference: int
    reason: str

    @property
    def ok(self) -> bool:
        """Whether it is our figure, or a rule gives it exactly."""
        return self.reason != UNEXPLAINED


@dataclass(frozen=True)
class Row:
    """One layer: our MACs and what each counter says, in the order of `Verification.counters`."""

    name: str
    op: str
    macs: int
    readings: tuple[Reading, ...]


@dataclass(frozen=True)
class Disagreement:
    """The first layer, as the model runs, where a counter's figure is not ours: both in MACs, and why if known.

    What other layers below it count is left out of both figures.
    """

    layer: str
    ours: Figure
    theirs: Figure
    reason: str = ""


Verdict = Literal[
    "agrees", "explained", "as its convention says", "differs", "UNEXPLAINED",
    "crashed", "timed out", "not installed", "not run",
]  # fmt: skip
"""What comes of comparing a counter's figure with ours; only the fifth is held against anyone."""


@dataclass(frozen=True)
class Agreement:
    """One counter's opinion beside ours: its verdict, the difference in MACs, and the first layer of it.

    `first` is None where nothing differs, or where the counter has no figures by layer.
    """

    opinion: Opinion
    verdict: Verdict
    difference: Figure | None = None
    first: Disagreement | None = None

    @property
    def ok(self) -> bool:
        """Whether it agrees, is explained, or claims something else."""
        return self.verdict != "UNEXPLAINED"


@dataclass(frozen=True)
class Check:
    """One thing compared with torch: what, whether it agrees, and how much was compared or what differs."""

    name: str
    ok: bool
    detail: str


@dataclass(frozen=True)
class Verification:
    """Our counts of one graph beside those of independent counters, layer by layer."""

    subject: str
    mode: str
    macs: int
    rows: tuple[Row, ...]
    counters: tuple[Count, ...]
    checks: tuple[Check, ...]
    agreements: tuple[Agreement, ...] = ()
    params: int | None = None

    @property
    def ok(self) -> bool:
        """Whether every check holds and every figure is ours or explained; a counter may fail."""
        if not all(check.ok for check in self.checks) or not all(each.ok for each in self.agreements):
            return False
        if self.agreements:  # these weigh the same differences, and conventions beside
            return True
        return all(r.ok for row in self.rows for r in row.readings)

    def to_dict(self) -> dict[str, Any]:
        """Return the verification as plain data, schema ``archlab.verification/1``."""
        return {"schema": "archlab.verification/1", "ok": self.ok, **dataclasses.asdict(self)}

    def to_json(self) -> str:
        """Return `to_dict` as JSON text."""
        import json

        return json.dumps(self.to_dict(), indent=1, ensure_ascii=False) + "\n"

    def to_markdown(self) -> str:
        """Return the verification as markdown."""
        from archlab.report.markdown import render
        from archlab.report.verifying import verification_document

        return render(verification_document(self))

    def __str__(self) -> str:
        from archlab.report.terminal import render
        from archlab.report.verifying import verification_document

        return render(verification_document(self))
