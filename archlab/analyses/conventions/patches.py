"""Tools that replace functions of torch while a model runs: calflops, and ptflops, which hooks modules, too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod
from typing import Any

from archlab import ops
from archlab.analyses.conventions.modules import (
    Counted,
    Counter,
    by_call,
    classes,
    main_use,
    op_of,
    shape_in,
    shape_out,
)
from archlab.analyses.conventions.operators import asks_for_weights, in_mha
from archlab.analyses.conventions.seen import Seen, Use
from archlab.analyses.conventions.tally import Item


def ptflops(seen: Seen) -> Iterator[Item]:
    """Hooks on known classes, divided by the batch, and 1 per element for functions that it replaces, whole."""
    batch = _batch(seen)
    items = list(by_call(seen, PTFLOPS, lambda call: call.places, "no rule: ptflops hooks classes that it knows"))
    yield from items
    hooked = sum(use.macs for use in seen.uses) + sum(item.count for item in items)
    if batch > 1:
        yield Item(seen.profile.subject, hooked // batch - hooked, f"divided by the batch of {batch}")
    for use in seen.uses:
        for count, reason in _replaced(seen, use):
            if count:
                yield Item(use.layer.name, count, reason)


def _batch(seen: Seen) -> int:
    given = seen.calls[0].inputs if seen.calls else ()
    return given[0][0][0] if given and given[0][0] else 1


def _replaced(seen: Seen, use: Use) -> Iterator[Counted]:
    """What it counts for functions of torch.nn.functional and torch, those that modules call included."""
    place, _, name = use.function.rpartition(".")
    if in_mha(use):
        if isinstance(use.op, ops.Attention) and asks_for_weights(seen, use):
            *rows, length, _width = use.made.shape
            scores = prod(rows) * length * use.layer.inputs[1].shape[-2]
            bias = scores if len(use.layer.inputs) > 3 else 0
            yield use.macs + bias + scores, "the products and the softmax inside of attention, once more"
        return
    # ReLU6 calls hardtanh, and a transformer layer keeps the function that it was made with.
    unseen = use.call >= 0 and seen.calls[use.call].class_name in _KEEPERS
    if (place == "functional" or name in _BUILTIN) and name in _FUNCTIONS and not unseen:
        yield use.read.numel, "1 per input element of a function of torch.nn.functional, in modules once more"
    elif isinstance(use.op, ops.LocalResponseNorm):
        padded = use.made.numel // use.made.shape[1] * (use.made.shape[1] + use.op.size - 1)
        yield 3 * use.made.numel + padded, "the products, the sum and the pool inside of a local response norm"
    elif name in ("interpolate", "upsample"):
        yield use.made.numel, "1 per output element of an interpolation, in modules once more"
    elif place == "torch" and name in ("mul", "add"):
        yield use.made.numel, f"1 per output element of torch.{name}"
    elif place == "torch" and name in ("matmul", "mm", "bmm", "addmm", "baddbmm") and isinstance(use.op, ops.MatMul):
        yield prod(use.read.shape) * use.layer.inputs[1].shape[-1], f"torch.{name}"
    elif name in ("addmm", "baddbmm") and not use.macs and len(use.layer.inputs) > 1:
        yield use.layer.inputs[1].numel, "1 per element of a bias"
    elif name in ("mm", "bmm", "addmm") and isinstance(use.op, ops.MatMul):
        yield use.macs, f"Tensor.{name}"


_KEEPERS = ("ReLU6", "TransformerEncoderLayer", "TransformerDecoderLayer")
_BUILTIN = ("avg_pool1d", "adaptive_avg_pool1d", "prelu")
"""Functions of torch that torch.nn.functional has under its own name, too."""
_FUNCTIONS = frozenset(
    [
        "relu", "prelu", "elu", "relu6", "gelu", "silu", "softmax", "avg_pool1d", "avg_pool2d", "avg_pool3d",
        "max_pool1d", "max_pool2d", "max_pool3d", "adaptive_avg_pool1d", "adaptive_avg_pool2d",
        "adaptive_avg_pool3d", "adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d",
    ]
)  # fmt: skip


def _conv(seen: Seen, place: int) -> Counted:
    op: Any = op_of(seen, place, ops.CONVOLUTIONS)
    macs = sum(use.macs for use in seen.inside[place])
    biased = prod(shape_out(seen, place)) if op is not None and op.bias else 0
    return macs + biased, "1 per output element for a bias"


def _linear(seen: Seen, place: int) -> Counted:
    macs = sum(use.macs for use in seen.inside[place])
    biased = any(name == "bias" for name, _ in seen.calls[place].parameters)
    return macs + biased * prod(shape_out(seen, place)), "1 per output element for a bias"


def _per_output(seen: Seen, place: int) -> Counted:
    return prod(shape_out(seen, place)), "1 per element of an activation module"


def _pool(seen: Seen, place: int) -> Counted:
    return prod(shape_in(seen, place)), "1 per input element of a pool module"


def _norm(times: int) -> Counter:
    def count(seen: Seen, place: int) -> Counted:
        each = times if seen.calls[place].parameters else 1
        return each * prod(shape_in(seen, place)), f"{each} per element of a norm"

    return count


def _upsample(seen: Seen, place: int) -> Counted:
    return prod(shape_out(seen, place)[1:]), "1 per output element of an upsampling module, of one sample"


def _recurrent(beside: int) -> Counter:
    """Weights, biases and `beside` per hidden unit, for each of the first two dimensions' entries."""

    def count(seen: Seen, place: int) -> Counted:
        use = main_use(seen, place, ops.Recurrent)
        if use is None:
            return 0, "no rule"
        op: Any = use.op
        gates, macs = {"gru": 3}.get(op.kind, 4 if op.kind == "lstm" else 1) * op.hidden, 0
        for layer in range(op.layers):
            wide = use.read.shape[-1] if layer == 0 else op.width * op.directions
            macs += gates * (wide + op.width) + beside * op.hidden + (2 * gates if op.bias else 0)
        steps = prod(shape_in(seen, place)[: 1 if "Cell" in seen.calls[place].kind else 2])
        return steps * op.directions * macs, f"elementwise work of a {op.kind}"

    return count


