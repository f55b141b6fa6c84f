"""`verify`: a graph's counts, parameters and shapes against torch's own and two independent counters'."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch

from archlab.ir import Graph, Param, TensorSpec
from archlab.profiles import Layer, profile_graph
from archlab.pytorch.counters import COUNTERS, quiet
from archlab.pytorch.lower import LoweredGraph, lower
from archlab.pytorch.reasons import explain
from archlab.verifications import UNEXPLAINED, Check, Count, Reading, Row, Verification


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
    returned = _leading_to_outputs(profile.graph)
    rows = []
    for layer in layers:
        readings = tuple(_reading(layer, count, layer.name in returned) for count in counts)
        rows.append(Row(layer.name, layer.op, layer.cost.macs, readings))
    return Verification(graph.name, mode, profile.total.macs, tuple(rows), tuple(counts), tuple(checks))


def _reading(layer: Layer, count: Count, returned: bool) -> Reading:
    counted, ours = count.layers[layer.name], layer.cost.macs
    reason = "" if counted == ours else explain(layer, count, returned=returned) or UNEXPLAINED
    return Reading(count.name, counted, counted - ours, reason)


def _leading_to_outputs(graph: Graph) -> set[str]:
    names = {name for name, _ in graph.outputs}
    for node in reversed(graph.nodes):
        if node.name in names:
            names.update(name for name, _ in node.inputs)
    return names


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
