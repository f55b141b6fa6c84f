"""What a model is measured with: inputs for a batch, and numbers in them and in its weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from archlab.errors import UsageError
from archlab.ir import Graph, TensorSpec, is_floating
from archlab.pytorch.measure.settings import DTYPES, Settings
from archlab.pytorch.opinions.subject import filled

Inputs = tuple[tuple[Any, ...], dict[str, Any]]
"""What a model is called with, by position and by name."""
SEED = 0
"""What inputs and weights are drawn from, so that each run computes the same."""
_LAYOUTS = {4: torch.channels_last, 5: torch.channels_last_3d}


def resized(graph: Graph, settings: Settings) -> Graph:
    """Return a graph for the batch and the floating type of the settings."""
    given = dict(graph.inputs)
    if settings.batch is not None:
        _check_batch(list(given.values()), settings.batch)
        given = {name: TensorSpec((settings.batch, *spec.shape[1:]), spec.dtype) for name, spec in given.items()}
    if settings.dtype is not None:
        dtype = DTYPES[settings.dtype]
        given = {n: TensorSpec(s.shape, dtype) if is_floating(s.dtype) else s for n, s in given.items()}
    return graph if given == dict(graph.inputs) else graph.with_inputs(given)


def given(args: Any, kwargs: Any, settings: Settings) -> Inputs:
    """Return the inputs of a model for the batch and the floating type of the settings, specs as specs."""
    args, kwargs = _with_batch(args, kwargs, settings.batch)
    if settings.dtype is None:
        return args, kwargs
    dtype = DTYPES[settings.dtype]

    def typed(item: Any) -> Any:
        if isinstance(item, TensorSpec):
            return TensorSpec(item.shape, dtype) if is_floating(item.dtype) else item
        return item.to(getattr(torch, dtype)) if isinstance(item, Tensor) and item.is_floating_point() else item

    args, kwargs = tree_map(typed, (args, kwargs))
    return args, kwargs


def drawn(args: Any, kwargs: Any, device: torch.device, channels_last: bool) -> Inputs:
    """Return inputs as tensors on a device: floats of specs drawn once and for all, integers zero."""
    generator = torch.Generator().manual_seed(SEED)

    def made(item: Any) -> Any:
        if not isinstance(item, (Tensor, TensorSpec)):
            return item
        tensor: Tensor = _drawn(item, generator).to(device)
        layout = _LAYOUTS.get(tensor.dim()) if channels_last else None
        return tensor if layout is None else tensor.contiguous(memory_format=layout)

    args, kwargs = tree_map(made, (tuple(args), dict(kwargs)))
    return args, kwargs


def laid_out(model: nn.Module) -> None:
    """Keep the parameters and buffers of images with their channels last."""
    for tensor in [*model.parameters(), *model.buffers()]:
        if (layout := _LAYOUTS.get(tensor.dim())) is not None:
            tensor.data = tensor.data.contiguous(memory_format=layout)


def _with_batch(args: Any, kwargs: Any, batch: int | None) -> Inputs:
    """Return the inputs of a model for another batch: of a detector, that many images."""
    if batch is None:
        return tuple(args), dict(kwargs)
    if len(args) == 1 and isinstance(args[0], list) and not kwargs:
        return (args[0][:1] * batch,), {}
    leaves = [item for item in tree_leaves((args, kwargs)) if isinstance(item, (Tensor, TensorSpec))]
    _check_batch(leaves, batch)

    def resized(item: Any) -> Any:
        if isinstance(item, TensorSpec):
            return TensorSpec((batch, *item.shape[1:]), item.dtype)
        if not isinstance(item, Tensor):
            return item
        return item[:1].expand(batch, *item.shape[1:])

    args, kwargs = tree_map(resized, (tuple(args), dict(kwargs)))
    return args, kwargs


def _check_batch(tensors: list[Any], batch: int) -> None:
    first = {item.shape[0] if len(item.shape) else None for item in tensors}
    if len(first) != 1 or None in first:
        shapes = ", ".join("x".join(map(str, item.shape)) for item in tensors)
        raise UsageError(f"--batch {batch}: the inputs ({shapes}) have no first dimension in common; give --input")


def _drawn(item: Any, generator: torch.Generator) -> Any:
    """Return a tensor for a spec: floats drawn once and for all, integers zero, which is within every range."""
    made = filled(item)
    if isinstance(item, TensorSpec) and made.is_floating_point() and made.numel():
        made = torch.empty(item.shape).normal_(generator=generator).to(made.dtype)
    return made


def fill(model: nn.Module) -> None:
    """Give every float parameter elements that keep the size of what runs through a network.

    Zeros would be faster on some hardware and numbers that shrink from layer to layer slower on other:
    a matrix is drawn with the variance of 2 over its inputs, a scale is one, and all else stays.
    """
    generator = torch.Generator().manual_seed(SEED)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if not parameter.is_floating_point() or not parameter.numel():
                continue
            if parameter.dim() > 1:
                width = max(parameter.numel() // parameter.shape[0], 1)
                drawn = torch.empty(min(parameter.numel(), _DRAWN)).normal_(
                    0, (2 / width) ** 0.5, generator=generator
                )
                times = -(-parameter.numel() // drawn.numel())
                flat = drawn.to(parameter.device, parameter.dtype).repeat(times)[: parameter.numel()]
                parameter.copy_(flat.view(parameter.shape))
            elif key.endswith("weight") and not bool(parameter.any()):
                parameter.fill_(1)


_DRAWN = 2**20
"""How many different numbers one parameter has at most; a larger one repeats them."""
