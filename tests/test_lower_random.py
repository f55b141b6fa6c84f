"""Random graphs lowered: they have the graph's names, compute it, and hold what peak memory says."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from hypothesis import HealthCheck, given, settings
from lowered import assert_named_alike, run
from random_graphs import graphs
from torch import nn
from torch.nn import functional

from archlab.analyses.memory import peak_memory
from archlab.ir import MODES, Graph, TensorSpec
from archlab.ops import Add, BatchNorm, Concat, Conv2d, Dropout, MaxPool2d, ReLU
from archlab.pytorch.lower import LoweredGraph, lower
from archlab.zoo import catalog

RANDOM = settings(
    max_examples=200, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)


def reference(graph: Graph, tensors: dict[str, torch.Tensor], inputs: list[torch.Tensor]) -> list[torch.Tensor]:
    """Compute a graph in evaluation node by node, by functions and keys alone."""
    values = dict(zip(graph.inputs, inputs, strict=True))
    for node in graph.in_mode("inference").nodes:
        op: Any = node.op
        if op.is_input:
            continue
        args = [values[name] for name, _ in node.inputs]
        own = {role: tensors[key] for role, key in node.weights.items()}
        if isinstance(op, (Conv2d, MaxPool2d)):
            (top, bottom), (left, right) = op.pads(*args[0].shape[2:])
            if isinstance(op, Conv2d):
                x = functional.pad(args[0], (left, right, top, bottom))
                made = functional.conv2d(x, own["weight"], own.get("bias"), op.stride, 0, op.dilation, op.groups)
            elif op.padding == "same_upper":
                x = functional.pad(args[0], (left, right, top, bottom), value=float("-inf"))
                made = functional.max_pool2d(x, op.kernel, op.stride, 0, op.dilation)
            else:
                made = functional.max_pool2d(args[0], op.kernel, op.stride, op.padding, op.dilation, op.ceil_mode)
        elif isinstance(op, BatchNorm):
            statistics = own["running_mean"], own["running_var"]
            made = functional.batch_norm(args[0], *statistics, own.get("weight"), own.get("bias"), eps=op.eps)
        elif isinstance(op, Add):
            made = args[0] + args[1]
        elif isinstance(op, Concat):
            made = torch.cat(args, op.dim)
        elif isinstance(op, ReLU):
            made = args[0].relu()
        elif isinstance(op, Dropout):
            made = args[0]
        else:
            made = functional.avg_pool2d(args[0], op.kernel, op.stride, op.padding)
        values[node.name] = made
    return [values[name] for name, _ in graph.in_mode("inference").outputs]


@RANDOM
@given(graphs())
def test_a_random_graph_has_the_graphs_names_and_computes_it(graph: Graph) -> None:
    module = lower(graph)
    assert_named_alike(graph, module)
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(spec.shape, generator=generator) for spec in graph.inputs.values()]
    expected = reference(graph, module.state_dict(), inputs)
    for ours, theirs in zip(run(module), expected, strict=True):
        torch.testing.assert_close(ours, theirs)
    for mode in MODES:
        made = run(lower(graph, "meta"), mode, "meta")
        assert [tuple(tensor.shape) for tensor in made] == [s.shape for s in graph.in_mode(mode).output_specs]


class Watch:
    """Measures the largest sum of bytes of distinct storages alive after any module call."""

    def __init__(self, module: LoweredGraph) -> None:
        self.peak = 0
        self.tensors: list[weakref.ref[torch.Tensor]] = []
        module.register_forward_pre_hook(lambda _, inputs: self.tensors.extend(map(weakref.ref, inputs)))
        for node in module.graph.nodes:
            if not node.op.is_input:
                module.layer(node.name).register_forward_hook(self.look)

    def look(self, _module: nn.Module, _inputs: Any, made: torch.Tensor) -> None:
        self.tensors.append(weakref.ref(made))
        alive = [tensor for tensor in (ref() for ref in self.tensors) if tensor is not None]
        storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in alive}
        self.peak = max(self.peak, sum(storages.values()))


@RANDOM
@given(graphs())
def test_tensors_live_as_long_as_peak_memory_says(graph: Graph) -> None:
    for mode in MODES:
        module = lower(graph)
        watch = Watch(module)
        run(module, mode)
        assert watch.peak == peak_memory(graph, mode).bytes


def test_peak_memory_of_a_real_network_is_what_is_alive() -> None:
    graph = catalog.build("googlenet").in_mode("inference").with_inputs({"input": TensorSpec((1, 3, 64, 64))})
    module = lower(graph)
    watch = Watch(module)
    run(module)
    assert watch.peak == peak_memory(graph).bytes
