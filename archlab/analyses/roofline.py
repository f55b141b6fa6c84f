"""Roofline: the least time that a layer can take on a machine, by its arithmetic or by its memory traffic.

After Williams, Waterman and Patterson, "Roofline: an insightful visual performance model for multicore
architectures", CACM 2009. A bound, never a prediction: what is fetched counts once, at the full bandwidth
of the memory that tensors lie in, and every operation at the machine's peak.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Any

from archlab.analyses.hardware import Hardware
from archlab.errors import UsageError, nearest
from archlab.ir.tensor import TensorSpec, is_complex, is_floating

if TYPE_CHECKING:
    from archlab.profiles import Layer, Profile

FAR = Fraction(1, 10)
"""A layer that attains less than this of its bound is held up by neither roof: by overhead."""
ROOFS = ("compute", "memory")
_ZERO = Fraction(0)
_REAL = {"complex32": "float16", "complex64": "float32", "complex128": "float64"}
_BYTE = ("int8", "uint8", "qint8", "quint8")


@dataclass(frozen=True)
class Bound:
    """The least seconds of some work: those of its arithmetic and of its traffic, of which the longer bounds it.

    `compute` is None where the machine has no rate for its type (`dtype`); `dtype` is empty without
    multiply-accumulates. `measured` are the seconds that it took, where somebody measured them.
    """

    compute: Fraction | None
    memory: Fraction
    dtype: str = ""
    measured: float | None = None

    @property
    def seconds(self) -> Fraction:
        """The lower bound of its time."""
        return max(self.compute or _ZERO, self.memory)

    @property
    def roof(self) -> str | None:
        """The roof that bounds it, ``compute`` or ``memory``; None for what computes and moves nothing."""
        if not self.seconds:
            return None
        return "compute" if self.compute is not None and self.compute >= self.memory else "memory"

    @property
    def attained(self) -> float | None:
        """The part of the bound's speed that it ran at, bound ÷ measured; None where nothing was measured.

        More than 1 means that caches served it, or that an algorithm needs fewer operations.
        """
        return float(self.seconds) / self.measured if self.measured else None

    @property
    def bound(self) -> str | None:
        """What holds it up: its roof, or ``overhead`` where a measurement shows that it is far below both."""
        attained = self.attained
        return "overhead" if self.roof and attained is not None and attained < FAR else self.roof

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data, in seconds."""
        compute = None if self.compute is None else float(self.compute)
        data = {"bound": self.bound, "bound_seconds": float(self.seconds)}
        data |= {"compute_seconds": compute, "memory_seconds": float(self.memory)}
        return data if self.measured is None else {**data, "attained": self.attained}


