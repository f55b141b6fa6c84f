"""`Graph`: an immutable, flat, topologically ordered netlist, valid because it exists."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import InitVar, dataclass, field
from functools import cached_property
from typing import Any

from archlab.errors import GraphError, ShapeError, UsageError, nearest
from archlab.ir.call import Call
from archlab.ir.node import Node, Param, Ref
from archlab.ir.op import MODES
from archlab.ir.tensor import Shape, TensorSpec, is_floating, weight_dtype


@dataclass(frozen=True)
class Graph:
    """A named network: nodes in topological order, the tensors it returns, and its parameters.

    Building one infers every shape, so errors name the graph, the node and both numbers. `params`
    may leave out what nodes own; entries that no node reads are unused parameters. `like` lends
    dtype and trainability to parameters whose shape is inferred anew. `origin` is built, read or traced.
    `calls` are the module calls that a trace saw; an edited graph has none.
    """

    name: str
    nodes: tuple[Node, ...]
    outputs: tuple[Ref, ...]
    params: Mapping[str, Param] = field(default_factory=dict)
    origin: str = field(default="built", compare=False)
    calls: tuple[Call, ...] = field(default=(), compare=False, repr=False)
    specs: Mapping[str, tuple[TensorSpec, ...]] = field(init=False, compare=False, repr=False)
    like: InitVar[Mapping[str, Param] | None] = None

    def __post_init__(self, like: Mapping[str, Param] | None) -> None:
        specs: dict[str, tuple[TensorSpec, ...]] = {}
        read: dict[str, Param] = {}
        nodes = []
        for node in self.nodes:
            self._check_name(node.name, specs)
            inputs = tuple(self._resolve(specs, ref, node.name) for ref in node.inputs)
            arity = node.op.reads
            if len(inputs) != arity if arity is not None else len(inputs) < node.op.at_least:
                least = "one" if node.op.at_least == 1 else node.op.at_least
                wanted = f"{least} or more tensors" if arity is None else f"{arity} tensor(s)"
                raise GraphError(
                    f"{self.name}: {node.name}: {type(node.op).__name__} reads {wanted}, got {len(inputs)}"
                )
            try:
                specs[node.name] = node.op.outputs(*inputs)
            except ShapeError as error:
                raise ShapeError(f"{self.name}: {node.name}: {error}") from None
            nodes.append(self._bind(node, inputs, read, like or {}))
        params = dict(self.params)
        params.update(read)
        outputs = tuple((name, index) for name, index in self.outputs)
        for ref in outputs:
            self._resolve(specs, ref, "outputs")
        if not outputs:
            raise GraphError(f"{self.name}: a graph needs at least one output")
        for name, value in {"nodes": tuple(nodes), "outputs": outputs, "params": params, "specs": specs}.items():
            object.__setattr__(self, name, value)

    def __hash__(self) -> int:
        return hash((self.name, self.nodes, self.outputs))

    def _check_name(self, name: str, earlier: Mapping[str, Any]) -> None:
        if not name or "." in name or not name.isprintable() or not all(name.split("/")):
            raise GraphError(f"{self.name}: {name!r} is no node name; use printable parts joined by '/', without '.'")
        if name in earlier:
            raise GraphError(f"{self.name}: two nodes are named {name!r}; names identify layers and must differ")

    def _resolve(self, specs: Mapping[str, tuple[TensorSpec, ...]], ref: Ref, reader: str) -> TensorSpec:
        name, index = ref
        if name not in specs:
            later = any(node.name == name for node in self.nodes)
            why = "which comes later; order nodes by their inputs" if later else "which does not exist"
            raise GraphError(f"{self.name}: {reader} reads {name!r}, {why}")
        if not 0 <= index < len(specs[name]):
            raise GraphError(f"{self.name}: {reader} reads output {index} of {name!r}, which has {len(specs[name])}")
        return specs[name][index]

    def _bind(
        self, node: Node, inputs: tuple[TensorSpec, ...], read: dict[str, Param], like: Mapping[str, Param]
    ) -> Node:
        """Return the node with a key for every role, and enter its parameters and buffers into `read`."""
        shapes, kept = node.op.weights(*inputs), node.op.buffers(*inputs)
        if unknown := node.weights.keys() - shapes.keys() - kept.keys():
            raise GraphError(f"{self.name}: {node.name}: {type(node.op).__name__} has no weight {min(unknown)!r}")
        if not shapes and not kept:
            return node
        keys = {role: node.key(role) for role in (*shapes, *kept)}
        for role, key in keys.items():
            needed = kept[role] if role in kept else TensorSpec(shapes[role], weight_dtype(inputs))
            known = read.get(key) or self.params.get(key)
            if known is None:
                known = Param(needed.shape, needed.dtype, role in shapes, role in kept)
                if key in like:
                    known = dataclasses.replace(like[key], shape=needed.shape)
            self._check_param(node, key, known, needed.shape, role in kept)
            read[key] = known
        return node if keys == node.weights else dataclasses.replace(node, weights=keys)

    def _check_param(self, node: Node, key: str, known: Param, shape: Shape, buffer: bool) -> None:
        where = f"{self.name}: {node.name}"
        if known.shape != shape:
            raise GraphError(f"{where}: weight {key!r} is {known.shape}, its op needs {shape}")
        if known.buffer != buffer:
            kinds = ("a parameter", "a buffer")
            raise GraphError(f"{where}: {key!r} is {kinds[known.buffer]}, its op needs {kinds[buffer]}")

    @cached_property
    def _index(self) -> Mapping[str, Node]:
        return {node.name: node for node in self.nodes}

    def node(self, name: str) -> Node:
        """Return the node of that name; raise `UsageError` with the nearest name if there is none."""
        if name not in self._index:
            raise UsageError(f"{self.name} has no layer {name!r}{nearest(name, self._index)}")
        return self._index[name]

    def input_specs(self, node: Node) -> tuple[TensorSpec, ...]:
        """Return the specs of the tensors a node reads."""
        return tuple(self.specs[name][index] for name, index in node.inputs)

    @cached_property
    def readers(self) -> Mapping[str, tuple[Node, ...]]:
        """The nodes that read any output of each node, in order."""
        found: dict[str, list[Node]] = {node.name: [] for node in self.nodes}
        for node in self.nodes:
            for name in dict.fromkeys(name for name, _ in node.inputs):
                found[name].append(node)
        return {name: tuple(nodes) for name, nodes in found.items()}

    @property
    def inputs(self) -> Mapping[str, TensorSpec]:
        """The specs of the tensors that the caller gives, by node name."""
        return {node.name: self.specs[node.name][0] for node in self.nodes if node.op.is_input}

    @property
    def output_specs(self) -> tuple[TensorSpec, ...]:
        """The specs of the tensors that the graph returns."""
        return tuple(self.specs[name][index] for name, index in self.outputs)

    def edit(self, nodes: Iterable[Node], outputs: Iterable[Ref] | None = None, name: str | None = None) -> Graph:
        """Return a graph of other nodes in which every shape is inferred anew.

        Parameters keep their dtype and trainability by key; those that no node reads any more go.
        """
        unread = self.params.keys() - {key for node in self.nodes for key in node.weights.values()}
        return Graph(
            self.name if name is None else name,
            tuple(nodes),
            self.outputs if outputs is None else tuple(outputs),
            {key: param for key, param in self.params.items() if key in unread},
            self.origin,
            like=self.params,
        )

    def in_mode(self, mode: str) -> Graph:
        """Return the graph as it runs in ``inference`` or ``training``.

        Train-only nodes and outputs exist in training alone; in inference their parameters stay as
        unused ones, as they do in a module.
        """
        if mode not in MODES:
            raise UsageError(f"unknown mode {mode!r}; modes are {' and '.join(MODES)}")
        kept = [n for n in self.nodes if mode == "training" or not n.train_only]
        nodes = [n if (op := n.op.in_mode(mode)) is n.op else dataclasses.replace(n, op=op) for n in kept]
        if len(nodes) == len(self.nodes) and all(a is b for a, b in zip(nodes, self.nodes, strict=True)):
            return self
        names = {node.name for node in nodes}
        outputs = tuple(ref for ref in self.outputs if ref[0] in names)
        if outputs and all(self._index[n.name] is n and all(r[0] in names for r in n.inputs) for n in nodes):
            return self._part(tuple(nodes), outputs)
        return Graph(self.name, tuple(nodes), outputs, self.params, self.origin, self.calls)

    def _part(self, nodes: tuple[Node, ...], outputs: tuple[Ref, ...]) -> Graph:
        """Return some of the nodes as a graph without inferring it again: they read nothing but each other."""
        specs = {node.name: self.specs[node.name] for node in nodes}
        return self._like_this(nodes=nodes, outputs=outputs, specs=specs)

    @classmethod
    def assembled(
        cls,
        name: str,
        nodes: tuple[Node, ...],
        outputs: tuple[Ref, ...],
        params: Mapping[str, Param],
        specs: Mapping[str, tuple[TensorSpec, ...]],
        origin: str,
        calls: tuple[Call, ...] = (),
    ) -> Graph:
        """Return a graph of parts that are known to fit, as a trace knows: nothing is inferred or checked."""
        graph = object.__new__(cls)
        graph.__dict__.update(
            name=name, nodes=nodes, outputs=outputs, params=params, specs=specs, origin=origin, calls=calls
        )
        return graph

    def named(self, name: str) -> Graph:
        """Return the graph under another name."""
        return self._like_this(name=name)

    def _like_this(self, **fields: Any) -> Graph:
        """Return a copy with some fields replaced, which the caller knows to be valid."""
        twin = object.__new__(Graph)
        kept = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        twin.__dict__.update({**kept, **fields})
        return twin

    def with_inputs(self, inputs: Mapping[str, TensorSpec]) -> Graph:
        """Return the graph for other inputs, by node name; every shape is inferred anew.

        Parameters of an input's floating dtype follow it into another.
        """
        for name in inputs:
            if name not in self.inputs:
                known = ", ".join(self.inputs)
                raise UsageError(
                    f"{self.name} has no input {name!r}{nearest(name, self.inputs)} (its inputs: {known})"
                )
        casts = {self.inputs[name].dtype: spec.dtype for name, spec in inputs.items()}

        def given(node: Node) -> Node:
            op: Any = node.op
            spec = inputs.get(node.name)
            changed = op if spec is None else dataclasses.replace(op, shape=spec.shape, dtype=spec.dtype)
            return dataclasses.replace(node, op=changed)

        return self._cast(casts).edit(map(given, self.nodes))

    def _cast(self, casts: Mapping[str, str]) -> Graph:
        """Return the graph with its floating parameters and buffers of one dtype in another."""
        casts = {old: new for old, new in casts.items() if old != new and is_floating(old) and is_floating(new)}
        if not casts:
            return self
        params = {key: dataclasses.replace(p, dtype=casts.get(p.dtype, p.dtype)) for key, p in self.params.items()}
        return dataclasses.replace(self, params=params, like=None)

    def to_dict(self) -> dict[str, Any]:
        """Return the graph as plain data, the form that `sources.json` reads back without loss."""
        data: dict[str, Any] = {
            "schema": "archlab.graph/1",
            "name": self.name,
            "nodes": [node.to_dict() for node in self.nodes],
            "outputs": [list(ref) for ref in self.outputs],
            "params": {key: param.to_dict() for key, param in self.params.items()},
        }
        if self.calls:
            data["calls"] = [call.to_dict() for call in self.calls]
        return data

    def to_json(self) -> str:
        """Return the graph as JSON text; a file of it is a target."""
        import json

        return json.dumps(self.to_dict(), indent=1, ensure_ascii=False) + "\n"

    def __str__(self) -> str:
        inputs = ", ".join(map(str, self.inputs.values()))
        outputs = ", ".join(map(str, self.output_specs))
        return f"{self.name}: {len(self.nodes)} nodes, {inputs} -> {outputs}"
