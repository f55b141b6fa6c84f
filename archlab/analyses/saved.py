"""What torch's autograd keeps of an operation until its backward pass ran, and what that pass makes: a rule an op.

They are those of eager mode on the CPU. An op that has none is taken to keep all it reads and makes, and is said.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from archlab.ir import Node, TensorSpec
from archlab.ops import (
    CONVOLUTIONS,
    GELU,
    AdaptiveAvgPool2d,
    Add,
    Attention,
    AvgPool2d,
    BatchNorm,
    Concat,
    Dropout,
    Elementwise,
    Embedding,
    Flatten,
    GlobalAvgPool2d,
    GroupNorm,
    LayerNorm,
    Layout,
    Linear,
    LocalResponseNorm,
    MatMul,
    MaxPool2d,
    Mul,
    Reduce,
    ReLU,
    Reshape,
    Sigmoid,
    Softmax,
)
from archlab.ops.windows import SAME_UPPER


class Site(NamedTuple):
    """A node where it runs: what it reads and makes, which operands need a gradient, whether it writes in place."""

    node: Node
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    needs: frozenset[int | str]
    in_place: bool = False

    @property
    def op(self) -> Any:
        """What it computes."""
        return self.node.op


class Saved(NamedTuple):
    """What stays until the backward pass of an operation: inputs and outputs by place, and what else it made.

    `extra` says what that is, and its bytes. A rule that is not `known` is an assumption.

    `gradient` is how the gradients come about. ``new``: a tensor for each operand. ``same``: the gradient that
    arrives, handed on (summed where the operand was broadcast). ``view``: a view of it. ``parts``: a view of a
    part for each operand. ``spread``: one number for many. ``norm``: see `training_memory`. ``padded``: new,
    of an input of `padded` bytes, the padding of which is then cut off.
    """

    inputs: tuple[int, ...] = ()
    outputs: tuple[int, ...] = ()
    extra: tuple[tuple[str, int], ...] = ()
    gradient: str = "new"
    padded: int = 0
    known: bool = True


Rule = Callable[[Site], Saved]

_NOTHING = Saved()
_INPUT, _OUTPUT = Saved(inputs=(0,)), Saved(outputs=(0,))
FLOAT = 4
"""Bytes of a statistic: norms keep them as float32 at least."""


def saved(site: Site) -> Saved:
    """Return what autograd keeps of an operation that takes part in the backward pass."""
    rule = _BY_OP.get(type(site.op))
    found = rule(site) if rule is not None else None
    return found or Saved(tuple(range(len(site.inputs))), tuple(range(len(site.outputs))), known=False)


def padded(site: Site) -> int:
    """Return the bytes of the padded copy that a TensorFlow-like window makes of its input, 0 where it needs none."""
    if site.op.padding != SAME_UPPER:
        return 0
    n, c, height, width = site.inputs[0].shape
    (top, bottom), (left, right) = site.op.pads(height, width)
    most = [k // 2 for k in site.op.kernel] if isinstance(site.op, MaxPool2d) else [height, width]
    if top == bottom and left == right and top <= most[0] and left <= most[1]:
        return 0
    return site.inputs[0].reshaped((n, c, height + top + bottom, width + left + right)).bytes


def _windows(site: Site, *extra: tuple[str, int]) -> Saved:
    """It keeps its input, or the padded copy of that."""
    copy = padded(site)
    if copy:
        return Saved(extra=(("padded input", copy), *extra), gradient="padded", padded=copy)
    return Saved(inputs=(0,), extra=extra)


def _conv(site: Site) -> Saved:
    if len(site.inputs) > 1:  # weights that the forward pass computes
        return Saved(inputs=(0, 1))
    return _windows(site)


def _max_pool(site: Site) -> Saved:
    return _windows(site, ("places of the maxima", site.outputs[0].numel * 8))  # int64


def _each_other(site: Site) -> Saved:
    """The gradient of each of two factors is a product with the other."""
    kept = tuple(dict.fromkeys(1 - i for i in (0, 1) if i in site.needs))
    return Saved(inputs=kept)


def _matmul(site: Site) -> Saved:
    """Of stacks of matrices torch may make copies that lie otherwise; these are not followed."""
    return _each_other(site)._replace(known=max(len(x.shape) for x in site.inputs) <= 2)


def _linear(site: Site) -> Saved:
    return _INPUT if "weight" in site.needs else _NOTHING


def _statistics(groups: int) -> tuple[tuple[str, int], ...]:
    return ("mean", groups * FLOAT), ("deviation", groups * FLOAT)


def _batch_norm(site: Site) -> Saved:
    return Saved(inputs=(0,), extra=_statistics(site.inputs[0].shape[1]) if site.op.training else ())


def _layer_norm(site: Site) -> Saved:
    x = site.inputs[0]
    return Saved(inputs=(0,), extra=_statistics(x.reshaped(x.shape[: len(x.shape) - site.op.dims]).numel))


def _group_norm(site: Site) -> Saved:
    return Saved(inputs=(0,), extra=_statistics(site.inputs[0].shape[0] * site.op.groups))


def _response_norm(site: Site) -> Saved:
    """x / (k + α·mean of x²)^β: x, the padded squares, the sum and its power."""
    x = site.inputs[0]
    n, c, *rest = x.shape
    squares = x.reshaped((n, c + site.op.size - 1, *rest)).bytes
    return Saved(inputs=(0,), extra=(("squares", squares), ("sum", x.bytes), ("power", x.bytes)), gradient="norm")


def _dropout(site: Site) -> Saved:
    return Saved(extra=(("scale", site.outputs[0].bytes),))


def _attention(site: Site) -> Saved:
    *leading, length, _ = site.inputs[0].shape
    sums = site.inputs[0].reshaped((*leading, length)).numel * FLOAT
    return Saved(inputs=(0, 1, 2), outputs=(0,), extra=(("sums", sums),), known=len(site.inputs) == 3)


def _names(text: str, value: Rule) -> dict[str, Rule]:
    return dict.fromkeys(text.split(), value)


def _reads(site: Site) -> Saved:
    """It keeps its input; written in place, a copy of that."""
    return Saved(extra=(("copy of its input", site.inputs[0].bytes),)) if site.in_place else _INPUT


def _product(site: Site) -> Saved:
    return _NOTHING if len(site.inputs) == 1 else _each_other(site)


def _quotient(site: Site) -> Saved:
    if len(site.inputs) == 1:
        return _NOTHING
    return Saved(inputs=(0, 1) if 1 in site.needs else (1,))


_ELEMENTWISE: Mapping[str, Rule] = {
    **_names("add sub rsub subtract __rsub__", lambda site: Saved(gradient="same")),
    **_names("neg negative", lambda site: _NOTHING),
    **_names("mul multiply", _product),
    **_names("div divide true_divide", _quotient),
    **_names("silu hardswish hardsigmoid gelu mish softplus relu6 hardtanh", _reads),
    **_names("clamp clamp_min clamp_max abs log sin cos square", _reads),
    "pow": lambda site: _reads(site) if len(site.inputs) == 1 else Saved((0, 1), (0,), known=False),
    **_names("leaky_relu elu", lambda site: _OUTPUT if site.in_place else _INPUT),
    **_names("sigmoid tanh exp sqrt rsqrt reciprocal relu", lambda site: _OUTPUT),
    "masked_fill": lambda site: Saved(inputs=(1,) if len(site.inputs) > 1 else ()),
}
_REDUCTIONS: Mapping[str, Rule] = {
    "sum": lambda site: Saved(gradient="spread"),
    "mean": lambda site: _NOTHING,
    "var": _reads,
    **_names("std norm", lambda site: Saved(inputs=(0,), outputs=(0,))),
    **_names("max min", lambda site: Saved(outputs=(1,), known=len(site.outputs) == 2)),
}
# fmt: off
_TURNS = frozenset({"transpose", "permute", "t", "mT", "T", "swapaxes", "movedim"})
_VIEWS = _TURNS | {
    "view", "reshape", "flatten", "unsqueeze", "squeeze", "unflatten", "contiguous", "clone", "view_as",
}
_NEW = frozenset({
    "repeat", "chunk", "split", "unbind", "getitem", "select", "narrow", "slice", "tensor_split", "pad", "roll", "to",
    "float", "double", "half", "type",
})
# fmt: on


def turns(op: Any) -> bool:
    """Return whether an op gives its input's elements another order, so that they do not lie row by row."""
    return isinstance(op, Layout) and op.function in _TURNS


