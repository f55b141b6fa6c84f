"""Small tensors whose elements are known, computed: they say what shapes the rest has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy

from archlab.errors import ReadError
from archlab.ir import TensorSpec
from archlab.sources.onnx.reading import Call, Reading
from archlab.sources.onnx.tensors import DTYPES, KNOWN_ELEMENTS, Value, dtype_of

Function = Callable[..., Any]


def folded(r: Reading, call: Call) -> list[Value] | None:
    """Return what a node makes of tensors whose elements are known, None where they are not or it is no such node.

    Nothing learned is folded, and nothing larger than `KNOWN_ELEMENTS` is made.
    """
    if call.op == "Shape":
        shape = call.input(0).spec.shape
        start, end = call.integer("start", 0), call.attributes.get("end")
        return [_known(numpy.array(shape[start:end], dtype="int64"))]
    if call.op == "Size":
        numel = call.input(0).spec.numel
        return [_known(numpy.array(min(numel, 2**63 - 1), dtype="int64"))]
    function = FUNCTIONS.get(call.op)
    given = call.given
    if function is None or any(value.data is None or value.learned for value in given):
        return None
    arguments = [None if value is None else r.elements(value) for value in call.inputs]
    try:
        with numpy.errstate(all="ignore"):
            made = function(call, *arguments)
    except _TooLargeError:
        return None
    except (ValueError, TypeError, IndexError, OverflowError, KeyError, ZeroDivisionError) as error:
        raise ReadError(f"cannot be computed: {str(error)[:120]}") from None
    results = made if isinstance(made, list) else [made]
    return [_known(numpy.asarray(result)) for result in results]


class _TooLargeError(Exception):
    """More elements than are computed."""


def _known(data: Any) -> Value:
    dtype = str(data.dtype)
    return Value(TensorSpec(tuple(data.shape), dtype if dtype in _NAMES else "float32"), data=data)


_NAMES = frozenset(DTYPES.values())


def _fits(*counts: int) -> None:
    total = 1
    for count in counts:
        total *= int(count)
    if not 0 <= total <= KNOWN_ELEMENTS:
        raise _TooLargeError


def _ints(data: Any) -> list[int]:
    return [int(d) for d in data.reshape(-1).tolist()]


def _cast(call: Call, x: Any) -> Any:
    dtype = dtype_of(call.integer("to", 0), "its result")
    return x.astype("float32" if dtype.startswith(("bfloat", "float8")) else dtype)


def _axes(call: Call, given: Any) -> tuple[int, ...] | None:
    return tuple(_ints(given)) if given is not None else call.integers("axes")


def _squeeze(call: Call, x: Any, axes: Any = None) -> Any:
    return numpy.squeeze(x, _axes(call, axes))


def _unsqueeze(call: Call, x: Any, axes: Any = None) -> Any:
    return numpy.expand_dims(x, _axes(call, axes) or ())


def _gather(call: Call, x: Any, indices: Any) -> Any:
    _fits(x.size, indices.size)
    return numpy.take(x, indices, axis=call.integer("axis", 0))


def _slice(call: Call, x: Any, starts: Any = None, ends: Any = None, axes: Any = None, steps: Any = None) -> Any:
    first = _ints(starts) if starts is not None else list(call.integers("starts") or ())
    last = _ints(ends) if ends is not None else list(call.integers("ends") or ())
    along = _axes(call, axes)
    along = tuple(range(len(first))) if along is None else along
    by = _ints(steps) if steps is not None else [1] * len(first)
    places: list[Any] = [slice(None)] * x.ndim
    for start, end, axis, step in zip(first, last, along, by, strict=True):
        whole = step < 0 and end < -x.shape[axis]  # to the first
        places[axis] = slice(start, None if whole else end, step)
    return x[tuple(places)]


def _range(call: Call, start: Any, limit: Any, step: Any) -> Any:
    numbers = [data.reshape(()).item() for data in (start, limit, step)]
    if not numbers[2] or abs(numbers[1] - numbers[0]) > KNOWN_ELEMENTS * abs(numbers[2]):
        raise _TooLargeError
    return numpy.arange(*numbers).astype(start.dtype)


def _filled(call: Call, shape: Any) -> Any:
    _fits(*_ints(shape))
    value = call.attributes.get("value")
    if value is None:
        return numpy.zeros(_ints(shape), dtype="float32")
    from onnx import numpy_helper

    one = numpy_helper.to_array(value).reshape(-1)
    return numpy.full(_ints(shape), one[0], dtype=one.dtype)


def _reshape(call: Call, x: Any, shape: Any = None) -> Any:
    wanted = _ints(shape) if shape is not None else list(call.integers("shape") or ())
    if not call.integer("allowzero", 0):
        wanted = [x.shape[i] if size == 0 else size for i, size in enumerate(wanted)]
    return x.reshape(wanted)


def _expand(call: Call, x: Any, shape: Any) -> Any:
    made = numpy.broadcast_shapes(x.shape, tuple(_ints(shape)))
    _fits(*made)
    return numpy.broadcast_to(x, made)


def _tile(call: Call, x: Any, times: Any) -> Any:
    _fits(x.size, *_ints(times))
    return numpy.tile(x, _ints(times))


def _reduced(function: Any) -> Function:
    def reduce(call: Call, x: Any, axes: Any = None) -> Any:
        along = _axes(call, axes)
        return function(x, axis=along, keepdims=bool(call.integer("keepdims", 1))).astype(x.dtype)

    return reduce


def _pair(function: Any) -> Function:
    def both(call: Call, a: Any, b: Any) -> Any:
        _fits(*numpy.broadcast_shapes(a.shape, b.shape))
        return function(a, b)

    return both


def _kept_type(function: Any) -> Function:
    return lambda call, a, b: _pair(function)(call, a, b).astype(a.dtype)


def _divided(a: Any, b: Any) -> Any:
    if a.dtype.kind not in "iu":
        return a / b
    return numpy.trunc(a.astype("float64") / b).astype(a.dtype) if a.dtype.kind == "i" else a // b


def _many(function: Any) -> Function:
    def chain(call: Call, first: Any, *others: Any) -> Any:
        for other in others:
            first = _pair(function)(call, first, other)
        return first

    return chain


def _where(call: Call, condition: Any, a: Any, b: Any) -> Any:
    _fits(*numpy.broadcast_shapes(condition.shape, a.shape, b.shape))
    return numpy.where(condition, a, b)


def _one(function: Any) -> Function:
    return lambda call, x: function(x).astype(x.dtype)


def _concat(call: Call, *parts: Any) -> Any:
    _fits(sum(part.size for part in parts))
    return numpy.concatenate(parts, axis=call.integer("axis", 0))


def _split(call: Call, x: Any, sizes: Any = None) -> Any:
    parts = _ints(sizes) if sizes is not None else list(call.integers("split") or ())
    count = len(call.outputs)
    places = numpy.cumsum(parts)[:-1] if parts else count
    return list(numpy.array_split(x, places, axis=call.integer("axis", 0)))


FUNCTIONS: Mapping[str, Function] = {
    "Abs": _one(numpy.abs),
    "Add": _kept_type(numpy.add),
    "And": _pair(numpy.logical_and),
    "Cast": _cast,
    "Ceil": _one(numpy.ceil),
    "Concat": _concat,
    "ConstantOfShape": _filled,
    "CumSum": lambda call, x, axis: numpy.cumsum(x, axis=int(axis.reshape(()))).astype(x.dtype),
    "Div": _pair(_divided),
    "Equal": _pair(numpy.equal),
    "Expand": _expand,
    "Floor": _one(numpy.floor),
    "Gather": _gather,
    "Greater": _pair(numpy.greater),
    "GreaterOrEqual": _pair(numpy.greater_equal),
    "Less": _pair(numpy.less),
    "LessOrEqual": _pair(numpy.less_equal),
    "Max": _many(numpy.maximum),
    "Min": _many(numpy.minimum),
    "Mod": _kept_type(numpy.mod),
    "Mul": _kept_type(numpy.multiply),
    "Neg": _one(numpy.negative),
    "NonZero": lambda call, x: numpy.array(numpy.nonzero(x), dtype="int64"),
    "Not": lambda call, x: numpy.logical_not(x),
    "Or": _pair(numpy.logical_or),
    "Range": _range,
    "ReduceMax": _reduced(numpy.max),
    "ReduceMin": _reduced(numpy.min),
    "ReduceProd": _reduced(numpy.prod),
    "ReduceSum": _reduced(numpy.sum),
    "Reciprocal": _one(numpy.reciprocal),
    "Reshape": _reshape,
    "Slice": _slice,
    "Split": _split,
    "Sqrt": _one(numpy.sqrt),
    "Squeeze": _squeeze,
    "Sub": _kept_type(numpy.subtract),
    "Tile": _tile,
    "Transpose": lambda call, x: numpy.transpose(x, call.integers("perm")),
    "Unsqueeze": _unsqueeze,
    "Where": _where,
}
"""What each operator computes."""
