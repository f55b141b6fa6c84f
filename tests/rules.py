"""How others count: the rule behind a printed figure, as a function of our profile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from archlab.ops import (
    CONVOLUTIONS,
    AvgPool2d,
    BatchNorm,
    Flatten,
    GlobalAvgPool2d,
    Linear,
    LocalResponseNorm,
    MaxPool2d,
    ReLU,
)
from archlab.profiles import Layer, Profile, profile_graph

WINDOWED = (MaxPool2d, AvgPool2d, GlobalAvgPool2d)
"""Pools with a kernel. None of these rules counts adaptive ones."""


def of(profile: Profile, *ops: type) -> list[Layer]:
    return [layer for layer in profile.layers if isinstance(layer.node.op, ops)]


def params(profile: Profile) -> int:
    """All scalars read."""
    return profile.total.params


def macs(profile: Profile) -> int:
    """Multiply-accumulates alone."""
    return profile.total.macs


def conv_macs(profile: Profile) -> int:
    """Multiply-accumulates of convolutions, without the classifier's."""
    return sum(layer.cost.macs for layer in of(profile, *CONVOLUTIONS))


def biases(profile: Profile) -> int:
    """The biases of convolutions and linear layers."""
    return profile.biases


def weights(profile: Profile) -> int:
    """The parameters without the biases."""
    return params(profile) - biases(profile)


def without_head(profile: Profile) -> int:
    """The parameters in front of the classifier."""
    return params(profile) - sum(layer.cost.params for layer in of(profile, Linear))


def bias_adds(profile: Profile) -> int:
    return sum(layer.cost.operations["add"] for layer in of(profile, *CONVOLUTIONS, Linear))


def relus(profile: Profile) -> int:
    return sum(layer.cost.operations["cmp"] for layer in of(profile, ReLU))


def pool_windows(profile: Profile) -> int:
    return sum(layer.cost.operations["cmp"] + layer.cost.operations["add"] for layer in of(profile, *WINDOWED))


def with_biases(profile: Profile) -> int:
    """2 per MAC, 1 per biased output; pooling free (tf.profiler, d2l)."""
    return 2 * macs(profile) + bias_adds(profile)


def with_pools(profile: Profile) -> int:
    """2 per MAC, 1 per biased output, k·k per pooled output (google-research/receptive_field)."""
    return with_biases(profile) + pool_windows(profile)


def openvino(profile: Profile) -> int:
    """2 per MAC, 1 per biased output and ReLU, k·k per pooled output (open_model_zoo)."""
    return with_pools(profile) + relus(profile)


def calflops(profile: Profile) -> int:
    """2 per MAC, 1 per biased output, ReLU and element that a pool reads."""
    pooled = sum(layer.inputs[0].numel for layer in of(profile, *WINDOWED))
    return with_biases(profile) + relus(profile) + pooled


def imgclsmob(profile: Profile) -> float:
    """Half of 2 per MAC, 1 per ReLU, k·k per pooled output; biases are free."""
    return (2 * macs(profile) + relus(profile) + pool_windows(profile)) / 2


def netscope(profile: Profile) -> int:
    """MACs, and 5 per element of a local response normalisation."""
    return macs(profile) + 5 * sum(layer.cost.activations for layer in of(profile, LocalResponseNorm))


def netscope_params(profile: Profile) -> int:
    """Parameters, and 2 per local response normalisation."""
    return params(profile) + 2 * len(of(profile, LocalResponseNorm))


def burden(profile: Profile) -> int:
    """MACs, bias adds, 2 per ReLU, 2·stride² per pooled output, out + (2+2C)·H·W per LRN (core/burden.m)."""
    pools: list[tuple[Layer, Any]] = [(layer, layer.node.op) for layer in of(profile, *WINDOWED)]
    strides = [getattr(op, "stride", (1, 1)) for _, op in pools]
    pooled = sum(2 * row.cost.activations * s[0] * s[1] for (row, _), s in zip(pools, strides, strict=True))
    norms = sum(
        layer.cost.activations + (2 + 2 * layer.output_shape[1]) * layer.output_shape[2] * layer.output_shape[3]
        for layer in of(profile, LocalResponseNorm)
    )
    return macs(profile) + bias_adds(profile) + 2 * relus(profile) + pooled + norms


def thop(profile: Profile) -> int:
    """MACs and convolutions' biases, the linear layers' MACs twice (the README's figures)."""
    conv_biases = sum(layer.cost.operations["add"] for layer in of(profile, *CONVOLUTIONS))
    return 2 * macs(profile) - conv_macs(profile) + conv_biases


def timm(profile: Profile) -> int:
    """Output elements of convolutions and linear layers (``macts``)."""
    return sum(layer.cost.activations for layer in of(profile, *CONVOLUTIONS, Linear))


def tf_variables(profile: Profile) -> int:
    """Weights and three vectors of each batch norm (beta, mean, variance), without the classifier."""
    return without_head(profile) + profile.parameters["buffers"] - len(of(profile, BatchNorm))


def feature_bytes(profile: Profile) -> int:
    """float32 bytes of the outputs of convolutions, pools and linear layers; ReLU in place."""
    return 4 * sum(layer.cost.activations for layer in of(profile, *CONVOLUTIONS, *WINDOWED, Linear))


def param_bytes(profile: Profile) -> int:
    """float32 bytes of the parameters."""
    return 4 * params(profile)


def caffe_layers(profile: Profile) -> int:
    """Every layer of Caffe's file, which needs no flatten."""
    return len(profile.layers) - len(of(profile, Flatten))


def up_to(name: str) -> Callable[[Profile], Profile]:
    """Return what cuts a network behind a layer of ours."""

    def cut(profile: Profile) -> Profile:
        graph = profile.graph
        end = [node.name for node in graph.nodes].index(name) + 1
        return profile_graph(graph.edit(graph.nodes[:end], [(name, 0)]))

    return cut
