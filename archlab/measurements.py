"""`Measurement`: what a model cost where it ran, beside its profile; every figure carries its spread.

Nothing here enters a count or a lock file.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from archlab.errors import ReadError
from archlab.machines import Machine
from archlab.profiles import Layer, Profile
from archlab.samples import Interval, interquartile, interval, median

ENOUGH = 6
"""So many runs are enough for an interval of the median with a confidence of 95 %."""


@dataclass(frozen=True)
class Seconds:
    """Seconds of something that ran several times: the median, the distance of the quartiles, how many runs.

    The median lies between `low` and `high` with a confidence of 95 %; with fewer than six runs these are
    the shortest and the longest.
    """

    median: float
    iqr: float
    runs: int
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Seconds:
        """Return the seconds of one or more runs."""
        low, high = interval(values) or (min(values), max(values))  # None with fewer than ENOUGH
        return cls(median(values), interquartile(values), len(values), low, high)

    @property
    def margin(self) -> float:
        """How far the interval reaches from the median, as a share of it."""
        return max(self.high - self.median, self.median - self.low) / self.median if self.median else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return dataclasses.asdict(self)


NO_TIME = Seconds(0.0, 0.0, 0, 0.0, 0.0)
"""Of what runs nothing: inputs, constants, views that no call makes."""


@dataclass(frozen=True)
class Timing:
    """What the JSON of a measured profile says of the whole: the subject, what it took, and where."""

    subject: str
    whole: Seconds
    layers: float
    machine: Machine

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Timing | None:
        """Return what plain data of schema ``archlab.profile/1`` says, None where nothing was measured.

        Raises `ReadError` where it says something else than a measurement does.
        """
        if "whole_seconds" not in data:
            return None
        try:
            whole, machine = Seconds(**data["whole_seconds"]), Machine(**data["machine"])
            return cls(str(data["subject"]), whole, float(data["layers_seconds"]["median"]), machine)
        except (KeyError, TypeError, ValueError) as error:
            raise ReadError(f"this is no measured profile: {type(error).__name__} {error}") from None

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class Shared:
    """Layers that one call runs together, so that they have one time: it stands at `carrier`."""

    what: str
    carrier: str
    layers: tuple[str, ...]


@dataclass(frozen=True)
class Counted:
    """What torch's own dispatch counted on the device for layers that one call runs: our MACs, its, and why
    these differ (empty where they do not, or where no rule gives that very figure)."""

    layers: tuple[str, ...]
    ours: int
    theirs: int
    reason: str = ""


@dataclass(frozen=True)
class Counts:
    """The operations that ran on the device, by torch's own counter: the whole, and each call's layers."""

    macs: int
    calls: tuple[Counted, ...]

    @property
    def differing(self) -> tuple[Counted, ...]:
        """Those that are not our count."""
        return tuple(each for each in self.calls if each.ours != each.theirs)

    @cached_property
    def by_layer(self) -> dict[str, int | None]:
        """The MACs that were counted for each layer, None for one whose call runs others, too, and differs."""
        found: dict[str, int | None] = {}
        for call in self.calls:
            alone = len(call.layers) == 1
            for layer in call.layers:
                found[layer] = call.theirs if alone else None
        return found


@dataclass(frozen=True)
class Measurement:
    """A profile and what it took where it ran: the whole model without anything in its way, and each layer.

    `layers` has the seconds by layer; of layers that one call runs, the carrier in `shared` has them.
    `layers_seconds` is the sum over layers, run by run: the whole's where one call runs all of them, nothing
    where nobody could listen to them.
    `unplaced` are layers whose call did not run as traced. `rounds` are the seconds of the whole model, run
    by run, `listened_rounds` the sums over its layers of the runs that each of them took turns with, and
    `interrupted` says that someone stopped it before the figures were as narrow as asked for.
    """

    profile: Profile
    machine: Machine
    whole: Seconds
    layers_seconds: Seconds
    layers: Mapping[str, Seconds]
    rounds: tuple[float, ...]
    listened_rounds: tuple[float, ...] = ()
    counts: Counts | None = None
    shared: tuple[Shared, ...] = ()
    unplaced: tuple[str, ...] = ()
    note: str = ""
    interrupted: bool = False

    @property
    def sum_of_medians(self) -> float:
        """The medians of the layers together: what a column of them sums to.

        Whatever interrupts a run now and then is in most of the runs and in few of a layer's: on a busy machine
        this is less than a run takes.
        """
        return sum(seconds.median for seconds in self.layers.values())

    @property
    def listened_share(self) -> tuple[float, Interval | None]:
        """What a run takes layer by layer of one with nobody listening: the median over the rounds, and where
        that lies with a confidence of 95 % (None with fewer than six rounds)."""
        shares = [a / b for a, b in zip(self.listened_rounds, self.rounds, strict=False)]
        return (median(shares), interval(shares)) if shares else (0.0, None)

    @property
    def carried(self) -> Mapping[str, Shared]:
        """The groups by each of their layers, but for the one that carries the time."""
        return {name: group for group in self.shared for name in group.layers if name != group.carrier}

    def seconds(self, layer: Layer) -> Seconds | None:
        """Return the seconds of a layer; None where another carries them, or where it was not seen to run."""
        if layer.name in self.carried or layer.name in self.unplaced:
            return None
        return self.layers.get(layer.name, NO_TIME)

    def to_dict(self) -> dict[str, Any]:
        """Return the profile as plain data, schema ``archlab.profile/1``, with what was measured."""
        data = self.profile.to_dict()
        for row, layer in zip(data["layers"], self.profile.layers, strict=True):
            row["seconds"] = self._seconds_data(layer)
            if self.counts is not None:
                row["measured_macs"] = self.counts.by_layer.get(layer.name, 0)
        more: dict[str, Any] = {
            "source": "measured",
            "graph_source": self.profile.source,
            "machine": self.machine.to_dict(),
            "whole_seconds": self.whole.to_dict(),
            "layers_seconds": self.layers_seconds.to_dict(),
            "sum_of_medians": self.sum_of_medians,
            "note": self.note,
            "shared": [dataclasses.asdict(group) for group in self.shared],
            "unplaced": list(self.unplaced),
            "interrupted": self.interrupted,
        }
        if self.counts is not None:
            more["measured_macs"] = self.counts.macs
            more["measured_differences"] = [dataclasses.asdict(each) for each in self.counts.differing]
        return {**data, **more}

    def _seconds_data(self, layer: Layer) -> dict[str, Any]:
        group = self.carried.get(layer.name)
        if group is not None:
            return {**NO_TIME.to_dict(), "shared_with": group.carrier}
        seconds = self.seconds(layer)
        if seconds is None:
            return {"median": None, "iqr": None, "runs": 0, "low": None, "high": None}
        return seconds.to_dict()

    def to_json(self) -> str:
        """Return `to_dict` as JSON text."""
        import json

        return json.dumps(self.to_dict(), indent=1, ensure_ascii=False) + "\n"

    def to_markdown(self) -> str:
        """Return the measurement as markdown."""
        from archlab.report.markdown import render
        from archlab.report.measuring import measurement_document

        return render(measurement_document(self))

    def __str__(self) -> str:
        from archlab.report.measuring import measurement_document
        from archlab.report.terminal import render

        return render(measurement_document(self))
