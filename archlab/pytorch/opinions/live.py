"""A module that someone made, written down so that another process can make it again: all but its large tensors."""

from __future__ import annotations

import copy
import io
import pickle
import warnings
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from archlab.ir import TensorSpec
from archlab.opinions import Opinion
from archlab.pytorch.opinions.counting import counted, described
from archlab.pytorch.opinions.job import Job
from archlab.pytorch.opinions.runner import FORWARD, SECONDS, Told, counter_version, opinions
from archlab.pytorch.opinions.subject import called

LARGEST = 2**16
"""A tensor of floats with more elements than this travels as zeros; integers steer what a model does, and travel."""


def ask_live(
    model: Any,
    inputs: tuple[Any, Any],
    mode: str,
    counters: Iterable[str],
    seconds: float = SECONDS,
    told: Told | None = None,
) -> tuple[Opinion, ...]:
    """Return what counters say of a module that someone made, called with (args, kwargs).

    The module goes to other processes. Where one could not find its class, as in a notebook, the
    counters that leave a process as it was run here on a copy, and the others are not run.
    """
    args, kwargs = tree_map(_spec, inputs)
    if not isinstance(model, nn.Module):
        return tuple(_not_run(name, f"reads modules alone, not a {type(model).__name__}") for name in counters)
    try:
        job = Job(live=packed(model), args=tuple(args), kwargs=kwargs, mode=mode)
    except Exception as error:
        why = f"another process cannot make this model ({described(error)}); name it as file.py:callable"

        def here(name: str) -> Opinion:
            if name not in HARMLESS:
                return _not_run(name, why)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = counted(name, lambda: called(copy.deepcopy(model), args, kwargs, mode))
            return Opinion.from_dict({**found, "version": counter_version(name)})

        return tuple(map(here, counters))
    return opinions(job, counters, seconds, told=told)


HARMLESS = (FORWARD, "torch", "fvcore")
"""What may run in this process, on a copy: counters that replace nothing, keep nothing and print nothing."""


def _not_run(counter: str, why: str) -> Opinion:
    return Opinion(counter, status="not run", error=why)


def _spec(item: Any) -> Any:
    if not isinstance(item, Tensor):
        return item
    if item.device.type != "meta" and not (item.dtype.is_floating_point or item.dtype.is_complex):
        return item.detach().cpu()
    return TensorSpec(tuple(item.shape), str(item.dtype).removeprefix("torch."))


def packed(model: nn.Module) -> bytes:
    """Return a module as bytes; raise whatever pickle raises where a part of it cannot be found by name."""
    file = io.BytesIO()
    _Packer(file).dump(model)
    return file.getvalue()


class _Packer(pickle.Pickler):
    """Writes tensors as their shape and type, with their elements only where those may decide what runs."""

    def reducer_override(self, item: Any) -> Any:
        if getattr(item, "__module__", None) == "__main__" and hasattr(item, "__qualname__"):
            raise pickle.PicklingError(f"{item.__qualname__} is one of __main__, which no other process has")
        if type(item) not in (Tensor, nn.Parameter) or item.layout != torch.strided or item.is_quantized:
            return NotImplemented
        learned = type(item) is nn.Parameter
        whole = not (item.dtype.is_floating_point or item.dtype.is_complex)
        travels = item.device.type != "meta" and not learned and (whole or item.numel() <= LARGEST)
        elements = _bytes(item) if travels else None
        return _made, (tuple(item.shape), item.dtype, item.requires_grad, learned, elements)


def _bytes(tensor: Tensor) -> bytes:
    flat = tensor.detach().cpu().contiguous().flatten()
    return bytes(flat.view(torch.uint8).numpy()) if flat.numel() else b""


def _made(
    shape: tuple[int, ...], dtype: torch.dtype, gradient: bool, learned: bool, elements: bytes | None
) -> Tensor:
    if elements:
        tensor = torch.frombuffer(bytearray(elements), dtype=dtype).reshape(shape)
    else:
        tensor = torch.zeros(shape, dtype=dtype)
    return nn.Parameter(tensor, requires_grad=gradient) if learned else tensor.requires_grad_(gradient)
