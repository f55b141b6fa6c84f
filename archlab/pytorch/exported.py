"""Programs of `torch.export`, replayed under a trace: each call in the file is answered by our own rules.

Names of operators are looked up among those that are registered already, and only those are called
that a rule answers or that torch can answer by shapes alone. Expressions in the file are not evaluated.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.overrides import _get_current_function_mode, _pop_mode_temporarily

from archlab.errors import GraphError, ReadError, TraceError
from archlab.ir import LARGEST, Graph, TensorSpec
from archlab.ops.general import Layout, Unknown
from archlab.pytorch.arguments import fields, value_of
from archlab.pytorch.aten import RENAMED
from archlab.pytorch.program import Program, Tensors
from archlab.pytorch.rules import RULES
from archlab.pytorch.rules.names import COPIES, FACTORIES, RANDOM, VIEWS
from archlab.pytorch.spy import DTYPES, TracedTensor
from archlab.pytorch.trace import trace
from archlab.pytorch.walk import Place

MAX_CALLS = 200_000
MAX_DEPTH = 30
_TARGET = re.compile(r"torch\.ops\.(\w{1,100})\.(\w{1,200})(?:\.(\w{1,200}))?")
_SYMBOLIC: Mapping[str, Callable[..., Any]] = {
    **{
        f"_operator.{name}": getattr(operator, name)
        for name in ("eq", "ne", "le", "ge", "lt", "gt", "neg", "pos", "mul", "add", "sub", "floordiv", "mod")
    },
    **{f"_operator.{name}": getattr(operator, name) for name in ("truediv", "and_", "or_", "not_")},
    "math.trunc": math.trunc,
    "math.ceil": math.ceil,
    "math.floor": math.floor,
    "torch.sym_int": int,
    "torch.sym_float": float,
    "torch.sym_not": operator.not_,
    "torch.sym_max": max,
    "torch.sym_min": min,
    "torch.sym_ite": lambda condition, a, b: a if condition else b,
}
"""Arithmetic on sizes: on plain numbers, for every size is known."""
_IGNORED = ("_assert", "sym_constrain_range", "_functional_assert", "_guard")
"""Calls that only check."""
_WRAPPERS = {"wrap_with_set_grad_enabled": 1, "wrap_with_autocast": 4, "invoke_subgraph": 0, "wrap": 0}
"""Calls of a part of the program, and how many settings stand before it."""


def replayed(program: Program, inputs: Mapping[str, TensorSpec], where: str, resized: bool) -> Graph:
    """Return the graph of a program for those inputs by name; `where` names the file in errors.

    With `resized` inputs what the file says of shapes does not hold. Raises `ReadError` with the call
    that fails, `GraphError` or `ShapeError` for what does not fit.
    """
    for name, spec in inputs.items():
        if spec.bytes > LARGEST:
            raise ReadError(f"{where}: the input {name!r} is {spec}, more than any memory holds")
    module = _Replay(program, resized)
    try:
        graph = trace(module, inputs=((), dict(inputs)))
        return replace(graph, origin="read", calls=(), like=None)
    except TraceError as error:
        cause = error.__cause__
        text = str(cause or error) or type(cause).__name__
        raise ReadError(f"{where}: {' '.join(text.split())[:500]}") from None
    except GraphError as error:
        raise type(error)(f"{where}: {error}") from None


class _Replay(nn.Module):
    """A module with the program's tensors by their names, whose forward is the program."""

    def __init__(self, program: Program, resized: bool) -> None:
        super().__init__()
        self.program, self.resized, self.left = program, resized, MAX_CALLS
        self.places: dict[str, int] = {}
        made: dict[str, torch.Tensor] = {}
        for name, spec, learned in program.parameters:
            blank = torch.empty(spec.shape, dtype=DTYPES[spec.dtype], device="meta")
            made[name] = self._parameters[name] = nn.Parameter(
                blank, requires_grad=learned and blank.is_floating_point()
            )
        for name, spec in program.buffers:
            made[name] = self._buffers[name] = torch.empty(spec.shape, dtype=DTYPES[spec.dtype], device="meta")
        self.tensors = made

    def forward(self, **inputs: Any) -> Any:
        """Run the program."""
        values = dict(self.program.constants)
        values.update({name: self.tensors[key] for name, key in self.program.kept.items()})
        values.update(inputs)
        return self._run(self.program.graph, values, 0)

    def _run(self, graph: Any, values: dict[str, Any], depth: int) -> list[Any]:
        """Run the calls of a graph in order and return its outputs."""
        if depth > MAX_DEPTH:
            raise ReadError(f"parts of the program are nested more than {MAX_DEPTH} deep")
        tensors = self.program.tensors(graph)
        for number, node in enumerate(fields(graph, "nodes", list)):
            self.left -= 1
            if self.left < 0:
                raise ReadError(f"makes more than {MAX_CALLS:,} calls")
            target = fields(node, "target", str)
            try:
                made = self._call(target, node, values, tensors, depth)
                _bind(node, made, values)
            except (ReadError, GraphError) as error:
                raise _placed(number, target, error) from error
            except (TraceError, RuntimeError, TypeError, ValueError, IndexError, NotImplementedError) as error:
                raise _placed(number, target, error) from error
        return [self._value(output, values, depth) for output in fields(graph, "outputs", list)]

    def _call(self, target: str, node: Any, values: dict[str, Any], tensors: Tensors, depth: int) -> Any:
        named = [
            (fields(item, "name", str), self._value(fields(item, "arg", dict), values, depth), item.get("kind"))
            for item in fields(node, "inputs", list)
        ]
        if target in _SYMBOLIC:
            return _number(_SYMBOLIC[target](*(_plain(value) for _, value, _ in named)))
        match = _TARGET.fullmatch(target)
        if match is None:
            raise ReadError("is no operator of torch")
        space, name, overload = match.groups()
        if space == "higher_order":
            return self._higher(name, [value for _, value, _ in named], values, depth)
        if name.startswith(_IGNORED):
            return ()
        recorder: Any = _get_current_function_mode()  # type: ignore[no-untyped-call]
        outer, recorder.inside = recorder.inside, self._inside(recorder, _module(node))
        try:
            func = _registered(space, name, overload or "default")
            if func is None:
                return self._unknown(recorder, f"{space}.{name}", named, node, tensors)
            args, kwargs = _bound(func, named)
            return self._answered(recorder, func, name, args, kwargs, named, node, tensors)
        finally:
            recorder.inside = outer

    def _inside(self, recorder: Any, path: str) -> int:
        """Return the call that stands for a module's path: the file names modules, not their calls."""
        place = self.places.get(path)
        if place is None:
            place = self.places[path] = len(recorder.calls)
            recorder.calls.append([Place(path, "", (), False), recorder.inside, (), ()])
        return place

    def _answered(
        self, recorder: Any, func: Any, name: str, args: Any, kwargs: Any, named: Any, node: Any, tensors: Tensors
    ) -> Any:
        """Return what our rules say, or torch by shapes alone, or else what the file says of an unknown operator."""
        if name.startswith("sym_"):
            return _size(name, args)
        space = func._schema.name.partition("::")[0]
        if space == "aten" and name in RENAMED:
            with _pop_mode_temporarily():  # as torch does while a mode answers
                return RENAMED[name](recorder, func, *args, **kwargs)
        whole = name if space == "aten" else f"{space}::{name}"
        known = whole in RULES or whole.rstrip("_") in RULES
        holds = any(isinstance(value, torch.Tensor) for value in _leaves((args, kwargs)))
        plain = whole in FACTORIES or whole in RANDOM or (holds and _is_shaped(func))
        if not known and not plain:
            return self._unknown(recorder, f"{space}.{name}", named, node, tensors)
        try:
            return func(*args, **kwargs)  # the recorder hears it
        except (TraceError, NotImplementedError):
            return self._unknown(recorder, f"{space}.{name}", named, node, tensors)

    def _unknown(self, recorder: Any, name: str, named: Any, node: Any, tensors: Tensors) -> Any:
        """Record an operator without a rule by the shapes that the file says it makes."""
        outputs = [output for item in fields(node, "outputs", list) for output in _names(item)]
        specs = [tensors.fixed(output, self.resized) for output in outputs]
        if not specs:
            raise ReadError("has no rule and makes no tensor")
        given = [value for _, value, _ in named for value in _leaves(value) if isinstance(value, torch.Tensor)]
        saw = tuple(recorder.spec(value).shape for value in given)
        plain = name.removeprefix("aten.")
        if plain in VIEWS or plain in COPIES:
            op: Any = Layout(plain, tuple(s.shape for s in specs), saw, specs[0].dtype, plain in VIEWS)
        else:
            op = Unknown(name, tuple((s.shape, s.dtype) for s in specs), saw)
        made = recorder.record(name.rpartition(".")[2], op, given, outputs=tuple(specs))
        return made if isinstance(made, tuple) else (made,)

    def _higher(self, name: str, given: list[Any], values: dict[str, Any], depth: int) -> Any:
        """Run a part of the program that stands in a call of its own."""
        if name in _WRAPPERS:
            at = _WRAPPERS[name]
            rest = given[at + 1 :]
            if name == "invoke_subgraph" and rest and isinstance(rest[0], str):
                rest = rest[1:]
            return self._part(given[at] if at < len(given) else None, rest, depth)
        if name == "cond" and len(given) == 4 and isinstance(given[0], (bool, int)):
            operands = given[3] if isinstance(given[3], (list, tuple)) else [given[3]]
            return self._part(given[1] if given[0] else given[2], list(operands), depth)
        raise ReadError(f"archlab has no rule for {name}, which depends on elements")

    def _part(self, part: Any, given: Sequence[Any], depth: int) -> list[Any]:
        if not isinstance(part, dict):
            raise ReadError("names no part of the program")
        names = [name for item in fields(part, "inputs", list) for name in _names(item)]
        if len(names) != len(given):
            raise ReadError(f"a part of the program takes {len(names)} values, got {len(given)}")
        return self._run(part, dict(zip(names, given, strict=True)), depth + 1)

    def _value(self, item: Any, values: Mapping[str, Any], depth: int) -> Any:
        """Return what an argument stands for."""
        return value_of(item, values)


