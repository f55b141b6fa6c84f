"""`Entry`: what one model costs as the lock file keeps it, a `Row` a layer that costs anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from archlab.cost import METRICS
from archlab.errors import ReadError

INEXACT = ("uncounted", "assumed")
"""Metrics that say how often something ran that has no exact count."""
LOCKED = (*METRICS, "peak_memory", *INEXACT)
"""The metrics that the lock keeps of every model."""
OPTIONAL = ("backward_macs", "reported")
"""Those that it keeps where the backward pass or another tool's convention is counted."""
PROFILE = "archlab.profile/1"


def counted_metrics(backward: bool, convention: str) -> tuple[str, ...]:
    """Return the metrics that an entry has, as its model is counted."""
    kept = (backward, convention != "archlab")
    return (*LOCKED, *(metric for metric, counts in zip(OPTIONAL, kept, strict=True) if counts))


@dataclass(frozen=True)
class Row:
    """One layer: its op, its first output, its exact counts by metric (those that are not 0), and the
    products behind them by operation class, with the numbers put in."""

    name: str
    op: str
    output: str
    counts: Mapping[str, int] = field(default_factory=dict)
    formulas: Mapping[str, str] = field(default_factory=dict, compare=False)

    def count(self, metric: str) -> int:
        """Return its count of a metric."""
        return self.counts.get(metric, 0)

    def to_dict(self) -> dict[str, Any]:
        """Return all but the name as plain data."""
        return {**self.counts, "op": self.op, "output": self.output, "formulas": dict(self.formulas)}


@dataclass(frozen=True)
class Entry:
    """The counts of one model: what was counted and how, the totals, what has no exact count, and the layers."""

    target: str
    input: Mapping[str, str]
    mode: str
    convention: str
    total: Mapping[str, int]
    uncounted: Mapping[str, int] = field(default_factory=dict)
    assumed: Mapping[str, int] = field(default_factory=dict)
    rows: tuple[Row, ...] = ()
    arguments: Mapping[str, str] = field(default_factory=dict)
    backward: bool = False

    @classmethod
    def of(cls, profile: Mapping[str, Any], target: str = "", arguments: Mapping[str, Any] | None = None) -> Entry:
        """Return the entry of a profile given as plain data, schema ``archlab.profile/1``.

        `target` and the constructor `arguments` are what it was built from. Raises `ReadError` for any other data.
        """
        try:
            return cls._of(profile, target, arguments or {})
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ReadError(f"this is no profile of schema {PROFILE}: {type(error).__name__} {error}") from None

    @classmethod
    def _of(cls, profile: Mapping[str, Any], target: str, arguments: Mapping[str, Any]) -> Entry:
        if profile["schema"] != PROFILE:
            raise ValueError(f"schema {profile['schema']!r}")
        inexact = {word: sum(profile[word].values()) for word in INEXACT}
        metrics = counted_metrics(profile["backward"], profile["convention"])
        total = {metric: int(inexact.get(metric, profile["total"].get(metric))) for metric in metrics}
        rows = (_row(layer) for layer in profile["layers"])
        return cls(
            target=target or profile["subject"],
            input={name: _spec(given) for name, given in profile["input"].items()},
            mode=profile["mode"],
            convention=profile["convention"],
            total=total,
            uncounted=dict(profile["uncounted"]),
            assumed=dict(profile["assumed"]),
            rows=tuple(row for row in rows if row.counts),
            arguments={name: repr(value) for name, value in arguments.items()},
            backward=profile["backward"],
        )

    @property
    def way(self) -> dict[str, Any]:
        """What was counted and how: counts can be held against each other where this is the same."""
        return {
            "target": self.target,
            "input": dict(self.input),
            "mode": self.mode,
            "convention": self.convention,
            "arguments": dict(self.arguments),
            "backward": self.backward,
        }

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data, as the lock file has it; what is empty or as by default is left out."""
        way = {key: value for key, value in self.way.items() if value}
        rest = {key: dict(found) for key in ("uncounted", "assumed") if (found := getattr(self, key))}
        return {**way, **rest, "total": dict(self.total), "layers": [[row.name, row.to_dict()] for row in self.rows]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Entry:
        """Return what `to_dict` gave; raise `KeyError`, `TypeError`, `ValueError` or `ReadError` for anything else.

        The totals are those of every metric that is counted, and of those that layers have, the layers' sums:
        `ReadError` says where they are not.
        """
        entry = cls(
            target=data["target"],
            input=dict(data.get("input", {})),
            mode=data["mode"],
            convention=data["convention"],
            total={metric: _integer(value, metric) for metric, value in data["total"].items()},
            uncounted=dict(data.get("uncounted", {})),
            assumed=dict(data.get("assumed", {})),
            rows=tuple(_read(name, dict(row)) for name, row in data["layers"]),
            arguments=dict(data.get("arguments", {})),
            backward=data.get("backward", False),
        )
        for metric in counted_metrics(entry.backward, entry.convention):
            if metric not in entry.total:
                raise ReadError(f"its total has no {metric}")
        sums = {metric: sum(row.count(metric) for row in entry.rows) for metric in METRICS}
        sums |= {word: sum(getattr(entry, word).values()) for word in INEXACT}
        for metric, value in sums.items():
            if entry.total[metric] != value:
                raise ReadError(f"its {metric} are {entry.total[metric]:,}, those of its layers {value:,}")
        return entry


def _row(layer: Mapping[str, Any]) -> Row:
    counts = {metric: int(layer[metric]) for metric in METRICS if layer[metric]}
    first = layer["output_shapes"][0] if layer["output_shapes"] else layer["output_shape"]
    output = _spec({"shape": first, "dtype": layer.get("output_dtype", "float32")})
    # A revision from before profiles told every class has the MACs' formula alone, symbols first.
    formulas = layer.get("formulas") or ({"mac": layer["formula"].partition(" = ")[2]} if layer["macs"] else {})
    return Row(layer["name"], layer["op"], output, counts, dict(formulas))


def _read(name: str, row: dict[str, Any]) -> Row:
    op, output, formulas = row.pop("op"), row.pop("output"), dict(row.pop("formulas"))
    return Row(
        name, op, output, {metric: _integer(value, f"{name}: {metric}") for metric, value in row.items()}, formulas
    )


def _integer(value: Any, what: str) -> int:
    if type(value) is not int:
        raise ReadError(f"{what} is {value!r}, no whole number")
    return value


def _spec(given: Mapping[str, Any]) -> str:
    shape = "x".join(map(str, given["shape"])) or "scalar"
    return shape if given["dtype"] == "float32" else f"{shape}:{given['dtype']}"
