"""The arithmetic of sliding windows that convolutions and pools share: pairs, padding, output sizes."""

from __future__ import annotations

from typing import Any

from archlab.dims import ceil_div, maximum, minimum, require, require_integer
from archlab.ir import Shape, TensorSpec

Pair = tuple[int, int]
SAME = "same"
SAME_UPPER = "same_upper"


def pair(value: Any, what: str, least: int) -> Pair:
    """Return (height, width) from one number or two; require each to be at least `least`."""
    both = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    require(len(both) == 2, "{} takes one number or two, got {}", what, both)
    return require_integer(both[0], what, least), require_integer(both[1], what, least)


def padding_field(value: Any, *, named: tuple[str, ...]) -> Any:
    """Return a padding field: a pair, or one of the `named` paddings."""
    if isinstance(value, str):
        require(value in named, "padding must be numbers or one of {}, got {!r}", named, value)
        return value
    return pair(value, "padding", 0)


def image(x: TensorSpec) -> Shape:
    """Return the shape (N, C, H, W); raise `ShapeError` for another rank, or without channels or positions."""
    require(len(x.shape) == 4, "needs a 4-D input (N, C, H, W), got {}", x.shape)
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


def pad_shape(padding: Any, sizes: Pair, kernel: Pair, stride: Pair, dilation: Pair) -> tuple[Pair, Pair]:
    """Return the padding (before, after) of both axes for an input of those sizes."""
    both = (pads(padding, sizes[i], kernel[i], stride[i], dilation[i], i) for i in (0, 1))
    return tuple(both)  # type: ignore[return-value]
