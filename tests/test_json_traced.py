"""Traced graphs as JSON: read back without loss, and what is wrong in their nested lists is an error at its place."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from test_json import READING, same
from test_json_hostile import read_one

from archlab.errors import ReadError
from archlab.ir import Graph, TensorSpec
from archlab.profiles import profile_graph
from archlab.pytorch.trace import trace
from archlab.sources import values
from archlab.sources.json import read_graph


def traced(name: str) -> Graph:
    models = pytest.importorskip("torchvision").models
    with torch.device("meta"):
        model = getattr(models, name)()
    return trace(model, TensorSpec((2, 3, 224, 224)))


@pytest.mark.parametrize("name", ["resnet18", "vit_b_16", "swin_t"])
def test_a_traced_graph_is_read_back_without_loss(name: str) -> None:
    graph = traced(name)
    again = read_graph(graph.to_json(), "g.json")
    same(again, graph)
    assert (graph.origin, again.origin) == ("traced", "read")
    assert profile_graph(again) == profile_graph(graph)
    assert profile_graph(again).parameters == profile_graph(graph).parameters


X = [1, 3, 8, 8]
LAYOUT = {"type": "Layout", "function": "permute", "shapes": [[1, 8, 8, 3]], "saw": [X]}
COUNTED = {"type": "Counted", "function": "resize", "shapes": [[1, 3, 16, 16]], "saw": [X], "each": [["add", 3]]}
UNKNOWN = {"type": "Unknown", "function": "fft", "outputs_seen": [[X, "complex64"]]}
CUSTOM = {
    "type": "Custom", "function": "n::scan", "outputs_seen": [[X, "int8"]], "saw": [X],
    "counts": [["mac", [[["L", 8]]]]],
}  # fmt: skip
REDUCE = {"type": "Reduce", "function": "mean", "dims": [2, 3]}
SIZE = "must be an integer of 64 bits"
CLASSES = "operations are counted by class (mac, add, mul, div, exp, cmp), each once, got"


@pytest.mark.parametrize("op", [LAYOUT, COUNTED, CUSTOM, UNKNOWN, REDUCE], ids=lambda op: op["type"])
def test_the_documents_that_are_damaged_below_are_whole(op: dict[str, Any]) -> None:
    assert type(read_one(op).node("a/conv").op).__name__ == op["type"]


@pytest.mark.parametrize(
    ("op", "change", "message"),
    [
        (LAYOUT, {"shapes": 5}, "op.shapes: must be a list, got 5"),
        (LAYOUT, {"shapes": None}, "op.shapes: must be a list, got null"),
        (LAYOUT, {"shapes": [5]}, "op.shapes[0]: must be a list, got 5"),
        (LAYOUT, {"shapes": [[1, "3"]]}, f'op.shapes[0][1]: {SIZE}, got "3"'),
        (LAYOUT, {"shapes": [[1, [3]]]}, f"op.shapes[0][1]: {SIZE}, got a list of 1"),
        (LAYOUT, {"shapes": [[True]]}, f"op.shapes[0][0]: {SIZE}, got true"),
        (LAYOUT, {"shapes": [[1] * 65]}, "op.shapes[0]: must be a list of up to 64, got a list of 65"),
        (LAYOUT, {"saw": [[]] * 65537}, "op.saw: must be a list of up to 65536, got a list of 65537"),
        (LAYOUT, {"shapes": []}, "op: permute makes at least one tensor"),
        (LAYOUT, {"shapes": [[-1]]}, "a dimension cannot be negative: (-1,)"),
        (LAYOUT, {"function": "\x1b[2J"}, "op: a function has a printable name, got '\\x1b[2J'"),
        (LAYOUT, {"saw": []}, "permute was traced for () and is literal, got ((1, 3, 8, 8),); trace it again"),
        (LAYOUT, {"dtype": "float31"}, "unknown dtype 'float31'; did you mean 'float32'"),
        (COUNTED, {"each": [["add"]]}, 'op.each[0]: must be a pair like ["add", 3], got a list of 1'),
        (COUNTED, {"each": [["add", "3"]]}, f'op.each[0][1]: {SIZE}, got "3"'),
        (COUNTED, {"each": [[["add"], 3]]}, "op.each[0][0]: must be a text, got a list of 1"),
        (COUNTED, {"each": [["shift", 3]]}, f"op: {CLASSES} (('shift', 3),)"),
        (COUNTED, {"each": [["add", 3], ["add", 3]]}, f"op: {CLASSES} (('add', 3), ('add', 3))"),
        (COUNTED, {"each": [["add", -3]]}, "op: a count cannot be negative: (('add', -3),)"),
        (COUNTED, {"shapes": []}, "op: resize makes at least one tensor"),
        (UNKNOWN, {"outputs_seen": [X]}, 'op.outputs_seen[0]: must be a pair like [[1, 3], "float32"], got a list'),
        (UNKNOWN, {"outputs_seen": [["x", "int8"]]}, 'op.outputs_seen[0][0]: must be a list, got "x"'),
        (UNKNOWN, {"outputs_seen": [[X, "f"]]}, "unknown dtype 'f'"),
        (UNKNOWN, {"outputs_seen": []}, "op: fft makes at least one tensor"),
        (UNKNOWN, {"function": ""}, "op: a function has a printable name, got ''"),
        (CUSTOM, {"counts": [["mac", 5]]}, "op.counts[0][1]: must be a list, got 5"),
        (CUSTOM, {"counts": [["mac", [["L", 8]]]]}, 'op.counts[0][1][0][0]: must be a pair like ["L", 10], got "L"'),
        (CUSTOM, {"counts": [["mac", [[["L", "8"]]]]]}, f'op.counts[0][1][0][0][1]: {SIZE}, got "8"'),
        (CUSTOM, {"counts": [["mac"]]}, 'op.counts[0]: must be a pair like ["mac", [[["L", 10]]]], got a list of 1'),
        (CUSTOM, {"counts": [["flop", []]]}, f"op: {CLASSES} ['flop']"),
        (CUSTOM, {"counts": [["mac", [[["L", -8]]]]]}, "op: a count cannot be negative: -8 mac"),
        (CUSTOM, {"counts": [["mac", [[["\x1b", 8]]]]]}, "op: the factors of mac have printable names, got"),
        (REDUCE, {"dims": [[2]]}, "op.dims[0]: must be an integer of 64 bits or a text, got a list of 1"),
        (REDUCE, {"dims": ["2"]}, "op: dims are integers, got ('2',)"),
        (REDUCE, {"dims": [4]}, "dimension 4 does not exist in (1, 3, 8, 8)"),
        (REDUCE, {"dims": [2, -2]}, "a dimension of (1, 3, 8, 8) is reduced twice by (2, -2)"),
        (REDUCE, {"results": 3}, "op: a reduction has 1 or 2 results, got 3"),
        (REDUCE, {"function": "means"}, "is none of the functions of `ops.functions`; did you mean 'mean'"),
        ({"type": "Elementwise", "function": "x"}, {}, "op: 'x' is none of the functions of `ops.functions`"),
        ({"type": "Elementwise", "function": "exp"}, {"dtype": "f"}, "op: unknown dtype 'f'"),
        ({"type": "Attention"}, {}, "a/conv: Attention reads 3 or more tensors, got 1"),
        ({"type": "Embedding", "rows": 9, "width": 4}, {}, "indices are int64 or int32, not float32"),
        ({"type": "Embedding", "rows": -1, "width": 4}, {}, "op: rows must be at least 0, got -1"),
        ({"type": "Linear", "out_features": 4}, {"computed": 5}, "op: computed names some of ('weight', 'bias')"),
        ({"type": "Linear", "out_features": 4}, {"computed": ["x"]}, "op: computed names some of ('weight', 'bias')"),
        ({"type": "Recurrent", "kind": "gru", "hidden": 4}, {"computed": 5}, "op: computed names weights"),
        ({"type": "Recurrent", "kind": "gru", "hidden": 4}, {"layers": 2**62}, "op: layers must be at most"),
    ],
)  # fmt: skip
def test_a_wrong_value_of_a_traced_op_is_an_error_at_its_place(
    op: dict[str, Any], change: dict[str, Any], message: str
) -> None:
    with pytest.raises(READING) as caught:
        read_one(op | change)
    found = str(caught.value)
    assert message in found
    assert found.startswith("g.json: ")
    assert "\n" not in found
    assert len(found) < 1000


def test_lists_nested_more_deeply_than_a_field_takes_are_refused_without_going_down() -> None:
    nested: Any = 1
    for _ in range(500):
        nested = [nested]
    with pytest.raises(ReadError, match=r"op\.shapes\[0\]\[0\]: must be an integer of 64 bits, got a list of 1"):
        read_one(LAYOUT | {"shapes": nested})


def test_what_the_reader_takes_for_a_declared_type_is_written_down_for_every_field_of_every_op() -> None:
    """A field of another type would end in an error of Python's."""
    import dataclasses

    from archlab.ops import ALL

    declared = {str(f.type).removesuffix(" | None") for op in ALL for f in dataclasses.fields(op)}
    assert declared <= {*values._TYPES, *values._LISTS}
    assert "Shapes" in declared
    assert json.loads(json.dumps(LAYOUT)) == LAYOUT
