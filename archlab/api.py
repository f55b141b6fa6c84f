"""The functions of the package: from whatever a user has to a graph, a profile, a comparison, a module."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from archlab.comparisons import Comparison, compare_profiles
from archlab.errors import UsageError
from archlab.ir import Graph
from archlab.profiles import Profile, profile_graph

if TYPE_CHECKING:
    import torch

    from archlab.verifications import Verification

Subject = str | Graph


def load(
    target: str, *, inputs: Iterable[str] = (), arguments: Mapping[str, Any] | None = None, mode: str = "training"
) -> Graph:
    """Return the graph that a target names.

    >>> load("googlenet+naive@256").outputs
    (('softmax', 0),)

    `inputs` are texts ``[name=]SHAPE[:dtype]``, `arguments` go to the architecture's constructor. For
    `mode` inference, an input may be too small for heads that exist in training alone. Raises
    `UsageError`, `ReadError`, `GraphError` or `ShapeError`, each saying where, what and what now.
    """
    from archlab.sources.target import load as load_target

    return load_target(target, inputs, arguments, mode)


def profile(subject: Subject, *, mode: str = "inference", convention: str = "archlab") -> Profile:
    """Return the cost of a target or a graph, a row a layer, in inference or training."""
    return profile_graph(_graph(subject, mode), mode, convention)


def compare(
    base: Subject | Profile, *others: Subject | Profile, mode: str = "inference", convention: str = "archlab"
) -> Comparison:
    """Return a comparison of one base with others, each a target, a graph or a profile.

    `mode` and `convention` are for those that are not profiles yet. Raises `UsageError` without others.
    """
    subjects = [
        s if isinstance(s, Profile) else profile(s, mode=mode, convention=convention) for s in (base, *others)
    ]
    return compare_profiles(subjects[0], tuple(subjects[1:]))


def lower(subject: Subject, device: Any = None) -> torch.nn.Module:
    """Return a `torch.nn.Module` that computes a target or a graph; ``"meta"`` allocates nothing."""
    from archlab.pytorch.lower import lower as lower_graph

    return lower_graph(_graph(subject), device)


def verify(subject: Subject, *, mode: str = "inference") -> Verification:
    """Return a target's or a graph's counts beside those of torch's and fvcore's counters, layer by layer.

    Runs on the meta device; nothing is allocated.
    """
    from archlab.pytorch.verify import verify as verify_graph

    return verify_graph(_graph(subject, mode), mode)


def _graph(subject: Any, mode: str = "training") -> Graph:
    if isinstance(subject, Graph):
        return subject
    if isinstance(subject, str):
        return load(subject, mode=mode)
    raise UsageError(f"expected a target or a Graph, got {type(subject).__name__}")
