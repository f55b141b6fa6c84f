"""The list of architectures: name, builder, one sentence, source."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from archlab.errors import ShapeError, UsageError, nearest
from archlab.ir import Graph
from archlab.zoo import classics, examples, googlenet

PAPER = "Szegedy et al. 2014, arXiv 1409.4842"
VGG_PAPER = "Simonyan & Zisserman 2014, arXiv 1409.1556"
NIN_PAPER = "Lin et al. 2013, arXiv 1312.4400"


@dataclass(frozen=True)
class Architecture:
    """One architecture of the zoo."""

    build: Callable[..., Graph]
    summary: str
    source: str


ARCHITECTURES: Mapping[str, Architecture] = {
    "naive": Architecture(
        examples.naive, "48 5×5 filters applied directly to 14×14×480.", f"{PAPER}, section 4; worked example"
    ),
    "reduced": Architecture(
        examples.reduced,
        "The same 48 5×5 filters behind 16 1×1 filters.",
        f"{PAPER}, Table 1, 5×5 branch of inception (4a)",
    ),
    **{
        f"inception-{place}": Architecture(
            partial(googlenet.module, place),
            f"Inception module ({place}) alone, fed as in the network: {side}×{side}×{channels}.",
            f"{PAPER}, Table 1",
        )
        for place, (channels, side) in googlenet.PLACES.items()
    },
    "googlenet": Architecture(
        partial(googlenet.build, "googlenet", googlenet.PAPER),
        "GoogLeNet with the paper's geometry, with two auxiliary heads in training.",
        f"{PAPER}, Table 1 and section 5; equal to Caffe's bvlc_googlenet",
    ),
    "googlenet-torchvision": Architecture(
        partial(googlenet.build, "googlenet-torchvision", googlenet.TORCHVISION),
        "GoogLeNet as torchvision has it: batch norm, no LRN, 3×3 filters in the 5×5 branch.",
        "torchvision 0.29.1, models/googlenet.py; pytorch/vision issue 906",
    ),
    "googlenet-tfslim": Architecture(
        partial(googlenet.build, "googlenet-tfslim", googlenet.TF_SLIM),
        "Inception v1 as TF-slim has it: SAME padding, batch norm without scale, 3×3 for 5×5, no auxiliary heads.",
        "tensorflow/models, research/slim/nets/inception_v1.py",
    ),
    "inception5h": Architecture(
        partial(googlenet.build, "inception5h", googlenet.INCEPTION5H),
        "The released TensorFlow graph: 204 filters of 3×3 in (4a), a 5×5 reduction of 48 in (5a), no heads.",
        "TensorFlow inception5h graph, as ported in pytorch/captum (optim, InceptionV1)",
    ),
    "alexnet": Architecture(
        classics.alexnet,
        "AlexNet with two groups in conv2, conv4 and conv5, input 227.",
        "Krizhevsky et al. 2012; BVLC/caffe models/bvlc_alexnet",
    ),
    "alexnet-torchvision": Architecture(
        classics.alexnet_torchvision,
        "torchvision's AlexNet: ungrouped and narrower, without LRN, input 224.",
        "Krizhevsky 2014, arXiv 1404.5997; torchvision 0.29.1, models/alexnet.py",
    ),
    **{
        name: Architecture(
            partial(classics.vgg, name),
            f"VGG configuration {letter}: {sum(stages)} 3×3 convolutions and three linear layers.",
            f"{VGG_PAPER}, Table 1",
        )
        for (name, stages), letter in zip(classics.VGG.items(), "ABDE", strict=True)
    },
    "nin": Architecture(
        classics.nin,
        "Network in Network for ImageNet: 1×1 layers everywhere, global average pooling as the head.",
        f"{NIN_PAPER}; the authors' Caffe model, fed 224",
    ),
    "nin-cifar10": Architecture(
        classics.nin_cifar10, "Network in Network for CIFAR-10; its pools round up.", f"{NIN_PAPER}, section 4"
    ),
}


def build(name: str, arguments: Mapping[str, Any] | None = None) -> Graph:
    """Return an architecture by name; raise `UsageError` for an unknown name or argument."""
    if name not in ARCHITECTURES:
        raise UsageError(f"unknown architecture {name!r}{nearest(name, ARCHITECTURES)} (see: archlab list)")
    constructor = ARCHITECTURES[name].build
    if arguments:
        from inspect import signature

        accepted = signature(constructor).parameters
        for argument in arguments:
            if argument not in accepted:
                known = ", ".join(accepted) or "none"
                raise UsageError(
                    f"{name} takes no argument {argument!r}{nearest(argument, accepted)} (it takes: {known})"
                )
    try:
        return constructor(**(arguments or {}))
    except ShapeError as error:
        given = ", ".join(f"{key}={value}" for key, value in (arguments or {}).items())
        raise UsageError(f"{name} with {given}: {error}") from None
