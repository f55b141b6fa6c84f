"""Matrix products."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from archlab.dims import equal, require, require_integer
from archlab.formula import Formula
from archlab.ir import Gradient, Op, Shape, TensorSpec
from archlab.ops.computed import computed_roles, kept, require_shapes, weighted_gradients
from archlab.ops.elements import element_factors, require_floating
from archlab.ops.pointwise import broadcast


@dataclass(frozen=True)
class Linear(Op):
    """A linear layer over the last dimension. `computed` names the weights that are read as inputs, not kept."""

    out_features: int
    bias: bool = True
    computed: Any = field(default=(), repr=False)

    rule = "each output element sums F_in products; a bias adds 1"

    def __post_init__(self) -> None:
        object.__setattr__(self, "out_features", require_integer(self.out_features, "out_features", 1))
        object.__setattr__(self, "computed", computed_roles(self.computed, self.bias))

    @property
    def reads(self) -> int:
        """The input, and the weights that are computed."""
        return 1 + len(self.computed)

    def infer(self, x: TensorSpec, *computed: TensorSpec) -> TensorSpec:
        """(*, F_in) -> (*, F_out)."""
        require(len(x.shape) >= 1, "needs at least one dimension, got {}", x.shape)
        require_floating(x)
        if computed:
            require_shapes(self._roles(x), self.computed, computed)
        return x.reshaped((*x.shape[:-1], self.out_features))

    def _roles(self, x: TensorSpec) -> Mapping[str, Shape]:
        return {
            "weight": (self.out_features, x.shape[-1]),
            **({"bias": (self.out_features,)} if self.bias else {}),
        }

    def weights(self, x: TensorSpec, *computed: TensorSpec) -> Mapping[str, Shape]:
        """Weight (F_out, F_in) and bias (F_out), those that are kept."""
        return kept(self._roles(x), self.computed)

    def arithmetic(
        self, outputs: tuple[TensorSpec, ...], x: TensorSpec, *computed: TensorSpec
    ) -> Mapping[str, Formula]:
        """MACs are (leading dimensions)·F_out·F_in."""
        leading = element_factors(x, "in")[:-1]
        wide = (*leading, ("F_out", self.out_features))
        macs = Formula.product(*wide, ("F_in", x.shape[-1]))
        return {"mac": macs, "add": Formula.product(*wide)} if self.bias else {"mac": macs}

    def gradients(self, outputs: tuple[TensorSpec, ...], *inputs: TensorSpec) -> tuple[Gradient, ...]:
        """The forward's product for the input, and again for the weight."""
        return weighted_gradients(self, outputs, *inputs)

    def to_torch(self, nn: Any, x: TensorSpec, *computed: TensorSpec) -> Any:
        """`torch.nn.Linear`."""
        return nn.Linear(x.shape[-1], self.out_features, self.bias)


@dataclass(frozen=True)
class MatMul(Op):
    """The matrix product of two tensors, batched and broadcast as `torch.matmul` does it."""

    arity = 2
    rule = "each output element sums K products"

    def infer(self, a: TensorSpec, b: TensorSpec) -> TensorSpec:
        """(*, M, K), (*, K, P) -> (*, M, P); a vector loses the dimension that it lacks."""
        require(len(a.shape) >= 1 and len(b.shape) >= 1, "needs vectors or matrices, got {} and {}", a.shape, b.shape)
        require(a.dtype == b.dtype, "cannot multiply {} by {}", a.dtype, b.dtype)
        left = a.shape if len(a.shape) > 1 else (1, *a.shape)
        right = b.shape if len(b.shape) > 1 else (*b.shape, 1)
        require(
            equal(left[-1], right[-2]),
            "cannot multiply {} by {}: {} is not {}",
            a.shape,
            b.shape,
            left[-1],
            right[-2],
        )
        rows = left[-2:-1] if len(a.shape) > 1 else ()
        columns = right[-1:] if len(b.shape) > 1 else ()
        return a.reshaped((*broadcast(left[:-2], right[:-2]), *rows, *columns))

    def arithmetic(self, outputs: tuple[TensorSpec, ...], a: TensorSpec, b: TensorSpec) -> Mapping[str, Formula]:
        """MACs are (output elements)·K."""
        return {"mac": Formula.product(*element_factors(outputs[0]), ("K", a.shape[-1]))}

    def gradients(self, outputs: tuple[TensorSpec, ...], a: TensorSpec, b: TensorSpec) -> tuple[Gradient, ...]:
        """The forward's product for each side."""
        macs = self.arithmetic(outputs, a, b)["mac"]
        return Gradient("left", (0,), macs), Gradient("right", (1,), macs)

    def to_torch(self, nn: Any, a: TensorSpec, b: TensorSpec) -> Any:
        """Our module around `torch.matmul`."""
        return nn.MatMul()
