"""Tools that count by module: thop hooks classes that it knows, torchinfo multiplies parameters by output sizes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import prod
from typing import Any

from archlab import ops
from archlab.analyses.conventions.seen import Seen, Use
from archlab.analyses.conventions.tally import Item
from archlab.ir import Call, Shape

Counted = tuple[int, str]
"""What a tool counts for one call, and what it counts there, in words."""
Counter = Callable[[Seen, int], Counted]

NN = "torch.nn.modules."


def thop(seen: Seen) -> Iterator[Item]:
    """thop's hooks: a call of a known class counts, whatever it computes; functions count nothing."""
    # A module in several parents is hooked once for each and added up once for each.
    yield from by_call(
        seen, THOP, lambda call: call.places**2, "no rule: thop hooks modules of classes that it knows"
    )


def by_call(
    seen: Seen, counters: Mapping[str, Counter], times: Callable[[Call], int], missing: str
) -> Iterator[Item]:
    """Yield the differences of a tool that has a rule for some classes of modules and counts nothing else.

    `times` tells how often it adds up a call; `missing` why it leaves out what no such module computes.
    """
    covered: set[str] = set()
    for place, call in enumerate(seen.calls):
        counter = counters.get(call.kind)
        if counter is None or any(seen.calls[p].kind in counters for p in seen.ancestors(call.parent)):
            continue
        count, reason = counter(seen, place)
        uses = seen.inside[place]
        covered.update(use.layer.name for use in uses)
        layer = seen.layer_of(place)
        ours = sum(use.macs for use in uses)
        if count != ours:
            yield Item(layer, count - ours, reason)
        if (often := times(call)) != 1:
            yield Item(
                layer, (often - 1) * count, f"{call.class_name} has {call.places} parents: counted {often} times"
            )
    for use in seen.uses:
        if use.macs and use.layer.name not in covered:
            yield Item(use.layer.name, -use.macs, f"{use.called}: {missing}")


def shape_in(seen: Seen, place: int) -> Shape:
    """The shape of the first tensor given to a call."""
    inputs = seen.calls[place].inputs
    return inputs[0][0] if inputs else ()


def shape_out(seen: Seen, place: int) -> Shape:
    """The shape of the first tensor returned by a call."""
    outputs = seen.calls[place].outputs
    return outputs[0][0] if outputs else ()


def op_of(seen: Seen, place: int, kind: Any) -> Any:
    """The op of a kind that a call runs, None if it runs none."""
    return next((use.op for use in seen.inside[place] if isinstance(use.op, kind)), None)


def main_use(seen: Seen, place: int, kind: Any) -> Use | None:
    """The first use in a call whose op is of a kind."""
    return next((use for use in seen.inside[place] if isinstance(use.op, kind)), None)


def _same(seen: Seen, place: int) -> Counted:
    return sum(use.macs for use in seen.inside[place]), ""


def _nothing(seen: Seen, place: int) -> Counted:
    return 0, "thop counts nothing for this class"


