"""What tests of lowered graphs share: running one, and comparing its tensors with the graph's."""

from __future__ import annotations

import torch
from torch import nn

from archlab.ir import Graph, Param
from archlab.pytorch.lower import LoweredGraph


def run(module: LoweredGraph, mode: str = "inference", device: str = "cpu") -> tuple[torch.Tensor, ...]:
    """Run a module on random tensors and return its outputs as a tuple."""
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(spec.shape, generator=generator).to(device) for spec in module.graph.inputs.values()]
    with torch.no_grad():
        made = module.train(mode == "training")(*inputs)
    return made if isinstance(made, tuple) else (made,)


def assert_named_alike(graph: Graph, module: nn.Module) -> None:
    """Compare names, shapes, dtypes and trainability of parameters and buffers with the graph's."""
    parameters = {
        name: Param(tuple(p.shape), str(p.dtype).removeprefix("torch."), p.requires_grad)
        for name, p in module.named_parameters()
    }
    buffers = {
        name: Param(tuple(b.shape), str(b.dtype).removeprefix("torch."), trainable=False, buffer=True)
        for name, b in module.named_buffers()
    }
    assert parameters | buffers == graph.params
    assert set(module.state_dict()) == set(graph.params)
