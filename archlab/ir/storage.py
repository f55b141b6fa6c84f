"""`Storage`: one piece of memory that a traced model took, what lay in it, and when it was let go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from archlab.ir.node import Ref

Refs = tuple[Ref, ...]
"""Outputs of nodes."""


@dataclass(frozen=True, slots=True)
class Storage:
    """A storage, in the order in which they were taken.

    `outputs` are what lay in it: first the output that it was taken for, whose bytes it has, then views
    and what was written in place. `freed` is how many storages had been taken when Python let it go, -1
    for one that was held to the end.
    """

    outputs: Refs
    freed: int = -1

    def to_dict(self) -> Mapping[str, Any]:
        """Return it as plain data."""
        return {"outputs": [list(ref) for ref in self.outputs], "freed": self.freed}
