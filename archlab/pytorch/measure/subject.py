"""`Running`: a model with real elements on a device, its inputs, its profile, and the plan of its calls."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from archlab.errors import UsageError
from archlab.ir import Graph, is_floating
from archlab.profiles import Profile, profile_graph
from archlab.pytorch.counters import quiet
from archlab.pytorch.eager import unwrapped
from archlab.pytorch.measure import elements, room
from archlab.pytorch.measure.device import chosen
from archlab.pytorch.measure.plan import Plan, planned, planned_lowered
from archlab.pytorch.measure.settings import DTYPES, Settings
from archlab.pytorch.opinions.job import Job
from archlab.pytorch.opinions.subject import model_of


@dataclass
class Running:
    """What is run: `called` is the model, or what a compiler made of it; `eager` says that both are one."""

    name: str
    mode: str
    model: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    profile: Profile
    plan: Plan
    device: torch.device
    called: Any
    eager: bool
    batch: int | None

    def run(self) -> Any:
        """Run it once, as anyone would."""
        return self.called(*self.args, **self.kwargs)

    @property
    def dtype(self) -> str:
        """The floating type of its parameters, or of its inputs where it has none."""
        specs = [param.dtype for param in self.profile.graph.params.values() if not param.buffer]
        specs += [spec.dtype for spec in self.profile.input.values()]
        return next((dtype for dtype in specs if is_floating(dtype)), specs[0] if specs else "float32")


def running(job: Job, graph: Graph, settings: Settings, convention: str = "archlab") -> Running:
    """Return a job's model with real elements, on the device of the settings, ready to run.

    `graph` is the one that the job is of, or that a trace of its model gave. Raises `UsageError` for settings
    that do not fit it, `TraceError` where it cannot fit into memory, and as `trace` does.
    """
    name = graph.name
    if job.graph is not None:
        graph = elements.resized(job.graph, settings)
        profile = profile_graph(graph.named(name), job.mode, convention)
        room.check(profile, settings)
        model, args, kwargs = model_of(replace(job, graph=graph, args=tuple(graph.inputs.values())))
        return _prepared(model, args, kwargs, profile, planned_lowered(graph, job.mode), settings)
    room.check_weights(graph, settings)
    model, args, kwargs = model_of(job)
    return _traced(model, args, kwargs, job.mode, name, settings, convention, True)


def running_live(
    model: Any, args: Any, kwargs: Any, mode: str, name: str, settings: Settings, convention: str = "archlab"
) -> Running:
    """Return a copy of a model that someone made, with its own elements, on the device of the settings."""
    model = unwrapped(model)
    if isinstance(model, nn.Module):
        if any(tensor.is_meta for tensor in [*model.parameters(), *model.buffers()]):
            raise UsageError(f"{name}: its tensors are on the meta device and have no elements; build it on the CPU")
        model = copy.deepcopy(model)
    return _traced(model, args, kwargs, mode, name, settings, convention, False)


def _traced(
    model: Any, args: Any, kwargs: Any, mode: str, name: str, settings: Settings, convention: str, fill: bool
) -> Running:
    args, kwargs = elements.given(args, kwargs, settings)
    if isinstance(model, nn.Module):
        model.train(mode == "training")
        if settings.dtype is not None:
            model.to(getattr(torch, DTYPES[settings.dtype]))
    graph, plan = planned(model, args, kwargs, mode)
    profile = profile_graph(graph.named(name), mode, convention)
    room.check(profile, settings)
    if isinstance(model, nn.Module) and fill:
        elements.fill(model)
    return _prepared(model, args, kwargs, profile, plan, settings)


def _prepared(model: Any, args: Any, kwargs: Any, profile: Profile, plan: Plan, settings: Settings) -> Running:
    """Return a model in its mode, layout and place, with the tensors that it is called with."""
    device = chosen(settings.device)
    if isinstance(model, nn.Module):
        with quiet():  # the parameters of a scripted copy are no leaves, which torch remarks
            model.train(profile.mode == "training").to(device)
        if settings.channels_last:
            elements.laid_out(model)
    args, kwargs = elements.drawn(args, kwargs, device, settings.channels_last)
    called = torch.compile(model) if settings.compile else model
    batch = settings.batch or room.batch_of(profile.graph)
    mode, eager = profile.mode, not settings.compile
    return Running(profile.subject, mode, model, args, kwargs, profile, plan, device, called, eager, batch)
