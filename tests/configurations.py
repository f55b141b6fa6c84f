"""Random configurations of single ops, legal and illegal, each said to archlab and to torch.

The torch module is written from the raw numbers, not by the op's own `to_torch`, so that a mistake
there cannot hide itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from torch import nn

from archlab.ir import Op
from archlab.ops import (
    AdaptiveAvgPool2d,
    Add,
    AvgPool2d,
    BatchNorm,
    Concat,
    Conv2d,
    ConvTranspose2d,
    Flatten,
    LayerNorm,
    Linear,
    LocalResponseNorm,
    MatMul,
    MaxPool2d,
    Mul,
    Reshape,
    Softmax,
)
from archlab.pytorch import modules

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Configuration:
    """One layer: how each side makes it, and the shapes it is given."""

    op: Callable[[], Op]
    module: Callable[[], nn.Module]
    shapes: tuple[Shape, ...]
    text: str

    def __repr__(self) -> str:
        return f"{self.text} of {self.shapes}"


def numbers(least: int, most: int, illegal: int | None = None) -> st.SearchStrategy[Any]:
    """One number or two (height, width); in some, where one is given, an illegal one."""
    number = st.integers(least, most)
    if illegal is not None:
        number = st.sampled_from([*range(least, most + 1), illegal])
    return st.one_of(number, st.tuples(number, number))


@st.composite
def images(draw: Any, wild: bool = True) -> Shape:
    """Shapes (N, C, H, W); wild ones may be small, have no elements, or another rank than 4.

    Rank 3 is left out: torch reads it as an image without a batch, archlab has no such thing.
    """
    n = draw(st.sampled_from([1, 2, 0]))
    c = draw(st.sampled_from([6, 4, 3, 2, 1, 0] if wild else [6, 4, 2, 12]))
    side = st.integers(0 if wild else 5, 12)
    rank = draw(st.sampled_from([4, 4, 4, 5])) if wild else 4
    return (n, c, *(draw(side) for _ in range(rank - 2)))


def shapes(least: int = 0, most: int = 4, rank: int = 5) -> st.SearchStrategy[Shape]:
    """Shapes of up to `rank` dimensions."""
    return st.lists(st.integers(least, most), max_size=rank).map(tuple)


@st.composite
def convolutions(draw: Any) -> Configuration:
    """Conv2d, with torch's `same` padding, too."""
    wild, bias = draw(st.booleans()), draw(st.booleans())
    x, out = draw(images(wild)), draw(st.sampled_from([6, 4, 2, 12] + [3, 1, 0] * wild))
    zero = 0 if wild else None
    kernel, stride, dilation = draw(numbers(1, 4, zero)), draw(numbers(1, 4, zero)), draw(numbers(1, 3, zero))
    padding = draw(st.one_of(numbers(0, 3, -1 if wild else None), st.just("same")))
    groups = draw(st.sampled_from([1, 2] + [3, 0] * wild))
    fields = (out, kernel, stride, padding, dilation, groups, bias)
    return Configuration(lambda: Conv2d(*fields), lambda: nn.Conv2d(x[1], *fields), (x,), f"Conv2d{fields}")


@st.composite
def padded_convolutions(draw: Any) -> Configuration:
    """Conv2d with TensorFlow's SAME padding."""
    x, kernel = draw(images()), draw(numbers(1, 5))
    stride, dilation = draw(numbers(1, 4)), draw(numbers(1, 3))
    return Configuration(
        lambda: Conv2d(3, kernel, stride, "same_upper", dilation),
        lambda: modules.SameUpperConv2d(x[1], 3, kernel, stride, 0, dilation),
        (x,),
        f"Conv2d(3, {kernel}, {stride}, 'same_upper', {dilation})",
    )


@st.composite
def transposed_convolutions(draw: Any) -> Configuration:
    """ConvTranspose2d."""
    wild, bias = draw(st.booleans()), draw(st.booleans())
    x, groups = draw(images(wild)), draw(st.sampled_from([1, 2] + [3] * wild))
    out = draw(st.sampled_from([6, 4, 2] + [3, 1] * wild))
    kernel, stride, dilation = draw(numbers(1, 4)), draw(numbers(1, 4)), draw(numbers(1, 3))
    padding, extra = draw(numbers(0, 3, -1 if wild else None)), draw(st.one_of(st.just(0), numbers(0, 3)))
    return Configuration(
        lambda: ConvTranspose2d(out, kernel, stride, padding, extra, dilation, groups, bias),
        lambda: nn.ConvTranspose2d(x[1], out, kernel, stride, padding, extra, groups, bias, dilation),
        (x,),
        f"ConvTranspose2d{(out, kernel, stride, padding, extra, dilation, groups, bias)}",
    )


