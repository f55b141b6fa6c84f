"""Operators of ATen whose arguments stand in another order than those of torch's functions of that name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from archlab.ir import TensorSpec
from archlab.pytorch.rules import RULES


def _batch_norm(
    r: Any, func: Any, x: Any, weight: Any, bias: Any, mean: Any, variance: Any, training: bool, *rest: Any
) -> Any:
    momentum, eps, *_ = rest
    return RULES["batch_norm"](r, x, mean, variance, weight, bias, training, momentum, eps)


def _instance_norm(
    r: Any, func: Any, x: Any, weight: Any, bias: Any, mean: Any, variance: Any, own: bool, *rest: Any
) -> Any:
    momentum, eps, *_ = rest
    return RULES["instance_norm"](r, x, mean, variance, weight, bias, own, momentum, eps)


def _native(r: Any, func: Any, *args: Any, **kwargs: Any) -> Any:
    return _several(r, _batch_norm(r, func, *args))


def _no_training(
    r: Any, func: Any, x: Any, weight: Any, bias: Any, mean: Any, variance: Any, momentum: float, eps: float
) -> Any:
    return _several(r, _batch_norm(r, func, x, weight, bias, mean, variance, False, momentum, eps))


def _several(r: Any, made: Any) -> Any:
    """The kernels return statistics, too; nothing reads them without gradients."""
    return made, r.constant(TensorSpec((0,)), None), r.constant(TensorSpec((0,)), None)


_MODES = {
    "upsample_nearest1d": "nearest",
    "upsample_nearest2d": "nearest",
    "upsample_nearest3d": "nearest",
    "_upsample_nearest_exact1d": "nearest-exact",
    "_upsample_nearest_exact2d": "nearest-exact",
    "_upsample_nearest_exact3d": "nearest-exact",
    "upsample_linear1d": "linear",
    "upsample_bilinear2d": "bilinear",
    "_upsample_bilinear2d_aa": "bilinear",
    "upsample_trilinear3d": "trilinear",
    "upsample_bicubic2d": "bicubic",
    "_upsample_bicubic2d_aa": "bicubic",
}


def _upsample(mode: str) -> Callable[..., Any]:
    def rule(r: Any, func: Any, x: Any, size: Any = None, *rest: Any, **_: Any) -> Any:
        rest = tuple(value for value in rest if not isinstance(value, bool))
        factors = rest[0] if size is None and rest else None
        return RULES["interpolate"](r, x, size, factors, mode)

    return rule


def _index(r: Any, func: Any, x: Any, indices: Any) -> Any:
    return RULES["__getitem__"](r, x, tuple(slice(None) if each is None else each for each in indices))


RENAMED: Mapping[str, Callable[..., Any]] = {
    "batch_norm": _batch_norm,
    "index": _index,
    "instance_norm": _instance_norm,
    "native_batch_norm": _native,
    "_native_batch_norm_legit": _native,
    "_native_batch_norm_legit_no_training": _no_training,
    **{name: _upsample(mode) for name, mode in _MODES.items()},
}
"""What answers each."""
