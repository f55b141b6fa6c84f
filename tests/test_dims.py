"""Arithmetic on dimensions: the same answers for ints, arrays and symbols."""

from __future__ import annotations

import math
from typing import Any

import numpy
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from archlab import dims
from archlab.errors import GraphError, ShapeError
from archlab.ir import TensorSpec

SIZE = st.integers(1, 10**6)
N, M = sympy.symbols("n m", integer=True, positive=True)
FUNCTIONS = {
    "ceil_div": (dims.ceil_div, lambda a, b: math.ceil(sympy.Rational(a, b))),
    "minimum": (dims.minimum, min),
    "maximum": (dims.maximum, max),
    "gcd": (dims.gcd, math.gcd),
    "where": (lambda a, b: dims.where(dims.equal(a, b), 2 * a, a + b), lambda a, b: a + b),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@settings(deadline=None)
@given(a=SIZE, b=SIZE)
def test_a_function_is_the_same_for_ints_arrays_and_symbols(name: str, a: int, b: int) -> None:
    function, expected = FUNCTIONS[name]
    value = expected(a, b)
    assert function(a, b) == value
    assert type(function(a, b)) is int
    assert function(numpy.array([a, 1]), numpy.array([b, 1])).tolist() == [value, expected(1, 1)]
    assert function(N, M).subs({N: a, M: b}) == value
    assert function(N, b).subs({N: a}) == value


def test_the_gcd_of_a_symbol_waits_for_its_number() -> None:
    """`sympy.gcd(h, 4)` divides polynomials and says 1; for h = 6 that is wrong."""
    assert dims.gcd(N, 4).subs(N, 6) == 2
    assert dims.gcd(N, 4) != 1
    assert dims.gcd(N, 4).is_integer


def test_where_takes_plain_conditions_too() -> None:
    assert dims.where(True, 1, 2) == 1
    assert dims.where(False, 1, 2) == 2
    assert dims.where(numpy.array([True, False]), 1, 2).tolist() == [1, 2]


def test_equal_of_symbols_is_a_relation_not_an_identity() -> None:
    assert dims.equal(N, M) == sympy.Eq(N, M)
    assert dims.equal(N, N) == sympy.true
    assert (dims.equal(3, 3), dims.equal(3, 4)) == (True, False)


def test_the_product_of_nothing_is_one() -> None:
    assert dims.product(()) == 1
    assert dims.product((2, 3, 10**20)) == 6 * 10**20


def test_require_formats_its_message_only_when_it_fails() -> None:
    dims.require(True, "{} is out of reach", *())
    with pytest.raises(ShapeError, match="3 is not 4"):
        dims.require(False, "{} is not {}", 3, 4)


@pytest.mark.parametrize("condition", [1, 0, numpy.True_, numpy.False_])
def test_require_takes_what_stands_for_a_truth_value(condition: Any) -> None:
    if condition:
        dims.require(condition, "no")
    else:
        with pytest.raises(ShapeError):
            dims.require(condition, "no")


def test_require_reports_the_first_configuration_of_an_array_that_fails() -> None:
    sizes = numpy.array([[5, 6, 7], [8, 2, 1]])
    with pytest.raises(ShapeError, match=r"configuration \[1, 1\]: 2 of \(2, 9\) is below 3"):
        dims.require(sizes >= 3, "{} of {} is below 3", sizes, (sizes, 9))
    dims.require(sizes >= 1, "never shown")


def test_require_collects_what_sympy_cannot_decide_once_and_in_order() -> None:
    with dims.assuming() as outer:
        dims.require(N >= 7, "too small")
        dims.require(M >= 2, "too small")
        dims.require(N >= 7, "too small")
        dims.require(N >= 1, "decided: n is positive")
        with dims.assuming() as inner:
            dims.require(N >= 9, "too small")
    assert outer == [N >= 7, M >= 2]
    assert inner == [N >= 9]


def test_require_raises_what_sympy_decides_against_and_needs_no_collector() -> None:
    dims.require(N >= 7, "undecided")
    with pytest.raises(ShapeError, match="n is positive"):
        dims.require(N <= 0, "{} is positive", N)


@pytest.mark.parametrize("value", [3, numpy.int64(3), numpy.uint8(3), sympy.Integer(3)])
def test_an_integer_of_any_library_becomes_a_plain_int(value: Any) -> None:
    """Else a numpy scalar could wrap silently in a formula."""
    plain = dims.require_integer(value, "kernel", 1)
    assert plain == 3
    assert type(plain) is int


@pytest.mark.parametrize("value", ["3", 3.0, True, None, (3,), [3], {}, object(), numpy.float64(3), sympy.Float(3)])
def test_what_is_no_integer_is_refused_with_its_name_and_value(value: Any) -> None:
    with pytest.raises(ShapeError, match="kernel must be an integer, got "):
        dims.require_integer(value, "kernel", 1)


@pytest.mark.parametrize("value", [0, -5, numpy.array([3, 0]), sympy.Integer(0)])
def test_an_integer_below_the_least_is_refused(value: Any) -> None:
    with pytest.raises(ShapeError, match="kernel must be at least 1, got"):
        dims.require_integer(value, "kernel", 1)


def test_arrays_and_symbols_of_integers_pass_as_they_are() -> None:
    sizes = numpy.array([3, 4])
    assert dims.require_integer(sizes, "kernel", 1) is sizes
    assert dims.require_integer(N, "kernel", 1) is N


@pytest.mark.parametrize("shape", [5, None, object()])
def test_a_shape_must_be_a_sequence(shape: Any) -> None:
    with pytest.raises(GraphError, match="a shape must be a sequence of integers"):
        TensorSpec(shape)


@pytest.mark.parametrize("shape", [(1, 2.0), ("1", 2), (None,), (True,), "12"])
def test_a_dimension_must_be_an_integer(shape: Any) -> None:
    with pytest.raises(GraphError, match="a dimension must be an integer, not"):
        TensorSpec(shape)


def test_dimensions_of_any_integer_type_become_plain_ints() -> None:
    spec = TensorSpec([numpy.int64(2), 3])  # type: ignore[arg-type]
    assert spec == TensorSpec((2, 3))
    assert [type(d) for d in spec.shape] == [int, int]


@pytest.mark.parametrize(("shape", "message"), [((2, -1), "cannot be negative"), ((2**63,), "cannot exceed")])
def test_a_dimension_that_no_tensor_has_is_refused(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        TensorSpec(shape)
    TensorSpec((0, 2**63 - 1))


def test_an_unknown_dtype_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(GraphError, match="unknown dtype 'flaot32'; did you mean 'float32'"):
        TensorSpec((1,), "flaot32")


def test_a_tensor_has_elements_and_bytes() -> None:
    spec = TensorSpec((2, 3, 4), "bfloat16")
    assert (spec.numel, spec.bytes, str(spec)) == (24, 48, "2x3x4:bfloat16")
    assert (TensorSpec(()).numel, str(TensorSpec(()))) == (1, "scalar")
