"""`evaluate`: the cost of a graph with some sizes left open, as integer arrays or sympy symbols.

The ops' own rules and `cost.price` do the work; only the numbers that flow through them differ.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from archlab.cost import METRICS, Cost, price_node, total
from archlab.dims import assuming, equal, require
from archlab.errors import GraphError, UsageError, nearest
from archlab.ir import Graph, Node, TensorSpec, weight_dtype

Bindings = Mapping[str, Mapping[str, Any]]
"""What to leave open: {node name: {field of its op: value}}."""

_AXES = frozenset(("computed", "dim", "dims", "start_dim", "end_dim", "layers", "projection", "results"))
"""Fields that say which dimensions, weights or results are meant: they steer the rules and stay plain numbers."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The cost of a graph for many configurations (arrays) or in closed form (sympy expressions).

    `output_shapes` are those of every node's outputs. `assumptions` are the sympy conditions under
    which the shapes fit and which sympy could not decide.
    """

    total: Cost
    output_shapes: Mapping[str, tuple[tuple[Any, ...], ...]]
    assumptions: tuple[Any, ...] = ()

    @property
    def shapes(self) -> dict[str, tuple[Any, ...]]:
        """The shape of each node's first output."""
        return {name: shapes[0] for name, shapes in self.output_shapes.items()}

    @property
    def macs(self) -> Any:
        """Multiply-accumulates."""
        return self.total.macs

    @property
    def params(self) -> Any:
        """Learnable scalars that the graph reads."""
        return self.total.params

    @property
    def flops(self) -> Any:
        """2·MACs and all other operations."""
        return self.total.flops

    @property
    def activations(self) -> Any:
        """Output elements of layers that are neither views nor inputs."""
        return self.total.activations

    @property
    def bytes_moved(self) -> Any:
        """Unfused memory traffic in bytes."""
        return self.total.bytes_moved

    @property
    def weight_bytes(self) -> Any:
        """Bytes of the parameters."""
        return self.total.weight_bytes


def evaluate(graph: Graph, bindings: Bindings, mode: str = "inference") -> Evaluation:
    """Return the cost of a graph with `bindings` in place of the fields of its ops.

    >>> n, h, w = sympy.symbols("n h w", integer=True, positive=True)
    >>> evaluate(load("naive"), {"input": {"shape": (n, 480, h, w)}}).macs
    576000*h*n*w

    Values are ints, sympy expressions, or integer arrays, which broadcast together: counts are then
    arrays of their common shape, int64 where that is proved to hold them, else Python ints.
    Raises `UsageError` for an unknown node, field or kind of value, `ShapeError` where shapes do not
    fit (of arrays, the first configuration that fails).
    """
    graph = graph.in_mode(mode)
    values = {name: _checked(graph.node(name), fields) for name, fields in bindings.items()}
    flat = list(_leaves(list(values.values())))
    arrays = [value for value in flat if _is_array(value)]
    symbolic = any(_is_symbolic(value) for value in flat)
    if arrays and symbolic:
        raise UsageError("bind arrays or symbols, not both")
    common = _broadcast_shape(arrays)
    with assuming() as assumptions:
        specs, cost = _walk(graph, values)
    shapes = {name: tuple(spec.shape for spec in outputs) for name, outputs in specs.items()}
    if arrays:
        from archlab.analyses.exact import plain_array

        cost = _mapped(cost, lambda count: plain_array(count, common))
        shapes = {name: tuple(tuple(map(plain_array, s)) for s in outputs) for name, outputs in shapes.items()}
    elif symbolic:
        cost = _mapped(cost, _closed_form)
    return Evaluation(cost, shapes, tuple(assumptions))


def _walk(graph: Graph, values: Mapping[str, Mapping[str, Any]]) -> tuple[dict[str, tuple[TensorSpec, ...]], Cost]:
    specs: dict[str, tuple[TensorSpec, ...]] = {}
    parameters: dict[str, TensorSpec] = {}
    owned: set[str] = set()
    costs = []
    for node in graph.nodes:
        inputs = tuple(specs[name][index] for name, index in node.inputs)
        try:
            bound = dataclasses.replace(node, op=dataclasses.replace(node.op, **values.get(node.name, {})))
            specs[node.name] = bound.op.outputs(*inputs)
            read = _parameters(graph, bound, inputs, parameters)
        except GraphError as error:
            raise type(error)(f"{graph.name}: {node.name}: {error}") from None
        costs.append(price_node(bound, inputs, specs[node.name], read, owned))
    return specs, total(costs)


def _parameters(
    graph: Graph, node: Node, inputs: tuple[TensorSpec, ...], known: dict[str, TensorSpec]
) -> dict[str, TensorSpec]:
    """Return what a node reads, by key; a tied parameter must have one shape everywhere."""
    read = {}
    for role, shape in node.op.weights(*inputs).items():
        key = node.key(role)
        dtype = graph.params[key].dtype if key in graph.params else weight_dtype(inputs)
        read[key] = spec = TensorSpec(shape, dtype)
        first = known.setdefault(key, spec).shape
        agree: Any = len(first) == len(shape)
        for a, b in zip(first, shape, strict=False):
            agree = agree & equal(a, b)
        require(agree, "weight {!r} is {} elsewhere, its op needs {}", key, first, shape)
    return read


def _checked(node: Node, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return bound values with arrays made exact; raise `UsageError` for what the op cannot take."""
    kind = type(node.op).__name__
    known = {f.name: str(getattr(f.type, "__name__", f.type)) for f in dataclasses.fields(node.op)}
    checked = {}
    for name, value in fields.items():
        what = f"{node.name}: {name}"
        if name not in known:
            raise UsageError(f"{node.name}: {kind} has no field {name!r}{nearest(name, known)}")
        is_open = any(_is_array(leaf) or _is_symbolic(leaf) for leaf in _leaves(value))
        if is_open and (name in _AXES or known[name] not in {"int", "Any"}):
            raise UsageError(f"{what} of {kind} is no size: it takes neither an array nor a symbol")
        checked[name] = _exact(value, what)
    return checked


def _exact(value: Any, what: str) -> Any:
    if isinstance(value, (tuple, list)):
        return tuple(_exact(item, what) for item in value)
    if _is_array(value):
        from archlab.analyses.exact import exact_array

        return exact_array(value, what)
    return value


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, (tuple, list, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _leaves(item)
    else:
        yield value


def _is_array(value: Any) -> bool:
    return bool(getattr(value, "ndim", 0))


def _is_symbolic(value: Any) -> bool:
    return bool(getattr(value, "free_symbols", None))


def _broadcast_shape(arrays: list[Any]) -> tuple[int, ...]:
    if not arrays:
        return ()
    from archlab.analyses.exact import broadcast_shape

    return broadcast_shape(arrays)


def _closed_form(count: Any) -> Any:
    """Return a polynomial multiplied out; with ⌊·⌋, min or max in it, that would only hide what they hold."""
    if not _is_symbolic(count):
        return int(count)
    return count.expand() if count.is_polynomial(*count.free_symbols) else count


def _mapped(cost: Cost, change: Any) -> Cost:
    counts = {metric: change(getattr(cost, metric)) for metric in METRICS}
    return Cost(**counts, operations={kind: change(count) for kind, count in cost.operations.items()})
