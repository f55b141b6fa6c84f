"""Sizes that rest on elements that a trace does not have: what is taken for granted, and that it is said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from archlab import TensorSpec
from archlab.errors import TraceError
from archlab.profiles import profile_graph
from archlab.pytorch.trace import trace
from archlab.sources.json import read_graph

X = TensorSpec((6, 4))

EVERYWHERE = "a condition on data holds everywhere"
EVENLY = "data picks each choice equally often"
IN_ORDER = "data is in order before it is sorted"
FIRST = "data that is compared with numbers equals the first of them"
ONE_VALUE = "data that is listed by value has one value"


def experts(x: Tensor) -> Tensor:
    """Three experts, two for each row: rows meet (0, 1), (2, 0), (1, 2) and again, so each expert has 4 of 12."""
    chosen = (x @ x.new_empty(4, 3)).topk(2).indices
    for expert in range(3):
        rows, _ = torch.where(chosen == expert)
        assert len(rows) == 4
        x = x[rows] @ x.new_empty(4, 5 + expert)
        x = x.new_empty(6, 4)
    return x


def partition(x: Tensor) -> list[Tensor]:
    level = x.sum(1).floor().long()
    return [x[torch.where(level == k)[0]] for k in (2, 3, 4)]


CASES: list[tuple[Callable[[Tensor], Any], list[tuple[int, ...]], set[str]]] = [
    (lambda x: x[x > 0], [(24,)], {EVERYWHERE}),
    (lambda x: x[x[:, 0] > 0], [(6, 4)], {EVERYWHERE}),
    (lambda x: torch.where(x > 0), [(24,), (24,)], {EVERYWHERE}),
    (lambda x: (x > 0).nonzero(), [(24, 2)], {EVERYWHERE}),
    (lambda x: (x > 0).nonzero(as_tuple=True), [(24,), (24,)], {EVERYWHERE}),
    (lambda x: x.masked_select(x[:, :1] > 0), [(24,)], {EVERYWHERE}),
    (lambda x: x[x[:, 0].argmax() :], [(6, 4)], {EVENLY}),
    (lambda x: [x[x.argmin(1) == k] for k in range(4)], [(2, 4), (2, 4), (1, 4), (1, 4)], {EVENLY}),
    (lambda x: x[: x[:, 0].argsort()[2] + 1], [(3, 4)], {IN_ORDER}),
    (lambda x: x[: x.sort(dim=0).indices[5, 1]], [(5, 4)], {IN_ORDER}),
    (partition, [(6, 4), (0, 4), (0, 4)], {FIRST}),
    (lambda x: torch.unique(x.long()), [(1,)], {ONE_VALUE}),
    (lambda x: x.topk(2, dim=0).values, [(2, 4)], set()),  # nothing asks which they are
    (experts, [(6, 4)], {"each token goes to 2 of 3 experts, evenly, whatever the router says"}),
]


@pytest.mark.parametrize(("run", "shapes", "assumed"), CASES)
def test_a_size_that_data_decides_is_assumed_aloud(run: Any, shapes: Any, assumed: set[str]) -> None:
    graph = trace(run, X)
    assert [graph.specs[name][i].shape for name, i in graph.outputs] == shapes
    assert profile_graph(graph).assumed.keys() == assumed
    again = read_graph(graph.to_json(), "g.json")
    assert (again.specs, profile_graph(again).assumed) == (graph.specs, profile_graph(graph).assumed)


def test_known_elements_are_never_assumed() -> None:
    x = torch.tensor([3, 0, 2])
    graph = trace(
        lambda x, y: (y[x > 1], y[: x.argmax() + 2], y[: x.topk(1).indices[0] + 1], y[: x.argsort()[2]]), x, X
    )
    assert [graph.specs[name][0].shape for name, _ in graph.outputs] == [(2, 4), (2, 4), (1, 4), (0, 4)]
    assert profile_graph(graph).assumed == {}


def test_integers_and_booleans_filled_like_unknown_data_are_known() -> None:
    def run(x: Tensor) -> Any:
        keep = torch.zeros_like(x[:, 0], dtype=torch.bool)
        keep[1:3] = True
        return x[keep], x.new_full((2,), 3, dtype=torch.int64).sum().item()

    graph = trace(run, X)
    assert graph.specs[graph.outputs[0][0]][0].shape == (2, 4)
    assert profile_graph(graph).assumed == {}


@pytest.mark.parametrize(
    "run", [lambda x: x.sum().item(), lambda x: x if x.sum() > 0 else -x, lambda x: x[: int(x[0, 0])]]
)
def test_a_branch_or_a_number_that_data_decides_is_an_error_never_a_guess(run: Any) -> None:
    with pytest.raises(TraceError, match="the elements of a tensor that the trace does not compute"):
        trace(run, X)


def test_suppression_that_keeps_every_box_compares_every_pair() -> None:
    torchvision = pytest.importorskip("torchvision")
    profile = profile_graph(trace(torchvision.ops.nms, TensorSpec((7, 4)), TensorSpec((7,)), 0.5))
    pairs = 7 * 6 // 2
    # A pair: the corners of the intersection (cmp 4), its sides (add 2) not below 0 (cmp 2), its area (mul 1), the
    # union (add 2), their quotient (div 1) against the threshold (cmp 1). A box: its sides (add 2), its area (mul 1).
    assert profile.total.operations == {
        "mac": 0, "add": 4 * pairs + 2 * 7, "mul": pairs + 7, "div": pairs, "exp": 0, "cmp": 7 * pairs
    }  # fmt: skip
    assert profile.assumed == {"non-maximum suppression keeps every box": 1}


def test_a_bin_of_a_box_averages_its_points() -> None:
    torchvision = pytest.importorskip("torchvision")
    given = TensorSpec((1, 3, 9, 9)), TensorSpec((5, 5))
    profile = profile_graph(trace(torchvision.ops.roi_align, *given, 2, 1.0, 3))
    bins, points = 5 * 3 * 2 * 2, 3 * 3
    # A point lies between four neighbours: four products, three sums. The bin adds its points and divides once.
    assert profile.total.operations == {
        "mac": 0, "add": bins * points * (3 + 1), "mul": bins * points * 4, "div": bins, "exp": 0, "cmp": 0
    }  # fmt: skip
    assert profile.assumed == {}
    adaptive = profile_graph(trace(torchvision.ops.roi_align, *given, 2))
    assert adaptive.assumed == {"a bin of a box takes two points each way": 1}


@pytest.mark.parametrize("size", [{"size": 5}, {"size": (5, 7)}, {"scale_factor": 1.7}, {"scale_factor": (0.5, 2.1)}])
@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic", "area"])
def test_an_image_is_resized_to_the_size_that_torch_gives_it(size: Any, mode: str) -> None:
    def run(x: Tensor) -> Tensor:
        return torch.nn.functional.interpolate(x, **size, mode=mode)

    graph = trace(run, TensorSpec((1, 2, 9, 11)))
    assert graph.specs[graph.outputs[0][0]][0].shape == run(torch.zeros(1, 2, 9, 11)).shape
