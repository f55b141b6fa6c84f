"""`evaluate`: whole networks in closed form or by the million, without wrapping and without guessing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy
import pytest
import sympy
from test_evaluate_ops import graph_of
from test_graph import Halves

import archlab
from archlab.analyses.evaluate import evaluate
from archlab.cost import METRICS
from archlab.errors import GraphError, ShapeError, UsageError
from archlab.ir import Graph, Node, TensorSpec
from archlab.ops import BY_NAME, Linear
from archlab.profiles import profile_graph

POSITIVE: dict[str, Any] = {"integer": True, "positive": True}
H, W, N = sympy.symbols("h w n", **POSITIVE)


@pytest.mark.parametrize("name", ["googlenet", "googlenet-torchvision", "googlenet-tfslim", "inception5h"])
def test_a_whole_network_has_a_closed_form_in_its_input_size(name: str) -> None:
    graph = archlab.load(name).in_mode("inference")
    evaluation = evaluate(graph, {"input": {"shape": (N, 3, 32 * H, 32 * W)}})
    assert evaluation.macs.free_symbols == {H, W, N}
    assert evaluation.macs.is_polynomial(H, W, N)
    assert not evaluation.assumptions
    for n, h, w in ((1, 7, 7), (3, 1, 1), (2, 8, 5), (64, 16, 16)):
        total = profile_graph(graph.with_inputs({"input": TensorSpec((n, 3, 32 * h, 32 * w))})).total
        values = {N: n, H: h, W: w}
        for metric in METRICS:
            assert sympy.sympify(getattr(evaluation.total, metric)).subs(values) == getattr(total, metric)


def test_the_closed_form_of_the_worked_example_is_the_textbooks() -> None:
    c, k, r = sympy.symbols("c k r", **POSITIVE)
    direct = evaluate(archlab.load("naive"), {"input": {"shape": (N, c, H, W)}, "5x5": {"out_channels": k}})
    assert sympy.expand(direct.macs - 25 * N * H * W * c * k) == 0
    assert sympy.expand(direct.params - (25 * c * k + k)) == 0
    reduced = evaluate(archlab.load("reduced"), {"input": {"shape": (N, c, H, W)}, "5x5_reduce": {"out_channels": r}})
    assert sympy.expand(reduced.macs - N * H * W * r * (c + 25 * 48)) == 0
    assert reduced.shapes["5x5"] == (N, 48, H, W)


def test_what_sympy_cannot_decide_is_said_and_nothing_else() -> None:
    """A 3×3 window without padding needs three positions; a filter count must divide into two groups."""
    c = sympy.Symbol("c", **POSITIVE)
    graph = graph_of("Conv2d", {"out_channels": 4, "kernel": 3, "groups": 2}, ((1, 4, 8, 8),))
    evaluation = evaluate(graph, {"x0": {"shape": (1, 4, H, 8)}, "op": {"out_channels": 2 * c}})
    assert (H >= 3) in evaluation.assumptions
    assert all(assumption.free_symbols == {H} for assumption in evaluation.assumptions)
    odd = evaluate(graph, {"op": {"out_channels": c}})
    assert sympy.Eq(sympy.Mod(c, 2), 0) in odd.assumptions


def test_symbols_that_contradict_a_rule_raise_where_ints_would() -> None:
    graph = graph_of("Conv2d", {"out_channels": 4, "kernel": 3}, ((1, 4, 8, 8),))
    with pytest.raises(ShapeError, match="g: op: out_channels must be at least 1, got -n"):
        evaluate(graph, {"op": {"out_channels": -N}})


def test_a_million_configurations_are_counted_in_one_pass() -> None:
    """MACs are H·W·c·480·25: linear in the filters c = 1..10⁶ at sides of 14 to 20."""
    filters = numpy.arange(1, 1_000_001)
    sides = 14 + filters % 7
    evaluation = evaluate(
        archlab.load("naive"), {"input": {"shape": (1, 480, 14, sides)}, "5x5": {"out_channels": filters}}
    )
    assert evaluation.macs.dtype == numpy.int64
    assert numpy.array_equal(evaluation.macs, 14 * 480 * 25 * sides * filters)
    assert numpy.array_equal(evaluation.params, (480 * 25 + 1) * filters)
    assert evaluation.shapes["5x5"][0] == 1
    assert evaluation.shapes["5x5"][3] is not sides


def test_arrays_broadcast_together_and_every_count_has_their_common_shape() -> None:
    kernels, sides = numpy.array([[1], [3], [5]]), numpy.array([14, 28])
    evaluation = evaluate(
        archlab.load("naive"), {"input": {"shape": (1, 480, sides, sides)}, "5x5": {"kernel": kernels}}
    )
    for metric in METRICS:
        assert getattr(evaluation.total, metric).shape == (3, 2)
    assert evaluation.params.tolist() == [[480 * 48 * k * k + 48] * 2 for k in (1, 3, 5)]
    fixed = evaluate(archlab.load("naive"), {"input": {"shape": (sides, 480, 14, 14)}})
    assert fixed.params.tolist() == [576_048, 576_048]


@pytest.mark.parametrize("exponent", [10, 20, 31, 40])
def test_counts_beyond_64_bits_are_exact(exponent: int) -> None:
    """2⁴⁰ filters of 2⁴⁰ channels: 2⁸⁰ weights. Whatever int64 cannot be proved to hold is counted in Python ints."""
    sizes = numpy.array([2**exponent, 3])
    graph = graph_of("Linear", {"out_features": 4}, ((2, 4),))
    evaluation = evaluate(graph, {"x0": {"shape": (2, sizes)}, "op": {"out_features": sizes}})
    assert [int(count) for count in evaluation.macs] == [2 * 4**exponent, 18]
    assert [int(count) for count in evaluation.params] == [4**exponent + 2**exponent, 12]
    moved = 4 * (2 * 2**exponent + 4**exponent + 2**exponent + 2 * 2**exponent)
    assert int(evaluation.bytes_moved[0]) == moved
    assert (evaluation.bytes_moved.dtype == object) == (moved >= 2**63)


def test_shapes_beyond_64_bits_are_exact_too() -> None:
    side = numpy.array([2**21, 2**30])
    graph = graph_of("Flatten", {"start_dim": 0}, ((1, 4, 8, 8),))
    evaluation = evaluate(graph, {"x0": {"shape": (1, side, side, side)}})
    assert evaluation.shapes["op"][0].tolist() == [2**63, 2**90]
    halves = numpy.array([2**62, 5])
    joined = evaluate(graph_of("Concat", {"dim": 0}, ((4,), (4,))), {f"x{i}": {"shape": (halves,)} for i in (0, 1)})
    assert joined.shapes["op"][0].tolist() == [2**63, 10]


def test_unsigned_and_object_arrays_and_scalars_are_integers_as_well() -> None:
    graph = graph_of("Linear", {"out_features": 4}, ((2, 4),))
    for values in (numpy.array([3, 2**63], numpy.uint64), numpy.array([3, 2**70], object), [3, 5]):
        bound = values if isinstance(values, numpy.ndarray) else numpy.array(values, numpy.uint8)
        evaluation = evaluate(graph, {"op": {"out_features": bound}})
        assert [int(count) for count in evaluation.macs] == [8 * int(v) for v in values]
    assert evaluate(graph, {"op": {"out_features": numpy.int8(100)}}).macs == 800
    assert type(evaluate(graph, {"op": {"out_features": numpy.int8(100)}}).macs) is int


def test_the_first_configuration_that_fails_is_named() -> None:
    graph = graph_of("Conv2d", {"out_channels": 4, "kernel": 3}, ((1, 4, 8, 8),))
    with pytest.raises(ShapeError, match=r"g: op: configuration \[2\]: the kernel spans 9, the padded input only 8"):
        evaluate(graph, {"op": {"kernel": numpy.array([3, 8, 9, 10])}})
    with pytest.raises(ShapeError, match=r"g: op: configuration \[1\]: stride must be at least 1, got 0"):
        evaluate(graph, {"op": {"stride": numpy.array([1, 0])}})
    with pytest.raises(
        ShapeError, match=r"g: x0: configuration \[1\]: a dimension cannot be negative: \(1, 4, 8, -1\)"
    ):
        evaluate(graph, {"x0": {"shape": (1, 4, 8, numpy.array([1, -1]))}})


BAD: list[tuple[Mapping[str, Any], str]] = [
    ({"conv9": {"kernel": 3}}, "naive has no layer 'conv9'"),
    ({"5x5": {"kernels": 3}}, "5x5: Conv2d has no field 'kernels'; did you mean 'kernel'"),
    ({"5x5": {"bias": numpy.array([1, 0])}}, "5x5: bias of Conv2d is no size"),
    (
        {"5x5": {"out_channels": numpy.array([1.5])}},
        "5x5: out_channels must be an array of integers, got dtype float64",
    ),
    ({"5x5": {"out_channels": numpy.array(["a"])}}, "must be an array of integers, got dtype <U1"),
    ({"5x5": {"out_channels": numpy.array([True])}}, "must be an array of integers, got dtype bool"),
    ({"5x5": {"out_channels": numpy.array([1, None])}}, "must be an array of integers, got dtype object"),
    (
        {"5x5": {"out_channels": numpy.array([1, 2]), "kernel": numpy.array([1, 2, 3])}},
        r"the bound arrays do not broadcast together: their shapes are \(2,\), \(3,\)",
    ),
    ({"5x5": {"out_channels": N, "kernel": numpy.array([1, 2])}}, "bind arrays or symbols, not both"),
]


@pytest.mark.parametrize(("bindings", "message"), BAD)
def test_what_cannot_be_bound_is_refused_with_the_reason(bindings: Mapping[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        evaluate(archlab.load("naive"), bindings)


@pytest.mark.parametrize("value", ["48", 48.0, None, True])
def test_what_an_op_refuses_it_refuses_here_and_says_at_which_node(value: Any) -> None:
    with pytest.raises(ShapeError, match="naive: 5x5: out_channels must be an integer"):
        evaluate(archlab.load("naive"), {"5x5": {"out_channels": value}})


def test_tied_weights_are_counted_once_and_must_stay_of_one_shape() -> None:
    k = sympy.Symbol("k", **POSITIVE)
    tie = {"weight": "shared"}
    nodes = (
        Node("x", BY_NAME["Input"](shape=(1, 4))),  # type: ignore[call-arg]
        Node("a", Linear(4), (("x", 0),), tie),
        Node("b", Linear(4), (("a", 0),), tie),
    )
    graph = Graph("g", nodes, (("b", 0),))
    tied = evaluate(graph, {"x": {"shape": (1, k)}, "a": {"out_features": k}, "b": {"out_features": k}})
    assert sympy.expand(tied.params - (k * k + 2 * k)) == 0
    with pytest.raises(GraphError, match=r"g: b: weight 'shared' is \(4, 4\) elsewhere, its op needs \(5, 4\)"):
        evaluate(graph, {"b": {"out_features": 5}})


def test_ops_with_several_outputs_are_evaluated_by_output() -> None:
    nodes = (Node("x", BY_NAME["Input"](shape=(2, 6))), Node("h", Halves(), (("x", 0),)))  # type: ignore[call-arg]
    evaluation = evaluate(Graph("g", nodes, (("h", 1),)), {"x": {"shape": (N, 2 * H)}})
    assert evaluation.output_shapes["h"] == ((N, H), (N, H))
    assert evaluation.flops == 2 * H * N


def test_training_and_inference_are_evaluated_as_they_are_profiled() -> None:
    graph = archlab.load("googlenet-torchvision")
    for mode in ("inference", "training"):
        evaluation = evaluate(graph, {"input": {"shape": (N, 3, 224, 224)}}, mode)
        assert (
            evaluation.flops.subs(N, 4)
            == profile_graph(graph.with_inputs({"input": TensorSpec((4, 3, 224, 224))}), mode).total.flops
        )
    with pytest.raises(UsageError, match="googlenet-torchvision has no layer 'loss1/fc'"):
        evaluate(graph, {"loss1/fc": {"out_features": 10}})


def test_nothing_bound_is_the_graph_itself_in_plain_ints() -> None:
    evaluation = evaluate(archlab.load("googlenet"), {})
    assert evaluation.total == archlab.profile("googlenet").total
    assert type(evaluation.macs) is int
    assert evaluation.assumptions == ()


@pytest.mark.parametrize("name", ["googlenet", "alexnet", "nin", "nin-cifar10"])
def test_networks_of_ceil_mode_pools_have_a_closed_form_in_height_and_width(name: str) -> None:
    n, h, w = sympy.symbols("n h w", integer=True, positive=True)
    graph = archlab.load(name)
    (size,) = [spec.shape for spec in graph.inputs.values()]
    closed = archlab.evaluate(graph, {"input": {"shape": (n, 3, h, w)}}).macs
    for at in ((size[0], *size[2:]), (3, size[2] + 37, size[3] + 5)):
        bound = archlab.load(f"{name}@{at[0]}x3x{at[1]}x{at[2]}")
        assert int(closed.subs(dict(zip((n, h, w), at, strict=True)))) == archlab.profile(bound).total.macs
