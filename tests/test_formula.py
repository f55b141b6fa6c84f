"""Formulas: value, symbols and substitution are one object."""

from __future__ import annotations

import pickle
from math import prod

import numpy
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

import archlab
from archlab.formula import Formula

FACTORS = st.lists(st.tuples(st.text("abcNHW", min_size=1, max_size=3), st.integers(0, 10**9)), max_size=5)


def test_a_product_shows_its_symbols_its_numbers_and_its_result() -> None:
    macs = Formula.product(("H", 14), ("W", 14), ("C_out", 48), ("C_in", 480), ("k_h", 5), ("k_w", 5))
    assert macs.symbolic == "H·W·C_out·C_in·k_h·k_w"
    assert macs.substituted == "14·14·48·480·5·5 = 112,896,000"
    assert str(macs) == "H·W·C_out·C_in·k_h·k_w = 14·14·48·480·5·5 = 112,896,000"
    assert macs.value == int(macs) == 14 * 14 * 48 * 480 * 5 * 5


def test_the_explanation_of_a_layer_is_the_formula_that_was_priced() -> None:
    row = archlab.profile("naive").layer("5x5")
    assert str(row.formula) == "N·H_out·W_out·C_out·C_in·k_h·k_w = 1·14·14·48·480·5·5 = 112,896,000"
    assert row.formula.value == row.cost.macs


def test_a_sum_shows_its_terms() -> None:
    total = Formula.product(("N", 2), ("C", 3)) + Formula.product(("N", 2), 4)
    assert str(total) == "N·C + N·4 = 2·3 + 2·4 = 14"


def test_plain_numbers_are_their_own_names() -> None:
    assert str(Formula.product(3, ("N", 2))) == "3·N = 3·2 = 6"


def test_a_multiple_has_one_more_factor() -> None:
    each = Formula.product(("N", 2)) + Formula.product(("C", 5))
    assert each * 3 == Formula.product(("N", 2), 3) + Formula.product(("C", 5), 3)
    assert (each * 3).value == 3 * each.value
    assert each * 1 is each


def test_the_empty_formula_is_zero_and_false() -> None:
    nothing = Formula()
    assert (nothing.value, nothing.symbolic, str(nothing)) == (0, "0", "0")
    assert not nothing


def test_the_product_of_no_dimensions_is_one() -> None:
    """A scalar's elements."""
    assert str(Formula.product()) == "1 = 1"
    assert Formula.product().value == 1


def test_a_formula_stands_where_an_integer_stands() -> None:
    assert range(10)[Formula.product(("N", 3))] == 3
    assert int(Formula.product(("N", 3), ("M", 10**30))) == 3 * 10**30


@settings(deadline=None)
@given(st.lists(FACTORS, max_size=3))
def test_the_value_is_what_the_substituted_form_computes_to(terms: list[list[tuple[str, int]]]) -> None:
    formula = sum((Formula.product(*term) for term in terms), Formula())
    assert formula.value == sum(prod(n for _, n in term) for term in terms)
    products, _, shown = formula.substituted.partition(" = ")
    assert sum(prod(map(int, term.split("·"))) for term in products.split(" + ")) == formula.value
    assert not shown or int(shown.replace(",", "")) == formula.value
    assert len(formula.symbolic.split(" + ")) == max(len(terms), 1)


def test_equal_formulas_have_equal_factors_not_just_equal_values() -> None:
    assert Formula.product(("N", 2)) == Formula.product(("N", 2))
    assert Formula.product(("N", 2)) != Formula.product(("C", 2))
    assert Formula.product(("N", 2)) != 2
    assert hash(Formula.product(("N", 2))) == hash(Formula.product(("N", 2)))


def test_a_formula_can_be_pickled_and_shown() -> None:
    formula = Formula.product(("N", 2), 3)
    assert pickle.loads(pickle.dumps(formula)) == formula
    assert repr(formula) == "Formula(N·3 = 2·3 = 6)"


def test_factors_may_be_arrays_or_symbols() -> None:
    n = sympy.Symbol("n")
    assert Formula.product(("N", n), ("C", 3)).value == 3 * n
    assert Formula.product(("N", n + 1), ("C", 3)).substituted == "(n + 1)·3 = 3*n + 3"
    assert Formula.product(("N", numpy.arange(3)), ("C", 3)).value.tolist() == [0, 3, 6]


@pytest.mark.parametrize("count", [1000, 1])
def test_one_factor_is_not_repeated_as_its_own_result_unless_it_reads_differently(count: int) -> None:
    expected = {1000: "1000 = 1,000", 1: "1"}[count]
    assert Formula.product(("N", count)).substituted == expected
