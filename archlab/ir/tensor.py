"""`TensorSpec`: the shape and element type of a tensor, without its values."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any

from archlab import dims
from archlab.errors import GraphError, nearest

Shape = tuple[int, ...]

ITEM_BYTES = {
    "float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "float8_e4m3fn": 1, "float8_e5m2": 1,
    "complex64": 8, "complex128": 16, "complex32": 4,
    "int64": 8, "int32": 4, "int16": 2, "int8": 1,
    "uint64": 8, "uint32": 4, "uint16": 2, "uint8": 1, "bool": 1,
    "qint8": 1, "quint8": 1, "qint32": 4,
}  # fmt: skip

LARGEST = 2**63 - 1
"""The largest dimension that any framework can hold; a larger one is a mistake or an attack."""


def is_floating(dtype: str) -> bool:
    """Return whether a type name is a real or complex floating type."""
    return "float" in dtype or is_complex(dtype)


def is_complex(dtype: str) -> bool:
    """Return whether a type name is a complex one."""
    return dtype.startswith("complex")


_SIGNED = ("int8", "int16", "int32", "int64")
_FLOATS = ("float16", "float32", "float64")


def promoted(a: str, b: str) -> str:
    """Return the dtype that tensors of two dtypes combine to, as `torch.promote_types` gives it.

    Raises `GraphError` for pairs that torch does not combine either.
    """
    if a == b:
        return a
    kinds = sorted((a, b), key=lambda dtype: (is_complex(dtype), "float" in dtype, dtype != "bool"))
    low, high = kinds
    wide_unsigned = any(dtype in ("uint16", "uint32", "uint64") for dtype in kinds) and "float" not in high
    if wide_unsigned or any("8_e" in dtype or dtype.startswith("q") for dtype in kinds):
        raise GraphError(f"{a} and {b} do not combine; cast one of them")
    if is_complex(high):
        part = {"complex32": "float16", "complex64": "float32", "complex128": "float64"}
        low = part.get(low, low)
        wide = promoted(part[high], low) if is_floating(low) else part[high]
        return {real: whole for whole, real in part.items()}[wide]
    if "float" in high:
        if "float" not in low:
            return high
        return "float32" if "bfloat16" in kinds and "float16" in kinds else max(kinds, key=_float_rank)
    if low == "bool":
        return high
    if "uint8" in kinds and (other := low if high == "uint8" else high) in _SIGNED:
        return "int16" if other == "int8" else other
    if all(dtype in _SIGNED for dtype in kinds):
        return max(kinds, key=_SIGNED.index)
    raise GraphError(f"{a} and {b} do not combine; cast one of them")


def _float_rank(dtype: str) -> int:
    return _FLOATS.index(dtype) if dtype in _FLOATS else 0


def weight_dtype(inputs: tuple[TensorSpec, ...]) -> str:
    """Return the dtype of the parameters of a layer with those inputs, where nothing else says it."""
    return inputs[0].dtype if inputs and is_floating(inputs[0].dtype) else "float32"


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A tensor's shape and dtype name, such as ``TensorSpec((1, 3, 224, 224), "float32")``."""

    shape: Shape
    dtype: str = "float32"

    def __post_init__(self) -> None:
        shape: Any = self.shape if type(self.shape) is tuple else _sequence(self.shape)
        for d in shape:
            if type(d) is not int or not 0 <= d <= LARGEST:
                shape = tuple(_dimension(d, shape) for d in shape)
                break
        if shape is not self.shape:
            object.__setattr__(self, "shape", shape)
        if self.dtype not in ITEM_BYTES:
            raise GraphError(f"unknown dtype {self.dtype!r}{nearest(self.dtype, ITEM_BYTES)}")

    @property
    def numel(self) -> int:
        """The number of elements."""
        count: int = dims.product(self.shape)
        return count

    @property
    def bytes(self) -> int:
        """The size in bytes."""
        return self.numel * ITEM_BYTES[self.dtype]

    def reshaped(self, shape: Shape) -> TensorSpec:
        """Return a spec of the same dtype with another shape."""
        return TensorSpec(shape, self.dtype)

    def __str__(self) -> str:
        shape = "x".join(map(str, self.shape)) or "scalar"
        return shape if self.dtype == "float32" else f"{shape}:{self.dtype}"


def _sequence(shape: Any) -> tuple[Any, ...]:
    try:
        return tuple(shape)
    except TypeError:
        raise GraphError(f"a shape must be a sequence of integers, not {shape!r}") from None


def _dimension(value: Any, shape: Any) -> Any:
    """Return a plain int for anything integral in range; arrays and symbols pass as they are."""
    if getattr(value, "ndim", 0) or hasattr(value, "free_symbols"):
        dims.require(value >= 0, "a dimension cannot be negative: {}", shape)
        return value
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        raise GraphError(f"a dimension must be an integer, not {value!r}")
    dims.require(number >= 0, "a dimension cannot be negative: {}", shape)
    dims.require(number <= LARGEST, "a dimension cannot exceed {}: {}", LARGEST, shape)
    return number