@dataclass(frozen=True)
class Roofline:
    """The bounds of a profile's layers on a machine, by name.

    `total` is their sum, layers one after another and unfused. `fused` is the bound of a machine that
    keeps everything but inputs, weights and outputs on the chip, and overlaps all that it does.
    """

    hardware: Hardware
    layers: Mapping[str, Bound]
    fused: Bound
    unknown: tuple[str, ...] = field(default=())
    rates: Mapping[str, tuple[str, int]] = field(default_factory=dict)

    @cached_property
    def total(self) -> Fraction:
        """Seconds of the layers one after another."""
        return self.seconds(self.layers)

    def seconds(self, names: Iterable[str]) -> Fraction:
        """Return the sum of the bounds of some layers."""
        return sum((self.layers[name].seconds for name in names), _ZERO)

    def attained(self, names: Iterable[str]) -> float | None:
        """Return the part of the bounds' speed that some layers ran at together, of those that were measured."""
        timed = [layer for name in names if (layer := self.layers[name]).measured]
        spent = sum(layer.measured or 0.0 for layer in timed)
        return float(sum((layer.seconds for layer in timed), _ZERO)) / spent if spent else None

    def bound(self, names: Iterable[str]) -> str | None:
        """Return what bounds most of the time of some layers; None where there is no time."""
        times: dict[str, Fraction] = {}
        for name in names:
            layer = self.layers[name]
            if layer.bound:
                times[layer.bound] = times.get(layer.bound, _ZERO) + layer.seconds
        return max(times, key=lambda roof: times[roof]) if times else None

    def into(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Return a profile's plain data with the machine, and the bounds in its layers and its total."""
        layers = [{**row, **self.layers[row["name"]].to_dict()} for row in data["layers"]]
        fused = {"fused_bound": self.fused.bound, "fused_bound_seconds": float(self.fused.seconds)}
        total = {**data["total"], "bound": self.bound(self.layers), "bound_seconds": float(self.total), **fused}
        return {**data, "hardware": self.hardware.to_dict(), "total": total, "layers": layers}


def roofline(profile: Profile, hardware: Hardware, seconds: Mapping[str, float] | None = None) -> Roofline:
    """Return the bounds of a profile's layers on a machine; `seconds` are those that layers took, by name.

    Multiply-accumulates run at the machine's rate for the type of the layer's weights, other operations at
    its rate for float32 vectors. One after the other where both rates are the same, so that the same
    units do both; else at the same time, of which the longer counts. The backward pass of a profile that
    counts it has its arithmetic in the bound, its traffic is not counted. Raises `UsageError` for seconds of
    a layer that there is not.
    """
    measured = dict(seconds or {})
    for name in measured:
        if name not in profile.names:
            raise UsageError(
                f"{profile.subject} has no layer {name!r}{nearest(name, profile.names)}, yet it took time"
            )
    bounds: dict[str, Bound] = {}
    products: dict[str, int] = {}
    others = 0
    for layer in profile.layers:
        dtype = _dtype(profile, layer) if layer.cost.macs else ""
        products[dtype] = products.get(dtype, 0) + 2 * layer.cost.macs
        rest = layer.cost.flops - 2 * layer.cost.macs
        others += rest
        compute = _compute(hardware, {dtype: 2 * layer.cost.macs}, rest)
        memory = Fraction(layer.cost.bytes_moved, hardware.bandwidth)
        bounds[layer.name] = Bound(compute, memory, dtype, measured.get(layer.name))
    used = {dtype: found for dtype in products if dtype and (found := hardware.rate(dtype))}
    unknown = tuple(dtype for dtype in products if dtype and dtype not in used)
    known = {dtype: count for dtype, count in products.items() if dtype not in unknown}
    traffic = Fraction(min(_least_traffic(profile), profile.total.bytes_moved), hardware.bandwidth)
    return Roofline(hardware, bounds, Bound(_compute(hardware, known, others), traffic), unknown, used)


def _compute(hardware: Hardware, products: Mapping[str, int], others: int) -> Fraction | None:
    """Return the least seconds of FLOPs of multiply-accumulates by type, and of other FLOPs; None without a rate."""
    apart = _ZERO
    together = Fraction(others, hardware.elementwise)
    for dtype, flops in products.items():
        if flops:
            found = hardware.rate(dtype)
            if found is None:
                return None
            time = Fraction(flops, found[1])
            if found[1] == hardware.elementwise:
                together += time
            else:
                apart += time
    return max(apart, together)


def _dtype(profile: Profile, layer: Layer) -> str:
    """Return the type that a layer multiplies in: its weights' or inputs', the real one of complex numbers."""
    params = profile.graph.params
    kept = [params[key] for key in layer.node.weights.values()]
    found = [param.spec.dtype for param in kept if not param.buffer] + [spec.dtype for spec in layer.inputs]
    if any(dtype.startswith("q") for dtype in found):
        return "int8"
    floating = [dtype for dtype in found if is_floating(dtype)]
    dtype = floating[0] if floating else found[0] if found else layer.outputs[0].dtype
    if is_complex(dtype):
        return _REAL[dtype]
    return "int8" if dtype in _BYTE else "float8" if dtype.startswith("float8") else dtype


def _least_traffic(profile: Profile) -> int:
    """Return the bytes of the inputs, of what is fetched of the weights, each once, and of the outputs."""
    graph = profile.graph
    kept = {node.name for node in graph.nodes if node.op.is_kept}
    fetched: dict[str, int] = {}
    for layer in profile.layers:
        op, weights = layer.node.op, layer.node.weights.items()
        reads: list[tuple[str, str | int, TensorSpec]] = [
            (key, role, graph.params[key].spec)
            for role, key in weights
            if not (op.is_kept or graph.params[key].buffer)  # what is kept moves when it is read
        ]
        sources = zip(layer.node.inputs, layer.inputs, strict=True)
        reads += [(ref[0], place, spec) for place, (ref, spec) in enumerate(sources) if ref[0] in kept]
        for key, role, spec in reads:
            fetched[key] = min(fetched.get(key, 0) + op.fetched(role, spec, *layer.inputs).bytes, spec.bytes)
    inputs = sum(spec.bytes for spec in profile.input.values())
    outputs = sum(graph.specs[name][index].bytes for name, index in dict.fromkeys(graph.outputs))
    return inputs + sum(fetched.values()) + outputs
