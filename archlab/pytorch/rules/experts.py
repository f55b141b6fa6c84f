"""Rules of routing: which experts the tokens go to depends on scores, so that an even load is assumed."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import torch
from torch import Tensor

from archlab.ir import is_floating
from archlab.pytorch.recipes import NOTING
from archlab.pytorch.recorder import EVEN_LOAD
from archlab.pytorch.rules import control, elements, layout, products
from archlab.pytorch.rules.common import counted

MOST_EXPERTS = 1024
"""Who chooses among more, such as among the words of a vocabulary, chooses no expert."""
MOST_CHOICES = 2**18
"""How many choices are laid out for real; a flow that reads the elements of more fails, as any that is unknown."""


def assumptions(r: Any) -> dict[int, str]:
    """Return what is assumed of each step that chooses experts and whose choice control flow has read."""
    found: dict[int, str] = {}
    todo, seen = list(r.read_choices), set(r.read_choices)
    while todo:
        step = todo.pop()
        if step in r.choices:
            found[step] = r.choices[step]
            continue
        for before, _ in r.steps[step].inputs:
            if before not in seen:
                seen.add(before)
                todo.append(before)
    return found


def _choose(r: Any, chosen: Any, scores: Any, k: int, dim: int) -> None:
    """Let each row choose the next k of all, so that all are chosen equally often."""
    shape = r.spec(scores).shape
    if not is_floating(r.spec(scores).dtype) or len(shape) < 2 or not 1 <= k <= shape[dim] <= MOST_EXPERTS:
        return
    r.choices[chosen.ref[0]] = f"each token goes to {k} of {shape[dim]} experts, evenly, whatever the router says"
    rows = (*shape[:dim], *shape[dim:][1:])
    if chosen.value is None and prod(rows) * k <= MOST_CHOICES:
        with torch._C.DisableTorchFunction():
            numbers = torch.arange(prod(rows) * k, device="cpu") % shape[dim]
            chosen.value = numbers.view(*rows, k).movedim(-1, dim).reshape(chosen.spec.shape)
        chosen.guessed |= EVEN_LOAD


def _topk(r: Any, input: Any, k: Any, dim: int = -1, *args: Any, **kwargs: Any) -> Any:
    made = layout.RULES["topk"](r, input, k, dim, *args, **kwargs)
    _choose(r, made[1], input, int(k), dim % max(len(r.spec(input).shape), 1))
    return made


def _largest(name: str) -> Callable[..., Any]:
    """`argmax` and `max` along a dimension, as a router that chooses one expert calls them."""

    def rule(r: Any, input: Any, *args: Any, **kwargs: Any) -> Any:
        made = elements.RULES[name](r, input, *args, **kwargs)
        dim = kwargs.get("dim", args[0] if args else None)
        if type(dim) is int:
            _choose(r, made if name == "argmax" else made[1], input, 1, dim % max(len(r.spec(input).shape), 1))
        return made

    return rule


def _grouped_mm(r: Any, a: Any, b: Any, offs: Any = None, *args: Any, **kwargs: Any) -> Any:
    """Which matrices are read rests on where the groups end, the products do not."""
    if isinstance(offs, Tensor):
        twin = r.traced(offs)
        if twin.value is None or twin.guessed & EVEN_LOAD:
            r.read_choices.add(twin.ref[0])
    return products.RULES["grouped_mm"](r, a, b, offs, *args, **kwargs)


def _index_add(r: Any, input: Any, dim: int, index: Any, source: Any, *, alpha: Any = 1, **_: Any) -> Any:
    """Rows that are added to some of a tensor: an addition for each of their elements."""
    added = r.spec(source).numel
    whole = (("add", added),) if alpha == 1 else (("add", added), ("mul", added))
    return counted(r, "index_add", [input, source, index], (r.spec(input),), (), whole)


_CHOOSING: dict[str, Callable[..., Any]] = {
    "topk": _topk,
    "argmax": _largest("argmax"),
    "max": _largest("max"),
    "grouped_mm": _grouped_mm,
    "_grouped_mm": _grouped_mm,
}
NOTING.update(_CHOOSING.values())
RULES: dict[str, Callable[..., Any]] = {
    "index_add": _index_add,
    "bincount": control._valued("bincount", torch.bincount),
    **_CHOOSING,
}
