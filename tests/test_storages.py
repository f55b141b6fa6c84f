"""Storages of a trace, against what is alive in a real run on the CPU: views, in-place results, what Python holds."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from live import live
from torch import Tensor
from torch.nn import functional
from vision import MODELS, SIDES, on_cpu

from archlab.analyses.memory import peak_memory
from archlab.errors import ReadError
from archlab.ir import Graph
from archlab.profiles import profile_graph
from archlab.pytorch.lower import lower
from archlab.pytorch.trace import trace
from archlab.sources.json import read_graph
from archlab.zoo import catalog


@pytest.mark.parametrize("name", MODELS)
def test_the_peak_of_a_torchvision_model_is_what_is_alive_on_the_cpu(name: str) -> None:
    side = SIDES.get(name, 64)
    model, x = on_cpu(name), torch.zeros(2, 3, side, side)
    alive = live(model, x).peak
    assert peak_memory(trace(model, x)).bytes == alive
    assert peak_memory(trace(model, x)).bytes == alive  # by the recipes of the first


@pytest.mark.parametrize("name", list(catalog.ARCHITECTURES))
def test_the_peak_of_a_lowered_network_is_what_is_alive_and_what_the_graph_says(name: str) -> None:
    graph = catalog.build(name).in_mode("inference")
    module = lower(graph).eval()
    inputs = [torch.zeros(spec.shape) for spec in graph.inputs.values()]
    assert peak_memory(trace(module, *inputs)).bytes == peak_memory(graph).bytes
    if name not in PADDED:
        assert live(module, *inputs).peak == peak_memory(graph).bytes


PADDED = ("googlenet-tfslim",)
"""Our module for TensorFlow's padding pads by a copy of its own before the kernel: workspace of one layer."""

X = torch.zeros(4, 8, 6)


def in_place_chain(x: Tensor) -> Tensor:
    y = x + 1
    y.relu_()
    y += x
    functional.relu(y, inplace=True)
    return y.mul_(2).add_(x)


def views(x: Tensor) -> Tensor:
    y = x * 2
    first, second = y.chunk(2, 1)
    del y  # its views hold it
    z = first.transpose(1, 2).flatten(1) * 2
    del first
    return z.sum() + second.sum()


def copies_of_views(x: Tensor) -> Tensor:
    y = (x * 2).transpose(1, 2)
    z = y.contiguous()
    w = y.reshape(-1)
    return z.sum() + w.sum() + y.view(4, 6, 2, 4).sum()


def kept_in_a_list(x: Tensor) -> Tensor:
    made = []
    for _ in range(4):
        x = x + 1
        made.append(x)
    joined = torch.cat(made, 1)
    made.clear()
    return joined * 2


def let_go(x: Tensor) -> Tensor:
    y = x.repeat(1, 3, 1)
    z = y.mean(1)
    del y
    return torch.cat([z, z, z, z], -1).exp()


def held_on(x: Tensor) -> Tensor:
    y = x.repeat(1, 3, 1)
    z = y.mean(1)
    return torch.cat([z, z, z, z], -1).exp()  # y is still there


def from_nothing(x: Tensor) -> Tensor:
    mask = torch.zeros(8, 8).fill_(1.0).tril()
    places = torch.arange(8).unsqueeze(0).expand(4, -1)
    table = torch.ones(8, 6, dtype=torch.float64)
    return x + mask.sum() + places.sum() + table.float()


def written_parts(x: Tensor) -> Tensor:
    out = torch.empty(4, 8, 12)
    out[:, :, :6] = x
    out[:, :, 6:] = x * 2
    torch.mul(out, out, out=out)
    return out[:, 0]


def split_and_joined(x: Tensor) -> Tensor:
    a, b, c = x.split([2, 2, 4], 1)
    y = torch.stack([a, b])
    return torch.cat([y.unbind()[0], c], 1).unsqueeze(0).expand(3, -1, -1, -1)


def handed_through(x: Tensor) -> Tensor:
    y = functional.dropout(x * 2, 0.5, False)
    return (y.to(torch.float32).contiguous().detach().float() + y.double()).float()


def swapped(x: Tensor) -> Tensor:
    y = x.permute(2, 0, 1) + 1  # lies as its input does
    return y.permute(1, 2, 0).reshape(4, -1) + y.reshape(6, -1).sum()


def several_results(x: Tensor) -> Tensor:
    values, places = x.max(1)
    best, where = x.topk(3, 1)
    order = x.sort(1)
    return values.sum() + places.sum() + best.sum() + where.sum() + order.values.sum()


def attention(x: Tensor) -> Tensor:
    q = x.reshape(4, 8, 2, 3).transpose(1, 2)  # the kernel writes as its queries lie, so nothing is copied behind it
    return functional.scaled_dot_product_attention(q, q, q).transpose(1, 2).reshape(4, 8, 6)


FORWARDS = [
    in_place_chain, views, copies_of_views, kept_in_a_list, let_go, held_on, from_nothing, written_parts,
    split_and_joined, handed_through, swapped, several_results, attention,
]  # fmt: skip


@pytest.mark.parametrize("forward", FORWARDS)
def test_the_peak_of_a_function_is_what_is_alive(forward: Callable[[Tensor], Tensor]) -> None:
    alive = live(forward, X).peak
    for _ in range(2):
        assert peak_memory(trace(forward, X)).bytes == alive


def test_what_python_lets_go_of_earlier_is_gone_earlier() -> None:
    # 4·8·6 numbers of 4 bytes a tensor; held: x, 3x, its mean of 4·6, four of that twice. Let go: x and 3x first.
    x, row = 4 * (4 * 8 * 6), 4 * (4 * 6)
    assert peak_memory(trace(held_on, X)).bytes == x + 3 * x + row + 4 * row + 4 * row
    assert peak_memory(trace(let_go, X)).bytes == max(x + 3 * x + row, x + row + 8 * row)


