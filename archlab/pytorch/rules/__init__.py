"""Rules: what each torch function does to shapes and which op of ours it is.

A rule is a function with the arguments of torch's, behind the recorder; its name is torch's. The same
rules answer calls of the Python interface and, below it, of ATen.
"""

from __future__ import annotations

from collections.abc import Callable
from types import GetSetDescriptorType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from archlab import registry
from archlab.errors import ShapeError
from archlab.ir import TensorSpec
from archlab.pytorch.meta import load_kernels
from archlab.pytorch.recipes import answered
from archlab.pytorch.recorder import is_small
from archlab.pytorch.rules import (
    assumed,
    control,
    elements,
    experts,
    fourier,
    gradients,
    kernels,
    layers,
    layout,
    losses,
    own,
    quantised,
    scatter,
)
from archlab.pytorch.rules.names import FACTORIES, PLAIN, RANDOM
from archlab.pytorch.spy import NAMES, TracedTensor, tensors_of

_SUBJECTS = (
    elements,
    layout,
    layers,
    control,
    gradients,
    assumed,
    scatter,
    fourier,
    losses,
    kernels,
    quantised,
    experts,
)
RULES: dict[str, Callable[..., Any]] = {name: rule for part in _SUBJECTS for name, rule in part.RULES.items()}


class Plan(NamedTuple):
    """How a function is answered: its rule, its name, and whether it writes into its first argument.

    `qualified` is the name behind ``torch``, ``functional`` or ``Tensor``, where a model finds it.
    """

    rule: Callable[..., Any] | None
    name: str
    writes: bool
    plain: bool
    qualified: str


_PLANS: dict[Any, Plan] = {}
_transforming = torch._C._functorch.peek_interpreter_stack
_is_transformed = torch._C._functorch.is_functorch_wrapped_tensor


def answer(recorder: Any, func: Any, args: Any, kwargs: Any, below: bool) -> Any:
    """Return what a torch call gives under the trace."""
    plan = _PLANS.get(func) or _resolve(func)
    if plan.plain:
        return func(*args, **kwargs)
    if _transforming() is not None:
        return func(*_twins(recorder, args), **_twins(recorder, kwargs))  # vmap makes larger calls of it, below
    if not below:
        recorder.outermost = plan.qualified
    if plan.rule is None:
        return _unruled(recorder, func, plan.name, args, kwargs, below)
    try:
        made = answered(recorder, plan.rule, args, kwargs, func)
    except layers.NotCoveredError:
        return _unruled(recorder, func, plan.name, args, kwargs, below)
    except ShapeError as error:  # a model may catch what torch would raise
        raise RuntimeError(str(error)) from error
    if not args or type(args[0]) is not TracedTensor or args[0].known is not None:
        _compute_values(recorder, func, args, kwargs, made)
    if not kwargs and not plan.writes:
        return made
    out = kwargs.get("out")
    if plan.writes or kwargs.get("inplace") is True or isinstance(out, Tensor):
        return _written(recorder, out if isinstance(out, Tensor) else args[0], made)
    return made


def plan_of(func: Any) -> Plan:
    """Return how a function is answered, and what it is called."""
    return _PLANS.get(func) or _resolve(func)


def _resolve(func: Any) -> Plan:
    name = own.name_of(func)
    if name == "__get__":
        name = f"get {func.__self__.__name__}"
    elif name == "__set__":
        name = f"set {func.__self__.__name__}"
    plain = name in PLAIN or (name.startswith("get ") and name not in RULES)
    writes = name.endswith("_") and not name.endswith("__")
    rule = RULES.get(name, _set_nothing if name.startswith("set ") else None)
    if name.startswith("__i") and rule is None and f"__{name[3:]}" in RULES:
        rule, writes = RULES[f"__{name[3:]}"], True
    if rule is None and writes:
        rule = RULES.get(name[:-1])
    if getattr(func, "__module__", "") == "torch.nn.init":
        rule, writes = _initialise, False
    _PLANS[func] = plan = Plan(rule, name, writes, plain, f"{_home(func)}.{name}")
    return plan


def _home(func: Any) -> str:
    """Return where a model finds a function; `x + y` and `x.add(y)` are the same method of a tensor."""
    module = getattr(func, "__module__", None) or ""
    attribute = isinstance(getattr(func, "__self__", None), GetSetDescriptorType)
    if attribute or hasattr(func, "__objclass__") or module == "torch._tensor":
        return "Tensor"
    return "functional" if module in ("torch.nn.functional", "torch._C._nn") else "torch"


def _written(recorder: Any, target: Tensor, made: Any) -> Any:
    """Make the target of an in-place call stand for what was made."""
    twin = recorder.traced(target)
    if target is not twin:
        recorder.overwrite(target)
    if type(made) is TracedTensor:
        recorder.wrote(twin, made)
        if twin.spec != made.spec:
            twin.spec = TensorSpec(twin.spec.shape, twin.spec.dtype)
    return target


def _set_data(recorder: Any, target: Tensor, value: Tensor) -> None:
    """`weight.data = value` is a write and gives it that storage; the model's own tensor stays as it is."""
    twin, made = recorder.traced(target), recorder.traced(value)
    if target is not twin:
        recorder.overwrite(target)
    twin.root, twin.storage, twin.strides = made.home, made.storage, made.strides
    twin.ref, twin.spec, twin.value, twin.guessed = made.ref, made.spec, made.value, made.guessed


