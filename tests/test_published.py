"""Figures that papers, tools and model collections print, reproduced from our graphs by the rule of each."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest
import rules
from networks import PUBLISHED
from oracles import ORACLE

import archlab
from archlab.ir import Builder, Graph
from archlab.ops import Concat, Conv2d, Input, MaxPool2d
from archlab.profiles import Profile, profile_graph

CHECKS = {check["name"]: check for check in ORACLE["published_checks"]}
Rule = Callable[[Profile], float]
G, M, MIB = 1e9, 1e6, 2**20
VGG = {"vgg11": "A", "vgg13": "B", "vgg16": "D", "vgg19": "E"}
BY_RULE: dict[tuple[Rule, float], dict[str, str]] = {
    (rules.params, 1): {
        "GoogLeNet no aux, params": "googlenet",
        "torchvision googlenet num_params": "googlenet-torchvision",
        "torchvision alexnet_torchvision num_params": "alexnet-torchvision",
        **{f"torchvision {name}_{letter} num_params": name for name, letter in VGG.items()},
        **{f"torchvision vgg{n}_bn num_params": f"vgg{n}_bn" for n in (11, 13, 16, 19)},
        "TF-slim inception_v1 params": "googlenet-tfslim",
        "imgclsmob NIN CIFAR-10 params": "nin-cifar10",
        "imgclsmob NIN CIFAR-100 params": "nin_cifar100",
        "AlexNet ungrouped params": "alexnet_ungrouped_227",
        "GoogLeNet with 2 aux, params": "googlenet training",
        "torchvision googlenet with aux": "googlenet-torchvision training",
    },
    (rules.params, M): {
        "OMZ vgg16 MParams": "vgg16",
        "OMZ vgg19 MParams": "vgg19",
        "OMZ googlenet-v1 MParams": "googlenet",
        "OMZ alexnet MParams": "alexnet",
        **{f"VGG paper Table 2 {letter} (M)": name for name, letter in VGG.items()},
        "VGG paper Table 2 C (M)": "vgg16_C_1x1",
    },
    (rules.weights, 1): {"GoogLeNet weights / biases": "googlenet"},
    (rules.biases, 1): {"GoogLeNet biases": "googlenet"},
    (rules.without_head, 1): {"GoogLeNet body params": "googlenet"},
    (rules.tf_variables, 1): {"TF-slim inception_v1_base variables": "googlenet-tfslim"},
    (rules.netscope_params, 1): {
        "netscope GoogLeNet param": "googlenet",
        "netscope GoogLeNet train param": "googlenet training",
        "netscope AlexNet param": "alexnet",
        "netscope NIN param": "nin",
    },
    (rules.netscope, 1): {
        "netscope GoogLeNet deploy macc (224)": "googlenet",
        "netscope GoogLeNet train macc": "googlenet training",
        "netscope GoogLeNet preset (227) macc": "googlenet@227",
        "netscope AlexNet macc": "alexnet",
        "netscope VGG16 macc": "vgg16",
        "netscope NIN macc 224": "nin",
    },
    (rules.conv_macs, 1): {"netscope GoogLeNet conv macc (224)": "googlenet"},
    (rules.conv_macs, G): {"ResNet paper VGG-16 GFLOPs": "vgg16"},
    (rules.macs, G): {
        "torchvision googlenet _ops": "googlenet-torchvision",
        "torchvision alexnet_torchvision _ops": "alexnet-torchvision",
        **{f"torchvision {name}_{letter} _ops": name for name, letter in VGG.items()},
        **{f"torchvision vgg{n}_bn _ops": f"vgg{n}_bn" for n in (11, 13, 16, 19)},
        "ResNet paper VGG-19 GFLOPs": "vgg19",
        "AlexNet ungrouped GMACs": "alexnet_ungrouped_227",
    },
    (rules.macs, M): {
        "seed: 5x5 without reduction (M)": "naive",
        "seed: with 1x1 reduction (M)": "reduced",
    },
    (rules.with_biases, 1): {
        "GoogLeNet FLOPs 2MAC+bias": "googlenet",
        "VGG16 FLOPs 2MAC+bias": "vgg16",
    },
    (rules.with_biases, G): {
        "TF-slim inception_v1 GFLOPs": "googlenet-tfslim",
        "TF-slim vgg_a GFLOPs": "vgg11",
        "TF-slim vgg_16 GFLOPs": "vgg16",
        "TF-slim vgg_19 GFLOPs": "vgg19",
    },
    (lambda p: rules.with_pools(rules.up_to("pool5")(p)), G): {"rf table vgg_16 pool5 GFLOPs": "vgg16"},
    (lambda p: rules.with_pools(rules.up_to("pool2/3x3_s2")(p)), G): {
        "rf table inception_v2 (no separable) stem GFLOPs at MaxPool_3a": "googlenet+no_lrn",
    },
    (lambda p: rules.with_pools(rules.up_to("conv1/7x7_s2")(p)), G): {
        "rf table inception_v2 full conv1 GFLOPs": "googlenet"
    },
    (lambda p: rules.with_pools(rules.up_to("conv1/pointwise")(p)), G): {
        "rf table inception_v2 separable conv1 GFLOPs": "inception5h+separable_stem",
    },
    (rules.openvino, G): {"OMZ vgg16 GFLOPs": "vgg16", "OMZ vgg19 GFLOPs": "vgg19"},
    (rules.calflops, G): {
        "calflops vgg16 FLOPs (5 digits)": "vgg16",
        "calflops vgg11 FLOPs": "vgg11",
        "calflops alexnet FLOPs": "alexnet-torchvision",
    },
    (rules.imgclsmob, M): {
        "imgclsmob AlexNet-b FLOPs/2 (M)": "alexnet-torchvision",
        "imgclsmob VGG-11 FLOPs/2 (M)": "vgg11",
        "imgclsmob VGG-13 FLOPs/2 (M)": "vgg13",
        "imgclsmob VGG-16 FLOPs/2 (M)": "vgg16",
        "imgclsmob NIN CIFAR-10 FLOPs/2 (M)": "nin-cifar10",
        "imgclsmob NIN CIFAR-100 FLOPs/2 (M)": "nin_cifar100",
        "imgclsmob AlexNet FLOPs/2 (M)": "alexnet_imgclsmob_224",
    },
    (rules.burden, M): {"convnet-burden alexnet MFLOPs": "alexnet+no_lrn"},
    (lambda p: 128 * rules.burden(p), G): {"convnet-burden googlenet icp9_out x128 GFLOPs": "googlenet"},
    (rules.param_bytes, MIB): {"convnet-burden googlenet param MB": "googlenet training"},
    (rules.feature_bytes, MIB): {"convnet-burden vgg-vd-16 feature MB": "vgg16"},
    (rules.thop, G): {"thop alexnet (GMACs)": "alexnet-torchvision", "thop vgg16 (GMACs)": "vgg16"},
    (rules.timm, M): {f"timm vgg{n} infer_macts (M)": f"vgg{n}" for n in (11, 16, 19)},
    (rules.caffe_layers, 1): {"caffejs layer count GoogLeNet": "googlenet"},
}
TABLE = [(rule, unit, check, target) for (rule, unit), checks in BY_RULE.items() for check, target in checks.items()]


@cache
def profiled(target: str) -> Profile:
    if target in PUBLISHED:
        return PUBLISHED[target]()
    name, _, mode = target.partition(" ")
    return archlab.profile(name, mode=mode or "inference")


@pytest.mark.parametrize(("rule", "unit", "name", "target"), [pytest.param(*row, id=row[2]) for row in TABLE])
def test_a_printed_figure_follows_from_our_graph_by_its_rule(rule: Rule, unit: float, name: str, target: str) -> None:
    check = CHECKS[name]
    assert check["match"], "only figures that hold are claimed here"
    printed = check["published"]
    decimals = len(str(printed).partition(".")[2]) if isinstance(printed, float) else 0
    half_a_digit = 0.5 * 10**-decimals if unit > 1 else 0
    assert abs(rule(profiled(target)) / unit - printed) <= max(half_a_digit, check["tolerance"])


CONVENTIONS: dict[str, Rule] = {
    "macs": rules.macs,
    "flops_2mac": lambda profile: 2 * rules.macs(profile),
    "flops_2mac_bias": rules.with_biases,
    "flops_2mac_bias_relu_poolk2": rules.openvino,
    "calflops": rules.calflops,
    "imgclsmob_flops_half": rules.imgclsmob,
    "netscope_macc": rules.netscope,
    "netscope_param": rules.netscope_params,
    "convnet_burden": rules.burden,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_totals_under_other_conventions_follow_from_our_rows(name: str) -> None:
    profile = PUBLISHED[name]()
    expected = dict(ORACLE["models"][name]["conventions"])
    if name == "inception_v1_tfslim":
        expected["netscope_param"] += 7280  # beta
    assert {rule: CONVENTIONS[rule](profile) for rule in expected} == expected


@pytest.mark.parametrize(
    ("name", "rule", "base", "other", "exact"),
    [
        ("CS231n 2016: 2x more compute than AlexNet", rules.macs, "googlenet", "alexnet", 2.18),
        ("paper: 12x fewer parameters than AlexNet", rules.params, "alexnet", "googlenet", 8.71),
        ("CS231n: 27x fewer than VGG-16", rules.params, "vgg16", "googlenet", 19.77),
    ],
)
def test_a_printed_ratio_is_compared_with_the_exact_one(
    name: str, rule: Rule, base: str, other: str, exact: float
) -> None:
    """Two of the three do not hold: 12 and 27 need a GoogLeNet of 5 million parameters."""
    assert round(rule(profiled(base)) / rule(profiled(other)), 2) == exact == CHECKS[name]["computed"]
    assert CHECKS[name]["match"] == (round(exact) == CHECKS[name]["published"])


def cs231n_module(reduced: bool) -> Graph:
    """Return the module of CS231n 2017, lecture 9: 128 1×1, 192 3×3, 96 5×5 filters over 28×28×256."""
    b = Builder("cs231n")
    x = b.add("input", Input((1, 256, 28, 28)))
    one = b.add("1x1", Conv2d(128, 1), x)
    before = [b.add(f"{name}_reduce", Conv2d(64, 1), x) if reduced else x for name in ("3x3", "5x5")]
    three = b.add("3x3", Conv2d(192, 3, padding=1), before[0])
    five = b.add("5x5", Conv2d(96, 5, padding=2), before[1])
    pool = b.add("pool", MaxPool2d(3, 1, 1), x)
    pool = b.add("pool_proj", Conv2d(64, 1), pool) if reduced else pool
    return b.build(b.add("output", Concat(), one, three, five, pool))


def test_the_lecture_slide_counts_the_3x3_filters_of_the_bottleneck_twice() -> None:
    """Slide 48 prints 854 M for the naive module, as it is; slide 55 prints 358 M where its terms sum to 271 M."""
    worked = ORACLE["worked_examples"]
    naive, bottleneck = profile_graph(cs231n_module(False)), profile_graph(cs231n_module(True))
    three = bottleneck.layer("3x3").cost.macs
    assert naive.total.macs == worked["cs231n_naive"] == 854_196_224
    assert bottleneck.total.macs == worked["cs231n_bottleneck_correct"] == 271_351_808
    assert bottleneck.total.macs + three == worked["cs231n_printed_explained"] == 358_055_936
    assert naive.graph.output_specs[0].shape[1] == worked["cs231n_out_naive"]
    assert bottleneck.graph.output_specs[0].shape[1] == worked["cs231n_out_bottleneck"]


ELSEWHERE = {
    "cs231n naive module (M ops)": "above",
    "cs231n bottleneck module (M ops)": "above",
    "paper: 12x fewer parameters than AlexNet": "above",
    "CS231n 2016: 2x more compute than AlexNet": "above",
    "CS231n: 27x fewer than VGG-16": "above",
    "paper: ops column sum (M)": "a sum of the print, not of a network; test_totals has the column",
    "d2l NiN params": "not in the zoo",
    "d2l NiN FLOPs 2MAC+bias": "not in the zoo",
    "TF-slim alexnet_v2 params": "not in the zoo",
    "OMZ googlenet-v1 GFLOPs": "not reproduced by anybody: 3.266 needs about 101 operations per LRN element",
    "paper Table 3 last row delta": "accuracy",
    "paper: 56.5% relative reduction": "accuracy",
    "paper: 144 crops": "evaluation",
}


def test_every_published_figure_is_checked_or_said_not_to_be() -> None:
    rows = {check for _, _, check, _ in TABLE}
    reach = {name for name in CHECKS if name.split()[0] in {"RF", "stride", "padding"}}  # test_receptive_field
    assert rows | reach | set(ELSEWHERE) == set(CHECKS)
    assert not rows & set(ELSEWHERE)
