"""Random configurations of the ops that traces brought, legal and illegal; see `configurations`."""

from __future__ import annotations

from typing import Any

from configurations import Configuration, Shape, shapes
from hypothesis import strategies as st
from torch import nn

from archlab import ops
from archlab.ops import Attention, GroupNorm, RMSNorm
from archlab.pytorch import modules


def numbers(rank: int, least: int, most: int, illegal: int | None = None) -> st.SearchStrategy[Any]:
    """One number, or one for each axis; in some, where one is given, an illegal one."""
    number = st.integers(least, most)
    if illegal is not None:
        number = st.sampled_from([*range(least, most + 1), illegal])
    return st.one_of(number, st.tuples(*[number] * rank))


@st.composite
def signals(draw: Any, rank: int, wild: bool) -> Shape:
    """Shapes (N, C, *axes); wild ones may be small, have no elements, or an axis too many.

    An axis too few is left out: torch reads it as no batch, archlab has no such thing.
    """
    n = draw(st.sampled_from([1, 2, 0]))
    c = draw(st.sampled_from([6, 4, 3, 2, 1, 0] if wild else [6, 4, 2, 12]))
    axes = rank + draw(st.sampled_from([0, 0, 0, 1])) if wild else rank
    return (n, c, *(draw(st.integers(0 if wild else 5, 8)) for _ in range(axes)))


@st.composite
def convolutions(draw: Any, rank: int) -> Configuration:
    """Conv1d or Conv3d, with torch's `same` padding, too."""
    wild, bias = draw(st.booleans()), draw(st.booleans())
    x, out = draw(signals(rank, wild)), draw(st.sampled_from([6, 4, 2, 12] + [3, 1, 0] * wild))
    zero = 0 if wild else None
    kernel, stride = draw(numbers(rank, 1, 3, zero)), draw(numbers(rank, 1, 3, zero))
    dilation, groups = draw(numbers(rank, 1, 2, zero)), draw(st.sampled_from([1, 2] + [3, 0] * wild))
    padding = draw(st.one_of(numbers(rank, 0, 2, -1 if wild else None), st.just("same")))
    fields, name = (out, kernel, stride, padding, dilation, groups, bias), f"Conv{rank}d"
    return Configuration(
        lambda: getattr(ops, name)(*fields), lambda: getattr(nn, name)(x[1], *fields), (x,), f"{name}{fields}"
    )


@st.composite
def transposed_convolutions(draw: Any, rank: int) -> Configuration:
    """ConvTranspose1d or ConvTranspose3d."""
    wild, bias = draw(st.booleans()), draw(st.booleans())
    x, groups = draw(signals(rank, wild)), draw(st.sampled_from([1, 2] + [3] * wild))
    out, name = draw(st.sampled_from([6, 4, 2] + [3, 1] * wild)), f"ConvTranspose{rank}d"
    kernel, stride, dilation = draw(numbers(rank, 1, 3)), draw(numbers(rank, 1, 3)), draw(numbers(rank, 1, 2))
    padding = draw(numbers(rank, 0, 2, -1 if wild else None))
    extra = draw(st.one_of(st.just(0), numbers(rank, 0, 2)))
    return Configuration(
        lambda: getattr(ops, name)(out, kernel, stride, padding, extra, dilation, groups, bias),
        lambda: getattr(nn, name)(x[1], out, kernel, stride, padding, extra, groups, bias, dilation),
        (x,),
        f"{name}{(out, kernel, stride, padding, extra, dilation, groups, bias)}",
    )


@st.composite
def group_norms(draw: Any) -> Configuration:
    """GroupNorm over any rank, with and without scale and shift; releases of torch differ on empty tensors."""
    x = tuple(max(size, 1) for size in draw(shapes(0, 3, 5)))
    groups, scale = draw(st.sampled_from([1, 2, 3, 0, 4])), draw(st.booleans())
    channels = draw(st.sampled_from([4, 6, 3]))
    x = (*x[:1], channels, *x[2:]) if len(x) > 1 else x
    shift = draw(st.booleans()) if scale else False
    return Configuration(
        lambda: GroupNorm(groups, scale, shift),
        lambda: nn.GroupNorm(groups, channels, affine=scale, bias=shift or not scale),
        (x,),
        f"GroupNorm({groups}, {scale}, {shift})",
    )


@st.composite
def rms_norms(draw: Any) -> Configuration:
    """RMSNorm over 1 to 4 dimensions."""
    x, count, scale = draw(shapes(0, 3, 5)), draw(st.integers(1, 4)), draw(st.booleans())
    normalised = x[-count:] if count <= len(x) else (2,) * count
    return Configuration(
        lambda: RMSNorm(count, scale),
        lambda: nn.RMSNorm(normalised, elementwise_affine=scale),
        (x,),
        f"RMSNorm({count}, {scale})",
    )


@st.composite
def attentions(draw: Any) -> Configuration:
    """Attention, with grouped queries, leading dimensions that broadcast, and some that do not fit."""
    batch, heads = draw(st.sampled_from([1, 2, 0])), draw(st.sampled_from([1, 2, 4, 6]))
    shared = draw(st.sampled_from([heads, heads, 1, 2, 3]))
    queries, keys = draw(st.integers(0, 3)), draw(st.integers(1, 3))
    width, wide = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    leading = [(batch, heads), (draw(st.sampled_from([batch, batch, 1, 3])), shared), (batch, shared)]
    cut = draw(st.sampled_from([0, 0, 0, 1, 2]))
    tails = [(queries, width), (keys, draw(st.sampled_from([width] * 4 + [4]))), (keys, wide)]
    if draw(st.integers(0, 9)) == 0:
        tails[2] = (keys + 1, wide)
    q, k, v = ((*lead[cut:], *tail) for lead, tail in zip(leading, tails, strict=True))
    masked = draw(st.booleans())
    mask = [(queries, keys)] if masked and draw(st.booleans()) else []
    return Configuration(
        lambda: Attention(masked), lambda: modules.Attention(masked), (q, k, v, *mask), "Attention()"
    )
