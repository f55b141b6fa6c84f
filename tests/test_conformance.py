"""Conformance: what each op makes, keeps and counts, derived by hand.

Every op of `archlab.ops.ALL` has a row. Counts are written as products: outputs first, then what each
output element takes. The rules are those of design.md, section 2.
"""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from rows import Row, Shape, spec_of
from traced_rows import TRACED

from archlab.errors import ShapeError
from archlab.ir import OPERATION_CLASSES, Op, TensorSpec
from archlab.ops import (
    ALL,
    GELU,
    AdaptiveAvgPool2d,
    Add,
    AvgPool2d,
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
    LocalResponseNorm,
    MatMul,
    MaxPool2d,
    Mul,
    ReLU,
    Reshape,
    Sigmoid,
    Softmax,
)

X = (2, 6, 9, 7)  # N, C, H, W
STATISTICS: dict[str, Shape] = {"running_mean": (6,), "running_var": (6,), "num_batches_tracked": ()}

ROWS = [
    Row(Input((1, 3, 8, 8)), [], (1, 3, 8, 8), is_view=True),
    # H: (9 + 2·1 - 3)/2 + 1 = 5, W: (7 + 2·1 - 3)/2 + 1 = 4. Each output sums C_in·3·3 products; bias 1.
    Row(
        Conv2d(4, 3, stride=2, padding=1),
        [X],
        (2, 4, 5, 4),
        {"weight": (4, 6, 3, 3), "bias": (4,)},
        {"mac": 2 * 4 * 5 * 4 * (6 * 3 * 3), "add": 2 * 4 * 5 * 4},
    ),
    # 3 groups: each output reads 6/3 channels. H: 9 - 3 + 1, W: 7 - (2·(3 - 1) + 1) + 1 for the dilation.
    Row(
        Conv2d(3, (3, 3), dilation=(1, 2), groups=3, bias=False),
        [X],
        (2, 3, 7, 3),
        {"weight": (3, 2, 3, 3)},
        {"mac": 2 * 3 * 7 * 3 * (2 * 3 * 3)},
    ),
    # A name for "as many outputs as inputs": the 4×4 kernel needs 3 more positions, 1 in front, 2 behind.
    Row(
        Conv2d(1, 4, padding="same", bias=False),
        [X],
        (2, 1, 9, 7),
        {"weight": (1, 6, 4, 4)},
        {"mac": 2 * 1 * 9 * 7 * (6 * 4 * 4)},
    ),
    # TensorFlow's SAME: ⌈9/2⌉ = 5 and ⌈7/2⌉ = 4 outputs.
    Row(
        Conv2d(1, 3, 2, "same_upper", bias=False),
        [X],
        (2, 1, 5, 4),
        {"weight": (1, 6, 3, 3)},
        {"mac": 2 * 1 * 5 * 4 * (6 * 3 * 3)},
    ),
    # (9 - 1)·2 - 2·1 + 3 + 1 = 18, (7 - 1)·2 - 2·1 + 3 + 1 = 14. Each input is spread over (C_out/2)·3·3.
    Row(
        ConvTranspose2d(4, 3, stride=2, padding=1, output_padding=1, groups=2),
        [X],
        (2, 4, 18, 14),
        {"weight": (6, 2, 3, 3), "bias": (4,)},
        {"mac": 2 * 6 * 9 * 7 * (2 * 3 * 3), "add": 2 * 4 * 18 * 14},
    ),
    # (9 - 3)/2 + 1 = 4, (7 - 3)/2 + 1 = 3.
    Row(MaxPool2d(3, 2), [X], (2, 6, 4, 3), counts={"cmp": 2 * 6 * 4 * 3 * (3 * 3)}),
    # ⌈(9 - 2)/2⌉ + 1 = 5, ⌈(7 - 2)/2⌉ + 1 = 4: one window hangs over, and counts in full.
    Row(MaxPool2d(2, ceil_mode=True), [X], (2, 6, 5, 4), counts={"cmp": 2 * 6 * 5 * 4 * (2 * 2)}),
    # ⌈(9 + 2 - 2)/3⌉ + 1 = 4 windows, at 0, 3, 6, 9 of the padded input; one that would start in the padding
    # behind is dropped: that begins at 1 + 9 = 10, so 4 stay. Of W, ⌈(7 + 2 - 2)/3⌉ + 1 = 4, it begins at 8: 3 stay.
    Row(MaxPool2d(2, 3, 1, ceil_mode=True), [X], (2, 6, 4, 3), counts={"cmp": 2 * 6 * 4 * 3 * (2 * 2)}),
    # Adds every position of the window, padded ones too, and divides once.
    Row(
        AvgPool2d(3, 2, 1),
        [X],
        (2, 6, 5, 4),
        counts={"add": 2 * 6 * 5 * 4 * (3 * 3), "div": 2 * 6 * 5 * 4},
    ),
    Row(GlobalAvgPool2d(), [X], (2, 6, 1, 1), counts={"add": 2 * 6 * (9 * 7), "div": 2 * 6}),
    # Of 9 into 4: [0,3) [2,5) [4,7) [6,9), together 12. Of 7 into 3: [0,3) [2,5) [4,7), together 9.
    Row(
        AdaptiveAvgPool2d((4, 3)),
        [X],
        (2, 6, 4, 3),
        counts={"add": 2 * 6 * (12 * 9), "div": 2 * 6 * (4 * 3)},
    ),
    Row(
        Linear(5),
        [(2, 3, 4)],
        (2, 3, 5),
        {"weight": (5, 4), "bias": (5,)},
        {"mac": 2 * 3 * 5 * 4, "add": 2 * 3 * 5},
    ),
    Row(Linear(5, bias=False), [(4,)], (5,), {"weight": (5, 4)}, {"mac": 5 * 4}),
    # Two batches broadcast to (6, 5); each of the 6·5·2·4 outputs sums 3 products.
    Row(MatMul(), [(6, 1, 2, 3), (5, 3, 4)], (6, 5, 2, 4), counts={"mac": 6 * 5 * 2 * 4 * 3}),
    # A vector loses the dimension that it lacks.
    Row(MatMul(), [(5, 2, 3), (3,)], (5, 2), counts={"mac": 5 * 2 * 3}),
    # Inference: (x - mean)/std·gamma + beta is one scale and one shift, known beforehand.
    Row(
        BatchNorm(),
        [X],
        X,
        {"weight": (6,), "bias": (6,)},
        {"mul": 2 * 6 * 9 * 7, "add": 2 * 6 * 9 * 7},
        STATISTICS,
    ),
    # Training: sum, difference, sum of squares, shift; square, normalise, scale. Per channel two divisions
    # (mean, variance) and one root.
    Row(
        BatchNorm(scale=False, training=True),
        [X],
        X,
        {"bias": (6,)},
        {"add": 4 * 2 * 6 * 9 * 7, "mul": 3 * 2 * 6 * 9 * 7, "div": 2 * 6, "exp": 6},
        STATISTICS,
    ),
    # The same over the last dimension: 2·3 groups.
    Row(
        LayerNorm(),
        [(2, 3, 8)],
        (2, 3, 8),
        {"weight": (8,), "bias": (8,)},
        {"add": 4 * 2 * 3 * 8, "mul": 3 * 2 * 3 * 8, "div": 2 * 2 * 3, "exp": 2 * 3},
    ),
    # Over all dimensions: one group.
    Row(
        LayerNorm(dims=2, shift=False),
        [(3, 8)],
        (3, 8),
        {"weight": (3, 8)},
        {"add": 4 * 3 * 8, "mul": 3 * 3 * 8, "div": 2, "exp": 1},
    ),
    # x / (k + alpha·Σ x²)^beta over n = 5: mul: square, alpha; add: 5 squares, k; a power; a division.
    Row(
        LocalResponseNorm(5),
        [X],
        X,
        counts={
            "mul": 2 * 2 * 6 * 9 * 7,
            "add": (5 + 1) * 2 * 6 * 9 * 7,
            "exp": 2 * 6 * 9 * 7,
            "div": 2 * 6 * 9 * 7,
        },
    ),
    Row(ReLU(), [(2, 5)], (2, 5), counts={"cmp": 2 * 5}),
    # 1/2·x·(1 + erf(x/√2)): three products, one sum, one transcendental.
    Row(GELU(), [(2, 5)], (2, 5), counts={"mul": 3 * 2 * 5, "add": 2 * 5, "exp": 2 * 5}),
    # 1/(1 + exp(-x)).
    Row(Sigmoid(), [(2, 5)], (2, 5), counts={"exp": 2 * 5, "add": 2 * 5, "div": 2 * 5}),
    # Maximum, x - max, exp, sum, divide.
    Row(Softmax(), [(2, 5)], (2, 5), counts={"cmp": 2 * 5, "add": 2 * 2 * 5, "exp": 2 * 5, "div": 2 * 5}),
    # x - max - log Σ exp(x - max): the last difference stands for the quotient, and each of 2 rows takes a logarithm.
    Row(Softmax(1, log=True), [(2, 5)], (2, 5), counts={"cmp": 2 * 5, "add": 3 * 2 * 5, "exp": 2 * 5 + 2}),
    Row(Add(), [(2, 6, 9, 7), (6, 1, 1)], (2, 6, 9, 7), counts={"add": 2 * 6 * 9 * 7}),
    Row(Mul(), [(2, 1, 7), (6, 1)], (2, 6, 7), counts={"mul": 2 * 6 * 7}),
    Row(Concat(), [(2, 6, 9, 7), (2, 1, 9, 7)], (2, 6 + 1, 9, 7)),
    Row(Concat(-1), [(2, 3), (2, 4), (2, 5)], (2, 3 + 4 + 5)),
    Row(Flatten(), [X], (2, 6 * 9 * 7), is_view=True),
    Row(Reshape(("=0", 3, -1, "=3")), [X], (2, 3, (6 * 9) // 3, 7), is_view=True),
    # Inference hands its input through; training compares with p and scales.
    Row(Dropout(0.4), [(2, 5)], (2, 5), is_view=True),
    Row(Dropout(0.4, training=True), [(2, 5)], (2, 5), counts={"cmp": 2 * 5, "mul": 2 * 5}),
    *TRACED,
]


@pytest.mark.parametrize("row", ROWS, ids=repr)
def test_an_op_makes_keeps_and_counts_what_is_derived_by_hand(row: Row) -> None:
    inputs = tuple(map(spec_of, row.inputs))
    made = row.op.outputs(*inputs)
    assert made == (spec_of(row.output), *row.more)
    assert dict(row.op.weights(*inputs)) == row.weights
    read = {role: row.op.fetched(role, TensorSpec(shape), *inputs).shape for role, shape in row.weights.items()}
    assert read == (row.weights if row.fetched is None else row.fetched)
    assert {role: spec.shape for role, spec in row.op.buffers(*inputs).items()} == row.buffers
    assert {kind: f.value for kind, f in row.op.arithmetic(made, *inputs).items()} == row.counts
    assert row.op.is_view == row.is_view


@pytest.mark.parametrize("row", ROWS, ids=repr)
def test_an_op_counts_known_operations_and_says_its_rule_and_arity(row: Row) -> None:
    assert set(row.counts) <= set(OPERATION_CLASSES)
    assert row.op.reads in (None, len(row.inputs))
    assert row.op.reads is not None or len(row.inputs) >= row.op.at_least
    assert row.op.rule


def without_row(ops: Iterable[type[Op]]) -> list[str]:
    """Return the names of the ops that no row tries."""
    tried = {type(row.op) for row in ROWS}
    return [op.__name__ for op in ops if op not in tried]


def test_every_op_has_a_row() -> None:
    assert without_row(ALL) == []


def test_an_op_without_a_row_is_found() -> None:
    class Unheard(ReLU):
        pass

    assert without_row([*ALL, Unheard]) == ["Unheard"]


@pytest.mark.parametrize(
    ("op", "inputs", "message"),
    [
        (
            Conv2d(4, 3, computed=("weight",)),
            [X, (4, 6, 3, 2)],
            r"the computed weight is \(4, 6, 3, 2\), it needs \(4, 6",
        ),
        (ConvTranspose2d(4, 3, computed=("bias",)), [X, (5,)], r"the computed bias is \(5,\), it needs \(4,\)"),
        (
            Linear(5, computed=("weight",)),
            [(2, 4), (5, 4, 1)],
            r"the computed weight is \(5, 4, 1\), it needs \(5, 4\)",
        ),
    ],
)
def test_a_computed_weight_of_another_shape_is_refused(op: Op, inputs: list[Shape], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        op.outputs(*map(TensorSpec, inputs))


@pytest.mark.parametrize("computed", [("scale",), ("weight", "weight"), 5, ("bias",)])
def test_computed_names_weights_that_the_layer_has(computed: object) -> None:
    with pytest.raises(ShapeError, match=r"computed names some of \('weight',\), each once"):
        Conv2d(4, 3, bias=False, computed=computed)
