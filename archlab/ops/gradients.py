"""What the backward pass of functions that a trace writes down by name multiplies, and where no gradient flows."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from archlab.formula import Formula
from archlab.ir import Gradient, TensorSpec, is_floating
from archlab.ops.elements import element_factors

Specs = tuple[TensorSpec, ...]
Rule = Callable[[Formula, Specs, Specs], tuple[Gradient, ...]]

# fmt: off
CUT = frozenset({
    "detach", "empty_like", "full_like", "histc", "new_empty", "new_full", "new_ones", "new_tensor", "new_zeros",
    "ones_like", "quantized_linear", "rand_like", "randn_like", "zeros_like",
})
# fmt: on
"""Functions that no gradient flows through: they read a shape alone, or torch has no derivative of them."""
LIKE_FIRST = frozenset({"expand_as", "reshape_as", "type_as", "view_as"})
"""Those that read no more than the shape or type of the tensors behind the first."""


def gradients_of(function: str, macs: Formula, outputs: Specs, inputs: Specs) -> tuple[Gradient, ...]:
    """Return the products of a function's backward pass.

    Of one that is not listed here, each floating operand is taken to cost the forward's product.
    """
    if function in CUT:
        return ()
    return _RULES.get(function, _every)(macs, outputs, inputs)


def _every(macs: Formula, outputs: Specs, inputs: Specs) -> tuple[Gradient, ...]:
    floating = [i for i, spec in enumerate(inputs) if is_floating(spec.dtype)]
    return tuple(Gradient(f"input {i}", (i,), macs) for i in floating)


def _pair(macs: Formula, outputs: Specs, inputs: Specs) -> tuple[Gradient, ...]:
    """The first two tensors are multiplied: the forward's product for each."""
    return Gradient("left", (0,), macs), Gradient("right", (1,), macs)


def _weighted(macs: Formula, outputs: Specs, inputs: Specs) -> tuple[Gradient, ...]:
    return Gradient("input", (0,), macs), Gradient("weight", (1,), macs)


def _bilinear(macs: Formula, outputs: Specs, inputs: Specs) -> tuple[Gradient, ...]:
    """x₁ᵀ·A is one product and its result times x₂ the other: two gradients of each."""
    first, second = ("I_1", inputs[0].shape[-1]), ("I_2", inputs[1].shape[-1])
    each = element_factors(outputs[0])
    through, out = Formula.product(*each, first, second), Formula.product(*each, second)
    return (
        Gradient("input 1", (0,), through),
        Gradient("weight", (2,), through),
        Gradient("input 1 · weight", (0, 2), out),
        Gradient("input 2", (1,), out),
    )


def _solve_triangular(macs: Formula, outputs: Specs, inputs: Specs) -> tuple[Gradient, ...]:
    """The right side's gradient is another substitution, and the matrix's its product with the solution."""
    whole = Formula.product(*element_factors(outputs[0]), ("n", inputs[0].shape[-1]))
    return Gradient("right side", (0, 1), macs), Gradient("matrix", (0,), whole)


_RULES: Mapping[str, Rule] = {
    **dict.fromkeys(("addbmm", "einsum", "grouped_mm", "sparse_mm"), _pair),
    "deform_conv2d": _weighted,
    "bilinear": _bilinear,
    "solve_triangular": _solve_triangular,
}
