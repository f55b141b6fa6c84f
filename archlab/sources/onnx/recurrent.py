"""Rules of recurrent layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from archlab.errors import ReadError
from archlab.ir import Shape
from archlab.ops import (
    Recurrent,
)
from archlab.sources.onnx.common import (
    NotCoveredError,
    Rule,
    seen,
)
from archlab.sources.onnx.reading import Call, Reading
from archlab.sources.onnx.tensors import Value

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


RULES: Mapping[str, Rule] = {
    "LSTM": _recurrent,
    "GRU": _recurrent,
    "RNN": _recurrent,
}
"""The rule of each operator."""
