"""Rules of pools."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from archlab.errors import ReadError
from archlab.ops import (
    AvgPool2d,
    Counted,
    GlobalAvgPool2d,
    MaxPool2d,
    Reduce,
)
from archlab.ops.windows import window_count
from archlab.sources.onnx.common import (
    NotCoveredError,
    Rule,
    each_axis,
    indices_of,
    padded,
    pads_of,
    same_pads,
)
from archlab.sources.onnx.reading import Call, Reading
from archlab.sources.onnx.tensors import Value


def _global_pool(r: Reading, call: Call) -> list[Value]:
    x, average = call.input(0), call.op == "GlobalAveragePool"
    if average and len(x.spec.shape) == 4:
        return [r.one(call, GlobalAvgPool2d(), [x])]
    axes = tuple(range(2, len(x.spec.shape)))
    return [r.one(call, Reduce("mean" if average else "amax", axes, True), [x])]


def _pool(r: Reading, call: Call) -> list[Value]:
    x, average = call.input(0), call.op == "AveragePool"
    rank = len(x.spec.shape) - 2
    kernel = call.integers("kernel_shape")
    if rank < 1 or kernel is None or len(kernel) != rank or call.op == "LpPool":
        raise NotCoveredError
    strides, dilations = each_axis(call, "strides", rank, 1), each_axis(call, "dilations", rank, 1)
    before, after = pads_of(call, rank)
    spans = [d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True)]
    if min((*kernel, *strides, *dilations)) < 1 or min((*before, *after)) < 0:
        raise ReadError(
            f"its kernel {kernel}, strides {strides}, dilations {dilations} or pads are below their least"
        )
    before, after = same_pads(call, x.spec.shape[2:], spans, strides) or (before, after)
    before, after = tuple(before), tuple(after)
    ceil, inside = bool(call.integer("ceil_mode", 0)), bool(call.integer("count_include_pad", 0))
    if len(call.outputs) > 1 or rank != 2 or (average and max(dilations) > 1):
        return _windows(r, call, x, kernel, strides, dilations, (before, after), ceil, average)
    if before != after or any(p > k // 2 for p, k in zip(before, kernel, strict=True)):
        x, before = padded(r, call, x, before, after), (0,) * rank
    if average:
        return [r.one(call, AvgPool2d(kernel, strides, before, ceil, inside), [x])]
    return [r.one(call, MaxPool2d(kernel, strides, before, ceil, dilations), [x])]


def _windows(
    r: Reading, call: Call, x: Value, kernel: Any, strides: Any, dilations: Any, pads: Any, ceil: bool, average: bool
) -> list[Value]:
    """Count a pool over other axes than two, or one that says where it found its maxima, by its window."""
    shape, window = list(x.spec.shape[:2]), 1
    for i, size in enumerate(x.spec.shape[2:]):
        made = window_count(size, kernel[i], strides[i], pads[0][i], pads[1][i], dilations[i], ceil)
        if made < 1:
            raise ReadError(f"a window of {kernel} does not fit into {x.spec}")
        shape.append(made)
        window *= kernel[i]
    each = (("add", window), ("div", 1)) if average else (("cmp", window),)
    op = Counted("avg_pool" if average else "max_pool", (tuple(shape),), (x.spec.shape,), each)
    pooled = r.one(call, op, [x])
    return [pooled, indices_of(r, call, x, tuple(shape))] if len(call.outputs) > 1 else [pooled]


RULES: Mapping[str, Rule] = {
    "AveragePool": _pool,
    "GlobalAveragePool": _global_pool,
    "GlobalMaxPool": _global_pool,
    "MaxPool": _pool,
}
"""The rule of each operator."""
