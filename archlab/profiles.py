"""`Profile`: the cost of a graph, a row a layer, with all that was not counted said beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from archlab.analyses.backward import backward as backward_of
from archlab.analyses.experts import active_parameters
from archlab.cost import Cost, Total, price_node, total, with_gradients
from archlab.errors import UsageError, nearest
from archlab.formula import Formula
from archlab.ir import Graph, Node, Shape, TensorSpec

if TYPE_CHECKING:
    import pandas

    from archlab.analyses.conventions import Tally

OURS = "archlab"
"""The name of our own convention."""


@dataclass(frozen=True)
class Layer:
    """One node of a profiled graph with its cost.

    `gradients` are the products of its backward pass by operand, None where no backward pass is counted.
    """

    node: Node
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    cost: Cost
    gradients: Mapping[str, Formula] | None = None

    @property
    def name(self) -> str:
        """The node's name, its path with ``/``."""
        return self.node.name

    @property
    def op(self) -> str:
        """What it computes, such as ``Conv2d``."""
        return type(self.node.op).__name__

    @property
    def input_shapes(self) -> tuple[Shape, ...]:
        """The shapes of the tensors it reads."""
        return tuple(spec.shape for spec in self.inputs)

    @property
    def output_shapes(self) -> tuple[Shape, ...]:
        """The shapes of the tensors it writes."""
        return tuple(spec.shape for spec in self.outputs)

    @property
    def output_shape(self) -> Shape:
        """The first output's shape."""
        return self.outputs[0].shape

    @cached_property
    def formulas(self) -> Mapping[str, Formula]:
        """How each class of its operations is counted; classes that it does not use are left out."""
        return with_gradients(self.node.op.formulas(self.outputs, *self.inputs), self.gradients)

    @property
    def formula(self) -> Formula:
        """How its MACs are counted, a counted backward pass's too; the empty formula, 0, where it has none."""
        return self.formulas.get("mac", Formula())

    @property
    def forward(self) -> Formula:
        """How the MACs of its forward pass are counted."""
        return self.node.op.formulas(self.outputs, *self.inputs).get("mac", Formula())

    def to_dict(self) -> dict[str, Any]:
        """Return the row as plain data."""
        return {
            "name": self.name,
            "op": self.op,
            "input_shapes": [list(shape) for shape in self.input_shapes],
            "output_shape": list(self.output_shape),
            "output_shapes": [list(shape) for shape in self.output_shapes],
            "output_dtype": self.outputs[0].dtype,
            "train_only": self.node.train_only,
            **self.cost.to_dict(),
            "formula": str(self.formula),
            "formulas": {kind: formula.substituted for kind, formula in self.formulas.items()},
            **_backward_data(self.cost, self.gradients),
        }


def _backward_data(cost: Cost, gradients: Mapping[str, Formula] | None) -> dict[str, Any]:
    if gradients is None:
        return {}
    products = {operand: str(formula) for operand, formula in gradients.items()}
    return {"backward_macs": cost.backward_macs, "gradients": products}


