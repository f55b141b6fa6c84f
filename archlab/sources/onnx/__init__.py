"""Networks in ONNX files: what each says is inferred by our own rules, and by onnx's where we have none.

A file is data that anyone may have written. Nothing in it is executed, no other file is opened, and
whatever it holds, reading ends in a valid graph or in one error that names the file and the place.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archlab.errors import ReadError, UsageError
from archlab.ir import Graph

if TYPE_CHECKING:
    from archlab.sources.target import Asked


def read_file(path: Path, asked: Sequence[Asked] = ()) -> Graph:
    """Return the network in an ONNX file, for the inputs asked for; raise as `read_model` does.

    Raises `UsageError` without the onnx package.
    """
    from archlab.sources.onnx.slim import slim_file

    return read_model(slim_file(path), str(path), asked)


def read_model(data: bytes, where: str, asked: Sequence[Asked] = ()) -> Graph:
    """Return the network of a serialised model without large elements; `where` names it in errors.

    Raises `ReadError` for what is no such model, `GraphError` or `ShapeError` where layers do not fit,
    `UsageError` where an input's shape must be given.
    """
    try:
        from google.protobuf.message import DecodeError
        from onnx import ModelProto
    except ModuleNotFoundError:
        raise UsageError(f"{where}: ONNX files need the onnx package; pip install 'archlab[onnx]'") from None
    from archlab.sources.onnx.model import read

    try:
        model = ModelProto.FromString(data)
    except DecodeError as error:
        raise ReadError(f"{where}: is no ONNX model: {str(error)[:200]}") from None
    _require_text(model, where)
    return read(model, where, asked)


def _require_text(model: Any, where: str) -> None:
    """Raise `ReadError` unless every text in the model is UTF-8: others are handed out as bytes."""
    left = [model]
    while left:
        for field, value in left.pop().ListFields():
            if field.type == field.TYPE_MESSAGE:
                left.extend(value if isinstance(value, Sequence) else [value])
            elif field.type == field.TYPE_STRING:
                texts = [value] if isinstance(value, (str, bytes)) else value
                if any(isinstance(text, bytes) for text in texts):
                    raise ReadError(f"{where}: a {field.name} is not UTF-8 text")
