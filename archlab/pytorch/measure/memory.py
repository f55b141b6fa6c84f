"""What memory a real run takes: storages alive between operations, and what the allocator gave out at most.

Both come from one record of allocations, so nothing that is measured changes what runs: a mode that watches
every operation would keep autograd from adding gradients up in place.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from archlab.analyses.memory import MeasuredMemory
from archlab.pytorch import modules
from archlab.pytorch.measure.device import chosen

_CALL = "archlab call: "
_NODE = "autograd::engine::evaluate_function: "


class _Moment(NamedTuple):
    """Something that changes or shows what is alive, and which operation was `running`.

    It is an allocation at a `place` (negative bytes: it was let go), or a call that `returned`. `made` tells
    whether an operation made it; what comes from outside of any is a number that Python wraps.
    """

    time: int
    bytes: int = 0
    place: int = 0
    made: bool = True
    running: str = ""
    returned: str = ""


def measured_memory(model: Callable[..., Any], *inputs: Any, training: bool = False, **kwargs: Any) -> MeasuredMemory:
    """Return the memory of one run of a model on the device of its inputs; the model is left as it was.

    In inference it runs without gradients. In training it runs forward and backward, from the sum of each
    output that needs a gradient; the outputs and their sums are held to the end. Parameters, buffers and
    whatever else was there before are not counted, inputs are.
    """
    given = [t for t in tree_leaves((inputs, kwargs)) if isinstance(t, Tensor)]
    device = given[0].device if given else torch.device("cpu")
    held = sum({t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in given}.values())

    def run(watch: Any) -> Any:
        with torch.set_grad_enabled(training):
            with watch, _whole(model) if isinstance(watch, _Calls) else nullcontext():
                outputs = model(*inputs, **kwargs)
                found = [t for t in tree_leaves(outputs) if isinstance(t, Tensor) and t.requires_grad]
                sums = [t.sum() for t in found]
            if training and sums:
                torch.autograd.backward(sums)
        return outputs, sums

    if device.type != "cpu":  # libraries take memory at their first call that they keep
        with _untouched(model, training):
            run(nullcontext())
    with _untouched(model, training):
        calls = _moments(lambda: run(_Calls()), device)
    live, at = _highest(calls, between=True)
    with _untouched(model, training):
        plain = calls if training else _moments(lambda: run(nullcontext()), device)
    peak, within = _highest(plain, between=False)
    return MeasuredMemory(live + held, at, peak + held, within, str(device), training, _own(calls))


def placed(model: nn.Module, args: Any, kwargs: Any, device: str) -> tuple[nn.Module, Any, Any]:
    """Return a model and its inputs on a device; raise `UsageError`, with what there is, for one that is missing."""
    place = chosen(device)

    def move(item: Any) -> Any:
        return item.to(place) if isinstance(item, Tensor) else item

    args, kwargs = tree_map(move, (tuple(args), dict(kwargs)))
    return model.to(place), args, kwargs


class _Calls(TorchFunctionMode):
    """Marks each torch call of a model in the record, whatever it is composed of."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with torch.profiler.record_function(_CALL + getattr(func, "__name__", str(func))):
            return func(*args, **(kwargs or {}))


@contextmanager
def _whole(model: Any) -> Iterator[None]:
    """Mark each call of a module of ours that pads, since in a graph that is one operation."""
    ours = (
        [m for m in model.modules() if type(m).__module__ == modules.__name__] if isinstance(model, nn.Module) else []
    )
    marks: list[Any] = []

    def enter(module: nn.Module, given: Any) -> None:
        marks.append(torch.profiler.record_function(_CALL + type(module).__name__))
        with torch._C.DisableTorchFunction():
            marks[-1].__enter__()

    def leave(module: nn.Module, given: Any, made: Any) -> None:
        with torch._C.DisableTorchFunction():
            marks.pop().__exit__(None, None, None)

    hooks = [hook for m in ours for hook in (m.register_forward_pre_hook(enter), m.register_forward_hook(leave))]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _moments(run: Callable[[], Any], device: torch.device) -> list[_Moment]:
    """Run once and return what happened to the memory of a device, in order."""
    from torch.profiler import ProfilerActivity, profile

    os.environ.setdefault("KINETO_LOG_LEVEL", "9")  # it announces itself on standard error otherwise
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        made = run()
    del made
    profiler: Any = record.profiler
    found: list[_Moment] = []
    for event in profiler.kineto_results.experimental_event_tree():
        found.extend(_walk(event, "", False, device.type))
    return _paired(sorted(found, key=lambda moment: moment.time))


