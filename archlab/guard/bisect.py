"""`bisect`: the commit at which a metric left its good side, found by counting as few revisions as there need be."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

R = TypeVar("R")
Counts = Callable[[Sequence[R]], Mapping[R, int | None]]
"""Counts several revisions at once: the metric's value, or None for one that cannot be counted."""


@dataclass(frozen=True)
class Bisection(Generic[R]):
    """Where a metric left its good side: behind `before`, and no later than at `after`.

    `hidden` are the revisions between the two, none of which can be counted; `values` has whatever was
    counted. Where both ends have the same value, `after` is None.
    """

    before: R
    after: R | None
    hidden: tuple[R, ...]
    values: Mapping[R, int | None]

    @property
    def candidates(self) -> tuple[R, ...]:
        """The revisions that may have done it: one, or several where some cannot be counted."""
        return () if self.after is None else (*self.hidden, self.after)


def bisect(counts: Counts[R], revisions: Sequence[R], at_once: int = 1) -> Bisection[R]:
    """Return where a metric leaves its good side in revisions in order, the first of which is good, the last bad.

    It has left that side where it lies beyond the first one's value in the direction of the last one's.
    Where it does so more than once, one such place is found. Each round counts up to `at_once`
    revisions, evenly spaced; those that cannot be counted are passed over. Raises `ValueError` where an
    end cannot be counted.
    """
    first, last = 0, len(revisions) - 1
    values = dict(counts(list(dict.fromkeys((revisions[first], revisions[last])))))
    good, bad = values[revisions[first]], values[revisions[last]]
    if good is None or bad is None:
        raise ValueError(f"{revisions[first if good is None else last]} cannot be counted")
    if good == bad:
        return Bisection(revisions[first], None, (), values)

    def left(value: int) -> bool:
        return value > good if bad > good else value < good

    while untold := [place for place in range(first + 1, last) if revisions[place] not in values]:
        chosen = _spread(untold, at_once)
        values |= counts([revisions[place] for place in chosen])
        for place in chosen:
            value = values[revisions[place]]
            if value is None:
                continue
            if left(value):
                last = place
                break
            first = place
    return Bisection(revisions[first], revisions[last], tuple(revisions[first + 1 : last]), values)


def _spread(places: Sequence[int], count: int) -> list[int]:
    """Return so many of the places, or all, that part them evenly."""
    count = min(count, len(places))
    return [places[(number + 1) * len(places) // (count + 1)] for number in range(count)]
