"""Files that someone made to break the readers, or that broke on the way: one error of one line, soon."""

from __future__ import annotations

import io
import json
import pickle
import struct
import time
import tracemalloc
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import prototxts
import pytest
import torch
from conftest import Outcome
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper
from test_exported import archive
from test_onnx import X, model, node, ones
from torch import nn

import archlab
from archlab.errors import ArchlabError, GraphError, ReadError, ShapeError, UsageError
from archlab.profiles import profile_graph

pytestmark = pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")
READING = (ReadError, GraphError, ShapeError, UsageError)


def small_net() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5))


def onnx_file() -> bytes:
    nodes = [
        node("Conv", "x w b", "a", pads=[1, 1, 1, 1]),
        node("BatchNormalization", "a s s s s", "c"),
        node("Shape", "c", "shape"),
        node("Slice", "shape zero one", "n"),
        node("Concat", "n rest", "both", axis=0),
        node("Reshape", "c both", "flat"),
        node("Gemm", "flat g", "o", transB=1),
        node("Softmax", "o"),
    ]
    weights = {"w": ones(6, 4, 3, 3), "b": ones(6), "s": ones(6), "g": ones(3, 486)}
    weights |= {name: numpy.array([number]) for name, number in (("zero", 0), ("one", 1), ("rest", -1))}
    return bytes(model(nodes, X, ["y"], weights).SerializeToString())


FILES: dict[str, bytes] = {
    "m.onnx": onnx_file(),
    "m.prototxt": prototxts.nin().encode(),
    "m.pt2": archive(small_net(), torch.zeros(1, 3, 8, 8)),
    "m.json": archlab.load("reduced").to_json().encode(),
}


def outcome(path: Path, data: bytes) -> str:
    """Write a file and read it as a target; return what was said, or an empty text if it could be read."""
    path.write_bytes(data)
    try:
        profile_graph(archlab.load(path), "training").to_json()
    except ArchlabError as error:
        text = str(error)
        fits = isinstance(error, READING) and "\n" not in text and len(text) < 3000
        return text if fits else pytest.fail(repr(error))
    return ""


@pytest.mark.parametrize("name", FILES)
def test_whole_files_are_read(name: str, tmp_path: Path) -> None:
    """Else the tests below would look at nothing."""
    assert outcome(tmp_path / name, FILES[name]) == ""


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_ends_too_soon_is_refused_by_its_name(name: str, tmp_path: Path) -> None:
    """At each of about two hundred places. What a text format can end with may be a network; a binary one is none."""
    data = FILES[name]
    for end in range(0, len(data) - 1, max(len(data) // 200, 1)):
        said = outcome(tmp_path / name, data[:end])
        assert said.startswith(str(tmp_path / name)) or (said == "" and name == "m.prototxt"), (end, said)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), name=st.sampled_from(list(FILES)))
def test_changed_bytes_are_read_or_refused_but_never_break_a_reader(
    data: st.DataObject, name: str, tmp_path: Path
) -> None:
    whole = bytearray(FILES[name])
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(whole) - 1))
        match data.draw(st.sampled_from(["flip", "put", "cut", "insert"])):
            case "flip":
                whole[place] ^= 1 << data.draw(st.integers(0, 7))
            case "put":
                whole[place] = data.draw(st.integers(0, 255))
            case "cut":
                del whole[place : place + data.draw(st.integers(1, 30))]
            case _:
                whole[place:place] = data.draw(st.binary(max_size=10))
    outcome(tmp_path / name, bytes(whole))


JUNK: list[Any] = [None, True, -1, 0, 2**62, 2**63, -(2**63), 10**30, "", "x", [], {}, [[]], {"as_int": -5}]


