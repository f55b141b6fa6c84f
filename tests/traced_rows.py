"""Rows of the conformance table for the ops that only traces are made of, derived by hand as the others are."""

from __future__ import annotations

from rows import Row

from archlab.ir import TensorSpec
from archlab.ops import (
    Attention,
    BatchNorm,
    Conv1d,
    Conv2d,
    Conv3d,
    ConvTranspose1d,
    ConvTranspose3d,
    Counted,
    Custom,
    Elementwise,
    Embedding,
    GroupNorm,
    Kept,
    Layout,
    Linear,
    Recurrent,
    Reduce,
    RMSNorm,
    Unknown,
)

X = (2, 6, 9, 7)  # N, C, H, W
INDICES = TensorSpec((2, 3), "int64")

TRACED = [
    # (9 + 2·1 - 3)/2 + 1 = 5 positions; each output reads 6/2 channels of 3 taps.
    Row(
        Conv1d(4, 3, stride=2, padding=1, groups=2),
        [(2, 6, 9)],
        (2, 4, 5),
        {"weight": (4, 3, 3), "bias": (4,)},
        {"mac": 2 * 4 * 5 * (3 * 3), "add": 2 * 4 * 5},
    ),
    # D: 4 - 2 + 1 = 3; H: 5 + 2·1 - 3 + 1 = 5; W: 6 + 2·1 - 3 + 1 = 6.
    Row(
        Conv3d(5, (2, 3, 3), padding=(0, 1, 1), bias=False),
        [(2, 3, 4, 5, 6)],
        (2, 5, 3, 5, 6),
        {"weight": (5, 3, 2, 3, 3)},
        {"mac": 2 * 5 * 3 * 5 * 6 * (3 * 2 * 3 * 3)},
    ),
    # (5 - 1)·2 + (2·(3 - 1) + 1) + 1 = 14; each of the 2·6·5 inputs is spread over 4·3.
    Row(
        ConvTranspose1d(4, 3, stride=2, output_padding=1, dilation=2, bias=False),
        [(2, 6, 5)],
        (2, 4, 14),
        {"weight": (6, 4, 3)},
        {"mac": 2 * 6 * 5 * (4 * 3)},
    ),
    # (2 - 1)·2 + 2 = 4 twice, (3 - 1)·2 + 2 = 6.
    Row(
        ConvTranspose3d(2, 2, 2),
        [(1, 3, 2, 2, 3)],
        (1, 2, 4, 4, 6),
        {"weight": (3, 2, 2, 2, 2), "bias": (2,)},
        {"mac": 1 * 3 * 2 * 2 * 3 * (2 * 2 * 2 * 2), "add": 1 * 2 * 4 * 4 * 6},
    ),
    # A computed weight is an input: the work is the same, the layer keeps the bias alone. 9 - 3 + 1, 7 - 3 + 1.
    Row(
        Conv2d(4, 3, computed=("weight",)),
        [X, (4, 6, 3, 3)],
        (2, 4, 7, 5),
        {"bias": (4,)},
        {"mac": 2 * 4 * 7 * 5 * (6 * 3 * 3), "add": 2 * 4 * 7 * 5},
    ),
    Row(
        Linear(5, computed=("weight", "bias")),
        [(2, 4), (5, 4), (5,)],
        (2, 5),
        counts={"mac": 2 * 5 * 4, "add": 2 * 5},
    ),
    # As a layer norm, over 3 groups of each of the 2 samples.
    Row(
        GroupNorm(3),
        [(2, 6, 5)],
        (2, 6, 5),
        {"weight": (6,), "bias": (6,)},
        {"add": 4 * 2 * 6 * 5, "mul": 3 * 2 * 6 * 5, "div": 2 * 2 * 3, "exp": 2 * 3},
    ),
    # A group a channel is an instance norm.
    Row(
        GroupNorm(6, scale=False, shift=False),
        [X],
        X,
        counts={"add": 4 * 2 * 6 * 9 * 7, "mul": 3 * 2 * 6 * 9 * 7, "div": 2 * 2 * 6, "exp": 2 * 6},
    ),
    # Square, sum; the mean and its root a group; normalise, scale.
    Row(
        RMSNorm(),
        [(2, 3, 8)],
        (2, 3, 8),
        {"weight": (8,)},
        {"mul": 3 * 2 * 3 * 8, "add": 2 * 3 * 8, "div": 2 * 3, "exp": 2 * 3},
    ),
    # Over all dimensions: one group.
    Row(
        RMSNorm(dims=2, scale=False),
        [(3, 8)],
        (3, 8),
        counts={"mul": 3 * 3 * 8, "add": 3 * 8, "div": 1, "exp": 1},
    ),
    # Without statistics of its own it normalises by the batch's.
    Row(
        BatchNorm(False, False, training=True, tracked=False),
        [X],
        X,
        counts={"add": 4 * 2 * 6 * 9 * 7, "mul": 3 * 2 * 6 * 9 * 7, "div": 2 * 6, "exp": 6},
    ),
    # 2·4·3·5 scores of 8 products each, 2·4·3·6 outputs of 5 products each. A score: scaled, and a softmax.
    Row(
        Attention(),
        [(2, 4, 3, 8), (2, 4, 5, 8), (2, 4, 5, 6)],
        (2, 4, 3, 6),
        counts={
            "mac": 2 * 4 * 3 * 5 * 8 + 2 * 4 * 3 * 6 * 5,
            "mul": 2 * 4 * 3 * 5,
            "cmp": 2 * 4 * 3 * 5,
            "add": 2 * 2 * 4 * 3 * 5,
            "exp": 2 * 4 * 3 * 5,
            "div": 2 * 4 * 3 * 5,
        },
    ),
    # Four heads of queries share two of keys and values; each does the work of its own. A mask adds 1 a score.
    Row(
        Attention(masked=True),
        [(2, 4, 3, 8), (2, 2, 5, 8), (2, 2, 5, 8), (3, 5)],
        (2, 4, 3, 8),
        counts={
            "mac": 2 * (2 * 4 * 3 * 5 * 8),
            "mul": 2 * 4 * 3 * 5,
            "cmp": 2 * 4 * 3 * 5,
            "add": (2 + 1) * 2 * 4 * 3 * 5,
            "exp": 2 * 4 * 3 * 5,
            "div": 2 * 4 * 3 * 5,
        },
    ),
    # Six indices read six rows of ten, and of two rows no more than both.
    Row(Embedding(10, 4), [INDICES], (2, 3, 4), {"weight": (10, 4)}, fetched={"weight": (2 * 3, 4)}),
    Row(
        Embedding(2, 4, "float16"),
        [INDICES],
        TensorSpec((2, 3, 4), "float16"),
        {"weight": (2, 4)},
        fetched={"weight": (2, 4)},
    ),
    # x·sigmoid(x).
    Row(Elementwise("silu"), [(2, 5)], (2, 5), counts={"exp": 2 * 5, "add": 2 * 5, "div": 2 * 5, "mul": 2 * 5}),
    Row(Elementwise("lt", "bool"), [(2, 1), (5,)], TensorSpec((2, 5), "bool"), counts={"cmp": 2 * 5}),
    Row(Elementwise("lerp"), [(2, 5), (5,), (2, 1)], (2, 5), counts={"add": 2 * 2 * 5, "mul": 2 * 5}),
    # One slope a channel; what an index is looked for in does not widen the answer.
    Row(Elementwise("prelu"), [X, (6,)], X, counts={"cmp": 2 * 6 * 9 * 7, "mul": 2 * 6 * 9 * 7}),
    Row(Elementwise("isin", "bool"), [(2, 5), (3,)], TensorSpec((2, 5), "bool"), counts={"cmp": 2 * 5}),
    # A K-long reduction is K operations: each input is added once, each output divided once.
    Row(Reduce("mean", (2, -1)), [X], (2, 6), counts={"add": 2 * 6 * (9 * 7), "div": 2 * 6}),
    Row(
        Reduce("max", (-1,), keepdim=True, results=2),
        [X],
        (2, 6, 9, 1),
        counts={"cmp": 2 * 6 * 9 * 7},
        more=(TensorSpec((2, 6, 9, 1), "int64"),),
    ),
    # Sum, difference, sum of squares; square. Mean, variance, root.
    Row(Reduce("std"), [(3, 4)], (), counts={"add": 3 * 3 * 4, "mul": 3 * 4, "div": 2, "exp": 1}),
    Row(Layout("permute", ((2, 9, 7, 6),), (X,)), [X], (2, 9, 7, 6), is_view=True),
    Row(Layout("to", (X,), (X,), "float16", shares=False), [X], TensorSpec(X, "float16")),
    Row(Layout("split", ((2, 4), (2, 1)), ((2, 5),)), [(2, 5)], (2, 4), is_view=True, more=(TensorSpec((2, 1)),)),
    # Bilinear: four products and three sums an output.
    Row(
        Counted("interpolate_bilinear", ((1, 2, 4, 4),), ((1, 2, 2, 2),), (("mul", 4), ("add", 3))),
        [(1, 2, 2, 2)],
        (1, 2, 4, 4),
        counts={"mul": 4 * (1 * 2 * 4 * 4), "add": 3 * (1 * 2 * 4 * 4)},
    ),
    Row(Kept((3, 4)), [], (3, 4), {"value": (3, 4)}, is_view=True),
    Row(Kept((3, 4), "int64", learned=False), [], TensorSpec((3, 4), "int64"), is_view=True),
    Row(Unknown("fft_fft", (((2, 5), "complex64"),)), [(2, 5)], TensorSpec((2, 5), "complex64")),
    # Given in all: a sum of two products, and a number.
    Row(
        Custom(
            "mylib::scan",
            (((2, 5), "float32"), ((2,), "int64")),
            ((2, 5),),
            (("mac", ((("N", 2), ("L", 5)), (("N", 2), ("state", 3)))), ("cmp", ((("7", 7),),))),
        ),
        [(2, 5)],
        (2, 5),
        counts={"mac": 2 * 5 + 2 * 3, "cmp": 7},
        more=(TensorSpec((2,), "int64"),),
    ),
    # 5 steps of 2 sequences; a step multiplies 4 gates of 3 units with 4 inputs and 3 states. Of a unit: three
    # sigmoids and two tanh, c = f·c + i·g, h = o·tanh(c), the sum of both parts of 4 gates, and their two biases.
    Row(
        Recurrent("lstm", 3),
        [(5, 2, 4)],
        (5, 2, 3),
        {"weight_ih_l0": (12, 4), "weight_hh_l0": (12, 3), "bias_ih_l0": (12,), "bias_hh_l0": (12,)},
        {
            "mac": 5 * 2 * (4 * 3) * (4 + 3),
            "exp": 5 * 2 * 3 * (3 + 2),
            "add": 5 * 2 * 3 * (3 + 1 + 4 + 2 * 4),
            "div": 5 * 2 * 3 * 3,
            "mul": 5 * 2 * 3 * (2 + 1),
        },
        more=(TensorSpec((1, 2, 3)), TensorSpec((1, 2, 3))),
    ),
]
