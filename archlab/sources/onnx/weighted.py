"""Rules of operators with weights: convolutions, products, norms, recurrent layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from archlab.errors import ReadError
from archlab.ir import Shape, TensorSpec
from archlab.ops import (
    Add,
    BatchNorm,
    Conv1d,
    Conv2d,
    Conv3d,
    ConvTranspose1d,
    ConvTranspose2d,
    ConvTranspose3d,
    Counted,
    Elementwise,
    GroupNorm,
    LayerNorm,
    Layout,
    Linear,
    LocalResponseNorm,
    MatMul,
    Mul,
    Recurrent,
    RMSNorm,
)
from archlab.ops.windows import SAME_UPPER
from archlab.sources.onnx.reading import Call, Reading
from archlab.sources.onnx.tensors import Value

Rule = Callable[[Reading, Call], Sequence[Value]]
CONVOLUTIONS: Mapping[int, tuple[Any, Any]] = {
    1: (Conv1d, ConvTranspose1d),
    2: (Conv2d, ConvTranspose2d),
    3: (Conv3d, ConvTranspose3d),
}


class NotCoveredError(Exception):
    """No rule holds for these settings."""


def laid(r: Reading, call: Call, value: Value, shape: Shape, what: str, shares: bool = True, part: str = "") -> Value:
    """Return the elements of a tensor in another arrangement."""
    return r.one(call, Layout(what, (tuple(shape),), (value.spec.shape,), "", shares), [value], part)


def seen(r: Reading, call: Call, value: Value, shape: Shape, what: str) -> Value:
    """Return a view that a rule needs beside the op that it is about."""
    return laid(r, call, value, shape, what, True, what)


def each_axis(call: Call, name: str, rank: int, default: int) -> tuple[int, ...]:
    """Return a setting with a number for each axis."""
    values = call.integers(name) or (default,) * rank
    if len(values) != rank:
        raise ReadError(f"its {name} has {len(values)} numbers for {rank} axes")
    return values


def pads_of(call: Call, rank: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the padding in front of and behind each axis."""
    both = call.integers("pads") or (0,) * (2 * rank)
    if len(both) != 2 * rank:
        raise ReadError(f"its pads has {len(both)} numbers for {rank} axes, it needs two for each")
    return both[:rank], both[rank:]


def padded(r: Reading, call: Call, x: Value, before: Sequence[int], after: Sequence[int], part: str = "pad") -> Value:
    """Return a tensor with more positions around its last axes."""
    axes = zip(x.spec.shape[-len(before) :], before, after, strict=True)
    shape = (*x.spec.shape[: -len(before)], *(max(size + a + b, 0) for size, a, b in axes))
    return laid(r, call, x, shape, "pad", False, part)


