"""torchvision's own weight entries as models without weights: what its metadata was made for."""

from __future__ import annotations

from typing import Any

from torch import nn

from archlab import TensorSpec
from archlab.pytorch.models import torchvision_model


def build(entry: str) -> nn.Module:
    """Return the model of a weight entry with that entry's own arguments, in evaluation mode."""
    return torchvision_model(entry, {})[0].eval()


def inputs(entry: str, facts: dict[str, Any]) -> tuple[Any, ...]:
    """Return the input that torchvision counted the entry for."""
    name, crop = entry.partition(":")[0], facts["crop"]
    if isinstance(crop, int):
        return (TensorSpec((1, 3, crop, crop)),)
    if crop is not None:
        return (TensorSpec((1, 3, 16, *crop)),)
    if name.startswith("raft"):
        return (TensorSpec((1, 3, 512, 512)),) * 2
    if name.startswith(("deeplab", "fcn", "lraspp")):
        return (TensorSpec((1, 3, 520, 520)),)
    side = {"ssd300_vgg16": 300, "keypointrcnn_resnet50_fpn": 1333}.get(name, 320 if "320" in name else 800)
    return ([TensorSpec((3, side, side))],)
