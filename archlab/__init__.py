"""archlab: what a neural network architecture costs, where, and why.

The public names are loaded on first use, so that importing archlab imports nothing heavy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "ArchlabError": "archlab.errors",
    "UsageError": "archlab.errors",
    "ShapeError": "archlab.errors",
    "TraceError": "archlab.errors",
    "ReadError": "archlab.errors",
    "OutputError": "archlab.errors",
    "GraphError": "archlab.errors",
    "AblationError": "archlab.errors",
    "Builder": "archlab.ir",
    "Comparison": "archlab.comparisons",
    "Cost": "archlab.cost",
    "Formula": "archlab.formula",
    "Graph": "archlab.ir",
    "Node": "archlab.ir",
    "Op": "archlab.ir",
    "Profile": "archlab.profiles",
    "TensorSpec": "archlab.ir",
    "compare": "archlab.api",
    "depth": "archlab.api",
    "evaluate": "archlab.api",
    "largest_batch": "archlab.api",
    "load": "archlab.api",
    "lower": "archlab.api",
    "measured_memory": "archlab.api",
    "peak_memory": "archlab.api",
    "profile": "archlab.api",
    "receptive_field": "archlab.api",
    "reconcile": "archlab.api",
    "rule": "archlab.registry",
    "select": "archlab.transform",
    "trace": "archlab.api",
    "training_memory": "archlab.api",
    "verify": "archlab.api",
}

__all__ = [
    "AblationError",
    "ArchlabError",
    "Builder",
    "Comparison",
    "Cost",
    "Formula",
    "Graph",
    "GraphError",
    "Node",
    "Op",
    "OutputError",
    "Profile",
    "ReadError",
    "ShapeError",
    "TensorSpec",
    "TraceError",
    "UsageError",
    "__version__",
    "compare",
    "depth",
    "evaluate",
    "largest_batch",
    "load",
    "lower",
    "measured_memory",
    "peak_memory",
    "profile",
    "receptive_field",
    "reconcile",
    "rule",
    "select",
    "trace",
    "training_memory",
    "verify",
]

if TYPE_CHECKING:
    from archlab.api import (
        compare,
        depth,
        evaluate,
        largest_batch,
        load,
        lower,
        measured_memory,
        peak_memory,
        profile,
        receptive_field,
        reconcile,
        trace,
        training_memory,
        verify,
    )
    from archlab.comparisons import Comparison
    from archlab.cost import Cost
    from archlab.errors import (
        AblationError,
        ArchlabError,
        GraphError,
        OutputError,
        ReadError,
        ShapeError,
        TraceError,
        UsageError,
    )
    from archlab.formula import Formula
    from archlab.ir import Builder, Graph, Node, Op, TensorSpec
    from archlab.profiles import Profile
    from archlab.registry import rule
    from archlab.transform import select


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'archlab' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
