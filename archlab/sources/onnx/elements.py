"""Rules of elementwise operators and reductions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from archlab.errors import ReadError
from archlab.ops import (
    GELU,
    Add,
    Counted,
    Dropout,
    Elementwise,
    Mul,
    Reduce,
    ReLU,
    Sigmoid,
    Softmax,
)
from archlab.sources.onnx.common import (
    Rule,
    indices_of,
)
from archlab.sources.onnx.reading import Call, Reading
from archlab.sources.onnx.tensors import Value, dtype_of

FUNCTIONS: Mapping[str, str] = {
    "Abs": "abs", "Acos": "acos", "Acosh": "acosh", "And": "logical_and", "Asin": "asin", "Asinh": "asinh",
    "Atan": "atan", "Atanh": "atanh", "BitShift": "bitwise_left_shift", "BitwiseAnd": "bitwise_and",
    "BitwiseNot": "bitwise_not", "BitwiseOr": "bitwise_or", "BitwiseXor": "bitwise_xor", "Ceil": "ceil",
    "Celu": "celu", "Cos": "cos", "Cosh": "cosh", "CumSum": "cumsum", "Div": "div", "Elu": "elu", "Equal": "eq",
    "Erf": "erf", "Exp": "exp", "Floor": "floor", "Greater": "gt", "GreaterOrEqual": "ge",
    "HardSigmoid": "hardsigmoid", "HardSwish": "hardswish", "IsInf": "isinf", "IsNaN": "isnan",
    "LeakyRelu": "leaky_relu", "Less": "lt", "LessOrEqual": "le", "Log": "log", "Max": "maximum",
    "Min": "minimum", "Mish": "mish", "Mod": "remainder", "Neg": "neg", "Not": "logical_not", "Or": "logical_or",
    "Pow": "pow", "Reciprocal": "reciprocal", "Round": "round", "Selu": "selu", "Shrink": "softshrink",
    "Sign": "sign", "Sin": "sin", "Sinh": "sinh", "Softplus": "softplus", "Softsign": "softsign", "Sqrt": "sqrt",
    "Sub": "sub", "Sum": "add", "Swish": "silu", "Tan": "tan", "Tanh": "tanh", "ThresholdedRelu": "threshold",
    "Where": "where", "Xor": "logical_xor",
}  # fmt: skip
"""Our name of each elementwise operator."""


_BOOL = frozenset(
    ("And", "Equal", "Greater", "GreaterOrEqual", "IsInf", "IsNaN", "Less", "LessOrEqual", "Not", "Or", "Xor")
)


_PLAIN = {"Relu": ReLU(), "Sigmoid": Sigmoid(), "Gelu": GELU(), "FastGelu": GELU(), "QuickGelu": GELU()}


_PAIRS = {"Add": Add(), "Mul": Mul()}


def is_scalar(value: Value) -> bool:
    """Return whether a tensor is one constant number, which an operator has as it has its settings."""
    return value.ref is None and not value.learned and value.spec.numel == 1


def _elementwise(r: Reading, call: Call) -> list[Value]:
    given = call.given[:1] if call.op in ("CumSum", "BitwiseNot") else call.given
    if not given:
        raise ReadError("reads nothing")
    tensors = [value for value in given if not is_scalar(value)] or given[:1]
    for value in given:
        r.elements(value if is_scalar(value) else None)
    dtype = "bool" if call.op in _BOOL else given[1 if call.op == "Where" and len(given) > 1 else 0].spec.dtype
    name = FUNCTIONS.get(call.op, call.op.lower())
    if call.op in _PLAIN and len(tensors) == 1:
        extra = [r.one(call, Add(), [tensors[0], *given[1:]], "bias")] if len(given) > 1 else tensors
        return [r.one(call, _PLAIN[call.op], extra)]
    if call.op in _PAIRS and len(tensors) == 2:
        return [_fused(r, call, tensors) or r.one(call, _PAIRS[call.op], tensors)]
    if call.op in ("Sum", "Max", "Min") and len(tensors) > 2:
        made = tensors[0]
        for other in tensors[1:]:
            made = r.one(call, Elementwise(name), [made, other])
        return [made]
    if call.op in ("Sum", "Max", "Min") and len(given) == 1:
        return given  # of one tensor they are itself
    return [r.one(call, Elementwise(name, "" if dtype == tensors[0].spec.dtype else dtype), tensors)]


def _fused(r: Reading, call: Call, tensors: Sequence[Value]) -> Value | None:
    """Return a linear layer with the bias that is added to its product, where nothing else reads that."""
    if call.op != "Add":
        return None
    for made, bias in (tensors, tensors[::-1]):
        fits = bias.ref is None and bias.learned and made.ref is not None and made.spec.shape
        if fits and bias.spec.shape == made.spec.shape[-1:]:
            return r.with_bias(made, bias)
    return None


def _clip(r: Reading, call: Call) -> list[Value]:
    """Two comparisons, one where it has one bound only."""
    x = call.input(0)
    low = call.optional(1) is not None or "min" in call.attributes
    high = call.optional(2) is not None or "max" in call.attributes
    for bound in call.inputs[1:]:
        r.elements(bound)
    if not low and not high:
        return [x]
    name = "clamp" if low and high else "clamp_min" if low else "clamp_max"
    return [r.one(call, Elementwise(name), [x])]


def _prelu(r: Reading, call: Call) -> list[Value]:
    x, slope = call.input(0), call.input(1)
    saw = (x.spec.shape, slope.spec.shape)
    slope.learned = slope.learned or bool(slope.key)
    return [r.one(call, Counted("prelu", (x.spec.shape,), saw, (("cmp", 1), ("mul", 1))), [x, slope])]


def _mean(r: Reading, call: Call) -> list[Value]:
    made = call.input(0)
    for other in call.given[1:]:
        made = r.one(call, Add(), [made, other], "sum")
    return [r.one(call, Elementwise("div"), [made])]


def _bias_gelu(r: Reading, call: Call) -> list[Value]:
    return [r.one(call, GELU(), [r.one(call, Add(), [call.input(0), call.input(1)], "bias")])]


def _softmax(r: Reading, call: Call) -> list[Value]:
    x = call.input(0)
    axis = call.integer("axis", -1 if call.version >= 13 else 1)
    rank = len(x.spec.shape)
    dim = axis - rank if 0 < axis == rank - 1 else axis
    return [r.one(call, Softmax(dim, call.op == "LogSoftmax"), [x])]


def _dropout(r: Reading, call: Call) -> list[Value]:
    mode = r.elements(call.optional(2))
    ratio = r.elements(call.optional(1))
    p = call.number("ratio", 0.5) if ratio is None or ratio.size != 1 else float(ratio.reshape(-1)[0])
    made = r.one(call, Dropout(p, bool(mode is not None and mode.size == 1 and mode.reshape(-1)[0])), [call.input(0)])
    return [made, indices_of(r, call, made, made.spec.shape, "bool")] if len(call.outputs) > 1 else [made]


REDUCTIONS: Mapping[str, tuple[str, str]] = {
    "ReduceMean": ("", "mean"), "ReduceSum": ("", "sum"), "ReduceMax": ("", "amax"), "ReduceMin": ("", "amin"),
    "ReduceProd": ("", "prod"), "ReduceL2": ("", "norm"), "ReduceL1": ("abs", "sum"),
    "ReduceLogSum": ("", "sum"), "ReduceLogSumExp": ("", "logsumexp"), "ReduceSumSquare": ("square", "sum"),
}  # fmt: skip
"""What is done to each element first, and our name of what sums them up."""


def _reduce(r: Reading, call: Call) -> list[Value]:
    x, given = call.input(0), call.optional(1)
    axes: Any = call.integers("axes")
    if given is not None:
        axes = tuple(r.integers(given, "which axes it reduces"))
    if not axes and call.integer("noop_with_empty_axes", 0):
        return [x]
    each, name = REDUCTIONS[call.op]
    if each:
        x = r.one(call, Elementwise(each), [x], each)
    made = r.one(call, Reduce(name, axes or None, bool(call.integer("keepdims", 1))), [x])
    return [r.one(call, Elementwise("log"), [made], "log")] if call.op == "ReduceLogSum" else [made]


def _arg(r: Reading, call: Call) -> list[Value]:
    axis, keep = call.integer("axis", 0), bool(call.integer("keepdims", 1))
    return [r.one(call, Reduce(call.op.lower(), (axis,), keep, "int64"), [call.input(0)])]


def _quantise(r: Reading, call: Call) -> list[Value]:
    """A division (a product to come back) by the scale and the sum with the zero point, and rounding."""
    x = call.input(0)
    x.learned = x.learned or (bool(x.key) and len(x.spec.shape) > 0)
    back = call.op == "DequantizeLinear"
    zero = call.optional(2)
    dtype = call.input(1).spec.dtype if back else zero.spec.dtype if zero is not None else "uint8"
    if number := call.integer("output_dtype", 0):
        dtype = dtype_of(number, "its output")
    each = (("mul", 1), ("add", 1)) if back else (("div", 1), ("add", 1), ("cmp", 3))
    for constant in call.inputs[1:]:
        r.elements(constant)
    return [r.one(call, Counted(call.op, (x.spec.shape,), (x.spec.shape,), each, dtype), [x])]


RULES: Mapping[str, Rule] = {
    **dict.fromkeys([*FUNCTIONS, *_PLAIN, *_PAIRS], _elementwise),
    **dict.fromkeys(REDUCTIONS, _reduce),
    "ArgMax": _arg,
    "ArgMin": _arg,
    "BiasGelu": _bias_gelu,
    "Clip": _clip,
    "DequantizeLinear": _quantise,
    "Dropout": _dropout,
    "LogSoftmax": _softmax,
    "Mean": _mean,
    "PRelu": _prelu,
    "QuantizeLinear": _quantise,
    "Softmax": _softmax,
}
"""The rule of each operator."""