@dataclass(frozen=True, eq=False)
class Profile:
    """The cost of one graph in one mode, with the MACs of the `backward` pass or without. Two are equal when
    their counts are."""

    graph: Graph
    mode: str
    convention: str
    layers: tuple[Layer, ...]
    total: Total
    train_only: tuple[str, ...] = ()
    uncounted: Mapping[str, int] = field(default_factory=dict)
    assumed: Mapping[str, int] = field(default_factory=dict)
    tally: Tally | None = None
    backward: bool = False

    @property
    def subject(self) -> str:
        """What was profiled."""
        return self.graph.name

    @property
    def source(self) -> str:
        """Where the graph came from: built, read, traced."""
        return self.graph.origin

    @property
    def input(self) -> Mapping[str, TensorSpec]:
        """The tensors given, by name."""
        return self.graph.inputs

    @property
    def way(self) -> str:
        """How it runs, in words: its mode, and whether the backward pass is counted."""
        return f"{self.mode} with backward" if self.backward else self.mode

    @property
    def peak_memory(self) -> int:
        """Bytes of the largest set of live tensors of the forward pass, inputs included, weights not."""
        from archlab.analyses.memory import peak_memory

        return peak_memory(self.graph).bytes

    @property
    def parameters(self) -> dict[str, int]:
        """Counts of scalars: read (trainable + frozen), unused, and those of buffers.

        `active` is there where it differs from those read: the params that one token reads, on average.
        """
        read_keys = {key for node in self.graph.nodes for key in node.weights.values()}
        counts = dict.fromkeys(("read", "trainable", "frozen", "unused", "buffers"), 0)
        for key, param in self.graph.params.items():
            size = param.spec.numel
            if param.buffer:
                counts["buffers"] += size
            elif key in read_keys:
                counts["read"] += size
                counts["trainable" if param.trainable else "frozen"] += size
            else:
                counts["unused"] += size
        active = active_parameters(self.graph)
        return counts if active == counts["read"] else {**counts, "active": active}

    @property
    def biases(self) -> int:
        """How many of the params read are biases of layers that compute MACs."""
        with_macs = (layer.node.weights for layer in self.layers if layer.cost.macs)
        keys = {weights["bias"] for weights in with_macs if "bias" in weights}
        return sum(self.graph.params[key].spec.numel for key in keys)

    def layer(self, name: str) -> Layer:
        """Return the row of that name; raise `UsageError` with the nearest name if there is none."""
        found = next((layer for layer in self.layers if layer.name == name), None)
        if found is None:
            hint = "; it runs in training alone: --mode training" if name in self.train_only else ""
            raise UsageError(f"{self.subject} has no layer {name!r}{hint or nearest(name, self.names)}")
        return found

    @property
    def names(self) -> list[str]:
        """The layers' names, in order."""
        return [layer.name for layer in self.layers]

    def by_block(self, depth: int = 1) -> dict[str, Cost]:
        """Return the cost of each block, the first `depth` parts of the path, in order."""
        if depth < 1:
            raise UsageError(f"depth must be at least 1, got {depth}")
        return self._grouped(lambda layer: "/".join(layer.name.split("/")[:depth]))

    def by_op(self) -> dict[str, Cost]:
        """Return the cost of each kind of op, in order of first use."""
        return self._grouped(lambda layer: layer.op)

    def _grouped(self, key: Any) -> dict[str, Cost]:
        groups: dict[str, list[Cost]] = {}
        for layer in self.layers:
            if not layer.node.op.is_input:
                groups.setdefault(key(layer), []).append(layer.cost)
        return {name: total(costs) for name, costs in groups.items()}

    def _counts(self) -> tuple[Any, ...]:
        rows = tuple((layer.name, layer.cost) for layer in self.layers)
        return self.total, rows, dict(self.uncounted), dict(self.assumed)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Profile) and self._counts() == other._counts()

    def __hash__(self) -> int:
        return hash(self.total)

    def to_dict(self) -> dict[str, Any]:
        """Return the profile as plain data, schema ``archlab.profile/1``."""
        backward = {"backward_macs": self.total.backward_macs} if self.backward else {}
        data: dict[str, Any] = {
            "schema": "archlab.profile/1",
            "subject": self.subject,
            "source": self.source,
            "mode": self.mode,
            "backward": self.backward,
            "convention": self.convention,
            "input": {name: {"shape": list(spec.shape), "dtype": spec.dtype} for name, spec in self.input.items()},
            "total": {**self.total.to_dict(), **backward, "peak_memory": self.peak_memory},
            "parameters": self.parameters,
            "layers": [layer.to_dict() for layer in self.layers],
            "uncounted": dict(self.uncounted),
            "assumed": dict(self.assumed),
        }
        if self.tally is not None:
            data["differences"] = self.tally.to_dict()["differences"]
        return data

    def to_json(self) -> str:
        """Return `to_dict` as JSON text."""
        import json

        return json.dumps(self.to_dict(), indent=1, ensure_ascii=False) + "\n"

    def to_frame(self) -> pandas.DataFrame:
        """Return the rows as a `pandas.DataFrame`."""
        from archlab.report.data import profile_frame

        return profile_frame(self)

    def to_markdown(self) -> str:
        """Return the profile as markdown."""
        from archlab.report.markdown import render
        from archlab.report.views import profile_document

        return render(profile_document(self))

    def __str__(self) -> str:
        from archlab.report.terminal import render
        from archlab.report.views import profile_document

        return render(profile_document(self))


def profile_graph(graph: Graph, mode: str = "inference", convention: str = OURS, backward: bool = False) -> Profile:
    """Return the cost of a graph as it runs in `mode`; raise `UsageError` for an unknown mode or convention.

    Another tool's `convention` adds its figure to the total and its differences from our MACs; every
    count stays ours. With `backward` it runs in training, and the MACs are those of the forward and the
    backward pass; all other counts are the forward pass's.
    """
    ours = _counted(graph, "training" if backward else mode, backward)
    if convention == OURS:
        return ours
    from archlab.analyses.conventions import CONVENTIONS, tally

    if convention not in CONVENTIONS:
        names = (OURS, *CONVENTIONS)
        raise UsageError(f"unknown convention {convention!r}{nearest(convention, names)} (known: {', '.join(names)})")
    if backward:
        raise UsageError(f"{convention} counts no backward pass; leave out the backward pass or the convention")
    theirs = tally(ours, convention)
    figure = replace(ours.total, reported=theirs.reported, unit=theirs.unit)
    return replace(ours, convention=convention, total=figure, tally=theirs)


def _counted(graph: Graph, mode: str, backward: bool) -> Profile:
    whole, graph = graph, graph.in_mode(mode)
    owned: set[str] = set()
    layers = []
    products = backward_of(graph) if backward else None
    for node in graph.nodes:
        inputs, outputs = graph.input_specs(node), graph.specs[node.name]
        keys = [key for key in dict.fromkeys(node.weights.values()) if not graph.params[key].buffer]
        parameters = {key: graph.params[key].spec for key in keys}
        gradients = None if products is None else products.get(node.name, {})
        cost = price_node(node, inputs, outputs, parameters, owned, gradients)
        layers.append(Layer(node, inputs, outputs, cost, gradients))
    left_out = tuple(node.name for node in whole.nodes if node.name not in graph.specs)
    assumed = Counter(text for node in graph.nodes if (text := node.assumed))
    uncounted = Counter(name for node in graph.nodes if (name := node.op.uncounted))
    sums = total(layer.cost for layer in layers)
    figures = {field.name: getattr(sums, field.name) for field in fields(sums)}
    whole_cost = Total(**figures, reported=sums.macs)
    incomplete = dict(uncounted), dict(assumed)
    return Profile(graph, mode, OURS, tuple(layers), whole_cost, left_out, *incomplete, backward=backward)
