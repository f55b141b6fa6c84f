"""`eagerly`: while a trace listens, what asks to be compiled runs as it was written."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch


def unwrapped(model: Any) -> Any:
    """Return the module that a compiled module was made from, anything else as it is."""
    return model._orig_mod if type(model).__name__ == "OptimizedModule" else model


@contextmanager
def eagerly(listening: Callable[[], bool]) -> Iterator[None]:
    """Keep `torch.compile` from compiling in the threads that listen, functions compiled before included."""

    def compile_nothing(model: Any = None, **options: Any) -> Any:
        if not listening():
            return before(model, **options)
        return (lambda function: function) if model is None else model

    before, torch.compile = torch.compile, compile_nothing
    try:
        dynamo = sys.modules.get("torch._dynamo")
        if dynamo is None:
            yield
        else:
            with torch.compiler.set_stance("force_eager"):
                yield
    finally:
        torch.compile = before
