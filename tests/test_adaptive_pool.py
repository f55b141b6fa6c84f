"""Adaptive pools: what their windows add up to, without visiting each."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import ORACLE

from archlab.ir import Builder
from archlab.ops import AdaptiveAvgPool2d, Input
from archlab.profiles import profile_graph

SIZE = st.integers(1, 60)


def windows(size: int, count: int) -> list[list[int]]:
    """Return [start, end) of each window as torch's adaptive_avg_pool2d divides the positions."""
    return [[i * size // count, -(-(i + 1) * size // count)] for i in range(count)]


def additions(sides: tuple[int, int], counts: tuple[int, int]) -> int:
    b = Builder("pool")
    x = b.add("x", Input((1, 1, *sides)))
    return profile_graph(b.build(b.add("pool", AdaptiveAvgPool2d(counts), x))).total.operations["add"]


@settings(deadline=None)
@given(SIZE, SIZE, SIZE, SIZE)
def test_additions_are_the_positions_of_all_windows(height: int, width: int, rows: int, columns: int) -> None:
    tall, wide = (sum(end - start for start, end in windows(*axis)) for axis in ((height, rows), (width, columns)))
    assert additions((height, width), (rows, columns)) == tall * wide


def test_torchvisions_auxiliary_pool_has_the_published_windows() -> None:
    published = ORACLE["aux_heads"]["torchvision"]["windows_14_to_4"]
    assert windows(14, 4) == published
    assert additions((14, 14), (4, 4)) == sum(end - start for start, end in published) ** 2


def test_a_billion_windows_are_counted_at_once() -> None:
    """Coprime sizes: no division but the last is even, so 7 + 10⁹ - 1."""
    assert additions((7, 7), (10**9, 1)) == (7 + 10**9 - 1) * 7
