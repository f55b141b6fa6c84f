"""Modules whose forward is one rule: while tracing they are answered without running it.

Only exact types without hooks qualify, and only where nothing has replaced their forward.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import get_default_dtype, nn
from torch.nn.modules import module as hooks

from archlab.ops import Conv2d, MaxPool2d
from archlab.ops.windows import SAME_UPPER
from archlab.pytorch import modules
from archlab.pytorch.recipes import RECIPES, alike, answered
from archlab.pytorch.rules import RULES
from archlab.pytorch.rules.common import NotCoveredError, keep
from archlab.pytorch.spy import TracedTensor

Leaf = Callable[[Any, Any, TracedTensor], Any]
_GLOBAL: tuple[Any, ...] = (
    hooks._global_forward_hooks,
    hooks._global_forward_pre_hooks,
    hooks._global_backward_hooks,
    hooks._global_backward_pre_hooks,
)


def is_plain(module: nn.Module) -> bool:
    """Return whether nothing has replaced a module's forward or listens to it."""
    held = module.__dict__
    return not (
        held["_forward_hooks"]
        or held["_forward_pre_hooks"]
        or held["_backward_hooks"]
        or held["_backward_pre_hooks"]
        or "forward" in held
        or any(_GLOBAL)
    )


def _looks(r: Any, tensors: list[Any]) -> tuple[Any, ...] | None:
    """Return how an input without known elements and a layer's own tensors look; None where elements matter."""
    x, *own = tensors
    if x.known is not None:
        return None
    seen = [r.seen.get(id(tensor)) for tensor in own]
    return None if None in seen else (x.spec.shape, x.spec.dtype, *seen)


def _conv(name: str) -> Leaf:
    rule = RULES[name]

    def short(r: Any, m: Any, x: TracedTensor) -> Any:
        held = m.__dict__
        if held["padding_mode"] != "zeros":
            return m.forward(x)
        own = held["_parameters"]
        weight, bias = own["weight"], own["bias"]
        stride, padding, dilation, groups = held["stride"], held["padding"], held["dilation"], held["groups"]
        args = (x, weight, bias, stride, padding, dilation, groups)
        tensors = [x, weight] if bias is None else [x, weight, bias]
        looks = _looks(r, tensors)
        if looks is None:
            return answered(r, rule, args, _NOTHING)
        return alike(r, (rule, looks, stride, padding, dilation, groups), tensors, rule, args)

    return short


def _batch_norm(r: Any, m: Any, x: TracedTensor) -> Any:
    held = m.__dict__
    own, kept = held["_parameters"], held["_buffers"]
    mean, variance, counter = kept.get("running_mean"), kept.get("running_var"), kept.get("num_batches_tracked")
    rank = len(x.spec.shape)
    if held["momentum"] is None or rank not in _RANKS.get(type(m), (rank,)):
        return m.forward(x)
    training = held["training"] or mean is None
    given = (x, mean, variance, counter, own.get("weight"), own.get("bias"))
    args = (*given, training, held["momentum"], held["eps"])
    tensors = [tensor for tensor in given if tensor is not None]
    looks = _looks(r, tensors)
    if looks is None:
        return answered(r, _normalised, args, _NOTHING)
    absent = tuple([tensor is None for tensor in given])
    return alike(r, (_normalised, looks, absent, training, held["eps"]), tensors, _normalised, args)


def _normalised(r: Any, x: Any, mean: Any, variance: Any, _counter: Any, *rest: Any) -> Any:
    """The rule of batch norm, with the counter among the tensors that it reads."""
    return RULES["batch_norm"](r, x, mean, variance, *rest)


def _function(name: str) -> Leaf:
    rule = RULES[name]

    def short(r: Any, m: Any, x: TracedTensor) -> Any:
        looks, writes = _looks(r, [x]), m.__dict__.get("inplace")
        if looks is None:
            made = answered(r, rule, (x,), _NOTHING)
        else:
            key = (rule, looks, get_default_dtype())  # of integers, many functions make the default type
            if writes and key in RECIPES:
                return r.repeat_within(RECIPES[key], x)
            made = alike(r, key, [x], rule, (x,))
        if writes:
            r.wrote(x, made)
            return x
        return made

    return short


