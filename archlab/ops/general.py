"""Ops that traces are made of beside the layers: functions of elements, reductions, embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from archlab.dims import equal, minimum, require, require_integer
from archlab.errors import nearest
from archlab.formula import Formula
from archlab.ir import ITEM_BYTES, Op, Shape, TensorSpec
from archlab.ops.elements import counts_of
from archlab.ops.functions import ELEMENTWISE, LIKE_FIRST, PER_CHANNEL, REDUCTIONS
from archlab.ops.literal import Counted, Custom, Kept, Layout, Unknown
from archlab.ops.pointwise import broadcast


def _require_function(name: str, known: Mapping[str, Any], dtype: str) -> None:
    require(name in known, "{!r} is none of the functions of `ops.functions`{}", name, _hint(name, known))
    require(dtype == "" or dtype in ITEM_BYTES, "unknown dtype {!r}", dtype)


def _hint(name: str, known: Mapping[str, Any]) -> str:
    return "" if name in known else nearest(name, known)


@dataclass(frozen=True)
class Elementwise(Op):
    """A function of the elements at one place of some tensors, broadcast to one shape.

    `function` is torch's name; `dtype` is the output's where it is not the first input's.
    """

    function: str
    dtype: str = ""

    arity = None
    rule = "so many operations per output element as `ops.functions` says"

    def __post_init__(self) -> None:
        _require_function(self.function, ELEMENTWISE, self.dtype)

    def infer(self, *inputs: TensorSpec) -> TensorSpec:
        """The broadcast shape, but for what `ops.functions` lists."""
        shape = inputs[0].shape
        for other in inputs[1:] if self.function not in LIKE_FIRST else ():
            shape = broadcast(shape, _per_channel(other, shape) if self.function in PER_CHANNEL else other.shape)
        return TensorSpec(shape, self.dtype or inputs[0].dtype)

    def arithmetic(self, outputs: tuple[TensorSpec, ...], *inputs: TensorSpec) -> Mapping[str, Formula]:
        """See `rule`."""
        return counts_of(outputs[0], ELEMENTWISE[self.function])


def _per_channel(weight: TensorSpec, shape: Shape) -> Shape:
    """Return the shape of one number, or of one a channel, as it lies along the channels (dimension 1)."""
    require(len(weight.shape) <= 1, "needs one number a channel, got {}", weight.shape)
    return (*weight.shape, *(1,) * (len(shape) - 2)) if len(shape) >= 2 else ()


@dataclass(frozen=True)
class Reduce(Op):
    """A function over some dimensions of a tensor (all of them if `dims` is None).

    With two `results` it says where the values were found, too. `dtype` is the values' where it is
    not the input's.
    """

    function: str
    dims: Any = None
    keepdim: bool = False
    dtype: str = ""
    results: int = 1

    rule = "so many operations per input and per output element as `ops.functions` says"

    def __post_init__(self) -> None:
        _require_function(self.function, REDUCTIONS, self.dtype)
        require(self.results in (1, 2), "a reduction has 1 or 2 results, got {}", self.results)
        if self.dims is not None:
            dims = tuple(self.dims) if isinstance(self.dims, (tuple, list)) else (self.dims,)
            whole = all(type(dim) is int for dim in dims)
            require(whole, "dims are integers, got {}", dims)
            object.__setattr__(self, "dims", dims)

    def infer(self, x: TensorSpec) -> tuple[TensorSpec, ...]:
        """The shape without the reduced dimensions, or with 1 in their place."""
        rank = len(x.shape)
        for dim in self.dims or ():
            require(-max(rank, 1) <= dim < max(rank, 1), "dimension {} does not exist in {}", dim, x.shape)
        gone = {dim % max(rank, 1) for dim in (range(rank) if self.dims is None else self.dims)}
        once = self.dims is None or len(gone) == len(self.dims)
        require(once, "a dimension of {} is reduced twice by {}", x.shape, self.dims)
        shape = tuple(1 if i in gone else d for i, d in enumerate(x.shape) if self.keepdim or i not in gone)
        value = TensorSpec(shape, self.dtype or x.dtype)
        return (value, TensorSpec(shape, "int64"))[: self.results]

    def arithmetic(self, outputs: tuple[TensorSpec, ...], x: TensorSpec) -> Mapping[str, Formula]:
        """See `rule`."""
        inner, outer = REDUCTIONS[self.function]
        counts = counts_of(x, inner, "in")
        for kind, formula in counts_of(outputs[0], outer).items():
            counts[kind] = counts[kind] + formula if kind in counts else formula
        return counts


@dataclass(frozen=True)
class Embedding(Op):
    """Rows of a table of `dtype`, one for each index."""

    rows: int
    width: int
    dtype: str = "float32"

    rule = "a gather: nothing is computed, the rows touched are read"

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", require_integer(self.rows, "rows", 0))
        object.__setattr__(self, "width", require_integer(self.width, "width", 0))
        require(self.dtype in ITEM_BYTES, "unknown dtype {!r}", self.dtype)

    def infer(self, indices: TensorSpec) -> TensorSpec:
        """(*) -> (*, width)."""
        require(indices.dtype in ("int64", "int32"), "indices are int64 or int32, not {}", indices.dtype)
        found = (self.rows >= 1) | equal(indices.numel, 0)
        require(found, "a table without rows has none for {} indices", indices.numel)
        return TensorSpec((*indices.shape, self.width), self.dtype)

    def weights(self, indices: TensorSpec) -> Mapping[str, Shape]:
        """The table (rows, width)."""
        return {"weight": (self.rows, self.width)}

    def fetched(self, role: str | int, spec: TensorSpec, *inputs: TensorSpec) -> TensorSpec:
        """One row for each index, and each row once at most."""
        return TensorSpec((minimum(inputs[0].numel, self.rows), self.width), spec.dtype)

    def to_torch(self, nn: Any, indices: TensorSpec) -> Any:
        """`torch.nn.Embedding`."""
        return nn.Embedding(self.rows, self.width)


__all__ = ["Counted", "Custom", "Elementwise", "Embedding", "Kept", "Layout", "Reduce", "Unknown"]
