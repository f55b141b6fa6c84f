"""Torch's meta kernels, loaded where no frame of a traced forward is on the stack."""

from __future__ import annotations

from functools import cache
from threading import Thread

import torch


@cache
def load_kernels() -> None:
    """Let torch load the Python part of its meta kernels, which it does at the first call of one.

    Whoever looks at the stack while modules load keeps its frames, and what a forward in them holds: in the
    first trace of a process tensors would outlive their last reader. So it is done once, on a stack of its
    own, and only where a trace asks a kernel: some 900 modules take a second.
    """
    thread = Thread(target=lambda: torch.empty(1, device="meta").relu())
    thread.start()
    thread.join()
