"""The report on auxiliary classifiers: that what was measured is of these networks, and bears out what is written."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

import archlab
from archlab.errors import ReadError
from archlab.gradients import INITIALISATIONS, GradientFlow, Setting
from archlab.studies import auxiliary_measured
from archlab.studies.auxiliary_measured import (
    FIRST,
    NETWORKS,
    SETTING,
    TAPS,
    fall,
    measured,
    not_larger,
    ratio,
    shared,
)

FLOWS = {network: measured(network) for network in NETWORKS}
PAPER, NORMED = FLOWS.values()


@pytest.mark.parametrize("network", NETWORKS)
def test_what_was_measured_is_the_network_of_the_zoo_with_and_without_heads(network: str) -> None:
    flow = FLOWS[network]
    assert (flow.subjects, flow.heads, flow.interrupted) == ((f"{network}+no_aux", network), (0, 2), False)
    blocks = archlab.profile(archlab.load(network, mode="training"), mode="training").by_block()
    assert {block: flow.params(block)[network] for block in flow.blocks} == {
        name: cost.params for name, cost in blocks.items() if cost.params
    }


@pytest.mark.parametrize("network", NETWORKS)
def test_every_pass_that_was_asked_for_is_there(network: str) -> None:
    flow = FLOWS[network]
    assert flow.setting == Setting(**SETTING)
    assert flow.inits == tuple(INITIALISATIONS)
    assert {flow.seeds(init) for init in flow.inits} == {tuple(range(SETTING["seeds"]))}


@pytest.mark.parametrize("network", NETWORKS)
def test_the_gradient_is_larger_up_to_the_second_head_and_equal_behind(network: str) -> None:
    flow = FLOWS[network]
    blocks = shared(flow)
    behind = blocks.index(TAPS[1]) + 1
    for init in flow.inits:
        found = [flow.ratio(network, init, block) for block in blocks]
        verdicts = [each.verdict for each in found if each is not None]
        assert verdicts == ["larger"] * behind + ["equal"] * (len(blocks) - behind)
    assert not_larger(flow) == []


def test_the_less_arrives_without_heads_the_more_they_add() -> None:
    by_fall = sorted(PAPER.inits, key=lambda init: fall(PAPER, init).median)
    assert by_fall == ["gaussian", "default", "xavier", "kaiming"]
    assert by_fall == sorted(PAPER.inits, key=lambda init: -ratio(PAPER, init, FIRST).median)
    ranges = [ratio(PAPER, init, FIRST) for init in by_fall]
    assert all(more.low > less.high for more, less in pairwise(ranges))


def test_with_batch_norm_the_gradient_does_not_vanish_and_heads_add_little() -> None:
    for init in NORMED.inits:
        assert fall(NORMED, init).low > 1
        assert ratio(NORMED, init, FIRST).high < 1.7
        first, second = (ratio(NORMED, init, tap).median for tap in TAPS)
        assert first == pytest.approx(second, rel=0.05)


def test_where_the_gradient_vanishes_its_direction_is_that_of_the_heads() -> None:
    cosine = {init: PAPER.spread("googlenet", init, FIRST, "along") for init in PAPER.inits}
    medians = {init: found.median for init, found in cosine.items() if found is not None}
    assert abs(medians["gaussian"]) < 0.1
    assert abs(medians["default"]) < 0.1
    assert medians["kaiming"] > 0.8


@pytest.mark.slow
def test_a_pass_measured_again_gives_the_figures_that_are_kept() -> None:
    setting = Setting(**{**SETTING, "seeds": 1, "inits": ("xavier",)})
    again = archlab.gradient_flow(*PAPER.subjects, setting=setting)
    for subject in PAPER.subjects:
        for block in again.blocks:
            now, kept = (flow.values(subject, "xavier", block) for flow in (again, PAPER))
            assert now == pytest.approx(kept[:1], rel=1e-2)


def test_a_missing_measurement_says_how_to_make_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auxiliary_measured, "HOME", tmp_path)
    with pytest.raises(ReadError, match=r"googlenet\.json: cannot be read .*python benchmarks/gradients\.py"):
        measured("googlenet")
    (tmp_path / "googlenet.json").write_text("{}")
    with pytest.raises(ReadError, match=r"googlenet\.json: is no result of archlab gradients"):
        measured("googlenet")


def test_the_committed_result_is_a_result() -> None:
    assert isinstance(PAPER, GradientFlow)
    assert GradientFlow.of(PAPER.to_dict()) == PAPER
