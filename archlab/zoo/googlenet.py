"""GoogLeNet as the paper, torchvision, TF-slim and the released inception5h graph have it, and its modules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from archlab.ir import Builder, Graph, Ref
from archlab.ops import (
    AdaptiveAvgPool2d,
    AvgPool2d,
    BatchNorm,
    Dropout,
    Flatten,
    GlobalAvgPool2d,
    Input,
    Linear,
    LocalResponseNorm,
    ReLU,
    Softmax,
)
from archlab.zoo.inception import Style, Widths, conv, inception

TABLE_1: Mapping[str, Widths] = {
    "3a": Widths(64, 96, 128, 16, 32, 32),
    "3b": Widths(128, 128, 192, 32, 96, 64),
    "4a": Widths(192, 96, 208, 16, 48, 64),
    "4b": Widths(160, 112, 224, 24, 64, 64),
    "4c": Widths(128, 128, 256, 24, 64, 64),
    "4d": Widths(112, 144, 288, 32, 64, 64),
    "4e": Widths(256, 160, 320, 32, 128, 128),
    "5a": Widths(256, 160, 320, 32, 128, 128),
    "5b": Widths(384, 192, 384, 48, 128, 128),
}
PLACES: Mapping[str, tuple[int, int]] = {
    "3a": (192, 28), "3b": (256, 28), "4a": (480, 14), "4b": (512, 14), "4c": (512, 14),
    "4d": (512, 14), "4e": (528, 14), "5a": (832, 7), "5b": (832, 7),
}  # fmt: skip
"""Input channels and side of each module at its place in the network."""


@dataclass(frozen=True)
class Variant:
    """What differs between implementations of the same network."""

    style: Style = field(default_factory=Style)
    widths: Mapping[str, Widths] = field(default_factory=lambda: TABLE_1)
    lrn: bool = True
    pool4: int = 3
    dropout: float = 0.4
    heads: str = "paper"
    softmax: bool = True


PAPER = Variant()
TORCHVISION = Variant(
    Style(BatchNorm(eps=1e-3), five=3), lrn=False, pool4=2, dropout=0.2, heads="adaptive", softmax=False
)
TF_SLIM = Variant(
    Style(BatchNorm(scale=False, eps=1e-3), tensorflow_padding=True, five=3),
    lrn=False,
    pool4=2,
    dropout=0.2,
    heads="none",
)
INCEPTION5H = Variant(
    widths={
        **TABLE_1,
        "4a": TABLE_1["4a"]._replace(n3x3=204),
        "5a": TABLE_1["5a"]._replace(n5x5_reduce=48),
    },
    heads="none",
)


def build(name: str, variant: Variant, num_classes: int = 1000) -> Graph:
    """Return the network for 1x3x224x224, with auxiliary heads tagged train-only where the variant has them."""
    b = Builder(name)
    style = variant.style
    x = b.add("input", Input((1, 3, 224, 224)))
    x = conv(b, style, "conv1/7x7_s2", x, 64, 7, 2)
    x = b.add("pool1/3x3_s2", style.pool(3, 2), x)
    if variant.lrn:
        x = b.add("pool1/norm1", LocalResponseNorm(), x)
    x = conv(b, style, "conv2/3x3_reduce", x, 64, 1)
    x = conv(b, style, "conv2/3x3", x, 192, 3)
    if variant.lrn:
        x = b.add("conv2/norm2", LocalResponseNorm(), x)
    x = b.add("pool2/3x3_s2", style.pool(3, 2), x)
    taps: dict[str, Ref] = {}
    for module, widths in variant.widths.items():
        if module == "4a":
            x = b.add("pool3/3x3_s2", style.pool(3, 2), x)
        if module == "5a":
            x = b.add(f"pool4/{variant.pool4}x{variant.pool4}_s2", style.pool(variant.pool4, 2), x)
        x = taps[module] = inception(b, style, f"inception_{module}", x, widths)
    heads = []
    if variant.heads != "none":
        heads = [_head(b, variant, f"loss{i}", taps[tap], num_classes) for i, tap in ((1, "4a"), (2, "4d"))]
    x = b.add("pool5", GlobalAvgPool2d(), x)
    x = b.add("flatten", Flatten(), x)
    x = b.add("dropout", Dropout(variant.dropout), x)
    x = b.add("linear", Linear(num_classes), x)
    if variant.softmax:
        x = b.add("softmax", Softmax(), x)
    return b.build(x, *heads)


def _head(b: Builder, variant: Variant, name: str, x: Ref, num_classes: int) -> Ref:
    """Add an auxiliary classifier (section 5 of the paper)."""
    with b.scope(name, train_only=True):
        if variant.heads == "adaptive":
            x = b.add("adaptive_avg_pool", AdaptiveAvgPool2d(4), x)
        else:
            x = b.add("ave_pool", AvgPool2d(5, 3), x)
        x = conv(b, variant.style, "conv", x, 128, 1)
        x = b.add("flatten", Flatten(), x)
        x = b.add("fc", Linear(1024), x)
        x = b.add("fc_relu", ReLU(), x)
        x = b.add("dropout", Dropout(0.7), x)
        x = b.add("classifier", Linear(num_classes), x)
        return b.add("softmax", Softmax(), x) if variant.softmax else x


def module(place: str) -> Graph:
    """Return one of the nine modules alone, fed as in the network."""
    channels, side = PLACES[place]
    b = Builder(f"inception-{place}")
    x = b.add("input", Input((1, channels, side, side)))
    return b.build(inception(b, Style(), f"inception_{place}", x, TABLE_1[place]))
