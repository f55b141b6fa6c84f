"""`Reconciliation`: what every convention makes of one network, side by side, and which of them gives a number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from archlab.analyses.conventions import Tally, tallies
from archlab.profiles import Profile

if TYPE_CHECKING:
    from archlab.analyses.conventions.claims import Claim, Match


@dataclass(frozen=True)
class Reconciliation:
    """One network by every convention. With a `claim`, `matches` are the ways to come by it, the best first.

    Those whose `fit` is empty do not print as the claim does; they are the nearest ones.
    """

    profile: Profile
    tallies: tuple[Tally, ...]
    claim: Claim | None = None
    matches: tuple[Match, ...] = ()

    @property
    def subject(self) -> str:
        """What was counted."""
        return self.profile.subject

    @property
    def found(self) -> tuple[Match, ...]:
        """The combinations that print as the claim."""
        return tuple(match for match in self.matches if match.fit)

    @property
    def plainest(self) -> Match | None:
        """The match that departs least from MACs of the network at its own size, None without any."""
        return min(self.found, key=lambda match: (match.departures, match.distance), default=None)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data, schema ``archlab.reconciliation/1``."""
        total = self.profile.total
        data: dict[str, Any] = {
            "schema": "archlab.reconciliation/1",
            "subject": self.subject,
            "input": {name: str(spec) for name, spec in self.profile.input.items()},
            "macs": total.macs,
            "flops": total.flops,
            "conventions": [t.to_dict() for t in self.tallies],
            "uncounted": dict(self.profile.uncounted),
            "assumed": dict(self.profile.assumed),
        }
        if self.claim is not None:
            data["claimed"] = self.claim.text
            data["matches"] = [match.to_dict() for match in self.matches]
        return data

    def to_json(self) -> str:
        """Return `to_dict` as JSON text."""
        import json

        return json.dumps(self.to_dict(), indent=1, ensure_ascii=False) + "\n"

    def to_markdown(self) -> str:
        """Return it as markdown."""
        from archlab.report.markdown import render
        from archlab.report.reconciling import reconciliation_document

        return render(reconciliation_document(self))

    def __str__(self) -> str:
        from archlab.report.reconciling import reconciliation_document
        from archlab.report.terminal import render

        return render(reconciliation_document(self))


def reconcile_profile(profile: Profile) -> Reconciliation:
    """Return what every convention counts for a profiled network."""
    return Reconciliation(profile, tallies(profile))
