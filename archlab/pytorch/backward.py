"""An independent count of a real backward pass: torch's `FlopCounterMode`, and where it is known to be wrong."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from archlab.profiles import Profile


def counted(model: Callable[..., Any], *inputs: Any) -> tuple[int, int]:
    """Return the MACs (half the FLOPs) of the forward pass and of the backward pass from every floating output.

    The model runs for real, on the device of its tensors. Attention runs as the two products that it is, and
    recurrent layers without mkldnn: of the fused CPU kernels `FlopCounterMode` counts nothing.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with (
            torch.backends.mkldnn.flags(enabled=False),
            sdpa_kernel(SDPBackend.MATH),
            torch.enable_grad(),
            FlopCounterMode(display=False) as counter,
        ):
            outputs = [t for t in tree_leaves(model(*inputs)) if isinstance(t, Tensor) and t.requires_grad]
            forward = counter.get_total_flops()
            if outputs:
                torch.autograd.backward([output.sum() for output in outputs])
            whole = counter.get_total_flops()
    assert forward % 2 == whole % 2 == 0
    return forward // 2, (whole - forward) // 2


def groups_ignored(profile: Profile) -> int:
    """Return how many MACs too many it counts for the weights of grouped convolutions.

    For a weight's gradient it multiplies all C_in channels (all C_out of a transposed convolution), not
    those of one group: g times the product. See `conv_backward_flop` in ``torch/utils/flop_counter.py``.
    """
    grouped = [(layer.node.op, layer.gradients or {}) for layer in profile.layers if layer.op.startswith("Conv")]
    return sum((getattr(op, "groups", 1) - 1) * found["weight"].value for op, found in grouped if "weight" in found)
