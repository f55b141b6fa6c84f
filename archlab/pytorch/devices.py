"""The device that something is measured on: that it is there, and what it is."""

from __future__ import annotations

import platform
from pathlib import Path

import torch

from archlab.errors import UsageError


def chosen_device(text: str) -> torch.device:
    """Return a device by name; raise `UsageError`, which says what there is, for one that is not there."""
    try:
        device = torch.device(text)
    except RuntimeError:
        raise UsageError(f"{text!r} is no device; this machine has {_available()}") from None
    found = torch.accelerator.current_accelerator(check_available=True)
    there = device.type == "cpu" or (
        found is not None and device.type == found.type and (device.index or 0) < torch.accelerator.device_count()
    )
    if not there:
        raise UsageError(f"there is no device {text!r}; this machine has {_available()}")
    return device


def _available() -> str:
    found = torch.accelerator.current_accelerator(check_available=True)
    if found is None:
        return "cpu alone"
    count = torch.accelerator.device_count()
    return f"cpu and {found.type}" + (f" (0 to {count - 1})" if count > 1 else "")


def described(device: torch.device) -> dict[str, str]:
    """Return what a device is, how many threads torch uses on the CPU, and the versions of torch and Python."""
    return {
        "device": _name(device),
        "threads": str(torch.get_num_threads()),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def _name(device: torch.device) -> str:
    if device.type == "cpu":
        return _processor()
    backend = getattr(torch, device.type, None)
    name = getattr(backend, "get_device_name", None)
    return str(name(device)) if name else device.type


def _processor() -> str:
    """Return the processor's name, as Linux tells it or as Python does."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()
