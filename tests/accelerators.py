"""The devices that a test of what is measured runs on: the CPU, and an accelerator where there is one."""

from __future__ import annotations

import pytest
import torch


def accelerator() -> str:
    """Return the kind of the machine's accelerator, or skip the test with the reason."""
    found = torch.accelerator.current_accelerator(check_available=True)
    if found is None:
        pytest.skip(f"torch {torch.__version__} finds no accelerator on this machine")
    return found.type


DEVICES = ["cpu", pytest.param("accelerator", marks=pytest.mark.gpu)]


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> str:
    """The CPU, then the accelerator."""
    return accelerator() if request.param == "accelerator" else str(request.param)