def test_what_lies_in_a_storage_is_listed() -> None:
    def forward(x: Tensor) -> Tensor:
        y = x + 1
        y.relu_()
        return y.view(-1).mul_(2)

    graph = trace(forward, X)
    assert [storage.outputs for storage in graph.storages] == [
        (("input", 0),),
        (("add", 0), ("relu", 0), ("reshape", 0), ("mul", 0)),
    ]
    assert [storage.freed for storage in graph.storages] == [-1, -1]


def same(first: Graph, second: Graph) -> None:
    assert first.storages == second.storages
    assert peak_memory(first) == peak_memory(second)


@pytest.mark.parametrize("forward", FORWARDS)
def test_storages_survive_json_and_another_name(forward: Callable[[Tensor], Tensor]) -> None:
    graph = trace(forward, X)
    assert graph.storages
    same(read_graph(graph.to_json(), "here"), graph)
    same(graph.named("other"), graph)
    assert profile_graph(read_graph(graph.to_json(), "here")).peak_memory == peak_memory(graph).bytes


def test_an_edited_graph_frees_a_tensor_after_its_last_reader() -> None:
    graph = trace(held_on, X)
    edited = graph.edit(graph.nodes)
    assert edited.storages == ()
    assert peak_memory(edited).bytes == peak_memory(trace(let_go, X)).bytes


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"outputs": []}, r"storages\[1\].outputs: must be a list that is not empty"),
        ({"outputs": [["nobody", 0]]}, r"storages\[1\].outputs: must be outputs of nodes of the graph"),
        ({"outputs": [["add", 1]]}, r"storages\[1\].outputs: must be outputs of nodes of the graph"),
        ({"outputs": [["add", -1]]}, r"storages\[1\].outputs: must be outputs of nodes of the graph"),
        ({"outputs": "add"}, r"storages\[1\].outputs: must be a list"),
        ({"outputs": [["add"]]}, r'storages\[1\].outputs\[0\]: must be a pair like \["conv1", 0\]'),
        ({"freed": 1}, r"storages\[1\].freed: must be -1, or more than 1 and up to 3, got 1"),
        ({"freed": 4}, r"storages\[1\].freed: must be -1, or more than 1 and up to 3, got 4"),
        ({"freed": "x"}, r"storages\[1\].freed: must be an integer"),
        ({"size": 1}, r"storages\[1\]: unknown entry"),
    ],
)
def test_wrong_storages_in_a_file_are_refused(change: dict[str, Any], message: str) -> None:
    import json

    data = trace(lambda x: (x + 1).exp(), X).to_dict()
    assert len(data["storages"]) == 3
    data["storages"][1] = {**data["storages"][1], **change}
    with pytest.raises(ReadError, match=message):
        read_graph(json.dumps(data), "here")


def test_elements_written_into_a_view_that_are_not_known_make_those_of_its_base_unknown() -> None:
    def forward(x: Tensor, n: Tensor) -> Tensor:
        counts = torch.tensor([1, 2, 3])
        counts[1:].copy_(x.sum((1, 2))[:2].long())
        return x[: int(counts[2])]

    with pytest.raises(Exception, match="depends on the elements"):
        trace(forward, X, torch.tensor(1))


def test_elements_written_into_a_base_make_those_of_its_views_unknown() -> None:
    def forward(x: Tensor) -> Tensor:
        counts = torch.tensor([1, 2, 3])
        last = counts[2]
        counts.add_(x.sum().long())
        return x[: int(last)]

    with pytest.raises(Exception, match="depends on the elements"):
        trace(forward, X)


def test_elements_that_are_known_are_seen_through_every_view() -> None:
    def forward(x: Tensor) -> Tensor:
        counts = torch.tensor([1, 2, 3])
        last = counts[2]
        counts[1:].add_(1)
        counts[2] -= 2
        return x[: int(last)]

    assert trace(forward, X).output_specs[0].shape == (2, 8, 6)  # 3 + 1 - 2
    assert trace(forward, X).output_specs[0].shape == tuple(forward(X).shape)


def test_the_tensors_of_a_trace_are_gone_with_it() -> None:
    import gc

    from archlab.pytorch.spy import TracedTensor

    gc.collect()
    before = sum(type(thing) is TracedTensor for thing in gc.get_objects())
    graphs = [trace(forward, X) for forward in FORWARDS]
    assert sum(type(thing) is TracedTensor for thing in gc.get_objects()) == before
    assert len(graphs) == len(FORWARDS)


FIRST = """
import torch
import archlab

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.fc = torch.nn.Conv2d(3, 2, 3, padding=1), torch.nn.Linear(2 * 64, 10)

    def forward(self, x):
        return self.fc(self.conv(x).relu().flatten(1))

print(*(archlab.profile(Net(), torch.ones(2, 3, 8, 8)).peak_memory for _ in range(2)))
"""


def test_the_first_trace_of_a_process_frees_tensors_as_every_later_one() -> None:
    """torch loads the Python part of its meta kernels at the first call of one, and keeps frames in doing so."""
    made = subprocess.run([sys.executable, "-c", FIRST], capture_output=True, text=True, check=True)
    # At the relu: the input 2·3·64, what it reads and what it writes, 2·2·64 each, at 4 bytes an element.
    assert made.stdout.split() == [str(4 * 64 * (2 * 3 + 2 * 2 + 2 * 2))] * 2
