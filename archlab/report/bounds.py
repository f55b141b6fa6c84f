"""What a roofline adds to a profile: the columns of its bounds, and the machine that they are for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from archlab.analyses.hardware import TF32
from archlab.analyses.roofline import ROOFS, Roofline
from archlab.cost import Cost
from archlab.profiles import Profile
from archlab.report.columns import COSTS, Figure
from archlab.report.numbers import in_bytes, in_rate, in_seconds
from archlab.report.table import Block, Column, Heading, Table, Text

DEFAULT = ("macs", "flops", "bytes_moved", "intensity", "bound", "bound_seconds", "bound_share")
"""The columns of a profile with bounds."""
_WHAT = (
    "A bound, not a prediction: every operation at the machine's peak rate, and what a layer reads and writes once, "
    "at the full bandwidth of its memory. Caches and algorithms with fewer operations can beat it."
)


def bound_figures(roofline: Roofline) -> dict[str, Figure]:
    """Return the columns of a profile's bounds on one machine; the attained part where layers were measured."""
    intensity = replace(COSTS["intensity"].column, title="intensity\nFLOP/B", unit="", importance=8)
    seconds = Column("time at\nleast", "seconds", key="bound_seconds")

    def share(layers: Sequence[str], _: Cost) -> float:
        return float(roofline.seconds(layers) / roofline.total) if roofline.total else 0.0

    figures = {
        "intensity": Figure(intensity, lambda _, cost: cost.intensity),
        "bound": Figure(Column("bound by", key="bound"), lambda layers, _: roofline.bound(layers)),
        "bound_seconds": Figure(seconds, lambda layers, _: float(roofline.seconds(layers))),
        "bound_share": Figure(Column("share\nof it", "share", importance=8, key="bound_share"), share),
    }
    if any(layer.measured is not None for layer in roofline.layers.values()):
        column = Column("attained", "share", importance=8, key="attained")
        figures["attained"] = Figure(column, lambda layers, _: roofline.attained(layers))
    return figures


def bound_blocks(profile: Profile, roofline: Roofline) -> tuple[Block, ...]:
    """Return the machine's roofs, the bounds of the whole, and what they rest on."""
    return Heading(f"Bounds on {roofline.hardware.title}"), *_machine(profile, roofline)


def _machine(profile: Profile, roofline: Roofline) -> tuple[Block, ...]:
    machine, fused = roofline.hardware, roofline.fused
    rows: list[tuple[str, str, str]] = []
    for dtype, (known, rate) in roofline.rates.items():
        balance = machine.balance(dtype)
        stands = f", which has no rate: the one of {known} bounds it" if known != dtype else ""
        rows.append(
            (f"{dtype} products", in_rate(rate, "FLOP/s"), f"balance {float(balance or 0):.1f} FLOP/B{stands}")
        )
    same = "" if machine.vector else "no rate of its own: the highest peak bounds it"
    rows.append(("other operations", in_rate(machine.elementwise, "FLOP/s"), same))
    rows.append(("memory", in_rate(machine.bandwidth, "B/s"), _size(profile, roofline)))
    rows.append(("layers in turn", in_seconds(float(roofline.total)), f"at least, unfused: {_roofs(roofline)}"))
    held = "everything but inputs, weights and outputs stays on the chip"
    rows.append(("ideal fusion", in_seconds(float(fused.seconds)), f"at least, bound by {fused.bound}: {held}"))
    heads = (Column("roof", key="roof"), Column("", key="value"), Column("", key="note"))
    said = [Text(text) for text in (_WHAT, *_notes(profile, roofline))]
    return Table(heads, rows), *said


def _roofs(roofline: Roofline) -> str:
    parts = []
    for roof in (*ROOFS, "overhead"):
        names = [name for name, layer in roofline.layers.items() if layer.bound == roof]
        if names:
            part = float(roofline.seconds(names) / roofline.total)
            layers = "1 layer" if len(names) == 1 else f"{len(names)} layers"
            parts.append(f"{roof} bounds {layers}, {100 * part:.1f} %")
    return "; ".join(parts) or "nothing takes time"


def _size(profile: Profile, roofline: Roofline) -> str:
    size = roofline.hardware.memory
    if size is None:
        return ""
    needed = profile.total.weight_bytes + profile.peak_memory
    fits = "" if needed <= size else f"; weights and peak memory are {in_bytes(needed)}: they do not fit"
    return f"{in_rate(size, 'B')}{fits}"


def _notes(profile: Profile, roofline: Roofline) -> list[str]:
    machine = roofline.hardware
    notes = [f"Source: {machine.source}."]
    if machine.note:
        notes.append(f"{machine.note}.")
    if roofline.unknown:
        types = ", ".join(roofline.unknown)
        notes.append(
            f"No rate of {machine.title} is known for {types}: such products have the bound of memory alone."
        )
    if (
        "float32" in roofline.rates
        and "tfloat32" in machine.rates
        and machine.kind == "GPU"
        and TF32 not in machine.name
    ):
        notes.append(
            "Products of float32 are bounded by float32's own rate. torch convolves in TensorFloat-32 by default "
            f"where it can, which is faster: --hardware {machine.name}{TF32}"
        )
    if profile.backward:
        notes.append("The backward pass has its multiply-accumulates in the bound, not its memory traffic.")
    if machine.spread:
        most = max(machine.spread.values())
        notes.append(
            f"Measured rates are the best of several runs, whose interquartile range is up to {100 * most:.0f} %."
        )
    return notes
