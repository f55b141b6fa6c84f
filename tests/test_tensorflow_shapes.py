"""TensorFlow's own shapes of Inception v1, on the lowered module and in the graph."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from archlab.ir import TensorSpec
from archlab.pytorch.lower import lower
from archlab.zoo import catalog
from archlab.zoo.googlenet import TABLE_1


def endpoints(shape: tuple[int, ...]) -> Iterator[tuple[str, tuple[int, ...]]]:
    graph = catalog.build("googlenet-tfslim").with_inputs({"input": TensorSpec(shape)})
    module = lower(graph, "meta").eval()
    seen: dict[str, tuple[int, ...]] = {}

    def listen(name: str) -> Any:
        return lambda _module, _inputs, made: seen.update({name: tuple(made.shape[1:])})

    for node in graph.nodes[1:]:
        module.layer(node.name).register_forward_hook(listen(node.name))
    module(torch.empty(shape, device="meta"))
    assert seen == {node.name: graph.specs[node.name][0].shape[1:] for node in graph.nodes[1:]}
    return iter(seen.items())


def test_tensorflows_inception_v1_has_the_endpoints_of_its_own_test() -> None:
    # tensorflow/models research/slim/nets/inception_v1_test.py, testBuildAndCheckAllEndPointsUptoMixed5c
    seen = dict(endpoints((5, 3, 224, 224)))
    outputs = {f"inception_{m}/output": sum((w.n1x1, w.n3x3, w.n5x5, w.pool_proj)) for m, w in TABLE_1.items()}
    sides = {"3": 28, "4": 14, "5": 7}
    assert {name: seen[name] for name in outputs} == {
        name: (channels, sides[name[10]], sides[name[10]]) for name, channels in outputs.items()
    }
    assert seen["conv1/7x7_s2"] == (64, 112, 112)
    assert seen["pool1/3x3_s2"] == seen["conv2/3x3_reduce"] == (64, 56, 56)
    assert seen["conv2/3x3"] == (192, 56, 56)
    assert [seen[f"pool{i}"] for i in ("2/3x3_s2", "3/3x3_s2", "4/2x2_s2")] == [
        (192, 28, 28), (480, 14, 14), (832, 7, 7),
    ]  # fmt: skip


@pytest.mark.parametrize(("shape", "expected"), [((5, 3, 112, 112), (1024, 4, 4)), ((2, 3, 250, 300), (1024, 8, 10))])
def test_tensorflows_padding_rounds_up_at_every_size(shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    # The same file: testHalfSizeImages and testUnknownImageShape.
    assert dict(endpoints(shape))["inception_5b/output"] == expected
