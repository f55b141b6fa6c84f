"""`Reading`: one ONNX graph on its way to ours, with what every name in it stands for."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from archlab.errors import ReadError
from archlab.ir import Graph, Node, Op, Param, Ref, TensorSpec, is_floating
from archlab.ops import Kept, Layout, Linear
from archlab.sources.netlist import Netlist
from archlab.sources.onnx.naming import Label, called_again, names_of, renamed
from archlab.sources.onnx.tensors import Value

Roles = Mapping[str, Value]


@dataclass
class Call:
    """One node of the file: its operator, what it reads (None for what is left out), and its settings."""

    op: str
    domain: str
    version: int
    inputs: list[Value | None]
    attributes: Mapping[str, Any]
    outputs: list[str]
    label: Label
    proto: Any

    def _typed(self, name: str, kind: type, wanted: str, default: Any) -> Any:
        value = self.attributes.get(name, default)
        if value is default or type(value) is kind:
            return value
        raise ReadError(f"its {name} must be {wanted}")

    def integer(self, name: str, default: int) -> int:
        """Return a setting that is an integer."""
        return self._typed(name, int, "an integer", default)  # type: ignore[no-any-return]

    def number(self, name: str, default: float) -> float:
        """Return a setting that is a number."""
        return self._typed(name, float, "a number", default)  # type: ignore[no-any-return]

    def text(self, name: str, default: str = "") -> str:
        """Return a setting that is a text."""
        return self._typed(name, str, "a text", default)  # type: ignore[no-any-return]

    def integers(self, name: str) -> tuple[int, ...] | None:
        """Return a setting that is a list of integers, None if it is not there."""
        return self._typed(name, tuple, "a list of integers", None)  # type: ignore[no-any-return]

    def input(self, index: int) -> Value:
        """Return what it reads at a place; raise `ReadError` if it reads nothing there."""
        value = self.optional(index)
        if value is None:
            raise ReadError(f"reads nothing at place {index + 1}")
        return value

    def optional(self, index: int) -> Value | None:
        """Return what it reads at a place, None if nothing."""
        return self.inputs[index] if index < len(self.inputs) else None

    @property
    def given(self) -> list[Value]:
        """Everything that it reads."""
        return [value for value in self.inputs if value is not None]


class UnknownElementsError(ReadError):
    """What a node makes depends on elements that are not known."""


class Reading:
    """Collects the nodes, and makes tensors that the file keeps into nodes or weights when they are read."""

    def __init__(self, where: str) -> None:
        self.net = Netlist(where)
        self.labels: dict[str, Label] = {}
        self.kept: dict[str, Value] = {}
        self.looked_at: set[str] = set()
        self.readers: dict[str, list[tuple[str, int]]] = {}  # of each kept tensor: operator and place

    # -- what is read ------------------------------------------------------------------------------

    def ref(self, value: Value) -> Ref:
        """Return what computes a tensor; one that the file keeps becomes a node of its own."""
        if value.ref is None and value.turned is not None:
            op = Layout("transpose", (value.spec.shape,), (value.turned.spec.shape,))
            (value.ref,) = self.add(Label("", "transpose"), op, [self.ref(value.turned)], {})
        if value.ref is None:
            learned = bool(value.key) and value.learned
            key = value.key or f"constant{len(self.labels)}"
            name = Label("", key.replace(".", "/") if learned else "constant")
            weights = {"value": value.key} if learned else {}
            if learned:
                weights["value"] = self._keep(value, "value")
            (value.ref,) = self.add(name, Kept(value.spec.shape, value.spec.dtype, learned), (), weights)
        return value.ref

    def elements(self, value: Value | None) -> Any:
        """Return the known elements of a tensor, which then counts as no parameter; None if unknown."""
        if value is None:
            return None
        if value.key:
            self.looked_at.add(value.key)
        return value.data

    def integers(self, value: Value | None, what: str) -> list[int]:
        """Return the elements of a tensor as integers; raise `ReadError` where they are not known."""
        data = self.elements(value)
        if data is None:
            raise UnknownElementsError(f"numbers that the file does not hold say {what}")
        return [int(d) for d in data.reshape(-1).tolist()]

    # -- what is written ---------------------------------------------------------------------------

    def add(self, label: Label, op: Op, inputs: Iterable[Ref], weights: Mapping[str, str]) -> tuple[Ref, ...]:
        """Append a node under a preliminary name."""
        name = f"n{len(self.labels)}"
        self.labels[name] = label
        return self.net.add(name, op, inputs, weights)

    def emit(
        self,
        call: Call,
        op: Op,
        inputs: Sequence[Value],
        part: str = "",
        roles: Roles | None = None,
        **more: Value | None,
    ) -> list[Value]:
        """Append an op and return what it makes. `roles` are its weights, each one that the file keeps."""
        weights = {}
        for role, value in {**(roles or {}), **more}.items():
            if value is not None:
                weights[role] = self._keep(value, role)
        label = call.label._replace(part=part)
        refs = self.add(label, op, [self.ref(value) for value in inputs], weights)
        return [Value(self.net.specs[ref], ref) for ref in refs]

    def one(
        self,
        call: Call,
        op: Op,
        inputs: Sequence[Value],
        part: str = "",
        roles: Roles | None = None,
        **more: Value | None,
    ) -> Value:
        """Do as `emit` for an op with one output."""
        return self.emit(call, op, inputs, part, roles, **more)[0]

    def _keep(self, value: Value, role: str) -> str:
        """Enter a tensor as a parameter or a buffer and return its key.

        Exporters join equal tensors, so one may be read as both; it then is a tensor of either kind.
        """
        spec, buffer, key = value.spec, role.startswith("running_"), value.key
        known = self.net.params.get(key)
        if known is not None and known.buffer != buffer:
            key = f"{key}/{role}"
            known = self.net.params.get(key)
        if known is None:
            self.net.params[key] = Param(spec.shape, spec.dtype, not buffer, buffer)
        elif known.shape != spec.shape:
            raise ReadError(f"{value.key!r} is read as {known.shape} and as {spec.shape}")
        return key

    def turned(self, value: Value) -> Value:
        """Return a kept matrix as its transpose, in which a linear layer keeps it."""
        return dataclasses.replace(value, spec=value.spec.reshaped(value.spec.shape[::-1]), ref=None)

    def part(self, value: Value, shape: tuple[int, ...], name: str) -> Value:
        """Return a part of a kept tensor as a parameter of its own."""
        self.looked_at.add(value.key)
        return Value(TensorSpec(shape, value.spec.dtype), key=f"{value.key}/{name}", learned=True)

    def with_bias(self, made: Value, bias: Value) -> Value | None:
        """Return what a linear layer makes once it adds a bias, None if it has one or others read its product."""
        assert made.ref is not None
        node = self.net.nodes[made.ref[0]]
        if not isinstance(node.op, Linear) or node.op.bias or made.uses != 1:
            return None
        key = self._keep(bias, "bias")
        op = dataclasses.replace(node.op, bias=True)
        self.net.nodes[node.name] = dataclasses.replace(node, op=op, weights={**node.weights, "bias": key})
        return Value(made.spec, made.ref)

    def graph(self, name: str, outputs: Sequence[Ref]) -> Graph:
        """Return the graph, its nodes under their names, unread initialisers as unused parameters."""
        free = [not self.net.nodes[name].weights for name in self.labels]
        labels = called_again(list(self.labels.values()), free)
        names = dict(zip(self.labels, names_of(labels), strict=True))
        nodes = [
            Node(names[node.name], node.op, renamed(names, node.inputs), node.weights)
            for node in self.net.nodes.values()
        ]
        self.net.nodes = {node.name: node for node in nodes}
        for key, value in self.kept.items():
            if key not in self.net.params and key not in self.looked_at and value.learned and value.ref is None:
                self.net.params[key] = Param(value.spec.shape, value.spec.dtype)
        return self.net.graph(name, renamed(names, outputs))


_PATH = re.compile(r"[A-Za-z_]\w*(\.\w+)+")


def is_learned(name: str, spec: TensorSpec) -> bool:
    """Return whether an initialiser counts as a parameter: floating numbers, but for a single constant.

    ONNX does not tell them apart; a single number is learned only if it has the name of a module's
    parameter, such as ``head.temperature``.
    """
    several = spec.numel > 1 or _PATH.fullmatch(name[:1000]) is not None
    return is_floating(spec.dtype) and (several or spec.numel == 0)
