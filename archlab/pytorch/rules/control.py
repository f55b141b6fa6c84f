"""Rules of what depends on elements: branches that torch keeps as one call, and shapes that values decide."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from archlab.ir import TensorSpec
from archlab.ops.general import Layout
from archlab.pytorch.rules import elements
from archlab.pytorch.rules.assumed import EVERYWHERE, all_hold, one_value
from archlab.pytorch.spy import NAMES, TracedTensor


def _known(r: Any, value: Any) -> bool:
    """Return a condition, which must be known: nothing is assumed of it."""
    if not isinstance(value, Tensor):
        return bool(value)
    twin: TracedTensor = r.traced(value)
    value = r.elements(twin)
    if value is None:
        raise r.unknown("a condition whose elements are not known")
    return bool(value)


def _cond(r: Any, pred: Any, true_fn: Any, false_fn: Any, operands: Any = ()) -> Any:
    if isinstance(pred, Tensor) and r.elements(twin := r.traced(pred)) is None:
        r.rest(twin, EVERYWHERE)
        chosen = true_fn
    else:
        chosen = true_fn if _known(r, pred) else false_fn
    with r:
        return chosen(*operands)


def _while_loop(r: Any, cond_fn: Any, body_fn: Any, carried: Any, additional: Any = (), **_: Any) -> Any:
    carried = tuple(carried)
    with r:
        while _known(r, cond_fn(*carried, *additional)):
            made = body_fn(*carried, *additional)
            carried = tuple(made) if isinstance(made, (tuple, list)) else (made,)
    return carried


def _valued(name: str, func: Callable[..., Any]) -> Callable[..., Any]:
    """Answer a call whose output's shape its elements decide, where they are known."""

    def rule(r: Any, *args: Any, **kwargs: Any) -> Any:
        given = (*args, *(v for v in kwargs.values() if isinstance(v, Tensor)))
        kwargs = {k: v for k, v in kwargs.items() if not isinstance(v, Tensor)}
        twins: list[Any] = [r.traced(a) if isinstance(a, Tensor) else a for a in given]
        tensors: list[Any] = [t for t in twins if isinstance(t, Tensor)]
        deciding = tensors[-1:] if name in _BY_LAST else tensors
        if any(r.elements(t) is None for t in deciding):
            if r.spec(deciding[-1]).dtype == "bool" and name in ("nonzero", "masked_select"):
                return all_hold(r, name, func is torch.where or bool(kwargs.get("as_tuple")), tensors)
            if func is torch.unique and not any(args[2:]) and not any(v for k, v in kwargs.items() if k != "sorted"):
                return one_value(r, tensors[0])
            raise r.unknown(f"elements that a trace does not have: they decide the shape of {name}")
        with torch._C.DisableTorchFunction():
            real = [_elements(t) if isinstance(t, Tensor) else t for t in twins]
            values = func(*real, **kwargs)
        known = all(t.value is not None for t in tensors)
        several = isinstance(values, (tuple, list))
        made = [_made(r, name, tensors, value, known) for value in (values if several else [values])]
        for one in made:
            one.guessed = frozenset().union(*[t.guessed for t in tensors])
        return tuple(made) if several else made[0]

    return rule


def _elements(twin: Any) -> Tensor:
    """Return its elements; of one whose elements do not matter here, zeros."""
    known: Tensor | None = twin.value
    return torch.zeros(twin.spec.shape) if known is None else known


_BY_LAST = ("masked_select", "repeat_interleave")
"""Only their last tensor, a mask or counts, decides the shape."""


def _made(r: Any, name: str, tensors: Any, value: Tensor, known: bool) -> Any:
    dtype = NAMES[value.dtype] if known else r.spec(tensors[0]).dtype
    spec = TensorSpec(tuple(value.shape), dtype)
    op = Layout(name, (spec.shape,), tuple(r.spec(t).shape for t in tensors), spec.dtype, False)
    return r.record(name, op, tensors, outputs=(spec,), value=value if known else None)


def _where(r: Any, condition: Any, *args: Any, **kwargs: Any) -> Any:
    if not args and not kwargs:
        return _valued("nonzero", torch.where)(r, condition)
    return elements.RULES["where"](r, condition, *args, **kwargs)


def _repeat_interleave(r: Any, input: Any, repeats: Any = None, dim: Any = None, **kwargs: Any) -> Any:
    if isinstance(repeats, Tensor) and r.spec(repeats).shape:
        return _valued("repeat_interleave", torch.repeat_interleave)(r, input, repeats, dim)
    from archlab.pytorch.rules.layout import arranged

    given = (input,) if repeats is None else (input, repeats)
    return arranged(r, "repeat_interleave", torch.repeat_interleave, given, {**kwargs, "dim": dim}, False)


def _is_left_aligned(r: Any, input: Any, mask: Any) -> bool:
    """Whether an encoder may leave padding out: never, so that masked positions count as in training."""
    return False


RULES: dict[str, Callable[..., Any]] = {
    "_nested_tensor_from_mask_left_aligned": _is_left_aligned,
    "bincount": _valued("bincount", torch.bincount),
    "cond": _cond,
    "while_loop": _while_loop,
    "where": _where,
    "repeat_interleave": _repeat_interleave,
    "nonzero": _valued("nonzero", torch.nonzero),
    "argwhere": _valued("nonzero", torch.argwhere),
    "masked_select": _valued("masked_select", torch.masked_select),
    "unique": _valued("unique", torch.unique),
    "_unique2": _valued("unique", torch._unique2),
    "unique_consecutive": _valued("unique", torch.unique_consecutive),
}
