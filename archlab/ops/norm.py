"""Normalisation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from archlab.dims import equal, product, require, require_integer
from archlab.formula import Formula
from archlab.ir import Op, Shape, TensorSpec
from archlab.ops.elements import element_factors, per_element, require_floating
from archlab.ops.windows import image


def _affine(op: Any, shape: Shape) -> Mapping[str, Shape]:
    roles = {"weight": op.scale, "bias": op.shift}
    return {role: shape for role, present in roles.items() if present}


@dataclass(frozen=True)
class BatchNorm(Op):
    """Batch normalisation over dimension 1 of (N, C), (N, C, L), (N, C, H, W) or (N, C, D, H, W).

    `scale` and `shift` tell whether gamma and beta exist; TF-slim's Inception has no scale.
    """

    scale: bool = True
    shift: bool = True
    eps: float = 1e-5
    training: bool = False

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
        return _affine(self, x.shape[1:2])

    def buffers(self, x: TensorSpec) -> Mapping[str, TensorSpec]:
        """Running mean (C), running variance (C) and the number of batches seen."""
        channels = x.reshaped(x.shape[1:2])
        return {"running_mean": channels, "running_var": channels, "num_batches_tracked": TensorSpec((), "int64")}

    def arithmetic(self, outputs: tuple[TensorSpec, ...], x: TensorSpec) -> Mapping[str, Formula]:
        """See `rule`."""
        if not self.training:
            return {"mul": per_element(x), "add": per_element(x)}
        return _normalise(x, ("C", x.shape[1]))

    def in_mode(self, mode: str) -> BatchNorm:
        """Training normalises by the batch's own statistics."""
        training = mode == "training"
        return self if training == self.training else replace(self, training=training)

    def to_torch(self, nn: Any, x: TensorSpec) -> Any:
        """`torch.nn.BatchNorm1d`, `2d` or `3d`; ours where only one of scale and shift exists."""
        rank = max(len(x.shape) - 2, 1)
        if self.scale == self.shift:
            return getattr(nn, f"BatchNorm{rank}d")(x.shape[1], self.eps, affine=self.scale)
        return nn.HalfAffineBatchNorm(x.shape[1], self.eps, scale=self.scale)


@dataclass(frozen=True)
class LayerNorm(Op):
    """Layer normalisation over the last `dims` dimensions."""

    dims: int = 1
    scale: bool = True
    shift: bool = True
    eps: float = 1e-5

    rule = "4 add and 3 mul per input element, 2 div and 1 exp per normalised group"

    def __post_init__(self) -> None:
        object.__setattr__(self, "dims", require_integer(self.dims, "dims", 1))
        require(self.scale or not self.shift, "a layer norm with a shift has a scale, too, in torch")

    def infer(self, x: TensorSpec) -> TensorSpec:
        """The shape is unchanged."""
        require(len(x.shape) >= self.dims, "normalises {} dimensions, got {}", self.dims, x.shape)
        require_floating(x)
        return x

    def weights(self, x: TensorSpec) -> Mapping[str, Shape]:
        """Weight and bias of the normalised shape."""
        return _affine(self, x.shape[-self.dims :])

    def arithmetic(self, outputs: tuple[TensorSpec, ...], x: TensorSpec) -> Mapping[str, Formula]:
        """See `rule`."""
        return _normalise(x, *element_factors(x, "in")[: len(x.shape) - self.dims])

    def to_torch(self, nn: Any, x: TensorSpec) -> Any:
        """`torch.nn.LayerNorm`."""
        return nn.LayerNorm(x.shape[-self.dims :], self.eps, self.scale, self.shift)


@dataclass(frozen=True)
class LocalResponseNorm(Op):
    """Normalisation across `size` neighbouring channels of (N, C, H, W) (Krizhevsky 2012)."""

    size: int = 5
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1.0

    rule = "2 mul, size+1 add, 1 exp and 1 div per element"

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", require_integer(self.size, "size", 1))

    def infer(self, x: TensorSpec) -> TensorSpec:
        """The shape is unchanged."""
        image(x)
        require_floating(x)
        return x

    def arithmetic(self, outputs: tuple[TensorSpec, ...], x: TensorSpec) -> Mapping[str, Formula]:
        """See `rule`."""
        each = per_element(x)
        adds = Formula.product(*element_factors(x), ("(n+1)", self.size + 1))
        return {"mul": per_element(x, 2), "add": adds, "exp": each, "div": each}

    def to_torch(self, nn: Any, x: TensorSpec) -> Any:
        """`torch.nn.LocalResponseNorm`."""
        return nn.LocalResponseNorm(self.size, self.alpha, self.beta, self.k)


def _normalise(x: TensorSpec, *groups: tuple[str, int]) -> Mapping[str, Formula]:
    """Count a normalisation by statistics of the tensor itself; `groups` are the factors of their number."""
    return {
        "add": per_element(x, 4, "in"),
        "mul": per_element(x, 3, "in"),
        "div": Formula.product(2, *groups),
        "exp": Formula.product(*(groups or (1,))),
    }
