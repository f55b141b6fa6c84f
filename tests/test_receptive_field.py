"""Receptive fields: the published ones, and what the definition says of each op."""

from __future__ import annotations

from typing import Any

import pytest
from chains import chain
from oracles import ORACLE

from archlab.analyses.receptive_field import ReceptiveField, receptive_field
from archlab.ir import Builder, Op, Shape
from archlab.ops import (
    AdaptiveAvgPool2d,
    BatchNorm,
    Concat,
    Conv2d,
    ConvTranspose2d,
    Dropout,
    Flatten,
    GlobalAvgPool2d,
    Input,
    LayerNorm,
    Linear,
    MaxPool2d,
    Mul,
    ReLU,
    Reshape,
    Softmax,
)
from archlab.zoo import catalog
from archlab.zoo.googlenet import PLACES

FIELDS: dict[str, list[dict[str, Any]]] = ORACLE["receptive_field"]


def field_of(*ops: Op, shape: Shape = (1, 2, 32, 32)) -> ReceptiveField | None:
    """Return the receptive field of the last of a chain of ops."""
    return receptive_field(chain(*ops, shape=shape))[str(len(ops) - 1)]


GOOGLENET = {
    "conv1": "conv1/7x7_s2",
    "pool1": "pool1/3x3_s2",
    "conv2_reduce": "conv2/3x3_reduce",
    "conv2": "conv2/3x3",
    "pool2": "pool2/3x3_s2",
    "pool3": "pool3/3x3_s2",
    "pool4": "pool4/{0}x{0}_s2",
    "avgpool7": "pool5",
    **{place: f"inception_{place}/output" for place in PLACES},
}


@pytest.mark.parametrize(
    ("name", "published", "names"),
    [
        ("vgg11", "vgg_a", {}),
        ("vgg16", "vgg_16", {}),
        ("vgg19", "vgg_19", {}),
        ("nin", "nin_imagenet", {"conv4": "conv4-1024"}),
        ("googlenet", "googlenet_5x5_largest", {k: v.format(3) for k, v in GOOGLENET.items()}),
        ("googlenet-torchvision", "googlenet_torchvision_largest", {k: v.format(2) for k, v in GOOGLENET.items()}),
    ],
)
def test_receptive_fields_are_those_published(name: str, published: str, names: dict[str, str]) -> None:
    graph = catalog.build(name)
    fields = receptive_field(graph)
    for row in FIELDS[published]:
        field = fields[names.get(row["layer"], row["layer"])]
        assert field is not None
        assert (row["layer"], field.size, field.stride, field.padding) == (
            row["layer"], row["rf"], row["stride"], row["padding"],
        )  # fmt: skip


def test_alexnet_v2_of_slim_has_its_published_fields() -> None:
    # tensorflow/models slim alexnet_v2: 11/4 valid, pools 3/2 valid, 5 and 3 same.
    b = Builder("alexnet_v2")
    x = b.add("input", Input((1, 3, 224, 224)))
    for name, op in {
        "conv1": Conv2d(64, 11, 4),
        "pool1": MaxPool2d(3, 2),
        "conv2": Conv2d(192, 5, padding=2),
        "pool2": MaxPool2d(3, 2),
        "conv3": Conv2d(384, 3, padding=1),
        "conv4": Conv2d(384, 3, padding=1),
        "conv5": Conv2d(256, 3, padding=1),
        "pool5": MaxPool2d(3, 2),
    }.items():
        x = b.add(name, op, x)
    fields = receptive_field(b.build(x))
    for row in FIELDS["alexnet_v2"]:
        assert fields[row["layer"]] == ReceptiveField(*((row[k],) * 2 for k in ("rf", "stride", "padding")))


def test_a_windows_padding_in_front_counts_and_that_behind_does_not() -> None:
    # 32 positions, kernel 3, stride 2: 16 outputs need 33, the odd one lies behind.
    assert field_of(Conv2d(1, 3, 2, "same_upper")) == ReceptiveField((3, 3), (2, 2), (0, 0))


