"""`trainable`: a classifier as a module that runs in training, its loss, its inputs, and its blocks."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._pytree import tree_leaves, tree_map

from archlab.errors import ShapeError, UsageError
from archlab.gradients import BATCH
from archlab.ir import Graph, Node, Ref, TensorSpec, is_floating
from archlab.ops import Embedding, Softmax
from archlab.pytorch.initialise import tables_of
from archlab.pytorch.lower import LoweredGraph, lower
from archlab.pytorch.models import BUILDERS, module_model, real_elements
from archlab.pytorch.trace import trace


@dataclass(frozen=True)
class Live:
    """A model that a target names: its source and constructor arguments, and the specs that it is called with."""

    name: str
    source: str
    arguments: Mapping[str, Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    def built(self) -> nn.Module:
        """Return the model built anew with elements; raise `UsageError` for what is no module."""
        prefix, _, rest = self.source.partition(":")
        with real_elements():
            if prefix in BUILDERS:
                model, _ = BUILDERS[prefix](rest, self.arguments)
            else:
                model, _ = module_model(self.source, self.arguments)
        if not isinstance(model, nn.Module):
            raise UsageError(f"{self.name} is a {type(model).__name__}; only a module has parameters to train")
        return copy.deepcopy(model)  # what a source names may be an instance that somebody else uses


@dataclass(frozen=True)
class Trainable:
    """A network that runs in training, what it is called with, and the places of its main and auxiliary outputs.

    `module` is the graph lowered, or the model that the graph is a trace of. `left_out` outputs are in no
    loss. `softmax` says that the outputs are no scores but probabilities; `tables` are parameters that no
    layer draws.
    """

    graph: Graph
    module: nn.Module
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    main: int
    auxiliary: tuple[int, ...]
    left_out: int = 0
    softmax: bool = False
    tables: frozenset[str] = frozenset()

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

    def loss(self, made: Any, labels: Tensor, weight: float) -> Tensor:
        """Return the cross-entropy of the main output, and `weight` times that of each auxiliary one added to it."""
        outputs = [leaf for leaf in tree_leaves(made) if isinstance(leaf, Tensor)]
        if self.softmax:
            outputs = [output.log() for output in outputs]
        loss = _cross_entropy(outputs[self.main], labels)
        for place in self.auxiliary if weight else ():
            loss = loss + weight * _cross_entropy(outputs[place], labels)
        return loss

    def drawn(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return drawn inputs: normal numbers; rows of the table that reads them; what is neither is ones."""
        names = iter(self.graph.inputs)

        def draw(spec: Any) -> Any:
            if not isinstance(spec, TensorSpec):
                return spec
            name, dtype = next(names), getattr(torch, spec.dtype)
            if is_floating(spec.dtype):
                return torch.randn(spec.shape, dtype=dtype)
            rows = [reader.op.rows for reader in self.graph.readers[name] if isinstance(reader.op, Embedding)]
            return torch.randint(min(rows), spec.shape, dtype=dtype) if rows else torch.ones(spec.shape, dtype=dtype)

        args, kwargs = tree_map(draw, (self.args, dict(self.kwargs)))
        return args, kwargs

    def layers(self) -> dict[str, nn.Module]:
        """Return the modules that run, by name: those of the nodes, or those of a model that hold no others."""
        if isinstance(self.module, LoweredGraph):
            nodes = (node for node in self.graph.nodes if not node.op.is_input)
            return {node.name: self.module.layer(node.name) for node in nodes}
        named = self.module.named_modules()
        return {name.replace(".", "/"): layer for name, layer in named if name and not any(layer.children())}

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

    def exits(self, depth: int) -> dict[str, nn.Module]:
        """Return the module whose output a block hands on, for each block that has one.

        That is the last node that another block or the caller reads; of a model, the module that is the block.
        """
        if not isinstance(self.module, LoweredGraph):
            named = {name.replace(".", "/"): layer for name, layer in self.module.named_modules()}
            return {block: named[block] for block in self.blocks(depth) if block in named}
        returned = {name for name, _ in self.graph.outputs}
        last: dict[str, str] = {}
        for node in self.graph.nodes:
            block = _block(node.name, depth)
            readers = self.graph.readers[node.name]
            outside = node.name in returned or any(_block(n.name, depth) != block for n in readers)
            if outside and not node.op.is_input:
                last[block] = node.name
        return {block: self.module.layer(name) for block, name in last.items()}


