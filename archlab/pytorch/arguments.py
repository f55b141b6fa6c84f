"""Arguments of calls in the JSON of an exported program, each checked to be of the type that it says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from archlab.errors import ReadError
from archlab.ir import LARGEST
from archlab.pytorch.spy import DTYPES

SCALARS: Mapping[int, str] = {
    1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float16", 7: "float32", 8: "float64",
    9: "complex32", 10: "complex64", 11: "complex128", 12: "bool", 13: "bfloat16", 28: "uint16",
    29: "float8_e4m3fn", 30: "float8_e5m2", 34: "uint32", 35: "uint64",
}  # fmt: skip
"""Our names of the schema's types."""


def fields(item: Any, name: str, kind: type) -> Any:
    """Return a field of an object; raise `ReadError` unless it is of that type."""
    value = item.get(name) if isinstance(item, dict) else None
    if not isinstance(value, kind):
        raise ReadError(f"the entry {name!r} must be of type {kind.__name__}")
    return value


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
