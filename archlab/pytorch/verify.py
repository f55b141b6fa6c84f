"""`verify`: a graph's counts, parameters and shapes against torch's own and two independent counters'."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import torch

from archlab.analyses.conventions import Tally, tallies
from archlab.ir import Graph, Param, TensorSpec
from archlab.opinions import Opinion
from archlab.profiles import Layer, Profile, profile_graph
from archlab.pytorch.agreement import SAME_CLAIM, agreement, rows
from archlab.pytorch.counters import COUNTERS, quiet
from archlab.pytorch.lower import LoweredGraph, lower
from archlab.pytorch.opinions import COUNTERS as ALL
from archlab.pytorch.opinions import FORWARD
from archlab.pytorch.reasons import explain, leading_to_outputs
from archlab.verifications import UNEXPLAINED, Check, Count, Reading, Row, Verification

EVALUATING = frozenset(("thop", "ptflops", "ptflops-aten", "calflops"))
"""The counters that put every model into evaluation first."""


def verify(graph: Graph, mode: str = "inference") -> Verification:
    """Lower a graph to the meta device and compare it with what torch has and what two counters count.

    Nothing is allocated. A forward pass or a counter that fails is a check that does not hold. Raises
    `UsageError` for an unknown mode.
    """
    profile = profile_graph(graph, mode)
    layers = [layer for layer in profile.layers if not layer.node.op.is_input]
    module = lower(graph, "meta").train(mode == "training")
    inputs = tuple(_meta(spec) for spec in graph.inputs.values())
    checks = list(_parameters(graph, module))
    counts = []
    try:
        checks.extend(_outputs(profile.graph, module, inputs))
    except Exception as error:
        checks.append(_failed("forward", error))
    else:
        for name, counter in COUNTERS.items():
            try:
                count = counter(module, inputs, [layer.name for layer in layers])
            except Exception as error:
                checks.append(_failed(name, error))
            else:
                counts.append(count)
                checks.append(_attribution(count))
    returned = leading_to_outputs(profile.graph)
    rows = []
    for layer in layers:
        readings = tuple(_reading(layer, count, layer.name in returned) for count in counts)
        rows.append(Row(layer.name, layer.op, layer.cost.macs, readings))
    return Verification(graph.name, mode, profile.total.macs, tuple(rows), tuple(counts), tuple(checks))


def verify_with(
    graph: Graph,
    ask: Callable[[Iterable[str]], tuple[Opinion, ...]],
    mode: str = "inference",
    counters: Iterable[str] | None = None,
    expected: Mapping[str, Tally] | None = None,
    *,
    lowered: bool = False,
) -> Verification:
    """Compare a graph with what `ask` says that every counter (all if None) says of its model.

    A graph that the counters read `lowered` is compared with its module layer by layer, too (see
    `verify`); a traced one with the model that it was traced from, module by module. `expected` is what
    conventions make of it by counter, all of ours if None. Raises `UsageError` for an unknown counter or
    mode.
    """
    asked = tuple(ALL if counters is None else counters)
    skipped = tuple(name for name in asked if mode == "training" and name in EVALUATING)
    running = tuple(name for name in asked if name not in skipped)
    profile = profile_graph(graph, mode)
    found = tuple(Opinion(name, status="not run", error="counts in evaluation alone") for name in skipped)
    if lowered:
        result = verify(graph, mode)
        found += ask(running)
    else:
        forward, *others = ask((FORWARD, *running))
        found += tuple(others)
        layered = tuple(o for o in found if o.counter in SAME_CLAIM and o.status == "counted")
        table = rows(layered, profile)
        counts = tuple(_count(opinion, table) for opinion in layered)
        checks = tuple(_facts(profile, forward))
        result = Verification(graph.name, mode, profile.total.macs, table, counts, checks)
    if expected is None:
        expected = {each.convention.name: each for each in tallies(profile)}
    agreements = [agreement(each, profile, expected.get(each.counter), lowered=lowered) for each in found]
    agreements.sort(key=lambda each: asked.index(each.opinion.counter))
    return replace(result, agreements=tuple(agreements), params=profile.total.params)


def _count(opinion: Opinion, table: tuple[Row, ...]) -> Count:
    figures = {row.name: r.count for row in table for r in row.readings if r.counter == opinion.counter}
    return Count(opinion.counter, opinion.version, int(opinion.macs or 0), figures)


def _facts(profile: Profile, forward: Opinion) -> Iterable[Check]:
    """Compare what a trace says of a model with what the model says when it runs."""
    if forward.status == "not run":
        yield Check("forward", True, f"not run: {forward.error}")
        return
    if forward.status != "counted":
        yield Check("forward", False, forward.error)
        return
    graph, facts = profile.graph, forward.facts
    for name, buffer in (("parameters", False), ("buffers", True)):
        ours = {key: _kept(param) for key, param in graph.params.items() if param.buffer == buffer}
        yield _compared(name, ours, facts[name])
    ours, theirs = (
        {f"output {i}": shown for i, shown in enumerate(each)}
        for each in (map(str, graph.output_specs), facts["outputs"])
    )
    found = _compared("outputs", ours, theirs)
    if not found.ok and profile.assumed:
        assumed = ", ".join(profile.assumed)
        found = Check(found.name, True, f"depend on elements, so no comparison: {assumed}")
    yield found


def _reading(layer: Layer, count: Count, returned: bool) -> Reading:
    counted, ours = count.layers[layer.name], layer.cost.macs
    reason = "" if counted == ours else explain(layer, count, returned=returned) or UNEXPLAINED
    return Reading(count.name, counted, counted - ours, reason)


def _parameters(graph: Graph, module: LoweredGraph) -> Iterable[Check]:
    kinds = {"parameters": (False, module.named_parameters), "buffers": (True, module.named_buffers)}
    for name, (buffer, named) in kinds.items():
        ours = {key: _kept(param) for key, param in graph.params.items() if param.buffer == buffer}
        theirs = {key: _held(tensor) for key, tensor in named()}
        yield _compared(name, ours, theirs)


def _outputs(graph: Graph, module: LoweredGraph, inputs: tuple[torch.Tensor, ...]) -> Iterable[Check]:
    """Run the module once, and compare what each layer and the whole of it return."""
    seen: dict[str, Any] = {}

    def listen(name: str) -> Callable[..., None]:
        return lambda _module, _inputs, made: seen.update({name: _specs(made)})

    nodes = [node.name for node in graph.nodes if not node.op.is_input]
    hooks = [module.layer(name).register_forward_hook(listen(name)) for name in nodes]
    try:
        with quiet():
            returned = module(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    yield _compared("layer outputs", {name: _shown(graph.specs[name]) for name in nodes}, seen)
    yield _compared("outputs", {"outputs": _shown(graph.output_specs)}, {"outputs": _specs(returned)})


def _attribution(count: Count) -> Check:
    total = sum(count.layers.values())
    return Check(
        f"{count.name} by layer",
        total == count.total,
        f"the layers sum to {total:,}, its total is {count.total:,}",
    )


def _failed(name: str, error: Exception) -> Check:
    return Check(name, False, f"{type(error).__name__}: {error}")


def _compared(name: str, ours: Mapping[str, str], theirs: Mapping[str, str]) -> Check:
    differing = [
        f"{key}: ours {ours.get(key, 'none')}, torch's {theirs.get(key, 'none')}"
        for key in dict.fromkeys([*ours, *theirs])
        if ours.get(key) != theirs.get(key)
    ]
    return Check(name, not differing, "; ".join(differing) or f"{len(ours)} equal")


def _meta(spec: TensorSpec) -> torch.Tensor:
    return torch.empty(spec.shape, dtype=getattr(torch, spec.dtype), device="meta")


def _spec(tensor: torch.Tensor) -> TensorSpec:
    return TensorSpec(tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))


def _shown(specs: Iterable[TensorSpec]) -> str:
    return ", ".join(map(str, specs))


def _specs(made: Any) -> str:
    return _shown(map(_spec, made if isinstance(made, tuple) else (made,)))


def _kept(param: Param) -> str:
    return str(param.spec) if param.trainable or param.buffer else f"{param.spec} frozen"


def _held(tensor: torch.Tensor) -> str:
    frozen = isinstance(tensor, torch.nn.Parameter) and not tensor.requires_grad
    return f"{_spec(tensor)} frozen" if frozen else str(_spec(tensor))
