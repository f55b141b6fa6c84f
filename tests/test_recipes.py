"""Calls that look like an earlier one are written down like it; those that only resemble one are not."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from archlab.ir import Graph
from archlab.pytorch import recipes
from archlab.pytorch.trace import trace

X = torch.zeros(2, 4, 6)


def shapes(graph: Graph) -> list[tuple[int, ...]]:
    return [spec.shape for spec in graph.output_specs]


PAIRS: list[tuple[Callable[[Tensor], Any], Callable[[Tensor], Any]]] = [
    (lambda x: x[None, :], lambda x: x[:, None]),
    (lambda x: x[..., None], lambda x: x[None, ...]),
    (lambda x: x[1:2], lambda x: x[1]),
    (lambda x: x.sum(1, True), lambda x: x.sum(1)),
    (lambda x: x.long() * 2, lambda x: x.long() * 2.0),
    (lambda x: x.chunk(2, 2), lambda x: x.split(2, 2)),
    (lambda x: torch.cat([x, x + 1], 1), lambda x: torch.cat([x, x, x + 1], 1)),
    (lambda x: x + x, lambda x: x + (x + 1)),
    (lambda x: x.sum(dim=1), lambda x: x.mean(dim=1)),
    (lambda x: x.to(torch.float64), lambda x: x.to(torch.float16)),
    (lambda x: x.max(1), lambda x: x.max(1).values),
]


@pytest.mark.parametrize("pair", PAIRS)
def test_calls_that_resemble_each_other_are_told_apart(pair: tuple[Callable[..., Any], Callable[..., Any]]) -> None:
    for forward in (*pair, *pair):
        expected = torch.utils._pytree.tree_leaves(forward(X))
        graph = trace(forward, X)
        assert shapes(graph) == [tuple(tensor.shape) for tensor in expected]
        assert [spec.dtype for spec in graph.output_specs] == [str(t.dtype).removeprefix("torch.") for t in expected]


def test_one_tensor_read_twice_is_not_two_tensors() -> None:
    recipes.RECIPES.clear()
    for _ in range(2):
        assert trace(lambda x: torch.mul(x, x), X).nodes[-1].inputs == (("input", 0), ("input", 0))
        assert trace(torch.mul, X, X).nodes[-1].inputs == (("input0", 0), ("input1", 0))


def test_a_weight_that_is_kept_and_one_that_is_computed_are_told_apart() -> None:
    weight = nn.Parameter(torch.zeros(3, 6))

    class Computed(nn.Module):
        def __init__(self, scale: bool) -> None:
            super().__init__()
            self.weight, self.scale = weight, scale

        def forward(self, x: Tensor) -> Tensor:
            return functional.linear(x, self.weight * 2 if self.scale else self.weight)

    for scale in (False, True, False, True):
        node = trace(Computed(scale), X).nodes[-1]
        assert bool(node.weights) is not scale
        assert len(node.inputs) == 1 + scale


def test_elements_that_are_known_are_looked_at_each_time() -> None:
    def forward(x: Tensor, n: Tensor) -> Tensor:
        return x[: int((n + 1).item())]

    assert shapes(trace(forward, torch.zeros(9), torch.tensor(3))) == [(4,)]
    assert shapes(trace(forward, torch.zeros(9), torch.tensor(5))) == [(6,)]


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipes, "LARGEST", 3)
    recipes.RECIPES.clear()
    for size in range(1, 9):
        trace(lambda x: x.tanh(), torch.zeros(size))
        assert 1 <= len(recipes.RECIPES) <= 3


def test_a_repeated_trace_is_the_same_in_every_part() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(True), nn.MaxPool2d(2), nn.Flatten(1))
    recipes.RECIPES.clear()
    first, second = (trace(model, torch.zeros(1, 3, 8, 8)) for _ in range(2))
    assert first.to_json() == second.to_json()
    assert pickle.loads(pickle.dumps(first)).to_json() == trace(model, torch.zeros(1, 3, 8, 8)).to_json()


def test_a_call_that_makes_known_elements_of_unknown_ones_makes_them_every_time() -> None:
    def masked(x: Tensor) -> Tensor:
        mask = torch.zeros_like(x, dtype=torch.bool)
        mask[0] = True
        return x[mask]

    recipes.RECIPES.clear()
    for _ in range(3):
        graph = trace(masked, torch.empty(7, 3, device="meta"))
        assert shapes(graph) == [(3,)], "the first row's elements"
        assert not any(node.assumed for node in graph.nodes)
