"""`Settings`: how something is measured, as it was asked for."""

from __future__ import annotations

from dataclasses import dataclass

from archlab.errors import UsageError
from archlab.pytorch.measure.device import chosen

DTYPES = {
    "fp32": "float32", "float32": "float32", "bf16": "bfloat16", "bfloat16": "bfloat16",
    "fp16": "float16", "float16": "float16", "half": "float16", "fp64": "float64", "float64": "float64",
}  # fmt: skip
"""The floating types that a model can be put into, by the names people give them."""
SECONDS = 10.0
"""How long each subject is repeated at most, by default."""


@dataclass(frozen=True)
class Settings:
    """How something is measured: on which device, in which type and layout, compiled or as written, for how long.

    `batch` replaces the first dimension of every input, `dtype` the floating type of parameters and inputs;
    None leaves them. `seconds` is how long each subject is repeated at most.
    """

    device: str = "cpu"
    batch: int | None = None
    dtype: str | None = None
    channels_last: bool = False
    compile: bool = False
    threads: int | None = None
    seconds: float = SECONDS

    def __post_init__(self) -> None:
        chosen(self.device)
        if self.dtype is not None and self.dtype not in DTYPES:
            raise UsageError(f"--dtype {self.dtype}: no floating type (known: {', '.join(DTYPES)})")
        for name, value in (("batch", self.batch), ("threads", self.threads)):
            if value is not None and value < 1:
                raise UsageError(f"--{name} must be at least 1, got {value}")
        if not self.seconds > 0:
            raise UsageError(f"--seconds must be above 0, got {self.seconds:g}")
