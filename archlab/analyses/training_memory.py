"""Peak memory of a training step: what the forward pass leaves for the backward pass, and the gradients.

The step is the forward pass, the sum of each output that needs a gradient, and the backward pass from those,
as torch runs it in eager mode: in the reverse order of the forward pass, each operation letting go of what it
kept as it ends. Parameters, buffers and an optimiser's state are not in the peak; they are said beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from archlab.analyses.heap import KINDS, Alive
from archlab.analyses.step_backward import Step
from archlab.errors import UsageError, nearest
from archlab.ir import Graph

OPTIMISERS = {"none": 0, "sgd": 0, "momentum": 1, "adam": 2}
"""How many tensors an optimiser keeps for each trainable parameter."""


@dataclass(frozen=True)
class TrainingMemory:
    """The peak of a training step in bytes, where it is reached (`node`, `phase`), and what is alive there.

    `weights` are bytes of parameters, `buffers` of buffers, `trainable` of the parameters that are learned.
    `assumed` are the operations that have no rule: of those the peak assumes that they keep all they read and make.
    """

    bytes: int
    node: str
    phase: str
    alive: tuple[Alive, ...]
    weights: int
    trainable: int
    buffers: int
    assumed: tuple[str, ...] = ()

    def state(self, optimiser: str) -> int:
        """Return the bytes that an optimiser keeps between steps; raise `UsageError` for an unknown one."""
        if optimiser not in OPTIMISERS:
            known = ", ".join(OPTIMISERS)
            raise UsageError(f"unknown optimiser {optimiser!r}{nearest(optimiser, OPTIMISERS)} (known: {known})")
        return OPTIMISERS[optimiser] * self.trainable

    def whole(self, optimiser: str = "none") -> int:
        """Return all bytes of a step: the peak, parameters, buffers and an optimiser's state."""
        return self.bytes + self.weights + self.buffers + self.state(optimiser)

    def by_kind(self) -> dict[str, int]:
        """Return the bytes alive at the peak by what they are."""
        sums = dict.fromkeys(KINDS, 0)
        for item in self.alive:
            sums[item.kind] += item.bytes
        return {kind: size for kind, size in sums.items() if size}

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "mode": "training",
            "bytes": self.bytes,
            "node": self.node,
            "phase": self.phase,
            "alive": [{"tensor": item.name, "bytes": item.bytes, "kind": item.kind} for item in self.alive],
            "by_kind": self.by_kind(),
            "weights": self.weights,
            "buffers": self.buffers,
            "optimiser_state": {name: self.state(name) for name in OPTIMISERS},
            "assumed": list(self.assumed),
        }


def training_memory(graph: Graph) -> TrainingMemory:
    """Return the peak of live storages of a training step of a graph, and what else a step keeps.

    A traced graph should be traced in training: in inference Python lets go of other tensors.
    """
    step = Step(graph.in_mode("training"))
    step.forward()
    step.backward()
    params = step.graph.params.values()
    weights = [param for param in params if not param.buffer]
    return TrainingMemory(
        step.peak,
        step.place,
        step.phase,
        step.alive(),
        sum(param.spec.bytes for param in weights),
        sum(param.spec.bytes for param in weights if param.trainable),
        sum(param.spec.bytes for param in params if param.buffer),
        tuple(step.assumed),
    )
