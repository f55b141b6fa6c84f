"""What several rules share: where weights are kept, and ops that are written down literally."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from archlab.ir import TensorSpec
from archlab.ops.general import Counted, Layout


class NotCoveredError(Exception):
    """A rule does not hold for these arguments; torch's own decomposition does."""


def keep(r: Any, **tensors: Any) -> tuple[dict[str, str], list[Any], tuple[str, ...]]:
    """Return the keys of the parameters among weights, and the rest as inputs with their roles."""
    keys, computed, roles = {}, [], []
    for role, tensor in tensors.items():
        if tensor is None:
            continue
        key = r.parameter_key(tensor)
        if key is None:
            computed.append(tensor)
            roles.append(role)
        else:
            keys[role] = key
    return keys, computed, tuple(roles)


def counted(r: Any, name: str, tensors: Any, specs: tuple[TensorSpec, ...], each: Any, whole: Any = ()) -> Any:
    """Record a call by its operations per element of its first output, and in all."""
    given = [t for t in tensors if isinstance(t, Tensor)]
    saw = tuple(r.spec(t).shape for t in given)
    dtype = "" if specs[0].dtype == r.spec(given[0]).dtype else specs[0].dtype
    op = Counted(name, tuple(s.shape for s in specs), saw, tuple(each), dtype, tuple(whole))
    return r.record(name, op, given, outputs=specs)


def arranged(r: Any, name: str, tensor: Any, shape: tuple[int, ...]) -> Any:
    """Record a view of another shape."""
    spec = r.spec(tensor)
    op = Layout(name, (shape,), (spec.shape,), "", True)
    return r.record(name, op, [tensor], outputs=(spec.reshaped(shape),))


def as_tuple(value: Any) -> Any:
    """Return a list or a size as the tuple that ops keep."""
    return tuple(value) if isinstance(value, (list, torch.Size)) else value
