"""What a real run on the CPU takes, against the predictions, to the byte: the zoo and models of torchvision."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from live import live
from random_graphs import graphs
from torch import Tensor, nn
from vision import on_cpu

import archlab
from archlab.analyses.memory import peak_memory
from archlab.analyses.training_memory import training_memory
from archlab.errors import UsageError
from archlab.ir import Graph, TensorSpec
from archlab.pytorch.lower import LoweredGraph, lower
from archlab.pytorch.measure.memory import measured_memory
from archlab.pytorch.trace import trace
from archlab.zoo import catalog


def zeros(graph: Graph) -> LoweredGraph:
    """Return a graph as a module of zeros, which takes no time to make."""
    module = lower(graph, "meta").to_empty(device="cpu")
    for tensor in (*module.parameters(), *module.buffers()):
        tensor.detach().zero_()
    return module


def small(name: str, batch: int) -> Graph:
    """Return an architecture for a batch of images that take little time: of 96 x 96 in place of 224 or 227."""
    graph = catalog.build(name)
    _, channels, side, _ = graph.inputs["input"].shape
    side = 96 if side > 200 else side
    return graph.with_inputs({"input": TensorSpec((batch, channels, side, side))})


@pytest.mark.parametrize("name", catalog.ARCHITECTURES)
def test_an_architecture_takes_what_is_predicted_in_inference_and_in_training(name: str) -> None:
    graph = small(name, 2)
    module, x = zeros(graph), torch.zeros(graph.inputs["input"].shape)
    run = measured_memory(module, x)
    assert run.live == peak_memory(graph).bytes
    assert run.allocated >= run.live
    step = measured_memory(module, x, training=True)
    predicted = training_memory(graph)
    assert step.live == predicted.bytes
    assert step.allocated >= step.live
    assert predicted.assumed == ()


RUN = ("alexnet", "resnet18", "densenet121", "mobilenet_v2", "shufflenet_v2_x1_0", "swin_t")
"""What `test_storages.py` holds for many more, by watching tensors instead of allocations."""


@pytest.mark.parametrize("name", RUN)
def test_a_model_of_torchvision_takes_what_is_predicted_in_inference(name: str) -> None:
    model, x = on_cpu(name), torch.zeros(1, 3, 64, 64)
    assert measured_memory(model, x).live == peak_memory(trace(model, x)).bytes == live(model, x).peak


TRAINED = (
    "alexnet", "googlenet", "resnet18", "resnext50_32x4d", "densenet121", "squeezenet1_0", "mobilenet_v2",
    "mobilenet_v3_large", "shufflenet_v2_x1_0", "mnasnet1_0", "efficientnet_b0", "regnet_y_400mf", "convnext_tiny",
)  # fmt: skip


@pytest.mark.parametrize("name", TRAINED)
def test_a_model_of_torchvision_takes_what_is_predicted_in_training(name: str) -> None:
    model, x = on_cpu(name), torch.zeros(2, 3, 64, 64)
    predicted = training_memory(trace(model, x, mode="training"))
    assert predicted.assumed == ()
    assert measured_memory(model, x, training=True).live == predicted.bytes


class Net(nn.Module):
    """Tied weights, a frozen layer, a branch that joins again, a scale for each channel, and norms."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.frozen = nn.Conv2d(8, 8, 1).requires_grad_(False)
        self.scale = nn.Parameter(torch.ones(8, 1, 1))
        self.layer, self.group = nn.LayerNorm(8), nn.GroupNorm(2, 8)
        self.first, self.second = nn.Linear(8, 16), nn.Linear(16, 8)
        self.second.weight = nn.Parameter(torch.zeros(8, 16))
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.stem(x)).relu_()
        x = x + torch.sigmoid(self.frozen(x)) * self.scale
        x = self.group(torch.cat([x[:, :4], x[:, 4:].tanh()], 1))
        y = self.layer(x.permute(0, 2, 3, 1))
        y = self.second(nn.functional.gelu(self.first(y)))
        return self.head(nn.functional.dropout(y.mean((1, 2)), 0.5, self.training)).softmax(-1)


class Tied(nn.Module):
    """One matrix that two layers and the model itself read."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(64, 64), nn.Linear(64, 64)
        self.b.weight = self.a.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.b(torch.relu(self.a(x))) * self.a.weight


class Attending(nn.Module):
    """Attention as most image transformers write it, with a dropout that drops nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.qkv, self.out, self.drop = (
            nn.LayerNorm(32),
            nn.Linear(32, 96),
            nn.Linear(32, 32),
            nn.Dropout(0.0),
        )

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm(x)).reshape(2, 24, 3, 4, 8).permute(2, 0, 3, 1, 4).unbind(0)
        y = nn.functional.scaled_dot_product_attention(q, k, v)
        return x + self.drop(self.out(y.transpose(1, 2).reshape(2, 24, 32)))


class Language(nn.Module):
    """A table that is read at the beginning and multiplied with at the end: its two gradients add up."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.head = nn.Embedding(500, 16), nn.Linear(16, 500, bias=False)
        self.head.weight = self.table.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.table(x)))


class Scaled(nn.Module):
    """A product with a number, which Python wraps in 8 bytes and autograd keeps: it is no result of an operation."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 64)

    def forward(self, x: Tensor) -> Tensor:
        return (self.layer(x) * 3.0).relu()


STEPS = [
    (Scaled(), torch.zeros(100, 8)),
    (Net(), torch.zeros(3, 3, 12, 12)),
    (Tied(), torch.zeros(64, 64)),
    (Attending(), torch.zeros(2, 24, 32)),
    (Language(), torch.zeros(2, 7, dtype=torch.int64)),
]


