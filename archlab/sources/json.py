"""Graphs from JSON, schema ``archlab.graph/1``: what `Graph.to_json` writes, read back without loss.

A file is data that anyone may have written. Whatever it holds, reading ends in a valid graph or in one
`ReadError`, `GraphError` or `ShapeError` that names the file and the place in it.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from archlab.errors import GraphError, ReadError, nearest
from archlab.ir import LARGEST, Graph, Node, Op, Param, Ref, Source
from archlab.ops import BY_NAME

SCHEMA = "archlab.graph/1"
MAX_BYTES = 64 * 2**20
"""A larger file is refused before it is parsed. GoogLeNet takes 65 KiB."""
MAX_RANK = 64
"""The most dimensions that torch's tensors can have, and so the longest list in an op."""
MAX_TEXT = 1000
"""The most characters of a name."""


def read_file(path: Path) -> Graph:
    """Return the graph in a file; raise as `read_graph` does, and `ReadError` if it cannot be read."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise ReadError(f"{path}: has more than {MAX_BYTES:,} bytes, too many for a graph")
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise ReadError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise ReadError(f"{path}: is not UTF-8 text (byte {error.start})") from None
    return read_graph(text, str(path))


def read_graph(text: str, where: str) -> Graph:
    """Return the graph that a text in schema ``archlab.graph/1`` describes; `where` names it in errors.

    Raises `ReadError` for what is not such a text, `GraphError` or `ShapeError` for a graph that is not
    well formed. The text may have up to `MAX_BYTES` characters.
    """
    data = _mapping(_parse(text, where), where)
    if data.get("schema") != SCHEMA:
        raise ReadError(f"{where}: the entry 'schema' must be {SCHEMA!r}, got {_shown(data.get('schema'))}")
    data = _object(data, where, ("schema", "name", "nodes", "outputs"), ("params",))
    name = _text(data["name"], f"{where}: name")
    nodes = [_node(item, f"{where}: nodes[{i}]") for i, item in enumerate(_list(data["nodes"], f"{where}: nodes"))]
    outputs = _refs(data["outputs"], f"{where}: outputs")
    params = _mapping(data.get("params", {}), f"{where}: params")
    read = {_text(key, f"{where}: params"): _param(item, f"{where}: params[{key!r}]") for key, item in params.items()}
    try:
        return Graph(name, tuple(nodes), outputs, read, origin="read")
    except GraphError as error:
        raise type(error)(f"{where}: {error}") from None


def _parse(text: str, where: str) -> Any:
    if len(text) > MAX_BYTES:
        raise ReadError(f"{where}: has more than {MAX_BYTES:,} characters, too many for a graph")

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            repeated, _ = Counter(key for key, _ in pairs).most_common(1)[0]
            raise ReadError(f"{where}: the key {_shown(repeated)} occurs twice in one object")
        return found

    def no_number(word: str) -> Any:
        raise ReadError(f"{where}: {word} is no number of JSON")

    try:
        return json.loads(text, object_pairs_hook=once, parse_constant=no_number)
    except RecursionError:
        raise ReadError(f"{where}: lists and objects are nested too deeply for a graph") from None
    except MemoryError:
        raise ReadError(f"{where}: does not fit into memory") from None
    except json.JSONDecodeError as error:
        raise ReadError(f"{where}: is not JSON: {error.msg} (line {error.lineno}, column {error.colno})") from None
    except ValueError:  # Python converts no more than 4300 digits
        raise ReadError(f"{where}: a number has too many digits") from None


def _node(item: Any, at: str) -> Node:
    data = _object(item, at, ("name", "op", "inputs"), ("weights", "train_only", "source"))
    name = _text(data["name"], f"{at}.name")
    at = f"{at} ({name!r})"
    weights = _mapping(data.get("weights", {}), f"{at}.weights")
    keys = {role: _text(key, f"{at}.weights[{role!r}]") for role, key in weights.items()}
    train_only = data.get("train_only", False)
    _require(type(train_only) is bool, f"{at}.train_only", "true or false", train_only)
    source = _fields(Source, data["source"], f"{at}.source") if "source" in data else None
    return Node(name, _op(data["op"], f"{at}.op"), _refs(data["inputs"], f"{at}.inputs"), keys, train_only, source)


def _op(item: Any, at: str) -> Op:
    data = dict(_mapping(item, at))
    kind = data.pop("type", None)
    if not isinstance(kind, str):
        raise ReadError(f"{at}.type: must name an op, got {_shown(kind)}")
    if kind not in BY_NAME:
        raise ReadError(f"{at}: unknown op {_shown(kind)}{nearest(kind[:100], BY_NAME)}")
    try:
        op: Op = _fields(BY_NAME[kind], data, at)
    except GraphError as error:
        raise type(error)(f"{at}: {error}") from None
    return op


def _param(item: Any, at: str) -> Param:
    try:
        param: Param = _fields(Param, item, at)
    except GraphError as error:
        raise type(error)(f"{at}: {error}") from None
    return param


def _fields(kind: Any, item: Any, at: str) -> Any:
    """Return a dataclass built from an object; each value must be of the type that its field declares."""
    fields = {field.name: field for field in dataclasses.fields(kind) if field.init}
    needed = [f.name for f in fields.values() if f.default is dataclasses.MISSING]
    values = dict(_object(item, at, needed, fields))
    for name, value in values.items():
        field = fields[name]
        declared = str(getattr(field.type, "__name__", field.type))
        if declared in {"Any", "Shape"} and isinstance(value, list):
            _require(len(value) <= MAX_RANK, f"{at}.{name}", f"a list of up to {MAX_RANK}", value)
            for i, entry in enumerate(value):
                _check(declared, entry, f"{at}.{name}[{i}]")
            values[name] = tuple(value)
        elif not (value is None and field.default is None):
            _require(declared != "Shape", f"{at}.{name}", "a list", value)
            _check(declared, value, f"{at}.{name}")
    return kind(**values)


def _check(declared: str, value: Any, at: str) -> None:
    wanted, fits = _TYPES[declared]
    _require(fits(value), at, wanted, value)


def _is_size(value: Any) -> bool:
    return type(value) is int and abs(value) <= LARGEST


def _is_real(value: Any) -> bool:
    return _is_size(value) or (type(value) is float and abs(value) != float("inf"))


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= MAX_TEXT


_TYPES: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "int": ("an integer of 64 bits", _is_size),
    "float": ("a number", _is_real),
    "bool": ("true or false", lambda value: type(value) is bool),
    "str": ("a text", _is_text),
    "Shape": ("an integer of 64 bits", _is_size),
    "Any": ("an integer of 64 bits or a text", lambda value: _is_size(value) or _is_text(value)),
}
"""For the declared type of a field: what a value, or an entry of its list, is called, and whether it is one."""


def _refs(item: Any, at: str) -> tuple[Ref, ...]:
    refs = []
    for i, ref in enumerate(_list(item, at)):
        fits = isinstance(ref, list) and len(ref) == 2 and _is_text(ref[0]) and _is_size(ref[1])
        _require(fits, f"{at}[{i}]", 'a pair like ["conv1", 0]', ref)
        refs.append((ref[0], ref[1]))
    return tuple(refs)


def _object(item: Any, at: str, needed: Iterable[str], allowed: Iterable[str]) -> Mapping[str, Any]:
    found = _mapping(item, at)
    known = dict.fromkeys((*needed, *allowed))
    for key in found:
        if key not in known:
            raise ReadError(f"{at}: unknown entry {_shown(key)}{nearest(key[:100], known)}")
    for key in needed:
        if key not in found:
            raise ReadError(f"{at}: the entry {key!r} is missing")
    return found


def _mapping(item: Any, at: str) -> Mapping[str, Any]:
    _require(isinstance(item, dict), at, "an object", item)
    return item  # type: ignore[no-any-return]


def _list(item: Any, at: str) -> list[Any]:
    _require(isinstance(item, list), at, "a list", item)
    return item  # type: ignore[no-any-return]


def _text(item: Any, at: str) -> str:
    fits = _is_text(item) and item != "" and item.isprintable()
    _require(fits, at, f"a printable text of up to {MAX_TEXT} characters", item)
    return item  # type: ignore[no-any-return]


def _require(fits: bool, at: str, wanted: str, value: Any) -> None:
    if not fits:
        raise ReadError(f"{at}: must be {wanted}, got {_shown(value)}")


def _shown(value: Any) -> str:
    """Return a value as it stands in the file, in a length that fits a message."""
    if isinstance(value, (dict, list)) and value:
        return "an object" if isinstance(value, dict) else f"a list of {len(value)}"
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
