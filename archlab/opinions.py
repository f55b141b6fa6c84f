"""`Opinion`: what one independent counter says of a model, whether it failed, and what it did to the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Status = Literal["counted", "crashed", "timed out", "not installed", "not run"]

Figure = int | float
"""A count as a tool gives it: whole, except where a tool divides."""


@dataclass(frozen=True)
class Opinion:
    """What a counter printed, in its own unit, and what that amounts to in MACs.

    `layers` has the figures by module path (dots; "" is the model), each with all that is below it;
    `operators` and `unsupported` are by operator; `also` holds further figures that the tool returns.
    `changed` says what is different about the model and the process after the run. `facts` are of the
    model itself, and only a forward without any counter gives them: its parameters, buffers and outputs.
    """

    counter: str
    version: str = ""
    status: Status = "counted"
    unit: str = "MACs"
    total: Figure | None = None
    macs: Figure | None = None
    params: int | None = None
    layers: Mapping[str, Figure] = field(default_factory=dict)
    operators: Mapping[str, Figure] = field(default_factory=dict)
    unsupported: Mapping[str, int] = field(default_factory=dict)
    also: Mapping[str, Figure] = field(default_factory=dict)
    changed: tuple[str, ...] = ()
    seconds: float = 0.0
    error: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Opinion:
        """Return the opinion that plain data describes."""
        return cls(**{**data, "changed": tuple(data.get("changed", ()))})
