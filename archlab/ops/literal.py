"""Ops that a trace writes down with the shapes that it saw, and tensors that the model keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from archlab.dims import minimum, require
from archlab.formula import Formula
from archlab.ir import OPERATION_CLASSES, Gradient, Op, Shape, TensorSpec
from archlab.ir.call import Specs
from archlab.ops.elements import counts_of, require_name
from archlab.ops.gradients import CUT, LIKE_FIRST, gradients_of

Shapes = tuple[Shape, ...]
"""A shape for each of several tensors."""
Dtypes = str | tuple[str, ...]
"""One dtype for several tensors, or one for each."""
Costs = tuple[tuple[str, int], ...]
"""Numbers of operations by their class."""
Sums = tuple[tuple[str, tuple[tuple[tuple[str, int], ...], ...]], ...]
"""For each of some operation classes a sum of products of named integers: the terms of its `Formula`."""


@dataclass(frozen=True)
class Kept(Op):
    """A tensor that the model keeps and reads as data: a parameter, or (`learned` false) a buffer or a constant."""

    shape: Any
    dtype: str = "float32"
    learned: bool = True

    arity = 0
    is_kept = True
    rule = "kept by the model, nothing is computed"

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", TensorSpec(self.shape, self.dtype).shape)

    @property
    def is_view(self) -> bool:
        """It computes nothing."""
        return True

    def infer(self) -> TensorSpec:
        """The kept shape."""
        return TensorSpec(self.shape, self.dtype)

    def weights(self) -> Mapping[str, Shape]:
        """Itself, if it is learned."""
        return {"value": self.shape} if self.learned else {}


class _Literal(Op):
    """An op that holds for the inputs' shapes that the trace saw (`saw`), and for no others."""

    arity = None
    function: str

    def gradients(self, outputs: tuple[TensorSpec, ...], *inputs: TensorSpec) -> tuple[Gradient, ...]:
        """See `ops.gradients`."""
        counts = self.arithmetic(outputs, *inputs)
        return gradients_of(self.function, counts["mac"], outputs, inputs) if "mac" in counts else ()

    def _require_seen(self, saw: Shapes | None, inputs: tuple[TensorSpec, ...]) -> None:
        given = tuple(x.shape for x in inputs)
        is_open = any(getattr(d, "ndim", 0) or getattr(d, "free_symbols", None) for shape in given for d in shape)
        seen = "one input" if saw is None else saw
        require(not is_open, "{} was traced for {} and is literal: it takes no open size", self.function, seen)
        fits = saw is None or given == saw
        require(fits, "{} was traced for {} and is literal, got {}; trace it again", self.function, seen, given)

    def _made(self, shapes: Shapes, dtype: Any, inputs: tuple[TensorSpec, ...]) -> tuple[TensorSpec, ...]:
        first = inputs[0].dtype if inputs else "float32"
        dtypes = dtype if isinstance(dtype, tuple) else (dtype,) * len(shapes)
        return tuple(TensorSpec(shape, each or first) for shape, each in zip(shapes, dtypes, strict=True))


@dataclass(frozen=True)
class Layout(_Literal):
    """Elements arranged anew, by a view (`shares`) or by a copy: a slice, a transposition, a cast.

    It is literal: `shapes` it makes of tensors of the shapes `saw`, all of `dtype` (the first input's, if empty),
    or each of its own.
    """

    function: str
    shapes: Shapes
    saw: Shapes
    dtype: Dtypes = ""
    shares: bool = True

    rule = "elements are arranged anew, nothing is computed; a view moves nothing"

    def __post_init__(self) -> None:
        require_name(self.function)
        require(bool(self.shapes), "{} makes at least one tensor", self.function)
        several = isinstance(self.dtype, tuple)
        fits = len(self.dtype) == len(self.shapes) if several else True
        texts = all(isinstance(dtype, str) for dtype in (self.dtype if several else (self.dtype,)))
        require(fits and texts, "{} has a dtype for all it makes or one for each, got {}", self.function, self.dtype)

    @property
    def is_view(self) -> bool:
        """Whether the output is the input's storage."""
        return self.shares

    def passes_gradient(self, index: int) -> bool:
        """Not where only the shape of a tensor is read, or where the model cuts its graph."""
        return self.function not in CUT and (index == 0 or self.function not in LIKE_FIRST)

    def infer(self, *inputs: TensorSpec) -> tuple[TensorSpec, ...]:
        """The shapes that the trace saw."""
        self._require_seen(self.saw, inputs)
        return self._made(self.shapes, self.dtype, inputs)