def _attention(seen: Seen, place: int) -> Counted:
    """Projections with biases, a scaling of the queries, both products, 1 per score, the output projection."""
    use = main_use(seen, place, ops.Attention)
    shapes = [shape for shape, _ in seen.calls[place].inputs[:3]]
    if use is None or len(shapes) < 3 or len(shapes[0]) != 3:
        return 0, "no rule for this use of MultiheadAttention"
    samples, heads, long, _ = use.read.shape
    q, k, v = (shape[-1] for shape in shapes)
    keys = prod(shapes[1][:-1]) // samples
    values = prod(shapes[2][:-1]) // samples
    biased = any(name == "in_proj_bias" for name, _ in seen.calls[place].parameters)
    count = long * q + long * q * q + keys * k * k + values * v * v + biased * (long + keys + values) * q
    count += heads * long * keys * (q // heads + 1 + v // heads)
    count += long * v * (v + 1)
    return samples * count, "biases, the scaling and the softmax of attention"


def _timm_attention(seen: Seen, place: int) -> Counted:
    use = main_use(seen, place, ops.Attention)
    if use is None:
        return 0, "no rule"
    samples, heads, long, width = use.read.shape
    count = long * width * heads + heads * (2 * long * long * width + long * long)
    return samples * count, "the projections are left out, since a module with a rule hides its children"


def _deformable(seen: Seen, place: int) -> Counted:
    use = next((use for use in seen.inside[place] if use.macs), None)
    op: Any = use.op if use is not None else None
    if use is None or op is None:
        return 0, "no rule"
    extra = 24 + (len(seen.calls[place].inputs) > 2)
    taps = dict(op.each)["mac"]
    weight = use.layer.inputs[1].shape if len(use.layer.inputs) > 1 else ()
    made = use.made
    kernel = prod(weight[2:]) if weight else taps
    count = kernel * extra * made.shape[0] * prod(made.shape[2:])
    biased = any(name == "bias" for name, _ in seen.calls[place].parameters)
    return (
        use.macs + count + biased * made.numel,
        f"{extra} per kernel position of a deformable convolution, and its bias",
    )


PTFLOPS: Mapping[str, Counter] = {
    **classes("conv", "Conv1d Conv2d Conv3d ConvTranspose1d ConvTranspose2d ConvTranspose3d", _conv),
    **classes("activation", "ReLU PReLU ELU LeakyReLU ReLU6 GELU", _per_output),
    **classes("pooling", "MaxPool1d MaxPool2d MaxPool3d AvgPool1d AvgPool2d AvgPool3d", _pool),
    **classes("pooling", "AdaptiveMaxPool1d AdaptiveMaxPool2d AdaptiveMaxPool3d", _pool),
    **classes("pooling", "AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveAvgPool3d", _pool),
    **classes("batchnorm", "BatchNorm1d BatchNorm2d BatchNorm3d", _norm(2)),
    **classes("instancenorm", "InstanceNorm1d InstanceNorm2d InstanceNorm3d", _norm(2)),
    **classes("normalization", "GroupNorm", _norm(2)),
    **classes("normalization", "LayerNorm", _norm(1)),
    **classes("linear", "Linear", _linear),
    **classes("upsampling", "Upsample", _upsample),
    **classes("rnn", "RNN RNNCell", _recurrent(1)),
    **classes("rnn", "GRU GRUCell", _recurrent(7)),
    **classes("rnn", "LSTM LSTMCell", _recurrent(10)),
    **classes("activation", "MultiheadAttention", _attention),
    "torchvision.ops.deform_conv.DeformConv2d": _deformable,
    "timm.layers.attention.Attention": _timm_attention,
}
"""ptflops 0.7.5 by exact class."""


def calflops(seen: Seen) -> Iterator[Item]:
    """The MACs of linear layers, convolutions and named products that a module calls; the rest is in its FLOPs."""
    for use in seen.uses:
        count = _calflops(use) if use.call >= 0 else 0
        if use.macs and count != use.macs:
            reason = f"{use.called}: not among the functions that calflops replaces"
            if count:
                reason = "a grouped transposed convolution, divided by its groups twice"
            yield Item(use.layer.name, count - use.macs, reason)
        often = seen.calls[use.call].places if count else 1
        if often != 1:
            yield Item(use.layer.name, (often - 1) * count, f"its module has {often} parents: counted {often} times")


def _calflops(use: Use) -> int:
    op: Any = use.op
    if isinstance(op, (ops.ConvTranspose1d, ops.ConvTranspose2d, ops.ConvTranspose3d)):
        channels = op.out_channels // op.groups // op.groups
        return int(prod(op.kernel) * use.read.shape[1] * channels * use.read.shape[0] * prod(use.read.shape[2:]))
    if isinstance(op, (ops.Linear, *ops.CONVOLUTIONS)):
        return use.macs
    if isinstance(op, ops.MatMul) and use.function in (
        "torch.matmul",
        "torch.addmm",
        "torch.baddbmm",
        "Tensor.addmm",
    ):
        return int(prod(use.read.shape) * use.layer.inputs[1].shape[-1])
    return 0
