"""Rules of Caffe's elementwise layers and of those that arrange blobs."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from archlab.errors import ReadError
from archlab.ir import Op, Ref
from archlab.ops import (
    Add,
    Concat,
    Dropout,
    Elementwise,
    Flatten,
    Layout,
    Mul,
    ReLU,
    Reshape,
    Sigmoid,
    Unknown,
)
from archlab.sources.caffe.layer import Layer, Refs, Rule


def eltwise(layer: Layer, *inputs: Ref) -> Ref:
    """Sums, with coefficients if there are any, products or maxima of two or more blobs."""
    part = layer.part("eltwise_param")
    kind = part.text("operation", "SUM")
    kind = {"0": "PROD", "1": "SUM", "2": "MAX"}.get(kind, kind)
    if kind not in _ELTWISE or len(inputs) < 2:
        raise ReadError(f"Eltwise combines two or more tensors by {', '.join(_ELTWISE)}, got {len(inputs)} by {kind}")
    factors = part.numbers("coeff") if kind == "SUM" else []
    if factors and len(factors) != len(inputs):
        raise ReadError(f"Eltwise has {len(inputs)} inputs and {len(factors)} coefficients")
    terms = [
        x if f in (1, -1) else layer.add(Elementwise("mul"), x, name=f"{layer.name}/coeff")
        for x, f in zip(inputs, factors or [1.0] * len(inputs), strict=True)
    ]
    made = terms[0]
    for i, term in enumerate(terms[1:], 1):
        made = layer.add(Elementwise("sub") if factors and factors[i] == -1 else _ELTWISE[kind], made, term)
    return made


_ELTWISE: Mapping[str, Op] = {"SUM": Add(), "PROD": Mul(), "MAX": Elementwise("maximum")}


def relu(layer: Layer, x: Ref) -> Ref:
    """A rectifier; with a negative slope a leaky one."""
    slope = layer.part("relu_param").number("negative_slope", 0.0)
    return layer.add(Elementwise("leaky_relu") if slope else ReLU(), x)


def power(layer: Layer, x: Ref) -> Ref:
    """(shift + scale·x)^power; what is 1 or 0 costs nothing."""
    part = layer.part("power_param")
    steps = [("mul", part.number("scale", 1.0) != 1), ("add", part.number("shift", 0.0) != 0)]
    steps.append(("pow", part.number("power", 1.0) != 1))
    return _chain(layer, x, [name for name, needed in steps if needed])


def exponential(name: str) -> Rule:
    """exp(scale·x + shift) or a logarithm; what is 1 or 0 costs nothing."""

    def rule(layer: Layer, x: Ref) -> Ref:
        part = layer.part(f"{name}_param")
        scaled, shifted = part.number("scale", 1.0) != 1, part.number("shift", 0.0) != 0
        based = part.number("base", -1.0) != -1
        before = ["mul"] * scaled + ["add"] * shifted
        return _chain(layer, x, [*before, name, *["mul"] * (based and name == "log")])

    return rule


def _chain(layer: Layer, x: Ref, names: list[str]) -> Ref:
    for i, name in enumerate(names, 1):
        x = layer.add(Elementwise(name), x, name=layer.name if i == len(names) else f"{layer.name}/{name}")
    return x


def elementwise(name: str) -> Rule:
    """One function of each element."""
    return lambda layer, x: layer.add(Sigmoid() if name == "sigmoid" else Elementwise(name), x)


def dropout(layer: Layer, x: Ref) -> Ref:
    """Dropout."""
    return layer.add(Dropout(layer.part("dropout_param").number("dropout_ratio", 0.5)), x)


def concat(layer: Layer, *inputs: Ref) -> Ref:
    """Blobs joined along an axis."""
    part = layer.part("concat_param")
    return layer.add(Concat(part.integer("axis", part.integer("concat_dim", 1))), *inputs)


def sliced(layer: Layer, x: Ref) -> Refs:
    """A blob cut along an axis."""
    part, spec = layer.part("slice_param"), layer.spec(x)
    axis = part.integer("axis", part.integer("slice_dim", 1))
    if not -len(spec.shape) <= axis < len(spec.shape):
        raise ReadError(f"axis {axis} does not exist in {spec.shape}")
    size, count = spec.shape[axis], layer.tops
    points = part.integers("slice_point") or [size * i // count for i in range(1, count)]
    ends = [0, *points, size]
    if len(points) != count - 1 or any(a >= b for a, b in pairwise(ends)):
        raise ReadError(f"{size} channels are not cut into {count} at {points}")
    axis %= len(spec.shape)
    shapes = tuple((*spec.shape[:axis], b - a, *spec.shape[axis + 1 :]) for a, b in pairwise(ends))
    return layer.add_all(Layout("slice", shapes, (spec.shape,)), x)


def flatten(layer: Layer, x: Ref) -> Ref:
    """Axes made one."""
    part = layer.part("flatten_param")
    return layer.add(Flatten(part.integer("axis", 1), part.integer("end_axis", -1)), x)


def reshape(layer: Layer, x: Ref) -> Ref:
    """Another shape, in which 0 copies an axis."""
    part, rank = layer.part("reshape_param"), len(layer.spec(x).shape)
    start, axes = part.integer("axis", 0), part.integer("num_axes", -1)
    start += rank + 1 if start < 0 else 0
    end = rank if axes == -1 else start + axes
    if not 0 <= start <= end <= rank:
        raise ReadError(f"axes {start} to {end} do not exist in {layer.spec(x).shape}")
    entries: list[Any] = [f"={i}" for i in range(start)]
    entries += [f"={start + i}" if d == 0 else d for i, d in enumerate(part.message("shape").integers("dim"))]
    return layer.add(Reshape((*entries, *(f"={i}" for i in range(end, rank)))), x)


def permute(layer: Layer, x: Ref) -> Ref:
    """Axes in another order."""
    shape, order = layer.spec(x).shape, layer.part("permute_param").integers("order")
    order += [i for i in range(len(shape)) if i not in order]
    if sorted(order) != list(range(len(shape))):
        raise ReadError(f"{order} is no order of the axes of {shape}")
    return layer.add(Layout("permute", (tuple(shape[i] for i in order),), (shape,)), x)


def crop(layer: Layer, x: Ref, like: Ref) -> Ref:
    """A blob cut to the size of another, from an axis on."""
    spec, other = layer.spec(x), layer.spec(like)
    axis = layer.part("crop_param").integer("axis", 2) % max(len(spec.shape), 1)
    shape = (*spec.shape[:axis], *other.shape[axis:])
    if len(shape) != len(spec.shape) or any(a > b for a, b in zip(shape, spec.shape, strict=True)):
        raise ReadError(f"{spec.shape} cannot be cropped to {other.shape} from axis {axis}")
    return layer.add(Layout("crop", (shape,), (spec.shape,)), x)


def tile(layer: Layer, x: Ref) -> Ref:
    """A blob repeated along an axis."""
    part, shape = layer.part("tile_param"), list(layer.spec(x).shape)
    axis, times = part.integer("axis", 1), part.integer("tiles", 1)
    if not -len(shape) <= axis < len(shape):
        raise ReadError(f"axis {axis} does not exist in {tuple(shape)}")
    shape[axis] *= times
    return layer.add(Layout("tile", (tuple(shape),), (layer.spec(x).shape,), "", False), x)


def unknown(layer: Layer, x: Ref, *rest: Ref) -> Ref:
    """A layer of no rule here that keeps the shape of what it reads."""
    specs = [layer.spec(ref) for ref in (x, *rest)]
    made = ((specs[0].shape, specs[0].dtype),)
    return layer.add(Unknown(layer.kind, made, tuple(s.shape for s in specs)), x, *rest)
