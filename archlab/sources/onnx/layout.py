"""Rules of operators that arrange elements: reshapes, slices, joins, casts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from archlab.errors import ReadError
from archlab.ir import LARGEST, TensorSpec
from archlab.ops import Concat, Flatten, Layout, Reshape
from archlab.ops.pointwise import broadcast
from archlab.sources.onnx.common import (
    NotCoveredError,
    Rule,
    laid,
    padded,
)
from archlab.sources.onnx.reading import Call, Reading
from archlab.sources.onnx.tensors import Value, dtype_of
from archlab.sources.values import MAX_RANK


def axis_of(call: Call, value: Value, name: str = "axis", default: int = 0, extra: int = 0) -> int:
    """Return a setting that names an axis, counted from the front."""
    axis, rank = call.integer(name, default), len(value.spec.shape) + extra
    if not -rank <= axis < rank:
        raise ReadError(f"its {name} is {axis}, which {value.spec} does not have")
    return axis % rank


def _reshape(r: Reading, call: Call) -> list[Value]:
    x = call.input(0)
    wanted = call.integers("shape")
    if wanted is None:
        wanted = tuple(r.integers(call.input(1), "the shape that it makes"))
    if len(wanted) > MAX_RANK:
        raise ReadError(f"its shape has {len(wanted)} dimensions")
    copies = not call.integer("allowzero", 0)
    entries: list[Any] = [f"={i}" if size == 0 and copies else size for i, size in enumerate(wanted)]
    for i, (size, old) in enumerate(zip(wanted, x.spec.shape, strict=False)):
        if size != old or size <= 0:
            break
        entries[i] = f"={i}"
    return [r.one(call, Reshape(tuple(entries)), [x])]


def _flatten(r: Reading, call: Call) -> list[Value]:
    x = call.input(0)
    axis, rank = call.integer("axis", 1), len(x.spec.shape)
    if not -rank <= axis <= rank:
        raise ReadError(f"its axis is {axis}, which {x.spec} does not have")
    axis += rank if axis < 0 else 0
    if axis == 1 and len(x.spec.shape) > 1:
        return [r.one(call, Flatten(1), [x])]
    front = 1
    for size in x.spec.shape[:axis]:
        front *= size
    if not front or front > LARGEST:
        raise NotCoveredError
    return [r.one(call, Reshape((front, -1)), [x])]


def _transpose(r: Reading, call: Call) -> list[Value]:
    x = call.input(0)
    rank = len(x.spec.shape)
    order = call.integers("perm") or tuple(range(rank))[::-1]
    if sorted(order) != list(range(rank)):
        raise ReadError(f"its perm {order} is no order of the axes of {x.spec}")
    turns = x.key and x.learned and x.ref is None and rank == 2 and order == (1, 0)
    if turns and all(op in ("Transpose", "Gather", "Gemm", "MatMul") for op, _ in r.readers.get(x.key, [])):
        return [Value(r.turned(x).spec, turned=x)]
    return [laid(r, call, x, tuple(x.spec.shape[i] for i in order), "transpose")]


def _axes(r: Reading, call: Call) -> tuple[int, ...] | None:
    axes = call.integers("axes")
    if axes is None and call.optional(1) is not None:
        axes = tuple(r.integers(call.optional(1), "its axes"))
    return axes


def _squeeze(r: Reading, call: Call) -> list[Value]:
    x, axes = call.input(0), _axes(r, call)
    rank = len(x.spec.shape)
    gone = {a % rank for a in axes if -rank <= a < rank} if axes and rank else set()
    if axes is None:
        gone = {i for i, size in enumerate(x.spec.shape) if size == 1}
    if any(x.spec.shape[i] != 1 for i in gone) or (axes and len(gone) != len(axes)):
        raise ReadError(f"cannot take the axes {axes} out of {x.spec}")
    return [laid(r, call, x, tuple(size for i, size in enumerate(x.spec.shape) if i not in gone), "squeeze")]


def _unsqueeze(r: Reading, call: Call) -> list[Value]:
    x, axes = call.input(0), _axes(r, call) or ()
    rank = len(x.spec.shape) + len(axes)
    new = {a % rank for a in axes if -rank <= a < rank}
    if len(new) != len(axes) or rank > MAX_RANK:
        raise ReadError(f"cannot put the axes {axes[:8]} into {x.spec}")
    old = iter(x.spec.shape)
    return [laid(r, call, x, tuple(1 if i in new else next(old) for i in range(rank)), "unsqueeze")]


def _slice(r: Reading, call: Call) -> list[Value]:
    x = call.input(0)
    rank = len(x.spec.shape)
    starts: Sequence[int] | None = call.integers("starts")
    ends: Sequence[int] | None = call.integers("ends")
    axes: Sequence[int] | None = call.integers("axes")
    steps: Sequence[int] = ()
    if starts is None or ends is None:
        starts, ends = r.integers(call.input(1), "where it starts"), r.integers(call.input(2), "where it ends")
        axes = r.integers(call.optional(3), "its axes") if call.optional(3) is not None else None
        steps = r.integers(call.optional(4), "its steps") if call.optional(4) is not None else ()
    axes = list(range(len(starts))) if axes is None else axes
    steps = steps or [1] * len(starts)
    shape = list(x.spec.shape)
    if not len(starts) == len(ends) == len(axes) == len(steps) <= rank:
        raise ReadError(f"its starts, ends, axes and steps do not fit each other and {x.spec}")
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if not -rank <= axis < rank or step == 0:
            raise ReadError(f"cannot cut axis {axis} of {x.spec} in steps of {step}")
        shape[axis] = len(range(*slice(start, end, step).indices(x.spec.shape[axis])))
    return [laid(r, call, x, tuple(shape), "slice")]


def _split(r: Reading, call: Call) -> list[Value]:
    x, count = call.input(0), max(len(call.outputs), 1)
    axis = axis_of(call, x)
    size = x.spec.shape[axis]
    parts: Sequence[int] | None = call.integers("split")
    if parts is None and call.optional(1) is not None:
        parts = r.integers(call.optional(1), "the sizes of its parts")
    if parts is None:
        chunk = -(-size // count)
        parts = [max(min(chunk, size - i * chunk), 0) for i in range(count)]
    if sum(parts) != size or len(parts) != count or min(parts) < 0:
        raise ReadError(f"cannot split {size} into {list(parts)[:8]}, {count} parts")
    shapes = tuple((*x.spec.shape[:axis], part, *x.spec.shape[axis + 1 :]) for part in parts)
    return r.emit(call, Layout("split", shapes, (x.spec.shape,)), [x])


def _concat(r: Reading, call: Call) -> list[Value]:
    given = [value for value in call.given if value.spec.shape != (0,)] or call.given
    if not given:
        raise ReadError("reads nothing")
    return [r.one(call, Concat(call.integer("axis", 1)), given)]


def _cast(r: Reading, call: Call) -> list[Value]:
    x = call.input(0)
    dtype = call.input(1).spec.dtype if call.op == "CastLike" else dtype_of(call.integer("to", 0), "its result")
    if dtype == x.spec.dtype:
        return [x]
    return [r.one(call, Layout("to", (x.spec.shape,), (x.spec.shape,), dtype, False), [x])]


def _expand(r: Reading, call: Call) -> list[Value]:
    x = call.input(0)
    shape = broadcast(x.spec.shape, tuple(r.integers(call.input(1), "the shape that it makes")))
    return [laid(r, call, x, shape, "expand")]


def _tile(r: Reading, call: Call) -> list[Value]:
    x = call.input(0)
    times = r.integers(call.input(1), "how often it repeats")
    if len(times) != len(x.spec.shape) or min(times, default=0) < 0:
        raise ReadError(f"cannot repeat {x.spec} {times[:8]} times")
    shape = tuple(size * n for size, n in zip(x.spec.shape, times, strict=True))
    return [laid(r, call, x, shape, "tile", False)]


def _pad(r: Reading, call: Call) -> list[Value]:
    x = call.input(0)
    rank = len(x.spec.shape)
    pads: Sequence[int] | None = call.integers("pads")
    if pads is None:
        pads = r.integers(call.input(1), "how much it pads")
    axes: Any = r.integers(call.optional(3), "its axes") if call.optional(3) is not None else None
    half = len(pads) // 2
    before, after = [0] * rank, [0] * rank
    axes = list(range(rank))[-half:] if axes is None and half else axes or []
    if len(axes) != half or len(pads) != 2 * half or half > rank or any(not -rank <= a < rank for a in axes):
        raise ReadError(f"cannot pad {x.spec} by {list(pads)[:8]}")
    for axis, a, b in zip(axes, pads[:half], pads[half:], strict=True):
        before[axis], after[axis] = a, b
    r.elements(call.optional(2))
    return [padded(r, call, x, before, after, "")] if rank else [x]


def _blocks(r: Reading, call: Call) -> list[Value]:
    x, block = call.input(0), call.integer("blocksize", 0)
    if len(x.spec.shape) != 4 or block < 1:
        raise ReadError(f"cannot move blocks of {block} of {x.spec}")
    n, c, h, w = x.spec.shape
    if call.op == "DepthToSpace":
        fits, shape = not c % (block * block), (n, c // (block * block), h * block, w * block)
    else:
        fits, shape = not (h % block or w % block), (n, c * block * block, h // block, w // block)
    if not fits:
        raise ReadError(f"{x.spec} does not divide into blocks of {block}")
    return [laid(r, call, x, shape, call.op, False)]


def _filled(r: Reading, call: Call) -> list[Value]:
    """A constant of a shape that is known: it is kept, not computed."""
    if call.op == "ConstantOfShape":
        value = call.attributes.get("value")
        shape = tuple(r.integers(call.input(0), "the shape that it makes"))
        dtype = dtype_of(value.data_type, "its value") if value is not None else "float32"
    else:
        like = call.optional(0)
        shape = call.integers("shape") or call.input(0).spec.shape
        number = call.integer("dtype", 0)
        dtype = dtype_of(number, "its result") if number else like.spec.dtype if like is not None else "float32"
    if len(shape) > MAX_RANK:
        raise ReadError(f"makes a tensor of {len(shape)} dimensions")
    return [Value(TensorSpec(shape, dtype))]


RULES: Mapping[str, Rule] = {
    "Cast": _cast,
    "CastLike": _cast,
    "Concat": _concat,
    "ConstantOfShape": _filled,
    "DepthToSpace": _blocks,
    "Expand": _expand,
    "EyeLike": _filled,
    "Flatten": _flatten,
    "Pad": _pad,
    "RandomNormal": _filled,
    "RandomNormalLike": _filled,
    "RandomUniform": _filled,
    "RandomUniformLike": _filled,
    "Reshape": _reshape,
    "Slice": _slice,
    "SpaceToDepth": _blocks,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
"""The rule of each operator."""
