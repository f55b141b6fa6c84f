"""The modules that torch lacks: padding as TensorFlow does it, half of a batch norm, reshapes that follow."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from archlab.pytorch import modules


def test_a_reshape_that_copies_a_dimension_follows_the_input_at_run_time() -> None:
    assert modules.Reshape(("=1", -1, 2))(torch.zeros(4, 3, 2)).shape == (3, 4, 2)


def test_same_upper_padding_puts_the_odd_position_behind() -> None:
    # ⌈4/2⌉ = 2 outputs of 3 need (2 - 1)·2 + 3 = 5 positions: none in front, one behind.
    conv = modules.SameUpperConv2d(1, 1, 3, 2, bias=False)
    nn.init.ones_(conv.weight)
    x = torch.arange(1.0, 17.0).reshape(1, 1, 4, 4)
    rows = [
        [1 + 2 + 3 + 5 + 6 + 7 + 9 + 10 + 11, 3 + 4 + 7 + 8 + 11 + 12],
        [9 + 10 + 11 + 13 + 14 + 15, 11 + 12 + 15 + 16],
    ]
    assert conv(x).tolist() == [[rows]]
    assert modules.SameUpperMaxPool2d(3, 2)(-x).tolist() == [[[[-1, -3], [-9, -11]]]]


def test_same_upper_pools_take_integers_and_wide_dilations() -> None:
    x = torch.full((1, 1, 5, 5), -(2**31), dtype=torch.int32)
    assert modules.SameUpperMaxPool2d(2, 1)(x).unique().tolist() == [-(2**31)]
    # 3 positions 3 apart span 7 and need 3 in front of the first: more than torch lets its own pool add.
    assert modules.SameUpperMaxPool2d(3, 1, 0, 3)(-torch.ones(1, 1, 5, 5)).unique().tolist() == [-1]


@pytest.mark.parametrize("scale", [True, False])
def test_half_affine_batch_norm_has_one_of_weight_and_bias(scale: bool) -> None:
    ours, whole = modules.HalfAffineBatchNorm(3, 1e-3, scale=scale), nn.BatchNorm2d(3, 1e-3)
    assert [name for name, _ in ours.named_parameters()] == (["weight"] if scale else ["bias"])
    assert [name for name, _ in ours.named_buffers()] == [name for name, _ in whole.named_buffers()]
    x = torch.randn(4, 3, 5, 5)
    for _ in range(2):
        torch.testing.assert_close(ours(x), whole(x))
    torch.testing.assert_close(ours.eval()(x), whole.eval()(x))
    ours.reset_parameters()
    assert ours.num_batches_tracked == 0
