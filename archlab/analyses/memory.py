"""Peak memory: the largest sum of bytes of tensors alive at once."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from archlab.ir import Graph, Ref


@dataclass(frozen=True)
class PeakMemory:
    """The peak in bytes, the node at which it is reached, and the tensors alive there, largest first."""

    bytes: int
    node: str
    alive: tuple[tuple[str, int], ...]

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        alive = [{"tensor": name, "bytes": size} for name, size in self.alive]
        return {"mode": "inference", "bytes": self.bytes, "node": self.node, "alive": alive}


@dataclass(frozen=True)
class MeasuredMemory:
    """What a run on a device took, in bytes, the caller's inputs included, what was there before not.

    `live` is the most that was alive as a call of the model (in training also an operation of the backward
    pass) returned, which was `at`; `allocated` the most that the allocator had given out at any time, which
    was `within` that operation. `own` are the calls that take memory for themselves, the most that one did, most
    first: a convolution for reordered tensors, a pool for places that nobody reads.
    """

    live: int
    at: str
    allocated: int
    within: str
    device: str
    training: bool = False
    own: tuple[tuple[str, int], ...] = ()

    @property
    def workspace(self) -> int:
        """What operations took for themselves beyond the peak of live storages: reorders, indices, temporaries."""
        return self.allocated - self.live

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        own = [{"call": name, "bytes": size} for name, size in self.own]
        return {**asdict(self), "workspace": self.workspace, "own": own}


def peak_memory(graph: Graph, mode: str = "inference") -> PeakMemory:
    """Return the peak of live storages of a graph.

    A traced graph frees a storage when Python did, any other one a tensor after its last reader. The
    caller holds the inputs, and the outputs stay to the end; views and in-place results add nothing; what
    the model keeps (weights, buffers, constants) and kernel workspace are not in it.
    """
    graph = graph.in_mode(mode)
    if graph.storages:
        return _of_storages(graph)
    storage: dict[Ref, Ref] = {}
    size: dict[Ref, int] = {}
    last_use: dict[Ref, int] = {}
    held: set[Ref] = set()
    for step, node in enumerate(graph.nodes):
        for ref in node.inputs:
            if storage[ref] in size:
                last_use[storage[ref]] = step
        for index, spec in enumerate(graph.specs[node.name]):
            own = (node.name, index)
            storage[own] = storage[node.inputs[0]] if node.op.is_view and node.inputs else own
            if storage[own] == own and not node.op.is_kept:
                size[own], last_use[own] = spec.bytes, step
            if node.op.is_input:
                held.add(own)
    held.update(storage[ref] for ref in graph.outputs if storage[ref] in size)

    alive: dict[Ref, int] = {ref: size[ref] for ref in held if graph.node(ref[0]).op.is_input}
    peak = PeakMemory(-1, "", ())
    for step, node in enumerate(graph.nodes):
        for index in range(len(graph.specs[node.name])):
            if (own := (node.name, index)) in size:
                alive[own] = size[own]
        now = sum(alive.values())
        if now > peak.bytes:
            ordered = sorted(alive.items(), key=lambda item: -item[1])
            peak = PeakMemory(now, node.name, tuple((_label(ref), count) for ref, count in ordered))
        for ref in [r for r in alive if last_use[r] <= step and r not in held]:
            del alive[ref]
    return peak


def _of_storages(graph: Graph) -> PeakMemory:
    sizes = [graph.specs[name][index].bytes for name, index in (s.outputs[0] for s in graph.storages)]
    gone: dict[int, int] = {}
    for storage, size in zip(graph.storages, sizes, strict=True):
        gone[storage.freed] = gone.get(storage.freed, 0) + size
    now, most, place = 0, -1, 0
    for i, size in enumerate(sizes):
        now += size - gone.get(i, 0)
        if now > most:
            most, place = now, i
    alive = [
        (_label(storage.outputs[0]), sizes[i])
        for i, storage in enumerate(graph.storages[: place + 1])
        if not 0 <= storage.freed <= place
    ]
    return PeakMemory(most, graph.storages[place].outputs[0][0], tuple(sorted(alive, key=lambda item: -item[1])))


def _label(ref: Ref) -> str:
    return ref[0] if ref[1] == 0 else f"{ref[0]}[{ref[1]}]"
