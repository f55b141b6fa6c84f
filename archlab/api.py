"""The functions of the package: from whatever a user has to a graph, a profile, a comparison, a module."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from archlab.comparisons import Comparison, compare_profiles
from archlab.errors import UsageError
from archlab.ir import Graph, TensorSpec
from archlab.profiles import Profile, profile_graph

if TYPE_CHECKING:
    import torch

    from archlab.analyses.depth import Depth
    from archlab.analyses.evaluate import Evaluation
    from archlab.analyses.hardware import Hardware
    from archlab.analyses.largest_batch import LargestBatch
    from archlab.analyses.memory import MeasuredMemory, PeakMemory
    from archlab.analyses.receptive_field import ReceptiveField
    from archlab.analyses.roofline import Roofline
    from archlab.analyses.training_memory import TrainingMemory
    from archlab.gradients import GradientFlow, Setting
    from archlab.reconciliations import Reconciliation
    from archlab.verifications import Verification

Subject = str | os.PathLike[str] | Graph


def load(
    target: str | os.PathLike[str],
    *,
    inputs: Iterable[str] = (),
    arguments: Mapping[str, Any] | None = None,
    mode: str | None = None,
) -> Graph:
    """Return the graph that a target names.

    >>> load("googlenet+naive@256").outputs
    (('softmax', 0),)

    `inputs` are texts ``[name=]SHAPE[:dtype]``, `arguments` go to the constructor. A model is traced as
    it runs in `mode`, by default inference. Raises `UsageError`, `ReadError`, `GraphError`,
    `ShapeError` or `TraceError`, each saying where, what and what now.
    """
    from archlab.sources.target import load as load_target

    if not isinstance(target, (str, os.PathLike)):
        raise UsageError(f"expected a target, got {type(target).__name__}")
    return load_target(os.fspath(target), inputs, arguments, mode)


def trace(model: Callable[..., Any], *args: Any, mode: str = "inference", inputs: Any = None, **kwargs: Any) -> Graph:
    """Return the graph of what a model or any callable computes for these inputs.

    Tensors may be real, meta or `TensorSpec`: only shapes and types are looked at, and no floating
    number is computed. `inputs` is (args, kwargs), for keywords that collide with ours. The model is
    left as it was. Raises `TraceError`, with the part that ran as `.partial`.
    """
    from archlab.pytorch.trace import trace as trace_model

    return trace_model(model, *args, mode=mode, inputs=inputs, **kwargs)


def profile(
    subject: Any,
    *args: Any,
    mode: str = "inference",
    convention: str = "archlab",
    backward: bool = False,
    inputs: Any = None,
    **kwargs: Any,
) -> Profile:
    """Return the cost of a target, a graph, or a model with its inputs, a row a layer.

    `backward` implies training and adds the MACs of the backward pass: for each contraction one product a
    gradient that trainable parameters ask for (inputs need none). Elementwise work of the backward pass,
    its memory traffic and recomputation are not counted. A model is traced in training for it; do the same
    for a graph, so that what it runs under `torch.no_grad` is known.
    """
    mode = "training" if backward else mode
    if callable(subject) and not isinstance(subject, Graph):
        return profile_graph(trace(subject, *args, mode=mode, inputs=inputs, **kwargs), mode, convention, backward)
    if args or kwargs or inputs is not None:
        raise UsageError(f"only a model takes inputs here; resize a target with @, such as {subject}@256")
    return profile_graph(_graph(subject, mode), mode, convention, backward)


def compare(
    base: Subject | Profile,
    *others: Subject | Profile,
    mode: str = "inference",
    convention: str = "archlab",
    backward: bool = False,
) -> Comparison:
    """Return a comparison of one base with others, each a target, a graph or a profile.

    `mode`, `convention` and `backward` are for those that are not profiles yet. Raises `UsageError`
    without others.
    """
    chosen: dict[str, Any] = {"mode": mode, "convention": convention, "backward": backward}
    subjects = [s if isinstance(s, Profile) else profile(s, **chosen) for s in (base, *others)]
    return compare_profiles(subjects[0], tuple(subjects[1:]))


def depth(subject: Subject, mode: str = "inference") -> Depth:
    """Return the number of layers on the longest path of a target or a graph: `.weighted`, `.with_pooling`."""
    from archlab.analyses.depth import depth as depth_of

    return depth_of(_graph(subject, mode), mode)


def receptive_field(subject: Subject) -> dict[str, ReceptiveField | None]:
    """Return the receptive field of each layer of a target or a graph, None where it is undefined."""
    from archlab.analyses.receptive_field import receptive_field as fields_of

    return fields_of(_graph(subject))


def peak_memory(subject: Subject, mode: str = "inference") -> PeakMemory:
    """Return the peak of live tensors in bytes, where it is reached, and what is alive there."""
    from archlab.analyses.memory import peak_memory as peak_of

    return peak_of(_graph(subject, mode), mode)


def hardware(name: str, *, recalibrate: bool = False, told: Callable[[str], None] | None = None) -> Hardware:
    """Return the roofs of a machine: ``h100``, ``RTX 4090``, ``a100:tf32`` (float32 multiplied as TensorFloat-32).

    ``this`` is the device in hand: it is calibrated once, for some 20 s, and what was measured is kept
    until `recalibrate`; `told` hears what is measured now. Raises `UsageError` for an unknown name.
    """
    from archlab.analyses.hardware import TF32, THIS, find

    plain, colon, mode = name.strip().partition(":")
    if plain.casefold() != THIS:
        return find(name)
    if colon and f":{mode}".casefold() != TF32:
        raise UsageError(f"unknown hardware {name!r}; write {THIS} or {THIS}{TF32}")
    from archlab.pytorch.calibrate import calibrated

    found = calibrated(recalibrate=recalibrate, told=told).hardware
    return found.in_tf32() if colon else found


def roofline(
    subject: Subject | Profile,
    machine: str | Hardware,
    *,
    seconds: Mapping[str, float] | None = None,
    mode: str = "inference",
) -> Roofline:
    """Return the lower bound of every layer's time on a machine, and of the whole.

    `machine` is a name as `hardware` takes it, or what it returned; `seconds` are those that layers took,
    by name: then every bound says which part of it was attained.
    """
    from archlab.analyses.roofline import roofline as bounds_of

    counted = subject if isinstance(subject, Profile) else profile(subject, mode=mode)
    return bounds_of(counted, hardware(machine) if isinstance(machine, str) else machine, seconds)


def training_memory(subject: Subject) -> TrainingMemory:
    """Return the peak of a training step in bytes, where it is reached, and what is alive there."""
    from archlab.analyses.training_memory import training_memory as step_of

    return step_of(_graph(subject, "training"))


def measured_memory(
    subject: Any,
    *args: Any,
    mode: str = "inference",
    device: str = "cpu",
    inputs: Any = None,
    arguments: Mapping[str, Any] | None = None,
    **kwargs: Any,
) -> MeasuredMemory:
    """Return what memory a target, a graph, or a module with its inputs takes when it runs on a device.

    Targets and graphs are built with real elements, `inputs` and `arguments` as `load` takes them; a module runs
    where it is, with real tensors, and is left as it was. Raises `UsageError` for a device that is not there, and
    as `load` does.
    """
    from archlab.pytorch.measure.memory import measured_memory as measure
    from archlab.pytorch.measure.memory import placed

    training = mode == "training"
    if callable(subject) and not isinstance(subject, Graph):
        return measure(subject, *args, training=training, **kwargs)
    from archlab.pytorch.opinions import Job
    from archlab.pytorch.opinions.subject import subject as built

    graph, job = rebuildable(subject, inputs or (), arguments, mode)
    model, args, kwargs = placed(*built(job or Job(graph=graph, mode=mode)), device)
    return measure(model, *args, training=training, **kwargs)


def largest_batch(
    subject: Subject,
    limit: int | str,
    mode: str = "inference",
    optimiser: str = "none",
    *,
    inputs: Iterable[str] = (),
    arguments: Mapping[str, Any] | None = None,
) -> LargestBatch:
    """Return the largest batch of a target or a graph that fits into `limit` bytes, such as ``"8GB"``.

    Counted are the tensors alive at the predicted peak, weights, buffers and the state of an `optimiser` (none,
    sgd, momentum, adam). A model is traced for each batch that is tried. Raises `UsageError` where the batch
    cannot be changed, and as `load` does.
    """
    from archlab.analyses.largest_batch import largest_batch as largest_of
    from archlab.guard.quantities import quantity
    from archlab.ir.batch import rebatched

    size = quantity(limit, "peak_memory") if isinstance(limit, str) else limit
    if isinstance(subject, Graph):
        return largest_of(rebatched(subject), size, mode, optimiser)
    if not isinstance(subject, (str, os.PathLike)):
        raise UsageError(f"expected a target or a Graph, got {type(subject).__name__}")
    from archlab.sources.target import rebatching

    return largest_of(rebatching(os.fspath(subject), inputs, arguments, mode), size, mode, optimiser)


def evaluate(subject: Subject, bindings: Mapping[str, Mapping[str, Any]], mode: str = "inference") -> Evaluation:
    """Return the cost with fields of ops left open: `bindings` is {node: {field: int, array or symbol}}.

    >>> n = sympy.Symbol("n", integer=True, positive=True)
    >>> evaluate("naive", {"input": {"shape": (n, 480, 14, 14)}}).macs
    112896000*n
    """
    from archlab.analyses.evaluate import evaluate as evaluate_graph

    return evaluate_graph(_graph(subject, mode), bindings, mode)


def lower(subject: Subject, device: Any = None) -> torch.nn.Module:
    """Return a `torch.nn.Module` that computes a target or a graph; ``"meta"`` allocates nothing."""
    from archlab.pytorch.lower import lower as lower_graph

    return lower_graph(_graph(subject), device)


def gradient_flow(
    base: Subject,
    *others: Subject,
    setting: Setting | None = None,
    inputs: Iterable[str] = (),
    arguments: Mapping[str, Any] | None = None,
    told: Callable[[str, str, int, int, int], None] | None = None,
) -> GradientFlow:
    """Return how large the gradient of each block is after one backward pass, over seeds and initialisations.

    Targets and graphs are classifiers; `inputs` and `arguments` are as `load` takes them. A `Setting` says
    how many seeds, which initialisations, the batch, the weight of auxiliary heads, the depth of blocks and
    the device. Raises as `load`, `UsageError` for what is no classifier or a device that is not there,
    `TraceError` where a pass fails.
    """
    from archlab.pytorch.gradients import gradient_flow as measure

    given = tuple(inputs)
    return measure([_learner(subject, given, arguments) for subject in (base, *others)], setting, told)


def _learner(subject: Subject, inputs: tuple[str, ...], arguments: Mapping[str, Any] | None) -> Any:
    """Return a graph, or a model by how it is built; its default input may be a batch that it cannot learn from."""
    if not isinstance(subject, (str, os.PathLike)):
        return _graph(subject, "training")
    from archlab.sources.target import load_model

    text = os.fspath(subject)
    found = load_model(text, inputs, arguments, "inference")
    if found is None:
        return load(text, inputs=inputs, arguments=arguments, mode="training")
    from archlab.pytorch.trainable import Live

    model = found[1]
    return Live(text, model.source, model.arguments, model.args, model.kwargs)


def verify(
    subject: Any,
    *args: Any,
    mode: str = "inference",
    inputs: Any = None,
    arguments: Mapping[str, Any] | None = None,
    counters: Iterable[str] | None = None,
    seconds: float = 600,
    told: Callable[[Sequence[str], int, int], None] | None = None,
    **kwargs: Any,
) -> Verification:
    """Return our counts beside those of every counter that is installed, each run in a process of its own.

    `subject` is a target (with `inputs` and `arguments` as `load` takes them), a graph, or a module with
    its inputs. Another process builds a target's model anew; a module travels there without the elements
    of its large tensors, and where it cannot be found by name, torch's and fvcore's counters run here on
    a copy. `counters` are the names of those to ask, `seconds` what each may take. Raises as `load` and `trace` do.
    """
    from functools import partial

    from archlab.pytorch.opinions import Job, opinions
    from archlab.pytorch.verify import verify_with

    if callable(subject) and not isinstance(subject, Graph):
        from archlab.pytorch.opinions.live import ask_live

        graph = trace(subject, *args, mode=mode, inputs=inputs, **kwargs)
        given = (args, kwargs) if inputs is None else inputs
        ask = partial(ask_live, subject, given, mode, seconds=seconds, told=told)
        return verify_with(graph, ask, mode, counters)
    if args or kwargs:
        raise UsageError("only a model takes inputs here; resize a target with @ or inputs=")
    graph, job = rebuildable(subject, inputs or (), arguments, mode)
    lowered = job is None
    job = job or Job(graph=graph, mode=mode)
    ask = partial(opinions, job, seconds=seconds, told=told)
    return verify_with(graph, ask, mode, counters, lowered=lowered)


def rebuildable(
    subject: Any, inputs: Iterable[str], arguments: Mapping[str, Any] | None, mode: str
) -> tuple[Graph, Any]:
    """Return a graph, and the job that builds the model which it is the trace of, None where it is of none."""
    if isinstance(subject, (str, os.PathLike)):
        from archlab.pytorch.opinions import Job
        from archlab.sources.target import load_model

        text = os.fspath(subject)
        found = load_model(text, inputs, arguments, mode)
        if found is None:
            return load(text, inputs=inputs, arguments=arguments, mode=mode), None
        graph, model = found
        return graph, Job(model.source, None, b"", model.args, model.kwargs, model.arguments, mode)
    return _graph(subject, mode), None


def reconcile(subject: Any, *args: Any, claimed: str | None = None, **kwargs: Any) -> Reconciliation:
    """Return what every convention counts for a target, a graph, or a model with its inputs, side by side.

    `claimed` is a published number such as ``"1.5G"``: the result's `matches` say which convention,
    input size, batch, head or unit gives it.
    """
    from archlab.reconciliations import reconcile_profile

    result = reconcile_profile(profile(subject, *args, **kwargs))
    if claimed is None:
        return result
    from archlab.analyses.conventions.claims import claim_of, search
    from archlab.analyses.conventions.variants import variants

    claim = claim_of(claimed)
    matches = search(claim, variants(result.profile, _again(subject, *args, **kwargs)))
    return replace(result, claim=claim, matches=tuple(matches[: max(MATCHES, sum(bool(m.fit) for m in matches))]))


MATCHES = 20
"""How many near misses of a claimed number are kept where fewer match."""


def _again(subject: Any, *args: Any, **kwargs: Any) -> Callable[[TensorSpec | None, str], Graph | None]:
    """Return what makes a subject's graph anew for another image in a mode; None where that cannot be."""

    def load_again(image: TensorSpec | None, mode: str) -> Graph | None:
        if isinstance(subject, Graph):
            return None
        if callable(subject):
            if image is None:
                return trace(subject, *args, **{**kwargs, "mode": mode})
            return trace(subject, image, mode=mode) if len(args) == 1 and not kwargs else None
        text = os.fspath(subject).partition("@")[0]
        size = "" if image is None else "@" + "x".join(map(str, image.shape))
        return load(text + size, mode=mode)

    return load_again


def _graph(subject: Any, mode: str | None = None) -> Graph:
    if isinstance(subject, Graph):
        return subject
    if isinstance(subject, (str, os.PathLike)):
        return load(subject, mode=mode)
    raise UsageError(f"expected a target or a Graph, got {type(subject).__name__}")
