"""The ways to count one network that a published number may stand for: input sizes, batches, auxiliary heads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from archlab.errors import ArchlabError
from archlab.ir import Graph, TensorSpec

if TYPE_CHECKING:
    from archlab.profiles import Profile

SIDES = (192, 224, 227, 240, 256, 288, 299, 320, 331, 384, 448, 512, 600, 640, 800, 1024)
"""Sides of square images that networks are commonly fed."""
BATCHES = (10, 128)
"""Batches that figures were published for: netscope's presets, convnet-burden's."""
BATCHED = (None, 224, 227)
"""The sides at which batches are tried; None is the network's own."""

Again = Callable[[TensorSpec | None, str], "Graph | None"]
"""Makes the network anew for another image in a mode; None where that cannot be."""


@dataclass(frozen=True)
class Variant:
    """One way to count a network: its profile, and in words how that departs from the plain one."""

    profile: Profile
    departures: tuple[str, ...] = ()


def variants(plain: Profile, again: Again) -> Iterator[Variant]:
    """Yield a network as it is, and with each common side, batch and with its heads, as far as it has them."""
    from archlab.profiles import profile_graph

    yield Variant(plain)
    for words, graph in ((("with auxiliary heads",), _with_heads(plain, again)), ((), plain.graph)):
        if graph is None:
            continue
        mode = "training" if words else "inference"
        if words:
            yield Variant(profile_graph(graph), words)
        for spec, also in _images(graph):
            other = _fed(graph, spec, mode, again)
            if other is not None:
                yield Variant(profile_graph(other), (*words, *also))


def _images(graph: Graph) -> Iterator[tuple[TensorSpec, tuple[str, ...]]]:
    """Yield the other images that a network of one image can be fed, and what each departs in."""
    if len(graph.inputs) != 1:
        return
    (spec,) = graph.inputs.values()
    if len(spec.shape) != 4:
        return
    own = spec.shape[2:]
    for side in (None, *SIDES):
        sides = own if side is None else (side, side)
        moved = () if sides == own else ("not its own input size",)
        for batch in (1, *BATCHES) if side in BATCHED else (1,):
            if (moved and side) or (side is None and batch != 1):
                many = () if batch == 1 else (f"a batch of {batch}",)
                yield replace(spec, shape=(batch, spec.shape[1], *sides)), (*moved, *many)


def _with_heads(plain: Profile, again: Again) -> Graph | None:
    """Return the network with its auxiliary heads, None if it has none."""
    if plain.graph.origin == "traced":
        try:
            graph = again(None, "training")
        except ArchlabError:  # it cannot be traced in training: then it has no such figure
            return None
        return graph if graph is not None and len(graph.outputs) > len(plain.graph.outputs) else None
    whole = again(None, "training")
    if whole is None or not any(node.train_only for node in whole.nodes):
        return None
    return whole.edit(replace(node, train_only=False) for node in whole.nodes)


def _fed(graph: Graph, spec: TensorSpec, mode: str, again: Again) -> Graph | None:
    """Return the network for another image, None where it does not take it."""
    try:
        if graph.origin == "traced":
            return again(spec, mode)
        return graph.with_inputs({next(iter(graph.inputs)): spec})
    except ArchlabError:
        return None
