"""Rules of operators that arrange elements: reshapes, slices, joins, casts, resampling."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from archlab.errors import ReadError
from archlab.ir import LARGEST, Shape, TensorSpec
from archlab.ops import Concat, Counted, Flatten, Layout, Reshape
from archlab.ops.pointwise import broadcast
from archlab.sources.onnx.reading import Call, Reading
from archlab.sources.onnx.tensors import Value, dtype_of
from archlab.sources.onnx.weighted import NotCoveredError, laid, padded

Rule = Callable[[Reading, Call], Sequence[Value]]


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
    if len(wanted) > 64:
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
    axis = axis_of(call, x, "axis", 1, 1)
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
    if len(new) != len(axes) or rank > 64:
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


_TAPS = {"nearest": 0, "linear": 2, "cubic": 4}


def _resize(r: Reading, call: Call) -> list[Value]:
    """Each output is a sum of its neighbours, two or four along each axis that changes."""
    x = call.input(0)
    first = call.version < 11 or call.op == "Upsample"
    scales = r.elements(call.optional(1 if first else 2))
    sizes = None if first else call.optional(3)
    listed = call.attributes.get("scales")
    if scales is None and isinstance(listed, tuple):
        factors = [float(s) for s in listed]
    else:
        factors = [] if scales is None else [float(s) for s in scales.reshape(-1).tolist()]
    axes = call.integers("axes") or tuple(range(len(x.spec.shape)))
    if any(not -len(x.spec.shape) <= a < len(x.spec.shape) for a in axes):
        raise ReadError(f"its axes {axes[:8]} are not those of {x.spec}")
    shape = list(x.spec.shape)
    wanted = r.integers(sizes, "the size that it makes") if sizes is not None else []
    if len(wanted or factors) != len(axes) or call.text("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise NotCoveredError
    for i, axis in enumerate(axes):
        size = wanted[i] if wanted else shape[axis] * factors[i]
        if not 0 <= size <= LARGEST:
            raise ReadError(f"cannot resize {x.spec} by {(wanted or factors)[:8]}")
        shape[axis] = int(size)
    mode = call.text("mode", "nearest")
    if mode not in _TAPS:
        raise NotCoveredError
    changed = sum(a != b for a, b in zip(shape, x.spec.shape, strict=True))
    taps = _TAPS[mode] ** changed if _TAPS[mode] else 0
    each = (("mul", taps), ("add", taps - 1)) if taps > 1 else ()
    r.elements(call.optional(1))
    name = {"linear": {1: "linear", 2: "bilinear", 3: "trilinear"}.get(changed, "linear"), "cubic": "bicubic"}
    function = f"interpolate_{name.get(mode, mode)}"
    return [r.one(call, Counted(function, (tuple(shape),), (x.spec.shape,), each), [x])]


def _like(shape_at: int | None) -> Rule:
    """Return the rule of a scatter or a mask: the shape of its first input, or of another."""

    def rule(r: Reading, call: Call) -> list[Value]:
        x = call.input(0)
        shape = x.spec.shape if shape_at is None else call.input(shape_at).spec.shape
        given = [value for value in call.given if value.ref is not None or value.learned] or [x]
        saw = tuple(value.spec.shape for value in given)
        dtype = "" if given[0].spec.dtype == x.spec.dtype else x.spec.dtype
        return [r.one(call, Layout(call.op, (shape,), saw, dtype, False), given)]

    return rule


def _gather_nd(r: Reading, call: Call) -> list[Value]:
    x, indices, batch = call.input(0), call.input(1), call.integer("batch_dims", 0)
    depth = indices.spec.shape[-1] if indices.spec.shape else 0
    if not 0 <= batch <= len(x.spec.shape) - depth or batch >= len(indices.spec.shape) or not depth:
        raise ReadError(f"{indices.spec} do not index {x.spec}")
    shape = (*indices.spec.shape[:-1], *x.spec.shape[batch + depth :])
    op = Layout("gather_nd", (shape,), (x.spec.shape, indices.spec.shape), "", False)
    return [r.one(call, op, [x, indices])]


def _top_k(r: Reading, call: Call) -> list[Value]:
    x = call.input(0)
    axis, count = axis_of(call, x, "axis", -1), call.integer("k", -1)
    if call.optional(1) is not None:
        (count, *_) = r.integers(call.optional(1), "how many it takes") or [-1]
    if not 0 <= count <= x.spec.shape[axis]:
        raise ReadError(f"cannot take {count} of {x.spec.shape[axis]}")
    shape = (*x.spec.shape[:axis], count, *x.spec.shape[axis + 1 :])
    values, indices = r.emit(call, Layout("topk", (shape, shape), (x.spec.shape,), "", False), [x])
    return [values, Value(TensorSpec(shape, "int64"), indices.ref)]


def _one_hot(r: Reading, call: Call) -> list[Value]:
    x, (depth, *_) = call.input(0), r.integers(call.input(1), "its depth") or [-1]
    axis = axis_of(call, x, "axis", -1, 1)
    shape = (*x.spec.shape[:axis], depth, *x.spec.shape[axis:])
    if depth < 0:
        raise ReadError(f"its depth is {depth}")
    op = Layout("one_hot", (shape,), (x.spec.shape,), call.input(2).spec.dtype, False)
    return [r.one(call, op, [x])]


def _grid_sample(r: Reading, call: Call) -> list[Value]:
    """Weigh the neighbours of a place in each direction."""
    x, grid = call.input(0), call.input(1)
    rank = len(x.spec.shape) - 2
    if rank < 1 or len(grid.spec.shape) != rank + 2:
        raise ReadError(f"{grid.spec} are no places in {x.spec}")
    taps = {"nearest": 0, "cubic": 4, "bicubic": 4}.get(call.text("mode", "linear"), 2) ** rank
    each = (("mul", taps), ("add", taps - 1)) if taps > 1 else ()
    shape = (*x.spec.shape[:2], *grid.spec.shape[1:-1])
    return [r.one(call, Counted("grid_sample", (shape,), (x.spec.shape, grid.spec.shape), each), [x, grid])]


def _einsum(r: Reading, call: Call) -> list[Value]:
    """Two tensors by Einstein's notation: the letters that the result lacks are summed over."""
    left, arrow, out = call.text("equation").replace(" ", "").partition("->")
    terms = left.split(",")
    plain = len(terms) == 2 == len(call.given) and "." not in left + out and arrow
    if not plain or any(len(set(term)) != len(term) for term in (*terms, out)):
        raise NotCoveredError
    sizes: dict[str, int] = {}
    for term, value in zip(terms, call.given, strict=True):
        if len(term) != len(value.spec.shape):
            raise ReadError(f"{term!r} does not name the axes of {value.spec}")
        for letter, size in zip(term, value.spec.shape, strict=True):
            if size not in (1, sizes.get(letter, size)) and sizes.get(letter, 1) != 1:
                raise ReadError(f"{letter!r} is {sizes[letter]} and {size}")
            sizes[letter] = max(sizes.get(letter, 1), size)
    alone = any(letter not in out and left.count(letter) == 1 for letter in sizes)
    if alone or not set(out) <= set(sizes):
        raise NotCoveredError
    summed = 1
    for letter, size in sizes.items():
        summed *= size if letter not in out else 1
    each = (("mac", summed),) if set(out) != set(sizes) else (("mul", 1),)
    saw = tuple(value.spec.shape for value in call.given)
    return [r.one(call, Counted("einsum", (tuple(sizes[c] for c in out),), saw, each), call.given)]


