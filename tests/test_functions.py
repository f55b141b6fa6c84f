"""The table of elementwise functions and reductions: what the design lists, sums of parts, torch's own shapes."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from archlab.ir import OPERATION_CLASSES, TensorSpec
from archlab.ops import GELU, Add, Elementwise, Mul, Reduce, ReLU, Sigmoid, Softmax
from archlab.ops.functions import ALONG_A_DIMENSION, ELEMENTWISE, LIKE_FIRST, PER_CHANNEL, REDUCTIONS

# Design, section 2, "Operations that are not MACs, per output element unless said".
LISTED = {
    "relu": {"cmp": 1},
    "softmax": {"cmp": 1, "add": 2, "exp": 1, "div": 1},
    "sigmoid": {"exp": 1, "add": 1, "div": 1},
    "silu": {"exp": 1, "add": 1, "div": 1, "mul": 1},
    "gelu": {"mul": 3, "add": 1, "exp": 1},
}

# What else takes more than one operation, as the formula that it is; a part may be an entry itself. A change of
# sign inside is free, as it is in the design's sigmoid 1/(1 + exp(-x)).
PARTS = {
    "relu": ["maximum"],
    "clamp": ["maximum", "minimum"],
    "clip": ["clamp"],
    "hardtanh": ["clamp"],
    "relu6": ["clamp"],
    "hardshrink": ["gt", "lt"],  # x if x > a or x < -a, else 0
    "softshrink": ["gt", "lt", "add"],  # x - a, x + a or 0
    "rsqrt": ["sqrt", "reciprocal"],
    "leaky_relu": ["gt", "mul"],
    "prelu": ["leaky_relu"],
    "rrelu": ["leaky_relu"],
    "sigmoid": ["exp", "add", "reciprocal"],
    "expit": ["sigmoid"],
    "silu": ["sigmoid", "mul"],
    "logsigmoid": ["exp", "add", "log"],  # -log(1 + exp(-x))
    "gelu": ["mul", "erf", "add", "mul", "mul"],  # x·(1 + erf(x·0.707))·0.5
    "elu": ["gt", "exp", "sub", "mul"],  # a·(exp(x) - 1)
    "celu": ["div", "elu"],  # a·(exp(x/a) - 1)
    "selu": ["elu", "mul"],
    "softplus": ["exp", "add", "log"],
    "mish": ["softplus", "tanh", "mul"],
    "hardsigmoid": ["add", "relu6", "div"],  # relu6(x + 3)/6
    "hardswish": ["hardsigmoid", "mul"],
    "softsign": ["abs", "add", "div"],
    "tanhshrink": ["tanh", "sub"],
    "lerp": ["sub", "mul", "add"],
    "addcmul": ["mul", "mul", "add"],
    "addcdiv": ["div", "mul", "add"],
    "logaddexp": ["exp", "exp", "add", "log"],
    "logaddexp2": ["exp2", "exp2", "add", "log2"],
    "hypot": ["square", "square", "add", "sqrt"],
    "ldexp": ["exp2", "mul"],
    "logit": ["sub", "div", "log"],  # log(x/(1 - x))
    "xlogy": ["log", "mul"],
    "sinc": ["mul", "sin", "div"],
    "dropout": ["lt", "mul"],
    "softmax": ["maximum", "sub", "exp", "add", "div"],
    "softmin": ["neg", "softmax"],
    "logcumsumexp": ["maximum", "exp", "add", "log"],
    "polar": ["cos", "sin", "mul", "mul"],
}


@pytest.mark.parametrize("name", LISTED)
def test_what_the_design_lists_is_as_it_says(name: str) -> None:
    assert ELEMENTWISE[name] == LISTED[name]


@pytest.mark.parametrize(
    ("op", "name"),
    [
        (ReLU(), "relu"),
        (Sigmoid(), "sigmoid"),
        (GELU(), "gelu"),
        (Softmax(), "softmax"),
        (Add(), "add"),
        (Mul(), "mul"),
    ],
    ids=repr,
)
def test_a_function_costs_as_much_as_the_layer_that_is_the_same(op: Any, name: str) -> None:
    assert ELEMENTWISE[name] == op.costs


@pytest.mark.parametrize("name", PARTS)
def test_a_function_costs_as_much_as_its_parts(name: str) -> None:
    parts: Counter[str] = Counter()
    for part in PARTS[name]:
        parts.update(ELEMENTWISE[part])
    assert ELEMENTWISE[name] == parts


def test_every_function_is_one_operation_or_has_parts() -> None:
    assert {name for name, costs in ELEMENTWISE.items() if sum(costs.values()) != 1} <= PARTS.keys()
    tables = [*ELEMENTWISE.values(), *(costs for pair in REDUCTIONS.values() for costs in pair)]
    assert all(costs.keys() <= set(OPERATION_CLASSES) for costs in tables)
    assert ELEMENTWISE.keys() >= ALONG_A_DIMENSION | PER_CHANNEL | LIKE_FIRST


def test_reductions_are_so_many_operations_as_they_are_long() -> None:
    """Each input is added, compared or multiplied once; a variance subtracts the mean and squares, too."""
    once = {"sum": "add", "mean": "add", "amax": "cmp", "argmin": "cmp", "prod": "mul"}
    assert {name: dict(REDUCTIONS[name][0]) for name in once} == {name: {kind: 1} for name, kind in once.items()}
    assert REDUCTIONS["mean"][1] == ELEMENTWISE["div"]
    for part in ("sum", "sub", "square", "sum"):
        costs = REDUCTIONS[part][0] if part == "sum" else ELEMENTWISE[part]
        assert all(REDUCTIONS["var"][0][kind] >= n for kind, n in costs.items())
    assert REDUCTIONS["var"] == ({"add": 1 + 1 + 1, "mul": 1}, {"div": 1 + 1})
    assert REDUCTIONS["std"][1] == {**REDUCTIONS["var"][1], **ELEMENTWISE["sqrt"]}
    assert REDUCTIONS["norm"] == ({"mul": 1, "add": 1}, ELEMENTWISE["sqrt"])


X, Y = (2, 3, 4), (3, 1)


def run(name: str) -> tuple[Any, list[Tensor]] | None:
    """Return what torch makes of three, two or one tensors, and these; None where it is called in another way."""
    places = (functional, torch, torch.special, Tensor)
    func = next(
        getattr(place, part) for place in places for part in [name.removeprefix("special_")] if hasattr(place, part)
    )
    real = [torch.rand(X) + 0.1, torch.rand(Y) + 0.1, torch.rand(4) + 0.1]
    whole = [torch.ones(shape, dtype=torch.int64) for shape in (X, Y, (4,))]
    first = {"prelu": [real[0], torch.rand(3)], "where": [real[0] > 0.5, real[1], real[2]]}
    for tensors in [first[name]] if name in first else [real, whole]:
        for count in (1,) if name in ALONG_A_DIMENSION else (3, 2, 1):
            for extra in ((1,),) if name in ALONG_A_DIMENSION else ((), (1,), (0.5, 0.5)):
                try:
                    return func(*tensors[:count], *extra), tensors[:count]
                except (TypeError, RuntimeError, ValueError, IndexError):
                    continue
    return None


PUBLIC = [name for name in ELEMENTWISE if not name.startswith("__")]


@pytest.mark.parametrize("name", PUBLIC)
def test_a_function_makes_one_tensor_of_the_shape_that_torch_makes(name: str) -> None:
    found = run(name)
    if found is None:
        assert name == "masked_fill"  # the method of a tensor alone, with a mask
        return
    made, given = found
    assert isinstance(made, Tensor)
    specs = [TensorSpec(tuple(x.shape), str(x.dtype).removeprefix("torch.")) for x in given]
    assert Elementwise(name).infer(*specs).shape == made.shape


@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize("dim", [0, -1, (0, 2), None])
@pytest.mark.parametrize("name", REDUCTIONS)
def test_a_reduction_makes_the_shape_that_torch_makes(name: str, dim: Any, keepdim: bool) -> None:
    options = {} if dim is None else {"dim": dim, "keepdim": keepdim}
    try:
        made = getattr(torch, name)(torch.rand(X), **options)
    except TypeError:
        try:
            made = getattr(torch, name)(
                torch.rand(X), **{key: value for key, value in options.items() if key == "dim"}
            )
            keepdim = False
        except TypeError:
            return  # torch has no such reduction: over several dimensions, or over all without naming them
    values = made if isinstance(made, Tensor) else made[0]
    if name == "mode" and dim is None:
        dim, keepdim = -1, False  # the only one that takes the last, not all
    op = Reduce(name, dim if dim is None or isinstance(dim, tuple) else (dim,), keepdim and dim is not None)
    assert op.infer(TensorSpec(X))[0].shape == values.shape
    assert math.prod(values.shape) > 0
