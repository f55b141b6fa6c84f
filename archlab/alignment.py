"""Lists of layers side by side: which layer of one network corresponds to which of another."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Generic, Protocol, TypeVar


class Named(Protocol):
    """Anything with a name."""

    @property
    def name(self) -> str:
        """The path of a layer."""


Item = TypeVar("Item", bound=Named)


@dataclass(frozen=True)
class Likeness(Generic[Item]):
    """How two layers are alike: by what they compute, by their shapes, too, and by their cost, too."""

    kind: Callable[[Item], Hashable]
    structure: Callable[[Item], Hashable]
    cost: Callable[[Item], Hashable]


def align(subjects: Sequence[Sequence[Item]], likeness: Likeness[Item]) -> list[list[Item | None]]:
    """Return rows of layers: the base's in order, each layer that it lacks behind its predecessor.

    The first of the `subjects` is the base. The same name at the same cost is the same layer; between such,
    layers whose numbers an insertion has shifted are known by their cost; of what is left the same name is
    the same layer, and the rest is matched in order where the structure is the same, so that renamed
    networks line up, too.
    """
    absent: list[Item | None] = [None] * len(subjects)
    rows = [[layer, *absent[1:]] for layer in subjects[0]]
    for column, layers in enumerate(subjects[1:], 1):
        partner = _pairs(subjects[0], layers, likeness)
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


def _pairs(base: Sequence[Item], other: Sequence[Item], likeness: Likeness[Item]) -> dict[str, str]:
    """Return the base's name for each layer of the other that corresponds to one."""
    pairs = dict(_matched(base, other, lambda layer: (layer.name, likeness.cost(layer))))
    kinds = [{layer.name: likeness.kind(layer) for layer in layers} for layers in (base, other)]
    for ours, theirs in _gaps(base, other, pairs):
        old, new = ([x for x in gap if kinds[0].get(x.name) != kinds[1].get(x.name)] for gap in (ours, theirs))
        pairs |= _matched(old, new, likeness.cost)
    taken = set(pairs.values())
    names = {layer.name for layer in base} - taken
    pairs |= {layer.name: layer.name for layer in other if layer.name in names and layer.name not in pairs}
    taken = set(pairs.values())
    old = [layer for layer in base if layer.name not in taken]
    new = [layer for layer in other if layer.name not in pairs]
    return pairs | dict(_matched(old, new, likeness.structure))


def _matched(
    base: Sequence[Item], other: Sequence[Item], key: Callable[[Item], Hashable]
) -> Iterator[tuple[str, str]]:
    """Yield the other's and the base's name of layers with the same key, in order on both sides."""
    matcher = SequenceMatcher(None, [key(x) for x in base], [key(x) for x in other], autojunk=False)
    for block in matcher.get_matching_blocks():
        for i in range(block.size):
            yield other[block.b + i].name, base[block.a + i].name


def _gaps(
    base: Sequence[Item], other: Sequence[Item], pairs: Mapping[str, str]
) -> Iterator[tuple[list[Item], list[Item]]]:
    """Yield the layers of both between those that are paired already."""
    places = {layer.name: place for place, layer in enumerate(base)}
    begin, theirs = 0, list[Item]()
    for layer in other:
        if layer.name not in pairs:
            theirs.append(layer)
            continue
        end = places[pairs[layer.name]]
        yield list(base[begin:end]), theirs
        begin, theirs = end + 1, []
    yield list(base[begin:]), theirs