def places(value: Any, before: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [before] * bool(before) + [path for key, item in items for path in places(item, (*before, key))]


def test_a_program_with_junk_in_any_place_is_read_or_refused(tmp_path: Path) -> None:
    """Each place of the program's JSON in turn, but for those that hold texts for people."""
    with zipfile.ZipFile(io.BytesIO(FILES["m.pt2"])) as file:
        (name,) = (name for name in file.namelist() if name.endswith("models/model.json"))
        text = file.read(name)
    document = json.loads(text)
    for part in ("module_call_graph", "metadata", "treespec_namedtuple_fields"):
        document["graph_module"].pop(part, None)
    every = [p for p in places(document) if "stack_trace" not in p and "strides" not in p]
    assert len(every) > 400
    for i, path in enumerate(every):
        copied = json.loads(json.dumps(document))
        place = copied
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = JUNK[i % len(JUNK)]
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as file:
            file.writestr("m/models/model.json", json.dumps(copied))
        outcome(tmp_path / "m.pt2", packed.getvalue())


def test_a_zip_file_that_unpacks_into_gigabytes_is_left_at_its_limit(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with (
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file,
        file.open("m/models/model.json", "w", force_zip64=True) as entry,
    ):
        for _ in range(200):
            entry.write(b" " * 2**20)
    assert len(packed.getvalue()) < 2**20
    said = outcome(tmp_path / "m.pt2", packed.getvalue())
    assert said.endswith("m/models/model.json has more than 67,108,864 bytes, too many for a program")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "lists and objects are nested too deeply"),
        ('{"a": ' + "9" * 10_000 + "}", "is not JSON"),
        ("[]", "must be an object"),
        ("{", "is not JSON"),
        ("{}", "is of version None of torch.export's schema"),
    ],
)
def test_json_that_is_no_program_is_refused(text: str, message: str, tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr("m/models/model.json", text)
    assert message in outcome(tmp_path / "m.pt2", packed.getvalue())


def test_a_zip_file_without_a_program_is_refused(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr("m/models/other.txt", "x")
    assert "holds no program of torch.export (models/model.json)" in outcome(tmp_path / "m.pt2", packed.getvalue())
    assert "is no torch.export archive: File is not a zip file" in outcome(tmp_path / "m.pt2", b"PK")


class Armed:
    """An object that writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def scripted(path: Path) -> None:
    with warnings.catch_warnings(action="ignore"):
        torch.jit.save(torch.jit.script(nn.ReLU()), str(path))


WRITERS: dict[str, Callable[[Path, Path], Any]] = {
    "checkpoint.pt": lambda path, victim: torch.save({"w": Armed(victim)}, path),
    "checkpoint.pth": lambda path, victim: torch.save(Armed(victim), path, _use_new_zipfile_serialization=False),
    "model.ckpt": lambda path, victim: path.write_bytes(pickle.dumps(Armed(victim))),
    "pytorch_model.bin": lambda path, victim: path.write_bytes(pickle.dumps(Armed(victim), 2)),
    "old.pkl": lambda path, victim: path.write_bytes(pickle.dumps(Armed(victim), 0)),
    "scripted.pt": lambda path, victim: scripted(path),
    "disguised.pt2": lambda path, victim: torch.save(Armed(victim), path),
    "disguised.onnx": lambda path, victim: path.write_bytes(pickle.dumps(Armed(victim))),
    "disguised.json": lambda path, victim: torch.save(Armed(victim), path),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_pickle_is_not_opened_and_the_safe_way_is_named(
    name: str, tmp_path: Path, run: Callable[..., Outcome]
) -> None:
    victim = tmp_path / "victim"
    WRITERS[name](tmp_path / name, victim)
    ended = run("profile", str(tmp_path / name))
    assert ended.code == 3
    assert ended.err.startswith(f"error: {tmp_path / name}: a pickled checkpoint runs code when it is opened")
    assert "torch.export.save" in ended.err
    assert "file.py:callable" in ended.err
    assert ended.err.count("\n") == 1
    assert not victim.exists()


def refused(made: Any, tmp_path: Path) -> str:
    start = time.perf_counter()
    said = outcome(tmp_path / "m.onnx", made.SerializeToString())
    assert time.perf_counter() - start < 30
    return said


def function(name: str, *calls: str) -> Any:
    """Return a function of a model that calls others in turn."""
    nodes = [
        helper.make_node(called, [f"v{i}"], [f"v{i + 1}"], domain="" if called == "Relu" else "my")
        for i, called in enumerate(calls)
    ]
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("my", 1)]
    return helper.make_function("my", name, ["v0"], [f"v{len(calls)}"], nodes, opsets)


def test_functions_that_call_each_other_in_a_circle_are_refused(tmp_path: Path) -> None:
    call = helper.make_node("A", ["x"], ["y"], domain="my")
    made = model([call], X, ["y"], functions=[function("A", "B"), function("B", "A")])
    assert "functions call each other more than 30 deep" in refused(made, tmp_path)


def test_functions_that_double_at_every_call_end_at_the_limit(tmp_path: Path) -> None:
    """2²⁵ nodes from 25 functions."""
    functions = [function("F0", "Relu", "Relu")] + [function(f"F{i}", f"F{i - 1}", f"F{i - 1}") for i in range(1, 25)]
    made = model([helper.make_node("F24", ["x"], ["y"], domain="my")], X, ["y"], functions=functions)
    assert "unfolds into more than 50,000 nodes" in refused(made, tmp_path)


def test_a_cycle_is_refused(tmp_path: Path) -> None:
    nodes = [helper.make_node("Add", ["x", "b"], ["a"]), helper.make_node("Relu", ["a"], ["b"])]
    assert "reads 'b', which nothing before it makes" in refused(model(nodes, X, ["b"]), tmp_path)


def test_graphs_in_graphs_have_an_end(tmp_path: Path) -> None:
    # protobuf itself refuses more than a hundred levels, here written by hand: a graph (7) with a node (1)
    # with an attribute (5) with a graph (6), and so on
    data = b""
    for _ in range(200):
        for tag in (0x32, 0x2A, 0x0A):
            data = bytes([tag]) + varint(len(data)) + data
    said = outcome(tmp_path / "m.onnx", b"\x3a" + varint(len(data)) + data)
    assert "is no ONNX model" in said


def varint(number: int) -> bytes:
    made = bytearray()
    while number >= 0x80:
        made.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*made, number))


def test_a_weight_of_gigabytes_is_counted_without_being_read(tmp_path: Path) -> None:
    """The file is sparse: 3 GiB of zeros that lie nowhere."""
    path = tmp_path / "m.onnx"
    rows = 3 * 2**28
    made = model([node("Gemm", "x w", transB=1)], {"x": (1, 1)}, ["y"])
    head = made.SerializeToString()
    dims = b"\x08" + varint(rows) + b"\x08\x01\x10\x01\x42\x01w"
    tensor = dims + b"\x4a" + varint(4 * rows)
    graph_size = 2 + len(varint(len(tensor) + 4 * rows)) - 1 + len(tensor) + 4 * rows
    with path.open("wb") as file:
        # protobuf merges a field that occurs again, so a second graph adds its initialiser to the first
        file.write(head + b"\x3a" + varint(graph_size) + b"\x2a" + varint(len(tensor) + 4 * rows) + tensor)
        file.truncate(file.tell() + 4 * rows)
    tracemalloc.start()
    try:
        profile = archlab.profile(str(path))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert profile.total.params == rows
    assert peak < 64 * 2**20


@pytest.mark.parametrize("dims", [[-1, 4], [2**62, 2**62], [2**63 - 1], [1] * 100])
def test_a_weight_that_claims_an_impossible_shape_is_refused(dims: list[int], tmp_path: Path) -> None:
    made = model([node("Gemm", "x w", transB=1)], {"x": (1, 4)}, ["y"], {"w": ones(3, 4)})
    del made.graph.initializer[0].dims[:]
    made.graph.initializer[0].dims.extend(dims)
    assert "the initialiser 'w'" in refused(made, tmp_path)


def test_shapes_that_the_file_computes_cannot_fill_the_memory(tmp_path: Path) -> None:
    """A range to 2⁶², a constant of 2⁴⁰ elements, and sixty doublings of four numbers: none is computed."""
    limit, shape = numpy.array(2**62), numpy.array([2**20, 2**20])
    zero = numpy.array(0)
    made = model([node("Range", "zero limit one")], {}, ["y"], {"zero": zero, "one": zero + 1, "limit": limit})
    assert refused(made, tmp_path) == ""
    made = model([node("ConstantOfShape", "shape", "c"), node("Relu", "c")], {}, ["y"], {"shape": shape})
    assert refused(made, tmp_path) == ""
    doubled = [node("Concat", f"d{i} d{i}", f"d{i + 1}", axis=0) for i in range(60)]
    made = model([*doubled, node("Shape", "d60")], {}, ["y"], {"d0": numpy.arange(4)})
    assert refused(made, tmp_path) == ""


def test_sizes_that_square_with_every_node_are_refused(tmp_path: Path) -> None:
    nodes = []
    for i in range(8):
        nodes += [
            node("Reshape", f"x{i} column", f"c{i}"),
            node("Reshape", f"x{i} row", f"r{i}"),
            node("MatMul", f"c{i} r{i}", f"p{i}"),
            node("Reshape", f"p{i} flat", f"x{i + 1}"),
        ]
    weights = {"column": numpy.array([-1, 1]), "row": numpy.array([1, -1]), "flat": numpy.array([-1])}
    made = model(nodes, {"x0": (2**20,)}, ["x8"], weights)
    assert "a dimension cannot exceed" in refused(made, tmp_path)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00" * 100,
        b"\xff" * 100,
        b"\x3a" + b"\xff" * 9 + b"\x7f",  # a graph that claims 2⁶³ bytes
        b"\x0a\xff\xff\xff\xff\x0f",
        struct.pack("<Q", 2**63) * 10,
        b"%PDF-1.7",
        b"PK\x03\x04" + b"\x00" * 50,
    ],
)
@pytest.mark.parametrize("name", ["m.onnx", "m.pt2", "m.prototxt"])
def test_what_is_no_such_file_at_all_is_refused(name: str, data: bytes, tmp_path: Path) -> None:
    assert outcome(tmp_path / name, data).startswith(str(tmp_path / name))
