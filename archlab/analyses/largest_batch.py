"""The largest batch whose predicted memory fits into a limit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from archlab.analyses.memory import peak_memory
from archlab.analyses.training_memory import training_memory
from archlab.errors import ShapeError, TraceError, UsageError
from archlab.ir import Graph

ALONE = "tensors"
"""The part of the memory that is alive at the peak, which alone grows with the batch."""


@dataclass(frozen=True)
class LargestBatch:
    """The largest batch that fits into `limit` bytes, 0 where none does.

    `parts` are the bytes of that batch (of `first`, the smallest one possible, where none fits) by what takes
    them, `more` what the next larger batch would take in all. `assumed` are the operations whose share is
    assumed, see `TrainingMemory`.
    """

    batch: int
    limit: int
    parts: Mapping[str, int]
    more: int
    mode: str
    optimiser: str
    first: int = 1
    assumed: tuple[str, ...] = ()

    @property
    def bytes(self) -> int:
        """All bytes that the batch takes."""
        return sum(self.parts.values())

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {**asdict(self), "parts": dict(self.parts), "bytes": self.bytes, "assumed": list(self.assumed)}


def needed(graph: Graph, mode: str, optimiser: str = "none") -> tuple[dict[str, int], tuple[str, ...]]:
    """Return the bytes that a graph takes, by what takes them, and the operations whose share is assumed."""
    if mode == "training":
        step = training_memory(graph)
        parts = {ALONE: step.bytes, "weights": step.weights, "buffers": step.buffers}
        state = step.state(optimiser)
        return ({**parts, f"state of {optimiser}": state} if state else parts), step.assumed
    graph = graph.in_mode(mode)
    parts = {ALONE: peak_memory(graph, mode).bytes, "weights": 0, "buffers": 0}
    for param in graph.params.values():
        parts["buffers" if param.buffer else "weights"] += param.spec.bytes
    return parts, ()


def largest_batch(
    make: Callable[[int], Graph], limit: int, mode: str = "inference", optimiser: str = "none"
) -> LargestBatch:
    """Return the largest batch whose tensors, weights, buffers and optimiser state fit into `limit` bytes.

    `make` gives the graph for a batch. The answer fits and one more does not; since memory grows with the
    batch, lines through what is known lead there in a few steps. Raises `UsageError` where the batch cannot
    be changed, where memory does not grow with it, or for an optimiser in inference.
    """
    if optimiser != "none" and mode != "training":
        raise UsageError(f"{optimiser} keeps a state in training alone, not in {mode}")
    known: dict[int, tuple[dict[str, int], tuple[str, ...]]] = {}

    def size(batch: int) -> int:
        if batch not in known:
            known[batch] = needed(make(batch), mode, optimiser)
        return sum(known[batch][0].values())

    first = _first(size)

    def result(batch: int, shown: int, more: int) -> LargestBatch:
        parts, assumed = known[shown]
        return LargestBatch(batch, limit, parts, more, mode, optimiser, first, assumed)

    if size(first) > limit:
        return result(0, first, size(first))
    if size(first + 1) == size(first):
        raise UsageError(f"{make(first).name}: its memory does not grow with its batch")
    if size(first + 1) > limit:
        return result(first, first, size(first + 1))
    low, high = _bounds(size, first + 1, limit)
    halve = False
    while high > low + 1:
        line = low + (limit - size(low)) * (high - low) // (size(high) - size(low))
        middle = (low + high) // 2 if halve else min(max(line, low + 1), high - 1)
        halve = not halve  # a line alone may creep where memory does not grow along one
        low, high = (middle, high) if size(middle) <= limit else (low, middle)
    return result(low, low, size(high))


def _first(size: Callable[[int], int]) -> int:
    """Return 1, or 2 where a single sample cannot run, such as one whose statistics are taken of one value."""
    for batch in (1, 2):
        try:
            size(batch)
            size(batch + 1)
        except (ShapeError, TraceError) as error:
            problem = error
        else:
            return batch
    raise UsageError(
        f"its batch cannot be changed: {problem}; a model that is named as a target is traced for each batch"
    )


def _bounds(size: Callable[[int], int], low: int, limit: int) -> tuple[int, int]:
    """Return a batch that fits and a larger one that does not; the batch `low` fits, and takes more than one less."""
    least, slope = 1, size(low) - size(low - 1)
    while True:
        high = low + max(least, (limit - size(low)) // max(slope, 1))
        if size(high) > limit:
            return low, high
        least = 2 * least if high == low + least else least
        slope, low = (size(high) - size(low)) // (high - low), high
