"""Rules of matrix products, of floating and of 8-bit numbers."""

from __future__ import annotations

from collections.abc import Mapping

from archlab.errors import ReadError
from archlab.ir import Shape, TensorSpec, is_floating
from archlab.ops import (
    Add,
    Counted,
    Elementwise,
    Linear,
    MatMul,
)
from archlab.sources.onnx.common import (
    Rule,
    each_axis,
    pads_of,
    seen,
)
from archlab.sources.onnx.reading import Call, Reading
from archlab.sources.onnx.tensors import Value


def linear(r: Reading, call: Call, x: Value, weight: Value, bias: Value | None, part: str = "") -> Value:
    """Return x·weightᵀ + bias for a weight of (F_out, F_in) that the file keeps, maybe turned."""
    if x.spec.shape[-1:] != weight.spec.shape[1:]:
        raise ReadError(f"cannot multiply {x.spec} by a weight of {weight.spec}")
    inner = bias if bias is not None and bias.key and bias.spec.shape == weight.spec.shape[:1] else None
    op = Linear(weight.spec.shape[0], inner is not None)
    made = r.one(call, op, [x], part, weight=weight, bias=inner)
    return made if bias is inner else r.one(call, Add(), [made, bias], "bias")  # type: ignore[list-item]


def _is_matrix_of_a_layer(r: Reading, value: Value, operators: tuple[str, ...]) -> bool:
    """Return whether all that reads a kept matrix multiplies by it from the right."""
    return (
        bool(value.key)
        and is_floating(value.spec.dtype)
        and len(value.spec.shape) == 2
        and value.ref is None
        and all(op in operators and place == 1 for op, place in r.readers.get(value.key, []))
    )


def _matmul(r: Reading, call: Call) -> list[Value]:
    a, b = call.input(0), call.input(1)
    if b.turned is not None and a.spec.shape:
        return [linear(r, call, a, b.turned, None)]
    if _is_matrix_of_a_layer(r, b, ("MatMul",)) and a.spec.shape:
        return [linear(r, call, a, r.turned(b), None)]
    return [r.one(call, MatMul(), [a, b])]


def _gemm(r: Reading, call: Call) -> list[Value]:
    a, b, c = call.input(0), call.input(1), call.optional(2)
    alpha, beta = call.number("alpha", 1.0), call.number("beta", 1.0)
    if len(a.spec.shape) != 2 or len(b.spec.shape) != 2:
        raise ReadError(f"multiplies matrices, got {a.spec} and {b.spec}")
    if call.integer("transA", 0):
        a = seen(r, call, a, a.spec.shape[::-1], "transpose_a")
    turned = bool(call.integer("transB", 0))
    plain = alpha == beta == 1.0
    if plain and not turned and b.turned is not None:
        return [linear(r, call, a, b.turned, c)]
    if plain and turned and b.key and b.ref is None:
        return [linear(r, call, a, b, c)]
    if plain and not turned and _is_matrix_of_a_layer(r, b, ("Gemm", "MatMul")):
        return [linear(r, call, a, r.turned(b), c)]
    if turned:
        b = seen(r, call, b, b.spec.shape[::-1], "transpose_b")
    made = r.one(call, MatMul(), [a, b])
    if alpha != 1.0:
        made = r.one(call, Elementwise("mul"), [made], "alpha")
    if c is None or beta == 0.0:
        return [made]
    if beta != 1.0:
        c = r.one(call, Elementwise("mul"), [c], "beta")
    return [r.one(call, Add(), [made, c], "bias")]


def _quantised(transposed_at: int) -> Rule:
    """A convolution or product of 8-bit numbers: the same multiplications."""

    def rule(r: Reading, call: Call) -> list[Value]:
        x, weight = call.input(0), call.input(transposed_at)
        weight.learned = weight.learned or bool(weight.key)
        given = [x, weight]
        if call.op in ("QLinearConv", "ConvInteger"):
            rank = len(x.spec.shape) - 2
            kernel, (before, after) = weight.spec.shape[2:], pads_of(call, rank)
            strides, dilations = each_axis(call, "strides", rank, 1), each_axis(call, "dilations", rank, 1)
            if len(kernel) != rank or min((*strides, *dilations), default=1) < 1:
                raise ReadError(f"a weight {weight.spec} does not read {x.spec}")
            sizes = [
                (size + b + a - d * (k - 1) - 1) // s + 1
                for size, b, a, d, k, s in zip(
                    x.spec.shape[2:], before, after, dilations, kernel, strides, strict=True
                )
            ]
            made: Shape = (x.spec.shape[0], weight.spec.shape[0], *(max(size, 0) for size in sizes))
            inner = weight.spec.numel // max(weight.spec.shape[0], 1)
        else:
            made = MatMul().infer(TensorSpec(x.spec.shape), TensorSpec(weight.spec.shape)).shape
            inner = x.spec.shape[-1]
        dtype = "int32" if call.op.endswith("Integer") else x.spec.dtype
        op = Counted(call.op, (made,), tuple(v.spec.shape for v in given), (("mac", inner),), dtype)
        return [r.one(call, op, given)]

    return rule


RULES: Mapping[str, Rule] = {
    "MatMul": _matmul,
    "Gemm": _gemm,
    "ConvInteger": _quantised(1),
    "QLinearConv": _quantised(3),
    "MatMulInteger": _quantised(1),
    "QLinearMatMul": _quantised(3),
}
"""The rule of each operator."""
