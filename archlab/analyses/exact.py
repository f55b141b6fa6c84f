"""Integer arrays that never wrap: numpy's int64 where a bound proves that it holds, else Python ints.

The only module of the package outside `sweep` that needs numpy; `evaluate` imports it when it is given arrays.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from typing import Any

import numpy

from archlab.errors import UsageError

_LIMIT = 2**63

# For each operation: a Python int that its result cannot exceed in magnitude, given those of the operands
# (divisors are at least 1: the shape rules require it).
_BOUNDS: dict[Any, Callable[..., int]] = {
    numpy.add: operator.add,
    numpy.subtract: operator.add,
    numpy.multiply: operator.mul,
    numpy.floor_divide: lambda dividend, divisor: dividend,
    numpy.remainder: lambda dividend, divisor: divisor,
    numpy.negative: abs,
    numpy.absolute: abs,
    numpy.minimum: max,
    numpy.maximum: max,
    numpy.gcd: max,
}
_NO_NUMBERS = frozenset(
    (
        numpy.equal, numpy.not_equal, numpy.less, numpy.less_equal, numpy.greater, numpy.greater_equal,
        numpy.bitwise_and, numpy.bitwise_or, numpy.logical_and, numpy.logical_or, numpy.logical_not,
    )
)  # fmt: skip
"""Operations that yield truth values, which cannot wrap."""


class ExactArray(numpy.ndarray[Any, Any]):
    """An integer array. Before each operation, the operands' magnitudes show whether int64 can hold the result.

    Where they do not, the operands become Python ints (dtype object) first. Never written to.
    """

    _magnitude: int | None = None

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        kwargs.pop("out", None)  # `a += b` must not write into `a`, whose type or shape may be too small
        bound = _BOUNDS.get(ufunc) if method == "__call__" else None
        if ufunc in _NO_NUMBERS or (method == "reduce" and ufunc in (numpy.maximum, numpy.minimum)):
            safe = True
        else:
            safe = bound is not None and bound(*map(_magnitude, inputs)) < _LIMIT
        operands = [_plain(value) if safe else _as_objects(value) for value in inputs]
        return _exact(getattr(ufunc, method)(*operands, **kwargs))

    def __array_function__(self, func: Any, types: Iterable[Any], args: Any, kwargs: Any) -> Any:
        return _exact(super().__array_function__(func, types, args, kwargs))


def exact_array(values: Any, what: str) -> ExactArray:
    """Return integers as an exact array; raise `UsageError` with `what` for anything else."""
    array = numpy.asarray(values)
    if array.dtype.kind == "u":
        array = array.astype(object)
    elif array.dtype.kind != "i" and not (array.dtype.kind == "O" and all(type(v) is int for v in array.flat)):
        raise UsageError(f"{what} must be an array of integers, got dtype {array.dtype}")
    if array.dtype.kind == "O" and _magnitude(array) >= _LIMIT:
        return array.view(ExactArray)
    return array.astype(numpy.int64).view(ExactArray)


def broadcast_shape(arrays: Iterable[ExactArray]) -> tuple[int, ...]:
    """Return the shape that arrays broadcast to together; raise `UsageError` if there is none."""
    shapes = [array.shape for array in arrays]
    try:
        return numpy.broadcast_shapes(*shapes)
    except ValueError:
        shown = ", ".join(map(str, dict.fromkeys(shapes)))
        raise UsageError(f"the bound arrays do not broadcast together: their shapes are {shown}") from None


def plain_array(value: Any, shape: tuple[int, ...] | None = None) -> Any:
    """Return a plain array of an exact one; given a `shape`, one of that shape, from an int as well."""
    if shape is not None:
        return numpy.broadcast_to(_plain(numpy.asanyarray(value)), shape)
    return _plain(value)


def _plain(value: Any) -> Any:
    return value.view(numpy.ndarray) if isinstance(value, ExactArray) else value


def _as_objects(value: Any) -> Any:
    return _plain(value).astype(object) if isinstance(value, numpy.ndarray) else value


def _exact(result: Any) -> Any:
    if isinstance(result, numpy.ndarray):
        return result.view(ExactArray)
    return result.item() if isinstance(result, numpy.generic) else result


def _magnitude(value: Any) -> int:
    """Return the largest absolute value in an array; that of an exact array is found once."""
    if not isinstance(value, numpy.ndarray):
        return abs(int(value))
    if isinstance(value, ExactArray) and value._magnitude is not None:
        return value._magnitude
    array = _plain(value)
    found = max(-int(array.min()), int(array.max())) if array.size else 0
    if isinstance(value, ExactArray):
        value._magnitude = found
    return found
