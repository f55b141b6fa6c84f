"""Graphs from JSON that someone made to break the reader, or that broke on the way."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_json import OPS, READING, document

import archlab
from archlab.errors import ArchlabError, ShapeError
from archlab.ir import Graph, Node, Op
from archlab.ops import AdaptiveAvgPool2d, AvgPool2d, Input, MatMul, Reshape
from archlab.profiles import profile_graph
from archlab.sources.json import read_graph


@pytest.mark.parametrize(
    "op", [AdaptiveAvgPool2d((10**9, 2**62)), AvgPool2d(10**9, padding=5 * 10**8), Reshape((10**9, -1))]
)
def test_enormous_sizes_are_counted_or_refused_at_once(op: Op) -> None:
    node = Node("op", op, (("x", 0),))
    data = Graph("g", (Node("x", Input((1, 3, 8, 8))),), (("x", 0),)).to_dict()
    data["nodes"].append(json.loads(Graph("g", (Node("op", Input((1,))),), (("op", 0),)).to_json())["nodes"][0])
    data["nodes"][1] |= {"op": {"type": type(op).__name__, **vars(op)}, "inputs": node.inputs}
    data["outputs"] = [["op", 0]]
    try:
        graph = read_graph(json.dumps(data), "g.json")
    except ShapeError as error:
        assert str(error).startswith("g.json: g: op: ")  # noqa: PT017
    else:
        assert profile_graph(graph).to_json()


def test_the_windows_of_an_adaptive_pool_are_summed_in_closed_form() -> None:
    """Per axis size + count - gcd: 8 + 10⁹ - 8 rows, 8 + 7 - 1 columns, 3 channels; one division an output."""
    data = document()
    data["nodes"][1] |= {"op": {"type": "AdaptiveAvgPool2d", "output_size": [10**9, 7]}, "weights": {}}
    del data["params"]
    cost = profile_graph(read_graph(json.dumps(data), "g.json")).total
    assert cost.operations["add"] == 3 * (8 + 10**9 - 8) * (8 + 7 - 1)
    assert cost.operations["div"] == 3 * 10**9 * 7


def test_sizes_that_square_with_every_node_end_before_the_memory_does() -> None:
    """An outer product of n and n numbers, flattened, has n²: forty of them would have 2^(2^40)."""
    nodes: list[dict[str, Any]] = [{"name": "x0", "op": {"type": "Input", "shape": [2**20]}, "inputs": []}]
    for i in range(40):
        before, column, product = f"x{i}", f"column{i}", f"product{i}"
        nodes += [
            {"name": column, "op": {"type": "Reshape", "shape": [-1, 1]}, "inputs": [[before, 0]]},
            {"name": f"row{i}", "op": {"type": "Reshape", "shape": [1, -1]}, "inputs": [[before, 0]]},
            {"name": product, "op": {"type": "MatMul"}, "inputs": [[column, 0], [f"row{i}", 0]]},
            {"name": f"x{i + 1}", "op": {"type": "Flatten", "start_dim": 0}, "inputs": [[product, 0]]},
        ]
    data = {"schema": "archlab.graph/1", "name": "g", "nodes": nodes, "outputs": [["x40", 0]]}
    with pytest.raises(ShapeError, match=r"g\.json: g: x2: a dimension cannot exceed 9223372036854775807"):
        read_graph(json.dumps(data), "g.json")


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


def paths(value: Any, before: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [before] * bool(before) + [path for key, item in items for path in paths(item, (*before, key))]


VALID = [json.loads(archlab.load(name).to_json()) for name in ("reduced", "inception-3a", "alexnet-torchvision")]
VALID += [json.loads(Graph("ops", (Node("x", Input((2, 4, 8, 8))), *(
    Node(f"n{i}", op, (("x", 0),) * (op.arity or 2)) for i, op in enumerate(OPS) if type(op) is not MatMul
)), (("x", 0),)).to_json())]  # fmt: skip


@settings(deadline=None, max_examples=400)
@given(data=st.data(), base=st.sampled_from(VALID))
def test_a_damaged_document_is_read_or_refused_but_never_breaks_the_reader(data: st.DataObject, base: Any) -> None:
    document = copy.deepcopy(base)
    places = paths(base)
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(places))
        place = document
        try:
            for step in path[:-1]:
                place = place[step]
            old = place[path[-1]]
            action = data.draw(st.sampled_from(["junk", "delete", "copy", "nudge"]))
            if action == "delete":
                del place[path[-1]]
            elif action == "copy":
                source: Any = base
                for step in data.draw(st.sampled_from(places)):
                    source = source[step]
                place[path[-1]] = copy.deepcopy(source)
            elif action == "nudge" and isinstance(old, int):
                place[path[-1]] = old + data.draw(st.sampled_from([-1, 1, -old, 10**9, 2**62]))
            else:
                place[path[-1]] = data.draw(JUNK)
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change has taken this place away
    text = json.dumps(document)
    try:
        graph = read_graph(text, "g.json")
    except READING as error:
        assert str(error).startswith("g.json: ")  # noqa: PT017
        assert len(str(error)) < 3000  # noqa: PT017
    else:
        assert read_graph(graph.to_json(), "g.json") == graph
        try:
            profile_graph(graph, "training").to_json()
        except ArchlabError as error:  # an input that inference accepts and a batch norm in training does not
            assert "training" in str(error)  # noqa: PT017


@settings(deadline=None, max_examples=200)
@given(data=st.data(), base=st.sampled_from(VALID))
def test_a_damaged_text_is_read_or_refused_but_never_breaks_the_reader(data: st.DataObject, base: Any) -> None:
    text = json.dumps(base)
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(start + 50, len(text))))
    inserted = data.draw(
        st.sampled_from(["", "[", "{", '"', "}", "1e999", "-", "\\ud800", "\ud800", "\x00"]) | st.text()
    )
    try:
        read_graph(text[:start] + inserted + text[end:], "g.json")
    except READING as error:
        assert str(error).startswith("g.json: ")  # noqa: PT017
