"""Rules of operators that read elements from other places: resampling, gathers, Einstein's notation."""

from __future__ import annotations

from collections.abc import Mapping

from archlab.errors import ReadError
from archlab.ir import LARGEST
from archlab.ops import Counted, Layout
from archlab.sources.onnx.common import (
    NotCoveredError,
    Rule,
    indices_of,
    laid,
)
from archlab.sources.onnx.layout import axis_of
from archlab.sources.onnx.reading import Call, Reading
from archlab.sources.onnx.tensors import Value

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
    return [laid(r, call, x, shape, "topk", False), indices_of(r, call, x, shape)]


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


RULES: Mapping[str, Rule] = {
    "Einsum": _einsum,
    "GatherElements": _like(1),
    "GatherND": _gather_nd,
    "GridSample": _grid_sample,
    "OneHot": _one_hot,
    "Resize": _resize,
    "ReverseSequence": _like(None),
    "Scatter": _like(None),
    "ScatterElements": _like(None),
    "ScatterND": _like(None),
    "TopK": _top_k,
    "Trilu": _like(None),
    "Upsample": _resize,
}
"""The rule of each operator."""
