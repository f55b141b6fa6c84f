"""`Plan`: which call of a model runs which nodes of its graph, found by tracing the model that is measured.

A unit is what can be told from everything else while a model runs: one torch function that a module calls,
or a module's call as a whole. The trace and the run hear the same calls in the same order, so a unit of the
run is a unit of the trace.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import nn

from archlab.ir import Call, Graph, Node
from archlab.pytorch.leaves import LEAVES
from archlab.pytorch.recorder import Recorder
from archlab.pytorch.rules import plan_of
from archlab.pytorch.trace import recorded

Key = tuple[str, int]
"""A module call: the path of the module, and which of its calls it is, from 0."""
OUTSIDE: Key = ("", -1)
"""Where a torch function is called outside of any module."""


class Unit(NamedTuple):
    """What is measured as one: the call it belongs to, the torch function ("" for the whole call), its nodes."""

    call: Key
    function: str
    nodes: tuple[str, ...]
    what: str


@dataclass
class Plan:
    """The units of a model: calls that are `whole` ones, and the functions of each other call in order.

    A function may have no nodes, such as a dropout in inference: it is heard when it runs all the same.
    `rest` has the nodes of calls that no function of theirs was heard to run, such as scripted code.
    """

    whole: dict[Key, Unit] = field(default_factory=dict)
    functions: dict[Key, list[Unit]] = field(default_factory=dict)
    rest: dict[Key, Unit] = field(default_factory=dict)

    @property
    def nodes(self) -> set[str]:
        """The nodes of all units."""
        units = [*self.whole.values(), *self.rest.values(), *(u for found in self.functions.values() for u in found)]
        return {name for unit in units for name in unit.nodes}


class Event(NamedTuple):
    """A torch function that was heard while a model was traced: its call, its name, and the steps that it wrote."""

    call: int
    name: str
    what: str
    first: int
    last: int


class Listener(Recorder):
    """A recorder that remembers which torch functions were called, and which steps each wrote."""

    def __init__(self, walk: Any, device: Any) -> None:
        super().__init__(walk, device)
        self.events: list[Event] = []

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        call, first = self.inside, len(self.steps)
        made = super().__torch_function__(func, types, args, kwargs)
        plan = plan_of(func)
        if not plan.plain:
            self.events.append(Event(call, plan.name, plan.qualified, first, len(self.steps)))
        return made


def planned(
    model: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], mode: str, fused: bool = True
) -> tuple[Graph, Plan]:
    """Return the graph of a model, and the plan of its calls.

    `fused` says that modules which torch may run by one kernel of their own are to be measured as such.
    Raises as `trace` does.
    """
    graph, heard = recorded(Listener, model, args, kwargs, mode)
    return graph, _plan(graph, heard, fused and mode == "inference")


def planned_lowered(graph: Graph, mode: str) -> Plan:
    """Return the plan of a lowered graph: each node is one call of the module that has its name."""
    plan = Plan()
    for node in graph.in_mode(mode).nodes:
        if runs(node):
            key = (node.name.replace("/", "."), 0)
            plan.whole[key] = Unit(key, "", (node.name,), type(node.op).__name__)
    return plan


def runs(node: Node) -> bool:
    """Return whether a node is something that runs, rather than an input, a parameter or a constant."""
    return not node.op.is_input and not node.op.is_kept


def _plan(graph: Graph, heard: Listener, fused: bool) -> Plan:
    plan = Plan()
    keys = [(call.path, call.number) for call in graph.calls]
    wholes = _wholes(graph.calls, fused)
    claimed: set[int] = set()
    for event in heard.events:
        if event.call >= 0 and wholes[event.call] >= 0:
            continue
        key = keys[event.call] if event.call >= 0 else OUTSIDE
        nodes = [i for i in range(event.first, event.last) if i not in claimed and runs(graph.nodes[i])]
        claimed.update(nodes)
        names = tuple(graph.nodes[i].name for i in nodes)
        plan.functions.setdefault(key, []).append(Unit(key, event.name, names, event.what))
    whole: dict[int, list[str]] = {}
    rest: dict[int, list[str]] = {}
    for i, (node, step) in enumerate(zip(graph.nodes, heard.steps, strict=True)):
        if i not in claimed and runs(node):
            top = wholes[step.call] if step.call >= 0 else -1
            (rest.setdefault(step.call, []) if top < 0 else whole.setdefault(top, [])).append(node.name)
    for place, names_of in whole.items():
        plan.whole[keys[place]] = Unit(keys[place], "", tuple(names_of), graph.calls[place].class_name)
    for place, names_of in rest.items():
        key = keys[place] if place >= 0 else OUTSIDE
        what = graph.calls[place].class_name if place >= 0 else "the model"
        plan.rest[key] = Unit(key, "", tuple(names_of), what)
    return plan


def _wholes(calls: tuple[Call, ...], fused: bool) -> list[int]:
    """Return for each call the outermost one around it that is measured as a whole, -1 for none."""
    kinds = _PLAIN | _FUSED if fused else _PLAIN
    found: list[int] = []
    for place, call in enumerate(calls):
        above = found[call.parent] if call.parent >= 0 else -1
        found.append(above if above >= 0 else place if call.kind in kinds else -1)
    return found


def _kinds(*classes: type) -> frozenset[str]:
    return frozenset(f"{cls.__module__}.{cls.__qualname__}" for cls in classes)


_PLAIN = _kinds(*LEAVES)
"""Modules whose forward is one function: their call is measured, with what little Python is in it."""
_FUSED = _kinds(nn.MultiheadAttention, nn.TransformerEncoderLayer)
"""Modules that torch runs by one kernel in inference, but for as long as somebody listens to its functions."""
