"""Totals that the issue states, module by module where it names them, and Table 1 of the GoogLeNet paper."""

from __future__ import annotations

from typing import Any

import pytest
from oracles import ORACLE

import archlab
from archlab.zoo.catalog import ARCHITECTURES

TOTALS = {
    "naive": (576_048, 112_896_000),
    "reduced": (26_944, 5_268_480),
    "googlenet": (6_998_552, 1_582_671_872),
    "googlenet-torchvision": (6_624_904, 1_498_376_192),
    "googlenet-tfslim": (6_617_624, 1_498_376_192),
    "inception5h": (7_058_180, 1_584_873_344),
    "alexnet": (60_965_224, 724_406_816),
    "alexnet-torchvision": (61_100_840, 714_188_480),
    "vgg11": (132_863_336, 7_609_090_048),
    "vgg13": (133_047_848, 11_308_466_176),
    "vgg16": (138_357_544, 15_470_264_320),
    "vgg19": (143_667_240, 19_632_062_464),
    "nin": (7_595_176, 1_100_188_800),
    "nin-cifar10": (966_986, 222_486_528),
    "googlenet+naive": (97_526_008, 12_568_061_056),
    "googlenet+no_reduction": (25_305_944, 4_426_547_200),
    "googlenet+no_reduction_3x3": (15_228_760, 2_794_422_272),
    "googlenet+no_reduction_5x5": (17_075_736, 3_214_796_800),
    "googlenet+no_pool_proj": (15_764_152, 2_121_204_608),
    "googlenet+fc_head": (56_150_552, 1_631_823_872),
    "googlenet+fc4096_head": (232_376_856, 1_808_041_984),
    "googlenet+batch_norm": (7_005_832, 1_582_671_872),
    "googlenet+factorized_5x5": (7_284_232, 1_639_721_984),
    "googlenet+separable_stem": (6_991_856, 1_498_677_248),
    "googlenet+no_lrn": (6_998_552, 1_582_671_872),
    "googlenet+no_aux": (6_998_552, 1_582_671_872),
    "inception5h+separable_stem": (7_051_484, 1_500_878_720),
}
GROWTH = ORACLE["naive_growth"]
OPS_PRINTED = {row["row"]: row["paper_ops"] for row in ORACLE["table1"]["rows"] if row["paper_ops"]}


@pytest.mark.parametrize("target", TOTALS)
def test_parameters_and_macs_are_those_of_the_issue(target: str) -> None:
    total = archlab.profile(target).total
    assert (total.params, total.macs) == TOTALS[target]


@pytest.mark.parametrize(
    ("name", "params", "macs"),
    [("googlenet", 13_378_280, 1_591_044_096), ("googlenet-torchvision", 13_004_888, 1_506_748_416)],
)
def test_training_adds_the_auxiliary_heads(name: str, params: int, macs: int) -> None:
    total = archlab.profile(name, mode="training").total
    assert (total.params, total.macs) == (params, macs)


def test_the_worked_example_counts_weights_and_biases() -> None:
    """48 5×5 filters over 480 channels at 14×14; the same behind 16 1×1 filters."""
    naive, reduced = archlab.profile("naive"), archlab.profile("reduced")
    assert naive.total.params == 48 * 480 * 5 * 5 + 48
    assert naive.total.params - 48 == 576_000
    assert reduced.total.params == 480 * 16 + 16 + 48 * 16 * 5 * 5 + 48
    assert reduced.total.params - (16 + 48) == 26_880
    assert [row.cost.macs for row in reduced.layers] == [0, 14 * 14 * 480 * 16, 14 * 14 * 16 * 48 * 5 * 5]
    assert [row.cost.macs for row in reduced.layers[1:]] == [
        ORACLE["worked_examples"]["seed_5x5_reduced"]["reduce"],
        ORACLE["worked_examples"]["seed_5x5_reduced"]["conv"],
    ]


@pytest.mark.parametrize(
    ("name", "flops"), [("naive", 225_801_408), ("reduced", 10_549_504), ("googlenet", 3_192_638_672)]
)
def test_flops_are_those_of_the_table_of_operations(name: str, flops: int) -> None:
    assert archlab.profile(name).total.flops == flops


def test_flops_of_the_worked_example_are_two_a_mac_and_one_a_bias() -> None:
    outputs = 14 * 14 * 48
    assert archlab.profile("naive").total.flops == 2 * 112_896_000 + outputs
    assert archlab.profile("reduced").total.flops == 2 * 5_268_480 + outputs + 14 * 14 * 16


