"""`counts`: the operations that really run on the device, by torch's own counter at its dispatch, call by call."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from archlab.measurements import Counted, Counts
from archlab.profiles import Layer
from archlab.pytorch.counters import TORCH
from archlab.pytorch.measure.listening import Listening, aligned
from archlab.pytorch.measure.subject import Running
from archlab.pytorch.reasons import explain_together


class _Reading(NamedTuple):
    """How much was counted up to a moment, and how many operators had run."""

    flops: int
    operators: int


class _Operators(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Writes down which operators run."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(str(func._schema.name))
        return func(*args, **(kwargs or {}))


def counts(running: Running) -> Counts:
    """Return what torch counts while a model runs once on its device, beside our count of the same layers."""
    with _Operators() as ran, FlopCounterMode(display=False) as counter:
        listening = Listening(
            running.model, running.plan, lambda: _Reading(counter.get_total_flops(), len(ran.names))
        )
        heard, made = listening.run(running.args, running.kwargs)
        del made
        total = counter.get_total_flops()
    layers = {layer.name: layer for layer in running.profile.layers}
    alignment = aligned(running.plan, heard, lambda name: layers[name].cost.macs if name in layers else 0)
    flops = alignment.totals(heard, lambda start, end: end.flops - start.flops)
    found = []
    seen = 0
    for (unit, places), counted in zip(alignment.units, flops, strict=True):
        mine = tuple(layers[name] for name in unit.nodes if name in layers)
        operators = [name for place in places for name in ran.names[heard[place].start[1] : heard[place].end[1]]]
        seen += counted
        ours = sum(layer.cost.macs for layer in mine)
        reason = "" if ours == counted // 2 else _reason(mine, counted // 2, operators, running)
        found.append(Counted(unit.nodes, ours, counted // 2, reason))
    for name in alignment.unplaced:
        found.append(Counted((name,), layers[name].cost.macs, 0, "its call did not run as it was traced"))
    if total != seen:
        found.append(Counted((), 0, (total - seen) // 2, "ran where no layer of the trace is"))
    return Counts(total // 2, tuple(found))


def _reason(layers: Sequence[Layer], counted: int, operators: Sequence[str], running: Running) -> str:
    """Return why a count is not ours, or an empty string if no rule gives that very figure."""
    unknown = {name: times for name, times in Counter(operators).items() if name in WITHOUT_RULE}
    if not counted and unknown:
        return f"torch's counter has no rule for {' and '.join(unknown)}"
    told = explain_together(layers, TORCH, counted, {}, running.profile.graph)
    if told:
        return told
    assumed = [layer.node.assumed for layer in layers if layer.node.assumed]
    return f"our count assumes that {assumed[0]}" if assumed else ""


WITHOUT_RULE = frozenset({
    "aten::_native_multi_head_attention", "aten::_transformer_encoder_layer_fwd", "aten::lstm", "aten::gru",
    "aten::mkldnn_rnn_layer", "aten::_cudnn_rnn", "aten::_thnn_fused_lstm_cell", "aten::_thnn_fused_gru_cell",
    "aten::mv", "aten::dot", "aten::_scaled_dot_product_flash_attention_for_cpu", "aten::_trilinear",
    "aten::_weight_int8pack_mm", "aten::_addmm_activation", "aten::addbmm", "aten::addmv", "aten::vdot",
})  # fmt: skip
"""Operators that multiply and accumulate, and that torch's counter passes over in silence."""
