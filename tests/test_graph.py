"""Graphs: valid because they exist, immutable, and clear about what is wrong."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

import archlab
from archlab.errors import GraphError, ShapeError, UsageError
from archlab.formula import Formula
from archlab.ir import Builder, Graph, Node, Op, Param, Source, TensorSpec
from archlab.ops import Add, BatchNorm, Concat, Conv2d, Dropout, Flatten, Input, Linear, MaxPool2d, ReLU, Softmax
from archlab.profiles import profile_graph
from archlab.zoo.catalog import ARCHITECTURES

IMAGE = Node("x", Input((1, 3, 8, 8)))


@dataclass(frozen=True)
class Halves(Op):
    """Two halves of dimension 1: an op with two outputs, for these tests."""

    def infer(self, x: TensorSpec) -> tuple[TensorSpec, ...]:  # type: ignore[override]
        """(N, C) -> (N, C/2), (N, C/2)."""
        half = x.reshaped((x.shape[0], x.shape[1] // 2))
        return half, half

    def arithmetic(self, outputs: tuple[TensorSpec, ...], *inputs: TensorSpec) -> Mapping[str, Formula]:
        """One add per input element."""
        return {"add": Formula.product(("N", inputs[0].numel))}


def graph(*nodes: Node, outputs: tuple[tuple[str, int], ...] = (), **fields: Any) -> Graph:
    return Graph("g", nodes, outputs or ((nodes[-1].name, 0),), **fields)


def after(name: str, op: Op, *inputs: str, **fields: Any) -> Node:
    return Node(name, op, tuple((i, 0) for i in inputs), **fields)


WRONG: dict[str, tuple[tuple[Node, ...], tuple[tuple[str, int], ...], str]] = {
    "unknown input": ((IMAGE, after("r", ReLU(), "y")), (), "g: r reads 'y', which does not exist"),
    "later input": (
        (IMAGE, after("r", ReLU(), "s"), after("s", ReLU(), "x")),
        (),
        "g: r reads 's', which comes later; order nodes by their inputs",
    ),
    "itself": (
        (IMAGE, after("r", ReLU(), "r")),
        (),
        "g: r reads 'r', which comes later; order nodes by their inputs",
    ),
    "output index": (
        (IMAGE, Node("r", ReLU(), (("x", 1),))),
        (),
        "g: r reads output 1 of 'x', which has 1",
    ),
    "negative index": ((IMAGE, Node("r", ReLU(), (("x", -1),))), (), "g: r reads output -1 of 'x', which has 1"),
    "unknown output": ((IMAGE,), (("y", 0),), "g: outputs reads 'y', which does not exist"),
    "no input": ((IMAGE, after("r", ReLU())), (), "g: r: ReLU reads 1 tensor(s), got 0"),
    "too many inputs": ((IMAGE, after("r", ReLU(), "x", "x")), (), "g: r: ReLU reads 1 tensor(s), got 2"),
    "nothing to join": ((IMAGE, after("c", Concat())), (), "g: c: Concat reads one or more tensors, got 0"),
    "an input with inputs": ((IMAGE, after("i", Input((1,)), "x")), (), "g: i: Input reads 0 tensor(s), got 1"),
    "same name twice": ((IMAGE, IMAGE), (), "g: two nodes are named 'x'; names identify layers and must differ"),
    "unknown weight": (
        (IMAGE, after("c", Conv2d(4, 3, bias=False), "x", weights={"bias": "b"})),
        (),
        "g: c: Conv2d has no weight 'bias'",
    ),
    **{
        f"name {name!r}": (
            (Node(name, Input((1,))),),
            (),
            f"g: {name!r} is no node name; use printable parts joined by '/', without '.'",
        )
        for name in ("", "a.b", "a//b", "/a", "a/", "a\n", "a\x1b[31m")
    },
}
MISFITS: dict[str, tuple[tuple[Node, ...], str]] = {
    "kernel": ((IMAGE, after("c", Conv2d(4, 9), "x")), "g: c: the kernel spans 9, the padded input only 8"),
    "groups": (
        (IMAGE, after("c", Conv2d(4, 3, groups=2), "x")),
        "g: c: 3 input channels do not divide into 2 groups",
    ),
    "rank": (
        (IMAGE, after("f", Flatten(), "x"), after("c", Conv2d(4, 3), "f")),
        "g: c: needs a 4-D input (N, C, H, W), got (1, 192)",
    ),
    "pool": ((IMAGE, after("p", MaxPool2d(9), "x")), "g: p: a window of 9 does not fit into an input of 8"),
    "broadcast": (
        (IMAGE, Node("y", Input((1, 2, 8, 8))), after("a", Add(), "x", "y")),
        "g: a: cannot broadcast (1, 3, 8, 8) with (1, 2, 8, 8): 3 is not 2",
    ),
    "concat": (
        (IMAGE, Node("y", Input((1, 3, 4, 8))), after("a", Concat(), "x", "y")),
        "g: a: cannot join (1, 3, 8, 8) and (1, 3, 4, 8): dimension 2 differs",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_graph_that_is_not_well_formed_cannot_exist_and_says_where_and_what(case: str) -> None:
    nodes, outputs, message = WRONG[case]
    with pytest.raises(GraphError) as caught:
        graph(*nodes, outputs=outputs)
    assert str(caught.value) == message
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("case", MISFITS)
def test_shapes_that_do_not_fit_name_graph_node_and_both_numbers(case: str) -> None:
    nodes, message = MISFITS[case]
    with pytest.raises(ShapeError) as caught:
        graph(*nodes)
    assert str(caught.value) == message


def test_a_graph_returns_at_least_one_tensor() -> None:
    with pytest.raises(GraphError, match="g: a graph needs at least one output"):
        Graph("g", (IMAGE,), ())


def test_tied_weights_of_different_shapes_are_refused_with_both() -> None:
    tie = {"weights": {"weight": "shared"}}
    with pytest.raises(GraphError, match=r"g: b: weight 'shared' is \(5, 4\), its op needs \(5, 5\)"):
        graph(
            Node("x", Input((1, 4))),
            after("a", Linear(5, False), "x", **tie),
            after("b", Linear(5, False), "a", **tie),
        )


def test_a_given_parameter_must_have_the_shape_that_its_op_needs() -> None:
    with pytest.raises(GraphError, match=r"weight 'c\.weight' is \(1,\), its op needs \(4, 3, 3, 3\)"):
        graph(IMAGE, after("c", Conv2d(4, 3), "x"), params={"c.weight": Param((1,))})


def test_a_buffer_cannot_stand_for_a_parameter_nor_a_parameter_for_a_buffer() -> None:
    """Else a weight could be left out of the count by its mark."""
    with pytest.raises(GraphError, match=r"g: b: 'b\.weight' is a buffer, its op needs a parameter"):
        graph(IMAGE, after("b", BatchNorm(), "x"), params={"b.weight": Param((3,), buffer=True)})
    with pytest.raises(GraphError, match=r"g: b: 'b\.running_mean' is a parameter, its op needs a buffer"):
        graph(IMAGE, after("b", BatchNorm(), "x"), params={"b.running_mean": Param((3,))})


@pytest.mark.parametrize(
    "param", [{"shape": (2, -1)}, {"shape": (2, "x")}, {"shape": 3}, {"shape": (), "dtype": "f"}]
)
def test_a_parameter_that_exists_is_valid(param: dict[str, Any]) -> None:
    with pytest.raises(GraphError):
        Param(**param)
    assert Param([2, 3]).shape == (2, 3)  # type: ignore[arg-type]


def test_an_unknown_layer_is_an_error_with_the_nearest_name() -> None:
    with pytest.raises(UsageError, match="googlenet has no layer 'conv2/3x4'; did you mean 'conv2/3x3'"):
        archlab.load("googlenet").node("conv2/3x4")


def test_a_graph_cannot_be_changed() -> None:
    g = graph(IMAGE, after("c", Conv2d(4, 3), "x"))
    for thing, name in ((g, "nodes"), (g, "name"), (g.nodes[1], "op"), (g.nodes[1].op, "kernel")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(thing, name, None)


def test_a_graph_keeps_no_hold_on_what_it_was_given() -> None:
    params = {"other": Param((5,))}
    nodes = [IMAGE]
    g = Graph("g", nodes, [("x", 0)], params)  # type: ignore[arg-type]
    params.clear()
    nodes.clear()
    assert (g.nodes, g.outputs, list(g.params)) == ((IMAGE,), (("x", 0),), ["other"])


def test_equality_is_of_structure_and_ignores_where_a_graph_came_from() -> None:
    plain = graph(IMAGE, after("r", ReLU(), "x"))
    assert graph(IMAGE, after("r", ReLU(), "x", source=Source("m.r", "ReLU", line=3)), origin="traced") == plain
    assert graph(IMAGE, after("r", Softmax(), "x")) != plain
    assert pickle.loads(pickle.dumps(plain)) == plain


def test_a_tied_weight_is_counted_once_at_its_first_reader() -> None:
    """Two 4→4 layers with one weight: 16 once, a bias of 4 each; both read the weight's 64 bytes."""
    tie = {"weights": {"weight": "shared"}}
    g = graph(Node("x", Input((1, 4))), after("a", Linear(4), "x", **tie), after("b", Linear(4), "a", **tie))
    profile = profile_graph(g)
    assert [row.cost.params for row in profile.layers] == [0, 16 + 4, 4]
    assert profile.total.params == profile.parameters["read"] == 16 + 4 + 4
    assert [row.cost.bytes_moved for row in profile.layers] == [0, *[4 * (4 + 16 + 4 + 4)] * 2]
    assert set(g.params) == {"shared", "a.bias", "b.bias"}