def made(r: Reading, call: Call, shape: Shape, dtype: str) -> Value:
    """Return a tensor made from nothing."""
    return Value(TensorSpec(shape, dtype))


def _filled(r: Reading, call: Call) -> list[Value]:
    """A constant of a shape that is known: it is kept, not computed."""
    if call.op == "ConstantOfShape":
        value = call.attributes.get("value")
        shape = tuple(r.integers(call.input(0), "the shape that it makes"))
        dtype = dtype_of(value.data_type, "its value") if value is not None else "float32"
    else:
        shape = call.integers("shape") or call.input(0).spec.shape
        dtype = dtype_of(call.integer("dtype", 1), "its result")
    return [made(r, call, shape, dtype)]


RULES: Mapping[str, Rule] = {
    "Cast": _cast,
    "CastLike": _cast,
    "Concat": _concat,
    "ConstantOfShape": _filled,
    "DepthToSpace": _blocks,
    "Einsum": _einsum,
    "Expand": _expand,
    "EyeLike": _filled,
    "Flatten": _flatten,
    "GatherElements": _like(1),
    "GatherND": _gather_nd,
    "GridSample": _grid_sample,
    "OneHot": _one_hot,
    "Pad": _pad,
    "RandomNormal": _filled,
    "RandomNormalLike": _filled,
    "RandomUniform": _filled,
    "RandomUniformLike": _filled,
    "Reshape": _reshape,
    "Resize": _resize,
    "ReverseSequence": _like(None),
    "Scatter": _like(None),
    "ScatterElements": _like(None),
    "ScatterND": _like(None),
    "Slice": _slice,
    "SpaceToDepth": _blocks,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "TopK": _top_k,
    "Transpose": _transpose,
    "Trilu": _like(None),
    "Unsqueeze": _unsqueeze,
    "Upsample": _resize,
}
"""The rule of each operator."""
