"""Rules of grouped products: the experts' own matrices, of which a choice that data makes reads some."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from archlab.pytorch.rules import products


def assumptions(r: Any) -> dict[int, str]:
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


def _grouped_mm(r: Any, a: Any, b: Any, offs: Any = None, *args: Any, **kwargs: Any) -> Any:
    """Which matrices are read rests on where the groups end, the products do not."""
    if isinstance(offs, Tensor):
        twin = r.traced(offs)
        if twin.value is None or twin.guessed:
            r.read_choices.add(twin.ref[0])
            r.notes += 1
    return products.RULES["grouped_mm"](r, a, b, offs, *args, **kwargs)


RULES: dict[str, Callable[..., Any]] = {"grouped_mm": _grouped_mm, "_grouped_mm": _grouped_mm}
