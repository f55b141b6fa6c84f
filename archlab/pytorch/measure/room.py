"""Whether a model fits into the memory of the CPU, before anything is put there.

An accelerator says itself that its memory has run out. A CPU often promises what it has not, and then ends
the process without a word.
"""

from __future__ import annotations

from contextlib import suppress

from archlab.analyses.memory import peak_memory
from archlab.errors import TraceError
from archlab.ir import Graph
from archlab.profiles import Profile
from archlab.pytorch.measure.settings import Settings


def check(profile: Profile, settings: Settings) -> None:
    """Raise `TraceError` where the weights of a model and its largest set of live tensors cannot fit.

    It names the layer at the peak, the batch, and the next one to try.
    """
    free = available(settings.device)
    graph = profile.graph
    weights = sum(param.spec.bytes for param in graph.params.values())
    peak = peak_memory(graph, profile.mode)
    if free is None or weights + peak.bytes <= free:
        return
    batch = batch_of(graph)
    needs = f"needs {_gb(weights)} for its weights and {_gb(peak.bytes)} for tensors, {_gb(free)} are free"
    raise TraceError(
        f"{profile.subject}: out of memory on {settings.device} in {peak.node} "
        f"{now(batch)}: it {needs}; {then(batch, weights, peak.bytes, free)}"
    )


def check_weights(graph: Graph, settings: Settings) -> None:
    """Raise `TraceError` where not even the weights of a model fit, in the type that it is built in."""
    free = available(settings.device)
    weights = sum(param.spec.bytes for param in graph.params.values())
    if free is not None and weights > free:
        raise TraceError(
            f"{graph.name}: out of memory on {settings.device}: its weights alone are {_gb(weights)}, "
            f"{_gb(free)} are free, so no batch fits; give a smaller configuration, such as with --arg"
        )


def now(batch: int | None) -> str:
    """Return in words what was run."""
    return f"with batch {batch}" if batch is not None else "with these inputs"


def then(batch: int | None, weights: int = 0, peak: int = 0, free: int = 0) -> str:
    """Return in words what to try next: half the batch, or the first half of a half that is predicted to fit."""
    if batch is None or batch == 1 or weights > free > 0:
        return "try a smaller input, or --dtype bf16"
    after = batch // 2
    while after > 1 and peak and weights + peak * after // batch > free:
        after //= 2
    return f"try --batch {after}"


def available(device: str) -> int | None:
    """Return how many bytes are free on the CPU, None where that is not known or for another device."""
    if not device.startswith("cpu"):
        return None
    with suppress(OSError, ValueError, IndexError), open("/proc/meminfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return None


def batch_of(graph: Graph) -> int | None:
    """Return the first dimension that all inputs have in common, None where they have not."""
    first = {spec.shape[0] if spec.shape else None for spec in graph.inputs.values()}
    return first.pop() if len(first) == 1 else None


def _gb(size: int) -> str:
    return f"{size / 1e9:,.1f} GB"
