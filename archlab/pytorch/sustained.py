"""What a device sustains: rates of matrix products and of passes over memory, each measured several times."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import torch

from archlab.analyses.calibration import Calibration, Sustained

Tell = Callable[[str], None]
_EACH = 1.2
"""Seconds that each figure may take, warm-up apart."""
_LEAST = 3
"""Runs of each figure at least, however long they take."""
_SMALLEST, _LARGEST = 512, 16384
"""Sides of the square matrices that are multiplied."""
_PASSED = 2**28
"""Bytes of each tensor that is passed over, of which no cache holds three."""
_DTYPES: dict[str, torch.dtype] = {
    "float64": torch.float64,
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "int8": torch.int8,
}


def calibrate(device: torch.device, told: Tell | None = None, each: float = _EACH) -> Calibration:
    """Return what a device sustains, `each` figure measured for about so many seconds; `told` hears which."""
    tell, start = told or (lambda _: None), time.perf_counter()
    products = {}
    with torch.inference_mode():
        for name, multiply in _products(device):
            tell(f"calibrating {device}: products of {name}")
            rates = _product_rates(device, multiply, each)
            if rates:
                products[name] = Sustained.of(rates)
        bandwidth = {}
        for pattern, passes, moved in _passes(device):
            tell(f"calibrating {device}: memory, {pattern}")
            bandwidth[pattern] = Sustained.of([moved / spent for spent in _times(device, passes, each)])
        tell(f"calibrating {device}: starting operations")
        launch = Sustained.of(_launches(device, each / 2))
    return Calibration(
        device=device_name(device),
        kind="CPU" if device.type == "cpu" else "GPU",
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        when=date.today().isoformat(),
        memory=_memory(device),
        load=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        cpus=os.cpu_count() or 1,
        products=products,
        bandwidth=bandwidth,
        launch=launch,
        seconds=round(time.perf_counter() - start, 1),
    )


def device_name(device: torch.device) -> str:
    """Return what a device is called by its maker, as far as the system says."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    if device.type == "cpu":
        return _processor()
    return f"{platform.machine()} {device.type}"


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    named = (line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine() or "CPU"


def _memory(device: torch.device) -> int | None:
    """Return the bytes of the memory that tensors of a device lie in, None where the system does not say."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")) if hasattr(os, "sysconf") else None


def _products(device: torch.device) -> Iterator[tuple[str, Callable[[int], Callable[[], Any]]]]:
    """Give each type with a function that makes a product of two square matrices of some side."""
    for name, dtype in _DTYPES.items():
        yield name, _multiplier(device, dtype)
    if device.type == "cuda":
        yield "tfloat32", _multiplier(device, torch.float32, tf32=True)
        if hasattr(torch, "float8_e4m3fn"):
            yield "float8", _multiplier(device, torch.float8_e4m3fn)


def _multiplier(device: torch.device, dtype: torch.dtype, tf32: bool = False) -> Callable[[int], Callable[[], Any]]:
    def make(side: int) -> Callable[[], Any]:
        if dtype is torch.int8:
            a, b = (torch.randint(-8, 8, (side, side), dtype=dtype, device=device) for _ in range(2))
            return lambda: torch._int_mm(a, b.t())
        a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
        if dtype is torch.float8_e4m3fn:
            one = torch.ones((), device=device)
            return lambda: torch._scaled_mm(a, b.t(), scale_a=one, scale_b=one, out_dtype=torch.bfloat16)
        out = torch.empty_like(a)
        return lambda: _matmul(a, b, out, tf32)

    return make


def _matmul(a: torch.Tensor, b: torch.Tensor, out: torch.Tensor, tf32: bool) -> None:
    if a.device.type != "cuda":
        torch.mm(a, b, out=out)
        return
    before = torch.backends.cuda.matmul.fp32_precision
    torch.backends.cuda.matmul.fp32_precision = "tf32" if tf32 else "ieee"
    try:
        torch.mm(a, b, out=out)
    finally:
        torch.backends.cuda.matmul.fp32_precision = before


def _product_rates(device: torch.device, multiply: Callable[[int], Callable[[], Any]], each: float) -> list[float]:
    """Return the FLOP/s of several products, none where the device does not multiply this type.

    Sides double as long as that is faster and leaves time for some runs: small products wait for threads,
    larger ones than the caches can hold parts of for memory.
    """
    best: tuple[float, int, Callable[[], Any]] | None = None
    end = time.perf_counter() + each
    side = _SMALLEST
    while side <= _LARGEST:
        try:
            run = multiply(side)
            spent = min(_times(device, run, 0.0))
        except (RuntimeError, TypeError, ValueError):  # no kernel of this type, or no memory for more
            break
        rate = 2 * side**3 / spent
        if best is not None and rate < best[0]:
            break
        best = (rate, side, run)
        if time.perf_counter() + 8 * spent * (_LEAST + 1) > end:
            break
        side *= 2
    if best is None:
        return []
    _, side, run = best
    left = max(end - time.perf_counter(), each / 2)
    return [2 * side**3 / seconds for seconds in _times(device, run, left)]


def _passes(device: torch.device) -> Iterator[tuple[str, Callable[[], Any], int]]:
    """Give patterns of passes over memory that no cache holds, each with the bytes that it moves."""
    size = min(_PASSED, (_memory(device) or 2**32) // 16)
    count = size // 4
    a, b, c = (torch.ones(count, device=device) for _ in range(3))
    yield "copy", lambda: a.copy_(b), 2 * 4 * count
    yield "triad", lambda: torch.add(b, c, alpha=3.0, out=a), 3 * 4 * count
    yield "read", lambda: (torch.sum(a), torch.sum(b), torch.sum(c)), 3 * 4 * count


def _launches(device: torch.device, each: float) -> list[float]:
    """Return how many operations on one element start a second, in batches of many."""
    one = torch.ones(1, device=device)
    batch = 500

    def many() -> None:
        for _ in range(batch):
            one.add_(1)

    return [batch / seconds for seconds in _times(device, many, each)]


def _times(device: torch.device, run: Callable[[], Any], each: float) -> list[float]:
    """Return the seconds of several runs, of as many as fit into `each` seconds; one before them is not counted."""
    run()
    _wait(device)
    found: list[float] = []
    end = time.perf_counter() + each
    while len(found) < _LEAST or time.perf_counter() < end:
        start = time.perf_counter()
        run()
        _wait(device)
        found.append(time.perf_counter() - start)
    return found


def _wait(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
