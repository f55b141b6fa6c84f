"""Networks that others published, by their names in the oracle: ours, or one edit away from ours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import archlab
from archlab.ir import Graph, Node
from archlab.ops import BatchNorm, Conv2d, GlobalAvgPool2d, Linear, ReLU
from archlab.profiles import Profile, profile_graph
from archlab.transform import select

TARGETS = {
    "googlenet": "googlenet_paper",
    "googlenet@227": "googlenet_caffe_227",
    "googlenet-torchvision": "googlenet_torchvision",
    "googlenet-tfslim": "inception_v1_tfslim",
    "inception5h": "inception5h",
    "inception5h+separable_stem": "inception5h_sepconv1",
    "googlenet+naive": "naive_literal",
    "googlenet+no_reduction": "naive_keep_proj",
    "googlenet+no_pool_proj": "naive_no_proj",
    "googlenet+no_reduction_3x3": "naive_no_red3",
    "googlenet+no_reduction_5x5": "naive_no_red5",
    "googlenet+fc_head": "head_flatten_linear",
    "googlenet+fc4096_head": "head_flatten_4096_4096",
    "alexnet": "alexnet_caffe_227",
    "alexnet@224": "alexnet_caffe_224",
    "alexnet-torchvision": "alexnet_torchvision",
    "vgg11": "vgg11_A",
    "vgg13": "vgg13_B",
    "vgg16": "vgg16_D",
    "vgg19": "vgg19_E",
    "nin": "nin_imagenet_224",
    "nin@227": "nin_imagenet_227",
    "nin-cifar10": "nin_cifar10",
}
TRAINED = {"googlenet": "googlenet_paper_aux", "googlenet-torchvision": "googlenet_torchvision_aux"}


def conv(**fields: Any) -> Callable[[Graph, Node], Any]:
    return lambda _, node: replace(node.op, **fields)  # type: ignore[type-var]


def swapped(target: str, where: Callable[[Graph, Node], bool], count: int, **fields: Any) -> Graph:
    return select(archlab.load(target), Conv2d, where=where).expect(count).swap(conv(**fields))


def ungrouped(target: str) -> Graph:
    return swapped(target, lambda _, node: node.op.groups == 2, 3, groups=1)  # type: ignore[attr-defined]


def normed(target: str) -> Graph:
    return select(archlab.load(target), Conv2d).insert_after(lambda _, node: [(f"{node.name}_bn", BatchNorm())])


def headed(target: str, *layers: tuple[str, Any]) -> Graph:
    return select(archlab.load(target), Linear).expect(1).swap(lambda *_: layers)


def classes_before_average() -> Graph:
    chain = (("cccp_classes", Conv2d(1000, 1)), ("cccp_relu", ReLU()), ("pool5", GlobalAvgPool2d()))
    graph = select(archlab.load("googlenet+no_aux"), GlobalAvgPool2d).swap(lambda *_: chain)
    return select(graph, Linear).expect(1).remove()


FULLY = (
    ("fc6", Linear(4096)),
    ("fc6_relu", ReLU()),
    ("fc7", Linear(4096)),
    ("fc7_relu", ReLU()),
    ("fc8", Linear(1000)),
)
EDITED: dict[str, Callable[[], Graph]] = {
    "googlenet_torchvision_fixed5x5": lambda: swapped(
        "googlenet-torchvision", lambda _, node: node.name.endswith("/5x5"), 9, kernel=5, padding=2
    ),
    "head_flatten_1024": lambda: headed(
        "googlenet+no_aux+fc_head", ("fc", Linear(1024)), ("fc_relu", ReLU()), ("linear", Linear(1000))
    ),
    "head_gap_4096_4096": lambda: headed("googlenet+no_aux", *FULLY),
    "head_nin_1x1_gap": classes_before_average,
    "alexnet_ungrouped_227": lambda: ungrouped("alexnet"),
    "alexnet_imgclsmob_224": lambda: ungrouped("alexnet@224"),
    "vgg16_C_1x1": lambda: swapped(
        "vgg16", lambda _, node: node.name in ("conv3_3", "conv4_3", "conv5_3"), 3, kernel=1, padding=0
    ),
    **{f"{name}_bn": lambda name=name: normed(name) for name in ("vgg11", "vgg13", "vgg16", "vgg19")},  # type: ignore[misc]
    "nin_cifar100": lambda: archlab.load("nin-cifar10", arguments={"num_classes": 100}),
}
"""Published networks that are one edit away from one of the zoo."""

PUBLISHED: dict[str, Callable[[], Profile]] = {
    **{name: lambda target=target: archlab.profile(target) for target, name in TARGETS.items()},  # type: ignore[misc]
    **{name: lambda target=target: archlab.profile(target, mode="training") for target, name in TRAINED.items()},  # type: ignore[misc]
    **{name: lambda make=make: profile_graph(make()) for name, make in EDITED.items()},  # type: ignore[misc]
}
"""Every network of the oracle's models, as we count it."""
