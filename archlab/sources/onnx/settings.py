"""What a node of a file says itself, as plain data: its settings, the tensor of a Constant, and names as keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from archlab.errors import ReadError
from archlab.sources.onnx.reading import Call
from archlab.sources.onnx.tensors import Value, kept


def key_of(name: str) -> str:
    """Return the key of a parameter: the file's name in printable characters."""
    return "".join(c if c.isprintable() else "_" for c in name[:500]) or "initialiser"


def constant_of(call: Call) -> Value:
    """Return the tensor that a Constant node holds."""
    from onnx import helper

    for name, value in call.attributes.items():
        if name == "value" and hasattr(value, "data_type"):
            return kept(value, "its value")
        if name in ("value_float", "value_floats", "value_int", "value_ints"):
            numbers = list(value) if isinstance(value, tuple) else [value]
            shape = [len(numbers)] if isinstance(value, tuple) else []
            tensor = helper.make_tensor("c", 1 if "float" in name else 7, shape, numbers)
            return kept(tensor, "its value")
    raise ReadError("holds no numbers")


def setting_of(attribute: Any, given: Mapping[str, Any]) -> Any:
    """Return an attribute as plain data; in a function it may stand for one of the call."""
    if attribute.ref_attr_name:
        return given.get(attribute.ref_attr_name)
    kind = attribute.type
    if kind == 3:
        return attribute.s.decode("utf-8", "replace")[:1000]
    if kind == 8:
        return tuple(text.decode("utf-8", "replace")[:1000] for text in attribute.strings)
    name = {1: "f", 2: "i", 4: "t", 5: "g"}.get(kind)
    if name:
        return getattr(attribute, name)
    name = {6: "floats", 7: "ints"}.get(kind)
    return tuple(getattr(attribute, name)) if name else None