@st.composite
def max_pools(draw: Any) -> Configuration:
    """MaxPool2d, whose padding has a limit and whose last window may hang over."""
    wild, ceil = draw(st.booleans()), draw(st.booleans())
    zero = 0 if wild else None
    x, kernel = draw(images(wild)), draw(numbers(1, 5, zero))
    padding, dilation = draw(numbers(0, 2, -1 if wild else None)), draw(numbers(1, 2, zero))
    stride = draw(st.one_of(st.none(), numbers(1, 4, zero)))
    return Configuration(
        lambda: MaxPool2d(kernel, stride, padding, ceil, dilation),
        lambda: nn.MaxPool2d(kernel, stride, padding, dilation, ceil_mode=ceil),
        (x,),
        f"MaxPool2d{(kernel, stride, padding, ceil, dilation)}",
    )


@st.composite
def padded_max_pools(draw: Any) -> Configuration:
    """MaxPool2d with TensorFlow's SAME padding; rounding up changes nothing there."""
    x, kernel, ceil = draw(images()), draw(numbers(1, 5)), draw(st.booleans())
    stride, dilation = draw(numbers(1, 4)), draw(numbers(1, 3))
    return Configuration(
        lambda: MaxPool2d(kernel, stride, "same_upper", ceil, dilation),
        lambda: modules.SameUpperMaxPool2d(kernel, stride, 0, dilation),
        (x,),
        f"MaxPool2d({kernel}, {stride}, 'same_upper', {ceil}, {dilation})",
    )


@st.composite
def average_pools(draw: Any) -> Configuration:
    """AvgPool2d."""
    wild, ceil, with_padding = draw(st.booleans()), draw(st.booleans()), draw(st.booleans())
    zero = 0 if wild else None
    x, kernel, padding = draw(images(wild)), draw(numbers(1, 5, zero)), draw(numbers(0, 2, -1 if wild else None))
    fields = (kernel, draw(st.one_of(st.none(), numbers(1, 4, zero))), padding, ceil, with_padding)
    return Configuration(lambda: AvgPool2d(*fields), lambda: nn.AvgPool2d(*fields), (x,), f"AvgPool2d{fields}")


@st.composite
def adaptive_pools(draw: Any) -> Configuration:
    """AdaptiveAvgPool2d, to more outputs than inputs, too; to one, torch takes a mean of any rank."""
    x, out = draw(images().filter(lambda x: len(x) == 4)), draw(numbers(1, 9, 0))
    return Configuration(
        lambda: AdaptiveAvgPool2d(out), lambda: nn.AdaptiveAvgPool2d(out), (x,), f"AdaptiveAvgPool2d({out})"
    )


@st.composite
def linears(draw: Any) -> Configuration:
    """Linear over any number of leading dimensions."""
    x, out, bias = draw(shapes()), draw(st.integers(0, 4)), draw(st.booleans())
    features = x[-1] if x else 3
    return Configuration(
        lambda: Linear(out, bias), lambda: nn.Linear(features, out, bias), (x,), f"Linear({out}, {bias})"
    )


@st.composite
def matmuls(draw: Any) -> Configuration:
    """MatMul of vectors, matrices and batches; some do not fit."""
    k = draw(st.integers(0, 3))
    batch = st.lists(st.sampled_from([1, 1, 2, 3]), max_size=2).map(tuple)
    rows = st.one_of(st.tuples(st.integers(0, 3), st.just(k)), st.just((k,)), st.just((2, 3)), st.just(()))
    columns = st.one_of(st.tuples(st.just(k), st.integers(0, 3)), st.just((k,)), st.just((3, 2)), st.just(()))
    a, b = draw(batch) + draw(rows), draw(batch) + draw(columns)
    return Configuration(MatMul, modules.MatMul, (a, b), "MatMul()")


