"""`Listening`: notes a mark before and after each call of a model that runs, and tells which unit it was."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from archlab.measurements import Shared
from archlab.pytorch.measure.plan import OUTSIDE, Key, Plan, Unit
from archlab.pytorch.rules import plan_of

_CALL = "_compiled_call_impl"
"""Where a module keeps what calls it in place of its own forward."""


class Heard(NamedTuple):
    """A call that ran: the module call it belongs to, the torch function ("" for the whole call), two marks.

    `inner` is how many calls were heard before it began; those since then ran within it.
    """

    call: Key
    function: str
    start: Any
    end: Any
    inner: int


class Listening(TorchFunctionMode):
    """Runs a model and notes what was heard, in order of the calls' ends.

    `mark` gives a moment: of time, or of any count that grows. Modules measured as a whole run with nobody
    listening, so that torch runs them by the kernel that it takes for them elsewhere.
    """

    def __init__(self, model: Any, plan: Plan, mark: Callable[[], Any]) -> None:
        super().__init__()
        self._model, self._plan, self._mark = model, plan, mark
        modules = model.named_modules() if isinstance(model, nn.Module) else ()
        self._calls = [(m.__dict__, partial(self._call, m, path)) for path, m in modules if _CALL in _slots(m)]
        self._inside: Key = OUTSIDE
        self._numbers: dict[str, int] = {}
        self._within = False
        self.heard: list[Heard] = []
        self.now: tuple[Key, str] = (OUTSIDE, "")

    def run(self, args: Any, kwargs: Any) -> tuple[list[Heard], Any]:
        """Run the model once; return what was heard, and what it returned."""
        self.heard, self._numbers, self._inside, self._within = [], {}, OUTSIDE, False
        self.now = (OUTSIDE, "")
        for held, call in self._calls:
            held[_CALL] = call
        try:
            with self:
                made = self._model(*args, **kwargs)
        finally:
            for held, _ in self._calls:
                del held[_CALL]
        return self.heard, made

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        plan = plan_of(func)
        if plan.plain or self._within:
            return func(*args, **(kwargs or {}))
        call = self._inside
        self.now = (call, plan.name)
        inner = len(self.heard)
        start = self._mark()
        made = func(*args, **(kwargs or {}))
        self.heard.append(Heard(call, plan.name, start, self._mark(), inner))
        return made

    def _call(self, module: Any, path: str, *args: Any, **kwargs: Any) -> Any:
        if self._within:
            return module._call_impl(*args, **kwargs)
        number = self._numbers.get(path, 0)
        self._numbers[path] = number + 1
        key = (path, number)
        if key in self._plan.whole:
            return self._call_whole(module, key, args, kwargs)
        outer, self._inside, inner = self._inside, key, len(self.heard)
        timed = key in self._plan.rest
        start = self._mark() if timed else None
        try:
            made = module._call_impl(*args, **kwargs)
        finally:  # a model may go on after an error of a part of it
            self._inside = outer
        if timed:
            self.heard.append(Heard(key, "", start, self._mark(), inner))
        return made

    def _call_whole(self, module: Any, key: Key, args: Any, kwargs: Any) -> Any:
        self._within, self.now, inner = True, (key, ""), len(self.heard)
        mode = torch._C._pop_torch_function_stack()
        try:
            start = self._mark()
            made = module._call_impl(*args, **kwargs)
            end = self._mark()
        finally:
            torch._C._push_on_torch_function_stack(mode)
            self._within = False
        self.heard.append(Heard(key, "", start, end, inner))
        return made

    def failed(self) -> str:
        """Return the name of the node that ran when an error was raised, or the path of its module."""
        key, function = self.now
        whole = self._plan.whole.get(key)
        if whole is not None:
            return whole.nodes[0]
        for unit in self._plan.functions.get(key, ()):
            if unit.function == function and unit.nodes:
                return unit.nodes[0]
        return key[0].replace(".", "/") or "the model itself"


def _slots(module: nn.Module) -> tuple[str, ...]:
    """Return where a module can be called through: nowhere if it has been compiled in place."""
    return () if module.__dict__.get(_CALL) is not None else (_CALL,)


class Alignment(NamedTuple):
    """Which calls that were heard are which units; `unplaced` are nodes of units that did not run."""

    units: tuple[tuple[Unit, tuple[int, ...]], ...]
    shared: tuple[Shared, ...]
    unplaced: tuple[str, ...]

    def totals(self, heard: Sequence[Heard], between: Callable[[Any, Any], Any]) -> list[Any]:
        """Return for each unit the sum over its calls of what lies between their marks.

        Of a call that is measured for the rest of what it does, what was heard within it is taken off.
        """
        spans = [between(each.start, each.end) for each in heard]
        own = list(spans)
        for place, each in enumerate(heard):
            if each.function or each.inner == place:
                continue
            # Ends come in order: all since `inner` ran within, and what ran within those is in their spans.
            inside, at = 0, place - 1
            while at >= each.inner:
                inside += spans[at]
                at = heard[at].inner - 1 if not heard[at].function else at - 1
            own[place] = spans[place] - inside
        return [sum(own[place] for place in places) for _, places in self.units]


def aligned(plan: Plan, heard: Sequence[Heard], macs: Callable[[str], int]) -> Alignment:
    """Return which calls that were heard are which units of a plan; `macs` tells who carries what is shared.

    In one module call the first of a torch function is the first that was traced, and so on. One that did not
    run at all leaves its nodes without a place; those of one that ran another number of times than it was
    traced share what all of its runs took: which of them was whose would be a guess.
    """
    by_call: dict[Key, list[int]] = {}
    whole: dict[Key, int] = {}
    for place, each in enumerate(heard):
        if each.function:
            by_call.setdefault(each.call, []).append(place)
        else:
            whole[each.call] = place
    units: list[tuple[Unit, tuple[int, ...]]] = []
    lost: list[str] = []
    for key, unit in [*plan.whole.items(), *plan.rest.items()]:
        if key in whole:
            units.append((unit, (whole[key],)))
        else:
            lost += unit.nodes
    for key, expected in plan.functions.items():
        by_name: dict[str, list[int]] = {}
        for place in by_call.get(key, []):
            by_name.setdefault(heard[place].function, []).append(place)
        for name, found in _by_name(expected).items():
            ran = by_name.get(name, [])
            nodes = tuple(node for unit in found for node in unit.nodes)
            if len(ran) == len(found):
                units += [(unit, (place,)) for unit, place in zip(found, ran, strict=True) if unit.nodes]
            elif not ran:
                lost += nodes
            elif nodes:
                what = f"{found[0].what} in {key[0] or 'the model'}, which ran {len(ran)} times, traced {len(found)}"
                units.append((Unit(key, name, nodes, what), tuple(ran)))
    shared = []
    for unit, _ in units:
        if len(unit.nodes) > 1:
            shared.append(Shared(unit.what, max(unit.nodes, key=macs), unit.nodes))
    return Alignment(tuple(units), tuple(shared), tuple(lost))


def _by_name(units: Sequence[Unit]) -> dict[str, list[Unit]]:
    found: dict[str, list[Unit]] = {}
    for unit in units:
        found.setdefault(unit.function, []).append(unit)
    return found


def same(one: Sequence[Heard], other: Sequence[Heard]) -> bool:
    """Return whether two runs heard the same calls in the same order."""
    return len(one) == len(other) and all(a[:2] == b[:2] for a, b in zip(one, other, strict=True))
