"""Receptive fields measured: the extent of torch's gradient at the input is the field."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from typing import Any

import pytest
import torch
from chains import chain
from hypothesis import HealthCheck, given, settings
from random_graphs import graphs
from torch import nn
from torch.nn import functional

from archlab.analyses.receptive_field import ReceptiveField, receptive_field
from archlab.errors import ShapeError
from archlab.ir import Graph, Shape, TensorSpec
from archlab.ops import (
    Add,
    AvgPool2d,
    Concat,
    Conv2d,
    MaxPool2d,
)
from archlab.pytorch.lower import LoweredGraph, lower
from archlab.transform import select
from archlab.zoo import catalog


class Spread(nn.Module):
    """Adds up the window of a max pool, so that each of its positions has a gradient."""

    def __init__(self, op: Any, made: Shape) -> None:
        super().__init__()
        self.op, self.made = op, made

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        op, channels = self.op, x.shape[1]
        (top, _), (left, _) = op.pads(*x.shape[2:])
        room = 2 * max(*op.kernel, *op.stride) * max(op.dilation)
        x = functional.pad(x, (left, room, top, room))
        ones = torch.ones(channels, 1, *op.kernel, dtype=x.dtype) / (op.kernel[0] * op.kernel[1])
        made = functional.conv2d(x, ones, None, op.stride, 0, op.dilation, channels)
        return made[:, :, : self.made[2], : self.made[3]]


def measurable(graph: Graph) -> LoweredGraph:
    """Return a module in which every position that can reach an output has a positive gradient."""
    module = lower(graph).eval().double()
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.fill_(1 / parameter[0].numel() if name.endswith("weight") and parameter.dim() > 1 else 1)
    for node in graph.nodes:
        if isinstance(node.op, MaxPool2d):
            *path, last = node.name.split("/")
            parent: Any = module
            for part in path:
                parent = parent._modules[part]
            spread = Spread(node.op, graph.specs[node.name][0].shape)
            spread._modules.update(parent._modules[last]._modules)  # layers that lie below it
            parent._modules[last] = spread
    return module


def assert_measured(graph: Graph, names: list[str]) -> int:
    """Compare fields with the extent of the gradient of a middle position; return how many were compared.

    The extent is that of the inputs with a gradient; a window that would be clipped is not compared.
    """
    fields = receptive_field(graph)
    graph = dataclasses.replace(graph, outputs=tuple((name, 0) for name in names), params={}, like=graph.params)
    module = measurable(graph)
    inputs = [torch.ones(spec.shape, dtype=torch.float64, requires_grad=True) for spec in graph.inputs.values()]
    made = module(*inputs)
    compared = 0
    for name, tensor in zip(names, made if isinstance(made, tuple) else (made,), strict=True):
        field = fields[name]
        if field is None:
            continue
        middle = tensor.shape[2] // 2, tensor.shape[3] // 2
        start = [m * s - p for m, s, p in zip(middle, field.strides, field.paddings, strict=True)]
        end = [first + size - 1 for first, size in zip(start, field.sizes, strict=True)]
        if min(start) < 0 or any(last >= n for last, n in zip(end, inputs[0].shape[2:], strict=True)):
            continue
        gradients = torch.autograd.grad(tensor[:, :, *middle].sum(), inputs, retain_graph=True, allow_unused=True)
        seen = sum(g.abs().sum((0, 1)) for g in gradients if g is not None)
        positions = seen.nonzero()
        assert (name, positions.amin(0).tolist(), positions.amax(0).tolist()) == (name, start, end)
        compared += 1
    return compared


def thin(graph: Graph, side: int) -> Graph:
    """Return the network with one channel everywhere, on a large square: fields do not depend on channels."""
    graph = graph.in_mode("inference")
    graph = select(graph, Conv2d).swap(lambda _, node: dataclasses.replace(node.op, out_channels=1, groups=1))
    return graph.with_inputs({"input": TensorSpec((1, 1, side, side))})


@pytest.mark.parametrize(
    ("name", "last", "side"),
    [
        ("alexnet", "pool5", 300),
        ("vgg16", "pool5", 320),
        ("nin", "cccp8-1024", 300),
        ("nin-cifar10", "cccp6", 80),
        ("googlenet", "inception_5b/output", 800),
        ("googlenet-torchvision", "inception_5b/output", 500),
        ("googlenet-tfslim", "inception_5b/output", 530),
        ("inception-3a", "inception_3a/output", 28),
    ],
)
def test_the_field_is_the_extent_of_the_gradient(name: str, last: str, side: int) -> None:
    graph = thin(catalog.build(name), side)
    nodes = list(graph.nodes)
    end = next(i for i, node in enumerate(nodes) if node.name == last)
    graph = graph.edit(nodes[: end + 1], [(last, 0)])
    names = [node.name for node in graph.nodes if isinstance(node.op, (MaxPool2d, Concat))]
    names = list(dict.fromkeys([*names[::4], last]))
    assert assert_measured(graph, names) == len(names)


def test_the_field_of_a_random_graph_is_the_extent_of_the_gradient() -> None:
    compared = []

    @settings(
        max_examples=100, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(graphs(batch=1))
    def measure(graph: Graph) -> None:
        graph = graph.in_mode("inference")
        with contextlib.suppress(ShapeError):  # sizes that agree by chance, at the small size alone
            graph = graph.with_inputs({name: TensorSpec((1, 2, 45, 42)) for name in graph.inputs})
        windows = [n.name for n in graph.nodes if isinstance(n.op, (Conv2d, MaxPool2d, AvgPool2d, Add, Concat))]
        compared.append(assert_measured(graph, windows[-4:]) if windows else 0)

    measure()
    assert sum(compared) > len(compared)


def test_a_field_that_is_one_position_off_is_measured_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    def shifted(graph: Graph) -> dict[str, ReceptiveField | None]:
        return {name: field and dataclasses.replace(field, paddings=(1, 0)) for name, field in true(graph).items()}

    true = receptive_field
    graph = chain(Conv2d(2, 3))
    assert assert_measured(graph, ["0"]) == 1
    monkeypatch.setattr(sys.modules[__name__], "receptive_field", shifted)
    with pytest.raises(AssertionError):
        assert_measured(graph, ["0"])
