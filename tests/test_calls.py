"""Module calls of a trace: who was called by whom, how often, with what; and where each node came from."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import archlab
from archlab.errors import ReadError
from archlab.ir import Call
from archlab.sources.json import read_graph


class Twice(nn.Module):
    """Calls one child twice and another through a function."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(4, 4, bias=False), nn.ReLU())
        self.scale = nn.Parameter(torch.ones(4))

    def forward(self, x: torch.Tensor, other: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        y = self.inner(self.inner(x))
        return y * self.scale, nn.functional.linear(other["y"], self.inner[0].weight)


def traced() -> archlab.Graph:
    return archlab.trace(Twice(), torch.zeros(2, 4), {"y": torch.zeros(3, 4)})


def test_calls_are_listed_in_the_order_in_which_they_began() -> None:
    x, other = ((2, 4), "float32"), ((3, 4), "float32")
    linear, relu = "torch.nn.modules.linear.Linear", "torch.nn.modules.activation.ReLU"
    sequential = "torch.nn.modules.container.Sequential"
    own = (("weight", "inner.0.weight"),)
    twice = f"{__name__}.Twice"
    assert traced().calls == (
        Call("", twice, -1, 0, (x, other), (x, other), (("scale", "scale"),), False),
        Call("inner", sequential, 0, 0, (x,), (x,), (), False),
        Call("inner.0", linear, 1, 0, (x,), (x,), own, True),
        Call("inner.1", relu, 1, 0, (x,), (x,), (), True),
        Call("inner", sequential, 0, 1, (x,), (x,), (), False),
        Call("inner.0", linear, 4, 1, (x,), (x,), own, True),
        Call("inner.1", relu, 4, 1, (x,), (x,), (), True),
    )


def test_a_node_knows_the_call_that_ran_it() -> None:
    graph = traced()
    sources = {node.name: node.source for node in graph.nodes}
    second = sources["inner/0#2"]
    assert second is not None
    assert graph.calls[second.call] == Call(
        "inner.0", "torch.nn.modules.linear.Linear", 4, 1, (((2, 4), "float32"),), (((2, 4), "float32"),),
        (("weight", "inner.0.weight"),), True,
    )  # fmt: skip
    assert (second.module, second.module_class, second.function) == (
        "inner.0",
        "torch.nn.modules.linear.Linear",
        "linear",
    )
    product = sources["linear"]
    assert product is not None
    assert (product.module, product.call) == ("", 0)


def test_a_node_knows_the_outermost_torch_function() -> None:
    graph = archlab.trace(nn.MultiheadAttention(8, 2), *[torch.zeros(3, 1, 8)] * 3)
    functions = {type(node.op).__name__: node.source.function for node in graph.nodes if node.source}
    assert functions["Attention"] == functions["Linear"] == "multi_head_attention_forward"


def test_calls_and_sources_survive_json() -> None:
    graph = traced()
    read = read_graph(graph.to_json(), "here")
    assert read.calls == graph.calls
    assert [node.source for node in read.nodes] == [node.source for node in graph.nodes]


def test_a_call_inside_a_later_one_is_refused() -> None:
    text = traced().to_json().replace('"parent": 1,', '"parent": 6,')
    with pytest.raises(ReadError, match=r"calls\[2\].parent: must be an earlier call or -1, got 6"):
        read_graph(text, "here")


def test_an_edited_graph_has_no_calls() -> None:
    graph = traced()
    assert graph.named("other").calls == graph.calls
    assert graph.edit(graph.nodes).calls == ()
