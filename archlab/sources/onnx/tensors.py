"""What a file says of tensors: types, shapes that may be open, and the elements of small ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from archlab.errors import ReadError
from archlab.ir import ITEM_BYTES, LARGEST, Ref, TensorSpec, is_complex
from archlab.sources.onnx.slim import LEFT_OUT
from archlab.sources.open_shapes import Open

DTYPES: Mapping[int, str] = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 9: "bool",
    10: "float16", 11: "float64", 12: "uint32", 13: "uint64", 14: "complex64", 15: "complex128",
    16: "bfloat16", 17: "float8_e4m3fn", 19: "float8_e5m2",
}  # fmt: skip
"""Our names of the types in TensorProto.DataType."""
NUMBERS = {name: number for number, name in DTYPES.items()}
KNOWN_ELEMENTS = 2**14
"""Tensors up to this size are computed where their elements are known: they can steer shapes."""


@dataclass(eq=False)
class Value:
    """A tensor of the file: computed (`ref`), kept under a `key`, or known by its elements (`data`), or several.

    `turned` is a kept matrix whose transpose it is, `uses` how often the file reads it.
    """

    spec: TensorSpec
    ref: Ref | None = None
    key: str = ""
    learned: bool = False
    data: Any = None
    turned: Value | None = None
    uses: int = 0


def dtype_of(number: int, what: str) -> str:
    """Return our name of an element type; raise `ReadError` for one that we have no size for."""
    if number not in DTYPES:
        raise ReadError(f"{what} has elements of type {number}, which archlab does not read")
    return DTYPES[number]


def shape_of(dims: Any, what: str) -> tuple[int, ...]:
    """Return a shape; raise `ReadError` for what is none."""
    shape = tuple(int(d) for d in dims)
    if len(shape) > 64 or any(not 0 <= d <= LARGEST for d in shape):
        raise ReadError(f"{what} has the shape {shape[:8]}, which no tensor has")
    return shape


def kept(tensor: Any, what: str) -> Value:
    """Return an initialiser or a constant with its elements, if it is small and holds them.

    Raises `ReadError` where it holds more or fewer bytes than its shape says.
    """
    from onnx import numpy_helper

    spec = TensorSpec(shape_of(tensor.dims, what), dtype_of(tensor.data_type, what))
    held = _held(tensor, spec)
    if held is not None and held != spec.bytes:
        raise ReadError(f"{what} is {spec} and takes {spec.bytes:,} bytes, the file holds {held:,}")
    value = Value(spec)
    if spec.numel <= KNOWN_ELEMENTS and held is not None and not tensor.doc_string.startswith(LEFT_OUT):
        try:
            value.data = numpy_helper.to_array(tensor)
        except (ValueError, TypeError, OverflowError) as error:
            raise ReadError(f"{what} holds no elements of type {spec.dtype}: {error}") from None
    return value


def _held(tensor: Any, spec: TensorSpec) -> int | None:
    """Return how many bytes of elements a tensor holds, None if it holds none or they are elsewhere."""
    if tensor.data_location == 1 or tensor.external_data:
        return None
    if tensor.doc_string.startswith(LEFT_OUT):
        count: str = tensor.doc_string.rpartition(" ")[2]
        return (int(count) or None) if count.isdecimal() and len(count) < 20 else None
    if tensor.HasField("raw_data"):
        held: int = len(tensor.raw_data)
        return held
    fields = (tensor.float_data, tensor.int32_data, tensor.int64_data, tensor.double_data, tensor.uint64_data)
    elements = sum(map(len, fields))
    if not elements and spec.numel:
        return None
    if is_complex(spec.dtype):
        elements //= 2
    return elements * ITEM_BYTES[spec.dtype]


def fixed_spec(found: tuple[Open | None, str]) -> TensorSpec | None:
    """Return a declared shape and type as a spec, None where dimensions are open."""
    shape, dtype = found
    if shape is None or not all(isinstance(d, int) for d in shape):
        return None
    return TensorSpec(shape, dtype)  # type: ignore[arg-type]


def declared(value_info: Any) -> tuple[Open | None, str] | None:
    """Return the shape and the type that a value is declared with, None if it is no tensor.

    Open dimensions stand there by name; a shape that is not there at all is None.
    """
    kind = value_info.type
    if kind.WhichOneof("value") != "tensor_type":
        return None
    tensor = kind.tensor_type
    what = f"the value {value_info.name[:60]!r}"
    dtype = dtype_of(tensor.elem_type, what)
    if not tensor.HasField("shape"):
        return None, dtype
    shape: list[int | str] = []
    for i, d in enumerate(tensor.shape.dim):
        fixed = d.WhichOneof("value") == "dim_value" and d.dim_value >= 0
        named = "".join(c for c in d.dim_param[:40] if c.isprintable() and c not in "x=:")
        shape.append(d.dim_value if fixed else named or f"dim{i}")
    if len(shape) > 64:
        raise ReadError(f"{what} has {len(shape)} dimensions")
    return tuple(shape), dtype
