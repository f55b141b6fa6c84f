"""Rules of resampling: interpolation, grids, deformable convolution."""

from __future__ import annotations

from collections.abc import Callable
from math import floor
from typing import Any

from torch import Tensor
from torch.nn import functional

from archlab.ir import TensorSpec
from archlab.pytorch.rules.common import counted

_TAPS = {"nearest": 0, "nearest-exact": 0, "area": 1, "linear": 2, "bilinear": 4, "trilinear": 8, "bicubic": 16}


def _interpolate(
    r: Any, input: Any, size: Any = None, scale_factor: Any = None, mode: str = "nearest", *args: Any, **kwargs: Any
) -> Any:
    made = _resized(r.spec(input), size, scale_factor)
    if mode == "area" and made is not None:  # torch calls the adaptive pool for it
        from archlab.pytorch.rules.pools import RULES as POOLS

        sides = made.shape[2:]
        return POOLS[f"adaptive_avg_pool{len(sides)}d"](r, input, sides)
    if made is None or mode not in _TAPS:  # torch has its own words for what does not fit
        from archlab.pytorch.rules import by_meta

        made = by_meta(r, functional.interpolate, (input, size, scale_factor, mode, *args), kwargs)
    taps = _TAPS[mode]
    each = (("mul", taps), ("add", taps - 1)) if taps > 1 else (("add", 1),) if taps else ()
    return counted(r, f"interpolate_{mode}", [input], (made,), each)


def _resized(spec: TensorSpec, size: Any, factor: Any) -> TensorSpec | None:
    """Return (N, C, *size) or (N, C, *⌊factor·side⌋), None where the arguments are not of the usual kind."""
    sides = spec.shape[2:]
    given = factor if size is None else size
    if (size is None) == (factor is None) or len(sides) not in (1, 2, 3):
        return None
    each = tuple(given) if isinstance(given, (list, tuple)) else (given,) * len(sides)
    if len(each) != len(sides) or any(isinstance(number, Tensor) for number in each):
        return None
    out = each if factor is None else [floor(float(side) * number) for side, number in zip(sides, each, strict=True)]
    return spec.reshaped((*spec.shape[:2], *map(int, out))) if all(number > 0 for number in out) else None


def _grid_sample(r: Any, input: Any, grid: Any, mode: Any = "bilinear", *_: Any, **__: Any) -> Any:
    """Weigh the neighbours of a place in each direction, as an interpolation to the grid's size."""
    spec, places = r.spec(input), r.spec(grid).shape
    rank = len(spec.shape) - 2
    name = {0: "bilinear", 1: "nearest", 2: "bicubic"}.get(mode, mode)
    taps = {"nearest": 0, "bilinear": 2**rank, "bicubic": 16}[name]
    each = (("mul", taps), ("add", taps - 1)) if taps else ()
    return counted(r, "grid_sample", [input, grid], (spec.reshaped((*spec.shape[:2], *places[1:-1])),), each)


def _deform_conv2d(
    r: Any,
    input: Any,
    weight: Any,
    offset: Any,
    mask: Any,
    bias: Any,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dil_h: int,
    dil_w: int,
    groups: int,
    offset_groups: int,
    use_mask: bool = True,
) -> Any:
    """Each tap is interpolated from four neighbours (mul 4, add 3; the mask mul 1), then a convolution."""
    n, c, h, w = r.spec(input).shape
    c_out, c_in, k_h, k_w = r.spec(weight).shape
    rows = (h + 2 * pad_h - dil_h * (k_h - 1) - 1) // stride_h + 1
    columns = (w + 2 * pad_w - dil_w * (k_w - 1) - 1) // stride_w + 1
    given = [input, offset, mask] if use_mask else [input, offset]
    taps = TensorSpec((n, c * k_h * k_w, rows, columns), r.spec(input).dtype)
    sampled = counted(r, "deform_sample", given, (taps,), (("mul", 4 + bool(use_mask)), ("add", 3)))
    each = (("mac", c_in * k_h * k_w), ("add", 1))
    return counted(r, "deform_conv2d", [sampled, weight, bias], (taps.reshaped((n, c_out, rows, columns)),), each)


RULES: dict[str, Callable[..., Any]] = {
    "interpolate": _interpolate,
    "upsample": _interpolate,
    "grid_sample": _grid_sample,
    "grid_sampler": _grid_sample,
    "grid_sampler_2d": _grid_sample,
    "grid_sampler_3d": _grid_sample,
    "torchvision::deform_conv2d": _deform_conv2d,
}
