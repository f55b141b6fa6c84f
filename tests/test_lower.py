"""Lowering: the module has the graph's names, shapes, sharing, modes and lifetimes, and computes the graph."""

from __future__ import annotations

import copy
import pickle
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from lowered import assert_named_alike, run
from torch import nn

from archlab.errors import UsageError
from archlab.ir import MODES, Builder, Graph, Node, Op, Param, TensorSpec
from archlab.ops import Add, Concat, Conv2d, Flatten, Input, Linear, ReLU
from archlab.pytorch.lower import lower
from archlab.pytorch.verify import verify
from archlab.zoo import catalog


@pytest.mark.parametrize("name", catalog.ARCHITECTURES)
def test_the_zoo_lowers_to_modules_of_the_same_names_shapes_and_outputs(name: str) -> None:
    graph = catalog.build(name)
    module = lower(graph, "meta")
    assert_named_alike(graph, module)
    for mode in MODES:
        made = run(module, mode, "meta")
        assert tuple(tuple(tensor.shape) for tensor in made) == tuple(
            s.shape for s in graph.in_mode(mode).output_specs
        )


@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("inception-5b", 7),
        ("nin-cifar10", 32),
        ("googlenet", 64),
        ("googlenet-torchvision", 64),
        ("googlenet-tfslim", 50),
    ],
)
def test_architectures_run_for_real(name: str, side: int) -> None:
    graph = catalog.build(name).in_mode("inference")
    channels = graph.inputs["input"].shape[1]
    graph = graph.with_inputs({"input": TensorSpec((2, channels, side, side))})
    module = lower(graph)
    assert_named_alike(graph, module)
    (made,) = run(module)
    assert tuple(made.shape) == graph.output_specs[0].shape
    assert made.isfinite().all()


def two_heads() -> Graph:
    b = Builder("two heads")
    x = b.add("input", Input((2, 4, 4, 4)))
    x = b.add("stem", Conv2d(4, 3, padding=1), x)
    with b.scope("loss", train_only=True):
        aux = b.add("fc", Linear(3), b.add("flatten", Flatten(), x))
    return b.build(b.add("top", ReLU(), x), aux)


def test_train_only_heads_run_and_are_returned_in_training_alone() -> None:
    module = lower(two_heads())
    called = []
    module.layer("loss/fc").register_forward_hook(lambda *_: called.append("loss/fc"))
    x = torch.zeros(2, 4, 4, 4)
    top, aux = module.train()(x)
    assert (top.shape, aux.shape, called) == ((2, 4, 4, 4), (2, 3), ["loss/fc"])
    bare = module.eval()(x)
    assert (bare.shape, called) == ((2, 4, 4, 4), ["loss/fc"])


def test_a_graph_of_inference_keeps_the_parameters_of_its_heads_unused() -> None:
    graph = two_heads().in_mode("inference")
    assert "loss.fc.weight" in graph.params
    assert_named_alike(graph, lower(graph))


def tied() -> Graph:
    """Two layers that read one weight, kept under a name that is no node's, and two that swap theirs."""
    nodes = (
        Node("input", Input((2, 4))),
        Node("a", Linear(4), (("input", 0),), {"weight": "shared.table"}),
        Node("b", Linear(4, bias=False), (("a", 0),), {"weight": "shared.table"}),
        Node("c", Linear(4, bias=False), (("b", 0),), {"weight": "d.weight"}),
        Node("d", Linear(4, bias=False), (("c", 0),), {"weight": "c.weight"}),
    )
    return Graph("tied", nodes, (("d", 0),), {"extra": Param((3,))})


def test_tied_weights_are_one_parameter_under_the_graphs_key() -> None:
    graph = tied()
    module = lower(graph)
    assert_named_alike(graph, module)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
        module.state_dict()["shared.table"].copy_(torch.eye(4) * 2)
        module.state_dict()["d.weight"].copy_(torch.eye(4) * 3)
        module.state_dict()["c.weight"].copy_(torch.eye(4) * 5)
        assert module(torch.ones(2, 4)).tolist() == [[2 * 2 * 3 * 5] * 4] * 2


def test_the_gradient_of_a_tied_weight_is_the_sum_over_its_readers() -> None:
    module = lower(tied())
    module(torch.ones(2, 4)).sum().backward()
    assert all(p.grad is not None for name, p in module.named_parameters() if name != "extra")


@pytest.mark.parametrize(
    "again", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["deepcopy", "pickle"]
)
def test_a_copy_computes_the_same_and_keeps_weights_tied(again: Any) -> None:
    module = lower(tied())
    twin = again(module)
    assert_named_alike(module.graph, twin)
    assert torch.equal(run(module)[0], run(twin)[0])
    with torch.no_grad():
        twin.state_dict()["shared.table"].zero_()
    assert run(twin)[0].abs().max() < run(module)[0].abs().max()