def keeps_order(op: Any) -> bool:
    """Return whether what an op makes lies in the order in which its input does."""
    return not isinstance(op, (Linear, LayerNorm, MatMul, Attention, Embedding, Reshape))


def _layout(site: Site) -> Saved | None:
    if site.op.function in _VIEWS:
        return Saved(gradient="view")
    if site.op.function == "index":
        return Saved(inputs=tuple(range(1, len(site.inputs))))
    if site.op.function == "expand":
        return Saved(gradient="same")
    return _NOTHING if site.op.function in _NEW else None


_BY_OP: Mapping[type, Callable[[Site], Saved | None]] = {
    **dict.fromkeys(CONVOLUTIONS, _conv),
    MaxPool2d: _max_pool,
    AvgPool2d: lambda site: _INPUT,
    AdaptiveAvgPool2d: lambda site: _NOTHING if site.op.output_size == (1, 1) else _INPUT,
    GlobalAvgPool2d: lambda site: _NOTHING,
    Linear: _linear,
    MatMul: _matmul,
    BatchNorm: _batch_norm,
    LayerNorm: _layer_norm,
    GroupNorm: _group_norm,
    LocalResponseNorm: _response_norm,
    ReLU: lambda site: _OUTPUT,
    Sigmoid: lambda site: _OUTPUT,
    Softmax: lambda site: _OUTPUT,
    GELU: _reads,
    Dropout: lambda site: Saved(gradient="same") if site.op.is_view else _dropout(site),
    Add: lambda site: Saved(gradient="same"),
    Mul: _each_other,
    Concat: lambda site: Saved(gradient="parts"),
    Flatten: lambda site: Saved(gradient="view"),
    Reshape: lambda site: Saved(gradient="view"),
    Attention: _attention,
    Embedding: lambda site: _INPUT,
    Elementwise: lambda site: _ELEMENTWISE[site.op.function](site) if site.op.function in _ELEMENTWISE else None,
    Reduce: lambda site: _REDUCTIONS[site.op.function](site) if site.op.function in _REDUCTIONS else None,
    Layout: _layout,
}
