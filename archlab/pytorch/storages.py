"""Which storages a traced model takes, what lies in each, and when Python lets it go."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from archlab.ir import Ref, Storage
from archlab.pytorch.spy import TracedTensor

Place = tuple[int, int]
"""A step and which of its outputs."""


class Storages:
    """A storage is a number, in the order of birth; -1 is memory that the model keeps.

    The tensor that a storage was taken for is its `root`: views hold it, so that it dies with the last
    of them. Nothing here holds a tensor.
    """

    def __init__(self) -> None:
        self.dead: list[Any] = []  # weak references whose tensors are gone, since the last birth
        self._born: list[Place] = []
        self._watch: dict[int, tuple[Any, int]] = {}
        self._freed: dict[int, int] = {}
        self._within: list[tuple[Place, int]] = []
        self._same: dict[int, int] = {}

    def born(self, tensor: TracedTensor, place: Place) -> None:
        """Give a tensor a storage of its own."""
        if self.dead:
            self._bury()
        tensor.storage = number = len(self._born)
        self._born.append(place)
        watch = weakref.ref(tensor, self.dead.append)
        self._watch[id(watch)] = watch, number

    def _bury(self) -> None:
        for watch in self.dead:
            _, number = self._watch.pop(id(watch))
            self._freed[number] = len(self._born)
        self.dead.clear()

    def share(self, tensor: TracedTensor, root: TracedTensor) -> None:
        """Let a tensor lie in the storage that another one was taken for."""
        if tensor.storage >= 0 and tensor.storage != root.storage:
            self._same[tensor.storage] = root.storage
        tensor.storage = root.storage
        tensor.root = root
        self._within.append((tensor.ref, root.storage))

    def part(self, tensor: TracedTensor) -> None:
        """Give a tensor that was taken to share a storage one of its own."""
        self._within.remove((tensor.ref, tensor.storage))
        tensor.root = None
        self.born(tensor, tensor.ref)

    def write(self, target: TracedTensor, made: TracedTensor) -> None:
        """Put what was made into the storage of the tensor that it was written into."""
        if made.storage != target.storage:
            if made.root is None and made.storage >= 0:
                self._same[made.storage] = target.storage
            self._within.append((made.ref, target.storage))

    def close(self) -> None:
        """Look no further: what is alive now was held to the end."""
        if self.dead:
            self._bury()
        self._watch.clear()

    def within(self, tensor: TracedTensor) -> None:
        """Note that what a tensor stands for now lies in its storage, too."""
        self._within.append((tensor.ref, tensor.storage))

    def listed(self, name: Callable[[Place], Ref]) -> tuple[Storage, ...]:
        """Return them with `name(place)` for each output, those that turned out to be no new ones left out."""
        count, numbers = 0, []
        for number in range(len(self._born)):
            numbers.append(count)
            count += number not in self._same
        numbers.append(count)
        outputs = {n: [place] for n, place in enumerate(self._born) if n not in self._same}
        for place, number in self._within:
            home = number
            while home in self._same:
                home = self._same[home]
            if home >= 0:
                outputs[home].append(place)
        return tuple(
            Storage(
                tuple(dict.fromkeys(name(place) for place in places)),
                numbers[self._freed[n]] if n in self._freed else -1,
            )
            for n, places in outputs.items()
        )
