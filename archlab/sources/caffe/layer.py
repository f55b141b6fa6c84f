"""`Layer`: one layer of a file, what it says, and the net that it goes into."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from archlab.errors import ReadError
from archlab.ir import Op, Ref, TensorSpec
from archlab.sources.netlist import Netlist
from archlab.sources.textproto import Message

Refs = tuple[Ref, ...]


@dataclass
class Layer:
    """One layer of a file, and the net that it goes into.

    `old` says that it is written as ``layers``, whose `param` are texts; `alone` that nothing else
    reads what it does.
    """

    net: Netlist
    name: str
    kind: str
    message: Message
    tops: int
    old: bool
    alone: bool

    def part(self, name: str) -> Message:
        """Return the message with the layer's own settings."""
        return self.message.message(name)

    def spec(self, ref: Ref) -> TensorSpec:
        """Return the shape and type of what a ref stands for."""
        return self.net.specs[ref]

    def add(self, op: Op, *inputs: Ref, roles: tuple[str, ...] = (), name: str = "", first: int = 0) -> Ref:
        """Append an op that keeps those roles as the layer's blobs, from the `first` on; return its output."""
        return self.add_all(op, *inputs, roles=roles, name=name, first=first)[0]

    def add_all(self, op: Op, *inputs: Ref, roles: tuple[str, ...] = (), name: str = "", first: int = 0) -> Refs:
        """Do as `add` and return every output."""
        keys, frozen = {}, []
        for role, (key, learned) in zip(roles, self._blobs(first + len(roles))[first:], strict=True):
            if key:
                keys[role] = key
            if not learned:
                frozen.append(role)
        return self.net.add(name or self.name, op, inputs, keys, frozen)

    def _blobs(self, count: int) -> list[tuple[str, bool]]:
        """Return the shared name of each blob, if it has one, and whether it learns."""
        given = [] if self.old else self.message.messages("param")
        names = self.message.texts("param") if self.old else [p.text("name") for p in given]
        rates = self.message.numbers("blobs_lr") if self.old else [p.number("lr_mult", 1.0) for p in given]
        return [(names[i] if i < len(names) else "", rates[i] != 0 if i < len(rates) else True) for i in range(count)]


Rule = Callable[..., Any]


def sizes_of(part: Message, name: str, default: int | None, rank: int, alone: str = "") -> tuple[int, ...]:
    """Return one number for each axis: `name` once or for each, or `alone`_h and `alone`_w."""
    stem = alone or name
    both = (*part.integers(f"{stem}_h"), *part.integers(f"{stem}_w"))
    if len(both) == 2 and rank == 2:
        return both
    each = tuple(part.integers(name))
    if not each:
        if default is None:
            raise ReadError(f"{name} is missing")
        each = (default,)
    if len(each) not in (1, rank):
        raise ReadError(f"{name} takes one number or {rank}, got {len(each)}")
    return each * rank if len(each) == 1 else each
