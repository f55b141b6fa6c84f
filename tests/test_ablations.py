"""Ablations: how many layers each one hits and why, on which graphs, and that none leaves a broken one."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import archlab
from archlab.errors import AblationError, UsageError
from archlab.ir import Graph, TensorSpec
from archlab.ops import BatchNorm, Concat, Conv2d, Dropout, Flatten, GlobalAvgPool2d, Linear, MaxPool2d, ReLU
from archlab.profiles import profile_graph
from archlab.zoo import catalog
from archlab.zoo.ablations import ABLATIONS, apply, pool_projections, reductions

MODULES = 9
NETWORKS = ("googlenet", "googlenet-torchvision", "googlenet-tfslim", "inception5h")


def kinds(graph: Graph) -> Counter[str]:
    return Counter(type(node.op).__name__ for node in graph.nodes)


def names(graph: Graph) -> set[str]:
    return {node.name for node in graph.nodes}


# Per ablation: how many nodes of each kind googlenet (training heads included) loses, and gains. Derivations:
# a module has two reductions and one projection, each a convolution with its ReLU; the heads bring two more
# convolutions to the 57, and two of the three Dropouts (the third belongs to the classifier).
CONVS = 57 + 2
CHANGES: dict[str, tuple[dict[str, int], dict[str, int]]] = {
    "no_reduction": ({"Conv2d": 2 * MODULES, "ReLU": 2 * MODULES}, {}),
    "no_reduction_3x3": ({"Conv2d": MODULES, "ReLU": MODULES}, {}),
    "no_reduction_5x5": ({"Conv2d": MODULES, "ReLU": MODULES}, {}),
    "no_pool_proj": ({"Conv2d": MODULES, "ReLU": MODULES}, {}),
    "naive": ({"Conv2d": 3 * MODULES, "ReLU": 3 * MODULES}, {}),
    "fc_head": ({"GlobalAvgPool2d": 1}, {}),
    "fc4096_head": ({"GlobalAvgPool2d": 1}, {"Linear": 2, "ReLU": 2, "Dropout": 1}),
    "batch_norm": ({}, {"BatchNorm": CONVS}),
    "factorized_5x5": ({}, {"Conv2d": MODULES, "ReLU": MODULES}),
    "separable_stem": ({}, {"Conv2d": 1}),
    "no_lrn": ({"LocalResponseNorm": 2}, {}),
    # conv, ReLU, pool, flatten, two linear layers with one ReLU and one dropout between, softmax; twice
    "no_aux": (
        {"AvgPool2d": 2, "Conv2d": 2, "ReLU": 4, "Flatten": 2, "Linear": 4, "Dropout": 2, "Softmax": 2},
        {},
    ),
}


@pytest.mark.parametrize("name", ABLATIONS)
def test_an_ablation_of_googlenet_changes_exactly_the_derived_number_of_layers(name: str) -> None:
    before, after = kinds(archlab.load("googlenet")), kinds(archlab.load(f"googlenet+{name}"))
    lost, gained = CHANGES[name]
    assert (before - after, after - before) == (Counter(lost), Counter(gained))


def test_googlenet_has_18_reductions_9_of_each_kernel_and_9_projections() -> None:
    graph = archlab.load("googlenet")
    assert len(reductions(graph).expect(2 * MODULES)) == 18
    assert len(reductions(graph, 3).expect(MODULES)) == len(reductions(graph, 5).expect(MODULES)) == 9
    assert len(pool_projections(graph).expect(MODULES)) == 9
    assert {node.name.split("/")[1] for node in reductions(graph).nodes} == {"3x3_reduce", "5x5_reduce"}
    assert {node.name.split("/")[1] for node in pool_projections(graph).nodes} == {"pool_proj"}


def test_the_stems_1x1_filter_is_no_reduction_because_it_keeps_its_64_channels() -> None:
    graph = archlab.load("googlenet")
    assert "conv2/3x3_reduce" in names(archlab.load("googlenet+naive"))
    assert (
        graph.specs["conv2/3x3_reduce"][0].shape[1] == graph.input_specs(graph.node("conv2/3x3_reduce"))[0].shape[1]
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_reductions_are_found_by_structure_not_by_name(name: str) -> None:
    graph = archlab.load(name)
    new = {node.name: f"n{i}" for i, node in enumerate(graph.nodes)}
    nodes = [
        dataclasses.replace(n, name=new[n.name], inputs=tuple((new[i], k) for i, k in n.inputs), weights={})
        for n in graph.nodes
    ]
    renamed = Graph(name, tuple(nodes), tuple((new[i], k) for i, k in graph.outputs))
    assert len(reductions(renamed)) == 2 * MODULES
    assert profile_graph(apply(renamed, "naive")).total == profile_graph(apply(graph, "naive")).total


@pytest.mark.parametrize(("name", "norm"), [("googlenet-torchvision", BatchNorm), ("googlenet-tfslim", BatchNorm)])
def test_a_removed_convolution_takes_its_norm_and_its_activation_along(name: str, norm: type) -> None:
    before, after = archlab.load(name), archlab.load(f"{name}+no_reduction")
    gone = [before.node(n) for n in names(before) - names(after)]
    counts = Counter(type(node.op) for node in gone)
    assert counts == {Conv2d: 18, norm: 18, ReLU: 18}
    assert not names(after) - names(before)


def test_torchvision_has_its_5x5_branch_in_3x3_filters() -> None:
    """So that all 18 reductions stand in front of 3×3 filters, and none in front of 5×5 ones (pytorch/vision#906)."""
    graph = archlab.load("googlenet-torchvision")
    assert len(reductions(graph, 3)) == 18
    assert archlab.load("googlenet-torchvision+no_reduction_3x3").nodes == apply(graph, "no_reduction").nodes
    with pytest.raises(AblationError):
        apply(graph, "no_reduction_5x5")


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("alexnet", "naive"),
        ("alexnet", "no_reduction"),
        ("vgg16", "no_lrn"),
        ("vgg16", "fc_head"),
        ("nin", "fc_head"),
        ("alexnet", "no_aux"),
        ("inception5h", "no_aux"),
        ("googlenet-torchvision", "batch_norm"),
        ("googlenet-torchvision", "factorized_5x5"),
        ("reduced", "no_pool_proj"),
        ("googlenet+no_lrn", "no_lrn"),
        ("googlenet+naive", "no_reduction"),
    ],
)
def test_an_ablation_without_a_match_is_an_error_that_names_both(target: str, name: str) -> None:
    with pytest.raises(AblationError, match=f"{re.escape(target)}: ablation '{name}' matches no layer") as caught:
        apply(archlab.load(target), name)
    assert caught.value.exit_code == 2


