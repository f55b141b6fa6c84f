"""Rules that published tables were made by: each turns a profile's own counts into one figure, nothing else added."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import TYPE_CHECKING, Any

from archlab import ops

if TYPE_CHECKING:
    from archlab.profiles import Layer, Profile


def _sum(profile: Profile, count: Callable[[Layer], int]) -> int:
    return sum(count(layer) for layer in profile.layers)


def biases(profile: Profile) -> int:
    """One addition for each output element of a convolution or linear layer that has a bias."""
    return _sum(profile, lambda layer: layer.outputs[0].numel if _contracts(layer) and _op(layer).bias else 0)


def relus(profile: Profile) -> int:
    """One comparison for each element of a ReLU."""
    return _sum(profile, lambda layer: layer.outputs[0].numel if isinstance(layer.node.op, ops.ReLU) else 0)


def windows(profile: Profile) -> int:
    """Each position of each window of a pool: k·k for an output element, all inputs for a global one."""

    def count(layer: Layer) -> int:
        op = layer.node.op
        if isinstance(op, (ops.MaxPool2d, ops.AvgPool2d)):
            return layer.outputs[0].numel * int(prod(_op(layer).kernel))
        return layer.inputs[0].numel if isinstance(op, (ops.GlobalAvgPool2d, ops.AdaptiveAvgPool2d)) else 0

    return _sum(profile, count)


def pooled(profile: Profile) -> int:
    """One for each input element of a pool."""
    return _sum(profile, lambda layer: layer.inputs[0].numel if isinstance(layer.node.op, ops.POOLS) else 0)


def convolutions(profile: Profile) -> int:
    """MACs of convolutions."""
    return _sum(profile, lambda layer: layer.cost.macs if isinstance(layer.node.op, ops.CONVOLUTIONS) else 0)


def _linear(profile: Profile) -> int:
    return _sum(profile, lambda layer: layer.cost.macs if isinstance(layer.node.op, ops.Linear) else 0)


def _convolution_biases(profile: Profile) -> int:
    def count(layer: Layer) -> int:
        return layer.outputs[0].numel if isinstance(layer.node.op, ops.CONVOLUTIONS) and _op(layer).bias else 0

    return _sum(profile, count)


def _contracts(layer: Layer) -> bool:
    return isinstance(layer.node.op, (ops.Linear, *ops.CONVOLUTIONS))


def _op(layer: Layer) -> Any:
    return layer.node.op


def _macs(profile: Profile) -> int:
    return profile.total.macs


RECIPES: Mapping[str, Callable[[Profile], int]] = {
    "MACs": _macs,
    "2·MACs": lambda p: 2 * _macs(p),
    "FLOPs by archlab's rules": lambda p: p.total.flops,
    "MACs + 1 per bias": lambda p: _macs(p) + biases(p),
    "2·MACs + 1 per bias": lambda p: 2 * _macs(p) + biases(p),
    "2·MACs + 1 per bias and pool position": lambda p: 2 * _macs(p) + biases(p) + windows(p),
    "2·MACs + 1 per bias, ReLU and pool position": lambda p: 2 * _macs(p) + biases(p) + relus(p) + windows(p),
    "2·MACs + 1 per convolution's bias, ReLU and pooled input": lambda p: (
        2 * _macs(p) + _convolution_biases(p) + relus(p) + pooled(p)
    ),
    "half of 2·MACs + 1 per ReLU and pool position": lambda p: (2 * _macs(p) + relus(p) + windows(p)) // 2,
    "MACs of convolutions alone": convolutions,
    "2·MACs of convolutions alone": lambda p: 2 * convolutions(p),
    "MACs + 1 per convolution's bias, linear layers twice": lambda p: _macs(p) + _linear(p) + _convolution_biases(p),
}
"""By what a table's caption could say. In order of how plain they are."""