def _placed(number: int, target: str, error: Exception) -> Exception:
    text = str(error) or type(error).__name__
    if text.startswith("call "):
        return error if isinstance(error, (ReadError, GraphError)) else ReadError(text)
    kind = type(error) if isinstance(error, (ReadError, GraphError)) else ReadError
    return kind(f"call {number} ({target[:80]}): {text}")


def _registered(space: str, name: str, overload: str) -> Any:
    """Return an operator that is registered already, None for any other; no library is loaded for it."""
    whole = f"{space}::{name}" + ("" if overload == "default" else f".{overload}")
    if not torch._C._dispatch_has_kernel(whole):
        return None
    return getattr(getattr(getattr(torch.ops, space), name), overload)


def _is_shaped(func: Any) -> bool:
    """Return whether torch can answer an operator by shapes: it is made of others, or has a kernel for them."""
    name = func._schema.name + (f".{func._schema.overload_name}" if func._schema.overload_name else "")
    keys = ("CompositeImplicitAutograd", "CompositeExplicitAutograd", "Meta")
    texts = any(str(a.type) in ("str", "Optional[str]") and "file" in a.name for a in func._schema.arguments)
    return not texts and any(torch._C._dispatch_has_kernel_for_dispatch_key(name, key) for key in keys)


def _bound(func: Any, named: Sequence[tuple[str, Any, Any]]) -> tuple[list[Any], dict[str, Any]]:
    """Return a call's arguments as its schema orders them."""
    given = {name: value for name, value, _ in named}
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    known = func._schema.arguments
    if unknown := given.keys() - {a.name for a in known}:
        raise ReadError(f"takes no {min(unknown)[:40]!r}")
    places = [i for i, a in enumerate(known) if a.name in given and not a.kwarg_only]
    for i, argument in enumerate(known):
        if argument.kwarg_only:
            if argument.name in given:
                kwargs[argument.name] = given[argument.name]
        elif places and i <= places[-1]:
            if argument.name not in given and not argument.has_default_value():
                raise ReadError(f"lacks {argument.name!r}")
            args.append(given.get(argument.name, argument.default_value))
    return args, {k: v for k, v in kwargs.items() if k not in ("pin_memory", "layout", "memory_format")}