@st.composite
def batch_norms(draw: Any) -> Configuration:
    """BatchNorm in both modes, with any of scale and shift."""
    x, training = draw(shapes(0, 3, 6)), draw(st.booleans())
    scale, shift = draw(st.booleans()), draw(st.booleans())
    channels, rank = x[1] if len(x) > 1 else 2, min(max(len(x) - 2, 1), 3)

    def module() -> nn.Module:
        if scale == shift:
            return getattr(nn, f"BatchNorm{rank}d")(channels, affine=scale).train(training)
        return modules.HalfAffineBatchNorm(channels, scale=scale).train(training)

    text = f"BatchNorm(scale={scale}, shift={shift}, training={training})"
    return Configuration(lambda: BatchNorm(scale, shift, training=training), module, (x,), text)


@st.composite
def layer_norms(draw: Any) -> Configuration:
    """LayerNorm over 1 to 4 dimensions; torch has no shift without a scale."""
    x, count = draw(shapes(0, 3, 5)), draw(st.integers(1, 4))
    scale, shift = draw(st.sampled_from([(True, True), (True, False), (False, False)]))
    normalised = x[-count:] if count <= len(x) else (2,) * count
    return Configuration(
        lambda: LayerNorm(count, scale, shift),
        lambda: nn.LayerNorm(normalised, elementwise_affine=scale, bias=shift),
        (x,),
        f"LayerNorm({count}, {scale}, {shift})",
    )


@st.composite
def response_norms(draw: Any) -> Configuration:
    """LocalResponseNorm."""
    x, size = draw(images().filter(lambda x: len(x) == 4)), draw(st.integers(0, 6))
    return Configuration(
        lambda: LocalResponseNorm(size), lambda: nn.LocalResponseNorm(size), (x,), f"LocalResponseNorm({size})"
    )


@st.composite
def softmaxes(draw: Any) -> Configuration:
    """Softmax along a dimension that may not exist."""
    x, dim, log = draw(shapes()), draw(st.integers(-6, 6)), draw(st.booleans())
    kind = nn.LogSoftmax if log else nn.Softmax
    return Configuration(lambda: Softmax(dim, log), lambda: kind(dim), (x,), f"Softmax({dim}, {log})")


@st.composite
def sums_and_products(draw: Any) -> Configuration:
    """Add and Mul of two shapes, most of which broadcast."""
    a = draw(shapes(0, 3))
    b = tuple(draw(st.sampled_from([size, size, size, 1, 2])) for size in a)[draw(st.integers(0, 5)) :]
    both = (a, b) if draw(st.booleans()) else (b, a)
    if draw(st.booleans()):
        return Configuration(Add, modules.Add, both, "Add()")
    return Configuration(Mul, modules.Mul, both, "Mul()")


@st.composite
def concatenations(draw: Any) -> Configuration:
    """Concat of up to three tensors, most of which agree but for the joined dimension."""
    first, dim = draw(shapes(0, 3, 4)), draw(st.one_of(st.just(1), st.integers(-5, 5)))
    joined = [first]
    for _ in range(draw(st.integers(0, 2))):
        other = [draw(st.integers(0, 3)) if i == dim % max(len(first), 1) else size for i, size in enumerate(first)]
        if draw(st.integers(0, 9)) == 0:
            other.append(1)
        elif other and draw(st.integers(0, 9)) == 0:
            other[draw(st.integers(0, len(other) - 1))] += 1
        joined.append(tuple(other))
    return Configuration(lambda: Concat(dim), lambda: modules.Concat(dim), tuple(joined), f"Concat({dim})")


@st.composite
def flattenings(draw: Any) -> Configuration:
    """Flatten between dimensions that may not exist or lie in the wrong order."""
    x = draw(shapes(0, 3))
    dims = (draw(st.integers(-4, 4)), draw(st.integers(-4, 4)))
    return Configuration(lambda: Flatten(*dims), lambda: nn.Flatten(*dims), (x,), f"Flatten{dims}")


@st.composite
def reshapings(draw: Any) -> Configuration:
    """Reshape to the same elements in another order, or to anything."""
    x = draw(shapes(0, 4, 4))
    entry = st.sampled_from([-1, 0, 1, 2, 3, 4, 6, 8, "=0", "=1", "=2", "=5"])
    entries: list[Any] = draw(st.lists(entry, max_size=4))
    if draw(st.booleans()):
        entries = [draw(st.sampled_from([size, size, f"={i}"])) for i, size in enumerate(x)]
        entries = draw(st.permutations(entries))
        if entries and draw(st.booleans()):
            entries[draw(st.integers(0, len(entries) - 1))] = -1
    fields = tuple(entries)
    return Configuration(lambda: Reshape(fields), lambda: modules.Reshape(fields), (x,), f"Reshape({fields})")
