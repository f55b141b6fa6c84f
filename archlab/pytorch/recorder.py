"""`Recorder`: listens to every torch call of a running model and writes down what it computes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from archlab.errors import ShapeError, TraceError
from archlab.ir import Op, Shape, TensorSpec, is_floating
from archlab.ops.general import Kept, Layout
from archlab.pytorch.spy import NAMES, TracedTensor
from archlab.pytorch.walk import Place

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


class Called:
    """A module call under way: `inputs` and `outputs` are the tensors given and returned."""

    __slots__ = ("inputs", "outputs", "parent", "place")

    def __init__(self, place: Place, parent: int, inputs: tuple[TensorSpec, ...]) -> None:
        self.place, self.parent, self.inputs = place, parent, inputs
        self.outputs: tuple[TensorSpec, ...] = ()


class Recorder(TorchFunctionMode):
    """A mode under which torch calls are answered by rules and written down as steps."""

    def __init__(
        self, names: dict[int, str], buffers: frozenset[str], shapes: dict[str, Shape], device: torch.device
    ) -> None:
        super().__init__()
        self.names = names  # id of a parameter or buffer -> its key
        self.buffers = buffers
        self.device = device
        self.steps: list[Step] = []
        self.calls: list[Called] = []
        self.inside = -1  # the place in `calls` of the innermost call under way
        self.outermost = ""
        self._leaves: dict[int, TracedTensor] = {}
        self._kept: list[Tensor] = []
        self._written: set[int] = set()
        self.assumptions: dict[int, str] = {}  # what is assumed of the elements that a step makes
        self.read_guesses: set[int] = set()  # those steps on whose elements control flow rests
        self.compared: dict[tuple[int, int], int] = {}  # the first number that unknown integers met
        self.ops: dict[Any, Op] = {}
        self._inferred: dict[Any, tuple[tuple[TensorSpec, ...], Mapping[str, Shape]]] = {}
        self.shapes = shapes

    # -- tensors ---------------------------------------------------------------------------------

    def traced(self, tensor: Tensor) -> TracedTensor:
        """Return the traced twin of any tensor: itself, or the leaf of a parameter, buffer or constant."""
        if type(tensor) is TracedTensor:
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
        learned = key is not None and key not in self.buffers
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
        return None if key in self.buffers or id(tensor) in self._written else key

    def buffer_key(self, tensor: Any) -> str | None:
        """Return the key of a buffer as the model keeps it, None for anything else."""
        key = self.names.get(id(tensor))
        return key if key in self.buffers and id(tensor) not in self._written else None

    def elements(self, twin: TracedTensor) -> Tensor | None:
        """Return the known elements of a tensor for control flow to read, None if there are none."""
        self.read_guesses |= twin.guessed
        return twin.value

    def assume(self, made: TracedTensor, value: Tensor, text: str) -> TracedTensor:
        """Give a tensor elements that are assumed; the result says so if control flow reads them."""
        made.value, made.guessed = value, frozenset((made.ref[0],))
        self.assumptions[made.ref[0]] = text
        return made

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
            known = self._inferred.get((op, specs))
            if known is None:
                known = self._inferred[op, specs] = op.outputs(*specs), op.weights(*specs)
            outputs = outputs or known[0]
            if weights:
                self._check(known[1], weights)
        step = len(self.steps)
        self.steps.append(
            Step(
                -1 if kept else self.inside,
                function,
                function if kept else self.outermost or function,
                op,
                tuple([x.ref for x in read]),
                weights or {},
                outputs,
            )
        )
        made = tuple(TracedTensor(self, (step, i), spec) for i, spec in enumerate(outputs))
        if value is not None:
            made[0].value = value
        return made[0] if len(made) == 1 else made

    def _check(self, needed: Mapping[str, Shape], weights: Mapping[str, str]) -> None:
        for role, shape in needed.items():
            held = self.shapes[weights[role]]
            if held != shape:
                raise ShapeError(f"{weights[role]} is {held}, its input needs {shape}")

    # -- calls -----------------------------------------------------------------------------------

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self.call(func, args, kwargs or {})

    def dispatched(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Answer a call of ATen, below the Python interface."""
        return self.call(func, args, kwargs, below=True)

    def call(self, func: Any, args: Any, kwargs: Any, below: bool = False) -> Any:
        """Answer a torch call by its rule."""
        from archlab.pytorch.rules import answer

        return answer(self, func, args, kwargs, below)


def is_small(spec: TensorSpec) -> bool:
    """Return whether a tensor is small enough to be computed for real where its elements are known."""
    return spec.numel <= (REAL_FLOATS if is_floating(spec.dtype) else REAL_ELEMENTS)
