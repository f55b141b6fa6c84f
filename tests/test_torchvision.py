"""The zoo's torchvision variants against torchvision's own modules, counted by torch's own counter."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import archlab

torchvision = pytest.importorskip("torchvision", reason="no torchvision belongs to this build of torch")

TWINS = {
    "googlenet-torchvision": ("googlenet", {"aux_logits": True, "init_weights": False}),
    "alexnet-torchvision": ("alexnet", {}),
    "vgg11": ("vgg11", {"init_weights": False}),
    "vgg13": ("vgg13", {"init_weights": False}),
    "vgg16": ("vgg16", {"init_weights": False}),
    "vgg19": ("vgg19", {"init_weights": False}),
}


@pytest.mark.parametrize("name", TWINS)
@pytest.mark.parametrize("mode", ["inference", "training"])
def test_parameters_and_macs_are_those_of_torchvisions_module(name: str, mode: str) -> None:
    builder, arguments = TWINS[name]
    with torch.device("meta"):
        model = getattr(torchvision.models, builder)(weights=None, **arguments)
        x = torch.zeros(2, 3, 224, 224)
    model.train(mode == "training")
    graph = archlab.load(f"{name}@2x3x224x224")
    ours = Counter(p.shape for p in graph.params.values() if not p.buffer)
    assert ours == Counter(tuple(p.shape) for p in model.parameters())
    with FlopCounterMode(display=False) as counter:
        model(x)
    assert archlab.profile(graph, mode=mode).total.macs == counter.get_total_flops() // 2
