"""`Gradient`: one product of a backward pass, and what must need a gradient for it to be computed."""

from __future__ import annotations

from dataclasses import dataclass

from archlab.formula import Formula


@dataclass(frozen=True, slots=True)
class Gradient:
    """The product that gives the gradient of one operand of a contraction.

    `operand` names it for a reader. `of` are the inputs (by place) and the weights (by role) that the
    operand is made of: the product is computed if any of them needs a gradient.
    """

    operand: str
    of: tuple[int | str, ...]
    macs: Formula