def test_axes_that_differ_are_pairs() -> None:
    # Height: 1 + (3 - 1)·2 = 5, then 1 more window of 2: 5 + 1·2. Width: 1, then 1 + (2 - 1)·1.
    field = field_of(Conv2d(1, (3, 1), (2, 1), (2, 0), (2, 1)), MaxPool2d(2, 1))
    assert field is not None
    assert (field.size, field.stride, field.padding) == ((5 + 2, 1 + 1), (2, 1), (2, 0))
    assert (field.sizes, field.strides, field.paddings) == ((7, 2), (2, 1), (2, 0))


def join(a: Op, b: Op, by: Op | None = None) -> ReceptiveField | None:
    builder = Builder("join")
    x = builder.add("input", Input((1, 2, 16, 16)))
    ends = builder.add("a", a, x), builder.add("b", b, x)
    return receptive_field(builder.build(builder.add("join", by or Concat(), *ends)))["join"]


def test_of_paths_within_each_other_the_widest_counts() -> None:
    assert join(Conv2d(1, 3, padding=1), Conv2d(1, 5, padding=2)) == ReceptiveField((5, 5), (1, 1), (2, 2))


def test_of_paths_beside_each_other_both_count() -> None:
    # An even kernel of stride 1 keeps the size with nothing in front: twice 2 see 0 to 2; a 3 sees -1 to 1.
    b = Builder("beside")
    x = b.add("input", Input((1, 2, 16, 16)))
    late = b.add("2b", Conv2d(1, 2, padding="same"), b.add("2a", Conv2d(1, 2, padding="same"), x))
    graph = b.build(b.add("join", Concat(), late, b.add("3", Conv2d(1, 3, padding="same"), x)))
    assert receptive_field(graph)["join"] == ReceptiveField((4, 4), (1, 1), (1, 1))


def test_paths_of_different_strides_have_no_field() -> None:
    assert join(Conv2d(1, 2, 2), Conv2d(1, 9)) is None


def test_a_broadcast_gate_has_no_field() -> None:
    assert join(Conv2d(2, 3, padding=1), GlobalAvgPool2d(), Mul()) is None


def test_a_global_pool_sees_the_whole_input_with_stride_one() -> None:
    assert field_of(Conv2d(1, 3, 2), GlobalAvgPool2d()) == ReceptiveField((3 + 14 * 2,) * 2, (2, 2), (0, 0))


def test_an_adaptive_pool_is_a_window_where_it_divides_evenly() -> None:
    assert field_of(AdaptiveAvgPool2d((8, 1))) == ReceptiveField((4, 32), (4, 1), (0, 0))
    assert field_of(AdaptiveAvgPool2d(1)) == field_of(GlobalAvgPool2d())
    assert field_of(AdaptiveAvgPool2d(5)) is None


@pytest.mark.parametrize(
    "op",
    [
        Flatten(),
        Linear(3),
        Reshape(("=0", "=1", "=2", "=3")),
        LayerNorm(),
        ConvTranspose2d(2, 2, 2),
        Softmax(-1),
        Softmax(2),
    ],
    ids=repr,
)
def test_what_mixes_or_moves_positions_has_no_field_nor_has_what_follows(op: Op) -> None:
    fields = receptive_field(chain(op, Reshape((1, 2, -1, 4)), ReLU()))
    assert (fields["0"], fields["2"]) == (None, None)


@pytest.mark.parametrize("op", [ReLU(), BatchNorm(), Dropout(), Softmax(1), Softmax(-4)], ids=repr)
def test_what_reads_one_position_keeps_the_field(op: Op) -> None:
    assert field_of(Conv2d(2, 3, 2, 1), op) == field_of(Conv2d(2, 3, 2, 1))


@pytest.mark.parametrize("dim", [2, -1])
def test_a_concatenation_over_positions_has_no_field(dim: int) -> None:
    assert join(ReLU(), ReLU(), Concat(dim)) is None


def test_an_input_that_is_no_image_has_no_field() -> None:
    assert field_of(ReLU(), shape=(1, 8)) is None