def test_parameters_that_nothing_reads_are_unused_and_stay_through_edits() -> None:
    g = graph(IMAGE, after("c", Conv2d(4, 3), "x"), params={"old": Param((7,)), "stats": Param((2,), buffer=True)})
    profile = profile_graph(g)
    assert profile.total.params == 4 * 3 * 3 * 3 + 4
    assert profile.parameters == {"read": 112, "trainable": 112, "frozen": 0, "unused": 7, "buffers": 2}
    assert set(g.edit(g.nodes).params) == {"old", "stats", "c.weight", "c.bias"}


def test_frozen_parameters_count_and_are_said_separately() -> None:
    g = graph(IMAGE, after("c", Conv2d(4, 3), "x"), params={"c.weight": Param((4, 3, 3, 3), trainable=False)})
    counts = profile_graph(g).parameters
    assert (counts["read"], counts["trainable"], counts["frozen"]) == (112, 4, 108)


def test_parameters_have_the_dtype_of_what_is_read_and_keep_their_own_through_edits() -> None:
    half = graph(Node("x", Input((1, 3, 8, 8), "float16")), after("c", Conv2d(4, 3), "x"))
    assert half.params["c.weight"].dtype == "float16"
    with pytest.raises(ShapeError, match="g: c: needs floating-point elements, got uint8"):
        graph(Node("x", Input((1, 3, 8, 8), "uint8")), after("c", Conv2d(4, 3), "x"))
    wide = half.with_inputs({"x": TensorSpec((1, 6, 8, 8), "float16")})
    assert (wide.params["c.weight"].shape, wide.params["c.weight"].dtype) == ((4, 6, 3, 3), "float16")


