"""Analyses of graphs as traces make them: what the model keeps, what has no rule, weights that are computed."""

from __future__ import annotations

import pytest
import torch

import archlab
from archlab.analyses.depth import Depth, depth
from archlab.analyses.memory import peak_memory
from archlab.analyses.receptive_field import ReceptiveField, receptive_field
from archlab.ir import Builder, Graph, Node, Op, Param, TensorSpec
from archlab.ops import (
    Add,
    Attention,
    BatchNorm,
    Concat,
    Conv2d,
    Counted,
    Elementwise,
    Embedding,
    GroupNorm,
    Input,
    Kept,
    Layout,
    Linear,
    MatMul,
    Mul,
    Recurrent,
    Reduce,
    ReLU,
    Unknown,
)
from archlab.profiles import profile_graph
from archlab.pytorch.trace import trace

X = (1, 2, 8, 8)


def positions() -> Graph:
    """An embedding of positions and a mask, added to the input and to each other; 3 scalars are unused."""
    nodes = (
        Node("input", Input(X)),
        Node("table", Kept((2, 8, 8)), (), {"value": "table"}),
        Node("mask", Kept((8, 8), learned=False)),
        Node("rows", Layout("getitem", ((1, 8, 8),), ((2, 8, 8),)), (("table", 0),)),
        Node("sum", Add(), (("input", 0), ("rows", 0))),
        Node("masked", Mul(), (("sum", 0), ("mask", 0))),
        Node("again", Add(), (("masked", 0), ("table", 0))),
    )
    params = {
        "table": Param((2, 8, 8)),
        "mask": Param((8, 8), trainable=False, buffer=True),
        "unread": Param((3,), trainable=False),
    }
    return Graph("positions", nodes, (("again", 0),), params, "traced")


def test_what_the_model_keeps_counts_as_params_once_and_as_no_activation() -> None:
    # Three sums and products of 2·8·8; the table has as many scalars and is read twice, once through a view.
    profile = profile_graph(positions())
    assert profile.total.params == 2 * 8 * 8
    assert profile.total.activations == 3 * (2 * 8 * 8)
    assert profile.layer("table").cost.bytes_moved == profile.layer("mask").cost.bytes_moved == 0
    # Each sum or product reads a tensor of 2·8·8 and one kept: 8·8, 8·8 and 2·8·8; and writes 2·8·8.
    assert profile.total.bytes_moved == 4 * (3 * 2 * (2 * 8 * 8) + 8 * 8 + 8 * 8 + 2 * 8 * 8)
    expected = {"read": 128, "trainable": 128, "frozen": 0, "unused": 3, "buffers": 64}
    assert profile.parameters == expected
    assert profile_graph(positions(), "training").parameters == expected


def test_what_the_model_keeps_is_not_in_the_peak_nor_are_views_of_it() -> None:
    # At "masked": the input, held by the caller, the sum and the product. The table and the mask are the model's.
    assert peak_memory(positions()).bytes == 4 * 3 * (2 * 8 * 8)
    assert {name for name, _ in peak_memory(positions()).alive} == {"input", "sum", "masked"}


def test_a_graph_may_return_what_the_model_keeps() -> None:
    nodes = (Node("input", Input(X)), Node("table", Kept((9, 9))), Node("relu", ReLU(), (("input", 0),)))
    graph = Graph("returns", nodes, (("relu", 0), ("table", 0)))
    assert peak_memory(graph).bytes == 4 * 2 * (2 * 8 * 8)
    assert depth(graph) == Depth(0, 0)


def test_what_has_no_rule_is_uncounted_by_name_and_holds_memory() -> None:
    b = Builder("unknown")
    x = b.add("input", Input(X))
    for i, name in enumerate(["fft", "cdist", "fft"]):
        x = b.add(f"op{i}", Unknown(name, ((X, "float32"),)), x)
    graph = b.build(b.add("relu", ReLU(), x))
    profile = profile_graph(graph)
    assert profile.uncounted == {"fft": 2, "cdist": 1}
    assert profile.to_dict()["uncounted"] == {"fft": 2, "cdist": 1}
    assert "fft" in str(profile)
    assert peak_memory(graph).bytes == 4 * 3 * (2 * 8 * 8)
    assert profile.total.activations == 4 * (2 * 8 * 8)
    assert profile_graph(positions()).uncounted == archlab.profile("naive").uncounted == {}


def test_an_embedding_moves_the_rows_that_it_touches() -> None:
    b = Builder("embedding")
    x = b.add("input", Input((2, 3), "int64"))
    graph = b.build(b.add("words", Embedding(1000, 4), x), b.add("kinds", Embedding(2, 4), x))
    profile = profile_graph(graph)
    # 8 bytes an index, 4 a scalar: 6 rows of 4 are read and written; of two rows no more than both are read.
    assert profile.layer("words").cost.bytes_moved == 8 * 6 + 4 * (6 * 4) + 4 * (6 * 4)
    assert profile.layer("kinds").cost.bytes_moved == 8 * 6 + 4 * (2 * 4) + 4 * (6 * 4)
    assert (profile.total.params, profile.total.weight_bytes) == (1002 * 4, 4 * 1002 * 4)
    assert depth(graph) == Depth(0, 0)


def built(*nodes: tuple[str, Op, list[str]], end: str | None = None) -> Graph:
    """Return a graph of an input of 1x2x8x8 and these nodes; the last is its output."""
    parts = [Node("input", Input(X)), *(Node(n, op, tuple((r, 0) for r in reads)) for n, op, reads in nodes)]
    return Graph("g", tuple(parts), ((end or nodes[-1][0], 0),))


