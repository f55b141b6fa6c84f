"""`Calibration`: what one device was measured to sustain, with the spread of every figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median, quantiles
from typing import Any

from archlab.analyses.hardware import THIS, Hardware
from archlab.errors import ReadError

SCHEMA = "archlab.calibration/1"


@dataclass(frozen=True)
class Sustained:
    """A rate that was measured some times, in units a second: the best of all runs, their median, and spread.

    A roof is what a device can do, and whatever else runs on it only takes away: the best is the roof.
    """

    best: float
    median: float
    iqr: float
    runs: int

    @classmethod
    def of(cls, rates: Sequence[float]) -> Sustained:
        """Return what some runs amount to; a single one has no spread."""
        low, _, high = quantiles(rates, n=4, method="inclusive") if len(rates) > 1 else (rates[0], rates[0], rates[0])
        return cls(max(rates), median(rates), high - low, len(rates))


@dataclass(frozen=True)
class Calibration:
    """The sustained rates of one device: of matrix products by type in FLOP/s, and of memory by pattern in B/s.

    `launch` is how many small operations start a second, `when` the day, `load` the load average beside
    `cpus` CPUs, `seconds` how long it took to measure.
    """

    device: str
    kind: str
    threads: int
    torch: str
    when: str
    memory: int | None
    load: float | None
    cpus: int
    products: Mapping[str, Sustained]
    bandwidth: Mapping[str, Sustained]
    launch: Sustained
    seconds: float

    @property
    def launch_seconds(self) -> float:
        """How long the device takes to start an operation that does next to nothing."""
        return 1 / self.launch.median

    @property
    def _doubt(self) -> str:
        busy = self.load is not None and self.load > self.cpus / 2
        return (
            ". The system was busy while this was measured, so its roofs may be too low: --recalibrate"
            if busy
            else ""
        )

    @property
    def hardware(self) -> Hardware:
        """The roofs of the device: the best of what it sustained."""
        fastest = max(self.bandwidth.values(), key=lambda found: found.best)
        figures = {**self.products, "bandwidth": fastest}
        threads = f", {self.threads} threads" if self.kind == "CPU" else ""
        busy = "" if self.load is None else f", at a load of {self.load:g} on {self.cpus} CPUs"
        measured = (
            f"square matrix products and passes over memory, measured on {self.when} by torch {self.torch}{busy}"
        )
        return Hardware(
            name=THIS,
            title=f"{self.device}{threads}",
            kind=self.kind,
            rates={dtype: round(found.best) for dtype, found in self.products.items()},
            # The units that multiply float32 do all other operations, too.
            vector=round(self.products["float32"].best) if "float32" in self.products else None,
            bandwidth=round(fastest.best),
            memory=self.memory,
            source=measured,
            spread={name: found.iqr / found.median for name, found in figures.items()},
            note=f"An operation takes {self.launch_seconds * 1e6:.3g} µs to start, which is in no bound{self._doubt}",
        )

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {"schema": SCHEMA, **asdict(self)}

    @classmethod
    def from_dict(cls, data: Any) -> Calibration:
        """Return what `to_dict` made; raise `ReadError` for anything else."""
        try:
            fields = {key: value for key, value in data.items() if key != "schema"}
            for name in ("products", "bandwidth"):
                fields[name] = {key: Sustained(**value) for key, value in fields[name].items()}
            made = cls(**{**fields, "launch": Sustained(**fields["launch"])})
            if data["schema"] != SCHEMA or not made.hardware.rates or made.launch_seconds <= 0:
                raise ValueError(f"it is no {SCHEMA}")
        except (AttributeError, KeyError, TypeError, ValueError, ZeroDivisionError) as error:
            raise ReadError(f"this is no calibration: {error}") from None
        return made
