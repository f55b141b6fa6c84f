"""From a parsed model to a graph: nodes in order, functions and branches that are known written out."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any

from archlab.errors import GraphError, ReadError
from archlab.ir import Graph, TensorSpec
from archlab.ops import Input, Layout, Unknown
from archlab.sources.netlist import MAX_NODES, clean
from archlab.sources.onnx import attention, conv, dense, elements, layout, norm, places, pools, recurrent
from archlab.sources.onnx.common import (
    NotCoveredError,
)
from archlab.sources.onnx.fold import folded
from archlab.sources.onnx.inference import inferred
from archlab.sources.onnx.naming import Label, label_of
from archlab.sources.onnx.reading import Call, Reading, UnknownElementsError, is_learned
from archlab.sources.onnx.settings import constant_of, key_of, setting_of
from archlab.sources.onnx.tensors import Value, declared, fixed_spec, kept
from archlab.sources.open_shapes import Open, settle

if TYPE_CHECKING:
    from archlab.sources.target import Asked

Scope = MutableMapping[str, Value]
RULES: Mapping[str, Callable[[Reading, Call], Sequence[Value]]] = {
    **conv.RULES,
    **dense.RULES,
    **norm.RULES,
    **recurrent.RULES,
    **pools.RULES,
    **elements.RULES,
    **layout.RULES,
    **places.RULES,
    **attention.RULES,
}
SHARED = ("BiasGelu", "FastGelu", "FusedMatMul", "Gelu", "QuickGelu", "SimplifiedLayerNormalization")
"""Operators of com.microsoft that our rules name as they are."""
MAX_DEPTH = 30
"""More levels of functions and branches are no network."""


def read(model: Any, where: str, asked: Sequence[Asked]) -> Graph:
    """Return the graph of a parsed model; see `read_model`."""
    graph = model.graph
    if not graph.node and not graph.output:
        raise ReadError(f"{where}: holds no network; is it an ONNX model?")
    walk = _Walk(model, where, bool(asked))
    try:
        scope = walk.start(graph, asked)
        walk.run(graph.node, scope, walk.versions, None, 0)
    except (ReadError, GraphError) as error:
        raise type(error)(str(error) if str(error).startswith(where) else f"{where}: {error}") from None
    outputs = []
    for output in graph.output:
        if output.name not in scope:
            raise ReadError(f"{where}: the output {output.name[:60]!r} is made by no node")
        outputs.append(walk.reading.ref(scope[output.name]))
    return walk.reading.graph(graph.name or "onnx", outputs)


class _Walk:
    def __init__(self, model: Any, where: str, resized: bool) -> None:
        self.model, self.where, self.resized = model, where, resized
        self.reading = Reading(where)
        self.versions = {o.domain if o.domain != "ai.onnx" else "": o.version for o in model.opset_import}
        self.functions = {(f.domain, f.name): f for f in model.functions}
        self.told: dict[str, TensorSpec] = {}
        self.uses: dict[str, int] = {}
        self.left = MAX_NODES

    def start(self, graph: Any, asked: Sequence[Asked]) -> Scope:
        """Return the initialisers and the inputs by name."""
        scope: Scope = {}
        sparse = [(s.values, s.dims) for s in graph.sparse_initializer]
        for tensor in graph.initializer:
            self._enter(scope, tensor.name, kept(tensor, f"the initialiser {tensor.name[:60]!r}"))
        for tensor, dims in sparse:
            value = kept(tensor, f"the initialiser {tensor.name[:60]!r}")
            spec = TensorSpec(tuple(dims), value.spec.dtype)
            self._enter(scope, tensor.name, Value(spec))
        for name, value in scope.items():
            value.key, value.learned = key_of(name), is_learned(name, value.spec)
            self.reading.kept[value.key] = value
        known: dict[str, tuple[Open | None, str]] = {}
        for given in graph.input:
            found = declared(given)
            if given.name in scope:
                continue
            if found is None:
                raise ReadError(f"{self.where}: the input {given.name[:60]!r} is no tensor")
            known[given.name] = found
        shown = {name: clean(name).replace("/", "_") for name in known}
        specs = settle(self.where, {shown[name]: known[name] for name in known}, asked)
        for name in known:
            spec = specs[shown[name]]
            (ref,) = self.reading.add(Label("", shown[name]), Input(spec.shape, spec.dtype), (), {})
            self._enter(scope, name, Value(spec, ref))
        self._learn(graph)
        return scope

    def _enter(self, scope: Scope, name: str, value: Value) -> None:
        if name in scope:
            raise ReadError(f"{self.where}: two tensors are named {name[:60]!r}")
        value.uses = self.uses.get(name, 0)
        scope[name] = value

    def _learn(self, graph: Any) -> None:
        """Remember which shapes the file declares, and who reads what."""
        for info in (*graph.value_info, *graph.output):
            try:
                found = declared(info)
            except ReadError:
                continue  # a value that nobody has to know
            if found is not None and (fixed := fixed_spec(found)) is not None:
                self.told[info.name] = fixed
        for output in graph.output:
            self.uses[output.name] = self.uses.get(output.name, 0) + 1
        for node in (*graph.node, *(node for function in self.functions.values() for node in function.node)):
            self._count(node, 0)

    def _count(self, node: Any, depth: int) -> None:
        for place, name in enumerate(node.input):
            self.uses[name] = self.uses.get(name, 0) + 1
            self.reading.readers.setdefault(key_of(name), []).append((node.op_type, place))
        if depth > MAX_DEPTH:
            return
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                for each in inner.node:
                    self._count(each, depth + 1)
                for output in inner.output:
                    self.uses[output.name] = self.uses.get(output.name, 0) + 1

    def run(
        self, nodes: Iterable[Any], scope: Scope, versions: Mapping[str, int], caller: Call | None, depth: int
    ) -> None:
        """Go through nodes in order; what each makes is entered into the scope under the name of its output."""
        if depth > MAX_DEPTH:
            raise ReadError(f"functions call each other more than {MAX_DEPTH} deep")
        for node in nodes:
            self.left -= 1
            if self.left < 0:
                raise ReadError(f"unfolds into more than {MAX_NODES:,} nodes")
            domain = node.domain if node.domain != "ai.onnx" else ""
            place = f"node {(node.name or next(iter(node.output), ''))[:80]!r} ({node.op_type[:40]})"
            try:
                call = self._call(node, domain, scope, versions, caller)
                made = self._made(call, scope, versions, depth)
            except (ReadError, GraphError) as error:
                text = str(error)
                text = text if text.startswith("node ") else f"{place}: {text}"
                kind = ReadError if isinstance(error, ReadError) else type(error)
                raise kind("".join(c if c.isprintable() else " " for c in text)) from None
            for name, value in zip(node.output, made, strict=False):
                if name:
                    self._bind(scope, name, value)

    def _bind(self, scope: Scope, name: str, value: Value) -> None:
        known = self.uses.get(name, 1)
        value.uses = known if value.ref is not None and not value.uses else value.uses + known
        if name in (scope.maps[0] if isinstance(scope, ChainMap) else scope):
            raise ReadError(f"two nodes make {name[:60]!r}")
        scope[name] = value

    def _call(self, node: Any, domain: str, scope: Scope, versions: Mapping[str, int], caller: Call | None) -> Call:
        inputs: list[Value | None] = []
        for name in node.input:
            if name and name not in scope:
                raise ReadError(f"reads {name[:60]!r}, which nothing before it makes")
            inputs.append(scope[name] if name else None)
        given = {} if caller is None else caller.attributes
        attributes = {a.name: setting_of(a, given) for a in node.attribute}
        label = label_of(node)
        if caller is not None:
            at = "/".join(part for part in (caller.label.module, caller.label.function, label.module) if part)
            label = label._replace(module=at)
        outputs = list(node.output)
        known = {name: value for name, value in attributes.items() if value is not None}
        return Call(node.op_type, domain, versions.get(domain, 1), inputs, known, outputs, label, node)

    def _made(self, call: Call, scope: Scope, versions: Mapping[str, int], depth: int) -> Sequence[Value]:
        """Return what a node makes, by the first that knows: its elements, a rule, a function, a branch, nobody."""
        standard = call.domain == ""
        if standard and call.op == "Constant":
            value = constant_of(call)
            value.key = key_of(call.outputs[0]) if call.outputs and is_learned("", value.spec) else ""
            return [value]
        if standard and call.op == "Identity":
            return [call.input(0)]
        if (call.domain, call.op) in self.functions:
            return self._function(call, depth)
        if standard and (known := folded(self.reading, call)) is not None:
            return known
        if standard and call.op == "If":
            branch = self._branch(call, scope, versions, depth)
            if branch is not None:
                return branch
        rule = RULES.get(call.op) if standard or call.op in SHARED else None
        if call.domain == "com.microsoft":
            rule = attention.MICROSOFT.get(call.op, rule)
        if rule is not None:
            try:
                return rule(self.reading, call)
            except UnknownElementsError as error:
                return self._told(call, error)
            except NotCoveredError:
                pass
        return self._unknown(call, versions)

    def _told(self, call: Call, error: ReadError) -> Sequence[Value]:
        """Return what the file says that a node makes whose shape depends on elements; raise the error if nothing."""
        specs = [self.told.get(name) for name in call.outputs if name]
        if self.resized or None in specs:
            raise error
        given = [value for value in call.given if value.ref is not None or value.learned]
        saw = tuple(value.spec.shape for value in given)
        made = []
        for spec in specs:
            assert spec is not None
            op: Any = Layout(call.op, (spec.shape,), saw, spec.dtype, False)
            if call.op not in layout.RULES or not given:
                op = Unknown(call.op, ((spec.shape, spec.dtype),), saw)
            made.append(self.reading.one(call, op, given))
        each = iter(made)
        return [next(each) if name else Value(TensorSpec(())) for name in call.outputs]

    def _function(self, call: Call, depth: int) -> Sequence[Value]:
        """Write a function of the model out."""
        function = self.functions[call.domain, call.op]
        scope: Scope = {}
        for name, value in zip(function.input, call.inputs, strict=False):
            if value is not None:
                scope[name] = value
        defaults = {a.name: setting_of(a, {}) for a in function.attribute_proto}
        call.attributes = {**defaults, **call.attributes}
        versions = {o.domain if o.domain != "ai.onnx" else "": o.version for o in function.opset_import}
        self.run(function.node, scope, versions, call, depth + 1)
        for name in function.output:
            if name not in scope:
                raise ReadError(f"its function makes no {name[:60]!r}")
        return [scope[name] for name in function.output]

    def _branch(self, call: Call, scope: Scope, versions: Mapping[str, int], depth: int) -> Sequence[Value] | None:
        """Write out the branch that a known condition chooses, None where it is not known."""
        condition = self.reading.elements(call.input(0))
        if condition is None or condition.size != 1:
            return None
        branch = call.attributes.get("then_branch" if bool(condition.reshape(-1)[0]) else "else_branch")
        if branch is None or not hasattr(branch, "node"):
            raise ReadError("has no such branch")
        inner: Scope = ChainMap({}, scope)
        for tensor in branch.initializer:
            value = kept(tensor, f"the initialiser {tensor.name[:60]!r}")
            value.key, value.learned = key_of(tensor.name), is_learned(tensor.name, value.spec)
            inner[tensor.name] = value
        self.run(branch.node, inner, versions, None, depth + 1)
        for output in branch.output:
            if output.name not in inner:
                raise ReadError(f"its branch makes no {output.name[:60]!r}")
        return [inner[output.name] for output in branch.output]

    def _unknown(self, call: Call, versions: Mapping[str, int]) -> Sequence[Value]:
        """Return what an operator without a rule makes: what onnx infers, else what the file declares."""
        names = [name for name in call.outputs if name]
        if not names:
            raise ReadError("makes nothing")
        specs = inferred(call, versions)
        if specs is None and not self.resized and all(name in self.told for name in names):
            specs = [self.told[name] for name in call.outputs if name]
        if specs is None:
            raise ReadError("has no rule, and neither onnx nor the file says what shapes it makes")
        given = [value for value in call.given if value.ref is not None or value.learned or value.data is None]
        op = Unknown(
            f"{call.domain}.{call.op}".lstrip("."),
            tuple((spec.shape, spec.dtype) for spec in specs),
            tuple(value.spec.shape for value in given),
        )
        made = iter(self.reading.emit(call, op, given))
        return [next(made) if name else Value(TensorSpec(())) for name in call.outputs]
