"""Lists of layers side by side: which layer of one network corresponds to which of another."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from difflib import SequenceMatcher
from typing import Protocol, TypeVar


class Named(Protocol):
    """Anything with a name."""

    @property
    def name(self) -> str:
        """The path of a layer."""


Item = TypeVar("Item", bound=Named)


def align(subjects: Sequence[Sequence[Item]], structure: Callable[[Item], Hashable]) -> list[list[Item | None]]:
    """Return rows of layers: the base's in order, each layer that it lacks behind its predecessor.

    The first of the `subjects` is the base. The same name is the same layer; what is left is matched in
    order where the `structure` is the same, so that renamed networks line up, too.
    """
    absent: list[Item | None] = [None] * len(subjects)
    rows = [[layer, *absent[1:]] for layer in subjects[0]]
    for column, layers in enumerate(subjects[1:], 1):
        partner = _pairs(subjects[0], layers, structure)
        known = {(row[0] is not None, name): row for row in rows for name in _names(row)}
        behind: dict[int, list[list[Item | None]]] = {}
        anchor = 0
        for layer in layers:
            name = partner.get(layer.name)
            row = known.get((name is not None, name or layer.name))
            if row is None:
                row = absent.copy()
                behind.setdefault(anchor, []).append(row)
            else:
                anchor = id(row)
            row[column] = layer
        rows = [*behind.get(0, []), *(new for row in rows for new in (row, *behind.get(id(row), [])))]
    return rows


def _names(row: list[Item | None]) -> list[str]:
    """Return the base's name of a row, or, where the base lacks it, the others'."""
    named = row[:1] if row[0] is not None else row
    return [layer.name for layer in named if layer is not None]


def _pairs(base: Sequence[Item], other: Sequence[Item], structure: Callable[[Item], Hashable]) -> dict[str, str]:
    """Return the base's name for each layer of the other that corresponds to one."""
    names = {layer.name for layer in base}
    pairs = {layer.name: layer.name for layer in other if layer.name in names}
    left = [[layer for layer in layers if layer.name not in pairs] for layers in (base, other)]
    ours, theirs = ([structure(layer) for layer in layers] for layers in left)
    for block in SequenceMatcher(None, ours, theirs, autojunk=False).get_matching_blocks():
        for i in range(block.size):
            pairs[left[1][block.b + i].name] = left[0][block.a + i].name
    return pairs
