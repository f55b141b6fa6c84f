"""The `nn` that an op's `to_torch` receives: all of `torch.nn`, and the few modules torch lacks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from archlab.ops.windows import SAME_UPPER, pads


def __getattr__(name: str) -> Any:
    return getattr(nn, name)


def _same_upper(x: Tensor, module: Any, fill: float, most: tuple[int, int] | None = None) -> tuple[Tensor, Any]:
    """Return the input, padded unless the kernel can do it without a copy, and the padding left for the kernel.

    A kernel pads both sides alike, and a pool no more than `most`. Sizes are made plain ints, since
    torch.jit hands out tensors while it traces.
    """
    window = zip(_both(module.kernel_size), _both(module.stride), _both(module.dilation), strict=True)
    sides = [pads(SAME_UPPER, int(x.shape[2 + i]), k, s, d, i) for i, (k, s, d) in enumerate(window)]
    (top, bottom), (left, right) = sides
    if top == bottom and left == right and (most is None or (top <= most[0] and left <= most[1])):
        return x, (top, left)
    return functional.pad(x, (left, right, top, bottom), value=fill), (0, 0)


def _both(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


class SameUpperConv2d(nn.Conv2d):
    """`torch.nn.Conv2d` that pads at run time to ⌈size / stride⌉ outputs, the odd position behind."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W) -> (N, C_out, ⌈H/s⌉, ⌈W/s⌉)."""
        x, padding = _same_upper(x, self, 0.0)
        return functional.conv2d(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)


class SameUpperMaxPool2d(nn.MaxPool2d):
    """`torch.nn.MaxPool2d` that pads at run time to ⌈size / stride⌉ outputs, the odd position behind.

    What is padded is the lowest value of the input's type, so that it never wins.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, ⌈H/s⌉, ⌈W/s⌉)."""
        lowest = float("-inf") if x.is_floating_point() else torch.iinfo(x.dtype).min
        height, width = _both(self.kernel_size)
        x, padding = _same_upper(x, self, lowest, (height // 2, width // 2))
        return functional.max_pool2d(x, self.kernel_size, self.stride, padding, self.dilation)


class HalfAffineBatchNorm(nn.BatchNorm2d):
    """Batch norm over (N, C, *) with a scale and no shift (`scale`), or a shift and no scale."""

    def __init__(self, channels: int, eps: float = 1e-5, *, scale: bool, tracked: bool = True) -> None:
        super().__init__(channels, eps, affine=False, track_running_stats=tracked)
        half = nn.Parameter(torch.ones(channels) if scale else torch.zeros(channels))
        setattr(self, "weight" if scale else "bias", half)

    def reset_parameters(self) -> None:
        """Make it the identity: statistics 0 and 1, scale 1, shift 0."""
        self.reset_running_stats()
        if self.weight is not None:
            nn.init.ones_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def _check_input_dim(self, input: Tensor) -> None:
        """Accept every rank that torch's three classes accept between them."""
        if not 2 <= input.dim() <= 5:
            raise ValueError(f"expected 2 to 5 dimensions, got {input.dim()}")


class MatMul(nn.Module):
    """`torch.matmul` of two tensors."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """(*, M, K), (*, K, P) -> (*, M, P)."""
        return torch.matmul(a, b)


class Attention(nn.Module):
    """`torch.nn.functional.scaled_dot_product_attention`, causal where it is `masked` and no mask is given."""

    def __init__(self, masked: bool = False) -> None:
        super().__init__()
        self.masked = masked

    def forward(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
        """(*, L, E), (*, S, E), (*, S, E_v) -> (*, L, E_v); queries may share heads of keys and values."""
        heads = [x.shape[-3] if x.dim() > 2 else 1 for x in (q, k, v)]
        fit = all(a in (b, 1) or b == 1 for a, b in ((heads[0], heads[1]), (heads[0], heads[2]), heads[1:]))
        causal = self.masked and mask is None
        return functional.scaled_dot_product_attention(q, k, v, mask, 0.0, causal, enable_gqa=not fit)

    def extra_repr(self) -> str:
        """Return whether it is masked."""
        return f"masked={self.masked}"


class Add(nn.Module):
    """The sum of two tensors, broadcast."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Return a + b."""
        return torch.add(a, b)


class Mul(nn.Module):
    """The elementwise product of two tensors, broadcast."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Return a * b."""
        return torch.mul(a, b)


class Concat(nn.Module):
    """Tensors joined along one dimension."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return `torch.cat` of the inputs."""
        return torch.cat(inputs, self.dim)

    def extra_repr(self) -> str:
        """Return the dimension."""
        return f"dim={self.dim}"


class Reshape(nn.Module):
    """Another shape for the same elements; an entry ``"=i"`` copies dimension i of what arrives."""

    def __init__(self, entries: tuple[Any, ...]) -> None:
        super().__init__()
        self.entries = tuple(entries)

    def forward(self, x: Tensor) -> Tensor:
        """(*) -> the entries."""
        return x.reshape([x.shape[int(e[1:])] if isinstance(e, str) else e for e in self.entries])

    def extra_repr(self) -> str:
        """Return the entries."""
        return f"entries={self.entries}"
