"""Where a metric left its good side: random histories, with revisions that cannot be counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from archlab.guard.bisect import Bisection, bisect

Values = list[int | None]


def search(values: Values, at_once: int = 1) -> tuple[Bisection[int], list[list[int]]]:
    """Return what a bisection of revisions 0, 1, … finds, and which were counted together."""
    asked: list[list[int]] = []

    def counts(places: Sequence[int]) -> Mapping[int, int | None]:
        asked.append(list(places))
        return {place: values[place] for place in places}

    return bisect(counts, range(len(values)), at_once), asked


UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
HISTORIES = st.builds(
    lambda good, middle, bad: [good, *middle, bad],
    st.integers(0, 5),
    st.lists(st.none() | st.integers(0, 5), max_size=40),
    st.integers(0, 5),
)


@UNHURRIED
@given(HISTORIES, st.integers(1, 5))
def test_what_is_found_lies_between_a_good_and_a_bad_revision(values: Values, at_once: int) -> None:
    found, asked = search(values, at_once)
    counted = [place for places in asked for place in places]
    assert len(counted) == len(set(counted)), "none is counted twice"
    assert all(len(places) <= max(2, at_once) for places in asked)
    good, bad = values[0], values[-1]
    assert good is not None
    assert bad is not None
    if good == bad:
        assert (found.after, found.candidates) == (None, ())
        return
    assert found.after is not None
    before, after = values[found.before], values[found.after]
    assert before is not None
    assert after is not None
    sign = 1 if bad > good else -1
    assert (before - good) * sign <= 0 < (after - good) * sign
    assert found.hidden == tuple(range(found.before + 1, found.after))
    assert all(values[place] is None for place in found.hidden)
    assert found.candidates == (*found.hidden, found.after)


@UNHURRIED
@given(st.integers(1, 300), st.data())
def test_one_step_is_found_in_as_many_rounds_as_halving_takes(length: int, data: st.DataObject) -> None:
    step = data.draw(st.integers(1, length))
    found, asked = search([100 if place < step else 90 for place in range(length + 1)])
    assert (found.before, found.after, found.hidden) == (step - 1, step, ())
    # The interval of `length` steps is at least halved each round: ceil(log2(length)) rounds, behind the ends'.
    assert len(asked) - 1 <= (length - 1).bit_length()


def test_several_probes_at_once_part_the_range_evenly() -> None:
    # 16 steps in four parts are 4 steps, and those in four parts are one each: two rounds of three.
    found, asked = search([0] * 6 + [1] * 11, at_once=3)
    assert found.after == 6
    assert [len(places) for places in asked] == [2, 3, 3]
    assert asked[1] == [4, 8, 12]


def test_a_step_hidden_by_revisions_that_cannot_be_counted_names_all_candidates() -> None:
    found, _ = search([1, 1, None, None, 2, 2])
    assert (found.before, found.hidden, found.after) == (1, (2, 3), 4)
    assert found.candidates == (2, 3, 4)


def test_a_metric_that_shrank_on_the_way_has_not_left_the_side_that_grows() -> None:
    found, _ = search([5, 3, 3, 4, 7, 7])
    assert (found.before, found.after) == (3, 4)


def test_a_range_of_one_revision_has_no_change() -> None:
    found, asked = search([3])
    assert found.after is None
    assert asked == [[0]]


@pytest.mark.parametrize("values", [[None, 1], [1, None]])
def test_an_end_that_cannot_be_counted_is_an_error(values: Values) -> None:
    with pytest.raises(ValueError, match="cannot be counted"):
        search(values)
