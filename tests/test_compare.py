"""Comparisons: alignment, exact ratios, verdicts."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from fractions import Fraction

import pytest

import archlab
from archlab.errors import UsageError
from archlab.ir import Graph


def renamed(graph: Graph, prefix: str) -> Graph:
    """Return the same network under other names."""
    nodes = [
        replace(n, name=f"{prefix}{n.name}", inputs=tuple((f"{prefix}{m}", i) for m, i in n.inputs), weights={})
        for n in graph.nodes
    ]
    return Graph(f"{prefix}{graph.name}", tuple(nodes), tuple((f"{prefix}{m}", i) for m, i in graph.outputs))


def test_the_worked_example_is_21_times_fewer() -> None:
    # 112,896,000 against 1,505,280 + 3,763,200 (facts section 4.2)
    c = archlab.compare("naive", "reduced")
    assert c.ratio("macs") == Fraction(1_505_280 + 3_763_200, 14 * 14 * 48 * 480 * 5 * 5)
    assert c.ratio("params") == Fraction(26_880 + 64, 576_000 + 48)
    assert c.same_output
    assert not c.unchanged


def test_ratios_are_other_over_base_in_the_order_given() -> None:
    c = archlab.compare("googlenet", "googlenet+naive", "googlenet+fc_head")
    assert c.ratio("macs", other=0) == Fraction(12_568_061_056, 1_582_671_872)
    assert c.ratio("macs", other=1) == Fraction(1_631_823_872, 1_582_671_872)
    with pytest.raises(UsageError, match="there is no other number 2; there are 2"):
        c.ratio("macs", other=2)
    with pytest.raises(UsageError, match=r"unknown metric 'mac'; did you mean 'macs'\?"):
        c.ratio("mac")


def test_subjects_may_be_targets_graphs_or_profiles() -> None:
    graph = archlab.load("naive")
    by_target, by_graph, by_profile = (
        archlab.compare(s, "reduced") for s in ("naive", graph, archlab.profile(graph))
    )
    assert by_target.ratio("macs") == by_graph.ratio("macs") == by_profile.ratio("macs")
    with pytest.raises(UsageError, match="at least one other"):
        archlab.compare("naive")
    with pytest.raises(UsageError, match="expected a target or a Graph, got int"):
        archlab.compare("naive", 3)  # type: ignore[arg-type]


def test_profiles_of_different_modes_are_not_compared() -> None:
    training = archlab.profile("googlenet", mode="training")
    with pytest.raises(UsageError, match=r"googlenet is counted in inference .* googlenet in training"):
        archlab.compare("googlenet", training)


def test_layers_of_one_path_are_one_row_in_the_bases_order() -> None:
    c = archlab.compare("googlenet", "googlenet+naive", "googlenet+batch_norm")
    names = [row.name for row in c.rows]
    assert names[:3] == ["conv1/7x7_s2", "conv1/7x7_s2_bn", "conv1/7x7_s2_relu"]
    row = c.rows[names.index("inception_3a/3x3_reduce")]
    assert [layer is not None for layer in row.layers] == [True, False, True]
    assert sum(name.endswith("_bn") for name in names) == 57  # one row a convolution, all in the last column


def test_every_layer_of_every_subject_stands_in_exactly_one_row() -> None:
    c = archlab.compare("googlenet", "vgg16", "googlenet+fc4096_head", "inception5h+separable_stem")
    for i, profile in enumerate(c.subjects):
        placed = [row.layers[i].name for row in c.rows if row.layers[i] is not None]  # type: ignore[union-attr]
        assert sorted(placed) == sorted(layer.name for layer in profile.layers if layer.op != "Input")


def test_a_renamed_network_lines_up_by_structure() -> None:
    graph = archlab.load("googlenet")
    c = archlab.compare(graph, renamed(graph, "x_"))
    assert all(row.layers[0] is not None and row.layers[1] is not None for row in c.rows)
    assert c.unchanged


def test_no_aux_is_no_change_in_inference_and_a_change_in_training() -> None:
    assert archlab.compare("googlenet", "googlenet+no_aux").unchanged
    assert "No change" in str(archlab.compare("googlenet", "googlenet+no_aux"))
    assert not archlab.compare("googlenet", "googlenet+no_aux", mode="training").unchanged


def test_a_comparison_is_plain_data_and_can_be_pickled() -> None:
    c = archlab.compare("naive", "reduced")
    data = json.loads(c.to_json())
    assert data["schema"] == "archlab.comparison/1"
    assert data["base"]["total"]["macs"] == 112_896_000
    assert [other["subject"] for other in data["others"]] == ["reduced"]
    assert data["ratios"][0]["macs"] == pytest.approx(5_268_480 / 112_896_000)
    assert pickle.loads(pickle.dumps(c)).ratio("macs") == c.ratio("macs")


def test_a_base_without_the_metric_has_no_ratio() -> None:
    with pytest.raises(UsageError, match="has no params to divide by"):
        archlab.compare(_paramless(), "naive").ratio("params")


def _paramless() -> Graph:
    from archlab.ir import Builder
    from archlab.ops import Input, ReLU

    b = Builder("paramless")
    return b.build(b.add("relu", ReLU(), b.add("input", Input((1, 4)))))


def test_counts_that_round_alike_are_printed_exactly_in_the_headline() -> None:
    wider = archlab.load("vgg16", arguments={"num_classes": 1001}).named("wider")
    text = str(archlab.compare("vgg16", wider))
    # one more class: 4,096 more MACs of 15,470,264,320
    assert "15,470,264,320 against 15,470,268,416 MACs, under 0.01 % more." in text


def test_an_edit_without_macs_or_params_shows_the_columns_that_it_changes() -> None:
    text = str(archlab.compare("googlenet", "googlenet+no_lrn"))
    assert "FLOPs" in text.split("identical")[1]
    # two LRNs at 10 operations for each of 802,816 elements (facts section 2)
    flops = [archlab.profile(t).total.flops for t in ("googlenet", "googlenet+no_lrn")]
    assert flops[0] - flops[1] == 10 * 802_816


def test_the_title_shows_every_input() -> None:
    assert "1x3x224x224 / 1x3x227x227" in str(archlab.compare("vgg11", "alexnet")).splitlines()[0]


def test_equal_profiles_have_equal_hashes_and_everything_can_be_hashed() -> None:
    a, b = archlab.profile("googlenet"), archlab.profile("googlenet+no_aux")
    assert a == b
    assert hash(a) == hash(b)
    assert len({a, b}) == 1
    assert hash(archlab.load("naive")) == hash(archlab.load("naive"))
    assert hash(a.layers[1]) == hash(b.layers[1])


def test_another_convention_shows_its_own_figures_beside_ours() -> None:
    text = str(archlab.compare("googlenet-torchvision", "alexnet-torchvision", convention="thop"))
    # facts section 6.1: thop 0.1.1 prints 1,511,332,032 and 714,206,912
    row = next(line for line in text.splitlines() if line.startswith("thop's MACs"))
    assert row.split()[2:4] == ["1,511,332,032", "714,206,912"]