def _pool(name: str, *fields: str) -> Leaf:
    """A function with some of the module's fields as its other arguments."""
    rule = RULES[name]

    def short(r: Any, m: Any, x: TracedTensor) -> Any:
        held = m.__dict__
        try:
            return answered(r, rule, (x, *[held[field] for field in fields]), _NOTHING)
        except NotCoveredError:
            return m.forward(x)

    return short


def _linear(r: Any, m: Any, x: TracedTensor) -> Any:
    own, rule = m.__dict__["_parameters"], RULES["linear"]
    weight, bias = own["weight"], own["bias"]
    tensors = [x, weight] if bias is None else [x, weight, bias]
    looks = _looks(r, tensors)
    if looks is None:
        return answered(r, rule, (x, weight, bias), _NOTHING)
    return alike(r, (rule, looks), tensors, rule, (x, weight, bias))


def _layer_norm(r: Any, m: Any, x: TracedTensor) -> Any:
    own = m._parameters
    return answered(r, RULES["layer_norm"], (x, m.normalized_shape, own["weight"], own["bias"], m.eps), _NOTHING)


def _group_norm(r: Any, m: Any, x: TracedTensor) -> Any:
    own = m._parameters
    return answered(r, RULES["group_norm"], (x, m.num_groups, own["weight"], own["bias"], m.eps), _NOTHING)


def _embedding(r: Any, m: Any, x: TracedTensor) -> Any:
    if m.max_norm is not None:
        return m.forward(x)
    return answered(r, RULES["embedding"], (m._parameters["weight"], x), _NOTHING)


def _identity(r: Any, m: Any, x: TracedTensor) -> Any:
    return x


def _dropout(r: Any, m: Any, x: TracedTensor) -> Any:
    return m.forward(x) if m.inplace else answered(r, RULES["dropout"], (x, m.p, m.training), _NOTHING)


def _same_upper_conv(r: Any, m: Any, x: TracedTensor) -> Any:
    own = m._parameters
    keys, computed, roles = keep(r, weight=own["weight"], bias=own["bias"])
    op = Conv2d(
        m.out_channels, m.kernel_size, m.stride, SAME_UPPER, m.dilation, m.groups, own["bias"] is not None, roles
    )
    return r.record("conv2d", op, [x, *computed], keys)


def _same_upper_pool(r: Any, m: Any, x: TracedTensor) -> Any:
    return r.record("max_pool2d", MaxPool2d(m.kernel_size, m.stride, SAME_UPPER, dilation=m.dilation), [x])


_NOTHING: dict[str, Any] = {}
_RANKS = {nn.BatchNorm1d: (2, 3), nn.BatchNorm2d: (4,), nn.BatchNorm3d: (5,)}
LEAVES: dict[type, Leaf] = {
    nn.Conv1d: _conv("conv1d"),
    nn.Conv2d: _conv("conv2d"),
    nn.Conv3d: _conv("conv3d"),
    nn.BatchNorm1d: _batch_norm,
    nn.BatchNorm2d: _batch_norm,
    nn.BatchNorm3d: _batch_norm,
    modules.HalfAffineBatchNorm: _batch_norm,
    modules.SameUpperConv2d: _same_upper_conv,
    modules.SameUpperMaxPool2d: _same_upper_pool,
    nn.Linear: _linear,
    nn.LayerNorm: _layer_norm,
    nn.GroupNorm: _group_norm,
    nn.Embedding: _embedding,
    nn.Identity: _identity,
    nn.Dropout: _dropout,
    nn.MaxPool2d: _pool("max_pool2d", "kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices"),
    nn.AvgPool2d: _pool(
        "avg_pool2d", "kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override"
    ),
    nn.AdaptiveAvgPool2d: _pool("adaptive_avg_pool2d", "output_size"),
    nn.Flatten: _pool("flatten", "start_dim", "end_dim"),
    nn.GELU: _pool("gelu", "approximate"),
    nn.ReLU: _function("relu"),
    nn.ReLU6: _function("relu6"),
    nn.SiLU: _function("silu"),
    nn.Sigmoid: _function("sigmoid"),
    nn.Tanh: _function("tanh"),
    nn.Hardswish: _function("hardswish"),
    nn.Hardsigmoid: _function("hardsigmoid"),
}
"""The short way of each type."""
