"""Errors of a model that is measured: which layer raised them, and of memory that has run out what to try."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from archlab.errors import TraceError
from archlab.pytorch.measure.listening import Listening
from archlab.pytorch.measure.room import now, then
from archlab.pytorch.measure.subject import Running


@contextmanager
def explained(running: Running, listening: Listening | None) -> Iterator[None]:
    """Raise an error of a model as a `TraceError` that names its layer, and what to try where memory ran out."""
    try:
        yield
    except TraceError:
        raise
    except Exception as error:
        where = listening.failed() if listening is not None else "the whole model"
        if is_out_of_memory(error):
            raise TraceError(_too_large(running, where)) from error
        what = " ".join(str(error).split()) or type(error).__name__
        raise TraceError(f"{running.name}: the forward failed in {where} on {running.device}: {what}") from error


def _too_large(running: Running, where: str) -> str:
    batch = running.batch
    return f"{running.name}: out of memory on {running.device} in {where} {now(batch)}; {then(batch)}"


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory has run out, on whichever device."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _OUT_OF_MEMORY)


_OUT_OF_MEMORY = ("can't allocate memory", "out of memory", "Storage size calculation overflowed")
