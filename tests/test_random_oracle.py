"""Random configurations: our shapes, weights, acceptance and MACs equal torch's.

Torch's answer comes from its CPU kernels and from the meta device; a configuration is legal where both
run it, since each accepts things that the other rejects: meta takes negative padding and a softmax over
a dimension that does not exist; CPU kernels skip their checks for an empty batch.
"""

from __future__ import annotations

import warnings

import configurations_traced as traced
import pytest
import torch
from configurations import (
    Configuration,
    adaptive_pools,
    average_pools,
    batch_norms,
    concatenations,
    convolutions,
    flattenings,
    layer_norms,
    linears,
    matmuls,
    max_pools,
    padded_convolutions,
    padded_max_pools,
    reshapings,
    response_norms,
    softmaxes,
    sums_and_products,
    transposed_convolutions,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from archlab.errors import ShapeError
from archlab.ir import Op, TensorSpec
from archlab.ops import MatMul
from archlab.pytorch import modules

MAY_REFUSE_EMPTY = {
    "convolutions": convolutions(),
    "padded convolutions": padded_convolutions(),
    "transposed convolutions": transposed_convolutions(),
    "max pools": max_pools(),
    "padded max pools": padded_max_pools(),
    "average pools": average_pools(),
    "adaptive pools": adaptive_pools(),
    "linears": linears(),
    "batch norms": batch_norms(),
    "response norms": response_norms(),
    "concatenations": concatenations(),
    "1-D convolutions": traced.convolutions(1),
    "3-D convolutions": traced.convolutions(3),
    "1-D transposed convolutions": traced.transposed_convolutions(1),
    "3-D transposed convolutions": traced.transposed_convolutions(3),
    "attentions": traced.attentions(),
}
"""Where torch reads or returns a tensor without elements, these ops may refuse what it accepts.

An architecture with no channels or no positions is a mistake. `torch.cat` skips 1-D empty tensors for
the sake of old code.
"""
AS_TORCH = {
    "matmuls": matmuls(),
    "layer norms": layer_norms(),
    "softmaxes": softmaxes(),
    "sums and products": sums_and_products(),
    "flattenings": flattenings(),
    "reshapings": reshapings(),
    "group norms": traced.group_norms(),
    "RMS norms": traced.rms_norms(),
}
RANDOM = settings(
    max_examples=300, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)


def ran_by_torch(configuration: Configuration) -> tuple[int, ...] | None:
    """Return the shape that torch computes, or None where the CPU or the meta device rejects it."""
    made: list[tuple[int, ...]] = []
    for device in ("cpu", "meta"):
        try:
            with torch.device(device), torch.no_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                made.append(tuple(configuration.module()(*map(torch.zeros, configuration.shapes)).shape))
        except (RuntimeError, ValueError, TypeError, IndexError, ZeroDivisionError):
            return None
    assert made[0] == made[1]
    return made[0]


def accepted(configuration: Configuration) -> tuple[Op, tuple[int, ...]] | None:
    """Return our op and its output's shape, or None where it raises `ShapeError`."""
    try:
        op = configuration.op()
        spec = op.infer(*map(TensorSpec, configuration.shapes))
    except ShapeError:
        return None
    assert isinstance(spec, TensorSpec)
    return op, spec.shape


@pytest.mark.parametrize("kind", [*MAY_REFUSE_EMPTY, *AS_TORCH])
def test_shape_weights_acceptance_and_macs_are_those_of_torch(kind: str) -> None:
    legal = []

    @RANDOM
    @given((MAY_REFUSE_EMPTY | AS_TORCH)[kind])
    def equal_to_torch(configuration: Configuration) -> None:
        ours, theirs = accepted(configuration), ran_by_torch(configuration)
        legal.append(ours is not None)
        if ours is None and theirs is not None and kind in MAY_REFUSE_EMPTY:
            assert 0 in theirs or any(0 in shape for shape in configuration.shapes)
            return
        assert (None if ours is None else ours[1]) == theirs
        if ours is not None:
            compare_module(configuration, ours[0])

    equal_to_torch()
    assert len(legal) // 10 < sum(legal) < len(legal)  # the strategy tries both


def compare_module(configuration: Configuration, op: Op) -> None:
    """Compare weights, buffers, the op's own module and its MACs with torch's."""
    specs = tuple(map(TensorSpec, configuration.shapes))
    with torch.device("meta"), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs, own = configuration.module(), op.to_torch(modules, *specs)
        inputs = [torch.empty(shape) for shape in configuration.shapes]
        with FlopCounterMode(display=False) as counter:
            made = own.train(theirs.training)(*inputs)
    assert type(own) is type(theirs)
    assert made.shape == op.infer(*specs).shape  # type: ignore[union-attr]
    for module in (theirs, own):
        assert dict(op.weights(*specs)) == {name: tuple(p.shape) for name, p in module.named_parameters()}
        assert dict(op.buffers(*specs)) == {name: spec_of(b) for name, b in module.named_buffers()}
    macs = op.arithmetic((TensorSpec(tuple(made.shape)),), *specs).get("mac")
    flops = counter.get_total_flops()
    # The counter has no rule for aten.mv and aten.dot, which torch may choose for products with a vector.
    uncounted = isinstance(op, MatMul) and any(len(shape) == 1 for shape in configuration.shapes) and not flops
    assert uncounted or (0 if macs is None else macs.value) * 2 == flops


def spec_of(tensor: torch.Tensor) -> TensorSpec:
    return TensorSpec(tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))


@RANDOM
@given(st.lists(st.integers(1, 12), min_size=2, max_size=2), st.integers(1, 5), st.integers(1, 4), st.integers(1, 3))
def test_same_upper_padding_makes_one_output_for_each_stride(
    sides: list[int], kernel: int, stride: int, dilation: int
) -> None:
    conv = modules.SameUpperConv2d(1, 1, kernel, stride, 0, dilation, device="meta")
    pool = modules.SameUpperMaxPool2d(kernel, stride, 0, dilation)
    expected = tuple(-(-side // stride) for side in sides)
    x = torch.empty(1, 1, *sides, device="meta")
    assert conv(x).shape[2:] == pool(x).shape[2:] == expected
