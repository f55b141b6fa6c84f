"""Batch normalisation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from archlab.dims import equal, product, require
from archlab.formula import Formula
from archlab.ir import Op, Shape, TensorSpec
from archlab.ops.elements import per_element, require_floating
from archlab.ops.norm import affine, normalise


@dataclass(frozen=True)
class BatchNorm(Op):
    """Batch normalisation over dimension 1 of (N, C), (N, C, L), (N, C, H, W) or (N, C, D, H, W).

    `scale` and `shift` tell whether gamma and beta exist (TF-slim's Inception has no scale), `tracked`
    whether it keeps running statistics. Without them no mode changes what it normalises by: the batch's
    own statistics (`training`), or others that it is handed.
    """

    scale: bool = True
    shift: bool = True
    eps: float = 1e-5
    training: bool = False
    tracked: bool = True

    rule = (
        "inference: 1 mul and 1 add per element; training: 4 add and 3 mul per input element, "
        "2 div and 1 exp per channel"
    )

    def infer(self, x: TensorSpec) -> TensorSpec:
        """The shape is unchanged."""
        require(2 <= len(x.shape) <= 5, "needs 2 to 5 dimensions, got {}", x.shape)
        require_floating(x)
        require(x.shape[1] >= 1, "needs at least one channel, got {}", x.shape)
        if self.training:
            values = product((x.shape[0], *x.shape[2:]))
            require(
                (values > 1) | equal(values, 0), "training needs more than one value per channel, got {}", x.shape
            )
        return x

    def weights(self, x: TensorSpec) -> Mapping[str, Shape]:
        """Weight (C) and bias (C), those that exist."""
        return affine(self, x.shape[1:2])

    def buffers(self, x: TensorSpec) -> Mapping[str, TensorSpec]:
        """Running mean (C), running variance (C) and the number of batches seen."""
        if not self.tracked:
            return {}
        channels = x.reshaped(x.shape[1:2])
        return {"running_mean": channels, "running_var": channels, "num_batches_tracked": TensorSpec((), "int64")}

    def arithmetic(self, outputs: tuple[TensorSpec, ...], x: TensorSpec) -> Mapping[str, Formula]:
        """See `rule`."""
        if not self.training:
            return {"mul": per_element(x), "add": per_element(x)}
        return normalise(x, ("C", x.shape[1]))

    def in_mode(self, mode: str) -> BatchNorm:
        """Training normalises by the batch's own statistics; without others, so does inference."""
        training = mode == "training" if self.tracked else self.training
        return self if training == self.training else replace(self, training=training)

    def to_torch(self, nn: Any, x: TensorSpec) -> Any:
        """`torch.nn.BatchNorm1d`, `2d` or `3d`; ours where only one of scale and shift exists."""
        rank = max(len(x.shape) - 2, 1)
        if self.scale == self.shift:
            norm = getattr(nn, f"BatchNorm{rank}d")
            return norm(x.shape[1], self.eps, affine=self.scale, track_running_stats=self.tracked)
        return nn.HalfAffineBatchNorm(x.shape[1], self.eps, scale=self.scale, tracked=self.tracked)
