"""The models that the onnx package tests its own backends with, one or more an operator: our shapes are theirs."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from pathlib import Path

import onnx
import pytest
from onnx.backend.test.case.node import collect_testcases

from archlab.errors import ArchlabError
from archlab.profiles import profile_graph
from archlab.sources.onnx import read_model
from archlab.sources.onnx.tensors import declared

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

EXCUSED = {
    "types that archlab has no size for: text, 2 and 4 bits, variants of 8": r"elements of type",
    "sequences and optional values": r"is no tensor|Sequence|\(If\)|\(Identity\)|\(Optional",
    "shapes that numbers given at run time decide": r"numbers that the file does not hold|\((Unique|Range|Loop)\)",
    "a loop whose body nobody infers": r"\((Scan|Loop)\): has no rule",
}
"""Why a model is not read."""


@cache
def models() -> dict[str, bytes]:
    folder = Path(onnx.__file__).parent / "backend" / "test" / "data"
    found = {path.parent.name: path.read_bytes() for path in folder.glob("*/*/model.onnx")}
    found |= {case.name: case.model.SerializeToString() for case in collect_testcases(None) if case.model is not None}
    return found


def test_every_model_is_read_in_the_shapes_that_it_declares_or_excused() -> None:
    reasons: Counter[str] = Counter()
    wrong = []
    for name, data in models().items():
        try:
            graph = read_model(data, name)
            profile_graph(graph).to_json()
        except ArchlabError as error:
            why = [reason for reason, pattern in EXCUSED.items() if re.search(pattern, str(error))]
            reasons[why[0] if why else f"{name}: {error}"] += 1
            continue
        reasons["read"] += 1
        for output, spec in zip(onnx.ModelProto.FromString(data).graph.output, graph.output_specs, strict=True):
            shape, dtype = declared(output) or (None, "")
            fixed = shape is not None and all(isinstance(d, int) for d in shape)
            if fixed and (shape, dtype) != (spec.shape, spec.dtype):
                wrong.append((name, shape, dtype, str(spec)))
    assert wrong == []
    assert reasons.keys() <= {"read", *EXCUSED}, reasons
    assert reasons["read"] > 0.85 * reasons.total(), reasons
    assert reasons["read"] > 1700
