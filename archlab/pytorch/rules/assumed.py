"""What a trace takes for granted where a size depends on elements that it does not have; every result says so.

A choice that data makes (the largest, the order, what suppression keeps) gets elements that are assumed. If
control flow reads them, or a shape rests on them, the step that made them says what was assumed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import zip_longest
from math import prod
from typing import Any

import torch

from archlab.ir import TensorSpec, is_floating
from archlab.ops.general import Counted, Layout
from archlab.pytorch.recorder import is_small
from archlab.pytorch.rules import elements
from archlab.pytorch.spy import DTYPES

EVERYWHERE = "a condition on data holds everywhere"
EVENLY = "data picks each choice equally often"
IN_ORDER = "data is in order before it is sorted"
FIRST = "data that is compared with numbers equals the first of them"
ONE_VALUE = "data that is listed by value has one value"
KEEPS_ALL = "non-maximum suppression keeps every box"
AS_ITS_MAP = "a box is as large as its map"
TWO_POINTS = "a bin of a box takes two points each way"


MOST_EXPERTS = 1024
"""Who chooses among more, such as among the words of a vocabulary, chooses no expert."""


def _text(scores: TensorSpec, k: int, dim: int) -> str:
    """Return what is assumed of a choice: the k largest of a row of scores are the experts of a token."""
    if not is_floating(scores.dtype) or len(scores.shape) < 2 or not 1 <= k <= scores.shape[dim] <= MOST_EXPERTS:
        return EVENLY
    return f"each token goes to {k} of {scores.shape[dim]} experts, evenly, whatever the router says"


def _evenly(r: Any, made: Any, size: int, axis: int, text: str = EVENLY) -> None:
    """Assume of indices along an axis that each of `size` choices is picked equally often, by each row others."""
    spec = r.spec(made)
    if not size:
        return
    if not is_small(spec):
        r.assumptions[made.ref[0]] = text
        r.notes += 1
        return
    rest = [d for i, d in enumerate(spec.shape) if i != axis % max(len(spec.shape), 1)] if spec.shape else []
    last = spec.shape[axis] if spec.shape else 1
    with torch._C.DisableTorchFunction():
        value = (torch.arange(spec.numel) % size).reshape(*rest, last)
        r.assume(made, value.movedim(-1, axis) if spec.shape else value.reshape(()), text)


def _topk(r: Any, input: Any, k: Any, dim: int = -1, largest: bool = True, sorted: bool = True, **_: Any) -> Any:
    from archlab.pytorch.rules.layout import laid

    spec = r.spec(input)
    shape = list(spec.shape)
    if shape:
        if not 0 <= int(k) <= shape[dim]:
            raise RuntimeError(f"topk takes {k} of the {shape[dim]} elements along dimension {dim} of {spec.shape}")
        shape[dim] = int(k)
    made = laid(r, "topk", [input], (spec.reshaped(tuple(shape)), TensorSpec(tuple(shape), "int64")), False, True)
    if r.traced(input).value is None:
        _evenly(r, made[1], spec.shape[dim] if spec.shape else 1, dim, _text(spec, int(k), dim))
    return torch.return_types.topk(made)


def _picks(r: Any, made: Any, scores: TensorSpec, dim: int | None, text: str) -> None:
    """Assume of the one choice of each row that all are picked equally often; one of all elements is the first."""
    spec = r.spec(made)
    size = scores.numel if dim is None else scores.shape[dim] if scores.shape else 1
    if is_small(spec):
        with torch._C.DisableTorchFunction():
            r.assume(made, (torch.arange(spec.numel) % max(size, 1)).reshape(spec.shape), text)


def _arg(name: str) -> Callable[..., Any]:
    """`argmax` and `argmin`: one choice a row."""
    plain = elements.RULES[name]

    def rule(r: Any, input: Any, dim: Any = None, keepdim: bool = False, **named: Any) -> Any:
        made = plain(r, input, dim, keepdim, **named)
        if r.traced(input).value is None:
            spec = r.spec(input)
            _picks(r, made, spec, dim, EVENLY if dim is None or name == "argmin" else _text(spec, 1, dim))
        return made

    return rule


def _max(r: Any, input: Any, *args: Any, **named: Any) -> Any:
    """`max` along a dimension says where it was found, too: one choice a row."""
    made = elements.RULES["max"](r, input, *args, **named)
    dim = named.get("dim", args[0] if args else None)
    if type(dim) is int and r.traced(input).value is None:
        _picks(r, made[1], r.spec(input), dim, _text(r.spec(input), 1, dim))
    return made


def _sort(name: str) -> Callable[..., Any]:
    """`sort` and `argsort`: the order in which elements are."""

    def rule(r: Any, input: Any, *args: Any, **named: Any) -> Any:
        from archlab.pytorch.rules.layout import laid

        spec = r.spec(input)
        given = named.get("dim", next((a for a in args if type(a) is int), -1))
        places = TensorSpec(spec.shape, "int64")
        specs = (spec, places) if name == "sort" else (places,)
        made = laid(r, name, [input], specs, False, name == "sort")
        where = made[1] if name == "sort" else made
        if r.traced(input).value is None and is_small(places):
            with torch._C.DisableTorchFunction():
                size = spec.shape[given] if spec.shape else 1
                along = torch.arange(size).reshape(-1, *(1,) * ((-given - 1) % max(len(spec.shape), 1)))
                r.assume(where, along.expand(spec.shape).clone() if spec.shape else along.reshape(()), IN_ORDER)
        return torch.return_types.sort(made) if name == "sort" else made

    return rule


def _filled(name: str) -> Callable[..., Any]:
    """Integers and booleans that are like another tensor in shape alone are known."""

    def rule(r: Any, input: Any, *args: Any, **named: Any) -> Any:
        from archlab.pytorch.rules.layout import RULES as LAYOUTS

        made = LAYOUTS[name](r, input, *args, **named)
        spec = r.spec(made)
        if is_small(spec) and not is_floating(spec.dtype):
            where = {k: v for k, v in named.items() if k not in ("device", "out")}
            with torch._C.DisableTorchFunction():
                blank = torch.zeros(r.spec(input).shape, dtype=DTYPES[r.spec(input).dtype])
                made.value = (getattr(torch, name, None) or getattr(torch.Tensor, name))(blank, *args, **where)
        return made

    return rule


def _expand_as(r: Any, input: Any, other: Any) -> Any:
    """Of the other tensor the shape alone matters."""
    from archlab.pytorch.rules.layout import RULES as LAYOUTS

    made, twin = LAYOUTS["expand"](r, input, r.spec(other).shape), r.traced(input)
    if twin.value is not None and is_small(r.spec(made)):
        with torch._C.DisableTorchFunction():
            made.value, made.guessed = twin.value.expand(r.spec(made).shape), twin.guessed
    return made


def _equal(r: Any, input: Any, other: Any, **named: Any) -> Any:
    """An unknown integer that is compared with one number after the other is the first: a partition stays one."""
    made = elements.RULES["eq"](r, input, other, **named)
    twin = r.traced(input)
    whole = "int" in twin.spec.dtype
    if twin.value is None and whole and type(other) is int and is_small(r.spec(made)):
        first = r.compared.setdefault(twin.ref, other)
        with torch._C.DisableTorchFunction():
            r.assume(made, torch.full(twin.spec.shape, first == other), FIRST)
    return made


def all_hold(r: Any, name: str, apart: bool, tensors: list[Any]) -> Any:
    """Return where an unknown condition holds, or what it selects, as if it held everywhere.

    `apart` is for one tensor of places a dimension.
    """
    shape = r.spec(tensors[-1]).shape
    saw = tuple(r.spec(t).shape for t in tensors)
    hits = prod(max(sizes) for sizes in zip_longest(*(s[::-1] for s in saw), fillvalue=1))
    if name == "masked_select":
        return _recorded(r, name, saw, tensors, TensorSpec((hits,), r.spec(tensors[0]).dtype), None)
    value = None
    if hits * max(len(shape), 1) <= _MOST:
        with torch._C.DisableTorchFunction():
            value = torch.ones(shape, dtype=torch.bool).nonzero()
    if apart:
        parts = [None] * len(shape) if value is None else list(value.unbind(1))
        return tuple(_recorded(r, name, saw, tensors, TensorSpec((hits,), "int64"), part) for part in parts)
    return _recorded(r, name, saw, tensors, TensorSpec((hits, len(shape)), "int64"), value)


_MOST = 2**20


def _recorded(r: Any, name: str, saw: Any, tensors: Any, spec: TensorSpec, value: Any) -> Any:
    made = r.record(name, Layout(name, (spec.shape,), saw, spec.dtype, False), tensors, outputs=(spec,))
    made.value = value
    r.rest(made, EVERYWHERE)
    return made


def one_value(r: Any, tensor: Any) -> Any:
    """Return the distinct elements of a tensor that nobody knows, as if there was one."""
    spec = TensorSpec((1,), r.spec(tensor).dtype)
    op = Layout("unique", (spec.shape,), (r.spec(tensor).shape,), "", False)
    made = r.record("unique", op, [tensor], outputs=(spec,))
    r.rest(made, ONE_VALUE)
    return made


def _nms(r: Any, boxes: Any, scores: Any, iou_threshold: float) -> Any:
    """Suppression that keeps all compares every pair: corners (cmp 4), sides (add 2, cmp 2), areas, quotient.

    A pair: cmp 4 + 2 + 1, add 2 + 2, mul 1, div 1. A box: its area, add 2, mul 1.
    """
    n = r.spec(boxes).shape[0]
    pairs = n * (n - 1) // 2
    whole = (("cmp", 7 * pairs), ("add", 4 * pairs + 2 * n), ("mul", pairs + n), ("div", pairs))
    saw = (r.spec(boxes).shape, r.spec(scores).shape)
    op = Counted("nms", ((n,),), saw, (), "int64", whole)
    made = r.record("nms", op, [boxes, scores], outputs=(TensorSpec((n,), "int64"),))
    r.rest(made, KEEPS_ALL)
    if is_small(made.spec):
        with torch._C.DisableTorchFunction():
            made.value = torch.arange(n)
    return made


def _roi_align(
    r: Any, input: Any, rois: Any, scale: float, rows: int, columns: int, sampling_ratio: int, aligned: bool = False
) -> Any:
    """Each output averages points, and each point is interpolated from four neighbours (mul 4, add 3)."""
    spec = r.spec(input)
    shape = (r.spec(rois).shape[0], spec.shape[1], rows, columns)
    points = (sampling_ratio if sampling_ratio > 0 else 2) ** 2
    each = (("mul", 4 * points), ("add", 3 * points + points), ("div", 1))
    op = Counted("roi_align", (shape,), (spec.shape, r.spec(rois).shape), each)
    made = r.record("roi_align", op, [input, rois], outputs=(spec.reshaped(shape),))
    if sampling_ratio <= 0:
        r.rest(made, TWO_POINTS)
    return made


_CALLERS = {"paste_mask_in_image": 28, "heatmaps_to_keypoints": 56}
"""Functions of torchvision that resize a map to the size of its box, and the maps' own size."""


def number_for_caller(r: Any, number: Any) -> int | None:
    """Return what an unknown number is in one of a few functions that are known, None anywhere else."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_name
        if name in _CALLERS and frame.f_globals.get("__name__") == "torchvision.models.detection.roi_heads":
            r.rest(number, AS_ITS_MAP)
            return _CALLERS[name]
        frame = frame.f_back
    return None


_FILLED = ("zeros_like", "ones_like", "full_like", "new_zeros", "new_ones", "new_full")
RULES: dict[str, Callable[..., Any]] = {
    **{name: _filled(name) for name in _FILLED},
    "expand_as": _expand_as,
    "topk": _topk,
    "max": _max,
    "argmax": _arg("argmax"),
    "argmin": _arg("argmin"),
    "sort": _sort("sort"),
    "argsort": _sort("argsort"),
    "eq": _equal,
    "__eq__": _equal,
    "torchvision::nms": _nms,
    "torchvision::roi_align": _roi_align,
}
