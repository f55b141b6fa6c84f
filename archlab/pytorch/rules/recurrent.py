"""Rules of recurrent layers and cells, and of packed sequences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from archlab.ir import TensorSpec
from archlab.ops.general import Layout
from archlab.ops.recurrent import Recurrent
from archlab.pytorch.rules.common import counted, keep


def _recurrent(kind: str) -> Callable[..., Any]:
    """`lstm(input, states, weights, ...)`, or packed `lstm(rows, steps, states, weights, ...)`."""

    def rule(r: Any, input: Any, second: Any, third: Any, *rest: Any) -> Any:
        packed = isinstance(second, Tensor) and isinstance(third, (Tensor, tuple, list)) and _is_weights(rest[0])
        states, weights, rest = (third, rest[0], rest[1:]) if packed else (second, third, rest)
        bias, layers, _dropout, _training, bidirectional, *order = rest
        hidden = list(states) if isinstance(states, (list, tuple)) else [states]
        rows = [input, second] if packed else [input]
        projection = r.spec(hidden[0]).shape[-1] if len(hidden) == 2 else 0
        size = r.spec(hidden[-1]).shape[-1]
        op = Recurrent(
            kind,
            size,
            int(layers),
            bool(bias),
            bool(order and order[0]),
            bool(bidirectional),
            projection if projection != size else 0,
            packed,
        )
        keys, computed, named = {}, [], {}
        for role, tensor in zip(op.roles, weights, strict=True):
            key = r.parameter_key(tensor)
            if key is None:
                computed.append(tensor)
                named[role] = tensor
            else:
                keys[role] = key
        if computed:
            op = replace(op, computed=tuple(named))
        return r.record(kind, op, [*rows, *hidden, *computed], keys)

    return rule


def _is_weights(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) > 0 and isinstance(value[0], Tensor)


def _cell(kind: str) -> Callable[..., Any]:
    """One step of one layer, for a batch of rows."""

    def rule(r: Any, input: Any, states: Any, w_ih: Any, w_hh: Any, b_ih: Any = None, b_hh: Any = None) -> Any:
        hidden: Sequence[Any] = list(states) if isinstance(states, (list, tuple)) else [states]
        single = len(r.spec(input).shape) == 1
        spec = r.spec(hidden[0])
        op = Recurrent(kind, spec.shape[-1], bias=b_ih is not None)
        batch = () if single else (r.spec(input).shape[0],)
        sequence = r.spec(input).reshaped((1, *batch, r.spec(input).shape[-1]))
        inputs = [_seen(r, input, sequence)]
        inputs += [_seen(r, h, r.spec(h).reshaped((1, *batch, spec.shape[-1]))) for h in hidden]
        weights = [t for t in (w_ih, w_hh, b_ih, b_hh) if t is not None]
        keys, computed, roles = keep(r, **dict(zip(op.roles, weights, strict=True)))
        op = replace(op, computed=roles) if roles else op
        made = r.record(f"{kind}_cell", op, [*inputs, *computed], keys)
        outputs = [_seen(r, m, spec) for m in made[1:]]
        return tuple(outputs) if len(outputs) == 2 else outputs[0]

    return rule


def _seen(r: Any, tensor: Any, spec: TensorSpec) -> Any:
    """Return a tensor seen in another shape."""
    saw = r.spec(tensor).shape
    return r.record("view", Layout("view", (spec.shape,), (saw,), "", True), [tensor], outputs=(spec,))


def _pack(r: Any, input: Any, lengths: Any, batch_first: bool) -> Any:
    """Rows of all sequences, step by step, without the padding; and how many each step has."""
    value = r.traced(lengths).value
    if value is None:
        raise r.unknown("the lengths of packed sequences")
    spec = r.spec(input)
    with torch._C.DisableTorchFunction():
        longest = int(value.max())
        steps = torch.stack([(value > t).sum() for t in range(longest)])
    rows = spec.reshaped((int(value.sum()), *spec.shape[2:]))
    made = counted(r, "pack_padded_sequence", [input], (rows,), ())
    return made, r.constant(TensorSpec((longest,), "int64"), steps)


def _pad(r: Any, data: Any, batch_sizes: Any, batch_first: bool, value: float, total_length: int) -> Any:
    """The packed rows in a rectangle again; and how long each sequence is."""
    steps = r.traced(batch_sizes).value
    if steps is None:
        raise r.unknown("the lengths of packed sequences")
    spec = r.spec(data)
    with torch._C.DisableTorchFunction():
        lengths = torch.stack([(steps > b).sum() for b in range(int(steps[0]))])
    length = max(total_length, len(steps))
    both = (len(lengths), length) if batch_first else (length, len(lengths))
    made = counted(r, "pad_packed_sequence", [data], (spec.reshaped((*both, *spec.shape[1:])),), ())
    return made, r.constant(TensorSpec((len(lengths),), "int64"), lengths)


RULES: dict[str, Callable[..., Any]] = {
    **{kind: _recurrent(kind) for kind in ("lstm", "gru", "rnn_tanh", "rnn_relu")},
    **{f"{kind}_cell": _cell(kind) for kind in ("lstm", "gru", "rnn_tanh", "rnn_relu")},
    "_pack_padded_sequence": _pack,
    "_pad_packed_sequence": _pad,
}
