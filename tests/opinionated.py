"""Small models that other processes build by name, and that do to counters what models do."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import torch
from torch import Tensor, nn


class Small(nn.Module):
    """Two linear layers and a ReLU: 3·(4·6 + 6·2) MACs for three samples, (4 + 1)·6 + (6 + 1)·2 parameters."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.first = nn.Linear(4, width)
        self.act = nn.ReLU()
        self.second = nn.Linear(width, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.act(self.first(x)))


class Untraceable(Small):
    """Raises where fvcore and torchprofile look."""

    def forward(self, x: Tensor) -> Tensor:
        if torch.jit.is_tracing():
            raise ValueError("no tracing here")
        return super().forward(x)


class Dies(Small):
    def forward(self, x: Tensor) -> Tensor:
        if type(x) is Tensor:  # not while it is traced
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(x)


class Hangs(Small):
    """Says in which process it hangs: in the file that an environment variable names."""

    def forward(self, x: Tensor) -> Tensor:
        if type(x) is Tensor:
            Path(os.environ["OPINIONATED_PID"]).write_text(str(os.getpid()), encoding="utf-8")
            time.sleep(600)
        return super().forward(x)


class Remembers(Small):
    """Changes by itself when it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))
        self.calls: Tensor

    def forward(self, x: Tensor) -> Tensor:
        self.last = x
        self.calls.add_(1)
        return super().forward(x)


class Named(Small):
    def forward(self, *, x: Tensor) -> Tensor:
        return super().forward(x)


class Normed(Small):
    """A batch norm of 6 channels between the two, whose statistics a forward in training moves."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(6)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.act(self.norm(self.first(x))))


class Elsewhere(nn.Module):
    """One linear layer under two names, called by its parent, and by itself from the root."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
        self.again = self.inner[0]

    def forward(self, x: Tensor) -> Tensor:
        return self.inner[1](self.again(self.inner(x)) @ self.again.weight.T)


class TwoInputs(Small):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return super().forward(x + y)


def twice(x: Tensor) -> Tensor:
    """A callable that is no module."""
    return x @ x.T
