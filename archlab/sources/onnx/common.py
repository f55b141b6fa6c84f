"""What rules of ONNX operators share: views beside an op, settings for each axis, padding, weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from archlab.errors import ReadError
from archlab.ir import Shape
from archlab.ops import (
    Layout,
)
from archlab.sources.onnx.reading import Call, Reading
from archlab.sources.onnx.tensors import Value

Rule = Callable[[Reading, Call], Sequence[Value]]


class NotCoveredError(Exception):
    """No rule holds for these settings."""


def laid(r: Reading, call: Call, value: Value, shape: Shape, what: str, shares: bool = True, part: str = "") -> Value:
    """Return the elements of a tensor in another arrangement."""
    return r.one(call, Layout(what, (tuple(shape),), (value.spec.shape,), "", shares), [value], part)


def seen(r: Reading, call: Call, value: Value, shape: Shape, what: str) -> Value:
    """Return a view that a rule needs beside the op that it is about."""
    return laid(r, call, value, shape, what, True, what)


def indices_of(r: Reading, call: Call, x: Value, shape: Shape, dtype: str = "int64") -> Value:
    """Return what says where an operator found its results, or which elements it kept."""
    return r.one(call, Layout("indices", (shape,), (x.spec.shape,), dtype, False), [x], "indices")


def each_axis(call: Call, name: str, rank: int, default: int) -> tuple[int, ...]:
    """Return a setting with a number for each axis."""
    values = call.integers(name) or (default,) * rank
    if len(values) != rank:
        raise ReadError(f"its {name} has {len(values)} numbers for {rank} axes")
    return values


def pads_of(call: Call, rank: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the padding in front of and behind each axis."""
    both = call.integers("pads") or (0,) * (2 * rank)
    if len(both) != 2 * rank:
        raise ReadError(f"its pads has {len(both)} numbers for {rank} axes, it needs two for each")
    return both[:rank], both[rank:]


def padded(r: Reading, call: Call, x: Value, before: Sequence[int], after: Sequence[int], part: str = "pad") -> Value:
    """Return a tensor with more positions around its last axes."""
    axes = zip(x.spec.shape[-len(before) :], before, after, strict=True)
    shape = (*x.spec.shape[: -len(before)], *(max(size + a + b, 0) for size, a, b in axes))
    return laid(r, call, x, shape, "pad", False, part)


def same_pads(call: Call, sizes: Sequence[int], spans: Sequence[int], strides: Sequence[int]) -> Any:
    """Return the padding in front and behind that `auto_pad` asks for, None if it asks for none."""
    kind = call.text("auto_pad", "NOTSET")
    if kind in ("NOTSET", "VALID", ""):
        return None
    totals = [
        max((-(-size // s) - 1) * s + k - size, 0) if s > 0 else 0
        for size, k, s in zip(sizes, spans, strides, strict=True)
    ]
    less, more = [t // 2 for t in totals], [t - t // 2 for t in totals]
    return (less, more) if kind == "SAME_UPPER" else (more, less)


def roles_of(**given: Value | None) -> tuple[dict[str, Value], dict[str, Value]]:
    """Return the weights that the file keeps, and those that are computed, by their role."""
    there = {role: value for role, value in given.items() if value is not None}
    kept = {role: value for role, value in there.items() if value.key}
    return kept, {role: value for role, value in there.items() if not value.key}
