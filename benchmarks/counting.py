"""Speed of counting declared architectures, against fvcore, in one run: `python benchmarks/counting.py`.

Prints, as medians with their ranges:
- a cold `archlab compare naive reduced` against a fresh process that counts the same two networks
  with fvcore (both start an interpreter, import what they need, count, and print);
- building and profiling `googlenet` in a warm process.
The two commands take turns, so that a machine that slows down slows both.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

FVCORE = """
import torch
from fvcore.nn import FlopCountAnalysis, parameter_count
naive = torch.nn.Conv2d(480, 48, 5, padding=2)
reduced = torch.nn.Sequential(torch.nn.Conv2d(480, 16, 1), torch.nn.Conv2d(16, 48, 5, padding=2))
x = torch.zeros(1, 480, 14, 14)
for model in (naive, reduced):
    print(FlopCountAnalysis(model.eval(), x).total(), parameter_count(model)[""])
"""


def seconds(action: Callable[[], object]) -> float:
    """Return how long one call takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def command(*words: str) -> Callable[[], object]:
    """Return a call that runs a fresh interpreter."""
    return lambda: subprocess.run([sys.executable, *words], check=True, capture_output=True)


def summary(times: list[float]) -> str:
    """Return the median and the range in milliseconds."""
    low, middle, high = (1000 * t for t in (min(times), statistics.median(times), max(times)))
    return f"{middle:8.1f} ms  ({low:.1f} to {high:.1f}, {len(times)} runs)"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=7, help="counted runs of each command (default 7)")
    runs = parser.parse_args().runs
    print(f"Python {platform.python_version()}, {platform.machine()}, {runs} runs after one that is not counted")

    ours, theirs = command("-m", "archlab", "compare", "naive", "reduced"), command("-W", "ignore", "-c", FVCORE)
    ours(), theirs()
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(runs)]
    print(f"cold archlab compare naive reduced  {summary([a for a, _ in pairs])}")
    print(f"fresh process with fvcore           {summary([b for _, b in pairs])}")
    ratio = statistics.median(b / a for a, b in pairs)
    print(f"fvcore ÷ archlab                    {ratio:8.1f}×   (bar: at least 10×)")

    import archlab

    def build_and_profile() -> None:
        archlab.profile("googlenet")

    build_and_profile()
    warm = [seconds(build_and_profile) for _ in range(20 * runs)]
    print(f"warm archlab.profile('googlenet')   {summary(warm)}   (bar: under 5 ms)")


if __name__ == "__main__":
    main()
