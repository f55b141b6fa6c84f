"""Depth: the layers of the longest path, as papers count them."""

from __future__ import annotations

import pytest
from chains import chain
from oracles import ORACLE

from archlab.analyses.depth import Depth, depth
from archlab.errors import UsageError
from archlab.ir import Builder
from archlab.ops import (
    Add,
    Conv2d,
    Flatten,
    Input,
    LayerNorm,
    Linear,
    MatMul,
    MaxPool2d,
    ReLU,
    Reshape,
    Softmax,
)
from archlab.zoo import catalog


def test_googlenet_is_as_deep_as_its_paper_says() -> None:
    expected = Depth(ORACLE["depth"]["weight_layers_longest_path"], ORACLE["depth"]["with_pooling"])
    assert depth(catalog.build("googlenet")) == expected == Depth(22, 27)


@pytest.mark.parametrize(
    ("name", "layers"), [("alexnet", 8), ("vgg11", 11), ("vgg13", 13), ("vgg16", 16), ("vgg19", 19)]
)
def test_networks_named_by_their_depth_have_it(name: str, layers: int) -> None:
    assert depth(catalog.build(name)).weighted == layers


def test_the_longest_paths_with_and_without_pools_may_differ() -> None:
    b = Builder("fork")
    x = b.add("input", Input((1, 2, 8, 8)))
    convolved = b.add("conv2", Conv2d(2, 1), b.add("conv1", Conv2d(2, 1), x))
    pooled = x
    for i in range(3):
        pooled = b.add(f"pool{i}", MaxPool2d(3, 1, 1), pooled)
    assert depth(b.build(b.add("sum", Add(), convolved, pooled))) == Depth(2, 3)


def test_norms_activations_and_products_without_weights_do_not_count() -> None:
    b = Builder("attention")
    x = b.add("norm", LayerNorm(), b.add("input", Input((2, 4, 8))))
    scores = b.add("scores", MatMul(), x, b.add("turned", Reshape(("=0", 8, 4)), b.add("fc", Linear(8), x)))
    assert depth(b.build(b.add("softmax", Softmax(), scores))) == Depth(1, 1)


def test_layers_that_lead_to_no_output_do_not_count() -> None:
    b = Builder("dead end")
    x = b.add("conv", Conv2d(2, 1), b.add("input", Input((1, 2, 8, 8))))
    b.add("unread", Conv2d(2, 1), x)
    assert depth(b.build(x)) == Depth(1, 1)


def test_train_only_heads_count_in_training_alone() -> None:
    b = Builder("head")
    x = b.add("conv", Conv2d(2, 1), b.add("input", Input((2, 2, 8, 8))))
    with b.scope("aux", train_only=True):
        head = b.add("fc", Linear(3), b.add("flatten", Flatten(), b.add("pool", MaxPool2d(2), x)))
    graph = b.build(x, head)
    assert (depth(graph), depth(graph, "training")) == (Depth(1, 1), Depth(2, 3))


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(UsageError, match="unknown mode"):
        depth(chain(ReLU()), "eval")
