"""Checked values of parsed JSON: whatever a file holds, it is of the type that is wanted or one clear error."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from archlab.errors import ReadError, nearest
from archlab.ir import LARGEST

MAX_RANK = 64
"""The most dimensions that torch's tensors can have, and so the longest list in an op."""
MAX_TENSORS = 2**16
"""The most tensors that one op of a trace can read or make."""
MAX_TEXT = 1000
"""The most characters of a name."""


def fields_of(kind: Any, item: Any, at: str) -> Any:
    """Return a dataclass built from an object; each value must be of the type that its field declares."""
    fields = {field.name: field for field in dataclasses.fields(kind) if field.init}
    needed = [f.name for f in fields.values() if f.default is dataclasses.MISSING]
    values = dict(an_object(item, at, needed, fields))
    for name, value in values.items():
        declared = str(getattr(fields[name].type, "__name__", fields[name].type)).removesuffix(" | None")
        if value is None and fields[name].default is None:
            continue
        if declared == "Any" and isinstance(value, list):
            declared = "Shape of Any"
        if declared == "Dtypes" and isinstance(value, list):
            declared = "Texts"
        values[name] = _value(declared, value, f"{at}.{name}")
    return kind(**values)


def _value(declared: str, value: Any, at: str) -> Any:
    """Return a value of a declared type, with lists as tuples."""
    if declared in _LISTS:
        entry, most = _LISTS[declared]
        require(isinstance(value, list), at, "a list", value)
        require(len(value) <= most, at, f"a list of up to {most}", value)
        return tuple(_value(entry, item, f"{at}[{i}]") for i, item in enumerate(value))
    if declared in _PAIRS:
        kinds, like = _PAIRS[declared]
        require(isinstance(value, list) and len(value) == len(kinds), at, f"a pair like {like}", value)
        return tuple(
            _value(kind, item, f"{at}[{i}]") for i, (kind, item) in enumerate(zip(kinds, value, strict=True))
        )
    wanted, fits = _TYPES[declared]
    require(fits(value), at, wanted, value)
    return value


def is_size(value: Any) -> bool:
    """Return whether it is an integer that any framework can hold."""
    return type(value) is int and abs(value) <= LARGEST


def _is_real(value: Any) -> bool:
    return is_size(value) or (type(value) is float and abs(value) != float("inf"))


def is_text(value: Any) -> bool:
    """Return whether it is a text that is not too long."""
    return isinstance(value, str) and len(value) <= MAX_TEXT


_TYPES: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "int": ("an integer of 64 bits", is_size),
    "float": ("a number", _is_real),
    "bool": ("true or false", lambda value: type(value) is bool),
    "str": ("a text", is_text),
    "Dtypes": ("a text or a list of texts", is_text),
    "Any": ("an integer of 64 bits or a text", lambda value: is_size(value) or is_text(value)),
}
"""For the declared type of a field: what a value is called, and whether it is one."""
_LISTS = {
    "Shape": ("int", MAX_RANK),
    "Shape of Any": ("Any", MAX_RANK),
    "Shapes": ("Shape", MAX_TENSORS),
    "Costs": ("Cost", MAX_RANK),
    "Specs": ("Spec", MAX_TENSORS),
    "Sums": ("Sum", MAX_RANK),
    "Terms": ("Term", MAX_TENSORS),
    "Term": ("Factor", MAX_RANK),
    "Texts": ("str", MAX_TENSORS),
    "Keys": ("Key", MAX_TENSORS),
    "Refs": ("Ref", MAX_TENSORS),
}
"""For a declared list: what its entries are, and how many there may be. None holds itself, so depth has an end."""
_PAIRS = {
    "Cost": (("str", "int"), '["add", 3]'),
    "Spec": (("Shape", "str"), '[[1, 3], "float32"]'),
    "Sum": (("str", "Terms"), '["mac", [[["L", 10]]]]'),
    "Factor": (("str", "int"), '["L", 10]'),
    "Key": (("str", "str"), '["weight", "conv1.weight"]'),
    "Ref": (("str", "int"), '["conv1", 0]'),
}
"""For a declared pair: what both are, and an example."""


def an_object(item: Any, at: str, needed: Iterable[str], allowed: Iterable[str]) -> Mapping[str, Any]:
    """Return an object; it must have the entries that are needed and may have those that are allowed."""
    found = mapping(item, at)
    known = dict.fromkeys((*needed, *allowed))
    for key in found:
        if key not in known:
            raise ReadError(f"{at}: unknown entry {shown(key)}{nearest(key[:100], known)}")
    for key in needed:
        if key not in found:
            raise ReadError(f"{at}: the entry {key!r} is missing")
    return found


def mapping(item: Any, at: str) -> Mapping[str, Any]:
    """Return an object."""
    require(isinstance(item, dict), at, "an object", item)
    return item  # type: ignore[no-any-return]


def a_list(item: Any, at: str) -> list[Any]:
    """Return a list."""
    require(isinstance(item, list), at, "a list", item)
    return item  # type: ignore[no-any-return]


def a_text(item: Any, at: str) -> str:
    """Return a printable text that is not empty."""
    fits = is_text(item) and item != "" and item.isprintable()
    require(fits, at, f"a printable text of up to {MAX_TEXT} characters", item)
    return item  # type: ignore[no-any-return]


def require(fits: bool, at: str, wanted: str, value: Any) -> None:
    """Raise `ReadError` with the place, what is wanted there and what is, unless it fits."""
    if not fits:
        raise ReadError(f"{at}: must be {wanted}, got {shown(value)}")


def shown(value: Any) -> str:
    """Return a value as it stands in the file, in a length that fits a message."""
    if isinstance(value, (dict, list)) and value:
        return "an object" if isinstance(value, dict) else f"a list of {len(value)}"
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