def same_pads(call: Call, sizes: Sequence[int], spans: Sequence[int], strides: Sequence[int]) -> Any:
    """Return the padding in front and behind that `auto_pad` asks for, None if it asks for none."""
    kind = call.text("auto_pad", "NOTSET")
    if kind in ("NOTSET", "VALID", ""):
        return None
    totals = [
        max((-(-size // s) - 1) * s + k - size, 0) if s > 0 else 0
        for size, k, s in zip(sizes, spans, strides, strict=True)
    ]
    less, more = [t // 2 for t in totals], [t - t // 2 for t in totals]
    return (less, more) if kind == "SAME_UPPER" else (more, less)


def _conv(r: Reading, call: Call) -> list[Value]:
    x, weight, bias = call.input(0), call.input(1), call.optional(2)
    rank = len(x.spec.shape) - 2
    if rank not in CONVOLUTIONS or len(weight.spec.shape) != rank + 2:
        raise NotCoveredError
    kernel, strides = weight.spec.shape[2:], each_axis(call, "strides", rank, 1)
    dilations, groups = each_axis(call, "dilations", rank, 1), call.integer("group", 1)
    if weight.spec.shape[1] * groups != x.spec.shape[1]:
        raise ReadError(f"a weight {weight.spec} in {groups} groups does not read {x.spec}")
    before, after = pads_of(call, rank)
    spans = [d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True)]
    padding: Any = before
    same = same_pads(call, x.spec.shape[2:], spans, strides)
    if same is not None and call.text("auto_pad") == "SAME_UPPER" and rank == 2:
        padding = SAME_UPPER
    elif same is not None or before != after or min((*before, *after), default=0) < 0:
        before, after = same or (before, after)
        padding = tuple(before)
        if tuple(before) != tuple(after) or min(before) < 0:
            x, padding = padded(r, call, x, before, after), (0,) * rank
    kind = CONVOLUTIONS[rank][0]
    roles, computed = _roles(weight=weight, bias=bias)
    op = kind(weight.spec.shape[0], kernel, strides, padding, dilations, groups, bias is not None, tuple(computed))
    return r.emit(call, op, [x, *computed.values()], roles=roles)


def _roles(**given: Value | None) -> tuple[dict[str, Value], dict[str, Value]]:
    """Return the weights that the file keeps, and those that are computed, by their role."""
    there = {role: value for role, value in given.items() if value is not None}
    kept = {role: value for role, value in there.items() if value.key}
    return kept, {role: value for role, value in there.items() if not value.key}


def _conv_transpose(r: Reading, call: Call) -> list[Value]:
    x, weight, bias = call.input(0), call.input(1), call.optional(2)
    rank = len(x.spec.shape) - 2
    if rank not in CONVOLUTIONS or len(weight.spec.shape) != rank + 2:
        raise NotCoveredError
    kernel, strides = weight.spec.shape[2:], each_axis(call, "strides", rank, 1)
    dilations, groups = each_axis(call, "dilations", rank, 1), call.integer("group", 1)
    if weight.spec.shape[0] != x.spec.shape[1]:
        raise ReadError(f"a weight {weight.spec} does not read {x.spec}")
    before, after = pads_of(call, rank)
    extra = each_axis(call, "output_padding", rank, 0)
    asked = call.integers("output_shape")
    if asked is not None or call.text("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        asked = asked or tuple(size * s for size, s in zip(x.spec.shape[2:], strides, strict=True))
        return [_transposed_to(r, call, x, weight, bias, asked[-rank:], groups)]
    roles, computed = _roles(weight=weight, bias=bias)
    kind = CONVOLUTIONS[rank][1]
    channels = weight.spec.shape[1] * groups
    cut = tuple(min(pair) for pair in zip(before, after, strict=True))
    op = kind(channels, kernel, strides, cut, extra, dilations, groups, bias is not None, tuple(computed))
    made = r.one(call, op, [x, *computed.values()], roles=roles)
    rest = [b + a - 2 * c for b, a, c in zip(before, after, cut, strict=True)]
    if any(rest):
        made = padded(r, call, made, [-n for n in rest], [0] * rank)
    return [made]


def _transposed_to(
    r: Reading, call: Call, x: Value, weight: Value, bias: Value | None, sizes: Sequence[int], groups: int
) -> Value:
    """Count a transposed convolution to a given size, by its input: padding changes no product."""
    if min(sizes, default=0) < 0:
        raise ReadError(f"its output_shape is {tuple(sizes)}")
    channels = weight.spec.shape[1] * groups
    made = (x.spec.shape[0], channels, *sizes)
    taps = weight.spec.shape[1:]
    macs = x.spec.numel
    for tap in taps:
        macs *= tap
    given = [value for value in (x, weight, bias) if value is not None]
    each = (("add", 1),) if bias is not None else ()
    saw = tuple(value.spec.shape for value in given)
    return r.one(call, Counted("conv_transpose", (made,), saw, each, "", (("mac", macs),)), given)


def linear(r: Reading, call: Call, x: Value, weight: Value, bias: Value | None) -> Value:
    """Return x·weightᵀ + bias for a weight of (F_out, F_in) that the file keeps, maybe turned."""
    if x.spec.shape[-1:] != weight.spec.shape[1:]:
        raise ReadError(f"cannot multiply {x.spec} by a weight of {weight.spec}")
    inner = bias if bias is not None and bias.key and bias.spec.shape == weight.spec.shape[:1] else None
    made = r.one(call, Linear(weight.spec.shape[0], inner is not None), [x], weight=weight, bias=inner)
    return made if bias is inner else r.one(call, Add(), [made, bias], "bias")  # type: ignore[list-item]


def _is_matrix_of_a_layer(r: Reading, value: Value, operators: tuple[str, ...]) -> bool:
    """Return whether all that reads a kept matrix multiplies by it from the right."""
    return (
        bool(value.key)
        and value.learned
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
    if plain and turned and b.key and b.learned and b.ref is None:
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


def _batch_norm(r: Reading, call: Call) -> list[Value]:
    x, scale, shift = call.input(0), call.input(1), call.input(2)
    mean, variance = call.input(3), call.input(4)
    training = bool(call.integer("training_mode", 0))
    whole = all(value.key for value in (scale, shift, mean, variance))
    if not whole or not 2 <= len(x.spec.shape) <= 5:
        saw = (x.spec.shape,)
        return [r.one(call, Counted("batch_norm", saw, saw, (("mul", 1), ("add", 1))), [x])]
    op = BatchNorm(True, True, call.number("epsilon", 1e-5), training)
    made = r.one(call, op, [x], weight=scale, bias=shift, running_mean=mean, running_var=variance)
    return [made, mean, variance]


def _affine(r: Reading, call: Call, made: Value, scale: Value | None, shift: Value | None) -> Value:
    if scale is not None:
        made = r.one(call, Mul(), [made, scale], "scale")
    return made if shift is None else r.one(call, Add(), [made, shift], "shift")


def _layer_norm(r: Reading, call: Call) -> list[Value]:
    x, scale, shift = call.input(0), call.input(1), call.optional(2)
    rank = len(x.spec.shape)
    axis = call.integer("axis", -1)
    if not -rank <= axis < rank:
        raise ReadError(f"axis {axis} does not exist in {x.spec}")
    dims, eps = rank - axis % rank, call.number("epsilon", 1e-5)
    fits = all(v is None or (v.key and v.spec.shape == x.spec.shape[-dims:]) for v in (scale, shift))
    if fits:
        return [r.one(call, LayerNorm(dims, True, shift is not None, eps), [x], weight=scale, bias=shift)]
    return [_affine(r, call, r.one(call, LayerNorm(dims, False, False, eps), [x]), scale, shift)]


def _rms_norm(r: Reading, call: Call) -> list[Value]:
    x, scale = call.input(0), call.input(1)
    rank = len(x.spec.shape)
    axis = call.integer("axis", -1)
    if not -rank <= axis < rank:
        raise ReadError(f"axis {axis} does not exist in {x.spec}")
    dims, eps = rank - axis % rank, call.number("epsilon", 1e-5)
    if scale.key and scale.spec.shape == x.spec.shape[-dims:]:
        return [r.one(call, RMSNorm(dims, True, eps), [x], weight=scale)]
    return [_affine(r, call, r.one(call, RMSNorm(dims, False, eps), [x]), scale, None)]


def _group_norm(r: Reading, call: Call) -> list[Value]:
    x, scale, shift = call.input(0), call.input(1), call.input(2)
    instance = call.op == "InstanceNormalization"
    channels = x.spec.shape[1:2]
    groups, eps = (
        channels[0] if instance and channels else call.integer("num_groups", 1),
        call.number("epsilon", 1e-5),
    )
    if scale.key and shift.key and scale.spec.shape == shift.spec.shape == channels:
        return [r.one(call, GroupNorm(groups, eps=eps), [x], weight=scale, bias=shift)]
    made = r.one(call, GroupNorm(groups, False, False, eps), [x])
    # Before version 21 there is one number a group.
    each = [("scale", "mul", scale), ("shift", "add", shift)]
    for part, what, value in each:
        saw = (made.spec.shape, value.spec.shape)
        made = r.one(call, Counted(what, (made.spec.shape,), saw, ((what, 1),)), [made, value], part)
    return [made]


def _lrn(r: Reading, call: Call) -> list[Value]:
    alpha, beta, k = call.number("alpha", 1e-4), call.number("beta", 0.75), call.number("bias", 1.0)
    return [r.one(call, LocalResponseNorm(call.integer("size", 0), alpha, beta, k), [call.input(0)])]


_KINDS = {"LSTM": "lstm", "GRU": "gru"}
_USUAL = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"]}


def _recurrent(r: Reading, call: Call) -> list[Value]:
    """One layer, in one direction or both: Y is (L, directions, N, H), the states (directions, N, H)."""
    x, w, rec, bias = call.input(0), call.input(1), call.input(2), call.optional(3)
    lstm = call.op == "LSTM"
    first = [v for v in (call.optional(5), call.optional(6) if lstm else None) if v is not None]
    both = call.text("direction", "forward") == "bidirectional"
    directions = 1 + both
    functions = call.attributes.get("activations")
    kind = _KINDS.get(call.op, "rnn_tanh")
    if call.op == "RNN":
        usual = functions in (None, ("Tanh",) * directions, ("Relu",) * directions)
        kind = "rnn_relu" if functions == ("Relu",) * directions else kind
    else:
        usual = functions in (None, tuple(_USUAL[call.op] * directions))
    batch_first = bool(call.integer("layout", 0))
    peepholes = lstm and call.optional(7) is not None
    if not usual or peepholes or call.attributes.get("clip") or call.integer("input_forget", 0):
        raise NotCoveredError
    if len(x.spec.shape) != 3 or len(rec.spec.shape) != 3 or w.spec.shape[:1] != (directions,):
        raise ReadError(f"reads (L, N, C) and weights in {directions} direction(s), got {x.spec}, {w.spec}")
    tall, hidden = rec.spec.shape[1:]
    op = Recurrent(kind, hidden, 1, bias is not None, batch_first, both)
    shapes: dict[str, Shape] = {"weight_ih": (tall, w.spec.shape[2]), "weight_hh": (tall, hidden)}
    shapes |= {"bias_ih": (tall,), "bias_hh": (tall,)}
    whole = {"weight_ih": w, "weight_hh": rec, "bias_ih": bias, "bias_hh": bias}
    kept, computed = {}, {}
    for role in op.roles:
        part = role.partition("_l0")[0]
        value: Any = whole[part]
        if value.key:
            kept[role] = r.part(value, shapes[part], role)
        else:
            computed[role] = seen(r, call, value, shapes[part], role)
    op = Recurrent(kind, hidden, 1, bias is not None, batch_first, both, computed=tuple(computed))
    made, *states = r.emit(call, op, [x, *first, *computed.values()], roles=kept)
    a, n = x.spec.shape[:2]
    shape = (a, n, directions, hidden) if batch_first else (a, directions, n, hidden)
    outputs = [seen(r, call, made, shape, "directions")]
    for state in states:
        batch = state.spec.shape[1]
        outputs.append(seen(r, call, state, (batch, directions, hidden), "state") if batch_first else state)
    return outputs


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
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "MatMul": _matmul,
    "Gemm": _gemm,
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    "RMSNormalization": _rms_norm,
    "SimplifiedLayerNormalization": _rms_norm,
    "GroupNormalization": _group_norm,
    "InstanceNormalization": _group_norm,
    "LRN": _lrn,
    "LSTM": _recurrent,
    "GRU": _recurrent,
    "RNN": _recurrent,
    "ConvInteger": _quantised(1),
    "QLinearConv": _quantised(3),
    "MatMulInteger": _quantised(1),
    "QLinearMatMul": _quantised(3),
}
"""The rule of each operator."""
