"""`Running`: a model with real elements on a device, its inputs, its profile, and the plan of its calls."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from archlab.errors import UsageError
from archlab.ir import Graph, TensorSpec, is_floating
from archlab.profiles import Profile, profile_graph
from archlab.pytorch.eager import unwrapped
from archlab.pytorch.measure.device import chosen
from archlab.pytorch.measure.plan import Plan, planned, planned_lowered
from archlab.pytorch.opinions.job import Job
from archlab.pytorch.opinions.subject import filled, model_of

SEED = 0
"""What inputs and weights are drawn from, so that each run computes the same."""
DTYPES = {
    "fp32": "float32", "float32": "float32", "bf16": "bfloat16", "bfloat16": "bfloat16",
    "fp16": "float16", "float16": "float16", "half": "float16", "fp64": "float64", "float64": "float64",
}  # fmt: skip
"""The floating types that a model can be put into, by the names people give them."""
SECONDS = 10.0
"""How long each subject is repeated at most, by default."""


@dataclass(frozen=True)
class Settings:
    """How something is measured: on which device, in which type and layout, compiled or as written, for how long.

    `batch` replaces the first dimension of every input, `dtype` the floating type of parameters and inputs;
    None leaves them. `seconds` is how long each subject is repeated at most.
    """

    device: str = "cpu"
    batch: int | None = None
    dtype: str | None = None
    channels_last: bool = False
    compile: bool = False
    threads: int | None = None
    seconds: float = SECONDS

    def __post_init__(self) -> None:
        chosen(self.device)
        if self.dtype is not None and self.dtype not in DTYPES:
            raise UsageError(f"--dtype {self.dtype}: no floating type (known: {', '.join(DTYPES)})")
        for name, value in (("batch", self.batch), ("threads", self.threads)):
            if value is not None and value < 1:
                raise UsageError(f"--{name} must be at least 1, got {value}")
        if not self.seconds > 0:
            raise UsageError(f"--seconds must be above 0, got {self.seconds:g}")


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


def running(job: Job, name: str, settings: Settings, convention: str = "archlab") -> Running:
    """Return a job's model with real elements, on the device of the settings, ready to run.

    A graph is lowered. Raises `UsageError` for settings that do not fit it, and as `trace` does.
    """
    device = chosen(settings.device)
    if job.graph is not None:
        graph = _resized(job.graph, settings)
        job = replace(job, graph=graph, args=tuple(graph.inputs.values()))
        model, args, kwargs = model_of(job)
    else:
        model, args, kwargs = model_of(job)
        args, kwargs = _with_batch(args, kwargs, settings.batch)
    return prepared(model, args, kwargs, job.mode, name, settings, device, job.graph, convention)


def running_live(
    model: Any, args: Any, kwargs: Any, mode: str, name: str, settings: Settings, convention: str = "archlab"
) -> Running:
    """Return a copy of a model that someone made, on the device of the settings, ready to run."""
    device = chosen(settings.device)
    model = copy.deepcopy(unwrapped(model)) if isinstance(model, nn.Module) else model
    args, kwargs = _with_batch(args, kwargs, settings.batch)
    return prepared(model, args, kwargs, mode, name, settings, device, None, convention)


def prepared(
    model: Any,
    args: Any,
    kwargs: Any,
    mode: str,
    name: str,
    settings: Settings,
    device: torch.device,
    graph: Graph | None,
    convention: str,
) -> Running:
    """Return a model put into its mode, type, layout and place, with what it is called with."""
    dtype = getattr(torch, DTYPES[settings.dtype]) if settings.dtype is not None else None
    generator = torch.Generator().manual_seed(SEED)
    args, kwargs = tree_map(lambda item: _drawn(item, generator), (tuple(args), dict(kwargs)))

    def moved(item: Any) -> Any:
        if not isinstance(item, Tensor):
            return item
        item = item.to(device, dtype if item.is_floating_point() else None)
        layout = _LAYOUTS.get(item.dim()) if settings.channels_last else None
        return item if layout is None else item.contiguous(memory_format=layout)

    args, kwargs = tree_map(moved, (args, kwargs))
    if isinstance(model, nn.Module):
        model.train(mode == "training")
        model.to(device, dtype)
        _fill(model, generator)
        if settings.channels_last:
            for tensor in [*model.parameters(), *model.buffers()]:
                if (layout := _LAYOUTS.get(tensor.dim())) is not None:
                    tensor.data = tensor.data.contiguous(memory_format=layout)
    if graph is not None:
        plan = planned_lowered(graph, mode)
    else:
        graph, plan = planned(model, args, kwargs, mode)
    found = profile_graph(graph.named(name), mode, convention)
    called = torch.compile(model) if settings.compile else model
    shapes = {spec.shape[0] for spec in found.input.values() if spec.shape}
    batch = settings.batch or (shapes.pop() if len(shapes) == 1 else None)
    return Running(name, mode, model, args, kwargs, found, plan, device, called, not settings.compile, batch)


_LAYOUTS = {4: torch.channels_last, 5: torch.channels_last_3d}


def _resized(graph: Graph, settings: Settings) -> Graph:
    """Return a graph for the batch and the floating type of the settings."""
    given = dict(graph.inputs)
    if settings.batch is not None:
        _check_batch(list(given.values()), settings.batch)
        given = {name: TensorSpec((settings.batch, *spec.shape[1:]), spec.dtype) for name, spec in given.items()}
    if settings.dtype is not None:
        dtype = DTYPES[settings.dtype]
        given = {n: TensorSpec(s.shape, dtype) if is_floating(s.dtype) else s for n, s in given.items()}
    return graph if given == dict(graph.inputs) else graph.with_inputs(given)


def _with_batch(args: Any, kwargs: Any, batch: int | None) -> tuple[tuple[Any, ...], dict[str, Any]]:
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


def _fill(model: nn.Module, generator: torch.Generator) -> None:
    """Give every float parameter elements that keep the size of what runs through a network.

    Zeros would be faster on some hardware and numbers that shrink from layer to layer slower on other:
    a matrix is drawn with the variance of 2 over its inputs, a scale is one, and all else stays.
    """
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
