"""What the JSON of an exported program says, with every value checked to be of the type that is wanted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from archlab.errors import ReadError
from archlab.ir import LARGEST, TensorSpec
from archlab.pytorch.arguments import SCALARS, fields, value_of

MAX_TEXT = 1000
Open = tuple[int | str, ...]


def _size(item: Any) -> int | str:
    """Return a size: a number, the example's number where it is open, or its name where there is none."""
    if isinstance(item, dict):
        value = item.get("as_int")
        if type(value) is int and 0 <= value <= LARGEST:
            return value
        expression = item.get("as_expr")
        if isinstance(expression, dict):
            hint = expression.get("hint")
            known = hint.get("as_int") if isinstance(hint, dict) else None
            if type(known) is int and 0 <= known <= LARGEST:
                return known
            return "size"
    raise ReadError("a size must be a number or a name")


@dataclass
class Tensors:
    """The shapes and types that a graph says of its tensors; a shape is fixed where no size is open."""

    values: Mapping[str, Any]

    def spec(self, name: str) -> tuple[Open, str]:
        """Return a tensor's shape, open sizes as the example had them, and type."""
        meta = self.values.get(name)
        if not isinstance(meta, dict):
            raise ReadError(f"nothing says the shape of {name[:60]!r}")
        number = meta.get("dtype")
        if type(number) is not int or number not in SCALARS:
            raise ReadError(f"{name[:60]!r} has elements of type {str(number)[:20]}, which archlab does not read")
        sizes = fields(meta, "sizes", list)
        if len(sizes) > 64:
            raise ReadError(f"{name[:60]!r} has {len(sizes)} dimensions")
        return tuple(_size(size) for size in sizes), SCALARS[number]

    def fixed(self, name: str, resized: bool) -> TensorSpec:
        """Return a tensor's spec; raise `ReadError` where sizes are open or were changed."""
        shape, dtype = self.spec(name)
        if resized or not all(isinstance(d, int) for d in shape):
            raise ReadError("has no rule, and what the file says of its shape does not hold for this input")
        return TensorSpec(shape, dtype)  # type: ignore[arg-type]

    def learned(self, name: str) -> bool:
        """Return whether a tensor needs a gradient."""
        return self.values[name].get("requires_grad") is True


@dataclass
class Program:
    """A program: its graph, the tensors that it keeps, and the inputs that it is given, by their names in it."""

    graph: Mapping[str, Any]
    inputs: dict[str, tuple[Open, str]] = field(default_factory=dict)
    parameters: list[tuple[str, TensorSpec, bool]] = field(default_factory=list)
    buffers: list[tuple[str, TensorSpec]] = field(default_factory=list)
    kept: dict[str, str] = field(default_factory=dict)
    constants: dict[str, Any] = field(default_factory=dict)

    def tensors(self, graph: Any) -> Tensors:
        """Return what a graph says of its tensors."""
        return Tensors(fields(graph, "tensor_values", dict))


def program_of(data: Any, shared: Mapping[str, str]) -> Program:
    """Return the program in parsed JSON; `shared` names weights that are one. Raises `ReadError`."""
    version = data.get("schema_version")
    major = version.get("major") if isinstance(version, dict) else version
    if type(major) is not int or not 5 <= major <= 8:
        raise ReadError(f"is of version {str(major)[:20]} of torch.export's schema; archlab reads 5 to 8")
    module = fields(data, "graph_module", dict)
    program = Program(fields(module, "graph", dict))
    tensors = program.tensors(program.graph)
    signature = fields(module, "signature", dict)
    seen: set[str] = set()
    for item in fields(signature, "input_specs", list):
        if not isinstance(item, dict) or len(item) != 1:
            raise ReadError("an input of the signature must be one entry")
        ((kind, entry),) = item.items()
        if kind in _KEPT:
            name = fields(fields(entry, "arg", dict), "name", str)
            key = fields(entry, _KEPT[kind], str)
            key = shared.get(key, key)
            if not key.isprintable() or not key or len(key) > MAX_TEXT:
                raise ReadError(f"{key[:60]!r} is no name of a tensor")
            program.kept[name] = key
            if key not in seen:
                seen.add(key)
                shape, dtype = tensors.spec(name)
                spec = TensorSpec(tuple(d if isinstance(d, int) else 1 for d in shape), dtype)
                if spec.bytes > LARGEST:
                    raise ReadError(f"{key!r} is {spec}, more than any memory holds")
                if kind == "parameter":
                    program.parameters.append((key, spec, tensors.learned(name)))
                else:
                    program.buffers.append((key, spec))
        elif kind == "user_input":
            _user_input(program, tensors, fields(entry, "arg", dict))
        elif kind == "constant_input":
            name = fields(entry, "name", str)
            program.constants[name] = value_of(entry.get("value"), {})
        else:
            raise ReadError(f"has an input of the kind {kind[:40]!r}, which archlab does not read")
    return program


_KEPT = {"parameter": "parameter_name", "buffer": "buffer_name", "tensor_constant": "tensor_constant_name"}


def _user_input(program: Program, tensors: Tensors, argument: Mapping[str, Any]) -> None:
    if isinstance(argument.get("as_tensor"), dict):
        name = fields(argument["as_tensor"], "name", str)
        if not name or not name.isprintable() or "." in name or "/" in name or len(name) > MAX_TEXT:
            raise ReadError(f"{name[:60]!r} is no name of an input")
        program.inputs[name] = tensors.spec(name)
    elif isinstance(argument.get("as_sym_int"), dict) and isinstance(argument["as_sym_int"].get("as_name"), str):
        name = argument["as_sym_int"]["as_name"]
        sizes = program.graph.get("sym_int_values")
        size = _size(sizes.get(name) if isinstance(sizes, dict) else None)
        if not isinstance(size, int):
            raise ReadError(f"the file does not say an example of the number {name[:60]!r}")
        program.constants[name] = size