@dataclass(frozen=True)
class Counted(_Literal):
    """A function whose operations per element of the first output (`each`) the trace knows, such as a resampling.

    `whole` are operations of the call that no output element has an equal share of, such as those of a
    sparse product. Like `Layout` it is literal.
    """

    function: str
    shapes: Shapes
    saw: Shapes
    each: Costs = ()
    dtype: str = ""
    whole: Costs = ()

    rule = "so many operations per output element, and in all, as stated"

    def __post_init__(self) -> None:
        require_name(self.function)
        require(bool(self.shapes), "{} makes at least one tensor", self.function)
        kinds = [kind for kind, _ in (*self.each, *self.whole)]
        known = all(kind in OPERATION_CLASSES for kind in kinds) and len(set(kinds)) == len(kinds)
        classes = ", ".join(OPERATION_CLASSES)
        every = (*self.each, *self.whole)
        require(known, "operations are counted by class ({}), each once, got {}", classes, every)
        require(all(times >= 0 for _, times in every), "a count cannot be negative: {}", every)

    def infer(self, *inputs: TensorSpec) -> tuple[TensorSpec, ...]:
        """The shapes that the trace saw."""
        self._require_seen(self.saw, inputs)
        return self._made(self.shapes, self.dtype, inputs)

    def arithmetic(self, outputs: tuple[TensorSpec, ...], *inputs: TensorSpec) -> Mapping[str, Formula]:
        """`each` operations per element of the first output, and `whole` ones."""
        counts = dict(counts_of(outputs[0], dict(self.each)))
        counts.update({kind: Formula.product(times) for kind, times in self.whole})
        return counts

    @property
    def gathers(self) -> bool:
        """Whether it reads some of the matrices that it is given."""
        return self.function == "grouped_mm"

    def fetched(self, role: str | int, spec: TensorSpec, *inputs: TensorSpec) -> TensorSpec:
        """Of a matrix a group no more than one a row, where the rows are spread evenly."""
        if role != 1 or not self.gathers or len(inputs[0].shape) != 2:
            return spec
        return spec.reshaped((minimum(inputs[0].shape[0], spec.shape[0]), *spec.shape[1:]))

    def passes_gradient(self, index: int) -> bool:
        """Not where the function has no derivative."""
        return self.function not in CUT


@dataclass(frozen=True)
class Unknown(_Literal):
    """A function that has no rule. It is part of every result as uncounted.

    It makes `outputs_seen` of tensors of the shapes `saw` (None where nobody wrote them down).
    """

    function: str
    outputs_seen: Specs
    saw: Shapes | None = None

    at_least = 0
    rule = "no rule: uncounted"

    def __post_init__(self) -> None:
        require_name(self.function)
        require(bool(self.outputs_seen), "{} makes at least one tensor", self.function)

    @property
    def uncounted(self) -> str:
        """The function."""
        return self.function

    def infer(self, *inputs: TensorSpec) -> tuple[TensorSpec, ...]:
        """What the trace saw."""
        self._require_seen(self.saw, inputs)
        return tuple(TensorSpec(shape, dtype) for shape, dtype in self.outputs_seen)


@dataclass(frozen=True)
class Custom(_Literal):
    """An op of somebody's own, counted by the rule that they gave for it (`archlab.rule`).

    Like `Layout` it is literal: it makes `outputs_seen` of tensors of the shapes `saw`, with `counts` in all.
    """

    function: str
    outputs_seen: Specs
    saw: Shapes
    counts: Sums = ()

    at_least = 0
    rule = "as the rule that was given for it says"

    def __post_init__(self) -> None:
        require_name(self.function)
        require(bool(self.outputs_seen), "{} makes at least one tensor", self.function)
        kinds = [kind for kind, _ in self.counts]
        known = all(kind in OPERATION_CLASSES for kind in kinds) and len(set(kinds)) == len(kinds)
        require(known, "operations are counted by class ({}), each once, got {}", ", ".join(OPERATION_CLASSES), kinds)
        for kind, terms in self.counts:
            named = all(name.isprintable() for term in terms for name, _ in term)
            require(named, "the factors of {} have printable names, got {!r}", kind, terms)
            count = Formula(*terms).value
            require(count >= 0, "a count cannot be negative: {} {}", count, kind)

    def infer(self, *inputs: TensorSpec) -> tuple[TensorSpec, ...]:
        """What the trace saw."""
        self._require_seen(self.saw, inputs)
        return tuple(TensorSpec(shape, dtype) for shape, dtype in self.outputs_seen)

    def arithmetic(self, outputs: tuple[TensorSpec, ...], *inputs: TensorSpec) -> Mapping[str, Formula]:
        """The counts."""
        return {kind: Formula(*terms) for kind, terms in self.counts}
