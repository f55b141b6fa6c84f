"""`Heap`: the storages that a run takes and lets go of, by sizes alone, and the moment when most are alive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

KINDS = ("input", "activation", "saved", "gradient", "parameter gradient")
"""What a tensor alive at the peak is: given, made by a layer, kept for its backward pass alone, or a gradient."""


class Alive(NamedTuple):
    """A storage that is alive at the peak."""

    name: str
    bytes: int
    kind: str


@dataclass(eq=False, slots=True)
class Block:
    """A storage: how many hold it, and from when to when it is alive."""

    name: str
    bytes: int
    kind: str
    born: int
    holders: int = 1
    died: int = -1


class Heap:
    """Storages by who holds them; `running` is the node that runs, in the `pass_` forward or backward."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.clock = self.now = 0
        self.peak, self.when, self.place, self.phase = -1, 0, "", ""
        self.running, self.pass_ = "", "forward"

    def new(self, name: str, size: int, kind: str = "gradient") -> Block:
        """Take a storage, which the caller holds."""
        self.clock += 1
        self.now += size
        block = Block(name, size, kind, self.clock)
        self.blocks.append(block)
        return block

    def look(self) -> None:
        """See what is alive as an operation returns."""
        if self.now > self.peak:
            self.peak, self.when, self.place, self.phase = self.now, self.clock, self.running, self.pass_

    def let_go(self, *blocks: Block) -> None:
        """Hold storages no longer."""
        for block in blocks:
            block.holders -= 1
            if not block.holders:
                self.clock += 1
                self.now -= block.bytes
                block.died = self.clock
                self.gone(block)

    def gone(self, block: Block) -> None:
        """Hear that a storage is gone."""

    def alive(self) -> tuple[Alive, ...]:
        """Return what was alive at the peak, largest first."""
        found = [b for b in self.blocks if b.born <= self.when and (b.died < 0 or b.died > self.when)]
        return tuple(sorted((Alive(b.name, b.bytes, b.kind) for b in found), key=lambda item: -item.bytes))