def _size(name: str, args: Sequence[Any]) -> Any:
    tensor, *rest = args
    if not isinstance(tensor, torch.Tensor):
        raise ReadError("asks a number for its size")
    shape = tensor.spec.shape if type(tensor) is TracedTensor else tuple(tensor.shape)
    if name == "sym_numel":
        return math.prod(shape)
    if name == "sym_size" and len(rest) == 1 and -len(shape) <= rest[0] < len(shape):
        return shape[rest[0]]
    if name == "sym_stride" and len(rest) == 1 and -len(shape) <= rest[0] < len(shape):
        return math.prod(shape[rest[0] % len(shape) + 1 :])
    raise ReadError(f"archlab has no rule for {name}")


def _plain(value: Any) -> Any:
    if isinstance(value, (bool, int, float)):
        return value
    raise ReadError("computes with what is no number")


def _number(value: Any) -> Any:
    if isinstance(value, int) and abs(value) > LARGEST:
        raise ReadError("computes a number of more than 64 bits")
    return value


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, (list, tuple)):
        return [leaf for item in value for leaf in _leaves(item)]
    return [leaf for item in value.values() for leaf in _leaves(item)] if isinstance(value, dict) else [value]


def _names(item: Any) -> list[str]:
    """Return the names that an argument of a graph introduces, in order."""
    if not isinstance(item, dict) or len(item) != 1:
        raise ReadError("an output must be one value")
    ((kind, value),) = item.items()
    if kind in ("as_tensors", "as_optional_tensors", "as_sym_ints"):
        return [name for each in value for name in _names(each if "name" not in each else {"as_tensor": each})]
    if isinstance(value, dict):
        name = value.get("name", value.get("as_name"))
        return [name] if isinstance(name, str) else []
    return []


def _bind(node: Any, made: Any, values: dict[str, Any]) -> None:
    names = [name for item in fields(node, "outputs", list) for name in _names(item)]
    found = _leaves(made) if isinstance(made, (list, tuple)) else [made]
    if len(found) < len(names):
        raise ReadError(f"makes {len(found)} value(s), the file names {len(names)}")
    values.update(zip(names, found, strict=False))


def _module(node: Any) -> str:
    """Return the path of the module that makes a call."""
    metadata = node.get("metadata")
    stack = metadata.get("nn_module_stack", "") if isinstance(metadata, dict) else ""
    if not isinstance(stack, str) or not stack:
        return ""
    last = stack.rpartition(";")[2].split(",")
    path = last[1] if len(last) > 2 and not last[1].startswith("_empty_nn_module_stack") else ""
    path = re.sub(r"@\d+$", "", path.removeprefix("L['self'].").removeprefix("L['self']"))
    parts = re.split(r"[./]", "".join(c if c.isprintable() else "_" for c in path[:500]))
    return ".".join(part for part in parts if part)
