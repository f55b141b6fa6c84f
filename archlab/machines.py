"""`Machine`: where and how something was measured, and whether two results are of the same one."""

from __future__ import annotations

import dataclasses
import warnings
from dataclasses import dataclass
from typing import Any

from archlab.errors import ArchlabWarning


@dataclass(frozen=True)
class Machine:
    """Where and how something was measured; `load` is the load average of the minute before."""

    device: str
    kind: str
    threads: int
    dtype: str
    batch: int | None
    channels_last: bool
    compiled: bool
    torch: str
    python: str
    system: str
    load: float | None = None

    @property
    def setting(self) -> str:
        """How it ran, in words."""
        more = [
            f"batch {self.batch}" if self.batch is not None else "",
            self.dtype,
            "channels last" if self.channels_last else "",
            "compiled" if self.compiled else "",
        ]
        return ", ".join(word for word in more if word)

    @property
    def place(self) -> str:
        """What it ran on, in words."""
        threads = f"{self.threads} thread{'s' * (self.threads != 1)}"
        load = "" if self.load is None else f", load {self.load:.1f}"
        return f"{self.kind} ({self.device}), {threads}{load}, torch {self.torch}, Python {self.python}"

    def differences(self, other: Machine) -> list[str]:
        """Return in what another machine or its settings differ from this one, but for the load."""
        pairs = ((f.name, getattr(self, f.name), getattr(other, f.name)) for f in dataclasses.fields(self))
        return [f"{name.replace('_', ' ')} {a} against {b}" for name, a, b in pairs if a != b and name != "load"]

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return dataclasses.asdict(self)


def warn_of_machines(one: str, here: Machine, other: str, there: Machine) -> None:
    """Warn where two results are of different machines or settings, so that their times do not compare."""
    if differing := here.differences(there):
        warnings.warn(
            f"{one} and {other} were measured differently ({'; '.join(differing)}): their times do not compare",
            ArchlabWarning,
            stacklevel=3,
        )