def trainable(subject: Graph | Live, batch: int | None = None) -> Trainable:
    """Return a graph or a model in training mode on the CPU, for a batch of that size.

    A softmax at the end of a graph goes, since cross-entropy contains it. The first output that is not
    train-only is the main one; those of its shape are auxiliary. Raises `UsageError` where there is no such
    output, where the graph cannot be lowered, and where there is nothing to train.
    """
    if isinstance(subject, Live):
        return _live(subject, batch)
    graph = _without_softmax(_batched(subject, batch))
    heads = _heads(graph)
    return _with_parameters(Trainable(graph, lower(graph), tuple(graph.inputs.values()), {}, *heads))


def _live(live: Live, batch: int | None) -> Trainable:
    """Return a model built anew with elements, and traced for the batch."""
    given = (tuple(live.args), dict(live.kwargs))
    size = _batch([leaf for leaf in tree_leaves(given) if isinstance(leaf, TensorSpec)], batch, live.name)

    def batched(spec: Any) -> Any:
        return TensorSpec((size, *spec.shape[1:]), spec.dtype) if isinstance(spec, TensorSpec) else spec

    args, kwargs = tree_map(batched, given)
    module = live.built()
    graph = trace(module, mode="training", inputs=(args, kwargs)).named(live.name)
    main, auxiliary, left_out = _heads(graph)
    end = graph.node(graph.outputs[main][0]).op
    softmax = isinstance(end, Softmax) and not end.log
    return _with_parameters(
        Trainable(graph, module, args, kwargs, main, auxiliary, left_out, softmax, tables_of(module))
    )


def _with_parameters(found: Trainable) -> Trainable:
    if not found.blocks(1):
        raise UsageError(f"{found.graph.name} has no parameters to train, so there is no gradient to measure")
    return found


def _heads(graph: Graph) -> tuple[int, tuple[int, ...], int]:
    """Return the place of the main output, those of the auxiliary ones, and how many outputs are neither.

    Raises `UsageError` where there is no main one, or an auxiliary one of another shape.
    """
    train_only = {node.name for node in graph.nodes if node.train_only}
    main = next((i for i, (name, _) in enumerate(graph.outputs) if name not in train_only), None)
    if main is None:
        raise UsageError(f"{graph.name}: every output exists in training alone; there is no main one")
    spec = graph.output_specs[main]
    if not is_floating(spec.dtype) or len(spec.shape) < 2:
        raise UsageError(f"{graph.name}: its output is {spec}, which is no scores of classes; name a classifier")
    auxiliary = []
    for place, (name, _) in enumerate(graph.outputs):
        if place != main and graph.output_specs[place] == spec:
            auxiliary.append(place)
        elif place != main and name in train_only:
            raise UsageError(
                f"{graph.name}: the output of {name} is {graph.output_specs[place]}, that of "
                f"{graph.outputs[main][0]} is {spec}; only outputs of one shape have the same loss"
            )
    return main, tuple(auxiliary), len(graph.outputs) - 1 - len(auxiliary)


def _batch(specs: Sequence[TensorSpec], batch: int | None, name: str) -> int:
    """Return the batch to run: what is asked for, or what there is, or `BATCH` where that is a single one."""
    held = {spec.shape[0] if spec.shape else 0 for spec in specs}
    if len(held) != 1 or 0 in held:
        raise UsageError(f"{name}: its inputs have no batch in common; name a classifier of images or tokens")
    return batch or (BATCH if held == {1} else held.pop())


def _batched(graph: Graph, batch: int | None) -> Graph:
    """Return the graph for another batch; raise `UsageError` for one that was traced for its own alone."""
    size = _batch(list(graph.inputs.values()), batch, graph.name)
    specs = {name: TensorSpec((size, *spec.shape[1:]), spec.dtype) for name, spec in graph.inputs.items()}
    if specs == dict(graph.inputs):
        return graph
    try:
        return graph.with_inputs(specs)
    except ShapeError as error:
        shape = "x".join(map(str, max(specs.values(), key=lambda spec: spec.numel).shape))
        raise UsageError(
            f"{graph.name}: cannot be given a batch of {size} once it is traced ({error}); trace it with that: "
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
