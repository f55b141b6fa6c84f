"""Rules of normalisation."""

from __future__ import annotations

from collections.abc import Mapping

from archlab.errors import ReadError
from archlab.ops import (
    Add,
    BatchNorm,
    Counted,
    GroupNorm,
    LayerNorm,
    LocalResponseNorm,
    Mul,
    RMSNorm,
)
from archlab.sources.onnx.common import (
    Rule,
    seen,
)
from archlab.sources.onnx.reading import Call, Reading
from archlab.sources.onnx.tensors import Value


def _batch_norm(r: Reading, call: Call) -> list[Value]:
    x, scale, shift = call.input(0), call.input(1), call.input(2)
    mean, variance = call.input(3), call.input(4)
    training = bool(call.integer("training_mode", 0))
    whole = all(value.key for value in (scale, shift, mean, variance))
    if not whole or not 2 <= len(x.spec.shape) <= 5:
        saw = (x.spec.shape,)
        made = r.one(call, Counted("batch_norm", saw, saw, (("mul", 1), ("add", 1))), [x])
        return [made, mean, variance]
    op = BatchNorm(True, True, call.number("epsilon", 1e-5), training)
    made = r.one(call, op, [x], weight=scale, bias=shift, running_mean=mean, running_var=variance)
    return [made, mean, variance]


def _affine(r: Reading, call: Call, made: Value, scale: Value | None, shift: Value | None) -> Value:
    if scale is not None:
        made = r.one(call, Mul(), [made, scale], "scale")
    return made if shift is None else r.one(call, Add(), [made, shift], "shift")


def _layer_norm(r: Reading, call: Call) -> list[Value]:
    x, scale, shift = call.input(0), call.input(1), call.optional(2)
    rank = len(x.spec.shape)
    axis = call.integer("axis", -1)
    if not -rank <= axis < rank:
        raise ReadError(f"axis {axis} does not exist in {x.spec}")
    dims, eps = rank - axis % rank, call.number("epsilon", 1e-5)
    fits = all(v is None or (v.key and v.spec.shape == x.spec.shape[-dims:]) for v in (scale, shift))
    if fits:
        made = r.one(call, LayerNorm(dims, True, shift is not None, eps), [x], weight=scale, bias=shift)
    else:
        made = _affine(r, call, r.one(call, LayerNorm(dims, False, False, eps), [x]), scale, shift)
    rows = (*x.spec.shape[:-dims], *(1,) * dims)
    # The statistics that it may hand out, too, are those it has computed.
    return [made, *(seen(r, call, made, rows, name) for name in ("mean", "deviation")[: len(call.outputs) - 1])]


def _rms_norm(r: Reading, call: Call) -> list[Value]:
    x, scale = call.input(0), call.input(1)
    rank = len(x.spec.shape)
    axis = call.integer("axis", -1)
    if not -rank <= axis < rank:
        raise ReadError(f"axis {axis} does not exist in {x.spec}")
    dims, eps = rank - axis % rank, call.number("epsilon", 1e-5)
    if scale.key and scale.spec.shape == x.spec.shape[-dims:]:
        return [r.one(call, RMSNorm(dims, True, eps), [x], weight=scale)]
    return [_affine(r, call, r.one(call, RMSNorm(dims, False, eps), [x]), scale, None)]


def _group_norm(r: Reading, call: Call) -> list[Value]:
    x, scale, shift = call.input(0), call.input(1), call.input(2)
    instance = call.op == "InstanceNormalization"
    channels = x.spec.shape[1:2]
    groups, eps = (
        channels[0] if instance and channels else call.integer("num_groups", 1),
        call.number("epsilon", 1e-5),
    )
    if not scale.learned and _all(scale, 1) and _all(shift, 0):  # an exporter's constants, which do nothing
        return [r.one(call, GroupNorm(groups, False, False, eps), [x])]
    if scale.key and shift.key and scale.spec.shape == shift.spec.shape == channels:
        return [r.one(call, GroupNorm(groups, eps=eps), [x], weight=scale, bias=shift)]
    made = r.one(call, GroupNorm(groups, False, False, eps), [x])
    # Before version 21 there is one number a group.
    each = [("scale", "mul", scale), ("shift", "add", shift)]
    for part, what, value in each:
        saw = (made.spec.shape, value.spec.shape)
        made = r.one(call, Counted(what, (made.spec.shape,), saw, ((what, 1),)), [made, value], part)
    return [made]


def _all(value: Value, number: int) -> bool:
    """Return whether every element of a tensor is known to be a number."""
    return value.data is not None and bool((value.data == number).all())


def _lrn(r: Reading, call: Call) -> list[Value]:
    alpha, beta, k = call.number("alpha", 1e-4), call.number("beta", 0.75), call.number("bias", 1.0)
    return [r.one(call, LocalResponseNorm(call.integer("size", 0), alpha, beta, k), [call.input(0)])]


RULES: Mapping[str, Rule] = {
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    "RMSNormalization": _rms_norm,
    "SimplifiedLayerNormalization": _rms_norm,
    "GroupNormalization": _group_norm,
    "InstanceNormalization": _group_norm,
    "LRN": _lrn,
}
"""The rule of each operator."""
