"""`trace`: any model or callable as a graph, without a single element computed."""

from __future__ import annotations

import gc
import random
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from archlab.errors import ShapeError, TraceError, UsageError
from archlab.ir import LARGEST, MODES, Graph, TensorSpec, is_floating
from archlab.ops import Input
from archlab.pytorch.assemble import assemble
from archlab.pytorch.eager import unwrapped
from archlab.pytorch.lines import steps_until
from archlab.pytorch.listening import listening
from archlab.pytorch.recorder import Recorder, is_small
from archlab.pytorch.rules import RULES
from archlab.pytorch.rules.own import check_names
from archlab.pytorch.spy import NAMES
from archlab.pytorch.walk import Walk

Heard = TypeVar("Heard", bound=Recorder)
"""A kind of recorder: one that hears more than steps, too."""

_ZEROS = "integer inputs given by shape hold zeros"


def trace(model: Callable[..., Any], *args: Any, mode: str = "inference", inputs: Any = None, **kwargs: Any) -> Graph:
    """Return the graph of what a model or callable computes for these inputs.

    Tensors may be real, meta or `TensorSpec`; only their shapes and types are looked at. The model is
    left as it was. Raises `TraceError` with the part that ran as `.partial` where the forward fails.
    """
    if inputs is not None:
        args, kwargs = inputs
    return recorded(Recorder, model, args, kwargs, mode)[0]


def recorded(
    kind: type[Heard], model: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], mode: str
) -> tuple[Graph, Heard]:
    """Return the graph as `trace` does, and the recorder of that kind which heard the calls.

    The step at a place of the recorder's events is the node at that place of the graph.
    """
    if mode not in MODES:
        raise UsageError(f"unknown mode {mode!r}; modes are {' and '.join(MODES)}")
    collecting = gc.isenabled()
    gc.disable()
    try:
        return _trace(kind, unwrapped(model), args, kwargs, mode)
    finally:  # what the trace alone needed is gone by now, and nothing to look through
        if collecting:
            gc.enable()


def _trace(
    kind: type[Heard], model: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], mode: str
) -> tuple[Graph, Heard]:
    module = model if isinstance(model, nn.Module) else None
    check_names(RULES)
    walk = Walk(module)
    label = type(model).__name__ if module is not None else getattr(model, "__name__", type(model).__name__)
    with _untouched(walk, mode):
        device = torch.device("cpu") if walk.first is None else walk.first.device
        recorder = kind(walk, device)
        recorder.watches_gradients = mode == "training"
        recorder.steps = steps_until(_trace.__code__)
        many = len(args) > 1
        args = tuple([_given(recorder, value, f"input{i}" if many else "input") for i, value in enumerate(args)])
        kwargs = {name: _given(recorder, value, name) for name, value in kwargs.items()}
        try:
            # In training a model's own `no_grad` must be seen as a change.
            with torch.set_grad_enabled(mode == "training"), listening(recorder, walk):
                outputs = model(*args, **kwargs)
            return assemble(recorder, label, outputs), recorder
        except Exception as error:
            name = recorder.failing(error) or type(model).__name__
            ran = assemble(recorder, label, None) if recorder.steps else None
            what = str(error) or type(error).__name__
            raise TraceError(f"{type(model).__name__}: the forward failed in {name}: {what}", ran) from error
        finally:
            recorder.close()


def _given(recorder: Recorder, value: Any, name: str) -> Any:
    """Return an argument with each tensor in it replaced by a traced input."""
    count = 0

    def stand_in(item: Any) -> Any:
        nonlocal count
        if not isinstance(item, (Tensor, TensorSpec)):
            return item
        spec = item if isinstance(item, TensorSpec) else TensorSpec(tuple(item.shape), NAMES[item.dtype])
        if spec.bytes > LARGEST:
            raise ShapeError(f"the input {name!r} is {spec}, more than any memory holds")
        label = name if not count else f"{name}_{count + 1}"
        count += 1
        whole = not is_floating(spec.dtype)
        made = recorder.record(label, Input(spec.shape, spec.dtype), (), {}, kept=True)
        if isinstance(item, Tensor) and whole and item.device.type != "meta":
            made.value = item.detach().cpu().clone()
        elif whole and is_small(spec):
            recorder.assume(made, torch.zeros(spec.shape, dtype=getattr(torch, spec.dtype)), _ZEROS)
        return made

    return tree_map(stand_in, value, is_leaf=lambda v: isinstance(v, TensorSpec))


@contextmanager
def _untouched(walk: Walk, mode: str) -> Iterator[None]:
    """Put the model and the random states back as they were: torch's, Python's, and numpy's where it is in use."""
    state, drawn = torch.random.get_rng_state(), random.getstate()
    numpy: Any = sys.modules.get("numpy.random")  # which numpy itself loads when somebody asks for it
    others = None if numpy is None else numpy.get_state()
    try:
        walk.train(mode == "training")
        yield
    finally:
        walk.restore()
        torch.random.set_rng_state(state)
        random.setstate(drawn)
        if others is not None:
            numpy.set_state(others)
