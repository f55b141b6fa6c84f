"""`trainable`: a graph of a classifier as a module with a loss: which outputs count, and which labels fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from archlab.errors import ShapeError, UsageError
from archlab.gradients import BATCH
from archlab.ir import Graph, Node, Ref, TensorSpec, is_floating
from archlab.ops import Embedding, Softmax
from archlab.pytorch.lower import LoweredGraph, lower


@dataclass(frozen=True)
class Trainable:
    """A network that runs in training, and the places of its main and its auxiliary outputs."""

    graph: Graph
    module: LoweredGraph
    main: int
    auxiliary: tuple[int, ...]

    @property
    def classes(self) -> int:
        """How many classes the main output tells apart."""
        shape = self.graph.output_specs[self.main].shape
        return shape[_class_dim(shape)]

    @property
    def label_shape(self) -> tuple[int, ...]:
        """The shape of the labels: the main output's without its classes."""
        shape = self.graph.output_specs[self.main].shape
        place = _class_dim(shape)
        return (*shape[:place], *shape[place + 1 :])

    def loss(self, outputs: Sequence[Tensor], labels: Tensor, weight: float) -> Tensor:
        """Return the cross-entropy of the main output, and `weight` times that of each auxiliary one added to it."""
        loss = _cross_entropy(outputs[self.main], labels)
        for place in self.auxiliary if weight else ():
            loss = loss + weight * _cross_entropy(outputs[place], labels)
        return loss

    def drawn(self, name: str, spec: TensorSpec) -> Tensor:
        """Return a drawn input: normal numbers; rows of the table that reads it; what is neither is ones."""
        dtype = getattr(torch, spec.dtype)
        if is_floating(spec.dtype):
            return torch.randn(spec.shape, dtype=dtype)
        rows = [reader.op.rows for reader in self.graph.readers[name] if isinstance(reader.op, Embedding)]
        return torch.randint(min(rows), spec.shape, dtype=dtype) if rows else torch.ones(spec.shape, dtype=dtype)

    def blocks(self, depth: int) -> dict[str, tuple[str, ...]]:
        """Return the keys of the trainable parameters of each block, in order; a tied one is its first reader's."""
        found: dict[str, dict[str, None]] = {}
        seen: set[str] = set()
        for node in self.graph.nodes:
            for key in node.weights.values():
                param = self.graph.params[key]
                if key not in seen and param.trainable and not param.buffer and is_floating(param.dtype):
                    seen.add(key)
                    found.setdefault(_block(node.name, depth), {})[key] = None
        return {block: tuple(keys) for block, keys in found.items()}

    def exits(self, depth: int) -> dict[str, str]:
        """Return the last node of each block that another block or the caller reads, with its block."""
        returned = {name for name, _ in self.graph.outputs}
        last: dict[str, str] = {}
        for node in self.graph.nodes:
            block = _block(node.name, depth)
            if node.name in returned or any(_block(n.name, depth) != block for n in self.graph.readers[node.name]):
                last[block] = node.name
        return {name: block for block, name in last.items()}


def trainable(graph: Graph, batch: int | None = None) -> Trainable:
    """Return a graph in training mode on the CPU, for a batch of that size.

    A softmax at the end goes, since cross-entropy contains it. The first output that is not train-only is
    the main one; the others are auxiliary and must have its shape. Raises `UsageError` where that is not so,
    and where the graph cannot be lowered or has nothing to train.
    """
    graph = _without_softmax(_batched(graph, batch))
    train_only = {node.name for node in graph.nodes if node.train_only}
    main = next((i for i, (name, _) in enumerate(graph.outputs) if name not in train_only), None)
    if main is None:
        raise UsageError(f"{graph.name}: every output exists in training alone; there is no main one")
    spec = graph.output_specs[main]
    if not is_floating(spec.dtype) or len(spec.shape) < 2:
        raise UsageError(f"{graph.name}: its output is {spec}, which is no scores of classes; name a classifier")
    auxiliary = tuple(i for i in range(len(graph.outputs)) if i != main)
    for place in auxiliary:
        if graph.output_specs[place] != spec:
            raise UsageError(
                f"{graph.name}: the output of {graph.outputs[place][0]} is {graph.output_specs[place]}, that of "
                f"{graph.outputs[main][0]} is {spec}; only outputs of one shape have the same loss"
            )
    found = Trainable(graph, lower(graph), main, auxiliary)
    if not found.blocks(1):
        raise UsageError(f"{graph.name} has no parameters to train, so there is no gradient to measure")
    return found


def _batched(graph: Graph, batch: int | None) -> Graph:
    """Return the graph for another batch; None makes `BATCH` of a single one and keeps every other."""
    inputs = graph.inputs
    if not inputs or any(not spec.shape for spec in inputs.values()):
        raise UsageError(f"{graph.name}: reads no batch; name a classifier of images or tokens")
    held = {spec.shape[0] for spec in inputs.values()}
    batch = batch or (BATCH if held == {1} else None)
    if batch is None or held == {batch}:
        return graph
    specs = {name: TensorSpec((batch, *spec.shape[1:]), spec.dtype) for name, spec in inputs.items()}
    try:
        return graph.with_inputs(specs)
    except ShapeError as error:
        largest = max(specs.values(), key=lambda spec: spec.numel)
        shape = "x".join(map(str, largest.shape))
        raise UsageError(
            f"{graph.name}: cannot be given a batch of {batch} once it is traced ({error}); trace it with that: "
            f"--input {shape}"
        ) from None


def _without_softmax(graph: Graph) -> Graph:
    """Return the graph with what a softmax at the end reads as its outputs."""

    def ends(node: Node) -> bool:
        return isinstance(node.op, Softmax) and not graph.readers[node.name]

    inputs: Mapping[str, Ref] = {node.name: node.inputs[0] for node in graph.nodes if ends(node)}
    if not inputs:
        return graph
    outputs = (inputs.get(name, (name, index)) for name, index in graph.outputs)
    return graph.edit((node for node in graph.nodes if node.name not in inputs), outputs)


def _class_dim(shape: tuple[int, ...]) -> int:
    """Return where classes are: last for scores of images or tokens, second for scores of positions."""
    return len(shape) - 1 if len(shape) <= 3 else 1


def _cross_entropy(scores: Tensor, labels: Tensor) -> Tensor:
    place = _class_dim(tuple(scores.shape))
    return functional.cross_entropy(scores.movedim(place, -1).flatten(0, -2), labels.flatten())


def _block(name: str, depth: int) -> str:
    return "/".join(name.split("/")[:depth])