def _initialise(recorder: Any, tensor: Tensor, *_: Any, **__: Any) -> Tensor:
    """Elements of a module that a forward makes: nobody asks for them."""
    return tensor


def _set_nothing(recorder: Any, target: Tensor, value: Any) -> None:
    """Other attributes, such as `grad` or `requires_grad`, say nothing about the forward."""


def _compute_values(recorder: Any, func: Any, args: Any, kwargs: Any, made: Any) -> None:
    """Give a small tensor its elements where those of all that it is made of are known."""
    several = isinstance(made, (tuple, list)) and len(made) > 0
    first = made[0] if several else made
    if type(first) is not TracedTensor or first.value is not None:
        return
    if not is_small(first.spec):
        return
    tensors = tensors_of(args, kwargs)
    if not tensors or not all(_is_known(recorder, t) for t in tensors):
        return
    with torch._C.DisableTorchFunction():
        # What is written in place is written for real: views of it share the elements.
        real = [_real(a, recorder) for a in args]
        try:
            value = func(*real, **{k: _real(v, recorder) for k, v in kwargs.items() if k not in ("device", "out")})
        except (NotImplementedError, RuntimeError) as error:
            if "not implemented for" not in str(error):  # else the CPU lacks what the model's own device has
                raise
            return
    guessed = frozenset().union(*[_guesses(recorder, t) for t in tensors])
    for one, known in zip(made, value, strict=False) if several else ((made, value),):
        if isinstance(known, Tensor) and tuple(known.shape) == one.spec.shape:
            one.value, one.guessed = known, guessed


def _guesses(recorder: Any, tensor: Tensor) -> frozenset[int]:
    twin = tensor if type(tensor) is TracedTensor else recorder.leaf(tensor)
    return frozenset() if twin is None else twin.guessed


def _is_known(recorder: Any, tensor: Tensor) -> bool:
    twin = tensor if type(tensor) is TracedTensor else recorder.leaf(tensor)
    if twin is not None:
        return twin.value is not None
    return tensor.device.type != "meta" and not isinstance(tensor, torch.nn.Parameter)


def _real(value: Any, recorder: Any = None) -> Any:
    """Return arguments with the elements of each tensor in them, all of which are known."""
    if type(value) is TracedTensor:
        return value.value
    if isinstance(value, Tensor):
        twin = recorder.leaf(value) if recorder is not None else None
        return value if twin is None else twin.value
    if isinstance(value, (list, tuple)):
        return type(value)(_real(item, recorder) for item in value) if type(value) in (list, tuple) else value
    if isinstance(value, torch.device):
        return torch.device("cpu")
    return value


def _unruled(recorder: Any, func: Any, name: str, args: Any, kwargs: Any, below: bool) -> Any:
    """Answer a function without a rule: by the ATen calls it is made of, or by torch's shape alone."""
    tensors = tensors_of(args, kwargs)
    rule = registry.find(name) if tensors or "::" in name else None
    if rule is not None:
        return own.custom(recorder, func, rule, args, kwargs)
    if not below and any(type(t) is TracedTensor or recorder.is_parameter(t) for t in tensors):
        return func(*_twins(recorder, args), **_twins(recorder, kwargs))
    if not tensors and not below:
        return _factory(recorder, func, name, args, kwargs)
    return own.unknown(recorder, func, name, args, kwargs)


def _twins(recorder: Any, value: Any) -> Any:
    """Return arguments with a traced tensor for every tensor, so that torch computes nothing of its own."""
    if isinstance(value, Tensor):
        return value if _is_transformed(value) else recorder.traced(value)
    if type(value) in (list, tuple):
        return type(value)(_twins(recorder, item) for item in value)
    return {k: _twins(recorder, v) for k, v in value.items()} if type(value) is dict else value


def _factory(recorder: Any, func: Any, name: str, args: Any, kwargs: Any) -> Any:
    """Answer a function that reads no tensor: make small integers for real, of the rest only the shape."""
    meta = dict(kwargs, device="meta") if "device" in kwargs or name in FACTORIES else kwargs
    load_kernels()
    try:
        made = func(*args, **meta)
    except (TypeError, RuntimeError):
        made = func(*args, **kwargs)
    if not isinstance(made, Tensor):
        return made
    spec = TensorSpec(tuple(made.shape), NAMES[made.dtype])
    value = made if made.device.type != "meta" else None
    if value is None and is_small(spec) and name not in RANDOM:
        value = func(*args, **{k: v for k, v in kwargs.items() if k != "device"})
    return recorder.constant(spec, value)


def by_meta(recorder: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """Return the specs that torch's own meta kernel gives for a call."""
    made = own.on_meta(recorder, func, args, kwargs)
    if isinstance(made, Tensor):
        return TensorSpec(tuple(made.shape), NAMES[made.dtype])
    if isinstance(made, (list, tuple)) and any(isinstance(m, Tensor) for m in made):
        return tuple(TensorSpec(tuple(m.shape), NAMES[m.dtype]) for m in made if isinstance(m, Tensor))
    return made


RULES["set data"] = _set_data
