"""Speed of tracing torchvision models against torch's and fvcore's counters: `python benchmarks/tracing.py`.

For each model, warm and in one process: our trace to a graph with its data flow, and its profile;
`FlopCounterMode` over a forward on the meta device; with --fvcore also `FlopCountAnalysis` over a
forward on the CPU (slow: measured once, after a run that is not counted). Prints the ratio of each
model and the geometric mean, and checks that all count the same MACs as `FlopCounterMode`.
"""

from __future__ import annotations

import argparse
import logging
import os
import platform
import statistics
import time
import warnings
from collections.abc import Callable

import torch
import torchvision
from torch.utils.flop_counter import FlopCounterMode

import archlab
from archlab.pytorch.models import torchvision_model

MODELS = (
    "alexnet",
    "vgg16",
    "googlenet",
    "inception_v3",
    "resnet18",
    "resnet50",
    "resnext50_32x4d",
    "wide_resnet50_2",
    "densenet121",
    "squeezenet1_0",
    "mobilenet_v2",
    "mobilenet_v3_large",
    "shufflenet_v2_x1_0",
    "mnasnet1_0",
    "efficientnet_b0",
    "regnet_y_400mf",
    "convnext_tiny",
    "swin_t",
    "vit_b_16",
    "maxvit_t",
)


def seconds(action: Callable[[], object]) -> float:
    """Return the seconds that one call takes of the processor, which others at work do not lengthen by much."""
    start = time.process_time()
    action()
    return time.process_time() - start


def medians(runs: int, in_turn: bool, *actions: Callable[[], object]) -> list[float]:
    """Return the median seconds of each of several actions, warm: one after the other, or in turn."""
    for action in actions:
        action()
    if not in_turn:
        return [statistics.median([seconds(action) for _ in range(runs)]) for action in actions]
    times = [[seconds(action) for action in actions] for _ in range(runs)]
    return [statistics.median(column) for column in zip(*times, strict=True)]


def real(name: str) -> torch.nn.Module:
    """Return a model of zeros on the CPU, with which the work of fvcore does not depend on an initialisation."""
    model, _ = torchvision_model(name, {})
    model = model.eval().to_empty(device="cpu")
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.detach().zero_()
    return model


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=9, help="counted runs of each (default 9)")
    parser.add_argument("--fvcore", action="store_true", help="measure fvcore on the CPU, too")
    parser.add_argument("--in-turn", action="store_true", help="let them take turns, so that each finds cold caches")
    parser.add_argument("--no-grad", action="store_true", help="run FlopCounterMode without gradients")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    print(
        f"torch {torch.__version__}, torchvision {torchvision.__version__}, Python {platform.python_version()},",
        end=" ",
    )
    print(
        f"{platform.machine()}, {os.cpu_count()} cores; medians of {options.runs} runs{', in turn' * options.in_turn}"
    )
    against_torch, against_fvcore = [], []
    for name in MODELS:
        model, ((spec,), _) = torchvision_model(name, {})
        model.eval()
        x = torch.empty(spec.shape, device="meta")

        def ours(model: torch.nn.Module = model, x: torch.Tensor = x) -> archlab.Graph:
            return archlab.trace(model, x)

        def priced(model: torch.nn.Module = model, x: torch.Tensor = x) -> archlab.Profile:
            return archlab.profile(model, x)

        def theirs(model: torch.nn.Module = model, x: torch.Tensor = x) -> int:
            with FlopCounterMode(display=False) as counter, torch.set_grad_enabled(not options.no_grad):
                model(x)
            return counter.get_total_flops()

        agree = 2 * priced().total.macs == theirs()
        trace, profile, torchs = medians(options.runs, options.in_turn, ours, priced, theirs)
        against_torch.append(torchs / trace)
        line = f"{name:20} trace {1000 * trace:6.1f} ms, with profile {1000 * profile:6.1f} ms"
        line += f"   FlopCounterMode ÷ trace {torchs / trace:5.1f}×   {'equal' if agree else 'COUNTS DIFFER'}"
        if options.fvcore:
            from fvcore.nn import FlopCountAnalysis

            whole, image = real(name), torch.zeros(spec.shape)
            logging.disable(logging.WARNING)
            fvcore = medians(1, False, lambda m=whole, t=image: FlopCountAnalysis(m, t).total())[0]
            against_fvcore.append(fvcore / trace)
            line += f"   fvcore ÷ trace {fvcore / trace:6.1f}×"
        print(line, flush=True)
    print(f"geometric mean: {statistics.geometric_mean(against_torch):.1f}× FlopCounterMode (bar 15×),", end=" ")
    print(f"slowest {min(against_torch):.1f}× (bar 7×)")
    if against_fvcore:
        print(
            f"geometric mean: {statistics.geometric_mean(against_fvcore):.1f}× fvcore on the CPU (bar 40×),", end=" "
        )
        print(f"slowest {min(against_fvcore):.1f}×")


if __name__ == "__main__":
    main()
