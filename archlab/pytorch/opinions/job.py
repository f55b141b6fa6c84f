"""`Job`: all that a process of its own needs to build a model once more and to run one counter on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from archlab.ir import Graph


@dataclass(frozen=True)
class Job:
    """A model by its source text or as a graph to be lowered, the inputs that it reads, and the mode.

    `source` is a target without ablations and input: ``torchvision:NAME[:WEIGHTS]``, ``timm:NAME``,
    ``hf:TYPE``, ``package.module:callable`` or ``file.py:callable``, with constructor `arguments`.
    Without inputs a model reads those of its own default, and a graph those that it names. `live` is a
    module that cannot be built anew, as `live.packed` writes it: what our own process has written.
    """

    source: str = ""
    graph: Graph | None = None
    live: bytes = b""
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    arguments: Mapping[str, Any] = field(default_factory=dict)
    mode: str = "inference"
