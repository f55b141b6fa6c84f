"""AlexNet, VGG and Network in Network."""

from __future__ import annotations

from archlab.ir import Builder, Graph, Ref
from archlab.ops import (
    AdaptiveAvgPool2d,
    AvgPool2d,
    Conv2d,
    Dropout,
    Flatten,
    GlobalAvgPool2d,
    Input,
    Linear,
    LocalResponseNorm,
    MaxPool2d,
    ReLU,
    Softmax,
)

VGG: dict[str, tuple[int, ...]] = {
    "vgg11": (1, 1, 2, 2, 2),
    "vgg13": (2, 2, 2, 2, 2),
    "vgg16": (2, 2, 3, 3, 3),
    "vgg19": (2, 2, 4, 4, 4),
}
"""Convolutions in each of the five stages (columns A, B, D, E of arXiv 1409.1556, Table 1)."""


def _conv(b: Builder, name: str, x: Ref, op: Conv2d) -> Ref:
    return b.add(f"{name}_relu", ReLU(), b.add(name, op, x))


def _classifier(b: Builder, x: Ref, num_classes: int) -> Ref:
    """Add fc6, fc7, fc8 with dropout, and the softmax."""
    x = b.add("flatten", Flatten(), x)
    for name in ("fc6", "fc7"):
        x = b.add(f"{name}_relu", ReLU(), b.add(name, Linear(4096), x))
        x = b.add(f"{name}_dropout", Dropout(0.5), x)
    return b.add("softmax", Softmax(), b.add("fc8", Linear(num_classes), x))


def alexnet(num_classes: int = 1000) -> Graph:
    """Krizhevsky's network as Caffe has it: groups of 2 in conv2, conv4 and conv5, input 227."""
    b = Builder("alexnet")
    pool = MaxPool2d(3, 2, ceil_mode=True)
    x = b.add("input", Input((1, 3, 227, 227)))
    x = _conv(b, "conv1", x, Conv2d(96, 11, 4))
    x = b.add("pool1", pool, b.add("norm1", LocalResponseNorm(), x))
    x = _conv(b, "conv2", x, Conv2d(256, 5, padding=2, groups=2))
    x = b.add("pool2", pool, b.add("norm2", LocalResponseNorm(), x))
    x = _conv(b, "conv3", x, Conv2d(384, 3, padding=1))
    x = _conv(b, "conv4", x, Conv2d(384, 3, padding=1, groups=2))
    x = _conv(b, "conv5", x, Conv2d(256, 3, padding=1, groups=2))
    x = b.add("pool5", pool, x)
    return b.build(_classifier(b, x, num_classes))


def alexnet_torchvision(num_classes: int = 1000) -> Graph:
    """torchvision's AlexNet ("one weird trick"): ungrouped, narrower, no LRN, input 224."""
    b = Builder("alexnet-torchvision")
    x = b.add("input", Input((1, 3, 224, 224)))
    with b.scope("features"):
        x = _conv(b, "0", x, Conv2d(64, 11, 4, 2))
        x = b.add("2", MaxPool2d(3, 2), x)
        x = _conv(b, "3", x, Conv2d(192, 5, padding=2))
        x = b.add("5", MaxPool2d(3, 2), x)
        x = _conv(b, "6", x, Conv2d(384, 3, padding=1))
        x = _conv(b, "8", x, Conv2d(256, 3, padding=1))
        x = _conv(b, "10", x, Conv2d(256, 3, padding=1))
        x = b.add("12", MaxPool2d(3, 2), x)
    x = b.add("avgpool", AdaptiveAvgPool2d(6), x)
    x = b.add("flatten", Flatten(), x)
    with b.scope("classifier"):
        x = b.add("0", Dropout(0.5), x)
        x = b.add("1_relu", ReLU(), b.add("1", Linear(4096), x))
        x = b.add("3", Dropout(0.5), x)
        x = b.add("4_relu", ReLU(), b.add("4", Linear(4096), x))
        x = b.add("6", Linear(num_classes), x)
    return b.build(x)


def vgg(name: str, num_classes: int = 1000) -> Graph:
    """A VGG network: stages of 3×3 convolutions between 2×2 max pools."""
    b = Builder(name)
    x = b.add("input", Input((1, 3, 224, 224)))
    for stage, count in enumerate(VGG[name], 1):
        for i in range(1, count + 1):
            x = _conv(b, f"conv{stage}_{i}", x, Conv2d(min(64 << (stage - 1), 512), 3, padding=1))
        x = b.add(f"pool{stage}", MaxPool2d(2, 2), x)
    return b.build(_classifier(b, x, num_classes))


def nin(num_classes: int = 1000) -> Graph:
    """The ImageNet model of the authors: 1×1 layers after each convolution, global average pooling."""
    b = Builder("nin")
    pool = MaxPool2d(3, 2, ceil_mode=True)
    x = b.add("input", Input((1, 3, 224, 224)))
    x = _conv(b, "conv1", x, Conv2d(96, 11, 4))
    x = _mlp(b, x, ("cccp1", 96), ("cccp2", 96))
    x = _conv(b, "conv2", b.add("pool0", pool, x), Conv2d(256, 5, padding=2))
    x = _mlp(b, x, ("cccp3", 256), ("cccp4", 256))
    x = _conv(b, "conv3", b.add("pool2", pool, x), Conv2d(384, 3, padding=1))
    x = _mlp(b, x, ("cccp5", 384), ("cccp6", 384))
    x = b.add("dropout", Dropout(0.5), b.add("pool3", pool, x))
    x = _conv(b, "conv4-1024", x, Conv2d(1024, 3, padding=1))
    x = _mlp(b, x, ("cccp7-1024", 1024), ("cccp8-1024", num_classes))
    return b.build(_averages(b, "pool4", x))


def nin_cifar10(num_classes: int = 10) -> Graph:
    """The CIFAR-10 model of the authors; its pools round up."""
    b = Builder("nin-cifar10")
    x = b.add("input", Input((1, 3, 32, 32)))
    x = _conv(b, "conv1", x, Conv2d(192, 5, padding=2))
    x = _mlp(b, x, ("cccp1", 160), ("cccp2", 96))
    x = b.add("dropout1", Dropout(0.5), b.add("pool1", MaxPool2d(3, 2, ceil_mode=True), x))
    x = _conv(b, "conv2", x, Conv2d(192, 5, padding=2))
    x = _mlp(b, x, ("cccp3", 192), ("cccp4", 192))
    x = b.add("dropout2", Dropout(0.5), b.add("pool2", AvgPool2d(3, 2, ceil_mode=True), x))
    x = _conv(b, "conv3", x, Conv2d(192, 3, padding=1))
    x = _mlp(b, x, ("cccp5", 192), ("cccp6", num_classes))
    return b.build(_averages(b, "pool3", x))


def _mlp(b: Builder, x: Ref, *layers: tuple[str, int]) -> Ref:
    """Add 1×1 convolutions, which make the layer before them a small network at each position."""
    for name, channels in layers:
        x = _conv(b, name, x, Conv2d(channels, 1))
    return x


def _averages(b: Builder, name: str, x: Ref) -> Ref:
    """Average each class map: the head without parameters."""
    x = b.add("flatten", Flatten(), b.add(name, GlobalAvgPool2d(), x))
    return b.add("softmax", Softmax(), x)
