"""Models of torchvision that tests run on the CPU: one of each family, of zeros, fed small images."""

from __future__ import annotations

import torch
import torchvision
from torch import nn

SIDES = {"inception_v3": 96, "vit_b_16": 224, "maxvit_t": 224}
"""Inputs of the models that do not take 64 x 64."""
MODELS = (
    "alexnet", "vgg16", "googlenet", "inception_v3", "resnet18", "resnet50", "resnext50_32x4d", "wide_resnet50_2",
    "densenet121", "squeezenet1_0", "mobilenet_v2", "mobilenet_v3_large", "shufflenet_v2_x1_0", "mnasnet1_0",
    "efficientnet_b0", "regnet_y_400mf", "convnext_tiny", "swin_t", "vit_b_16", "maxvit_t",
)  # fmt: skip


def on_cpu(name: str) -> nn.Module:
    """Return a model of zeros, which takes no time to make."""
    quick = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    make = getattr(torchvision.models, name)
    try:
        with torch.device("meta"):
            model = make(**quick)
    except RuntimeError:  # stochastic depth lists its rates
        model = make(**quick)
    model = model.eval().to_empty(device="cpu")
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.detach().zero_()
    return model  # type: ignore[no-any-return]
