"""The zoo, layer by layer, against networks that others published."""

from __future__ import annotations

from math import prod
from typing import Any

import pytest
from networks import PUBLISHED
from oracles import ORACLE

import archlab
from archlab.ops import (
    AdaptiveAvgPool2d,
    AvgPool2d,
    BatchNorm,
    Concat,
    Conv2d,
    Dropout,
    Flatten,
    GlobalAvgPool2d,
    Input,
    Linear,
    LocalResponseNorm,
    MaxPool2d,
    ReLU,
    Softmax,
)
from archlab.profiles import Layer, Profile
from archlab.transform import trailing

KINDS = {
    "conv": Conv2d, "fc": Linear, "maxpool": MaxPool2d, "avgpool": AvgPool2d, "gap": GlobalAvgPool2d,
    "adaptive_avgpool": AdaptiveAvgPool2d, "lrn": LocalResponseNorm, "concat": Concat,
}  # fmt: skip
FOLDED = (BatchNorm, ReLU)
"""Parts of their convolution's row in the oracle; nodes of their own here."""
UNLISTED = (Input, Flatten, Dropout, Softmax)
"""Without weights, MACs or a row in the oracle."""


def ours(profile: Profile, layer: Layer, row: dict[str, Any]) -> dict[str, Any]:
    """Return a layer in the oracle's words: what the row says, with our numbers."""
    op: Any = layer.node.op
    weights = {role: profile.graph.params[key].spec.numel for role, key in layer.node.weights.items()}
    folded = trailing(profile.graph, layer.node, FOLDED)
    found = {
        "name": layer.name,
        "op": next(kind for kind, op_type in KINDS.items() if type(op) is op_type),
        "in": tuple(layer.input_shapes[0][1:]),
        "out": (*layer.output_shape[1:], 1, 1)[:3],
        "weights": weights.get("weight", 0),
        "bias": weights.get("bias", 0),
        "bn": sum(profile.layer(n.name).cost.params for n in folded),
        "macs": layer.cost.macs,
        "relu": any(isinstance(n.op, ReLU) for n in folded),
    }
    if isinstance(op, Concat):
        found["in"] = found["out"]
    if isinstance(op, Linear):  # the oracle names what a Flatten in front has joined
        assert found["in"] == (prod(row["in"]),)
        found["in"] = tuple(row["in"])
    if isinstance(op, GlobalAvgPool2d):  # one window over everything, which Caffe writes as an average pool
        found |= {"op": row["op"], "k": layer.input_shapes[0][2:], "s": (1, 1), "p": (0, 0)}
        found |= {"ceil": False} if "ceil" in row else {}
    if isinstance(op, Conv2d | MaxPool2d | AvgPool2d):
        found |= {"k": op.kernel, "s": op.stride, "p": op.padding}
        found |= {"g": op.groups} if isinstance(op, Conv2d) else {"ceil": op.ceil_mode}
    if isinstance(op, LocalResponseNorm):
        found["size"] = op.size
    return found


def theirs(row: dict[str, Any]) -> dict[str, Any]:
    """Return an oracle row with our separator in names and pairs for squares."""
    row = {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}
    squares = {key: (row[key], row[key]) for key in ("s", "p") if key in row}
    return row | squares | {"name": row["name"].replace(".", "/")}


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_layer_of_a_published_network_is_ours(name: str) -> None:
    profile, model = PUBLISHED[name](), ORACLE["models"][name]
    expected = [theirs(row) for row in model["rows"]]
    found = [ours(profile, profile.layer(row["name"]), row) for row in expected]
    if name == "inception_v1_tfslim":
        # The oracle writes TF's SAME padding as Caffe's ceil mode with the same sizes, and leaves out beta.
        assert sum(row.pop("bn") for row in found) == 7280
        assert all(row["p"] == "same_upper" for row in found if "p" in row and row["op"] != "gap")
        found = [{k: v for k, v in row.items() if k not in ("p", "ceil")} for row in found]
        expected = [{k: v for k, v in row.items() if k not in ("p", "ceil", "bn")} for row in expected]
    assert found == expected


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_network_has_every_layer_of_ours(name: str) -> None:
    profile, model = PUBLISHED[name](), ORACLE["models"][name]
    listed = {row["name"].replace(".", "/") for row in model["rows"]}
    extra = {row.name for row in profile.layers if not isinstance(row.node.op, (*UNLISTED, *FOLDED))} - listed
    # Between features and classifier torchvision's AlexNet averages 6×6 to 6×6, which changes nothing at 224.
    assert extra == ({"avgpool"} if name == "alexnet_torchvision" else set())


@pytest.mark.parametrize("name", PUBLISHED)
def test_totals_of_a_published_network_are_ours(name: str) -> None:
    total, summary = PUBLISHED[name]().total, ORACLE["models"][name]["summary"]
    beta = 7280 if name == "inception_v1_tfslim" else 0
    assert (total.params, total.macs) == (summary["params"] + beta, summary["macs"])


def test_tensorflows_padding_puts_the_odd_position_behind() -> None:
    """7×7 with stride 2 over 224: 112 windows span 111·2 + 7 = 229, so 5 positions are added, 2 in front."""
    op: Any = archlab.load("googlenet-tfslim").node("conv1/7x7_s2").op
    assert op.pads(224, 224) == ((2, 3), (2, 3))


def test_every_model_of_the_oracle_is_compared() -> None:
    assert set(PUBLISHED) == set(ORACLE["models"])
