"""Graphs from JSON, schema ``archlab.graph/1``: what `Graph.to_json` writes, read back without loss.

A file is data that anyone may have written. Whatever it holds, reading ends in a valid graph or in one
`ReadError`, `GraphError` or `ShapeError` that names the file and the place in it.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from archlab.errors import GraphError, ReadError, nearest
from archlab.ir import Call, Graph, Node, Op, Param, Ref, Source
from archlab.ops import BY_NAME
from archlab.sources.values import a_list, a_text, an_object, fields_of, is_size, is_text, mapping, require, shown

SCHEMA = "archlab.graph/1"
MAX_BYTES = 64 * 2**20
"""A larger file is refused before it is parsed. GoogLeNet takes 65 KiB."""


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
    data = mapping(_parse(text, where), where)
    if data.get("schema") != SCHEMA:
        raise ReadError(f"{where}: the entry 'schema' must be {SCHEMA!r}, got {shown(data.get('schema'))}")
    data = an_object(data, where, ("schema", "name", "nodes", "outputs"), ("params", "calls"))
    name = a_text(data["name"], f"{where}: name")
    nodes = [_node(item, f"{where}: nodes[{i}]") for i, item in enumerate(a_list(data["nodes"], f"{where}: nodes"))]
    outputs = _refs(data["outputs"], f"{where}: outputs")
    params = mapping(data.get("params", {}), f"{where}: params")
    names = [a_text(key, f"{where}: params") for key in params]
    read = {key: _param(params[key], f"{where}: params[{key!r}]") for key in names}
    listed = a_list(data.get("calls", []), f"{where}: calls")
    calls = tuple(_call(item, i, f"{where}: calls[{i}]") for i, item in enumerate(listed))
    try:
        return Graph(name, tuple(nodes), outputs, read, "read", calls)
    except GraphError as error:
        raise type(error)(f"{where}: {error}") from None


def _parse(text: str, where: str) -> Any:
    if len(text) > MAX_BYTES:
        raise ReadError(f"{where}: has more than {MAX_BYTES:,} characters, too many for a graph")

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            repeated, _ = Counter(key for key, _ in pairs).most_common(1)[0]
            raise ReadError(f"{where}: the key {shown(repeated)} occurs twice in one object")
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
    data = an_object(item, at, ("name", "op", "inputs"), ("weights", "train_only", "source"))
    name = a_text(data["name"], f"{at}.name")
    at = f"{at} ({name!r})"
    weights = mapping(data.get("weights", {}), f"{at}.weights")
    keys = {role: a_text(key, f"{at}.weights[{role!r}]") for role, key in weights.items()}
    train_only = data.get("train_only", False)
    require(type(train_only) is bool, f"{at}.train_only", "true or false", train_only)
    source = fields_of(Source, data["source"], f"{at}.source") if "source" in data else None
    return Node(name, _op(data["op"], f"{at}.op"), _refs(data["inputs"], f"{at}.inputs"), keys, train_only, source)


def _call(item: Any, place: int, at: str) -> Call:
    call: Call = fields_of(Call, item, at)
    require(-1 <= call.parent < place, f"{at}.parent", "an earlier call or -1", call.parent)
    return call


def _op(item: Any, at: str) -> Op:
    data = dict(mapping(item, at))
    kind = data.pop("type", None)
    if not isinstance(kind, str):
        raise ReadError(f"{at}.type: must name an op, got {shown(kind)}")
    if kind not in BY_NAME:
        raise ReadError(f"{at}: unknown op {shown(kind)}{nearest(kind[:100], BY_NAME)}")
    try:
        op: Op = fields_of(BY_NAME[kind], data, at)
    except GraphError as error:
        raise type(error)(f"{at}: {error}") from None
    return op


def _param(item: Any, at: str) -> Param:
    try:
        param: Param = fields_of(Param, item, at)
    except GraphError as error:
        raise type(error)(f"{at}: {error}") from None
    return param


def _refs(item: Any, at: str) -> tuple[Ref, ...]:
    refs = []
    for i, ref in enumerate(a_list(item, at)):
        fits = isinstance(ref, list) and len(ref) == 2 and is_text(ref[0]) and is_size(ref[1])
        require(fits, f"{at}[{i}]", 'a pair like ["conv1", 0]', ref)
        refs.append((ref[0], ref[1]))
    return tuple(refs)
