"""How many operations of each class the elementwise functions and the reductions take.

Each entry is an identity that a reader can check: SiLU is a sigmoid (exp, add, div) and a product.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

_T = TypeVar("_T")
Costs = Mapping[str, int]

_SIGMOID = {"exp": 1, "add": 1, "div": 1}
_COMPARE = {"cmp": 1}
_TRANSCENDENTAL = {"exp": 1}
_ADD, _MUL, _DIV = {"add": 1}, {"mul": 1}, {"div": 1}


def _each(names: str, value: _T) -> dict[str, _T]:
    """Return the same for each of the names in a text."""
    return dict.fromkeys(names.split(), value)


ELEMENTWISE: Mapping[str, Costs] = {
    **_each("add sub rsub subtract __rsub__", _ADD),
    **_each("mul multiply neg negative square deg2rad rad2deg", _MUL),
    **_each(
        """div divide true_divide reciprocal remainder fmod floor_divide __rdiv__ __rtruediv__ __rfloordiv__
        __rmod__ __div__""",
        _DIV,
    ),
    **_each(
        """exp exp2 expm1 log log2 log10 log1p sqrt sin cos tan tanh asin acos atan sinh cosh asinh acosh
        atanh erf erfc erfinv lgamma digamma pow float_power atan2 arctan2 __rpow__ special_erf i0 arccos arccosh
        arcsin arcsinh arctan arctanh special_i1 special_i0e special_i1e special_ndtri special_log_ndtr
        special_bessel_j0 special_bessel_j1 special_gammainc special_gammaincc igamma igammac special_zeta""",
        _TRANSCENDENTAL,
    ),
    **_each(
        """relu abs absolute sign sgn threshold maximum minimum fmax fmin floor ceil round trunc fix frac eq
        ne not_equal lt less le less_equal gt greater ge greater_equal logical_and logical_or logical_xor
        logical_not bitwise_and bitwise_or bitwise_xor bitwise_not __and__ __or__ __xor__ __rand__ __ror__
        __rxor__ __invert__ isnan isinf isfinite isneginf isposinf where masked_fill nan_to_num heaviside
        clamp_min clamp_max signbit copysign isin isclose bitwise_left_shift bitwise_right_shift __lshift__
        __rshift__""",
        _COMPARE,
    ),
    **_each("clamp clip hardtanh relu6 hardshrink", {"cmp": 2}),
    "rsqrt": {"exp": 1, "div": 1},
    "leaky_relu": {"cmp": 1, "mul": 1},
    "prelu": {"cmp": 1, "mul": 1},
    "rrelu": {"cmp": 1, "mul": 1},
    "sigmoid": _SIGMOID,
    "expit": _SIGMOID,
    "silu": {**_SIGMOID, "mul": 1},
    "logsigmoid": {"exp": 2, "add": 1},
    "gelu": {"mul": 3, "add": 1, "exp": 1},
    "elu": {"cmp": 1, "exp": 1, "add": 1, "mul": 1},
    "celu": {"cmp": 1, "exp": 1, "add": 1, "mul": 1, "div": 1},
    "selu": {"cmp": 1, "exp": 1, "add": 1, "mul": 2},
    "softplus": {"exp": 2, "add": 1},
    "mish": {"exp": 3, "add": 1, "mul": 1},
    "hardsigmoid": {"add": 1, "div": 1, "cmp": 2},
    "hardswish": {"add": 1, "div": 1, "cmp": 2, "mul": 1},
    "softsign": {"cmp": 1, "add": 1, "div": 1},
    "tanhshrink": {"exp": 1, "add": 1},
    "softshrink": {"cmp": 2, "add": 1},
    "lerp": {"add": 2, "mul": 1},
    "addcmul": {"mul": 2, "add": 1},
    "addcdiv": {"div": 1, "mul": 1, "add": 1},
    "logaddexp": {"exp": 3, "add": 1},
    "logaddexp2": {"exp": 3, "add": 1},
    "hypot": {"mul": 2, "add": 1, "exp": 1},
    "ldexp": {"exp": 1, "mul": 1},
    "logit": {"exp": 1, "add": 1, "div": 1},
    "xlogy": {"exp": 1, "mul": 1},
    "sinc": {"exp": 1, "mul": 1, "div": 1},
    "dropout": {"cmp": 1, "mul": 1},
    "softmax": {"cmp": 1, "add": 2, "exp": 1, "div": 1},
    "softmin": {"cmp": 1, "add": 2, "exp": 1, "div": 1, "mul": 1},
    "cumsum": _ADD,
    "cumprod": _MUL,
    "logcumsumexp": {"exp": 2, "add": 1, "cmp": 1},
    "polar": {"exp": 2, "mul": 2},
    "angle": _TRANSCENDENTAL,
}
"""Operations per output element. Every one makes one tensor; see the two sets below for its shape."""

ALONG_A_DIMENSION = frozenset(("softmax", "softmin", "cumsum", "cumprod", "logcumsumexp"))
"""Those whose output at one place reads other places, too."""
PER_CHANNEL = frozenset(("prelu",))
"""Those whose further tensors hold one number a channel (dimension 1), or one for all."""
LIKE_FIRST = frozenset(("isin",))
"""Those whose output has the first tensor's shape, whatever the others have."""

REDUCTIONS: Mapping[str, tuple[Costs, Costs]] = {
    **_each("sum nansum", (_ADD, {})),
    **_each("mean nanmean", (_ADD, _DIV)),
    **_each(
        """max min amax amin argmax argmin any all median nanmedian mode count_nonzero""",
        (_COMPARE, {}),
    ),
    "prod": (_MUL, {}),
    "var": ({"add": 3, "mul": 1}, {"div": 2}),
    "std": ({"add": 3, "mul": 1}, {"div": 2, "exp": 1}),
    "norm": ({"mul": 1, "add": 1}, {"exp": 1}),
    "logsumexp": ({"cmp": 1, "exp": 1, "add": 2}, {"exp": 1, "add": 1}),
}
"""Operations per input element, and per output element."""
