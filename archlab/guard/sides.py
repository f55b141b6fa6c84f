"""`Changes`: the models of two sides, such as two revisions, held against each other by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from archlab.guard.difference import Difference
from archlab.guard.entry import Entry
from archlab.guard.revisions import Revision
from archlab.guard.runs import Failure

NOT_COUNTED = 3
"""The exit code where something could not be counted."""
Counted = Entry | Failure
"""What a model costs, or why it could not be counted."""


@dataclass(frozen=True)
class Side:
    """One of two sides: what it is called, its models, and its commit if it is one."""

    name: str
    models: Mapping[str, Counted] = field(default_factory=dict)
    revision: Revision | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return all but its models as plain data."""
        commit = self.revision and {"commit": self.revision.commit, "subject": self.revision.subject}
        return {"name": self.name, **(commit or {"commit": None, "subject": None})}


@dataclass(frozen=True)
class Change:
    """One model on both sides; None where it is not there."""

    name: str
    old: Counted | None
    new: Counted | None

    @property
    def entries(self) -> tuple[Entry | None, Entry | None]:
        """What it costs on each side, None where that is not known."""
        old, new = (side if isinstance(side, Entry) else None for side in (self.old, self.new))
        return old, new

    @cached_property
    def difference(self) -> Difference | None:
        """How the two differ, None where one is not there or was not counted."""
        old, new = self.entries
        return Difference(old, new) if old is not None and new is not None else None

    @property
    def otherwise(self) -> tuple[tuple[str, Any, Any], ...]:
        """What was counted otherwise on each side: the input, the mode, …"""
        old, new = self.entries
        if old is None or new is None:
            return ()
        named = "target" if self.name == f"{old.target} → {new.target}" else ""
        differing = (word for word in old.way if old.way[word] != new.way[word] and word != named)
        return tuple((word, old.way[word], new.way[word]) for word in differing)

    @property
    def status(self) -> str:
        """In a word or two: not counted, new, removed, changed, no change."""
        if isinstance(self.old, Failure) or isinstance(self.new, Failure):
            return "not counted"
        if self.old is None or self.new is None:
            return "new" if self.old is None else "removed"
        return "no change" if self.difference and self.difference.unchanged else "changed"

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "name": self.name,
            "status": self.status,
            "old": _plain(self.old),
            "new": _plain(self.new),
            "difference": self.difference and self.difference.to_dict(),
        }


@dataclass(frozen=True)
class Changes:
    """What changed between two sides, a model each, in the order of the new side; those that are gone come last."""

    old: Side
    new: Side

    @cached_property
    def models(self) -> tuple[Change, ...]:
        """The models of both sides by name; of two sides with one model each, those two whatever their names."""
        old, new = self.old.models, self.new.models
        if len(old) == len(new) == 1 and not (self.old.revision or self.new.revision):
            ((was, before),), ((name, after),) = old.items(), new.items()
            return (Change(name if was == name else f"{was} → {name}", before, after),)
        return tuple(Change(name, old.get(name), new.get(name)) for name in dict.fromkeys((*new, *old)))

    @property
    def exit_code(self) -> int:
        """0, or 3 where something could not be counted."""
        return NOT_COUNTED if any(model.status == "not counted" for model in self.models) else 0

    @property
    def unchanged(self) -> bool:
        """Whether every model is there on both sides and costs the same."""
        return all(model.status == "no change" for model in self.models)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data, schema ``archlab.diff/1``."""
        return {
            "schema": "archlab.diff/1",
            "old": self.old.to_dict(),
            "new": self.new.to_dict(),
            "unchanged": self.unchanged,
            "exit_code": self.exit_code,
            "models": [model.to_dict() for model in self.models],
        }


def _plain(side: Counted | None) -> dict[str, Any] | None:
    if isinstance(side, Failure):
        return {"error": side.message, "code": side.code}
    if side is None:
        return None
    return {
        **side.way,
        "total": dict(side.total),
        "uncounted": dict(side.uncounted),
        "assumed": dict(side.assumed),
    }
