"""Repeated measurements: intervals against the binomial, and verdicts on simulated noise, false ones counted."""

from __future__ import annotations

import random
from collections.abc import Callable
from math import exp
from statistics import NormalDist

import pytest

from archlab.samples import CONFIDENCE, Interval, interquartile, interval, median, quantile, ratio_interval, verdict

Noise = Callable[[random.Random, int], float]


def test_a_median_of_an_even_number_lies_between_the_two_in_the_middle() -> None:
    assert median([4.0, 1.0, 3.0, 2.0]) == 2.5
    assert median([3.0, 1.0, 2.0]) == 2.0


def test_quartiles_are_linear_between_values() -> None:
    # 1 2 3 4 5: the quartiles lie at the places 1 and 3 from 0.
    assert interquartile([5.0, 1.0, 4.0, 2.0, 3.0]) == 4.0 - 2.0
    # 1 2 3 4: at 0.75 and 2.25, so 1.75 and 3.25.
    assert quantile([1.0, 2.0, 3.0, 4.0], 0.25) == 1.75
    assert interquartile([1.0, 2.0, 3.0, 4.0]) == 3.25 - 1.75


@pytest.mark.parametrize(
    ("count", "confidence", "cut"),
    [
        (5, 0.95, None),  # all five on one side of the median: 2 · 1/32 = 6.25 %
        (6, 0.95, 1),  # 2 · 1/64 = 3.1 %
        (10, 0.95, 2),  # 2 · (1 + 10)/1024 = 2.1 %; with C(10, 2) = 45 more, 10.9 %
        (7, 0.99, None),  # 2 · 1/128 = 1.6 %
        (8, 0.99, 1),  # 2 · 1/256 = 0.8 %
        (20, 0.99, 4),  # 2 · (1 + 20 + 190 + 1140)/2**20 = 0.26 %; with C(20, 4) = 4845 more, 1.2 %
    ],
)
def test_an_interval_is_that_of_the_sign_test(count: int, confidence: float, cut: int | None) -> None:
    values = [float(value) for value in range(1, count + 1)]
    expected = None if cut is None else Interval(float(cut), float(count + 1 - cut))
    random.Random(count).shuffle(values)
    assert interval(values, confidence) == expected


def test_an_interval_holds_the_median_as_often_as_it_says() -> None:
    rng, missed, tries = random.Random(1), 0, 2000
    for _ in range(tries):
        found = interval([rng.expovariate(1) for _ in range(25)], 0.95)
        assert found is not None
        missed += not found.low <= 0.6931 <= found.high  # the median of the exponential is ln 2
    assert missed / tries < 0.05 + 3 * (0.05 * 0.95 / tries) ** 0.5


def calm(rng: random.Random, _: int) -> float:
    return exp(rng.gauss(0, 0.02))


def spiky(rng: random.Random, _: int) -> float:
    """One run in five is interrupted, for a while that varies."""
    return calm(rng, 0) * (1 + (rng.expovariate(2) if rng.random() < 0.2 else 0))


def drifting(rng: random.Random, number: int) -> float:
    """The machine grows a third slower from the first round to the last, and half so between two of them."""
    return spiky(rng, number) * (1 + number / 100)


NOISES = [calm, spiky, drifting]


def rounds(noise: Noise, ratio: float, number: int, rng: random.Random) -> tuple[list[float], list[float]]:
    base = [noise(rng, i) for i in range(number)]
    return base, [ratio * noise(rng, i) for i in range(number)]


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("number", [3, 5, 8, 30])
def test_the_same_work_is_called_different_no_more_often_than_the_confidence_says(noise: Noise, number: int) -> None:
    rng, tries = random.Random(number), 1500
    false = sum(verdict(*rounds(noise, 1.0, number, rng)).word != "no difference" for _ in range(tries))
    allowed = 1 - CONFIDENCE
    assert false / tries <= allowed + 3 * (allowed * CONFIDENCE / tries) ** 0.5


@pytest.mark.parametrize("noise", NOISES)
def test_stopping_when_the_interval_is_narrow_makes_no_difference_of_the_same_work(noise: Noise) -> None:
    rng, tries, false = random.Random(7), 300, 0
    for _ in range(tries):
        base, other = rounds(noise, 1.0, 60, rng)
        for number in range(10, 61, 5):
            found = ratio_interval([b / a for a, b in zip(base[:number], other[:number], strict=True)])
            if found is not None and found.high - found.low < 0.02:
                break
        false += verdict(base[:number], other[:number]).word != "no difference"
    allowed = 1 - CONFIDENCE
    assert false / tries <= allowed + 3 * (allowed * CONFIDENCE / tries) ** 0.5


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize(("ratio", "word"), [(1.1, "slower"), (0.9, "faster")])
def test_a_real_difference_is_found_in_noise(noise: Noise, ratio: float, word: str) -> None:
    rng, tries = random.Random(3), 300
    right = sum(verdict(*rounds(noise, ratio, 60, rng)).word == word for _ in range(tries))
    assert right / tries > 0.95


def test_a_large_difference_needs_only_a_few_rounds() -> None:
    found = verdict([1.0, 1.1, 0.9], [5.0, 5.6, 4.4])
    assert found.word == "slower"
    assert found.interval is not None
    assert found.interval.low > 1


@pytest.mark.parametrize("number", [1, 2])
def test_one_or_two_rounds_say_nothing(number: int) -> None:
    found = verdict([1.0] * number, [5.0] * number)
    assert (found.word, found.interval) == ("no difference", None)


def test_a_sure_difference_below_one_percent_is_none() -> None:
    assert verdict([1.0] * 50, [1.005] * 50).word == "no difference"
    assert verdict([1.0] * 50, [1.02] * 50).word == "slower"


def test_the_points_of_student_are_those_of_its_density() -> None:
    """By numeric integration of the density, so that no table is trusted twice."""
    from math import gamma, pi, sqrt

    from archlab.samples import _STUDENT

    for freedom, point in _STUDENT.items():
        scale = gamma((freedom + 1) / 2) / (sqrt(freedom * pi) * gamma(freedom / 2))
        steps = 20_000
        width = point / steps
        inside = sum(
            scale * (1 + ((i + 0.5) * width) ** 2 / freedom) ** (-(freedom + 1) / 2) * width for i in range(steps)
        )
        assert inside + 0.5 == pytest.approx(1 - (1 - CONFIDENCE) / 2, abs=1e-5)
    assert NormalDist().inv_cdf(0.995) < min(_STUDENT.values())