def _walk(event: Any, running: str, inside: bool, device: str) -> Iterator[_Moment]:
    """Yield the moments of an event of the record; `running` is the operation or the autograd node it is in.

    An autograd node is two events, of which the outer one also adds gradients up; the operations that it
    calls return to it as those of a model do to Python. `inside` tells whether an operation is running.
    """
    kind, extra = event.typed
    if str(kind).endswith("Allocation"):
        if extra.device.type == device:
            yield _Moment(event.start_time_ns, extra.alloc_size, extra.ptr, inside, running)
        return
    name: str = event.name
    within = running.startswith(_NODE)
    node = name.startswith(_NODE) or (within and name == running.removeprefix(_NODE))
    outermost = not running or within
    below = running if within and node else name if outermost else running
    for child in event.children:
        yield from _walk(child, below, inside or not (node or name.startswith(_CALL)), device)
    if outermost and not node:
        yield _Moment(event.end_time_ns, running=below, returned=name.removeprefix(_CALL))


def _paired(moments: Iterable[_Moment]) -> list[_Moment]:
    """Return the moments without those that let go of what was there before, each pair `made` by the same."""
    kept = []
    alive: dict[int, bool] = {}
    for moment in moments:
        if moment.bytes > 0:
            alive[moment.place] = moment.made
        if moment.bytes >= 0:
            kept.append(moment)
        elif moment.place in alive:
            kept.append(moment._replace(made=alive.pop(moment.place)))
    return kept


def _highest(moments: Iterable[_Moment], between: bool) -> tuple[int, str]:
    """Return the most bytes that were out, and where: as a call returned (`between`), or at any time."""
    now, most, place = 0, 0, ""
    for moment in moments:
        if moment.made or not between:
            now += moment.bytes
        if now > most and (moment.returned if between else moment.bytes):
            most, place = now, moment.returned or moment.running
    return most, place.removeprefix(_CALL).removeprefix(_NODE)


def _own(moments: Iterable[_Moment]) -> tuple[tuple[str, int], ...]:
    """Return what each kind of call took for itself at most, beyond what it found and what it left."""
    most: dict[str, int] = {}
    now, start, high = 0, -1, 0
    for moment in moments:
        if moment.running and not moment.running.startswith(_NODE) and start < 0:
            start = high = now
        now += moment.bytes
        high = max(high, now)
        if moment.returned:
            if start >= 0 and high > max(start, now):
                most[moment.returned] = max(most.get(moment.returned, 0), high - max(start, now))
            start = -1
    return tuple(sorted(most.items(), key=lambda item: -item[1]))


@contextmanager
def _untouched(model: Any, training: bool) -> Iterator[None]:
    """Put a model into a mode for a run, and back: flags, buffers, gradients and the random state."""
    if not isinstance(model, nn.Module):
        yield
        return
    modes = [(module, module.training) for module in model.modules()]
    kept = [(buffer, buffer.detach().clone()) for buffer in model.buffers()] if training else []
    grads = [(parameter, parameter.grad) for parameter in model.parameters()]
    state = torch.random.get_rng_state()
    try:
        for parameter, _ in grads:
            parameter.grad = None
        model.train(training)
        yield
    finally:
        for module, mode in modes:
            module.training = mode
        with torch.no_grad():
            for buffer, value in kept:
                buffer.copy_(value)
        for parameter, grad in grads:
            parameter.grad = grad
        torch.random.set_rng_state(state)
