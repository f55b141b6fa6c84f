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
    "MeasuredComparison": "archlab.measured_comparisons",
    "Measurement": "archlab.measurements",
    "Node": "archlab.ir",
    "Op": "archlab.ir",
    "Profile": "archlab.profiles",
    "TensorSpec": "archlab.ir",
    "compare": "archlab.api",
    "compare_measured": "archlab.measuring",
    "depth": "archlab.api",
    "evaluate": "archlab.api",
    "hardware": "archlab.api",
    "gradient_flow": "archlab.api",
    "load": "archlab.api",
    "lower": "archlab.api",
    "measure": "archlab.measuring",
    "largest_batch": "archlab.api",
    "measured_memory": "archlab.api",
    "peak_memory": "archlab.api",
    "profile": "archlab.api",
    "receptive_field": "archlab.api",
    "reconcile": "archlab.api",
    "roofline": "archlab.api",
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
    "MeasuredComparison",
    "Measurement",
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
    "compare_measured",
    "depth",
    "evaluate",
    "gradient_flow",
    "hardware",
    "largest_batch",
    "load",
    "lower",
    "measure",
    "measured_memory",
    "peak_memory",
    "profile",
    "receptive_field",
    "reconcile",
    "roofline",
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
        gradient_flow,
        hardware,
        largest_batch,
        load,
        lower,
        measured_memory,
        peak_memory,
        profile,
        receptive_field,
        reconcile,
        roofline,
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
    from archlab.measured_comparisons import MeasuredComparison
    from archlab.measurements import Measurement
    from archlab.measuring import compare_measured, measure
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
