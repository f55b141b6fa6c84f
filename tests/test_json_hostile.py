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
from archlab.ir import Graph, Node, Op, TensorSpec
from archlab.ops import Input, MatMul
from archlab.profiles import profile_graph
from archlab.sources.json import read_graph


def read_one(op: dict[str, Any]) -> Graph:
    """Return the graph of one op over an input of 1x3x8x8, read from a file."""
    data = document()
    data["nodes"][1] |= {"op": op, "weights": {}}
    del data["params"]
    return read_graph(json.dumps(data), "g.json")


def test_enormous_sizes_are_counted_at_once() -> None:
    """8 divides 10⁹ and 2⁶², so adaptive windows overlap nowhere; half of a 10⁹ window may be padding."""
    pool = read_one({"type": "AdaptiveAvgPool2d", "output_size": [10**9, 2**62]})
    assert profile_graph(pool).total.flops == 3 * 10**9 * 2**62 + 3 * 10**9 * 2**62
    pool = read_one({"type": "AvgPool2d", "kernel": 10**9, "padding": 5 * 10**8})
    assert profile_graph(pool).total.flops == 3 * 10**18 + 3


@pytest.mark.parametrize("shape", [[10**9, -1], [2**62, 2**62], ["=0", 10**9]])
def test_enormous_reshapes_are_refused_at_once(shape: list[Any]) -> None:
    with pytest.raises(ShapeError, match=r"g\.json: g: a/conv: cannot make 192 elements"):
        read_one({"type": "Reshape", "shape": shape})


def test_the_windows_of_an_adaptive_pool_are_summed_in_closed_form() -> None:
    """Per axis size + count - gcd: 8 + 10⁹ - 8 rows, 8 + 7 - 1 columns, 3 channels; one division an output."""
    cost = profile_graph(read_one({"type": "AdaptiveAvgPool2d", "output_size": [10**9, 7]})).total
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


def many(op: Op) -> int:
    """Return how many tensors to give to an op: two, unless it takes another number."""
    return max(op.at_least, 2) if op.reads is None else op.reads


def fits(op: Op) -> bool:
    """Return whether an op reads the input of the test's graph, once or twice over."""
    if type(op) is MatMul:
        return False
    try:
        op.outputs(*[TensorSpec((2, 4, 8, 8))] * many(op))
    except ShapeError:
        return False
    return True


VALID = [json.loads(archlab.load(name).to_json()) for name in ("reduced", "inception-3a", "alexnet-torchvision")]
VALID += [json.loads(Graph("ops", (Node("x", Input((2, 4, 8, 8))), *(
    Node(f"n{i}", op, (("x", 0),) * many(op)) for i, op in enumerate(OPS) if fits(op)
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
