"""Modules whose forward is one rule: while tracing they are answered without running it.

Only exact types without hooks qualify, and only where nothing has replaced their forward.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn
from torch.nn.modules import module as hooks

from archlab.ops import Conv2d, MaxPool2d
from archlab.ops.windows import SAME_UPPER
from archlab.pytorch import modules
from archlab.pytorch.rules import RULES
from archlab.pytorch.rules.common import keep
from archlab.pytorch.spy import TracedTensor

Leaf = Callable[[Any, Any, TracedTensor], Any]
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def leaf(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Leaf | None:
    """Return the short way for a module call, or None where it must run."""
    short = LEAVES.get(type(module))
    if short is None or kwargs or len(args) != 1 or type(args[0]) is not TracedTensor:
        return None
    held = module.__dict__
    hooked: Any = hooks._has_any_global_hook
    if "forward" in held or any(held[name] for name in _HOOKS) or hooked():
        return None
    return short


def _conv(name: str) -> Leaf:
    rule = RULES[name]

    def short(r: Any, m: Any, x: TracedTensor) -> Any:
        if m.padding_mode != "zeros":
            return m.forward(x)
        own = m._parameters
        return rule(r, x, own["weight"], own["bias"], m.stride, m.padding, m.dilation, m.groups)

    return short


def _batch_norm(r: Any, m: Any, x: TracedTensor) -> Any:
    own, kept = m._parameters, m._buffers
    mean, variance = kept.get("running_mean"), kept.get("running_var")
    if m.momentum is None or len(x.spec.shape) != _RANKS.get(type(m), len(x.spec.shape)):
        return m.forward(x)
    training = m.training or mean is None
    return RULES["batch_norm"](r, x, mean, variance, own.get("weight"), own.get("bias"), training, m.momentum, m.eps)


def _function(name: str) -> Leaf:
    rule = RULES[name]

    def short(r: Any, m: Any, x: TracedTensor) -> Any:
        made = rule(r, x)
        if getattr(m, "inplace", False):
            x.ref, x.value = made.ref, None
            return x
        return made

    return short


def _linear(r: Any, m: Any, x: TracedTensor) -> Any:
    own = m._parameters
    return RULES["linear"](r, x, own["weight"], own["bias"])


def _layer_norm(r: Any, m: Any, x: TracedTensor) -> Any:
    own = m._parameters
    return RULES["layer_norm"](r, x, m.normalized_shape, own["weight"], own["bias"], m.eps)


def _dropout(r: Any, m: Any, x: TracedTensor) -> Any:
    return m.forward(x) if m.inplace else RULES["dropout"](r, x, m.p, m.training)


def _same_upper_conv(r: Any, m: Any, x: TracedTensor) -> Any:
    own = m._parameters
    keys, computed, roles = keep(r, weight=own["weight"], bias=own["bias"])
    op = Conv2d(
        m.out_channels, m.kernel_size, m.stride, SAME_UPPER, m.dilation, m.groups, own["bias"] is not None, roles
    )
    return r.record("conv2d", op, [x, *computed], keys)


def _same_upper_pool(r: Any, m: Any, x: TracedTensor) -> Any:
    return r.record("max_pool2d", MaxPool2d(m.kernel_size, m.stride, SAME_UPPER, dilation=m.dilation), [x])


_RANKS = {nn.BatchNorm2d: 4, nn.BatchNorm3d: 5}
LEAVES: dict[type, Leaf] = {
    nn.Conv1d: _conv("conv1d"),
    nn.Conv2d: _conv("conv2d"),
    nn.Conv3d: _conv("conv3d"),
    nn.BatchNorm2d: _batch_norm,
    nn.BatchNorm3d: _batch_norm,
    modules.HalfAffineBatchNorm: _batch_norm,
    modules.SameUpperConv2d: _same_upper_conv,
    modules.SameUpperMaxPool2d: _same_upper_pool,
    nn.Linear: _linear,
    nn.LayerNorm: _layer_norm,
    nn.Dropout: _dropout,
    nn.ReLU: _function("relu"),
    nn.ReLU6: _function("relu6"),
    nn.SiLU: _function("silu"),
    nn.Sigmoid: _function("sigmoid"),
    nn.Tanh: _function("tanh"),
    nn.Hardswish: _function("hardswish"),
    nn.Hardsigmoid: _function("hardsigmoid"),
}
"""The short way of each type. GELU is not here: its forward passes a keyword."""
