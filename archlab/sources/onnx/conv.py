"""Rules of convolutions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from archlab.errors import ReadError
from archlab.ops import (
    BY_RANK,
    Counted,
)
from archlab.ops.windows import SAME_UPPER
from archlab.sources.onnx.common import (
    NotCoveredError,
    Rule,
    each_axis,
    padded,
    pads_of,
    roles_of,
    same_pads,
)
from archlab.sources.onnx.reading import Call, Reading
from archlab.sources.onnx.tensors import Value


def _conv(r: Reading, call: Call) -> list[Value]:
    x, weight, bias = call.input(0), call.input(1), call.optional(2)
    rank = len(x.spec.shape) - 2
    if rank not in BY_RANK or len(weight.spec.shape) != rank + 2:
        raise NotCoveredError
    kernel, strides = weight.spec.shape[2:], each_axis(call, "strides", rank, 1)
    dilations, groups = each_axis(call, "dilations", rank, 1), call.integer("group", 1)
    if weight.spec.shape[1] * groups != x.spec.shape[1]:
        raise ReadError(f"a weight {weight.spec} in {groups} groups does not read {x.spec}")
    before, after = pads_of(call, rank)
    spans = [d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True)]
    padding: Any = before
    same = same_pads(call, x.spec.shape[2:], spans, strides)
    if same is not None and call.text("auto_pad") == "SAME_UPPER" and rank == 2:
        padding = SAME_UPPER
    elif same is not None or before != after or min((*before, *after), default=0) < 0:
        before, after = same or (before, after)
        padding = tuple(before)
        if tuple(before) != tuple(after) or min(before) < 0:
            x, padding = padded(r, call, x, before, after), (0,) * rank
    kind: Any = BY_RANK[rank][0]
    roles, computed = roles_of(weight=weight, bias=bias)
    op = kind(weight.spec.shape[0], kernel, strides, padding, dilations, groups, bias is not None, tuple(computed))
    return r.emit(call, op, [x, *computed.values()], roles=roles)


def _conv_transpose(r: Reading, call: Call) -> list[Value]:
    x, weight, bias = call.input(0), call.input(1), call.optional(2)
    rank = len(x.spec.shape) - 2
    if rank not in BY_RANK or len(weight.spec.shape) != rank + 2:
        raise NotCoveredError
    kernel, strides = weight.spec.shape[2:], each_axis(call, "strides", rank, 1)
    dilations, groups = each_axis(call, "dilations", rank, 1), call.integer("group", 1)
    if weight.spec.shape[0] != x.spec.shape[1]:
        raise ReadError(f"a weight {weight.spec} does not read {x.spec}")
    before, after = pads_of(call, rank)
    extra = each_axis(call, "output_padding", rank, 0)
    asked = call.integers("output_shape")
    if asked is not None or call.text("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        asked = asked or tuple(size * s for size, s in zip(x.spec.shape[2:], strides, strict=True))
        return [_transposed_to(r, call, x, weight, bias, asked[-rank:], groups)]
    roles, computed = roles_of(weight=weight, bias=bias)
    kind: Any = BY_RANK[rank][1]
    channels = weight.spec.shape[1] * groups
    cut = tuple(min(pair) for pair in zip(before, after, strict=True))
    op = kind(channels, kernel, strides, cut, extra, dilations, groups, bias is not None, tuple(computed))
    made = r.one(call, op, [x, *computed.values()], roles=roles)
    rest = [b + a - 2 * c for b, a, c in zip(before, after, cut, strict=True)]
    if any(rest):
        made = padded(r, call, made, [-n for n in rest], [0] * rank)
    return [made]


def _transposed_to(
    r: Reading, call: Call, x: Value, weight: Value, bias: Value | None, sizes: Sequence[int], groups: int
) -> Value:
    """Count a transposed convolution to a given size, by its input: padding changes no product."""
    if min(sizes, default=0) < 0:
        raise ReadError(f"its output_shape is {tuple(sizes)}")
    channels = weight.spec.shape[1] * groups
    made = (x.spec.shape[0], channels, *sizes)
    taps = weight.spec.shape[1:]
    macs = x.spec.numel
    for tap in taps:
        macs *= tap
    given = [value for value in (x, weight, bias) if value is not None]
    each = (("add", 1),) if bias is not None else ()
    saw = tuple(value.spec.shape for value in given)
    return r.one(call, Counted("conv_transpose", (made,), saw, each, "", (("mac", macs),)), given)


RULES: Mapping[str, Rule] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
}
"""The rule of each operator."""
