"""Layers of two networks side by side: by name, by cost where an insertion has shifted names, by structure."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from archlab.alignment import Likeness, align


class Row(NamedTuple):
    """A layer as these tests know it."""

    name: str
    op: str
    output: int = 0
    cost: int = 0


LIKENESS: Likeness[Row] = Likeness(lambda r: r.op, lambda r: (r.op, r.output), lambda r: (r.op, r.output, r.cost))


def aligned(base: list[Row], other: list[Row]) -> list[tuple[str | None, str | None]]:
    return [(a and a.name, b and b.name) for a, b in align([base, other], LIKENESS)]


def test_a_layer_that_is_inserted_into_numbered_ones_is_the_only_new_one() -> None:
    old = [Row("0", "conv", 8, 5), Row("1", "relu", 8, 1), Row("2", "conv", 8, 9)]
    new = [Row("0", "conv", 8, 5), Row("1", "norm", 8, 2), Row("2", "relu", 8, 1), Row("3", "conv", 8, 9)]
    assert aligned(old, new) == [("0", "0"), (None, "1"), ("1", "2"), ("2", "3")]
    assert aligned(new, old) == [("0", "0"), ("1", None), ("2", "1"), ("3", "2")]


def test_layers_that_were_not_touched_are_known_behind_an_insertion_in_front() -> None:
    """An identity in front costs nothing and has no row; behind it every number is one more."""
    old = [Row("0", "conv", 8, 5), Row("1", "relu", 8, 1), Row("2", "conv", 8, 9)]
    new = [Row("1", "conv", 8, 5), Row("2", "norm", 8, 2), Row("3", "relu", 8, 1), Row("4", "conv", 8, 9)]
    assert aligned(old, new) == [("0", "1"), (None, "2"), ("1", "3"), ("2", "4")]


def test_the_same_name_is_the_same_layer_where_its_cost_changed() -> None:
    old = [Row("a", "conv", 8, 1), Row("b", "conv", 8, 2)]
    new = [Row("a", "conv", 8, 2), Row("b", "conv", 8, 3)]
    assert aligned(old, new) == [("a", "a"), ("b", "b")]


def test_an_op_swapped_under_its_name_is_that_layer() -> None:
    old = [Row("a", "conv", 8, 1), Row("pool", "max", 4, 2), Row("b", "conv", 8, 2)]
    assert aligned(old, [old[0], Row("pool", "average", 4, 3), old[2]])[1] == ("pool", "pool")


def test_renamed_layers_of_another_cost_are_matched_by_their_structure() -> None:
    old = [Row("a", "conv", 8, 1), Row("b", "relu", 8, 1)]
    assert aligned(old, [Row("x", "conv", 8, 2), Row("y", "relu", 8, 2)]) == [("a", "x"), ("b", "y")]


NAMES = st.lists(st.sampled_from("abcdefghij"), unique=True, max_size=8)
ROWS = NAMES.flatmap(
    lambda names: st.tuples(
        *(st.builds(Row, st.just(n), st.sampled_from("xy"), st.integers(0, 1), st.integers(0, 2)) for n in names)
    ).map(list)
)


@given(ROWS, ROWS)
def test_every_layer_stands_in_one_row_and_the_base_in_its_order(base: list[Row], other: list[Row]) -> None:
    rows = align([base, other], LIKENESS)
    assert [row[0] for row in rows if row[0] is not None] == base
    assert sorted(row[1] for row in rows if row[1] is not None) == sorted(other)
    assert all(any(row) for row in rows)


@given(ROWS, st.data())
def test_layers_taken_out_are_found_and_the_others_are_themselves(base: list[Row], data: st.DataObject) -> None:
    kept = [row for row in base if data.draw(st.booleans())]
    for old, new in align([base, kept], LIKENESS):
        assert new is None or old == new