def test_an_unknown_ablation_is_an_error_with_the_nearest_name() -> None:
    with pytest.raises(UsageError, match="unknown ablation 'no_reductions'; did you mean 'no_reduction'") as caught:
        archlab.load("googlenet+no_reductions")
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("name", NETWORKS[:2])
def test_without_training_heads_inference_costs_the_same(name: str) -> None:
    with_heads, without = archlab.profile(name), archlab.profile(f"{name}+no_aux")
    assert with_heads.total == without.total
    assert [row.name for row in with_heads.layers] == [row.name for row in without.layers]
    assert archlab.profile(f"{name}+no_aux", mode="training").total.params == with_heads.total.params


def test_an_ablation_holds_in_training_and_leaves_the_heads_there() -> None:
    """The heads read 4a and 4d, whose outputs grow from 512 and 528 to 1280 and 2640 channels."""
    training = archlab.profile("googlenet+naive", mode="training")
    fully = (128 * 4 * 4 * 1024 + 1024) + (1024 * 1000 + 1000)
    heads = [(1280 * 128 + 128) + fully, (2640 * 128 + 128) + fully]
    assert [training.by_block()[block].params for block in ("loss1", "loss2")] == heads
    assert training.total.params == 97_526_008 + sum(heads)


def test_the_head_of_the_average_is_replaced_and_those_of_training_are_not() -> None:
    graph = archlab.load("googlenet+fc4096_head")
    assert [n.name for n in graph.nodes if isinstance(n.op, Linear) and not n.train_only] == ["fc6", "fc7", "fc8"]
    assert [n.name for n in graph.nodes if isinstance(n.op, Dropout) and not n.train_only] == [
        "fc6_dropout",
        "fc7_dropout",
    ]
    assert {"loss1/fc", "loss2/classifier"} <= names(graph)
    assert graph.input_specs(graph.node("fc6"))[0].shape == (1, 7 * 7 * 1024)


