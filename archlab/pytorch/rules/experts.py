"""Rules of grouped products: the experts' own matrices, of which a choice that data makes reads some."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from archlab.pytorch.rules import products


def _grouped_mm(r: Any, a: Any, b: Any, offs: Any = None, *args: Any, **kwargs: Any) -> Any:
    """Which matrices are read rests on where the groups end, the products do not."""
    if isinstance(offs, Tensor):
        twin = r.traced(offs)
        if twin.value is None or twin.guessed:
            r.read_choices.add(twin.ref[0])
            r.notes += 1
    return products.RULES["grouped_mm"](r, a, b, offs, *args, **kwargs)


RULES: dict[str, Callable[..., Any]] = {"grouped_mm": _grouped_mm, "_grouped_mm": _grouped_mm}
