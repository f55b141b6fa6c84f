"""Budgets: counts as people write them, limits, and how far a count may grow."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archlab.errors import UsageError
from archlab.guard.budgets import Budget, budget, growth, limit
from archlab.guard.quantities import at_least, quantity

READ = [
    ("1.6G", "macs", 1_600_000_000),
    ("7M", "params", 7_000_000),
    ("7B", "params", 7_000_000_000),  # of parameters, B is billions
    ("30MB", "peak_memory", 30_000_000),
    ("30 MB", "peak_memory", 30_000_000),
    ("30M", "peak_memory", 30_000_000),
    ("2MiB", "bytes_moved", 2 * 1024**2),
    ("0.5KiB", "weight_bytes", 512),
    ("512B", "peak_memory", 512),
    ("1,582,671,872", "macs", 1_582_671_872),
    ("1_000", "macs", 1000),
    ("1.5", "macs", 1),
    ("0", "uncounted", 0),
    ("1.2P", "flops", 1_200_000_000_000_000),
]


@pytest.mark.parametrize(("text", "metric", "count"), READ)
def test_a_count_is_read_in_its_unit(text: str, metric: str, count: int) -> None:
    assert quantity(text, metric) == count


@pytest.mark.parametrize("text", ["", "many", "-3", "1.6 X", "G", "1e9", "1.2.3", "3 MB/s"])
def test_what_is_no_count_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no count"):
        quantity(text, "peak_memory")


@pytest.mark.parametrize("text", ["30MB", "30MiB"])
def test_macs_have_no_bytes(text: str) -> None:
    with pytest.raises(UsageError, match="macs are no bytes; write 30M"):
        quantity(text, "macs")


@given(st.integers(0, 10**18), st.sampled_from(["macs", "peak_memory"]))
def test_a_count_written_down_is_read_as_no_less_and_hardly_more(value: int, metric: str) -> None:
    read = quantity(at_least(value, metric), metric)
    assert value <= read <= value + value // 1000 + 1


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (9999, "9999"), (10_000, "10k"), (1_582_671_872, "1.583G"), (999_950, "1M"), (5_268_480, "5.269M")],
)
def test_a_count_is_written_with_four_digits_rounded_up(value: int, text: str) -> None:
    assert at_least(value, "macs") == text


def test_a_limit_is_an_upper_bound() -> None:
    assert [limit("<= 100", "macs", "x").allows(n) for n in (100, 101)] == [True, False]
    assert [limit("< 100", "macs", "x").allows(n) for n in (99, 100)] == [True, False]
    assert [limit("100", "macs", "x").allows(n) for n in (100, 101)] == [True, False]
    assert [limit(0, "uncounted", "x").allows(n) for n in (0, 1)] == [True, False]


@pytest.mark.parametrize("value", [">= 3", "== 3", True, 1.5, "<= many", None, "<= -3"])
def test_what_is_no_limit_is_refused(value: object) -> None:
    with pytest.raises(UsageError, match="macs"):
        limit(value, "macs", "archlab.toml: [budget.x]")


@given(st.integers(0, 10**15), st.integers(0, 10**15), st.decimals(0, 500, places=3))
def test_growth_by_a_share_is_exact(old: int, new: int, percent: Decimal) -> None:
    allowed = growth(f"+{percent:f}%", "macs", "x")
    assert allowed.allows(old, new) == (100 * new <= old * (100 + Fraction(percent)))


def test_growth_by_a_count() -> None:
    assert [growth("+1M", "macs", "x").allows(5, n) for n in (1_000_005, 1_000_006)] == [True, False]
    assert [growth(0, "macs", "x").allows(5, n) for n in (5, 6)] == [True, False]


@pytest.mark.parametrize("value", ["2%", "-2%", 3, True, "+", "+x%", 0.5])
def test_what_is_no_growth_is_refused(value: object) -> None:
    with pytest.raises(UsageError):
        growth(value, "macs", "x")


def test_a_growth_not_named_is_none_but_for_what_follows() -> None:
    limits = budget({"growth": {"macs": "+2%"}}, "x").fail
    assert limits.growth("params") is None
    assert limits.growth("weight_bytes") is None
    assert limits.growth("flops") == limits.growth("macs")
    assert budget({"growth": "+2%"}, "x").fail.growth("params") is not None


def test_what_follows_does_so_by_shares_alone() -> None:
    """600 more params are 2,400 more bytes, not 600."""
    limits = budget({"growth": {"params": "+600", "macs": "+60k"}}, "x").fail
    assert limits.growth("weight_bytes") is None
    assert limits.growth("flops") is None


def test_a_growth_of_every_count_is_a_share_and_leaves_out_what_has_no_exact_count() -> None:
    limits = budget({"growth": "+2%"}, "x").fail
    assert limits.growth("uncounted") is None
    assert limits.growth("assumed") is None
    assert budget({"growth": {"uncounted": "+1"}}, "x").fail.growth("uncounted") is not None
    with pytest.raises(UsageError, match=r"x: growth = '\+1M' is no growth of counts in several units"):
        budget({"growth": "+1M"}, "x")


def test_a_growth_of_every_count_over_a_looser_one_of_some_wins() -> None:
    both = budget({"growth": "+0%"}, "x").over(budget({"growth": {"macs": "+900%"}}, "x"))
    found = both.fail.growth("macs")
    assert found is not None
    assert not found.allows(100, 101)
    other = budget({"growth": {"macs": "+1%"}}, "x").over(budget({"growth": "+900%"}, "x")).fail
    assert [growth.text for m in ("macs", "params") if (growth := other.growth(m))] == ["+1%", "+900%"]


def test_a_metric_that_is_not_counted_is_not_bounded_silently() -> None:
    found = budget({"reported": "<= 1", "warn": {"backward_macs": "<= 1"}}, "x")
    assert found.metrics == {"reported", "backward_macs"}
    found.counted({"reported", "backward_macs"}, "x")
    with pytest.raises(UsageError, match="x: backward_macs is not counted; it takes a model with backward = true"):
        found.counted({"reported"}, "x")
    with pytest.raises(UsageError, match="x: reported is not counted; it takes the convention of another tool"):
        found.counted({"backward_macs"}, "x")


def test_warnings_have_limits_of_their_own() -> None:
    read = budget({"macs": "<= 2G", "warn": {"macs": "<= 1G", "growth": {"macs": "+1%"}}}, "x")
    assert read.fail.limits["macs"].most == 2 * 10**9
    assert read.warn.limits["macs"].most == 10**9
    assert read.warn.growth("macs") is not None
    assert read.fail.growth("macs") is None


def test_a_budget_over_another_keeps_what_only_the_other_says() -> None:
    own, below = budget({"macs": "<= 1"}, "x"), budget({"macs": "<= 9", "params": "<= 9", "growth": "+1%"}, "x")
    both = own.over(below)
    assert {metric: found.most for metric, found in both.fail.limits.items()} == {"macs": 1, "params": 9}
    assert both.fail.growth("macs") == below.fail.growth("macs")
    assert Budget().over(below) == below


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"mac": "<= 1"}, "unknown metric 'mac'; did you mean 'macs'?"),
        ({"growth": {"mac": "+1%"}}, "unknown metric 'mac'; did you mean 'macs'?"),
        ({"warn": "<= 1"}, "is no table"),
        ({"growth": [1]}, "is no table"),
        ({"warn": {"warn": {}}}, "unknown metric 'warn'"),
    ],
)
def test_a_wrong_budget_says_where(data: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError) as error:
        budget(data, "archlab.toml: [budget.x]")
    assert said in str(error.value)
    assert str(error.value).startswith("archlab.toml: [budget.x]")
