"""Repeated measurements: the median, its spread, and what can be said of it whatever the noise looks like.

Intervals are those of the sign test: they take from the sorted values those between which the median lies,
and suppose nothing of how the values are spread.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import comb, exp, log
from statistics import mean, stdev
from typing import Literal, NamedTuple

Word = Literal["faster", "slower", "no difference"]


class Interval(NamedTuple):
    """Where a median lies, with the confidence asked for."""

    low: float
    high: float


def median(values: Sequence[float]) -> float:
    """Return the median of one or more values."""
    return quantile(values, 0.5)


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value below which that share of one or more values lies, linear between two of them."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def interquartile(values: Sequence[float]) -> float:
    """Return the distance between the quartiles of one or more values."""
    return quantile(values, 0.75) - quantile(values, 0.25)


def interval(values: Sequence[float], confidence: float = 0.95) -> Interval | None:
    """Return the interval of the median by the sign test; None where there are too few values for the confidence."""
    cut = _cut(len(values), confidence)
    if not cut:
        return None
    ordered = sorted(values)
    return Interval(ordered[cut - 1], ordered[-cut])


@lru_cache(maxsize=4096)
def _cut(count: int, confidence: float) -> int:
    """Return the largest k so that the median lies from the k-th smallest to the k-th largest value; 0 for none.

    Of `count` values fewer than k lie below the median with the probability that a fair coin falls on one
    side fewer than k times.
    """
    cut, tail = 0, 0
    while 2 * (tail + comb(count, cut)) <= (1 - confidence) * 2**count:
        tail += comb(count, cut)
        cut += 1
    return cut


CONFIDENCE = 0.99
"""The confidence of a verdict: one of a hundred comparisons of the same work may say otherwise."""
SMALLEST = 0.01
"""A median ratio closer to 1 than this is no difference, however sure: the order of two runs moves as much."""


class Verdict(NamedTuple):
    """What rounds that ran two subjects side by side say of the second: the median ratio to the first, and its
    interval, None where there were too few rounds for one."""

    word: Word
    ratio: float
    interval: Interval | None
    rounds: int

    def to_dict(self) -> dict[str, object]:
        """Return it as plain data."""
        low, high = (None, None) if self.interval is None else self.interval
        return {
            "verdict": self.word,
            "ratio": self.ratio,
            "low": low,
            "high": high,
            "confidence": CONFIDENCE,
            "rounds": self.rounds,
        }


def verdict(base: Sequence[float], other: Sequence[float]) -> Verdict:
    """Return what paired rounds say: `other` is faster or slower where the interval of the ratio leaves 1 out."""
    ratios = [b / a for a, b in zip(base, other, strict=True)]
    middle, found = median(ratios), ratio_interval(ratios)
    word: Word = "no difference"
    if found is not None and abs(middle - 1) >= SMALLEST:
        if found.high < 1:
            word = "faster"
        elif found.low > 1:
            word = "slower"
    return Verdict(word, middle, found, len(ratios))


def ratio_interval(ratios: Sequence[float]) -> Interval | None:
    """Return the interval of a ratio with the confidence of a verdict; None for one or two rounds.

    The sign test needs eight rounds for it. With fewer it is Student's, of the logarithms: it supposes more
    of the noise, and is much wider.
    """
    found = interval(ratios, CONFIDENCE)
    if found is not None or len(ratios) - 1 not in _STUDENT:
        return found
    logs = [log(ratio) for ratio in ratios]
    reach = _STUDENT[len(ratios) - 1] * stdev(logs) / len(logs) ** 0.5
    return Interval(exp(mean(logs) - reach), exp(mean(logs) + reach))


_STUDENT = {2: 9.925, 3: 5.841, 4: 4.604, 5: 4.032, 6: 3.707}
"""The 99.5 % points of Student's t by degrees of freedom."""