def test_bytes_moved_are_inputs_weights_and_outputs_once() -> None:
    positions, float32 = 14 * 14, 4
    direct = positions * 480 + 576_048 + positions * 48
    behind = (positions * 480 + 480 * 16 + 16 + positions * 16) + (
        positions * 16 + 16 * 25 * 48 + 48 + positions * 48
    )
    assert archlab.profile("naive").total.bytes_moved == float32 * direct == 2_718_144
    assert archlab.profile("reduced").total.bytes_moved == float32 * behind == 546_816


@pytest.mark.parametrize("row", GROWTH, ids=lambda row: row["module"])
def test_a_module_alone_costs_what_it_costs_in_the_network(row: dict[str, Any]) -> None:
    alone = archlab.profile(f"inception-{row['module']}")
    inside = archlab.profile("googlenet").by_block()[f"inception_{row['module']}"]
    assert alone.by_block()[f"inception_{row['module']}"] == inside
    assert (alone.total.params, alone.total.macs) == (row["params_ref"], row["macs_ref"])
    assert alone.graph.inputs["input"].shape[1] == row["in_ref"]
    assert alone.graph.output_specs[0].shape[1] == row["out_ref"]


@pytest.mark.parametrize(
    ("ablation", "variant", "grows"),
    [("naive", "naive", True), ("no_reduction", "controlled", False), ("no_pool_proj", "noproj", True)],
)
@pytest.mark.parametrize("row", GROWTH, ids=lambda row: row["module"])
def test_a_module_without_its_1x1_filters_costs_more_in_the_network(
    row: dict[str, Any], ablation: str, variant: str, grows: bool
) -> None:
    profile = archlab.profile(f"googlenet+{ablation}")
    block = f"inception_{row['module']}"
    cost = profile.by_block()[block]
    assert (cost.params, cost.macs) == (row[f"params_{variant}"], row[f"macs_{variant}"])
    assert profile.layer(f"{block}/output").output_shape[1] == row[f"out_{variant if grows else 'ref'}"]
    assert profile.layer(f"{block}/pool").input_shapes[0][1] == row[f"in_{variant if grows else 'ref'}"]


def test_the_first_naive_module_is_cheaper_than_with_its_projection_kept() -> None:
    """What explodes is the growth of channels from module to module, not the first module."""
    literal, controlled = (archlab.profile(f"inception-3a+{name}").total for name in ("naive", "no_reduction"))
    assert (literal.params, controlled.params) == (387_296, 393_472)
    assert literal.macs < controlled.macs


def test_all_twelve_figures_of_the_ops_column_are_the_released_network_with_a_separable_stem() -> None:
    """Rounded to the nearest 10⁶, as printed; the geometry of Table 1 itself gives ten of the twelve."""
    blocks = archlab.profile("inception5h+separable_stem").by_block()
    printed = {row: f"{round(cost.macs / 1e6)}M" for row, cost in blocks.items() if row in OPS_PRINTED}
    assert len(OPS_PRINTED) == 12
    assert printed == OPS_PRINTED


@pytest.mark.parametrize(
    "row", [row for row in ORACLE["table1"]["rows"] if "macs" in row], ids=lambda row: row["row"]
)
def test_table_1_of_the_paper_has_exact_values(row: dict[str, Any]) -> None:
    profile = archlab.profile("googlenet")
    layers = [r for r in profile.layers if r.name.split("/")[0] == row["row"] and r.cost.params]
    assert sum(r.cost.macs for r in layers) == row["macs"]
    assert sum(r.cost.params for r in layers) == row["params"]
    assert sum(profile.graph.params[r.node.weights["bias"]].spec.numel for r in layers) == row["bias"]


def test_shares_of_the_stages_are_the_published_ones() -> None:
    blocks = archlab.profile("googlenet").by_block()
    shares = ORACLE["googlenet_shares"]
    assert {name: (blocks[name].macs, blocks[name].params) for name in shares} == {
        name: (share["macs"], share["params"]) for name, share in shares.items()
    }
    assert sum(share["macs"] for share in shares.values()) == archlab.profile("googlenet").total.macs


@pytest.mark.parametrize(
    ("network", "oracle"), [("googlenet", "paper_and_caffe"), ("googlenet-torchvision", "torchvision")]
)
def test_each_auxiliary_head_has_its_published_cost(network: str, oracle: str) -> None:
    blocks = archlab.profile(network, mode="training").by_block()
    heads = [head for name, head in ORACLE["aux_heads"][oracle].items() if "_after_" in name]
    found = [(blocks[name].params, blocks[name].macs) for name in ("loss1", "loss2")]
    assert found == [(head["params"], head["macs"]) for head in heads]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_no_architecture_of_the_zoo_goes_uncounted(name: str) -> None:
    profile = archlab.profile(name)
    assert profile.source == "built"
    assert not profile.uncounted
    assert not profile.assumed