def test_ops_with_several_outputs_are_read_by_index() -> None:
    g = graph(
        Node("x", Input((2, 6))),
        after("h", Halves(), "x"),
        Node("s", Add(), (("h", 0), ("h", 1))),
        Node("t", Concat(), (("h", 1), ("h", 1))),
        outputs=(("s", 0), ("h", 1), ("t", 0)),
    )
    assert [spec.shape for spec in g.output_specs] == [(2, 3), (2, 3), (2, 6)]
    halves = profile_graph(g).layer("h")
    assert halves.output_shapes == ((2, 3), (2, 3))
    assert halves.output_shape == (2, 3)
    assert (halves.cost.activations, halves.cost.bytes_moved) == (2 * 6, 4 * (12 + 6 + 6))
    assert profile_graph(g).layer("t").cost.bytes_moved == 4 * (6 + 12)  # one tensor, read twice, is fetched once
    with pytest.raises(GraphError, match="g: r reads output 2 of 'h', which has 2"):
        graph(*g.nodes, Node("r", ReLU(), (("h", 2),)))


def test_readers_are_listed_once_each_in_order() -> None:
    g = graph(IMAGE, after("a", Add(), "x", "x"), after("b", Add(), "x", "a"))
    assert [n.name for n in g.readers["x"]] == ["a", "b"]
    assert g.readers["b"] == ()


