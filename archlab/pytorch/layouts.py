"""How the outputs of a call lie in memory, and in whose: torch's own meta kernels say it, for the strides given."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from archlab.pytorch.meta import load_kernels
from archlab.pytorch.spy import DTYPES, TracedTensor, tensors_of, traced_tensor

Home = tuple[int, "tuple[int, ...] | None"]
"""The place among the tensors of the call of that in whose storage an output lies, -1 for a new one; its strides."""

LARGEST = 2**15
"""So many calls are remembered; then all are forgotten."""
LAYOUTS: dict[Any, list[Home] | None] = {}


def settled(r: Any, key: Any, func: Any, args: Any, kwargs: Any, made: Any) -> Any:
    """Return what a rule made, each tensor of it put where torch's own would lie.

    A call with a `key` lies as the one with that key before it. Where torch cannot say, tensors stay
    where the rule put them.
    """
    several = isinstance(made, (tuple, list))
    tensors = tensors_of(args, kwargs)
    flat = [item for item in (made if several else (made,)) if type(item) is TracedTensor]
    if not flat or (key is None and not _lies_apart([*flat, *tensors])):
        return made
    if key is None or key not in LAYOUTS:
        homes = _homes(r, func, args, kwargs, tensors, [item.spec.shape for item in flat])
        if key is not None:
            if len(LAYOUTS) >= LARGEST:
                LAYOUTS.clear()
            LAYOUTS[key] = homes
    else:
        homes = LAYOUTS[key]
    if homes is None:
        return made
    for item, (place, strides) in zip(flat, homes, strict=True):
        if any(item is tensor for tensor in tensors):  # handed through: it is the tensor itself, unless torch copies
            if place < 0 and not several:
                return _copy(r, item, strides)
            continue
        if place >= 0:
            twin = r.traced(tensors[place])
            root = twin.home
            if item.root is not root and item is not root:
                r.storages.share(item, root)
        elif item.root is not None:
            r.storages.part(item)
        item.strides = strides
    return made


def _lies_apart(tensors: list[Any]) -> bool:
    """Return whether any of these lies in another's storage, or not densely: torch need not be asked otherwise."""
    return any(type(t) is TracedTensor and (t.root is not None or t.strides is not None) for t in tensors)


def _copy(r: Any, tensor: TracedTensor, strides: Any) -> TracedTensor:
    """Return a tensor of the same elements with a storage of its own; the graph takes no notice of copies."""
    copy = traced_tensor(r, tensor.ref, tensor.spec)
    r.storages.born(copy, tensor.ref)
    copy.strides, copy.guessed = strides, tensor.guessed
    copy.value = tensor.value
    return copy


class _UnsureError(Exception):
    """An argument that may be code: it is not run twice."""


_PLAIN = (
    int,
    float,
    bool,
    str,
    complex,
    type(None),
    type(Ellipsis),
    slice,
    torch.dtype,
    torch.layout,
    torch.memory_format,
)


def _homes(r: Any, func: Any, args: Any, kwargs: Any, tensors: list[Any], shapes: list[Any]) -> list[Home] | None:
    """Return where the outputs of these shapes lie, None where torch cannot say."""
    blanks: dict[int, Tensor] = {}

    def blank(value: Any) -> Any:
        if isinstance(value, Tensor):
            if id(value) not in blanks:
                spec, strides = r.spec(value), getattr(value, "strides", None)
                dtype = DTYPES[spec.dtype]
                if strides is None:
                    blanks[id(value)] = torch.empty(spec.shape, dtype=dtype, device="meta")
                else:
                    blanks[id(value)] = torch.empty_strided(spec.shape, strides, dtype=dtype, device="meta")
            return blanks[id(value)]
        if type(value) in (list, tuple):
            return type(value)(blank(item) for item in value)
        if isinstance(value, torch.device):
            return torch.device("meta")
        if isinstance(value, _PLAIN):
            return value
        raise _UnsureError

    load_kernels()
    called = _attention if func is functional.scaled_dot_product_attention else func
    with torch._C.DisableTorchFunction():
        try:
            made = called(*[blank(a) for a in args], **{k: blank(v) for k, v in kwargs.items()})
        except Exception:  # whatever a kernel without elements cannot do
            return None
        flat = [item for item in (made if isinstance(made, (tuple, list)) else (made,)) if isinstance(item, Tensor)]
        if [tuple(item.shape) for item in flat] != list(shapes):
            return None
        places = {blanks[id(t)].untyped_storage()._cdata: i for i, t in enumerate(tensors) if id(t) in blanks}
        return [
            (
                places.get(item.untyped_storage()._cdata, -1),
                None if item.is_contiguous() else item.stride(),
            )
            for item in flat
        ]


def _attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Any = None, dropout_p: float = 0.0, *more: Any, **named: Any
) -> Tensor:
    """Return attention as the CPU's own kernel lays it out, like its queries; torch's meta kernel composes it."""
    tensors = (query, key, value)
    alike = query.shape[:2] == key.shape[:2] == value.shape[:2] and query.shape[-1] == value.shape[-1]
    rows = all(t.dim() == 4 and t.numel() and t.stride(-1) == 1 for t in tensors)
    if dropout_p == 0 and rows and alike:
        return torch.empty_like(query)
    return functional.scaled_dot_product_attention(query, key, value, attn_mask, dropout_p, *more, **named)
