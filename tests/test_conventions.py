"""What conventions print is what the real tools print, each run in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest

import archlab
from archlab.analyses.conventions import CONVENTIONS, tallies, tally
from archlab.errors import UsageError
from archlab.zoo.catalog import ARCHITECTURES
from tests.peer_readings import TOOLS
from tests.small_models import SETS, SMALL

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
@pytest.mark.parametrize("models", SETS)
@pytest.mark.parametrize("tool", TOOLS)
def test_models_read_as_the_tool_reads_them(tool: str, models: str) -> None:
    if models == "torchvision" and find_spec("torchvision") is None:
        pytest.skip("torchvision is not installed")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", "-m", "tests.peer_readings", tool, models]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    theirs = json.loads(done.stdout.splitlines()[-1])
    assert theirs.keys() == SETS[models].keys()
    ours = {}
    for name, make in SETS[models].items():
        model, inputs = make()
        ours[name] = archlab.profile(model.eval(), *inputs, convention=tool).total.reported
    counted = {name: count for name, count in theirs.items() if isinstance(count, int)}
    for name in BEFORE_2_14.get(tool, ()) if torch_version() < (2, 14) else ():
        counted.pop(name, None)
    assert {name: ours[name] for name in counted} == counted
    failed = {name for name, count in theirs.items() if not isinstance(count, int)}
    assert failed == (FAILS.get(tool, frozenset()) if models == "small" else frozenset())


BEFORE_2_14 = {"torch": ("attention, one head",), "ptflops-aten": ("attention, one head",)}
"""What a tool counted while torch 2.13's CPU did not yet fuse attention of three dimensions."""


def torch_version() -> tuple[int, ...]:
    return tuple(int(part) for part in version("torch").split("+")[0].split(".")[:2])


_ONE_TENSOR = frozenset({"attention, wider values"})
FAILS = {"ptflops": _ONE_TENSOR, "ptflops-aten": _ONE_TENSOR}
"""What a tool cannot count at all: ptflops gives a model one tensor."""


def test_a_convention_adds_its_figure_and_leaves_every_count_ours() -> None:
    ours, theirs = (archlab.profile("googlenet-torchvision", convention=c) for c in ("archlab", "fvcore"))
    # facts section 6.1: fvcore 0.1.5 prints 1,504,878,688: 2 per batch-norm element, 1 per pooled one
    assert theirs.total.reported == 1_504_878_688 == ours.total.macs + 6_452_320 + 7 * 7 * 1024
    assert theirs.total.unit == "MACs"
    assert (theirs.total.macs, theirs.total.flops, theirs.layers) == (ours.total.macs, ours.total.flops, ours.layers)
    assert (ours.total.reported, ours.total.unit) == (ours.total.macs, "MACs")


def test_torchs_counter_prints_flops() -> None:
    total = archlab.profile("alexnet-torchvision", convention="torch").total
    assert (total.reported, total.unit) == (2 * 714_188_480, "FLOPs")


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_built_graph_reads_as_the_module_that_it_is_lowered_to(name: str) -> None:
    graph = archlab.load(name, mode="inference").in_mode("inference")
    inputs = tuple(graph.inputs.values())
    traced = archlab.profile(archlab.lower(graph, "meta").eval(), *inputs)
    built = {t.convention.name: t.reported for t in tallies(archlab.profile(graph))}
    found = {t.convention.name: t.reported for t in tallies(traced)}
    for published in ("netscope", "paper"):  # these read the names of the zoo
        assert built.pop(published) >= 0
        found.pop(published)
    assert built == found


@pytest.mark.parametrize(
    ("target", "macc"),
    [
        # facts section 6: dgschwend/netscope, run on the Caffe prototxts
        ("googlenet", 1_586_685_952),
        ("alexnet", 726_791_936),
        ("vgg16", 15_470_264_320),
        ("nin", 1_100_188_800),
        ("googlenet@10x3x227x227", 16_040_427_520),
    ],
)
def test_netscope_prints_the_figures_of_its_presets(target: str, macc: int) -> None:
    assert archlab.profile(target, convention="netscope").total.reported == macc


def test_netscope_counts_the_heads_of_a_network_in_training() -> None:
    trained = archlab.profile("googlenet", mode="training", convention="netscope")
    assert trained.total.reported == 1_595_058_176


def test_the_papers_convention_prints_the_ops_column_of_table_1() -> None:
    """The released graph reproduces the whole column: 12 of 12 figures (facts section 1.2)."""
    profile = archlab.profile("inception5h", convention="paper")
    assert profile.tally is not None
    beside = profile.tally.by_layer
    blocks: dict[str, int] = {}
    for layer in profile.layers:
        block = layer.name.split("/")[0]
        blocks[block] = blocks.get(block, 0) + layer.cost.macs + beside.get(layer.name, 0)
    printed = {
        "conv1": 34, "conv2": 360, "inception_3a": 128, "inception_3b": 304, "inception_4a": 73, "inception_4b": 88,
        "inception_4c": 100, "inception_4d": 119, "inception_4e": 170, "inception_5a": 54, "inception_5b": 71,
        "linear": 1,
    }  # fmt: skip
    assert {block: round(blocks[block] / 10**6) for block in printed} == printed
    assert profile.total.reported == 1_500_878_720


def test_the_differences_of_a_convention_lead_from_our_macs_to_its_figure() -> None:
    model, inputs = SMALL["encoder layer"]()
    for profile in (archlab.profile("googlenet"), archlab.profile(model, *inputs)):
        for figure in tallies(profile):
            ours = figure.convention.per_mac * profile.total.macs
            assert ours + sum(figure.by_layer.values()) == figure.reported == ours + sum(figure.by_reason.values())
            assert all(item.reason for item in figure.items)


def test_what_a_tool_misses_is_said() -> None:
    profile = archlab.profile(*_attention())
    reasons = {name: set(tally(profile, name).by_reason) for name in ("fvcore", "torch")}
    assert all(any("attention" in reason for reason in found) for found in reasons.values())


def _attention() -> tuple[object, ...]:
    model, inputs = SMALL["attention"]()
    return model, *inputs


def test_an_unknown_convention_names_the_nearest() -> None:
    with pytest.raises(
        UsageError, match=r"unknown convention 'thob'; did you mean 'thop'\? \(known: archlab, fvcore"
    ):
        archlab.profile("naive", convention="thob")


def test_a_tool_is_emulated_in_inference_alone() -> None:
    with pytest.raises(UsageError, match="the convention 'thop' holds for inference; leave out --mode training"):
        archlab.profile("googlenet", mode="training", convention="thop")


def test_conventions_survive_json() -> None:
    model, inputs = SMALL["encoder layer"]()
    graph = archlab.trace(model, *inputs)
    from archlab.sources.json import read_graph

    read = read_graph(graph.to_json(), "here")
    for name in CONVENTIONS:
        assert tally(archlab.profile(read), name) == tally(archlab.profile(graph), name)
