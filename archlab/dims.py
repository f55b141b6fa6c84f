"""Arithmetic on dimensions that works alike on ints, numpy integer arrays and sympy expressions.

Shape rules and formulas use these functions and plain operators, never a bare ``if`` on a
dimension. Neither numpy nor sympy is imported here: a value of theirs can only arrive when its
library is already loaded.
"""

from __future__ import annotations

import math
import operator
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

from archlab.errors import ShapeError

_assumptions: ContextVar[list[Any] | None] = ContextVar("assumptions", default=None)


def _is_symbolic(*values: Any) -> bool:
    sympy = sys.modules.get("sympy")
    return sympy is not None and any(isinstance(value, sympy.Basic) for value in values)


def ceil_div(a: Any, b: Any) -> Any:
    """Return ⌈a / b⌉ for a positive `b`."""
    return -(-a // b)


def minimum(a: Any, b: Any) -> Any:
    """Return the smaller of two dimensions, elementwise for arrays."""
    if type(a) is int and type(b) is int:
        return a if a < b else b
    if _is_symbolic(a, b):
        return sys.modules["sympy"].Min(a, b)
    return sys.modules["numpy"].minimum(a, b)


def maximum(a: Any, b: Any) -> Any:
    """Return the larger of two dimensions, elementwise for arrays."""
    return -minimum(-a, -b)


def gcd(a: Any, b: Any) -> Any:
    """Return the greatest common divisor of two dimensions, elementwise for arrays."""
    if type(a) is int and type(b) is int:
        return math.gcd(a, b)
    if _is_symbolic(a, b):
        return _symbolic_gcd()(a, b)
    return sys.modules["numpy"].gcd(a, b)


@cache
def _symbolic_gcd() -> Any:
    """Return a sympy function that waits for integers; `sympy.gcd` divides polynomials, where gcd(h, 4) is 1."""
    sympy = sys.modules["sympy"]

    def evaluated(cls: Any, a: Any, b: Any) -> Any:
        return sympy.igcd(a, b) if a.is_Integer and b.is_Integer else None

    rules = {"eval": classmethod(evaluated), "is_integer": True, "is_positive": True}
    return type("gcd", (sympy.Function,), rules)


def equal(a: Any, b: Any) -> Any:
    """Return whether two dimensions are equal: a bool, a boolean array or a sympy relation."""
    if type(a) is int and type(b) is int:
        return a == b
    if _is_symbolic(a, b):
        return sys.modules["sympy"].Eq(a, b)
    return a == b


def where(condition: Any, a: Any, b: Any) -> Any:
    """Return `a` where the condition holds and `b` elsewhere."""
    if condition is True or condition is False:
        return a if condition else b
    if _is_symbolic(condition):
        return sys.modules["sympy"].Piecewise((a, condition), (b, True))
    return sys.modules["numpy"].where(condition, a, b)


def require(condition: Any, message: str, *values: Any) -> None:
    """Raise `ShapeError` unless the condition holds.

    `message` is a format string for `values`, filled in only on failure. For arrays, the first
    configuration that fails is reported. A sympy relation that is not decided becomes an
    assumption of the enclosing `assuming` block.
    """
    if isinstance(condition, int):
        if not condition:
            raise ShapeError(message.format(*values))
        return
    if _is_symbolic(condition):
        sympy = sys.modules["sympy"]
        if condition == sympy.false:
            raise ShapeError(message.format(*values))
        assumed = _assumptions.get()
        if condition != sympy.true and assumed is not None and condition not in assumed:
            assumed.append(condition)
        return
    numpy = sys.modules["numpy"]
    holds = numpy.asarray(condition)
    if not holds.all():
        first = numpy.unravel_index(numpy.argmin(holds), holds.shape)
        shown = [_at(value, holds.shape, first) for value in values]
        index = ", ".join(str(int(i)) for i in first)
        raise ShapeError(f"configuration [{index}]: {message.format(*shown)}" if index else message.format(*shown))


def require_integer(value: Any, what: str, least: int) -> Any:
    """Return an integer of at least `least` as a plain int; raise `ShapeError` for anything else.

    Arrays and symbols of integers pass as they are.
    """
    if type(value) is not int:
        value = _plain_integer(value, what)
    require(value >= least, "{} must be at least {}, got {}", what, least, value)
    return value


def _plain_integer(value: Any, what: str) -> Any:
    if getattr(value, "ndim", 0) or (_is_symbolic(value) and not value.is_number and value.is_integer is not False):
        return value
    try:
        require(not isinstance(value, bool), "{} must be an integer, got {!r}", what, value)
        return operator.index(value)
    except TypeError:
        raise ShapeError(f"{what} must be an integer, got {value!r}") from None


def _at(value: Any, shape: tuple[int, ...], index: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_at(item, shape, index) for item in value)
    numpy = sys.modules["numpy"]
    return numpy.broadcast_to(value, shape)[index].item() if isinstance(value, numpy.ndarray) else value


@contextmanager
def assuming() -> Iterator[list[Any]]:
    """Collect the symbolic conditions that `require` could not decide, each once, in order."""
    assumed: list[Any] = []
    token = _assumptions.set(assumed)
    try:
        yield assumed
    finally:
        _assumptions.reset(token)


def product(values: Any) -> Any:
    """Return the product of dimensions (1 for none)."""
    result = 1
    for value in values:
        result = result * value
    return result
