"""The model and the inputs of a job, with real elements: other tools run what they count."""

from __future__ import annotations

import inspect
import pickle
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils._pytree import tree_map

from archlab.errors import UsageError
from archlab.ir import TensorSpec
from archlab.pytorch.lower import lower
from archlab.pytorch.models import BUILDERS, module_model, real_elements
from archlab.pytorch.opinions.job import Job

_FILL = 0.5
"""What every float of an input is: counts do not depend on it, and nothing needs to be drawn."""


class Subject(NamedTuple):
    """A model and what it is called with."""

    model: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def positional(self) -> tuple[Any, ...]:
        """Return the inputs by position, for tools that take no names; raise `UsageError` where that cannot be."""
        if not self.kwargs:
            return self.args
        names = [p.name for p in _parameters(self.model) if p.kind is p.POSITIONAL_OR_KEYWORD]
        given = dict(zip(names, self.args, strict=False)) | self.kwargs
        if list(given) != names[: len(given)]:
            raise UsageError(f"takes inputs by position alone, not {', '.join(self.kwargs)} by name")
        return tuple(given.values())

    def named(self) -> dict[str, Any]:
        """Return the inputs by name, for tools that take several so; raise `UsageError` where that cannot be."""
        names = [p.name for p in _parameters(self.model) if p.kind is p.POSITIONAL_OR_KEYWORD]
        if len(names) < len(self.args):
            raise UsageError("takes several inputs by name alone, and this model takes them by position")
        return dict(zip(names, self.args, strict=False)) | self.kwargs


def _parameters(model: nn.Module) -> list[inspect.Parameter]:
    return list(inspect.signature(model.forward).parameters.values())


def subject(job: Job) -> Subject:
    """Return a job's model, built anew on the CPU in the job's mode, and its inputs."""
    return called(*model_of(job), job.mode)


def model_of(job: Job) -> tuple[Any, Any, Any]:
    """Return a job's model with real elements, built anew on the CPU, and what it is called with as specs."""
    if job.graph is not None:
        with real_elements():
            model: Any = lower(job.graph)
        args = job.args or tuple(job.graph.inputs.values())
        kwargs = job.kwargs
    elif job.live:
        model, args, kwargs = pickle.loads(job.live), job.args, job.kwargs
    else:
        prefix, _, rest = job.source.partition(":")
        with real_elements():
            if prefix in BUILDERS:
                model, defaults = BUILDERS[prefix](rest, job.arguments)
            else:
                model, defaults = module_model(job.source, job.arguments)
        args, kwargs = job.args, job.kwargs
        if not args and not kwargs:
            args, kwargs = defaults
    return model, args, kwargs


def called(model: Any, args: Any, kwargs: Any, mode: str) -> Subject:
    """Return a model put into a mode, and its inputs with elements; raise `UsageError` for what is no module."""
    if not isinstance(model, nn.Module):
        raise UsageError(f"reads modules alone, not a {type(model).__name__}")
    model.train(mode == "training")
    return Subject(model, tree_map(filled, tuple(args)), tree_map(filled, dict(kwargs)))


def filled(spec: Any) -> Any:
    """Return a tensor of that shape and type, floats one half and integers zero; what is no spec as it is."""
    if not isinstance(spec, TensorSpec):
        return spec
    dtype = getattr(torch, spec.dtype)
    if dtype.is_floating_point or dtype.is_complex:
        return torch.full(spec.shape, _FILL).to(dtype)
    return torch.zeros(spec.shape, dtype=dtype)
