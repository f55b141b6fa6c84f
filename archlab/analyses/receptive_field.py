"""Receptive field: which window of the input one element of a layer's output can see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from archlab.ir import Graph, Op, Shape
from archlab.ops import (
    GELU,
    AdaptiveAvgPool2d,
    Add,
    AvgPool2d,
    BatchNorm,
    Concat,
    Conv2d,
    Dropout,
    Elementwise,
    GlobalAvgPool2d,
    Layout,
    LocalResponseNorm,
    MaxPool2d,
    Mul,
    ReLU,
    Sigmoid,
    Softmax,
)
from archlab.ops.functions import ALONG_A_DIMENSION
from archlab.ops.windows import Pair, effective

PER_POSITION = (ReLU, GELU, Sigmoid, Dropout, BatchNorm, LocalResponseNorm)
"""Ops that read, at each position, that position alone (of any channels)."""
COPIES = ("clone", "contiguous", "to")
"""Layouts of a trace that leave every element where it is."""


@dataclass(frozen=True)
class ReceptiveField:
    """The window of one layer, per axis (height, width).

    Output position i sees the input positions i·stride - padding to i·stride - padding + size - 1,
    of which some may lie outside the input: the window is not clipped.
    """

    sizes: Pair
    strides: Pair
    paddings: Pair

    @property
    def size(self) -> int | Pair:
        """The window's size: one number if both axes agree."""
        return _one(self.sizes)

    @property
    def stride(self) -> int | Pair:
        """How far the window moves from one output position to the next: one number if both axes agree."""
        return _one(self.strides)

    @property
    def padding(self) -> int | Pair:
        """How far the first window starts in front of the input: one number if both axes agree."""
        return _one(self.paddings)


_ITSELF = ReceptiveField((1, 1), (1, 1), (0, 0))
_Window = tuple[Pair, Pair, Pair]
"""The positions that one op spans, its stride, and the padding in front, each (height, width)."""


def receptive_field(graph: Graph) -> dict[str, ReceptiveField | None]:
    """Return the receptive field of each layer by name, train-only ones too, or None where it is undefined.

    By Araujo, Norris and Sim, "Computing receptive fields of convolutional neural networks", Distill
    2019: a window of k positions, d apart, adds d·(k-1) strides to the size, and its padding in front
    adds p strides to the padding. Over several paths, and several inputs, it is the smallest window
    that holds those of all paths. A global average pool is a window of the whole input of stride 1.

    It is undefined (None), for a layer and all behind it, where no single window slides over the input:

    - paths meet whose strides differ, or that differ in size and are broadcast;
    - positions are mixed or rearranged: flatten, reshape, linear, matmul, layer norm; softmax and
      concatenation over positions;
    - the window depends on the position: a transposed convolution, an adaptive pool over an input that
      does not divide evenly;
    - a trace knows an op by its shapes alone: layouts but copies and casts, resampling, what has no rule.

    What the model keeps sees no input: it has no field, and does not change that of what reads it.
    """
    fields: dict[str, ReceptiveField | None] = {}
    blind: set[str] = set()
    for node in graph.nodes:
        before = [name for name, _ in node.inputs]
        if not node.op.is_input and blind.issuperset(before):
            blind.add(node.name)
            fields[node.name] = None
            continue
        seeing = [i for i, name in enumerate(before) if name not in blind]
        inputs = graph.input_specs(node)
        made = graph.specs[node.name][0].shape
        fields[node.name] = _field(node.op, made, [(i, inputs[i].shape, fields[before[i]]) for i in seeing])
    return fields


def _field(given: Op, made: Shape, reads: list[tuple[int, Shape, ReceptiveField | None]]) -> ReceptiveField | None:
    """Return the field of an op from the inputs that see something: which, its shape and its field."""
    op: Any = given
    if op.is_input:
        return _ITSELF if len(op.shape) == 4 else None
    known = [field for _, _, field in reads if field is not None]
    if len(known) < len(reads):
        return None
    if isinstance(op, (Add, Mul, Elementwise)):
        per_position = getattr(op, "function", "") not in ALONG_A_DIMENSION
        alike = all(len(shape) == 4 and shape[2:] == made[2:] for _, shape, _ in reads)
        return _union(known) if per_position and alike else None
    index, shape, _ = reads[0]
    if not isinstance(op, Concat) and (index > 0 or len(reads) > 1):
        return None
    if isinstance(op, (Conv2d, MaxPool2d, AvgPool2d)):
        return _slide(known[0], _window(op, shape[2], shape[3]))
    if isinstance(op, GlobalAvgPool2d):
        return _slide(known[0], ((shape[2], shape[3]), (1, 1), (0, 0)))
    if isinstance(op, AdaptiveAvgPool2d):
        window = _even_division((shape[2], shape[3]), op.output_size)
        return None if window is None else _slide(known[0], window)
    if isinstance(op, PER_POSITION) or (isinstance(op, Layout) and op.function in COPIES):
        return known[0]
    if isinstance(op, Softmax):
        return known[0] if op.dim % 4 < 2 else None
    if isinstance(op, Concat):
        return _union(known) if op.dim % 4 < 2 else None
    return None


def _window(op: Any, height: int, width: int) -> _Window:
    (top, _), (left, _) = op.pads(height, width)
    dilation = getattr(op, "dilation", (1, 1))
    spans = effective(op.kernel[0], dilation[0]), effective(op.kernel[1], dilation[1])
    return spans, op.stride, (top, left)


def _even_division(sizes: Pair, counts: Pair) -> _Window | None:
    """Return the window of an adaptive pool, or None where its windows differ; one for all has stride 1."""
    if any(size % count for size, count in zip(sizes, counts, strict=True)):
        return None
    spans = sizes[0] // counts[0], sizes[1] // counts[1]
    strides = tuple(1 if count == 1 else span for count, span in zip(counts, spans, strict=True))
    return spans, strides, (0, 0)  # type: ignore[return-value]


def _slide(field: ReceptiveField, window: _Window) -> ReceptiveField:
    """Return the field of a window over positions that have this field themselves."""
    axes = list(zip(field.sizes, field.strides, field.paddings, *window, strict=True))
    return ReceptiveField(
        _pair(size + (spans - 1) * jump for size, jump, _, spans, _, _ in axes),
        _pair(jump * stride for _, jump, _, _, stride, _ in axes),
        _pair(padding + pad * jump for _, jump, padding, _, _, pad in axes),
    )


def _union(fields: list[ReceptiveField]) -> ReceptiveField | None:
    """Return the smallest window that holds all of them, or None where they do not move together."""
    if len({field.strides for field in fields}) > 1:
        return None
    starts = _pair(max(field.paddings[axis] for field in fields) for axis in (0, 1))
    ends = _pair(max(field.sizes[axis] - field.paddings[axis] for field in fields) for axis in (0, 1))
    return ReceptiveField((starts[0] + ends[0], starts[1] + ends[1]), fields[0].strides, starts)


def _pair(values: Any) -> Pair:
    height, width = values
    return height, width


def _one(values: Pair) -> int | Pair:
    return values[0] if values[0] == values[1] else values
