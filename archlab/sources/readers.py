"""Kinds of files that are targets, by their suffix, and those that are refused since opening them runs code."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from archlab.errors import GraphError, ReadError
from archlab.ir import Graph

if TYPE_CHECKING:
    from archlab.sources.target import Asked

PICKLES = (".pt", ".pth", ".ckpt", ".bin", ".pkl", ".pickle")
"""Suffixes of checkpoints that are pickled as a rule."""


def read(path: Path, asked: Sequence[Asked], mode: str | None) -> tuple[Graph, Sequence[Asked]]:
    """Return the graph in a file, and the inputs asked for that it is still to be given.

    Raises `ReadError` for a kind of file that is not read, and for a pickled checkpoint.
    """
    refuse_pickles(path)
    if path.suffix not in READERS:
        raise ReadError(f"{path}: not a kind of file that archlab reads ({', '.join(READERS)})")
    try:
        return READERS[path.suffix](path, asked, mode)
    except (ReadError, GraphError) as error:
        if not asked:
            raise
        given = ", ".join(f"{each.option}{each.text}" for each in asked)
        raise type(error)(f"{error} (for {given}; what the file fixes may hold for its own input alone)") from None


def refuse_pickles(path: Path) -> None:
    """Raise `ReadError` for a pickle: by its first byte, by what is in the zip file, or by its suffix."""
    try:
        with path.open("rb") as file:
            start = file.read(4)
        names = zipfile.ZipFile(path).namelist() if start == b"PK\x03\x04" else []
    except OSError as error:
        raise ReadError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError):
        names = []  # broken: its reader says so
    inside = any(name.rpartition("/")[2] == "data.pkl" for name in names)
    if path.suffix in PICKLES or inside or (start[:1] == b"\x80" and start[1:2] in b"\x01\x02\x03\x04\x05"):
        raise ReadError(
            f"{path}: a pickled checkpoint runs code when it is opened, so archlab does not; write the model with "
            f"torch.export.save(torch.export.export(model, inputs), 'model.pt2'), or name what makes it: "
            f"file.py:callable"
        )


def _json(path: Path, asked: Sequence[Asked], mode: str | None) -> tuple[Graph, Sequence[Asked]]:
    from archlab.sources.json import read_file

    return read_file(path), asked


def _prototxt(path: Path, asked: Sequence[Asked], mode: str | None) -> tuple[Graph, Sequence[Asked]]:
    from archlab.sources.prototxt import read_file

    return read_file(path, asked, mode), ()


def _onnx(path: Path, asked: Sequence[Asked], mode: str | None) -> tuple[Graph, Sequence[Asked]]:
    from archlab.sources.onnx import read_file

    return read_file(path, asked), ()


def _exported(path: Path, asked: Sequence[Asked], mode: str | None) -> tuple[Graph, Sequence[Asked]]:
    from archlab.sources.archive import open_archive
    from archlab.sources.open_shapes import settle

    archive = open_archive(path)
    from archlab.pytorch.exported import replayed
    from archlab.pytorch.program import program_of

    try:
        program = program_of(archive.program, archive.shared)
    except ReadError as error:
        raise ReadError(f"{path}: {error}") from None
    inputs = settle(str(path), program.inputs, asked)
    return replayed(program, inputs, str(path), bool(asked)), ()


READERS: Mapping[str, Callable[[Path, Sequence[Asked], str | None], tuple[Graph, Sequence[Asked]]]] = {
    ".json": _json,
    ".onnx": _onnx,
    ".pt2": _exported,
    ".prototxt": _prototxt,
}
"""What reads each kind of file. Those that can be read for other inputs are; a graph is resized afterwards."""
