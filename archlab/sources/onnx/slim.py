"""A model without its weights' elements: what is left of an ONNX file is small, however large the file is.

Only the file's wire format is looked at, in place: nothing but what is kept is read into memory.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from pathlib import Path

from archlab.errors import ReadError

KEPT_BYTES = 2**16
"""Elements of tensors up to this size are kept: they can steer shapes."""
MAX_BYTES = 256 * 2**20
"""More beside the elements of weights is no network."""
MAX_DEPTH = 64
LEFT_OUT = "archlab left out"
"""What the note of a tensor begins with, followed by the number of bytes that its elements take, 0 if unknown."""

Buffer = bytes | mmap.mmap
_INSIDE: Mapping[str, Mapping[int, str]] = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
"""The messages in a message, by their field numbers in onnx.proto."""
_ELEMENTS = {4: True, 5: False, 6: False, 7: False, 9: True, 10: True, 11: False}
"""The fields of a tensor that hold elements, and whether they take as many bytes there as in memory."""
_NOTE = 12
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def slim_file(path: Path) -> bytes:
    """Return a model file's bytes without large elements; raise `ReadError` if it is no message at all."""
    try:
        with path.open("rb") as file:
            if not file.seek(0, 2):
                raise ReadError(f"{path}: is empty")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return slim(data, str(path))
    except OSError as error:
        raise ReadError(f"{path}: cannot be read: {error.strerror or error}") from None


def slim(data: Buffer, where: str) -> bytes:
    """Return a serialised model without large elements."""
    made = bytearray()
    for chunk in _message(data, 0, len(data), "model", where, 0):
        made += chunk
        if len(made) > MAX_BYTES:
            raise ReadError(f"{where}: has more than {MAX_BYTES:,} bytes beside its weights")
    return bytes(made)


def _message(data: Buffer, start: int, end: int, kind: str, where: str, depth: int) -> Iterator[bytes]:
    """Yield the fields of a message that are kept."""
    if depth > MAX_DEPTH:
        raise ReadError(f"{where}: graphs are nested more than {MAX_DEPTH} deep")
    left_out, plain, at = False, 0, start
    inside = _INSIDE.get(kind, {})
    while at < end:
        tag, body = _varint(data, at, end, where)
        number, wire = tag >> 3, tag & 7
        if wire == _BYTES:
            size, body = _varint(data, body, end, where)
            after = body + size
        elif wire == _VARINT:
            _, after = _varint(data, body, end, where)
        elif wire in (_FIXED64, _FIXED32):
            after = body + (8 if wire == _FIXED64 else 4)
        else:
            raise ReadError(f"{where}: is no ONNX model (byte {at})")
        if after > end:
            raise ReadError(f"{where}: ends inside of a field (byte {at}); the file is truncated or no ONNX model")
        if wire != _BYTES or after - body <= KEPT_BYTES:
            yield data[at:after]
        elif kind == "tensor" and number in _ELEMENTS:
            left_out = True
            plain += (after - body) * _ELEMENTS[number]
        elif number in inside:
            part = b"".join(_message(data, body, after, inside[number], where, depth + 1))
            yield _field(number, part)
        else:
            yield data[at:after]
        at = after
    if left_out:
        yield _field(_NOTE, f"{LEFT_OUT} {plain}".encode())


def _field(number: int, part: bytes) -> bytes:
    return bytes((*_as_varint(number << 3 | _BYTES), *_as_varint(len(part)))) + part


def _varint(data: Buffer, at: int, end: int, where: str) -> tuple[int, int]:
    value = shift = 0
    while at < end and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise ReadError(f"{where}: ends inside of a number (byte {at}); the file is truncated or no ONNX model")


def _as_varint(value: int) -> list[int]:
    made = []
    while value >= 0x80:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    return [*made, value]