def test_weights_stay_tied_on_another_device_and_type() -> None:
    module = lower(tied(), "meta").to_empty(device="cpu").to(torch.float64)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(0)
    assert module(torch.ones(2, 4, dtype=torch.float64)).tolist() == [[0.0] * 4] * 2


def test_a_layer_may_lie_below_another_and_have_the_name_of_an_attribute() -> None:
    b = Builder("names")
    x = b.add("input", Input((1, 2, 5, 5)))
    for name in ("conv1/x/weight", "conv1", "conv1/x", "double", "conv1/weight", "type", "forward/0"):
        x = b.add(name, Conv2d(2, 1), x)
    graph = b.build(x)
    module = lower(graph)
    assert_named_alike(graph, module)
    assert run(module)[0].shape == (1, 2, 5, 5)


def test_a_layer_named_as_the_flag_that_torch_sets_is_refused() -> None:
    b = Builder("names")
    graph = b.build(b.add("a/training", ReLU(), b.add("input", Input((1, 2)))))
    with pytest.raises(UsageError, match="names: a/training: torch keeps the name 'training' for itself; rename"):
        lower(graph)


def test_dtype_and_trainability_follow_the_graph() -> None:
    graph = two_heads()
    params = {k: Param(p.shape, "float64", trainable=k.endswith("bias")) for k, p in graph.params.items()}
    nodes = (Node("input", Input((2, 4, 4, 4), "float64")), *graph.nodes[1:])
    graph = Graph("frozen", nodes, graph.outputs, params)
    module = lower(graph)
    assert_named_alike(graph, module)
    assert module(torch.zeros(2, 4, 4, 4, dtype=torch.float64))[0].dtype == torch.float64


def test_weights_are_initialised_as_torch_does() -> None:
    torch.manual_seed(7)
    expected = nn.Linear(4, 3).state_dict()
    b = Builder("one")
    graph = b.build(b.add("fc", Linear(3), b.add("input", Input((1, 4)))))
    torch.manual_seed(7)
    module = lower(graph)
    assert torch.equal(module.state_dict()["fc.weight"], expected["weight"])
    assert torch.equal(module.state_dict()["fc.bias"], expected["bias"])


def test_nothing_is_allocated_on_the_meta_device() -> None:
    module = lower(catalog.build("vgg19"), "meta")
    assert {tensor.device.type for tensor in (*module.parameters(), *module.buffers())} == {"meta"}


@pytest.mark.parametrize("count", [0, 2])
def test_another_number_of_inputs_is_refused_with_their_names(count: int) -> None:
    module = lower(two_heads())
    with pytest.raises(UsageError, match=rf"two heads takes 1 input\(s\) \(input\), got {count}"):
        module(*[torch.zeros(2, 4, 4, 4)] * count)


def test_several_inputs_come_in_the_graphs_order() -> None:
    b = Builder("two")
    x, y = b.add("x", Input((2, 3))), b.add("y", Input((3,)))
    module = lower(b.build(x, b.add("sum", Add(), x, y), y))
    x_out, total, y_out = module(torch.ones(2, 3), torch.full((3,), 2.0))
    assert (x_out.tolist(), total.tolist(), y_out.tolist()) == ([[1.0] * 3] * 2, [[3.0] * 3] * 2, [2.0] * 3)


class Halves(nn.Module):
    """The two halves of the channels."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return x.chunk(2, 1)


@dataclass(frozen=True)
class Split(Op):
    """An op of two outputs."""

    def infer(self, x: TensorSpec) -> tuple[TensorSpec, ...]:
        return (x.reshaped((x.shape[0], x.shape[1] // 2, *x.shape[2:])),) * 2

    def to_torch(self, nn: Any, x: TensorSpec) -> Any:
        return Halves()


def test_an_op_may_have_several_outputs_of_which_some_are_read() -> None:
    nodes = (
        Node("input", Input((1, 4))),
        Node("split", Split(), (("input", 0),)),
        Node("back", Concat(), (("split", 1), ("split", 0))),
        Node("again", Split(), (("back", 0),)),
    )
    graph = Graph("halves", nodes, (("again", 1), ("back", 0)))
    second, both = lower(graph)(torch.tensor([[1.0, 2.0, 3.0, 4.0]]))
    assert (second.tolist(), both.tolist()) == ([[1, 2]], [[3, 4, 1, 2]])
    assert verify(graph).ok


def test_a_module_put_in_a_layers_place_is_run() -> None:
    module = lower(two_heads()).eval()
    module.top = nn.Identity()
    x = torch.randn(2, 4, 4, 4)
    assert torch.equal(module(x), module.stem(x))
