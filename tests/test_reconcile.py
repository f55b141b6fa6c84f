"""Reconciliations: every convention side by side, and which of them gives a published number."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from typer.testing import CliRunner

import archlab
from archlab.analyses.conventions import CONVENTIONS
from archlab.analyses.conventions.claims import claim_of
from archlab.cli.commands import app
from archlab.errors import UsageError

PUBLISHED = [
    # facts section 6: (network, what was published, the rule that makes it, where)
    ("googlenet-torchvision", "1.498G", "MACs", "torchvision weights meta"),
    ("alexnet-torchvision", "0.714G", "MACs", "torchvision weights meta"),
    ("vgg11", "7.609G", "MACs", "torchvision weights meta"),
    ("vgg13", "11.308G", "MACs", "torchvision weights meta"),
    ("vgg16", "15.47G", "MACs", "torchvision weights meta"),
    ("vgg19", "19.632G", "MACs", "torchvision weights meta"),
    ("vgg11", "7.61GMACs", "MACs", "timm results CSV"),
    ("vgg13", "11.31GMACs", "MACs", "timm results CSV"),
    ("googlenet", "1586685952", "by the rule of netscope", "netscope, deploy at 224"),
    ("googlenet", "16040427520", "by the rule of netscope", "netscope's preset: 227 and a batch of 10"),
    ("googlenet", "1595058176", "by the rule of netscope", "netscope, train_val"),
    ("alexnet", "726791936", "by the rule of netscope", "netscope"),
    ("nin", "1100188800", "MACs", "netscope"),
    ("googlenet", "3168570904FLOPs", "2·MACs + 1 per bias", "a d2l study"),
    ("alexnet-torchvision", "714.83M", "half of 2·MACs + 1 per ReLU and pool position", "imgclsmob, AlexNet-b"),
    ("vgg11", "7615.87M", "half of 2·MACs + 1 per ReLU and pool position", "imgclsmob"),
    ("vgg13", "11317.65M", "half of 2·MACs + 1 per ReLU and pool position", "imgclsmob"),
    ("vgg16", "15480.10M", "half of 2·MACs + 1 per ReLU and pool position", "imgclsmob"),
    ("nin-cifar10", "222.97M", "half of 2·MACs + 1 per ReLU and pool position", "imgclsmob"),
    ("vgg16", "30.95G", "2·MACs + 1 per bias", "visipedia, tf.profiler"),
    ("vgg19", "39.28G", "2·MACs + 1 per bias", "visipedia, tf.profiler"),
    ("vgg11", "15.23G", "2·MACs + 1 per bias", "visipedia, tf.profiler"),
    ("vgg16", "30.974G", "2·MACs + 1 per bias, ReLU and pool position", "OpenVINO open_model_zoo"),
    ("vgg19", "39.3G", "2·MACs + 1 per bias, ReLU and pool position", "OpenVINO open_model_zoo"),
    (
        "alexnet-torchvision",
        "1.42974G",
        "2·MACs + 1 per convolution's bias, ReLU and pooled input",
        "calflops README",
    ),
    ("vgg11", "15.2392G", "2·MACs + 1 per convolution's bias, ReLU and pooled input", "calflops README"),
    ("vgg16", "30.9738G", "2·MACs + 1 per convolution's bias, ReLU and pooled input", "calflops README"),
    ("vgg19", "39.30G", "2·MACs + 1 per convolution's bias, ReLU and pooled input", "calflops README"),
    ("alexnet-torchvision", "0.77G", "MACs + 1 per convolution's bias, linear layers twice", "thop README"),
    ("vgg11", "7.74G", "MACs + 1 per convolution's bias, linear layers twice", "thop README"),
    ("vgg16", "15.61G", "MACs + 1 per convolution's bias, linear layers twice", "thop README"),
    ("vgg19", "19.77G", "MACs + 1 per convolution's bias, linear layers twice", "thop README"),
    ("googlenet-torchvision", "1.51G", "as ptflops counts", "ptflops README"),
    ("alexnet-torchvision", "0.72G", "as ptflops counts", "ptflops README, pytorch"),
    ("alexnet-torchvision", "0.71G", "as ptflops-aten counts", "ptflops README, aten"),
    ("vgg16", "15.52G", "as ptflops counts", "ptflops README, pytorch"),
    ("vgg16", "15.48G", "as ptflops-aten counts", "ptflops README, aten"),
    ("googlenet", "1.60G", "MACs", "Captain1986/utils: Caffe's network, fed 227"),
    ("vgg16", "15.3G", "MACs of convolutions alone", "the ResNet paper"),
    ("vgg19", "19.6G", "MACs", "the ResNet paper"),
    ("googlenet", "1.5G", "by the rule of GoogLeNet's Table 1", "the GoogLeNet paper"),
    # facts section 6.1: what installed counters return
    ("googlenet-torchvision", "1504878688", "as fvcore counts", "fvcore 0.1.5"),
    ("googlenet-torchvision", "1511332032", "as thop counts", "thop 0.1.1"),
    ("googlenet-torchvision", "1498391752", "as torchinfo counts", "torchinfo 1.8.0"),
    ("googlenet-torchvision", "1501603376", "as torchprofile counts", "torchprofile"),
    ("googlenet-torchvision", "1498377192", "as ptflops-aten counts", "ptflops 0.7.5"),
]


@pytest.mark.parametrize(("name", "claimed", "rule", "where"), PUBLISHED)
def test_a_published_figure_is_found_by_the_rule_that_made_it(name: str, claimed: str, rule: str, where: str) -> None:
    result = archlab.reconcile(name, claimed=claimed)
    assert rule in {rule for match in result.found for rule in match.rules}, where
    claim = claim_of(claimed)
    assert all(match.fit == claim.fits(match.value, match.scale) != "" for match in result.found)


def test_the_plainest_match_is_the_sentence() -> None:
    result = archlab.reconcile("googlenet-torchvision", claimed="1.498G")
    assert result.plainest is not None
    assert result.plainest.sentence == "1,498,376,192 MACs for 1x3x224x224"
    text = str(result)
    assert "1.498G is 1,498,376,192 MACs for 1x3x224x224." in text


def test_googlenets_one_and_a_half_billion_is_the_papers_own_rule() -> None:
    result = archlab.reconcile("googlenet", claimed="1.5G")
    assert result.plainest is not None
    # 1,582,671,872 - 118,013,952 + 34,019,328: the first convolution as a separable one (facts section 1.2)
    assert result.plainest.value == 1_582_671_872 - 118_013_952 + 34_019_328
    assert result.plainest.rule == "by the rule of GoogLeNet's Table 1"


def test_a_batch_and_an_input_size_are_found() -> None:
    result = archlab.reconcile("googlenet", claimed="16040427520")
    best = result.matches[0]
    assert (best.value, best.rule) == (16_040_427_520, "by the rule of netscope")
    assert best.variant.departures == ("not its own input size", "a batch of 10")
    assert next(iter(best.variant.profile.input.values())).shape == (10, 3, 227, 227)


def test_heads_are_found() -> None:
    # facts section 2: 1,582,671,872 + 4,169,728 + 4,202,496
    best = archlab.reconcile("googlenet", claimed="1591044096").matches[0]
    assert (best.value, best.rule, best.variant.departures) == (1_591_044_096, "MACs", ("with auxiliary heads",))


def test_heads_of_a_traced_model_are_found() -> None:
    pytest.importorskip("torchvision", reason="torchvision is not installed")
    # facts section 2: torchvision's, with both heads, in training
    best = archlab.reconcile("torchvision:googlenet", claimed="1506748416").matches[0]
    assert (best.value, best.rule, best.variant.departures) == (1_506_748_416, "MACs", ("with auxiliary heads",))


def test_units_of_1024_are_found() -> None:
    macs = archlab.profile("vgg16").total.macs
    text = f"{Decimal(macs) / 2**30:.4f}G"
    best = archlab.reconcile("vgg16", claimed=text).matches[0]
    assert (best.value, best.scale, best.said) == (macs, 2**30, "G = 2³⁰")


def test_the_nearest_come_first() -> None:
    result = archlab.reconcile("alexnet", claimed="0.7G")
    fits = [bool(match.fit) for match in result.matches]
    assert fits == sorted(fits, reverse=True)
    for group in (result.found, result.matches[len(result.found) :]):
        assert [m.distance for m in group] == sorted(m.distance for m in group)


def test_where_nothing_matches_the_nearest_are_shown_and_said_to_be_off() -> None:
    result = archlab.reconcile("nin-cifar10", claimed="987.654321T")
    assert result.found == ()
    assert result.plainest is None
    assert "Nothing gives 987.654321T. The nearest:" in str(result)


def test_a_claim_in_flops_matches_no_macs() -> None:
    assert {match.unit for match in archlab.reconcile("vgg16", claimed="31GFLOPs").matches} == {"FLOPs"}
    assert {match.unit for match in archlab.reconcile("vgg16", claimed="15.5 GMACs").matches} == {"MACs"}


@pytest.mark.parametrize("text", ["", "G", "1.5X", "-3G", "1.5G per second", "nan", "0"])
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--claimed"):
        claim_of(text)


def test_a_figure_whose_digits_were_cut_off_is_a_match_that_says_so() -> None:
    claim = claim_of("1.5G")
    assert claim.fits(1_549_999_999, 10**9) == "rounded"
    assert claim.fits(1_550_000_000, 10**9) == "cut off"
    assert claim.fits(1_599_999_999, 10**9) == "cut off"
    assert claim.fits(1_600_000_000, 10**9) == ""
    assert claim.fits(1_449_999_999, 10**9) == ""


def test_every_convention_stands_beside_ours() -> None:
    result = archlab.reconcile("googlenet-torchvision")
    data = json.loads(result.to_json())
    assert data["schema"] == "archlab.reconciliation/1"
    assert [entry["convention"] for entry in data["conventions"]] == list(CONVENTIONS)
    fvcore = data["conventions"][0]
    assert fvcore["reported"] == 1_504_878_688 == data["macs"] + sum(d["count"] for d in fvcore["differences"])
    assert all(d["layer"] and d["reason"] for entry in data["conventions"] for d in entry["differences"])


def test_a_model_with_its_inputs_is_reconciled() -> None:
    import torch

    result = archlab.reconcile(torch.nn.Conv2d(3, 8, 3, padding="same"), torch.zeros(1, 3, 8, 8), claimed="13824")
    by_name = {t.convention.name: t.reported for t in result.tallies}
    # 8·8 positions of 8·3·3·3 products; fvcore and torchprofile have no rule for padding by name
    assert (by_name["torch"], by_name["fvcore"], by_name["torchprofile"]) == (2 * 8 * 8 * 8 * 27, 0, 0)
    assert result.plainest is not None


def test_a_model_is_tried_at_other_sizes_too() -> None:
    import torch

    result = archlab.reconcile(torch.nn.Conv2d(3, 8, 3, padding=1), torch.zeros(1, 3, 32, 32), claimed="10838016")
    assert result.plainest is not None
    # 224·224 positions of 8 filters of 3·3·3
    assert (result.plainest.value, result.plainest.variant.departures) == (
        224 * 224 * 8 * 27,
        ("not its own input size",),
    )


@pytest.mark.parametrize("width", [80, 120])
def test_the_command_fits_the_screen(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    shown = CliRunner().invoke(app, ["reconcile", "googlenet", "--claimed", "1.5G"])
    assert shown.exit_code == 0
    assert "1.5G is 1,498,677,248 MACs (by the rule of GoogLeNet's Table 1) for 1x3x224x224." in shown.output


def test_layers_are_shown_when_asked_for() -> None:
    shown = CliRunner().invoke(app, ["reconcile", "naive", "--layers", "--format", "markdown"])
    assert "## Layer by layer" in shown.output
    # 48 filters over 14·14 positions, one addition each for a bias
    assert "9,408" in shown.output
