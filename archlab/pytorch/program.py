"""What the JSON of an exported program says, with every value checked to be of the type that is wanted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from archlab.errors import ReadError
from archlab.ir import LARGEST, TensorSpec
from archlab.pytorch.spy import DTYPES

SCALARS: Mapping[int, str] = {
    1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float16", 7: "float32", 8: "float64",
    9: "complex32", 10: "complex64", 11: "complex128", 12: "bool", 13: "bfloat16", 28: "uint16",
    29: "float8_e4m3fn", 30: "float8_e5m2", 34: "uint32", 35: "uint64",
}  # fmt: skip
"""Our names of the schema's types."""
MAX_TEXT = 1000
Open = tuple[int | str, ...]


def fields(item: Any, name: str, kind: type) -> Any:
    """Return a field of an object; raise `ReadError` unless it is of that type."""
    value = item.get(name) if isinstance(item, dict) else None
    if not isinstance(value, kind):
        raise ReadError(f"the entry {name!r} must be of type {kind.__name__}")
    return value


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


def value_of(item: Any, values: Mapping[str, Any]) -> Any:
    """Return what an argument stands for: a value by its name, or a constant."""
    if not isinstance(item, dict) or len(item) != 1:
        raise ReadError("an argument must be one value")
    ((kind, value),) = item.items()
    reader = _READERS.get(kind)
    if reader is None:
        raise ReadError(f"an argument of the kind {kind[:40]!r} has no rule")
    return reader(value, values)


def _named(value: Any, values: Mapping[str, Any]) -> Any:
    name = fields(value, "name", str)
    if name not in values:
        raise ReadError(f"reads {name[:60]!r}, which nothing before it makes")
    return values[name]


def _symbol(value: Any, values: Mapping[str, Any]) -> Any:
    """Return a number that stands there, or by its name."""
    if isinstance(value, dict) and "as_name" in value:
        return _named({"name": value["as_name"]}, values)
    if isinstance(value, dict) and len(value) == 1:
        ((_, number),) = value.items()
        if isinstance(number, (int, float)):
            return number
    raise ReadError("a number must be one, or have a name")


def _optional(value: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(value, dict) and "as_tensor" in value:
        return _named(value["as_tensor"], values)
    return None if value == {"as_none": True} or value is None else _named(value, values)


def _of(kinds: tuple[type, ...], what: str) -> Any:
    def read(value: Any, values: Mapping[str, Any]) -> Any:
        if type(value) not in kinds or (type(value) is int and abs(value) > LARGEST):
            raise ReadError(f"an argument must be {what}")
        return value

    return read


def _listed(read: Any) -> Any:
    def each(value: Any, values: Mapping[str, Any]) -> Any:
        if not isinstance(value, list):
            raise ReadError("an argument must be a list")
        return [read(item, values) for item in value]

    return each


def _scalar_type(value: Any, values: Mapping[str, Any]) -> Any:
    if type(value) is not int or value not in SCALARS:
        raise ReadError("an argument must be a type of elements")
    return DTYPES[SCALARS[value]]


def _graph(value: Any, values: Mapping[str, Any]) -> Any:
    return fields(value, "graph", dict)


_SPECIAL = ("Infinity", "-Infinity", "NaN", "inf", "-inf", "nan")
_int, _text = _of((int,), "an integer of 64 bits"), _of((str,), "a text")
_float = _of((int, float), "a number")
_READERS: Mapping[str, Any] = {
    "as_none": lambda value, values: None,
    "as_tensor": _named,
    "as_tensors": _listed(_named),
    "as_nested_tensors": _listed(_listed(_named)),
    "as_optional_tensor": _optional,
    "as_optional_tensors": _listed(_optional),
    "as_int": _int,
    "as_ints": _listed(_int),
    "as_int_lists": _listed(_listed(_int)),
    "as_float": lambda value, values: (
        float(value) if isinstance(value, str) and value in _SPECIAL else _float(value, values)
    ),
    "as_floats": _listed(_float),
    "as_string": _text,
    "as_strings": _listed(_text),
    "as_bool": _of((bool,), "true or false"),
    "as_bools": _listed(_of((bool,), "true or false")),
    "as_sym_int": _symbol,
    "as_sym_ints": _listed(_symbol),
    "as_sym_float": _symbol,
    "as_sym_floats": _listed(_symbol),
    "as_sym_bool": _symbol,
    "as_sym_bools": _listed(_symbol),
    "as_scalar_type": _scalar_type,
    "as_memory_format": lambda value, values: torch.contiguous_format,
    "as_layout": lambda value, values: torch.strided,
    "as_device": lambda value, values: torch.device("meta"),
    "as_graph": _graph,
}
"""What reads each kind of argument."""
