"""`Recorder`: listens to every torch call of a running model and writes down what it computes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from archlab.errors import ShapeError, TraceError
from archlab.ir import Op, Shape, TensorSpec, is_floating
from archlab.ops.general import Kept, Layout
from archlab.pytorch.recipes import Recipe
from archlab.pytorch.spy import NAMES, TracedTensor, traced_tensor
from archlab.pytorch.storages import Storages
from archlab.pytorch.walk import Walk

REAL_ELEMENTS = 2**20
"""Integer and boolean tensors up to this size are computed for real: they steer control flow."""
REAL_FLOATS = 4096
"""So are floating constants up to this size."""


class Step(NamedTuple):
    """One op of the trace: the module call that ran it (-1: none), what it is called, what it read and wrote.

    `outermost` is the torch function that the model called, of which the op may be a part.
    """

    call: int
    function: str
    outermost: str
    op: Op
    inputs: tuple[tuple[int, int], ...]
    weights: dict[str, str]
    outputs: tuple[TensorSpec, ...]


_step: Callable[[tuple[Any, ...]], Step] = partial(tuple.__new__, Step)
"""Returns a step of its fields, in half the time."""


class Recorder(TorchFunctionMode):
    """A mode under which torch calls are answered by rules and written down as steps.

    `names`, `params` and `seen` are those of the walk; what is written over is seen no more. `calls` are the
    module calls: the place, the call that it was made in, and the specs given and returned.
    """

    def __init__(self, walk: Walk, device: torch.device) -> None:
        super().__init__()
        self.names = walk.keys
        self.params = walk.params
        self.seen = dict(walk.seen)
        self.device = device
        self.steps: list[Step] = []
        self.calls: list[list[Any]] = []
        self.inside = -1  # the place in `calls` of the innermost call under way
        self.outermost = ""
        self.storages = Storages()
        self._leaves: dict[int, TracedTensor] = {}
        self._kept: list[Tensor] = []
        self._written: set[int] = set()
        self.assumptions: dict[int, str] = {}  # what is assumed of the elements that a step makes
        self.read_guesses: set[int] = set()  # those steps on whose elements control flow rests
        self.read_choices: set[int] = set()  # steps whose unknown elements steer a grouped product
        self.compared: dict[tuple[int, int], int] = {}  # the first number that unknown integers met
        self.notes = 0  # how often something was noted that is no step
        self.watches_gradients = False
        self.switches: list[int] = []  # steps before which the model turned gradients off, on, off, ...
        self.turned_on = 0  # how often it turned them on where torch had turned them off
        self.ops: dict[Any, Op] = {}
        self._error = 0  # the id of what a module call raised last, and the path of that module
        self._failed = ""
        self._answer = _answer()

    # -- tensors ---------------------------------------------------------------------------------

    def traced(self, tensor: Tensor) -> TracedTensor:
        """Return the traced twin of any tensor: itself, or the leaf of a parameter, buffer or constant.

        What another trace left behind is a constant to this one.
        """
        if type(tensor) is TracedTensor and tensor.recorder is self:
            return tensor
        leaf = self._leaves.get(id(tensor))
        if leaf is None:
            leaf = self._leaves[id(tensor)] = self._leaf(tensor)
            self._kept.append(tensor)  # an id may be reused once its tensor is gone
        return leaf

    def _leaf(self, tensor: Tensor) -> TracedTensor:
        key, spec = self.names.get(id(tensor)), self.spec(tensor)
        if key is None and (seen := self._view_of_parameter(tensor, spec)) is not None:
            return seen
        learned = key is not None and not self.params[key].buffer
        with torch._C.DisableTorchFunction():
            real = tensor.device.type != "meta" and not learned and not isinstance(tensor, torch.nn.Parameter)
            value = tensor.detach().clone() if real and is_small(spec) else None
        op = Kept(spec.shape, spec.dtype, learned)
        made: TracedTensor = self.record(
            key or "constant", op, (), {"value": key} if learned and key else {}, value=value, kept=True
        )
        return made

    def leaf(self, tensor: Tensor) -> TracedTensor | None:
        """Return the traced twin of a tensor, None for one that was not yet met."""
        return self._leaves.get(id(tensor))

    def overwrite(self, tensor: Tensor) -> None:
        """Remember that a parameter or buffer no longer has the elements that the model keeps."""
        self._written.add(id(tensor))
        self.seen.pop(id(tensor), None)

    def is_parameter(self, tensor: Tensor) -> bool:
        """Return whether a tensor is one of the model's parameters or buffers."""
        return id(tensor) in self.names

    def _view_of_parameter(self, tensor: Tensor, spec: TensorSpec) -> TracedTensor | None:
        """Return a view, made where nobody listens, as a view of the parameter whose storage it has."""
        with torch._C.DisableTorchFunction():
            base = tensor._base
        if base is None or id(base) not in self.names:
            return None
        whole = self.traced(base)
        op = Layout("view", (spec.shape,), (whole.spec.shape,), "", True)
        made: TracedTensor = self.record("view", op, [whole], outputs=(spec,))
        return made

    def constant(self, spec: TensorSpec, value: Tensor | None) -> TracedTensor:
        """Return a tensor made from nothing, such as a range."""
        made: TracedTensor = self.record("constant", Kept(spec.shape, spec.dtype, False), (), {}, value=value)
        return made

    def parameter_key(self, tensor: Any) -> str | None:
        """Return the key of a parameter as the model keeps it, None for anything else."""
        key = self.names.get(id(tensor))
        return None if key is None or self.params[key].buffer or id(tensor) in self._written else key

    def buffer_key(self, tensor: Any) -> str | None:
        """Return the key of a buffer as the model keeps it, None for anything else."""
        key = self.names.get(id(tensor))
        return None if key is None or not self.params[key].buffer or id(tensor) in self._written else key

    def elements(self, twin: TracedTensor) -> Tensor | None:
        """Return the known elements of a tensor for control flow to read, None if there are none."""
        self.read_guesses |= twin.guessed
        return twin.value

    def assume(self, made: TracedTensor, value: Tensor, text: str) -> TracedTensor:
        """Give a tensor elements that are assumed; the result says so if control flow reads them."""
        made.value, made.guessed = value, frozenset((made.ref[0],))
        self.assumptions[made.ref[0]] = text
        self.notes += 1
        return made

    def rest(self, made: TracedTensor, text: str) -> None:
        """Say what the shape of a tensor rests on, or what control flow took of its elements."""
        self.assumptions[made.ref[0]] = text
        self.read_guesses.add(made.ref[0])
        self.notes += 1

    def unknown(self, what: str) -> Exception:
        """Return the error of a forward that depends on elements that a trace does not have."""
        return TraceError(f"the forward depends on {what}")

    def spec(self, tensor: Tensor) -> TensorSpec:
        """Return the shape and dtype of any tensor."""
        if type(tensor) is TracedTensor:
            return tensor.spec
        with torch._C.DisableTorchFunction():
            return TensorSpec(tuple(tensor.shape), NAMES[tensor.dtype])

    def record(
        self,
        function: str,
        op: Op,
        inputs: Sequence[Tensor],
        weights: dict[str, str] | None = None,
        outputs: tuple[TensorSpec, ...] | None = None,
        value: Tensor | None = None,
        kept: bool = False,
    ) -> Any:
        """Write down one step and return what it makes: a tensor, or a tuple of several."""
        read = [self.traced(x) for x in inputs]
        if outputs is None or weights:
            specs = tuple([x.spec for x in read])
            known = _inferred(op, specs)
            outputs = outputs or known[0]
            if weights:
                self._check(known[1], weights)
        step = Step(
            -1 if kept else self.inside,
            function,
            function if kept else self.outermost or f"functional.{function}",
            op,
            tuple([x.ref for x in read]),
            weights or {},
            outputs,
        )
        root = read[0].home if op.is_view and read else None
        made = self._write(step, [(root, None)] * len(outputs) if root is not None else None, kept and op.is_kept)
        if value is not None:
            made[0].value = value
        return made[0] if len(made) == 1 else made

    def repeat(self, recipe: Recipe, tensors: Sequence[Any]) -> Any:
        """Write down the step of a call that looks like an earlier one, for its own tensors."""
        function, op, inputs, weights, outputs, homes, wrap = recipe
        refs = []
        for place in inputs:
            tensor = tensors[place]
            whole = type(tensor) is TracedTensor and tensor.recorder is self
            refs.append(tensor.ref if whole else self.traced(tensor).ref)
        keys = {role: self.names[id(tensors[place])] for role, place in weights} if weights else {}
        outermost = self.outermost or f"functional.{function}"
        step = _step((self.inside, function, outermost, op, tuple(refs), keys, outputs))
        if homes is None and wrap is None:  # most calls make one new tensor
            ref = (len(self.steps), 0)
            self.steps.append(step)
            one = traced_tensor(self, ref, outputs[0])
            self.storages.born(one, ref)
            return one
        if homes is None:
            made = self._write(step)
        else:
            made = self._write(step, [(self._root(tensors, place), strides) for place, strides in homes])
        return made[0] if wrap is None else wrap(list(made))

    def repeat_within(self, recipe: Recipe, tensor: TracedTensor) -> TracedTensor:
        """Write down the step of a call of one tensor, whose result is written into that tensor."""
        function, op = recipe[0], recipe[1]
        ref = (len(self.steps), 0)
        outermost = self.outermost or f"functional.{function}"
        self.steps.append(_step((self.inside, function, outermost, op, (self.traced(tensor).ref,), {}, recipe[4])))
        tensor.ref, tensor.known = ref, None
        tensor.home.version += 1
        self.storages.within(tensor)
        return tensor

    def _root(self, tensors: Sequence[Any], place: int) -> TracedTensor | None:
        if place < 0:
            return None
        twin = self.traced(tensors[place])
        return twin.home

    def _write(self, step: Step, homes: Any = None, kept: bool = False) -> tuple[TracedTensor, ...]:
        """Write down a step; `homes` are the root and the strides of each output, where not all are new and dense."""
        number, outputs = len(self.steps), step[6]
        self.steps.append(step)
        if len(outputs) == 1:
            made: tuple[TracedTensor, ...] = (traced_tensor(self, (number, 0), outputs[0]),)
        else:
            made = tuple([traced_tensor(self, (number, i), spec) for i, spec in enumerate(outputs)])
        if kept:
            return made
        born = self.storages.born
        if homes is None:
            for tensor in made:
                born(tensor, tensor.ref)
            return made
        for tensor, (root, strides) in zip(made, homes, strict=True):
            if root is None:
                born(tensor, tensor.ref)
            else:
                self.storages.share(tensor, root)
            tensor.strides = strides
        return made

    def wrote(self, target: TracedTensor, made: TracedTensor) -> None:
        """Let a tensor stand for what was written into it, its storage staying what it is."""
        self.storages.write(target, made)
        value = made.value
        if value is None:
            target.home.version += 1
        target.ref, target.value, target.guessed = made.ref, value, made.guessed
        root = target.root
        if root is not None and root.ref != target.ref:
            self._reach(root, target)

    def _reach(self, root: TracedTensor, view: TracedTensor) -> None:
        """Let whoever reads a tensor later read what was written through a view of it, too."""
        op = Layout("write", (root.spec.shape,), (root.spec.shape, view.spec.shape), "", True)
        outermost = self.outermost or "functional.write"
        self.steps.append(_step((self.inside, "write", outermost, op, (root.ref, view.ref), {}, (root.spec,))))
        root.ref = (len(self.steps) - 1, 0)

    def _check(self, needed: Mapping[str, Shape], weights: Mapping[str, str]) -> None:
        for role, shape in needed.items():
            held = self.params[weights[role]].shape
            if held != shape:
                raise ShapeError(f"{weights[role]} is {held}, its input needs {shape}")

    def close(self) -> None:
        """Let go of every tensor."""
        self._leaves.clear()
        self._kept.clear()

    def fail(self, error: BaseException) -> None:
        """Remember in which module an error was raised, the innermost: it passes through the others later."""
        if id(error) != self._error:
            self._error, self._failed = id(error), self.calls[self.inside][0].path

    def failing(self, error: BaseException) -> str:
        """Return the path of the module that raised an error, an empty string for none."""
        return self._failed if id(error) == self._error else ""

    # -- calls -----------------------------------------------------------------------------------

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self._answer(self, func, args, kwargs or {}, False)

    def dispatched(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Answer a call of ATen, below the Python interface."""
        return self._answer(self, func, args, kwargs, True)


@lru_cache(maxsize=2**13)
def _inferred(op: Op, specs: tuple[TensorSpec, ...]) -> tuple[tuple[TensorSpec, ...], Mapping[str, Shape]]:
    return op.outputs(*specs), op.weights(*specs)


def _answer() -> Callable[..., Any]:
    from archlab.pytorch.rules import answer  # rules know recorders, too

    return answer


def is_small(spec: TensorSpec) -> bool:
    """Return whether a tensor is small enough to be computed for real where its elements are known."""
    return spec.numel <= (REAL_FLOATS if is_floating(spec.dtype) else REAL_ELEMENTS)
