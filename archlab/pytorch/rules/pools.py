"""Rules of pools."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import torch
from torch.nn import functional

from archlab.ops import AdaptiveAvgPool2d, AvgPool2d, GlobalAvgPool2d, MaxPool2d
from archlab.ops.pool import window_sum
from archlab.pytorch.rules.common import NotCoveredError, as_tuple, counted


def _max_pool2d(
    r: Any,
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    if return_indices or len(r.spec(input).shape) != 4:
        raise NotCoveredError
    stride = None if stride == [] else as_tuple(stride)
    op = MaxPool2d(as_tuple(kernel_size), stride, as_tuple(padding), bool(ceil_mode), as_tuple(dilation))
    return r.record("max_pool2d", op, [input])


def _avg_pool2d(
    r: Any,
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: Any = None,
) -> Any:
    if divisor_override is not None or len(r.spec(input).shape) != 4:
        raise NotCoveredError
    stride = None if stride == [] else as_tuple(stride)
    op = AvgPool2d(as_tuple(kernel_size), stride, as_tuple(padding), bool(ceil_mode), bool(count_include_pad))
    return r.record("avg_pool2d", op, [input])


def _adaptive_avg_pool2d(r: Any, input: Any, output_size: Any) -> Any:
    shape = r.spec(input).shape
    if len(shape) != 4:
        raise NotCoveredError
    both = (output_size, output_size) if isinstance(output_size, int) or output_size is None else tuple(output_size)
    size = tuple(shape[2 + i] if s is None else int(s) for i, s in enumerate(both))
    op = GlobalAvgPool2d() if size == (1, 1) else AdaptiveAvgPool2d(size)
    return r.record("adaptive_avg_pool2d", op, [input])


def _window(name: str, kind: str) -> Callable[..., Any]:
    """Count any other pool by its window: the input elements of one output element."""
    rank = int(name[name.index("pool") + 4])

    def rule(r: Any, input: Any, size: Any, *args: Any, **kwargs: Any) -> Any:
        from archlab.pytorch.rules import by_meta

        func = getattr(functional, name, None) or getattr(torch.ops.aten, name)
        if name.startswith("adaptive_max_pool") and not args and not kwargs:  # the kernel: it makes indices, too
            func = getattr(torch.ops.aten, name, func)
        made = by_meta(r, func, (input, size, *args), kwargs)
        specs = made if isinstance(made, tuple) else (made,)
        if "adaptive" in name:  # windows overlap and differ where sizes do not divide
            read = prod(r.spec(input).shape[:-rank])
            for a, b in zip(r.spec(input).shape[-rank:], specs[0].shape[-rank:], strict=True):
                read *= window_sum(a, b) if b else 0
            last: tuple[tuple[str, int], ...] = () if kind == "cmp" else (("div", 1),)
            return counted(r, name, [input], specs, last, ((kind, read),))
        window = 1
        for side in (size,) * rank if isinstance(size, int) else tuple(size) * (rank // len(size)):
            window *= side
        each: tuple[tuple[str, int], ...] = (("cmp", window),) if kind == "cmp" else (("add", window), ("div", 1))
        return counted(r, name, [input], specs, each)

    return rule


_MAX = [
    "max_pool1d",
    "max_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
    *(f"adaptive_max_pool{rank}d_with_indices" for rank in (1, 2, 3)),
    "fractional_max_pool3d_with_indices",
    "max_pool2d_with_indices",
    "max_pool3d_with_indices",
    "max_pool1d_with_indices",
    "fractional_max_pool2d_with_indices",
]
_AVERAGE = ["avg_pool1d", "avg_pool3d", "adaptive_avg_pool1d", "adaptive_avg_pool3d", "_adaptive_avg_pool3d"]

RULES: dict[str, Callable[..., Any]] = {
    "max_pool2d": _max_pool2d,
    "avg_pool2d": _avg_pool2d,
    "adaptive_avg_pool2d": _adaptive_avg_pool2d,
    "_adaptive_avg_pool2d": _adaptive_avg_pool2d,
    **{name: _window(name, "cmp") for name in _MAX},
    **{name: _window(name, "add") for name in _AVERAGE},
}