def test_a_factorised_filter_keeps_norm_and_activation_between_its_halves() -> None:
    graph = archlab.load("googlenet+factorized_5x5")
    chain = ["5x5_1", "5x5_1_relu", "5x5_2", "5x5_relu"]
    for before, after in itertools.pairwise(f"inception_3a/{name}" for name in chain):
        assert graph.node(after).inputs == ((before, 0),)
    halves = [graph.node(f"inception_3a/{name}").op for name in ("5x5_1", "5x5_2")]
    assert all(op == Conv2d(32, 3, padding=1) for op in halves)


def test_several_first_convolutions_in_one_block_keep_their_names_apart() -> None:
    """A module fed alone, without reductions: its 3×3 and its 5×5 filters both read the input."""
    graph = archlab.load("inception-3a+no_reduction+separable_stem")
    assert {n for n in names(graph) if "wise" in n} == {
        f"inception_3a/{kernel}/{part}" for kernel in ("3x3", "5x5") for part in (f"{kernel}_depthwise", "pointwise")
    }


def test_ablations_combine_and_their_names_with_them() -> None:
    graph = archlab.load("googlenet+fc_head+no_lrn")
    assert graph.name == "googlenet+fc_head+no_lrn"
    assert not {"GlobalAvgPool2d", "LocalResponseNorm"} & set(kinds(graph))
    assert profile_graph(graph).total.params == 56_150_552


def test_naive_is_no_reduction_and_no_pool_proj() -> None:
    both = archlab.load("googlenet+no_reduction+no_pool_proj")
    assert both.nodes == archlab.load("googlenet+naive").nodes


INDEPENDENT = ("no_reduction", "no_pool_proj", "fc_head", "no_lrn", "no_aux", "batch_norm")


@pytest.mark.parametrize("pair", list(itertools.combinations(INDEPENDENT, 2)), ids="+".join)
def test_ablations_of_different_layers_may_come_in_any_order(pair: tuple[str, str]) -> None:
    first, second = (archlab.load(f"googlenet+{a}+{b}") for a, b in (pair, pair[::-1]))
    assert dataclasses.replace(first, name="") == dataclasses.replace(second, name="")


def test_ablations_of_the_same_layers_may_not() -> None:
    """Behind `batch_norm`, the depthwise half of the stem has no norm; in front of it, it gets one of 24 channels."""
    norm_first, stem_first = (
        archlab.profile(f"googlenet+{a}+{b}").total.params
        for a, b in itertools.permutations(("batch_norm", "separable_stem"))
    )
    assert stem_first - norm_first == 2 * 24


@settings(deadline=None, max_examples=60)
@given(
    name=st.sampled_from(list(catalog.ARCHITECTURES)),
    chosen=st.lists(st.sampled_from(list(ABLATIONS)), min_size=1, max_size=4, unique=True),
    side=st.sampled_from([None, 192, 256]),
)
def test_ablations_in_any_order_leave_a_graph_that_infers_anew_or_raise(
    name: str, chosen: list[str], side: int | None
) -> None:
    graph = archlab.load(name)
    try:
        for ablation in chosen:
            graph = apply(graph, ablation)
    except AblationError:
        return
    again = Graph(graph.name, graph.nodes, graph.outputs, graph.params)
    assert again == graph
    assert again.specs == graph.specs
    assert not graph.params.keys() - {key for node in graph.nodes for key in node.weights.values()}
    for mode in ("inference", "training"):
        assert profile_graph(graph, mode).total.macs > 0
    if side is not None and graph.inputs["input"].shape[-1] == 224:
        resized = graph.with_inputs({"input": TensorSpec((1, 3, side, side))})
        assert names(resized) == names(graph)


def test_removals_leave_concatenations_that_read_what_the_removed_layers_read() -> None:
    graph = archlab.load("inception-3a+naive")
    (concat,) = (node for node in graph.nodes if isinstance(node.op, Concat))
    read = [type(graph.node(name).op) for name, _ in concat.inputs]
    assert read == [ReLU, ReLU, ReLU, MaxPool2d]
    assert not any(isinstance(node.op, Flatten | GlobalAvgPool2d) for node in graph.nodes)


@pytest.mark.parametrize("name", ABLATIONS)
def test_an_ablation_has_one_sentence_and_a_source(name: str) -> None:
    ablation = ABLATIONS[name]
    assert ablation.claim.endswith(".")
    assert ablation.source
