"""Rules of Caffe's pools, normalisations and losses."""

from __future__ import annotations

from archlab.errors import ReadError
from archlab.ir import Ref
from archlab.ops import (
    AvgPool2d,
    Counted,
    Elementwise,
    GlobalAvgPool2d,
    LocalResponseNorm,
    MaxPool2d,
    Reduce,
    Softmax,
    Unknown,
)
from archlab.sources.caffe.layer import Layer, Refs, sizes_of


def pooling(layer: Layer, x: Ref) -> Ref:
    """Windows that round up, unless the file says otherwise."""
    part = layer.part("pooling_param")
    kind = part.text("pool", "MAX")
    kind = {"0": "MAX", "1": "AVE", "2": "STOCHASTIC"}.get(kind, kind)
    if part.flag("global_pooling", False):
        if kind == "AVE":
            return layer.add(GlobalAvgPool2d(), x)
        if kind == "MAX":
            return layer.add(Reduce("amax", (2, 3), True), x)
    kernel = layer.spec(x).shape[2:]
    if not part.flag("global_pooling", False):
        kernel = sizes_of(part, "kernel_size", None, 2, "kernel")
    # Caffe rounds up, unless a later version's file says otherwise.
    ceil = part.text("round_mode", "CEIL") not in ("FLOOR", "1") and part.flag("ceil_mode", True)
    window = MaxPool2d(kernel, sizes_of(part, "stride", 1, 2), sizes_of(part, "pad", 0, 2), ceil)
    if kind == "MAX":
        return layer.add(window, x)
    if kind == "AVE":
        return layer.add(AvgPool2d(kernel, window.stride, window.padding, ceil), x)
    made = window.infer(layer.spec(x))
    return layer.add(Unknown(f"Pooling {kind}", ((made.shape, made.dtype),), (layer.spec(x).shape,)), x)


def lrn(layer: Layer, x: Ref) -> Ref:
    """Local response normalisation across channels, or within one."""
    part = layer.part("lrn_param")
    size = part.integer("local_size", 5)
    if part.text("norm_region", "ACROSS_CHANNELS") in ("ACROSS_CHANNELS", "0"):
        scale, beta, k = part.number("alpha", 1.0), part.number("beta", 0.75), part.number("k", 1.0)
        return layer.add(LocalResponseNorm(size, scale, beta, k), x)
    # The window is a square of neighbours, not a row of channels.
    spec = layer.spec(x)
    each = (("mul", 2), ("add", size * size + 1), ("exp", 1), ("div", 1))
    return layer.add(Counted("lrn_within_channel", (spec.shape,), (spec.shape,), each), x)


def mvn(layer: Layer, x: Ref) -> Ref:
    """A batch's or a channel's mean taken away and, by default, its deviation divided out."""
    part, spec = layer.part("mvn_param"), layer.spec(x)
    groups = spec.shape[0] * (1 if part.flag("across_channels", False) else (spec.shape[1:2] or (1,))[0])
    each, whole = [("add", 2)], [("div", groups)]
    if part.flag("normalize_variance", True):
        each, whole = [("add", 4), ("mul", 3)], [("div", 2 * groups), ("exp", groups)]
    return layer.add(Counted("mvn", (spec.shape,), (spec.shape,), tuple(each), "", tuple(whole)), x)


def softmax(layer: Layer, x: Ref) -> Ref:
    """A softmax over the channels."""
    rank, axis = len(layer.spec(x).shape), layer.part("softmax_param").integer("axis", 1)
    return layer.add(Softmax(axis - rank if axis == rank - 1 else axis), x)


def loss(layer: Layer, x: Ref, *labels: Ref) -> Refs:
    """A softmax, and per label a logarithm, summed and divided by their number."""
    made = softmax(layer, x)
    spec = layer.spec(x)
    count = spec.numel // max((spec.shape or (1, 1))[1 if len(spec.shape) > 1 else 0], 1)
    whole = (("exp", count), ("add", count), ("div", 1))
    read = (made, *labels)
    saw = tuple(layer.spec(ref).shape for ref in read)
    loss = layer.add(Counted("log_loss", ((),), saw, (), "", whole), *read, name=f"{layer.name}/loss")
    return (loss, made)[: max(layer.tops, 1)]


def accuracy(layer: Layer, x: Ref, *labels: Ref) -> Ref:
    """Every score is compared once."""
    read = (x, *labels)
    saw = tuple(layer.spec(ref).shape for ref in read)
    return layer.add(Counted("accuracy", ((),), saw, (), "", (("cmp", layer.spec(x).numel),)), *read)


def euclidean(layer: Layer, x: Ref, y: Ref) -> Ref:
    """Differences, squares and their sum, and half of it for each sample."""
    n, saw = layer.spec(x).numel, (layer.spec(x).shape, layer.spec(y).shape)
    whole = (("add", 2 * n), ("mul", n), ("div", 1))
    return layer.add(Counted("euclidean_loss", ((),), saw, (), "", whole), x, y)


def argmax(layer: Layer, x: Ref) -> Ref:
    """The place of the largest score."""
    part, spec = layer.part("argmax_param"), layer.spec(x)
    top, axes = part.integer("top_k", 1), part.integers("axis")
    if top == 1 and axes:
        return layer.add(Reduce("argmax", tuple(axes), True), x)
    saw, n = (spec.shape,), (spec.shape or (1,))[0]
    return layer.add(Counted("argmax", ((n, 1, max(top, 0)),), saw, (), "", (("cmp", spec.numel),)), x)


def reduction(layer: Layer, x: Ref) -> Ref:
    """Sums or means over the last axes."""
    part, spec = layer.part("reduction_param"), layer.spec(x)
    kind = part.text("operation", "SUM")
    kind = {"1": "SUM", "2": "ASUM", "3": "SUMSQ", "4": "MEAN"}.get(kind, kind)
    if kind not in ("SUM", "ASUM", "SUMSQ", "MEAN"):
        raise ReadError(f"Reduction has no operation {kind}")
    if kind in ("ASUM", "SUMSQ"):
        x = layer.add(Elementwise("abs" if kind == "ASUM" else "square"), x, name=f"{layer.name}/each")
    start = part.integer("axis", 0)
    dims = tuple(range(start % max(len(spec.shape), 1), len(spec.shape)))
    made = layer.add(Reduce("mean" if kind == "MEAN" else "sum", dims or None), x)
    if part.number("coeff", 1.0) != 1:
        return layer.add(Elementwise("mul"), made, name=f"{layer.name}/coeff")
    return made
