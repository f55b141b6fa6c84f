"""`Op`: what a layer computes. A concrete op is a frozen dataclass that holds all known of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from archlab.formula import Formula
from archlab.ir.gradient import Gradient
from archlab.ir.tensor import Shape, TensorSpec, is_complex

OPERATION_CLASSES = ("mac", "add", "mul", "div", "exp", "cmp")
MODES = ("inference", "training")
COMPLEX = ("complex", 4)
"""A multiply-accumulate of complex numbers is four of real ones."""


def products_of(macs: Formula, outputs: tuple[TensorSpec, ...]) -> Formula:
    """Return MACs as products of real numbers: of those that make complex ones each is four."""
    return macs.each(COMPLEX) if outputs and is_complex(outputs[0].dtype) else macs


@dataclass(frozen=True)
class Op:
    """Base of all ops: fields the designer chooses, and the rules that follow from them.

    An op never stores the size of its input, so every edit of a graph re-infers itself.
    """

    arity: ClassVar[int | None] = 1
    """How many tensors it reads; None for `at_least` or more."""

    at_least: ClassVar[int] = 1
    """How many tensors it reads at least, where `arity` leaves that open."""

    @property
    def reads(self) -> int | None:
        """How many tensors it reads: `arity`, unless its fields say otherwise."""
        return self.arity

    is_input: ClassVar[bool] = False
    """Whether its tensor is given by the caller."""

    is_kept: ClassVar[bool] = False
    """Whether its tensor is one that the model keeps, so that it is no activation."""

    gathers: ClassVar[bool] = False
    """Whether `fetched` says of its inputs, too, what it reads of them."""

    rule: ClassVar[str] = ""
    """One sentence: how its operations are counted."""

    @property
    def uncounted(self) -> str:
        """The name under which it is reported as uncounted, empty where its rule counts all it does."""
        return ""

    @property
    def is_view(self) -> bool:
        """Whether the output is the input's storage, so that no bytes move."""
        return False

    def infer(self, *inputs: TensorSpec) -> TensorSpec | tuple[TensorSpec, ...]:
        """Return the outputs' specs; raise `ShapeError` for what torch would reject, too."""
        raise NotImplementedError(type(self).__name__)

    def outputs(self, *inputs: TensorSpec) -> tuple[TensorSpec, ...]:
        """Return what `infer` does, always as a tuple."""
        inferred = self.infer(*inputs)
        return inferred if isinstance(inferred, tuple) else (inferred,)

    def weights(self, *inputs: TensorSpec) -> Mapping[str, Shape]:
        """Return the shape of each parameter by its role."""
        return {}

    def buffers(self, *inputs: TensorSpec) -> Mapping[str, TensorSpec]:
        """Return the tensors it keeps that are not learned, by role."""
        return {}

    def fetched(self, role: str | int, spec: TensorSpec, *inputs: TensorSpec) -> TensorSpec:
        """Return what it reads of a parameter, or of an input by its place; a gather touches some rows only."""
        return spec

    def arithmetic(self, outputs: tuple[TensorSpec, ...], *inputs: TensorSpec) -> Mapping[str, Formula]:
        """Return how many operations of each class it performs."""
        return {}

    def gradients(self, outputs: tuple[TensorSpec, ...], *inputs: TensorSpec) -> tuple[Gradient, ...]:
        """Return the products of its backward pass: one for each operand of each of its contractions.

        What the forward pass has computed is at hand: recomputation (checkpoints, fused attention) and
        elementwise work are not counted.
        """
        return ()

    def passes_gradient(self, index: int) -> bool:
        """Return whether a gradient of its floating outputs flows back to the input at that place."""
        return True

    def formulas(self, outputs: tuple[TensorSpec, ...], *inputs: TensorSpec) -> Mapping[str, Formula]:
        """Return `arithmetic` for the elements' type: a product of complex numbers takes four."""
        counts = self.arithmetic(outputs, *inputs)
        return {**counts, "mac": products_of(counts["mac"], outputs)} if "mac" in counts else counts

    def in_mode(self, mode: str) -> Op:
        """Return the op as it acts in inference or in training."""
        return self

    def to_torch(self, nn: Any, *inputs: TensorSpec) -> Any:
        """Return the matching `torch.nn.Module`; `nn` holds torch's modules and a few of ours."""
        raise NotImplementedError(type(self).__name__)
