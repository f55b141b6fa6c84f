"""`trace`: any model or callable as a graph, without a single element computed."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from archlab.errors import TraceError, UsageError
from archlab.ir import MODES, Call, Graph, Node, Param, Source, TensorSpec, is_floating
from archlab.ops import Input
from archlab.pytorch.eager import eagerly, unwrapped
from archlab.pytorch.leaves import leaf
from archlab.pytorch.recorder import Called, Recorder, Step, is_small
from archlab.pytorch.rules import RULES
from archlab.pytorch.rules.own import check_names
from archlab.pytorch.spy import NAMES, TracedTensor
from archlab.pytorch.walk import Place, Walk

_active = threading.local()
_lock = threading.Lock()
_users = 0
_eager = ExitStack()


def trace(model: Callable[..., Any], *args: Any, mode: str = "inference", inputs: Any = None, **kwargs: Any) -> Graph:
    """Return the graph of what a model or callable computes for these inputs.

    Tensors may be real, meta or `TensorSpec`; only their shapes and types are looked at. The model is
    left as it was. Raises `TraceError` with the part that ran as `.partial` where the forward fails.
    """
    if inputs is not None:
        args, kwargs = inputs
    model = unwrapped(model)
    module = model if isinstance(model, nn.Module) else None
    check_names(RULES)
    walk = Walk(module)
    with _untouched(walk, mode):
        recorder = _recorder(walk)
        many = len(args) > 1
        args = tuple(_given(recorder, value, f"input{i}" if many else "input") for i, value in enumerate(args))
        kwargs = {name: _given(recorder, value, name) for name, value in kwargs.items()}
        try:
            with _listening(recorder, walk), torch.no_grad():
                outputs = model(*args, **kwargs)
        except Exception as error:
            inside = recorder.calls[recorder.inside].place.path if recorder.inside >= 0 else ""
            name = inside or type(model).__name__
            ran = _graph(recorder, model, walk, None) if recorder.steps else None
            what = str(error) or type(error).__name__
            raise TraceError(f"{type(model).__name__}: the forward failed in {name}: {what}", ran) from error
        return _graph(recorder, model, walk, outputs)


def _recorder(walk: Walk) -> Recorder:
    names = {id(tensor): key for key, tensor in (*walk.parameters.items(), *walk.buffers.items())}
    first = next(iter(walk.parameters.values()), None)
    device = torch.device("cpu") if first is None else first.device
    shapes = {key: tuple(tensor.shape) for key, tensor in walk.parameters.items()}
    return Recorder(names, frozenset(walk.buffers), shapes, device)


def _given(recorder: Recorder, value: Any, name: str) -> Any:
    """Return an argument with each tensor in it replaced by a traced input."""
    count = 0

    def stand_in(item: Any) -> Any:
        nonlocal count
        if not isinstance(item, (Tensor, TensorSpec)):
            return item
        spec = item if isinstance(item, TensorSpec) else TensorSpec(tuple(item.shape), NAMES[item.dtype])
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
def _listening(recorder: Recorder, walk: Walk) -> Iterator[None]:
    """Run with the recorder as the torch function mode and with module calls known by path.

    Each module gets a call of its own, in the place where torch keeps a compiled one: nothing that
    other models share is touched.
    """
    global _users  # noqa: PLW0603
    outer = getattr(_active, "recorder", None)
    _active.recorder = recorder
    with _lock:
        if not _users:
            _eager.enter_context(eagerly(lambda: getattr(_active, "recorder", None) is not None))
        _users += 1
    walk.listen(lambda module, place: partial(_call, recorder, module, place))
    try:
        with recorder:
            yield
    finally:
        _active.recorder = outer
        with _lock:
            _users -= 1
            if not _users:
                _eager.close()


def _call(recorder: Recorder, module: nn.Module, place: Place, *args: Any, **kwargs: Any) -> Any:
    run: Any = module._call_impl
    if getattr(_active, "recorder", None) is not recorder:  # another thread runs the same model
        return run(*args, **kwargs)
    outer = recorder.inside
    called = Called(place, outer, _specs(recorder, (*args, *kwargs.values())))
    recorder.inside = len(recorder.calls)
    recorder.calls.append(called)
    short = leaf(module, args, kwargs)
    recorder.outermost = ""
    made = run(*args, **kwargs) if short is None else short(recorder, module, args[0])
    called.outputs = _specs(recorder, (made,))
    recorder.inside = outer  # a failing module stays inside, so that the error can name it, unless it is caught
    return made


def _specs(recorder: Recorder, values: Any) -> tuple[TensorSpec, ...]:
    """Return the shapes and types of the tensors in some values, nested ones too, in order."""
    found: list[TensorSpec] = []
    for value in values:
        if type(value) is TracedTensor:
            found.append(value.spec)
        elif isinstance(value, Tensor):
            found.append(recorder.spec(value))
        elif isinstance(value, (list, tuple)):
            found.extend(_specs(recorder, value))
        elif isinstance(value, Mapping):
            found.extend(_specs(recorder, value.values()))
    return tuple(found)


@contextmanager
def _untouched(walk: Walk, mode: str) -> Iterator[None]:
    """Put the model, the random state and the collector back as they were."""
    if mode not in MODES:
        raise UsageError(f"unknown mode {mode!r}; modes are {' and '.join(MODES)}")
    collecting = gc.isenabled()
    gc.disable()
    state = torch.random.get_rng_state()
    try:
        walk.train(mode == "training")
        yield
    finally:
        walk.restore()
        torch.random.set_rng_state(state)
        if collecting:
            gc.enable()


def _graph(recorder: Recorder, model: Any, walk: Walk, outputs: Any) -> Graph:
    """Return the steps as a graph; without `outputs` (a partial trace) it returns what was made last."""
    names, steps = _names(recorder), recorder.steps
    refs: list[tuple[int, int]] = []

    def collect(item: Any) -> Any:
        if isinstance(item, Tensor) and (type(item) is TracedTensor or id(item) in recorder._leaves):
            refs.append(recorder.traced(item).ref)
        return item

    if recorder.read_guesses:
        steps = steps.copy()
        for i in recorder.read_guesses:
            op: Any = steps[i].op
            steps[i] = steps[i]._replace(op=replace(op, taken=recorder.assumptions[i]))
    if outputs is None:
        refs = [(len(steps) - 1, 0)]
    else:
        tree_map(collect, outputs)
    called = recorder.calls
    nodes = tuple(
        Node(
            name, step.op, tuple([(names[i], o) for i, o in step.inputs]), step.weights, False, _source(called, step)
        )
        for name, step in zip(names, steps, strict=True)
    )
    params = {key: Param(tuple(t.shape), NAMES[t.dtype], t.requires_grad) for key, t in walk.parameters.items()}
    params.update({key: Param(tuple(t.shape), NAMES[t.dtype], False, True) for key, t in walk.buffers.items()})
    kept = tuple((names[i], o) for i, o in dict.fromkeys(refs))
    label = type(model).__name__ if walk.root is not None else getattr(model, "__name__", type(model).__name__)
    specs = {name: step.outputs for name, step in zip(names, steps, strict=True)}
    return Graph.assembled(label, nodes, kept, params, specs, "traced", _calls(called))


def _source(called: list[Called], step: Step) -> Source:
    place = called[step.call].place if step.call >= 0 else None
    path, kind = (place.path, place.kind) if place is not None else ("", "")
    return Source(path, kind, step.call, step.outermost)


def _calls(called: list[Called]) -> tuple[Call, ...]:
    times: dict[str, int] = {}
    calls = []
    for call in called:
        path, kind, parameters, leaf = call.place
        times[path] = number = times.get(path, -1) + 1
        inputs, outputs = (tuple([(s.shape, s.dtype) for s in specs]) for specs in (call.inputs, call.outputs))
        calls.append(Call(path, kind, call.parent, number, inputs, outputs, parameters, leaf))
    return tuple(calls)


_ZEROS = "integer inputs given by shape hold zeros"


def _names(recorder: Recorder) -> list[str]:
    """Return a name for each step: the module's path, with the function where it runs several, #k from the second."""
    several: set[str] = set()
    previous: dict[str, int] = {}
    modules = [recorder.calls[step.call].place.path if step.call >= 0 else "" for step in recorder.steps]
    for i, module in enumerate(modules):
        before = previous.get(module)
        if before is not None and _function_differs(recorder, before, i):
            several.add(module)
        previous[module] = i
    seen: dict[str, int] = {}
    names = []
    for module, step in zip(modules, recorder.steps, strict=True):
        base = module.replace(".", "/")
        if not base or module in several:
            base = f"{base}/{step.function}" if base else step.function.replace(".", "/")
        seen[base] = times = seen.get(base, 0) + 1
        names.append(base if times == 1 else f"{base}#{times}")
    return names


def _function_differs(recorder: Recorder, a: int, b: int) -> bool:
    return recorder.steps[a].function != recorder.steps[b].function or b == a + 1