def test_a_layer_whose_weight_is_computed_of_kept_ones_has_weights() -> None:
    weight = (4, 2, 1, 1)
    standardised = built(
        ("v", Kept(weight), []),
        ("g", Kept((4, 1, 1, 1)), []),
        ("w", Mul(), ["v", "g"]),
        ("b", Kept((4,)), []),
        ("conv", Conv2d(4, 1, computed=("bias", "weight")), ["input", "b", "w"]),
    )
    assert depth(standardised) == Depth(1, 1)
    dynamic = built(
        ("mean", Reduce("mean", (2, 3)), ["input"]),
        ("fc", Linear(8), ["mean"]),
        ("w", Layout("view", (weight,), ((1, 8),)), ["fc"]),
        ("conv", Conv2d(4, 1, bias=False, computed=("weight",)), ["input", "w"]),
    )
    assert depth(dynamic) == Depth(1, 1)  # the linear layer; the convolution keeps no weights


def test_a_product_with_a_kept_matrix_is_a_layer_and_other_products_are_not() -> None:
    graph = built(
        ("w", Kept((8, 8)), []),
        ("fc", MatMul(), ["input", "w"]),
        ("scores", MatMul(), ["fc", "fc"]),
        ("attention", Attention(), ["scores", "fc", "fc"]),
        ("biased", Add(), ["attention", "w"]),
    )
    assert depth(graph) == Depth(1, 1)


def test_traced_pools_and_stacked_recurrent_layers_are_as_deep_as_they_are() -> None:
    assert depth(built(("pool", Counted("max_pool3d", ((1, 2, 4, 4),), (X,)), ["input"]))) == Depth(0, 1)
    assert depth(built(("resize", Counted("interpolate", ((1, 2, 4, 4),), (X,)), ["input"]))) == Depth(0, 0)
    rows = Layout("view", ((2, 8, 8),), (X,))
    assert depth(built(("rows", rows, ["input"]), ("lstm", Recurrent("lstm", 3, 2), ["rows"]))) == Depth(2, 2)


@pytest.mark.parametrize(
    ("name", "layers"), [("resnet18", 18), ("resnet50", 50), ("densenet121", 121), ("vgg16", 16)]
)
def test_traced_networks_named_by_their_depth_have_it(name: str, layers: int) -> None:
    models = pytest.importorskip("torchvision").models
    with torch.device("meta"):
        model = getattr(models, name)()
    assert depth(trace(model, TensorSpec((1, 3, 224, 224)))).weighted == layers


THREE = ReceptiveField((3, 3), (1, 1), (1, 1))
CONV = ("conv", Conv2d(2, 3, padding=1), ["input"])


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ([("mean", Kept((2, 1, 1)), []), ("end", Elementwise("sub"), ["conv", "mean"])], THREE),
        ([("end", Elementwise("silu"), ["conv"])], THREE),
        ([("end", Elementwise("where"), ["conv", "input"])], THREE),
        ([("grid", Kept(X, learned=False), []), ("end", Concat(), ["grid", "conv"])], THREE),
        ([("end", Layout("clone", (X,), (X,), shares=False), ["conv"])], THREE),
        ([("w", Kept((2, 2, 1, 1)), []), ("end", Conv2d(2, 1, 1, 0, 1, 1, False, ["weight"]), ["conv", "w"])], THREE),
        ([("end", Elementwise("cumsum"), ["conv"])], None),
        ([("end", Layout("permute", (X,), (X,)), ["conv"])], None),
        ([("end", Counted("interpolate", (X,), (X,)), ["conv"])], None),
        ([("end", Unknown("fft", ((X, "float32"),)), ["conv"])], None),
        ([("fft", Unknown("fft", ((X, "float32"),)), ["conv"]), ("end", Add(), ["conv", "fft"])], None),
        ([("end", Reduce("mean", (2, 3), True), ["conv"])], None),
        ([("end", GroupNorm(1), ["conv"])], None),
        ([("gate", Reduce("mean", (2, 3), True), ["conv"]), ("end", Elementwise("mul"), ["conv", "gate"])], None),
        ([("k", Kept((2, 2, 3, 3)), []), ("end", Layout("clone", ((2, 2, 3, 3),), ((2, 2, 3, 3),)), ["k"])], None),
    ],
)  # fmt: skip
def test_the_receptive_field_of_traced_ops(
    nodes: list[tuple[str, Op, list[str]]], expected: ReceptiveField | None
) -> None:
    found = receptive_field(built(CONV, *nodes))
    assert found["end"] == expected
    assert found["conv"] == THREE


def test_a_convolution_whose_weight_is_made_of_the_input_has_no_window() -> None:
    weight, kept = ("w", ReLU(), ["input"]), ("k", Kept(X), [])
    conv = Conv2d(1, 8, bias=False, computed=("weight",))
    assert receptive_field(built(weight, ("end", conv, ["input", "w"])))["end"] is None
    assert receptive_field(built(weight, kept, ("end", conv, ["k", "w"])))["end"] is None
    assert receptive_field(built(kept, ("end", conv, ["input", "k"])))["end"] == ReceptiveField(
        (8, 8), (1, 1), (0, 0)
    )


@pytest.mark.parametrize("training", [True, False])
def test_no_mode_changes_a_batch_norm_without_statistics_of_its_own(training: bool) -> None:
    graph = built(("norm", BatchNorm(False, False, training=training, tracked=False), ["input"]))
    # By the batch's statistics: 4 add an element; by those that it is handed: 1.
    adds = (4 if training else 1) * 2 * 8 * 8
    for mode in ("inference", "training"):
        assert profile_graph(graph, mode).total.operations["add"] == adds
