"""Rules of quantised tensors: layers whose weights are kept packed in 8 bits, and changes of scale.

A change of scale multiplies by it, adds the zero point, rounds and clamps (mul 1, add 1, cmp 3); its way back
subtracts and multiplies.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from archlab.ir import TensorSpec
from archlab.ops import Recurrent
from archlab.pytorch.rules.common import counted
from archlab.pytorch.spy import NAMES

_Costs = dict[str, int]
_RESCALE: _Costs = {"mul": 1, "add": 1, "cmp": 3}


def _sum(*costs: _Costs) -> tuple[tuple[str, int], ...]:
    kinds = dict.fromkeys(kind for each in costs for kind in each)
    return tuple((kind, sum(each.get(kind, 0) for each in costs)) for kind in kinds)


def _unpacked(packed: Any) -> tuple[Any, Any]:
    with torch._C.DisableTorchFunction():
        weight, bias = packed.unpack()
    return weight, bias


def _linear(rescale: bool, relu: bool) -> Callable[..., Any]:
    """A linear layer; with scales of its own (`rescale`) it makes 8 bits, else floating numbers."""

    def rule(r: Any, input: Any, packed: Any, *_: Any, **__: Any) -> Any:
        weight, bias = _unpacked(packed)
        spec = r.spec(input)
        made = spec.reshaped((*spec.shape[:-1], weight.shape[0]))
        each = _sum({"mac": weight.shape[1]}, _after(bias, relu, rescale))
        return counted(r, "quantized_linear", [input, weight, bias], (made,), each)

    return rule


def _conv(rank: int, relu: bool) -> Callable[..., Any]:
    """A convolution."""

    def rule(r: Any, input: Any, packed: Any, *_: Any, **__: Any) -> Any:
        weight, bias = _unpacked(packed)
        spec, taps = r.spec(input), tuple(weight.shape[2:])
        with torch._C.DisableTorchFunction():
            options = [list(packed.stride()), list(packed.padding()), list(packed.dilation())]
        sides = []
        for size, k, s, p, d in zip(spec.shape[-rank:], taps, *(o[-rank:] for o in options), strict=True):
            sides.append((size + 2 * p - d * (k - 1) - 1) // s + 1)
        made = spec.reshaped((*spec.shape[:-rank][:-1], weight.shape[0], *sides))
        inner = weight.numel() // weight.shape[0]
        each = _sum({"mac": inner}, _after(bias, relu, True))
        return counted(r, f"quantized_conv{rank}d", [input, weight, bias], (made,), each)

    return rule


def _after(bias: Any, relu: bool, rescale: bool) -> _Costs:
    costs = dict(
        _sum({"add": 1} if bias is not None else {}, {"cmp": 1} if relu else {}, _RESCALE if rescale else {})
    )
    return costs


def _pointwise(name: str, costs: _Costs) -> Callable[..., Any]:
    def rule(r: Any, first: Any, *rest: Any, **_: Any) -> Any:
        others = [v for v in rest if isinstance(v, torch.Tensor)]
        spec = r.spec(first)
        shape = spec.shape
        for other in others:
            shape = tuple(map(max, zip(shape, r.spec(other).shape, strict=True)))
        return counted(r, f"quantized_{name}", [first, *others], (spec.reshaped(shape),), _sum(costs, _RESCALE))

    return rule


def _cat(r: Any, tensors: Any, dim: int = 0, *_: Any, **__: Any) -> Any:
    shape = list(r.spec(tensors[0]).shape)
    shape[dim] = sum(r.spec(t).shape[dim] for t in tensors)
    return counted(r, "quantized_cat", list(tensors), (r.spec(tensors[0]).reshaped(tuple(shape)),), _sum(_RESCALE))


def _quantise(r: Any, input: Any, scale: Any = None, zero_point: Any = None, dtype: Any = None, *rest: Any) -> Any:
    kind = next((v for v in (dtype, *rest) if isinstance(v, torch.dtype)), torch.quint8)
    return counted(r, "quantize", [input], (TensorSpec(r.spec(input).shape, NAMES[kind]),), _sum(_RESCALE))


def _dequantise(r: Any, input: Any, *_: Any) -> Any:
    spec = r.spec(input)
    if "q" not in spec.dtype:
        return input
    return counted(r, "dequantize", [input], (TensorSpec(spec.shape, "float32"),), (("add", 1), ("mul", 1)))


_POINTWISE: dict[str, _Costs] = {
    "add": {"add": 1},
    "add_relu": {"add": 1, "cmp": 1},
    "mul": {"mul": 1},
    "mul_relu": {"mul": 1, "cmp": 1},
    "add_scalar": {"add": 1},
    "mul_scalar": {"mul": 1},
    "hardswish": {"add": 1, "div": 1, "cmp": 2, "mul": 1},
    "sigmoid": {"exp": 1, "add": 1, "div": 1},
    "leaky_relu": {"cmp": 1, "mul": 1},
    "batch_norm2d": {"mul": 1, "add": 1},
}


def _recurrent(kind: str) -> Callable[..., Any]:
    """`quantized_lstm(input, states, weights, ...)`: the same products as in floating numbers, of packed weights."""

    def rule(
        r: Any,
        input: Any,
        states: Any,
        _weights: Any,
        bias: bool,
        layers: int,
        _dropout: float,
        _training: bool,
        bidirectional: bool,
        batch_first: bool = False,
        **_: Any,
    ) -> Any:
        if isinstance(_weights, (tuple, torch.Tensor)):  # packed: (rows, steps, states, weights, ...)
            raise r.unknown("a packed sequence in a quantised recurrent layer")
        hidden = states if isinstance(states, (list, tuple)) else [states]
        size = r.spec(hidden[0]).shape[-1]
        op = Recurrent(kind, size, int(layers), bool(bias), bool(batch_first), bool(bidirectional))
        spec = r.spec(input)
        outputs = op.outputs(spec)
        whole = tuple((name, int(formula)) for name, formula in op.arithmetic(outputs, spec).items())
        return counted(r, f"quantized_{kind}", [input, *hidden], outputs, (), whole)

    return rule


RULES: dict[str, Callable[..., Any]] = {
    "quantized_lstm": _recurrent("lstm"),
    "quantized_gru": _recurrent("gru"),
    **{f"quantized::{name}": _pointwise(name, costs) for name, costs in _POINTWISE.items()},
    **{f"quantized::conv{rank}d": _conv(rank, False) for rank in (1, 2, 3)},
    **{f"quantized::conv{rank}d_relu": _conv(rank, True) for rank in (1, 2, 3)},
    "quantized::linear": _linear(True, False),
    "quantized::linear_relu": _linear(True, True),
    "quantized::linear_dynamic": _linear(False, False),
    "quantized::linear_relu_dynamic": _linear(False, True),
    "quantized::linear_dynamic_fp16": _linear(False, False),
    "quantized::cat": _cat,
    "quantize_per_tensor": _quantise,
    "quantize_per_channel": _quantise,
    "dequantize": _dequantise,
}
