"""Lowering traced graphs: what only a trace can write down is refused by name; attention runs."""

from __future__ import annotations

import pytest
import torch
from test_traced_analyses import X, built

from archlab.errors import UsageError
from archlab.ir import Graph, Node, Op, TensorSpec
from archlab.ops import Add, Attention, Conv2d, Counted, Elementwise, Input, Kept, Layout, Reduce, Unknown
from archlab.pytorch.lower import lower


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([("silu", Elementwise("silu"), ["input"]), ("t", Layout("t", (X,), (X,)), ["silu"])], "silu: a traced Elem"),
        ([("a/t", Layout("permute", (X,), (X,)), ["input"])], r"g: a/t: a traced Layout \(permute\) cannot be low"),
        ([("k", Kept(X), []), ("end", Add(), ["input", "k"])], "g: k: a traced Kept cannot be lowered yet"),
        ([("end", Unknown("fft", ((X, "bool"),)), ["input"])], r"g: end: a traced Unknown \(fft\) cannot be lowered"),
        ([("s", Reduce("sum", (1,)), ["input"])], r"g: s: a traced Reduce \(sum\) cannot be lowered yet"),
        (
            [("c", Counted("resize", (X,), (X,)), ["input"])],
            r"g: c: a traced Counted \(resize\) cannot be lowered yet",
        ),
    ],
)
def test_a_graph_that_cannot_be_lowered_names_the_first_layer_that_is_why(
    nodes: list[tuple[str, Op, list[str]]], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        lower(built(*nodes), "meta")


def test_a_layer_with_computed_weights_cannot_be_lowered() -> None:
    nodes = (
        Node("input", Input(X)),
        Node("w", Input((2, 2, 2, 8))),
        Node("conv", Conv2d(2, (2, 8), bias=False, computed=("weight",)), (("input", 0), ("w", 0))),
    )
    with pytest.raises(UsageError, match="g: conv: a traced Conv2d with computed weights cannot be lowered yet"):
        lower(Graph("g", nodes, (("conv", 0),)), "meta")


def test_attention_is_lowered_and_shares_keys_among_queries() -> None:
    nodes = (
        Node("q", Input((2, 4, 3, 8))),
        Node("k", Input((2, 2, 5, 8))),
        Node("v", Input((2, 2, 5, 6))),
        Node("attention", Attention(masked=True), (("q", 0), ("k", 0), ("v", 0))),
    )
    graph = Graph("attention", nodes, (("attention", 0),))
    made = lower(graph)(*[torch.ones(spec.shape) for spec in graph.inputs.values()])
    assert TensorSpec(tuple(made.shape)) == graph.output_specs[0] == TensorSpec((2, 4, 3, 6))
