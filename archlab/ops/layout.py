"""Ops that arrange tensors and compute nothing: inputs, concatenation, reshapes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import Any

from archlab.dims import equal, product, require, require_integer
from archlab.ir import Op, Shape, TensorSpec, promoted


@dataclass(frozen=True)
class Input(Op):
    """A tensor that the caller gives."""

    shape: Any
    dtype: str = "float32"

    arity = 0
    is_input = True
    rule = "given by the caller, nothing is computed"

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", TensorSpec(self.shape, self.dtype).shape)

    @property
    def is_view(self) -> bool:
        """It computes nothing."""
        return True

    def infer(self) -> TensorSpec:
        """The given shape."""
        return TensorSpec(self.shape, self.dtype)


@dataclass(frozen=True)
class Concat(Op):
    """Tensors joined along one dimension."""

    dim: int = 1

    arity = None
    rule = "a copy, nothing is computed"

    def infer(self, *inputs: TensorSpec) -> TensorSpec:
        """All dimensions but `dim` must agree; that one adds up."""
        first, rank = inputs[0], len(inputs[0].shape)
        require(-rank <= self.dim < rank, "dimension {} does not exist in {}", self.dim, first.shape)
        axis = self.dim % rank
        for other in inputs[1:]:
            require(len(other.shape) == rank, "cannot join {} and {}: ranks differ", first.shape, other.shape)
            for i in range(rank):
                agree = True if i == axis else equal(first.shape[i], other.shape[i])
                require(agree, "cannot join {} and {}: dimension {} differs", first.shape, other.shape, i)
        total = sum(x.shape[axis] for x in inputs)
        dtype = reduce(promoted, (x.dtype for x in inputs))
        return TensorSpec((*first.shape[:axis], total, *first.shape[axis + 1 :]), dtype)

    def to_torch(self, nn: Any, *inputs: TensorSpec) -> Any:
        """Our module around `torch.cat`."""
        return nn.Concat(self.dim)


class _View(Op):
    """An op whose output is its input's storage."""

    rule = "a view, nothing is computed or moved"

    @property
    def is_view(self) -> bool:
        """Always."""
        return True


@dataclass(frozen=True)
class Flatten(_View):
    """Dimensions `start_dim` to `end_dim` made one."""

    start_dim: int = 1
    end_dim: int = -1

    def infer(self, x: TensorSpec) -> TensorSpec:
        """(N, C, H, W) -> (N, C·H·W) by default."""
        rank = max(len(x.shape), 1)
        for dim in (self.start_dim, self.end_dim):
            require(-rank <= dim < rank, "dimension {} does not exist in {}", dim, x.shape)
        start, end = self.start_dim % rank, self.end_dim % rank
        require(start <= end, "start_dim {} lies behind end_dim {} in {}", self.start_dim, self.end_dim, x.shape)
        joined = product(x.shape[start : end + 1])
        return x.reshaped((*x.shape[:start], joined, *x.shape[end + 1 :]))

    def to_torch(self, nn: Any, x: TensorSpec) -> Any:
        """`torch.nn.Flatten`."""
        return nn.Flatten(self.start_dim, self.end_dim)


@dataclass(frozen=True)
class Reshape(_View):
    """Another shape for the same elements.

    Each entry is a number, ``-1`` for what remains (once), or ``"=i"`` for the input's dimension i,
    so that a reshape of ``("=0", -1)`` stays right when the input is resized.
    """

    shape: Any

    def __post_init__(self) -> None:
        entries = tuple(self.shape) if isinstance(self.shape, (tuple, list)) else (self.shape,)
        sizes: list[Any] = []
        for entry in entries:
            if isinstance(entry, str):
                # Three digits say more dimensions than a tensor can have.
                copies = entry[:1] == "=" and entry[1:].isdecimal() and len(entry) <= 4
                require(copies, "a reshape entry is a number or '=i', got {!r}", entry)
                sizes.append(entry)
            else:
                sizes.append(require_integer(entry, "a reshape entry", -1))
        open_ends = sum(type(size) is int and size == -1 for size in sizes)
        require(open_ends <= 1, "only one -1 is possible in {}", tuple(sizes))
        object.__setattr__(self, "shape", tuple(sizes))

    def target(self, x: TensorSpec) -> Shape:
        """Return the shape with its ``"=i"`` entries filled in; -1 stays."""
        for entry in self.shape:
            known = not isinstance(entry, str) or int(entry[1:]) < len(x.shape)
            require(known, "{!r} copies a dimension that {} does not have", entry, x.shape)
        return tuple(x.shape[int(entry[1:])] if isinstance(entry, str) else entry for entry in self.shape)

    def infer(self, x: TensorSpec) -> TensorSpec:
        """The target shape; the number of elements must stay."""
        shape = self.target(x)
        known = product(d for d in shape if type(d) is not int or d != -1)
        if len(shape) == len([d for d in shape if type(d) is not int or d != -1]):
            require(equal(known, x.numel), "cannot make {} elements of {} into {}", x.numel, x.shape, shape)
            return x.reshaped(shape)
        require(known >= 1, "the -1 in {} is not determined for {}", shape, x.shape)
        require(equal(x.numel % known, 0), "cannot make {} elements of {} into {}", x.numel, x.shape, shape)
        return x.reshaped(tuple(x.numel // known if type(d) is int and d == -1 else d for d in shape))

    def to_torch(self, nn: Any, x: TensorSpec) -> Any:
        """Our module around `torch.reshape`."""
        return nn.Reshape(self.shape)