@pytest.mark.parametrize(("model", "x"), STEPS, ids=[type(model).__name__ for model, _ in STEPS])
def test_a_step_of_a_small_model_takes_what_is_predicted(model: nn.Module, x: Tensor) -> None:
    predicted = training_memory(trace(model, x, mode="training"))
    assert predicted.assumed == ()
    assert measured_memory(model, x, training=True).live == predicted.bytes


def test_what_an_operation_takes_for_itself_is_workspace() -> None:
    # The pool writes 2·4·4 numbers of 4 bytes, and the places of the maxima, of 8 bytes each, that nobody reads.
    x = torch.zeros(1, 2, 8, 8)
    run = measured_memory(nn.MaxPool2d(2), x)
    assert run.live == 4 * (2 * 8 * 8 + 2 * 4 * 4)
    assert (run.allocated, run.workspace) == (run.live + 8 * 2 * 4 * 4, 8 * 2 * 4 * 4)
    assert run.own == (("max_pool2d", 8 * 2 * 4 * 4),)
    assert (run.at, run.within, run.device, run.training) == ("max_pool2d", "aten::max_pool2d", "cpu", False)


def test_what_a_call_is_composed_of_is_its_own() -> None:
    # As k is added: the mean of the squares, α times that and the sum, 4·8·8 numbers each, and k, which Python
    # wraps in 8 bytes and torch casts to 4. The result, of the same size, makes up for one of the three.
    x = torch.zeros(1, 4, 8, 8)
    size = 4 * x.numel()
    run = measured_memory(nn.LocalResponseNorm(5), x)
    assert run.live == size + size
    assert run.own == (("local_response_norm", 2 * size + 8 + 4),)
    assert (run.allocated, run.within) == (size + 3 * size + 8 + 4, "aten::add")


def test_inputs_are_counted_once_with_all_of_their_storage() -> None:
    whole = torch.zeros(10, 16)
    run = measured_memory(lambda a, b: a + b, whole[2:4], whole[4:6])
    assert run.live == 4 * (10 * 16 + 2 * 16)


def test_a_model_is_left_as_it_was() -> None:
    model = Net().eval()
    model.norm.train()
    model.head.weight.grad = torch.ones(5, 8)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = torch.random.get_rng_state()
    measured_memory(model, torch.ones(2, 3, 12, 12), training=True)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert {m.training for m in (model, model.layer)} == {False}
    assert model.norm.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert torch.equal(model.head.weight.grad, torch.ones(5, 8))
    assert all(p.grad is None for p in model.parameters() if p is not model.head.weight)


def test_a_model_that_fails_is_left_as_it_was() -> None:
    class Failing(nn.Module):
        def forward(self, x: Any) -> Any:
            raise ValueError("no")

    model = Failing()
    with pytest.raises(ValueError, match="no"):
        measured_memory(model, torch.zeros(1))
    assert model.training


@pytest.mark.gpu
@pytest.mark.parametrize("training", [False, True], ids=["inference", "training"])
def test_an_accelerator_takes_about_what_is_predicted(training: bool) -> None:
    """Its allocator rounds up, and its kernels keep other things for the backward pass than those of the CPU."""
    device = torch.accelerator.current_accelerator(check_available=True)
    if device is None:
        pytest.skip("torch.accelerator reports none here")
    graph = small("googlenet-torchvision", 8)
    module = zeros(graph).to(device)
    x = torch.zeros(graph.inputs["input"].shape, device=device)
    run = measured_memory(module, x, training=training)
    predicted = training_memory(graph).bytes if training else peak_memory(graph).bytes
    assert 0.8 * predicted <= run.live <= 1.2 * predicted
    assert run.allocated >= run.live
    assert run.device.startswith(device.type)


def test_a_target_a_graph_and_a_module_are_run_alike() -> None:
    graph = archlab.load("torchvision:squeezenet1_1@64")
    target = archlab.measured_memory("torchvision:squeezenet1_1@64")
    assert target == archlab.measured_memory(on_cpu("squeezenet1_1"), torch.zeros(1, 3, 64, 64))
    assert target.live == peak_memory(graph).bytes
    assert archlab.measured_memory("inception-5b").live == archlab.measured_memory(archlab.load("inception-5b")).live
    step = archlab.measured_memory("inception-5b", mode="training")
    assert step.live == archlab.training_memory("inception-5b").bytes


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gpu", "--device gpu: no such kind of device; there is cpu"),
        ("meta", r"--device meta: torch .* finds no meta on this machine; there is cpu"),
    ],
)
def test_a_device_that_is_not_there_is_refused_with_what_there_is(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        archlab.measured_memory("naive", device=name)


def test_the_measured_peak_stands_beside_the_predicted_one(run: Any) -> None:
    out = run("profile", "inception-5b", "--memory", "--device", "cpu").out
    assert "live storages on cpu, as Concat returned; equal to the prediction" in out
    data = json.loads(run("profile", "inception-5b", "--memory", "--device", "cpu", "--json").out)["memory"]
    assert data["measured"]["live"] == data["bytes"]
    assert data["measured"]["workspace"] == data["measured"]["allocated"] - data["bytes"]
    assert {item["call"] for item in data["measured"]["own"]} >= {"conv2d", "max_pool2d"}


@settings(max_examples=25, deadline=None)
@given(graphs())
def test_any_graph_takes_what_is_predicted(graph: Graph) -> None:
    module, inputs = zeros(graph), [torch.zeros(spec.shape) for spec in graph.inputs.values()]
    assert measured_memory(module, *inputs).live == peak_memory(graph).bytes
    step = measured_memory(module, *inputs, training=True)
    predicted = training_memory(graph)
    assert predicted.assumed == ()
    assert step.live == predicted.bytes
