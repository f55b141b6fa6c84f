"""`Budget`: the most that a model may cost, ``<= 1.6G``, and may grow against the lock, ``+2%``."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from archlab.errors import UsageError, nearest
from archlab.guard.entry import INEXACT, LOCKED, OPTIONAL
from archlab.guard.quantities import quantity

METRICS = (*LOCKED, *OPTIONAL)
"""What a budget can bound."""
FOLLOWS = {"flops": "macs", "weight_bytes": "params"}
"""Metrics that may grow as another may unless a budget names them: most of their growth is the other's."""

_LIMIT = re.compile(r"\s*(<=|<)?\s*(.*?)\s*", re.DOTALL)
_GROWTH = re.compile(r"\s*\+\s*([0-9]+(?:\.[0-9]+)?)\s*%\s*")


@dataclass(frozen=True)
class Limit:
    """The most that a metric may be, as it was written and as a count."""

    text: str
    most: int

    def allows(self, value: int) -> bool:
        """Return whether a count is within it."""
        return value <= self.most


@dataclass(frozen=True)
class Growth:
    """How far a metric may grow: by a share of what it was, or by so many."""

    text: str
    share: Fraction = Fraction(0)
    step: int = 0

    def allows(self, old: int, new: int) -> bool:
        """Return whether a count may grow from the old to the new."""
        return new <= self.most(old)

    def most(self, old: int) -> int:
        """Return the most that it may become."""
        return int(old * (1 + self.share)) + self.step


NO_GROWTH = Growth("+0")


@dataclass(frozen=True)
class Limits:
    """What one level of a budget says: limits by metric, growths by metric, and the growth of all others."""

    limits: Mapping[str, Limit] = field(default_factory=dict)
    growths: Mapping[str, Growth] = field(default_factory=dict)
    other: Growth | None = None

    def growth(self, metric: str) -> Growth | None:
        """Return how far a metric may grow, None where nothing is said.

        What has no exact count grows only where it is named; a share of a metric holds for its follower, too.
        """
        if named := self.growths.get(metric):
            return named
        led = self.growths.get(FOLLOWS.get(metric, ""))
        if led is not None and not led.step:
            return led
        return None if metric in INEXACT else self.other

    def over(self, below: Limits) -> Limits:
        """Return both, this one where both say something."""
        limits = {**below.limits, **self.limits}
        if self.other is not None:  # which is said of every count
            return Limits(limits, self.growths, self.other)
        return Limits(limits, {**below.growths, **self.growths}, below.other)


@dataclass(frozen=True)
class Budget:
    """The limits whose breach fails a check, and those whose breach warns."""

    fail: Limits = Limits()
    warn: Limits = Limits()

    @property
    def metrics(self) -> frozenset[str]:
        """Every metric that it names."""
        levels = (self.fail, self.warn)
        return frozenset(metric for level in levels for metric in (*level.limits, *level.growths))

    def counted(self, metrics: Container[str], where: str) -> None:
        """Raise `UsageError` if it bounds a metric that is not among those counted: that would bound nothing."""
        for metric in sorted(self.metrics):
            if metric not in metrics:
                raise UsageError(f"{where}: {metric} is not counted; it takes {_TAKES[metric]}")

    def over(self, below: Budget) -> Budget:
        """Return both, this one where both say something."""
        return Budget(self.fail.over(below.fail), self.warn.over(below.warn))


_TAKES = {"reported": "the convention of another tool", "backward_macs": "a model with backward = true"}
"""What has a metric counted that is not always."""


def budget(data: Mapping[str, Any], where: str) -> Budget:
    """Return the budget in a table: limits by metric, ``growth``, and ``warn`` with the same; raise `UsageError`."""
    fail = {key: value for key, value in data.items() if key != "warn"}
    return Budget(_limits(fail, where), _limits(_table(data.get("warn", {}), f"{where}.warn"), f"{where}.warn"))


def _limits(data: Mapping[str, Any], where: str) -> Limits:
    growths: Any = data.get("growth", {})
    limits = {metric: limit(value, metric, where) for metric, value in data.items() if metric != "growth"}
    if isinstance(growths, (str, int)):
        return Limits(limits, {}, growth(growths, "growth", where))
    named = _table(growths, f"{where}.growth")
    return Limits(limits, {metric: growth(value, metric, f"{where}.growth") for metric, value in named.items()})


def limit(value: Any, metric: str, where: str) -> Limit:
    """Return the limit that a text such as ``<= 1.6G`` or a number sets; raise `UsageError`."""
    _known(metric, where)
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise UsageError(f'{where}: {metric} = {value!r} is no limit; write "<= 1.6G" or a whole number')
    found = _LIMIT.fullmatch(str(value))
    sign, text = found.groups() if found else (None, str(value))
    try:
        most = quantity(text, metric)
    except UsageError as error:
        raise UsageError(f'{where}: {error}; a limit is such as "<= 1.6G"') from None
    return Limit(str(value), most - (sign == "<"))


def growth(value: Any, metric: str, where: str) -> Growth:
    """Return the growth that a text such as ``+2%`` or ``+1M`` allows; raise `UsageError`."""
    if metric != "growth":
        _known(metric, where)
    text = str(value).strip()
    if found := _GROWTH.fullmatch(text):
        return Growth(text, Fraction(found[1]) / 100)
    if value == 0 and not isinstance(value, bool):
        return NO_GROWTH
    if metric == "growth":
        raise UsageError(
            f'{where}: growth = {value!r} is no growth of counts in several units; write a share, such as "+2%"'
        )
    if isinstance(value, str) and text.startswith("+"):
        try:
            return Growth(text, step=quantity(text[1:], metric))
        except UsageError as error:
            raise UsageError(f"{where}: {error}") from None
    raise UsageError(f'{where}: {metric} = {value!r} is no growth; write "+2%" or "+1M"')


def _known(metric: str, where: str) -> None:
    if metric not in METRICS:
        raise UsageError(
            f"{where}: unknown metric {metric!r}{nearest(metric, METRICS)} (metrics: {', '.join(METRICS)})"
        )


def _table(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise UsageError(f'{where} = {value!r} is no table; write one, such as growth.macs = "+2%"')
    return value
