"""Rules of what keeps gradients from flowing: `no_grad` and `detach`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from archlab.ir import is_floating
from archlab.ops.general import Layout
from archlab.pytorch.spy import TracedTensor


def detached_steps(r: Any) -> set[int]:
    """Return the steps that a model ran under `torch.no_grad`, as far as a trace in training knows."""
    ends = [*r.switches, len(r.steps)]
    return {step for start, end in zip(ends[0::2], ends[1::2], strict=False) for step in range(start, end)}


def _set_grad_enabled(r: Any, enabled: bool) -> None:
    """Note the step from which on gradients are off, and the one from which on they are on again.

    Where torch has them off on its own account nothing changes: in inference, and inside of an
    `autograd.Function`, whose forward runs without them although it has a backward.
    """
    if torch.is_grad_enabled() is not enabled and r.watches_gradients:
        off = len(r.switches) % 2 == 1
        if enabled and not off:
            r.turned_on += 1
        elif not enabled and r.turned_on:
            r.turned_on -= 1
        else:
            r.switches.append(len(r.steps))
    with torch._C.DisableTorchFunction():
        torch._C._set_grad_enabled(enabled)


def _detach(r: Any, input: Any, *_: Any) -> Any:
    """A view that no gradient flows through; what is not floating has none anyway."""
    spec = r.spec(input)
    if not is_floating(spec.dtype):
        return input
    return r.record("detach", Layout("detach", (spec.shape,), (spec.shape,), "", True), [input], outputs=(spec,))


def _data(r: Any, input: Any) -> Any:
    """`x.data` is detached; that of a model's own tensor is read and written as the tensor itself."""
    return _detach(r, input) if type(input) is TracedTensor else input


RULES: dict[str, Callable[..., Any]] = {
    "_set_grad_enabled": _set_grad_enabled,
    "detach": _detach,
    "get data": _data,
}
