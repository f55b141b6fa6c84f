"""`evaluate`, op by op: ints, arrays and symbols give the same counts and shapes."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy
import pytest
import sympy
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from archlab.analyses.evaluate import Evaluation, evaluate
from archlab.cost import METRICS, Cost
from archlab.errors import ShapeError, UsageError
from archlab.ir import OPERATION_CLASSES, Graph, Node, Op, TensorSpec
from archlab.ops import ALL, BY_NAME, Counted, Custom, Input, Layout, Linear, Unknown
from archlab.profiles import profile_graph

Sizes = dict[str, Any]


def pair(least: int, most: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(least, most), st.integers(least, most))


IMAGE = st.tuples(st.integers(1, 3), st.sampled_from([4, 8, 12]), st.integers(4, 16), st.integers(4, 16))
ANY = st.one_of(IMAGE, st.tuples(st.integers(1, 5), st.integers(1, 5)))
BOOL = st.booleans()
CONV = {
    "out_channels": st.sampled_from([4, 8, 24]),
    "kernel": pair(1, 3),
    "stride": pair(1, 3),
    "dilation": pair(1, 2),
}
GROUPS = {"groups": st.sampled_from([1, 2, 4])}
LINE = st.tuples(st.integers(1, 3), st.sampled_from([4, 8, 12]), st.integers(4, 16))
VOLUME = st.tuples(st.integers(1, 3), st.sampled_from([4, 8, 12]), *[st.integers(4, 9)] * 3)


def each(rank: int, least: int, most: int) -> st.SearchStrategy[tuple[int, ...]]:
    return st.tuples(*[st.integers(least, most)] * rank)


def axes(rank: int) -> dict[str, Any]:
    """Return the sizes of a convolution over so many axes."""
    sizes = {"kernel": each(rank, 1, 3), "stride": each(rank, 1, 3), "dilation": each(rank, 1, 2)}
    return {**sizes, "out_channels": st.sampled_from([4, 8]), "padding": each(rank, 0, 1)}


POOL = {"kernel": pair(1, 4), "stride": pair(1, 3)}
ROW = st.integers(1, 4)

# Per op, for some more than once: what stays fixed in one evaluation, what varies, and the shapes read.
CASES: list[tuple[str, Sizes, Sizes, st.SearchStrategy[Any]]] = [
    ("Input", {}, {}, st.tuples(ANY)),
    ("Conv2d", {"bias": BOOL}, {**CONV, **GROUPS, "padding": pair(0, 3)}, st.tuples(IMAGE)),
    ("Conv2d", {"bias": BOOL, "padding": st.just("same_upper")}, {**CONV, **GROUPS}, st.tuples(IMAGE)),
    (
        "Conv2d",
        {"padding": st.just("same")},
        {**CONV, "stride": st.just((1, 1)), "dilation": st.just((1, 1))},
        st.tuples(IMAGE),
    ),
    (
        "ConvTranspose2d",
        {"bias": BOOL},
        {**CONV, **GROUPS, "padding": pair(0, 1), "output_padding": pair(0, 1)},
        st.tuples(IMAGE),
    ),
    ("MaxPool2d", {"ceil_mode": BOOL}, {**POOL, "padding": pair(0, 1), "dilation": pair(1, 2)}, st.tuples(IMAGE)),
    ("MaxPool2d", {"padding": st.just("same_upper")}, POOL, st.tuples(IMAGE)),
    ("AvgPool2d", {"ceil_mode": BOOL}, {**POOL, "padding": pair(0, 1)}, st.tuples(IMAGE)),
    ("GlobalAvgPool2d", {}, {}, st.tuples(IMAGE)),
    ("AdaptiveAvgPool2d", {}, {"output_size": pair(1, 20)}, st.tuples(IMAGE)),
    ("Linear", {"bias": BOOL}, {"out_features": st.integers(1, 9)}, st.tuples(ANY)),
    ("MatMul", {}, {}, st.builds(lambda b, m, k, p: ((b, m, k), (b, k, p)), ROW, ROW, ROW, ROW)),
    ("MatMul", {}, {}, st.builds(lambda b, c, m, k, p: ((b, 1, m, k), (c, k, p)), ROW, ROW, ROW, ROW, ROW)),
    ("MatMul", {}, {}, st.builds(lambda m, k: ((m, k), (k,)), ROW, ROW)),
    ("BatchNorm", {"scale": BOOL, "training": BOOL}, {}, st.tuples(ANY)),
    ("LayerNorm", {"dims": st.integers(1, 2)}, {}, st.tuples(ANY)),
    ("LocalResponseNorm", {}, {"size": st.integers(1, 7)}, st.tuples(IMAGE)),
    ("ReLU", {}, {}, st.tuples(ANY)),
    ("GELU", {}, {}, st.tuples(ANY)),
    ("Sigmoid", {}, {}, st.tuples(ANY)),
    ("Softmax", {"dim": st.integers(-2, 1)}, {}, st.tuples(ANY)),
    ("Add", {}, {}, st.builds(lambda x: (x, x), ANY)),
    ("Add", {}, {}, st.builds(lambda a, b, c: ((a, b, c), (b, 1)), ROW, ROW, ROW)),
    ("Mul", {}, {}, st.builds(lambda a, b, one: ((a, b), (a, 1 if one else b)), ROW, ROW, BOOL)),
    ("Concat", {}, {}, st.builds(lambda x, c: (x, (x[0], c, *x[2:])), ANY, ROW)),
    ("Flatten", {"start_dim": st.integers(0, 1)}, {}, st.tuples(ANY)),
    ("Reshape", {}, {"shape": st.tuples(st.just("=0"), st.sampled_from([1, 2, 4]), st.just(-1))}, st.tuples(IMAGE)),
    ("Dropout", {"training": BOOL}, {}, st.tuples(ANY)),
    ("Conv1d", {"bias": BOOL}, {**axes(1), **GROUPS}, st.tuples(LINE)),
    ("Conv3d", {"bias": BOOL}, {**axes(3), **GROUPS}, st.tuples(VOLUME)),
    ("ConvTranspose1d", {"bias": BOOL}, {**axes(1), **GROUPS, "output_padding": each(1, 0, 1)}, st.tuples(LINE)),
    ("ConvTranspose3d", {"bias": BOOL}, {**axes(3), **GROUPS, "output_padding": each(3, 0, 1)}, st.tuples(VOLUME)),
    (
        "Conv2d",
        {"out_channels": st.just(4), "kernel": st.just((1, 2)), "computed": st.just(("bias", "weight"))},
        {"stride": pair(1, 3)},
        st.builds(lambda x: (x, (4,), (4, x[1], 1, 2)), IMAGE),
    ),
    (
        "Linear",
        {"out_features": st.just(5), "computed": st.just(("weight",))},
        {},
        st.builds(lambda x: (x, (5, x[-1])), ANY),
    ),
    ("GroupNorm", {"scale": BOOL}, GROUPS, st.tuples(IMAGE)),
    ("RMSNorm", {"dims": st.integers(1, 2), "scale": BOOL}, {}, st.tuples(ANY)),
    (
        "Attention",
        {"masked": BOOL},
        {},
        st.builds(lambda n, h, i, s, e, w: ((n, h, i, e), (n, h, s, e), (n, h, s, w)), *[st.integers(1, 4)] * 6),
    ),
    (
        "Attention",
        {},
        {},
        st.builds(lambda n, g, h, s: ((n, g * h, s, 2), (1, h, s, 2), (n, h, s, 2)), *[st.integers(1, 4)] * 4),
    ),
    ("Embedding", {}, {"rows": st.integers(1, 20), "width": st.integers(1, 9)}, st.tuples(ANY)),
    ("Elementwise", {"function": st.sampled_from(["silu", "add"])}, {}, st.builds(lambda x: (x, x[1:]), ANY)),
    (
        "Elementwise",
        {"function": st.just("prelu")},
        {},
        st.builds(lambda x, one: (x, (1 if one else x[1],)), IMAGE, BOOL),
    ),
    (
        "Reduce",
        {"function": st.sampled_from(["mean", "std", "max"]), "dims": st.sampled_from([None, (1,), (-1, 0)])},
        {},
        st.tuples(ANY),
    ),
    ("Kept", {"learned": BOOL}, {"shape": IMAGE}, st.tuples()),
    (
        "Recurrent",
        {"kind": st.sampled_from(["lstm", "gru", "rnn_relu"]), "layers": st.integers(1, 2), "bidirectional": BOOL},
        {"hidden": st.integers(1, 5)},
        st.tuples(st.tuples(*[st.integers(1, 5)] * 3)),
    ),
]

X = (2, 4, 8, 8)
LITERAL: dict[str, Op] = {
    "Layout": Layout("permute", ((2, 8, 8, 4),), (X,)),
    "Counted": Counted("resize", ((2, 4, 16, 16),), (X,), (("add", 3),)),
    "Custom": Custom("mylib::scan", ((X, "float16"),), (X,), (("mac", ((("L", 8), ("C", 4)),)),)),
    "Unknown": Unknown("fft", ((X, "complex64"),)),
}
"""Ops that hold for the shapes of their trace alone."""


def graph_of(name: str, fields: Sizes, shapes: tuple[Any, ...]) -> Graph:
    """Return inputs x0, x1, … and, unless that is an input, the op itself as node `op`."""
    dtype = "int64" if name == "Embedding" else "float32"
    nodes = [Node(f"x{i}", Input(shape, dtype)) for i, shape in enumerate(shapes)]
    if name != "Input":
        nodes.append(Node("op", BY_NAME[name](**fields), tuple((node.name, 0) for node in nodes)))
    return Graph("g", tuple(nodes), ((nodes[-1].name, 0),))


def leaves(value: Any) -> list[Any]:
    return [leaf for item in value for leaf in leaves(item)] if isinstance(value, tuple) else [value]


def zipped(values: list[Any], join: Any) -> Any:
    """Return one nested value whose leaves are joined from those of several; a text or -1 stays."""
    if isinstance(values[0], tuple):
        return tuple(zipped(list(items), join) for items in zip(*values, strict=True))
    return values[0] if isinstance(values[0], str) or values[0] == -1 else join(values)


def bindings_of(configurations: list[tuple[Sizes, tuple[Any, ...]]], join: Any) -> dict[str, Sizes]:
    fields, shapes = zip(*configurations, strict=True)
    bound = {f"x{i}": {"shape": zipped([s[i] for s in shapes], join)} for i in range(len(shapes[0]))}
    return bound | ({"op": {k: zipped([f[k] for f in fields], join) for k in fields[0]}} if fields[0] else {})


def at(evaluation: Evaluation, read: Any) -> tuple[Cost, dict[str, tuple[Any, ...]]]:
    counts = {metric: read(getattr(evaluation.total, metric)) for metric in METRICS}
    operations = {kind: read(evaluation.total.operations[kind]) for kind in OPERATION_CLASSES}
    return Cost(**counts, operations=operations), {n: tuple(map(read, s)) for n, s in evaluation.shapes.items()}


def expected(graph: Graph) -> tuple[Cost, dict[str, tuple[int, ...]]]:
    profile = profile_graph(graph, "training" if "training=True" in str(graph.nodes[-1].op) else "inference")
    return profile.total, {row.name: row.output_shape for row in profile.layers}


@pytest.mark.parametrize(("name", "fixed", "sizes", "shapes"), CASES, ids=[case[0] for case in CASES])
@settings(deadline=None, max_examples=6, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(data=st.data())
def test_ints_arrays_and_symbols_give_the_same_counts_and_shapes(
    name: str, fixed: Sizes, sizes: Sizes, shapes: st.SearchStrategy[Any], data: st.DataObject
) -> None:
    structure = data.draw(st.fixed_dictionaries(fixed))
    mode = "training" if structure.get("training") else "inference"
    varying = st.tuples(st.fixed_dictionaries(sizes), shapes).filter(
        lambda pair: rank == tuple(map(len, pair[1])) if rank else True
    )
    rank: tuple[int, ...] = ()
    found = []
    for _ in range(3):
        fields, given_shapes = data.draw(varying)
        try:
            found.append((fields, given_shapes, graph_of(name, structure | fields, given_shapes)))
        except ShapeError:
            assume(False)
        rank = tuple(map(len, given_shapes))
    configurations = [(fields, given_shapes) for fields, given_shapes, _ in found]
    base = found[0][2]

    stacked = evaluate(base, bindings_of(configurations, numpy.array), mode)
    symbols: list[tuple[Any, list[int]]] = []

    def symbol(values: list[int]) -> Any:
        symbols.append((sympy.Symbol(f"s{len(symbols)}", integer=True, nonnegative=True), values))
        return symbols[-1][0]

    symbolic = evaluate(base, bindings_of(configurations, symbol), mode)
    for i, (fields, given_shapes, graph) in enumerate(found):
        plain = evaluate(base, bindings_of([(fields, given_shapes)], lambda values: values[0]), mode)
        assert at(plain, lambda count: count) == expected(graph)
        assert at(stacked, lambda count, i=i: count if type(count) is int else int(count[i])) == expected(graph)
    last = {s: values[-1] for s, values in symbols}
    assert at(symbolic, lambda count: int(sympy.sympify(count).subs(last))) == expected(found[-1][2])
    assert all(assumption.subs(last) == sympy.true for assumption in symbolic.assumptions)


def test_every_op_has_a_case() -> None:
    assert {name for name, *_ in CASES} | LITERAL.keys() == {op.__name__ for op in ALL}


def literal(op: Op) -> Graph:
    """Return an input, a literal op that reads it, and a linear layer."""
    nodes = (Node("x", Input(X)), Node("op", op, (("x", 0),)), Node("fc", Linear(3), (("op", 0),)))
    return Graph("g", nodes, (("fc", 0),))


@pytest.mark.parametrize("name", LITERAL)
def test_a_literal_op_is_evaluated_as_it_was_traced_and_takes_no_open_size(name: str) -> None:
    graph, n = literal(LITERAL[name]), sympy.Symbol("n", integer=True, positive=True)
    assert evaluate(graph, {"x": {"shape": X}}).total == profile_graph(graph).total
    assert evaluate(graph, {"fc": {"out_features": n}}).macs.subs({n: 3}) == profile_graph(graph).total.macs
    for size in (n, numpy.array([2, 2])):
        with pytest.raises(
            ShapeError, match=r"g: op: [\w:]+ was traced for .* and is literal: it takes no open size"
        ):
            evaluate(graph, {"x": {"shape": (size, *X[1:])}})


@pytest.mark.parametrize("name", LITERAL)
def test_the_fields_of_a_literal_op_are_no_sizes(name: str) -> None:
    graph = literal(LITERAL[name])
    for field in dataclasses.fields(LITERAL[name]):  # type: ignore[arg-type]
        with pytest.raises(UsageError, match=f"op: {field.name} of {name} is no size"):
            evaluate(graph, {"op": {field.name: numpy.array([1, 2])}})


@pytest.mark.parametrize(
    "op", [*(LITERAL[name] for name in ("Layout", "Counted", "Custom")), Unknown("fft", ((X, "float16"),), (X,))]
)
def test_a_literal_op_takes_no_other_input_either(op: Op) -> None:
    with pytest.raises(ShapeError, match=r"is literal, got \(\(1, 4, 8, 8\),\); trace it again"):
        literal(op).with_inputs({"x": TensorSpec((1, 4, 8, 8))})


@pytest.mark.parametrize(("name", "fixed", "sizes", "shapes"), CASES, ids=[case[0] for case in CASES])
@settings(deadline=None, max_examples=3)
@given(data=st.data())
def test_every_field_of_an_op_is_a_size_that_may_be_open_or_says_that_it_is_not(
    name: str, fixed: Sizes, sizes: Sizes, shapes: st.SearchStrategy[Any], data: st.DataObject
) -> None:
    """A new field of an op is either varied above or refused here; it cannot end in an error of numpy's."""
    fields = data.draw(st.fixed_dictionaries(fixed | sizes))
    try:
        graph = graph_of(name, fields, data.draw(shapes))
    except ShapeError:
        assume(False)
    node = graph.nodes[-1]
    varied = {field for case in CASES if case[0] == name for field in case[2]} | {"shape"}
    for field in (field.name for field in dataclasses.fields(node.op)):  # type: ignore[arg-type]
        if field not in varied:
            with pytest.raises(UsageError, match=f"{node.name}: {field} of {name} is no size"):
                evaluate(graph, {node.name: {field: numpy.array([1, 2])}})
