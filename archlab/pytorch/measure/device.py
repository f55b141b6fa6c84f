"""The device that something is measured on: which there are, how time passes on it, and what it is called."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

import torch

from archlab.errors import UsageError
from archlab.machines import Machine

Mark = Any
"""A moment on a device: nanoseconds on the CPU, an event that it records on an accelerator."""


class Clock(NamedTuple):
    """How time passes on a device: `mark` a moment, wait until all is done, and read how long two were apart."""

    mark: Callable[[], Mark]
    wait: Callable[[], None]
    seconds: Callable[[Mark, Mark], float]


def chosen(text: str) -> torch.device:
    """Return the device of that name; raise `UsageError`, with what there is, for one that this machine lacks."""
    try:
        device = torch.device(text)
    except RuntimeError:
        raise UsageError(f"--device {text}: no such kind of device; there is {', '.join(available())}") from None
    if device.type == "cpu":
        return torch.device("cpu")
    found = torch.accelerator.current_accelerator(check_available=True)
    if found is None or device.type != found.type:
        raise UsageError(
            f"--device {text}: torch {torch.__version__} finds no {device.type} on this machine; "
            f"there is {', '.join(available())}"
        )
    count = torch.accelerator.device_count()
    if device.index is not None and device.index >= count:
        raise UsageError(f"--device {text}: there are {count} of them, numbered from 0")
    return torch.device(
        device.type, device.index if device.index is not None else torch.accelerator.current_device_index()
    )


def available() -> list[str]:
    """Return the names of the devices that this machine has, the CPU first."""
    found = torch.accelerator.current_accelerator(check_available=True)
    if found is None:
        return ["cpu"]
    count = torch.accelerator.device_count()
    return ["cpu", *([found.type] if count == 1 else [f"{found.type}:{i}" for i in range(count)])]


def clock(device: torch.device) -> Clock:
    """Return how time passes on a device: an accelerator works by itself, so it notes the moments itself."""
    if device.type == "cpu":
        return Clock(time.perf_counter_ns, lambda: None, lambda start, end: (end - start) / 1e9)
    stream = torch.accelerator.current_stream(device)

    def mark() -> Mark:
        event = torch.Event(device, enable_timing=True)
        event.record(stream)
        return event

    return Clock(
        mark,
        lambda: torch.accelerator.synchronize(device),
        lambda start, end: float(start.elapsed_time(end)) / 1e3,  # torch has milliseconds
    )


def machine(device: torch.device, dtype: str, batch: int | None, channels_last: bool, compiled: bool) -> Machine:
    """Return where something is measured, with the load of the last minute."""
    load = None
    with suppress(AttributeError, OSError):  # Windows has none
        load = os.getloadavg()[0]
    return Machine(
        device=device.type,
        kind=_name(device),
        threads=torch.get_num_threads(),
        dtype=dtype,
        batch=batch,
        channels_last=channels_last,
        compiled=compiled,
        torch=torch.__version__,
        python=platform.python_version(),
        system=f"{platform.system()} {platform.machine()}",
        load=load,
    )


def _name(device: torch.device) -> str:
    if device.type != "cpu":
        named = getattr(torch.get_device_module(device), "get_device_name", None)
        return str(named(device)) if named is not None else device.type
    name = ""
    with suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as file:
        name = next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), "")
    name = name or platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}"
