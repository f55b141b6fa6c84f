"""What a recorder wrote down as a graph: names for its steps, and the calls and sources that explain them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_map

from archlab.ir import Call, Graph, Node, Source
from archlab.pytorch.lines import lines_of
from archlab.pytorch.recorder import Recorder, Step
from archlab.pytorch.rules.gradients import detached_steps
from archlab.pytorch.spy import TracedTensor


def assemble(recorder: Recorder, label: str, outputs: Any) -> Graph:
    """Return the steps as a graph; without `outputs` (a partial trace) it returns what was made last."""
    steps, calls = recorder.steps, recorder.calls
    refs: list[tuple[int, int]] = []

    def collect(item: Any) -> Any:
        if isinstance(item, Tensor) and (type(item) is TracedTensor or recorder.leaf(item) is not None):
            refs.append(recorder.traced(item).ref)
        return item

    if outputs is None:
        refs = [(len(steps) - 1, 0)]
    elif type(outputs) is TracedTensor:
        refs = [outputs.ref]
    else:
        tree_map(collect, outputs)
    names = _names(steps, [call[0].path for call in calls])
    sources = _Sources(names, steps, calls)
    detached, assumed = detached_steps(recorder), _assumptions(recorder)
    nodes, specs = [], {}
    for i, (name, step) in enumerate(zip(names, steps, strict=True)):
        _, _, _, op, inputs, weights, made = step
        read = tuple([(names[i], o) for i, o in inputs])
        nodes.append(Node.assembled(name, op, read, weights, sources, i in detached, assumed.get(i, "")))
        specs[name] = made
    returned = tuple([(names[i], o) for i, o in dict.fromkeys(refs)])
    storages = recorder.storages
    storages.close()
    late = {
        "calls": lambda: _calls(calls),
        "storages": lambda: storages.listed(lambda place: (names[place[0]], place[1])),
    }
    return Graph.assembled(label, tuple(nodes), returned, dict(recorder.params), specs, "traced", late)


def _assumptions(r: Recorder) -> dict[int, str]:
    """Return what is assumed of each step whose elements control flow, a shape or a grouped product rests on."""
    found = {step: r.assumptions[step] for step in r.read_guesses}
    todo, seen = list(r.read_choices), set(r.read_choices)
    while todo:
        step = todo.pop()
        if step in r.assumptions:
            found[step] = r.assumptions[step]
            continue
        for before, _ in r.steps[step].inputs:
            if before not in seen:
                seen.add(before)
                todo.append(before)
    return found


class _Sources:
    """Where each node came from, made when one is asked for."""

    def __init__(self, names: list[str], steps: list[Step], calls: list[Any]) -> None:
        self._parts = names, steps, calls
        self._made: dict[str, Source] = {}

    def __call__(self, name: str) -> Source:
        if not self._made:
            names, steps, calls = self._parts
            parts = zip(names, steps, lines_of(steps), strict=True)
            self._made = {name: _source(calls, step, *line) for name, step, line in parts}
        return self._made[name]


def _source(calls: list[Any], step: Step, file: str, line: int) -> Source:
    if step.call < 0:
        return Source(function=step.outermost, file=file, line=line)
    place = calls[step.call][0]
    return Source(place.path, place.kind, step.call, step.outermost, file, line)


def _calls(called: list[Any]) -> tuple[Call, ...]:
    times: dict[str, int] = {}
    calls = []
    for place, parent, given, returned in called:
        times[place.path] = number = times.get(place.path, -1) + 1
        inputs, outputs = (tuple([(s.shape, s.dtype) for s in specs]) for specs in (given, returned))
        own = place.parameters
        calls.append(Call(place.path, place.kind, parent, number, inputs, outputs, own, place.leaf, place.places))
    return tuple(calls)


def _names(steps: Sequence[Step], paths: list[str]) -> list[str]:
    """Return a name for each step: the module's path, with the function where it runs several, #k from the second."""
    several: set[str] = set()
    previous: dict[str, tuple[int, str]] = {}
    paths = [*[path.replace(".", "/") for path in paths], ""]  # the last for steps outside of any call
    modules = [paths[step[0]] for step in steps]
    for i, (module, step) in enumerate(zip(modules, steps, strict=True)):
        before, function = previous.get(module), step[1]
        if before is not None and (before[1] != function or before[0] == i - 1):
            several.add(module)
        previous[module] = i, function
    seen: dict[str, int] = {}
    names = []
    for module, step in zip(modules, steps, strict=True):
        base = module or step.function.replace(".", "/")
        if module in several:
            base = f"{module}/{step.function}" if module else base
        seen[base] = times = seen.get(base, 0) + 1
        names.append(base if times == 1 else f"{base}#{times}")
    return names