def _thop_conv(seen: Seen, place: int) -> Counted:
    op: Any = op_of(seen, place, ops.CONVOLUTIONS)
    read, made = shape_in(seen, place), shape_out(seen, place)
    if op is None:
        return _same(seen, place)
    macs = prod(made) * (read[1] // op.groups) * prod(op.kernel)
    return macs, "a transposed convolution by its output's size, its stride forgotten"


def _thop_norm(seen: Seen, place: int) -> Counted:
    affine = bool(seen.calls[place].parameters)
    times = 4 if affine else 2
    return times * prod(shape_in(seen, place)), f"{times} per element of a norm"


def _thop_softmax(seen: Seen, place: int) -> Counted:
    op: Any = op_of(seen, place, ops.Softmax)
    shape = shape_in(seen, place)
    features = shape[op.dim] if op is not None else shape[-1]
    return prod(shape) // features * (3 * features - 1), "exp, add and div of a softmax"


def _per_input(seen: Seen, place: int) -> Counted:
    return prod(shape_in(seen, place)), "1 per element of a PReLU"


def _thop_average(seen: Seen, place: int) -> Counted:
    return prod(shape_out(seen, place)), "1 per output element of an average pool"


def _thop_adaptive(seen: Seen, place: int) -> Counted:
    read, made = shape_in(seen, place), shape_out(seen, place)
    window = 1.0
    for a, b in zip(read[2:], made[2:], strict=True):
        window *= a / b
    return int((window + 1) * prod(made)), "an adaptive average pool: its mean window and 1 per output element"


_UPSAMPLE = {"linear": 5, "bilinear": 11, "bicubic": 259, "nearest": 1}


def _thop_upsample(seen: Seen, place: int) -> Counted:
    use = main_use(seen, place, ops.Counted)
    mode = getattr(use.op, "function", "").removeprefix("interpolate_") if use is not None else ""
    times = _UPSAMPLE.get(mode, 0)
    return times * prod(shape_out(seen, place)), f"{times} per output element of an upsampling"


def _thop_recurrent(gates: int, beside: int) -> Counter:
    """A gate sums input and state, adds 1 for its function and 2 for its biases; the update takes `beside`."""

    def count(seen: Seen, place: int) -> Counted:
        use = main_use(seen, place, ops.Recurrent)
        if use is None:
            return _same(seen, place)
        op: Any = use.op
        h = op.hidden
        macs = 0
        for layer in range(op.layers):
            wide = use.read.shape[-1] if layer == 0 else h * op.directions
            macs += op.directions * (gates * ((wide + h) * h + h + (2 * h if op.bias else 0)) + beside * h)
        steps = prod(use.read.shape[:-1])
        if op.packed:  # every sequence as long as the longest
            steps = use.layer.inputs[1].shape[0] * use.layer.inputs[2].shape[1]
        return steps * macs, f"elementwise work of a {op.kind}"

    return count


def classes(module: str, names: str, counter: Counter) -> dict[str, Counter]:
    """Return one counter for several classes of a module of torch.nn."""
    return {f"{NN}{module}.{name}": counter for name in names.split()}


THOP: Mapping[str, Counter] = {
    **classes("conv", "Conv1d Conv2d Conv3d ConvTranspose1d ConvTranspose2d ConvTranspose3d", _thop_conv),
    **classes("batchnorm", "BatchNorm1d BatchNorm2d BatchNorm3d SyncBatchNorm", _thop_norm),
    **classes("normalization", "LayerNorm", _thop_norm),
    **classes("instancenorm", "InstanceNorm1d InstanceNorm2d InstanceNorm3d", _thop_norm),
    **classes("activation", "PReLU", _per_input),
    **classes("activation", "Softmax", _thop_softmax),
    **classes("activation", "ReLU ReLU6 LeakyReLU", _nothing),
    **classes("padding", "ZeroPad2d", _nothing),
    **classes("pooling", "MaxPool1d MaxPool2d MaxPool3d", _nothing),
    **classes("pooling", "AdaptiveMaxPool1d AdaptiveMaxPool2d AdaptiveMaxPool3d", _nothing),
    **classes("pooling", "AvgPool1d AvgPool2d AvgPool3d", _thop_average),
    **classes("pooling", "AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveAvgPool3d", _thop_adaptive),
    **classes("linear", "Linear", _same),
    **classes("dropout", "Dropout", _nothing),
    **classes("upsampling", "Upsample UpsamplingBilinear2d UpsamplingNearest2d", _thop_upsample),
    **classes("rnn", "RNNCell RNN", _thop_recurrent(1, 0)),
    **classes("rnn", "GRUCell GRU", _thop_recurrent(3, 4)),
    **classes("rnn", "LSTMCell LSTM", _thop_recurrent(4, 4)),
    **classes("pixelshuffle", "PixelShuffle", _nothing),
}
"""thop 0.1.1 by exact class; Sequential, which it lists too, hands on to its children."""


def torchinfo(seen: Seen) -> Iterator[Item]:
    """Each leaf's parameters times the positions of its output (convolutions) or its first dimensions."""
    covered: set[str] = set()
    params = seen.profile.graph.params
    for place, call in enumerate(seen.calls):
        if not call.leaf:
            continue
        uses = seen.inside[place]
        covered.update(use.layer.name for use in uses)
        made = shape_out(seen, place)
        count = 0
        for name, key in call.parameters:
            size = params[key].spec.numel
            if name not in ("weight", "bias"):
                if "weight" in name or "bias" in name:
                    count += prod(made[:2]) * size
            elif "Conv" in call.class_name:
                count += prod(made[:1] + made[2:]) * size
            else:
                count += made[0] * size
        ours = sum(use.macs for use in uses)
        if count != ours:
            yield Item(seen.layer_of(place), count - ours, _torchinfo_reason(call, count, ours))
    for use in seen.uses:
        if use.macs and use.layer.name not in covered:
            yield Item(
                use.layer.name, -use.macs, f"{use.name}: outside of a module without children, so it is not counted"
            )


def _torchinfo_reason(call: Call, count: int, ours: int) -> str:
    if not ours:
        return f"the parameters of {call.class_name} for each sample"
    if not count:
        return f"{call.class_name}: it has no parameters of its own"
    if "Conv" in call.class_name:
        return "biases of convolutions, and transposed ones by their output's size"
    return f"{call.class_name}: parameters, its bias with them, times the first dimension alone"
