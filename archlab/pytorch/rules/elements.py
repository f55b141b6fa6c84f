"""Rules of elementwise functions and reductions: all answered from the tables of `ops.functions`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from archlab.ir import TensorSpec
from archlab.ops import GELU, Add, Mul, ReLU, Sigmoid, Softmax
from archlab.ops.functions import ELEMENTWISE, REDUCTIONS
from archlab.ops.general import Elementwise, Layout, Reduce
from archlab.pytorch.spy import DTYPES, NAMES

_PREDICATES = frozenset(
    [
        "eq",
        "ne",
        "not_equal",
        "lt",
        "less",
        "le",
        "less_equal",
        "gt",
        "greater",
        "ge",
        "greater_equal",
        "logical_and",
        "logical_or",
        "logical_xor",
        "logical_not",
        "isnan",
        "isinf",
        "isfinite",
        "isneginf",
        "isposinf",
        "signbit",
        "isin",
        "isclose",
    ]
)
_FLOATING = frozenset(
    [
        "div",
        "divide",
        "true_divide",
        "reciprocal",
        "__rdiv__",
        "__rtruediv__",
        "__div__",
        "exp",
        "exp2",
        "expm1",
        "log",
        "log2",
        "log10",
        "log1p",
        "sqrt",
        "rsqrt",
        "sin",
        "cos",
        "tan",
        "tanh",
        "asin",
        "acos",
        "atan",
        "sinh",
        "cosh",
        "erf",
        "erfc",
        "sigmoid",
        "lgamma",
        "atan2",
        "arctan2",
        "softmax",
        "log_softmax",
    ]
)
_OPERATORS = {
    "__radd__": "add",
    "__add__": "add",
    "__mul__": "mul",
    "__rmul__": "mul",
    "__sub__": "sub",
    "__truediv__": "div",
    "__floordiv__": "floor_divide",
    "__mod__": "remainder",
    "__pow__": "pow",
    "__neg__": "neg",
    "__abs__": "abs",
    "__eq__": "eq",
    "__ne__": "ne",
    "__lt__": "lt",
    "__le__": "le",
    "__gt__": "gt",
    "__ge__": "ge",
    "__pos__": "abs",
}


def _elementwise(name: str) -> Callable[..., Any]:
    plain = {"relu": ReLU(), "sigmoid": Sigmoid(), "gelu": GELU()}.get(name)
    pair = {"add": Add(), "mul": Mul(), "multiply": Mul()}.get(name)

    def rule(r: Any, *args: Any, **kwargs: Any) -> Any:
        values = (*args, *(v for k, v in kwargs.items() if k != "out"))
        tensors = [value for value in values if isinstance(value, Tensor)]
        specs = [r.spec(tensor) for tensor in tensors]
        if plain is not None and len(tensors) == 1:
            return r.record(name, plain, tensors)
        if pair is not None and len(tensors) == 2 and specs[0].dtype == specs[1].dtype and not kwargs:
            same = specs[0].shape == specs[1].shape
            return r.record(name, pair, tensors, outputs=(specs[0],) if same else None)
        dtype = _dtype(name, specs, values, kwargs)
        if name == "where" and specs[0].dtype == "bool" and len(specs) > 1:
            dtype = _dtype(name, specs[1:], values, kwargs)
        return r.record(name, Elementwise(name, "" if dtype == specs[0].dtype else dtype), tensors)

    return rule


def _dtype(name: str, specs: list[TensorSpec], values: Any, kwargs: Any) -> str:
    if isinstance(kwargs.get("dtype"), torch.dtype):
        return NAMES[kwargs["dtype"]]
    if name in _PREDICATES:
        return "bool"
    dtype = specs[0].dtype
    if len(specs) > 1:
        combined = torch.empty(specs[0].shape and (1,), dtype=DTYPES[dtype], device="meta")
        for other in specs[1:]:
            blank = torch.empty(other.shape and (1,), dtype=DTYPES[other.dtype], device="meta")
            combined = torch.empty(
                combined.shape or blank.shape, dtype=torch.result_type(combined, blank), device="meta"
            )
        dtype = NAMES[combined.dtype]
    floating = "float" in dtype or "complex" in dtype
    if not floating and (name in _FLOATING or any(type(v) is float for v in values)):
        return NAMES[torch.get_default_dtype()]
    if dtype == "bool" and any(type(v) is int for v in values):
        return "int64"
    return dtype


def _softmax(name: str) -> Callable[..., Any]:
    def rule(r: Any, input: Any, dim: Any = None, *_: Any, dtype: Any = None, **__: Any) -> Any:
        spec = r.spec(input)
        axis = -1 if dim is None else dim
        made = NAMES[dtype] if isinstance(dtype, torch.dtype) else spec.dtype
        if name == "log_softmax":
            if made != spec.dtype:  # as torch does it: the elements are cast first
                input = r.record("to", Layout("to", (spec.shape,), (spec.shape,), made, False), [input])
            return r.record(name, Softmax(axis, True), [input])
        if made == spec.dtype:
            return r.record(name, Softmax(axis), [input])
        return r.record(name, Elementwise(name, made if made != spec.dtype else ""), [input])

    return rule


def _reduction(name: str) -> Callable[..., Any]:
    integers = name in ("argmax", "argmin", "count_nonzero")

    def rule(r: Any, input: Any, *args: Any, **kwargs: Any) -> Any:
        spec = r.spec(input)
        if name in ("max", "min") and args and isinstance(args[0], Tensor):
            return r.record(name, Elementwise("maximum"), [input, args[0]])
        if name == "norm":
            args = args[1:]
        dims = kwargs.get("dim", kwargs.get("axis"))
        rest = list(args)
        if dims is None and rest and (rest[0] is None or type(rest[0]) in (int, tuple, list, torch.Size)):
            dims = rest.pop(0)
        if name in ("var", "std") and rest and type(rest[0]) is bool and len(rest) > 1:
            rest.pop(0)
        keep = bool(kwargs.get("keepdim", rest[0] if rest and type(rest[0]) is bool else False))
        if type(dims) is bool:
            dims = None
        axes = None if dims is None or dims in ((), []) else (dims,) if isinstance(dims, int) else tuple(dims)
        dtype = spec.dtype
        if isinstance(kwargs.get("dtype"), torch.dtype):
            dtype = NAMES[kwargs["dtype"]]
        elif name in ("any", "all"):
            dtype = "bool"
        elif integers or (name in ("sum", "prod") and "float" not in dtype and "complex" not in dtype):
            dtype = "int64"
        pairs = name in ("max", "min", "median", "nanmedian", "mode") and isinstance(dims, int)
        op = Reduce(name, axes, keep, "" if dtype == spec.dtype else dtype, 2 if pairs else 1)
        made = r.record(name, op, [input])
        return getattr(torch.return_types, name)(made) if pairs else made

    return rule


RULES: dict[str, Callable[..., Any]] = {name: _elementwise(name) for name in ELEMENTWISE}
RULES.update({alias: _elementwise(name) for alias, name in _OPERATORS.items()})
RULES.update({name: _reduction(name) for name in REDUCTIONS})
RULES.update({"softmax": _softmax("softmax"), "_softmax": _softmax("softmax")})
RULES.update({"log_softmax": _softmax("log_softmax"), "_log_softmax": _softmax("log_softmax")})
RULES.update({name: _softmax("softmax") for name in ("_safe_softmax", "special_softmax")})
RULES["special_log_softmax"] = RULES["log_softmax"]
_SAME = """digamma erf erfc erfinv exp2 expit expm1 gammaln log1p logit round sinc xlogy logsumexp"""
RULES.update({f"special_{name}": RULES["lgamma" if name == "gammaln" else name] for name in _SAME.split()})
RULES["linalg_vector_norm"] = lambda r, x, ord=2, dim=None, keepdim=False, **k: RULES["norm"](
    r, x, ord, dim, keepdim, **k
)
RULES["linalg_norm"] = RULES["linalg_vector_norm"]
RULES["log_sigmoid_forward"] = lambda r, x: (made := RULES["logsigmoid"](r, x), made)
RULES.update({"_is_all_true": RULES["all"], "_is_any_true": RULES["any"]})
