"""The arithmetic of sliding windows that convolutions and pools share: pairs, padding, output sizes."""

from __future__ import annotations

from typing import Any

from archlab.dims import ceil_div, maximum, minimum, require, require_integer
from archlab.ir import Shape, TensorSpec

Pair = tuple[int, int]
Sizes = tuple[int, ...]
"""A number for each axis."""
SAME = "same"
SAME_UPPER = "same_upper"


def sizes_of(value: Any, what: str, least: int, rank: int = 2) -> Sizes:
    """Return a number for each of `rank` axes from one number or as many; require each to be at least `least`."""
    if type(value) is int:
        return (require_integer(value, what, least),) * rank
    each = tuple(value) if isinstance(value, (tuple, list)) else (value,) * rank
    require(len(each) == rank, "{} takes one number or {}, got {}", what, _WORDS[rank], each)
    return tuple(require_integer(number, what, least) for number in each)


_WORDS = {1: "a list of one", 2: "two", 3: "three"}


def pair(value: Any, what: str, least: int) -> Pair:
    """Return (height, width) from one number or two; require each to be at least `least`."""
    both = sizes_of(value, what, least)
    return both[0], both[1]


def padding_field(value: Any, *, named: tuple[str, ...], rank: int = 2) -> Any:
    """Return a padding field: a number for each axis, or one of the `named` paddings."""
    if isinstance(value, str):
        require(value in named, "padding must be numbers or one of {}, got {!r}", named, value)
        return value
    return sizes_of(value, "padding", 0, rank)


_LAYOUTS = {1: "3-D input (N, C, L)", 2: "4-D input (N, C, H, W)", 3: "5-D input (N, C, D, H, W)"}


def image(x: TensorSpec, rank: int = 2) -> Shape:
    """Return the shape (N, C, *axes); raise `ShapeError` for another rank, or without channels or positions."""
    require(len(x.shape) == rank + 2, "needs a {}, got {}", _LAYOUTS[rank], x.shape)
    for size in x.shape[1:]:
        require(size >= 1, "needs at least one channel and one position, got {}", x.shape)
    return x.shape


def effective(kernel: int, dilation: int) -> int:
    """Return how many positions a dilated kernel spans."""
    return dilation * (kernel - 1) + 1


def pads(padding: Any, size: int, kernel: int, stride: int, dilation: int, axis: int) -> Pair:
    """Return the padding (before, after) along an axis.

    The named paddings make ⌈size / stride⌉ outputs and put the odd position behind: TensorFlow's
    ``SAME``, ONNX's ``SAME_UPPER``; torch's ``same`` is the case of stride 1.
    """
    if not isinstance(padding, str):
        return padding[axis], padding[axis]
    total = maximum((ceil_div(size, stride) - 1) * stride + effective(kernel, dilation) - size, 0)
    return total // 2, total - total // 2


def window_count(
    size: int, kernel: int, stride: int, before: int, after: int, dilation: int = 1, ceil: bool = False
) -> int:
    """Return how many windows fit. In ceil mode one may hang over, but none starts in the padding behind."""
    room = size + before + after - effective(kernel, dilation)
    if not ceil:
        return room // stride + 1
    started: int = minimum(ceil_div(room, stride) + 1, ceil_div(size + before, stride))
    return started


def pad_shape(padding: Any, sizes: Sizes, kernel: Sizes, stride: Sizes, dilation: Sizes) -> tuple[Pair, ...]:
    """Return the padding (before, after) of each axis for an input of those sizes."""
    axes = enumerate(zip(sizes, kernel, stride, dilation, strict=True))
    return tuple(pads(padding, size, k, s, d, axis) for axis, (size, k, s, d) in axes)
