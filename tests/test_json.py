"""Graphs from JSON: read back without loss, and whatever else a file holds ends in one clear error."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from traced_rows import TRACED

import archlab
from archlab.errors import GraphError, ReadError, ShapeError
from archlab.ir import Graph, Node, Op, Param, Source
from archlab.ops import (
    ALL,
    GELU,
    AdaptiveAvgPool2d,
    Add,
    AvgPool2d,
    BatchNorm,
    Concat,
    Conv2d,
    ConvTranspose2d,
    Counted,
    Custom,
    Dropout,
    Flatten,
    GlobalAvgPool2d,
    Input,
    LayerNorm,
    Layout,
    Linear,
    LocalResponseNorm,
    MatMul,
    MaxPool2d,
    Mul,
    Reduce,
    ReLU,
    Reshape,
    Sigmoid,
    Softmax,
    Unknown,
)
from archlab.profiles import profile_graph
from archlab.sources import json as reader
from archlab.sources.json import read_file, read_graph
from archlab.zoo.catalog import ARCHITECTURES

READING = (ReadError, GraphError, ShapeError)
OPS: list[Op] = [
    Conv2d(8, 3, padding=1), Conv2d(4, (1, 3), 2, "same_upper", groups=2, bias=False), Conv2d(4, 3, padding="same"),
    ConvTranspose2d(4, 2, 2, output_padding=1), MaxPool2d(3, 2, ceil_mode=True), MaxPool2d(2, padding="same_upper"),
    AvgPool2d(2, count_include_pad=False), GlobalAvgPool2d(), AdaptiveAvgPool2d((3, 2)), Linear(8), MatMul(),
    BatchNorm(scale=False, eps=1e-3), LayerNorm(2, shift=False), LocalResponseNorm(3, k=2.0), ReLU(), GELU(),
    Sigmoid(), Softmax(1), Softmax(0, True), Add(), Mul(), Concat(), Flatten(1, 2), Reshape(("=0", -1, 4)),
    Dropout(0.2, training=True),
    *{type(row.op): row.op for row in TRACED}.values(), Conv2d(4, 1, computed=("weight",)),
    Layout("view", ((8, 64), (4,)), ((2, 4, 8, 8),), "int8", False), Layout("cat", ((4, 8),), ((2, 4, 8, 8),) * 2),
    Counted("resize", ((2, 4, 16, 16),), ((2, 4, 8, 8),), (("mul", 4), ("add", 3)), "float16"),
    Unknown("fft", (((2, 4, 8, 8), "complex64"), ((), "int64"))), Unknown("made", (((3,), "bool"),), ()),
    Unknown("seen", (((3,), "bool"),), ((2, 4, 8, 8),)), Reduce("max", (1, -1), True),
    Reduce("argmax", None, dtype="int64"), Custom("n::made", (((3,), "bool"),), ()),
    Custom("n::scan", (((2, 4, 8, 8), "int8"), ((), "bool")), ((2, 4, 8, 8),), (("exp", ((("L", 9),), ())),)),
]  # fmt: skip


@st.composite
def graphs(draw: Any) -> Graph:
    """Graphs of up to a dozen random ops over two inputs, with marks, ties and parameters of all kinds."""
    nodes = [
        Node("x", Input((2, 4, 8, 8))),
        Node("y", Input((2, 4, 8, 8), "float16"), train_only=draw(st.booleans())),
        Node("i", Input((2, 4), "int64")),
        Node("w", Input((4, 4, 1, 1))),
    ]
    graph = Graph("random", tuple(nodes), (("y", 0),))
    for i in range(draw(st.integers(1, 12))):
        op = draw(st.sampled_from(OPS))
        count = draw(st.integers(op.at_least, op.at_least + 2)) if op.reads is None else op.reads
        refs = tuple((draw(st.sampled_from(nodes)).name, 0) for _ in range(count))
        source = draw(st.none() | st.just(Source("m.sub", "Sub", 1, "relu", "model.py", 12)))
        tie = {"weight": "shared"} if isinstance(op, Linear) and draw(st.booleans()) else {}
        node = Node(f"block{i % 2}/é{i}", op, refs, tie, draw(st.booleans()), source)
        try:
            graph = Graph("random", (*nodes, node), ((node.name, 0), ("x", 0)))
        except GraphError:
            continue
        nodes.append(node)
    frozen = {key: replace(param, trainable=False) for key, param in graph.params.items() if draw(st.booleans())}
    return replace(graph, params={**graph.params, **frozen, "unused": Param((3,), "int8")})


def same(again: Graph, graph: Graph) -> None:
    assert again == graph
    assert again.specs == graph.specs
    assert [node.source for node in again.nodes] == [node.source for node in graph.nodes]
    assert again.origin == "read"
    assert again.to_json() == graph.to_json()


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_is_read_back_without_loss(name: str) -> None:
    graph = archlab.load(name)
    same(read_graph(graph.to_json(), "g.json"), graph)


@settings(deadline=None, max_examples=80)
@given(graphs())
def test_any_graph_is_read_back_without_loss(graph: Graph) -> None:
    same(read_graph(graph.to_json(), "g.json"), graph)
    assert profile_graph(read_graph(graph.to_json(), "g.json"), "training") == profile_graph(graph, "training")


def test_every_op_takes_part_in_the_random_graphs() -> None:
    assert {type(op) for op in OPS} | {Input} == set(ALL)


def test_a_file_of_a_graph_is_a_target(tmp_path: Path) -> None:
    path = tmp_path / "net.json"
    path.write_text(archlab.load("googlenet").to_json(), encoding="utf-8")
    same(read_file(path), archlab.load("googlenet"))
    assert archlab.profile(f"{path}").total == archlab.profile("googlenet").total


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "net.json"
    path.write_text(archlab.load("naive").to_json(), encoding="utf-8-sig")
    assert read_file(path) == archlab.load("naive")


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"\xff\xfe{", r"is not UTF-8 text \(byte 0\)"), (b"{}\x80", r"is not UTF-8 text \(byte 2\)")],
)
def test_a_file_that_is_no_text_says_so(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "net.json"
    path.write_bytes(content)
    with pytest.raises(ReadError, match=f"{re.escape(str(path))}: {message}"):
        read_file(path)


def test_a_file_that_cannot_be_opened_says_why(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match=r"none\.json: cannot be read: No such file"):
        read_file(tmp_path / "none.json")
    with pytest.raises(ReadError, match="cannot be read: Is a directory"):
        read_file(tmp_path)


def test_more_than_the_stated_size_is_refused_before_it_is_parsed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "MAX_BYTES", 1000)
    monkeypatch.setattr(reader.json, "loads", None)
    with pytest.raises(ReadError, match=r"g\.json: has more than 1,000 characters"):
        read_graph(" " * 1001, "g.json")
    path = tmp_path / "g.json"
    path.write_bytes(b"\xc3" * 1001)
    with pytest.raises(ReadError, match=r"g\.json: has more than 1,000 bytes"):
        read_file(path)


TEXTS = [
    ("", "g.json: is not JSON: Expecting value (line 1, column 1)"),
    ('{"schema":\n "x"', "g.json: is not JSON: Expecting ',' delimiter (line 2, column 5)"),
    ("[" * 10**6, "g.json: lists and objects are nested too deeply for a graph"),
    ('{"a":' * 10**6, "g.json: lists and objects are nested too deeply for a graph"),
    ("9" * 5000, "g.json: a number has too many digits"),
    ("NaN", "g.json: NaN is no number of JSON"),
    ("[-Infinity]", "g.json: -Infinity is no number of JSON"),
    ('{"a": 1, "a": 1}', 'g.json: the key "a" occurs twice in one object'),
    ("[]", "g.json: must be an object, got []"),
    ("null", "g.json: must be an object, got null"),
    ("{}", "g.json: the entry 'schema' must be 'archlab.graph/1', got null"),
    (
        '{"schema": "archlab.profile/1"}',
        "g.json: the entry 'schema' must be 'archlab.graph/1', got \"archlab.profile/1\"",
    ),
    ('{"schema": "archlab.graph/1", "name": "g", "nodes": []}', "g.json: the entry 'outputs' is missing"),
]


@pytest.mark.parametrize(("text", "message"), TEXTS, ids=[message[:50] for _, message in TEXTS])
def test_a_text_that_is_no_graph_says_what_it_is(text: str, message: str) -> None:
    with pytest.raises(ReadError) as caught:
        read_graph(text, "g.json")
    assert str(caught.value) == message
    assert caught.value.exit_code == 3


def document() -> dict[str, Any]:
    """Return a small valid document: an input and a convolution with a source."""
    conv = Node("a/conv", Conv2d(4, 3), (("x", 0),), source=Source("a.conv", "Conv2d"))
    return json.loads(Graph("g", (Node("x", Input((1, 3, 8, 8))), conv), (("a/conv", 0),)).to_json())


def put(*path: Any) -> Callable[[Any], dict[str, Any]]:
    """Return what gives a document with another value at a path."""

    def change(value: Any) -> dict[str, Any]:
        changed = document()
        place: Any = changed
        for step in path[:-1]:
            place = place[step]
        if value is DELETED:
            del place[path[-1]]
        else:
            place[path[-1]] = value
        return changed

    return change


DELETED = object()
NODE, AT = ("nodes", 1), "nodes[1] ('a/conv')"
NAME = "must be a printable text of up to 1000 characters"
SIZE = "must be an integer of 64 bits"
EITHER = f"{SIZE} or a text"
PLACES: list[tuple[tuple[Any, ...], Any, str]] = [
    (("name",), "", f'name: {NAME}, got ""'),
    (("name",), "a\x1b[2J", f'name: {NAME}, got "a\\u001b[2J"'),
    (("extra",), 1, 'unknown entry "extra"'),
    (("param",), 1, "unknown entry \"param\"; did you mean 'params'"),
    (("nodes",), {}, "nodes: must be a list, got {}"),
    (("nodes",), [5], "nodes[0]: must be an object, got 5"),
    (("outputs",), [], "g: a graph needs at least one output"),
    (("outputs",), [["a/conv", 1]], "g: outputs reads output 1 of 'a/conv', which has 1"),
    (("outputs",), ["x"], 'outputs[0]: must be a pair like ["conv1", 0], got "x"'),
    (("outputs",), [["x", True]], 'outputs[0]: must be a pair like ["conv1", 0], got a list of 2'),
    (("outputs",), [["x", 0, 0]], 'outputs[0]: must be a pair like ["conv1", 0], got a list of 3'),
    (("outputs",), [["x", 10**400]], 'outputs[0]: must be a pair like ["conv1", 0], got a list of 2'),
    ((*NODE, "name"), DELETED, "nodes[1]: the entry 'name' is missing"),
    ((*NODE, "name"), 5, f"nodes[1].name: {NAME}, got 5"),
    ((*NODE, "name"), "x", "g: two nodes are named 'x'; names identify layers and must differ"),
    ((*NODE, "name"), "n" * 1001, f'nodes[1].name: {NAME}, got "{"n" * 56}...'),
    ((*NODE, "op"), "Conv2d", f'{AT}.op: must be an object, got "Conv2d"'),
    ((*NODE, "op", "type"), DELETED, f"{AT}.op.type: must name an op, got null"),
    ((*NODE, "op", "type"), "Conv2D", f"{AT}.op: unknown op \"Conv2D\"; did you mean 'Conv2d'"),
    ((*NODE, "op", "type"), "__class__", f'{AT}.op: unknown op "__class__"'),
    ((*NODE, "op", "kernels"), 3, f"{AT}.op: unknown entry \"kernels\"; did you mean 'kernel'"),
    ((*NODE, "op", "out_channels"), DELETED, f"{AT}.op: the entry 'out_channels' is missing"),
    ((*NODE, "op", "out_channels"), 4.0, f"{AT}.op.out_channels: {SIZE}, got 4.0"),
    ((*NODE, "op", "out_channels"), True, f"{AT}.op.out_channels: {SIZE}, got true"),
    ((*NODE, "op", "out_channels"), 2**63, f"{AT}.op.out_channels: {SIZE}, got {2**63}"),
    ((*NODE, "op", "out_channels"), 0, f"{AT}.op: out_channels must be at least 1, got 0"),
    ((*NODE, "op", "kernel"), "x", f"{AT}.op: kernel must be an integer, got 'x'"),
    ((*NODE, "op", "kernel"), None, f"{AT}.op.kernel: {EITHER}, got null"),
    ((*NODE, "op", "kernel"), [[3, 3], 3], f"{AT}.op.kernel[0]: {EITHER}, got a list of 2"),
    ((*NODE, "op", "kernel"), [3, 3, 3], f"{AT}.op: kernel takes one number or two, got (3, 3, 3)"),
    ((*NODE, "op", "kernel"), [3] * 10**6, f"{AT}.op.kernel: must be a list of up to 64, got a list of 1000000"),
    ((*NODE, "op", "kernel"), 10**400, f"{AT}.op.kernel: {EITHER}, got 1{'0' * 56}..."),
    ((*NODE, "op", "kernel"), 9, "g: a/conv: the kernel spans 9, the padded input only 8"),
    ((*NODE, "op", "padding"), "x", f"{AT}.op: padding must be numbers or one of ('same', 'same_upper'), got 'x'"),
    ((*NODE, "op", "bias"), 1, f"{AT}.op.bias: must be true or false, got 1"),
    ((*NODE, "inputs"), [["y", 0]], "g: a/conv reads 'y', which does not exist"),
    ((*NODE, "inputs"), [], "g: a/conv: Conv2d reads 1 tensor(s), got 0"),
    ((*NODE, "inputs"), "x", f'{AT}.inputs: must be a list, got "x"'),
    ((*NODE, "weights"), {"weight": ""}, f"{AT}.weights['weight']: {NAME}, got \"\""),
    ((*NODE, "weights"), {"scale": "k"}, "g: a/conv: Conv2d has no weight 'scale'"),
    ((*NODE, "weights"), [], f"{AT}.weights: must be an object, got []"),
    ((*NODE, "train_only"), 1, f"{AT}.train_only: must be true or false, got 1"),
    ((*NODE, "source", "line"), "3", f'{AT}.source.line: {SIZE}, got "3"'),
    ((*NODE, "source"), None, f"{AT}.source: must be an object, got null"),
    (("nodes", 0, "op", "shape"), 8, "nodes[0] ('x').op: a shape must be a sequence of integers, not 8"),
    (("nodes", 0, "op", "shape"), [1, -3], "nodes[0] ('x').op: a dimension cannot be negative: (1, -3)"),
    (("nodes", 0, "op", "shape"), [1, "3"], "nodes[0] ('x').op: a dimension must be an integer, not '3'"),
    (("nodes", 0, "op", "dtype"), "float31", "nodes[0] ('x').op: unknown dtype 'float31'; did you mean 'float32'"),
    (("params",), {"k": {"shape": [2, "3"]}}, f"params['k'].shape[1]: {SIZE}, got \"3\""),
    (("params",), {"k": {"shape": 2}}, "params['k'].shape: must be a list, got 2"),
    (("params",), {"k": {"shape": [], "dtype": "f"}}, "params['k']: unknown dtype 'f'"),
    (("params",), {"k": {}}, "params['k']: the entry 'shape' is missing"),
    (("params", "a.conv.bias", "shape"), [1], "g: a/conv: weight 'a.conv.bias' is (1,), its op needs (4,)"),
    (("params", "a.conv.weight", "buffer"), True, "g: a/conv: 'a.conv.weight' is a buffer, its op needs a parameter"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "value", "message"), PLACES, ids=[f"{i}-{m[:60]}" for i, (_, _, m) in enumerate(PLACES)]
)
def test_a_wrong_value_is_an_error_at_its_place(path: tuple[Any, ...], value: Any, message: str) -> None:
    with pytest.raises(READING) as caught:
        read_graph(json.dumps(put(*path)(value)), "g.json")
    assert str(caught.value).startswith(f"g.json: {message}")
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 3


def test_a_number_too_large_for_a_float_is_refused() -> None:
    text = json.dumps(put("nodes", 0, "op")({"type": "Dropout", "p": 0.5}))
    with pytest.raises(ReadError, match=re.escape("nodes[0] ('x').op.p: must be a number, got Infinity")):
        read_graph(text.replace("0.5", "1e999"), "g.json")
