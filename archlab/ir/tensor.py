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


def is_floating(dtype: str) -> bool:
    """Return whether a type name is a real or complex floating type."""
    return "float" in dtype or dtype.startswith("complex")


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A tensor's shape and dtype name, such as ``TensorSpec((1, 3, 224, 224), "float32")``."""

    shape: Shape
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if type(self.shape) is not tuple or not all(type(d) is int for d in self.shape):
            object.__setattr__(self, "shape", tuple(_dimension(d) for d in self.shape))
        for d in self.shape:
            dims.require(d >= 0, "a dimension cannot be negative: {}", self.shape)
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


def _dimension(value: Any) -> Any:
    """Return a plain int for anything integral; arrays and symbols pass as they are."""
    if isinstance(value, bool):
        raise GraphError(f"a dimension must be an integer, not {value!r}")
    if isinstance(value, int):
        return int(value)
    if getattr(value, "ndim", 0) or hasattr(value, "free_symbols"):
        return value
    try:
        return operator.index(value)
    except TypeError:
        raise GraphError(f"a dimension must be an integer, not {value!r}") from None