def test_a_mode_keeps_or_leaves_what_is_train_only() -> None:
    g = graph(
        IMAGE,
        after("d", Dropout(), "x"),
        after("c", Conv2d(1, 8), "d", train_only=True),
        outputs=(("d", 0), ("c", 0)),
    )
    training, inference = g.in_mode("training"), g.in_mode("inference")
    assert [n.name for n in inference.nodes] == ["x", "d"]
    assert inference.outputs == (("d", 0),)
    assert training.node("d").op == Dropout(training=True)
    assert training.in_mode("inference") == inference
    assert inference.in_mode("inference") is inference
    assert profile_graph(g).parameters["unused"] == 3 * 8 * 8 + 1
    with pytest.raises(UsageError, match="unknown mode 'train'; modes are inference and training"):
        g.in_mode("train")


def test_other_inputs_infer_everything_anew_and_unknown_ones_are_refused() -> None:
    g = graph(IMAGE, after("c", Conv2d(4, 3), "x"))
    assert g.with_inputs({"x": TensorSpec((5, 3, 9, 8))}).output_specs[0].shape == (5, 4, 7, 6)
    with pytest.raises(UsageError, match=r"g has no input 'y' \(its inputs: x\)"):
        g.with_inputs({"y": TensorSpec((1,))})
    with pytest.raises(ShapeError, match="g: c: the kernel spans 3, the padded input only 2"):
        g.with_inputs({"x": TensorSpec((5, 3, 9, 2))})


def test_a_builder_prefixes_names_and_marks_scopes() -> None:
    b = Builder("g")
    x = b.add("x", Input((1, 3, 8, 8)))
    with b.scope("stem"):
        with b.scope("aux", train_only=True), b.scope("inner"):
            y = b.add("conv", Conv2d(4, 3), x)
        z = b.add("conv", Conv2d(4, 3), x)
    g = b.build(z, y)
    assert [(n.name, n.train_only) for n in g.nodes[1:]] == [("stem/aux/inner/conv", True), ("stem/conv", False)]
    assert g.node("stem/aux/inner/conv").block == "stem/aux/inner"
    assert g.node("x").block == ""
    assert "stem.aux.inner.conv.weight" in g.params
    assert str(g) == "g: 3 nodes, 1x3x8x8 -> 1x4x6x6, 1x4x6x6"


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_graph_in_inference_is_the_graph_built_of_its_nodes(name: str) -> None:
    # in_mode takes a shortcut where no op changes; the constructor must come to the same
    part = archlab.load(name).in_mode("inference")
    whole = Graph(part.name, part.nodes, part.outputs, part.params)
    assert part == whole
    assert part.specs == whole.specs
    assert part.readers == whole.readers
    assert part.node(part.outputs[0][0]) == whole.node(part.outputs[0][0])
