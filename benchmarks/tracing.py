"""Speed of tracing torchvision models against torch's and fvcore's counters: `python benchmarks/tracing.py`.

For each model, warm and in one process: our trace to a graph with its data flow, and its profile;
`FlopCounterMode` over a forward on the meta device; with --fvcore also `FlopCountAnalysis` over a
forward on the CPU (slow). Prints the median ratio of each model and the geometric mean, and checks
that all count the same MACs as `FlopCounterMode`.
"""

from __future__ import annotations

import argparse
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


def median(action: Callable[[], object], runs: int) -> float:
    """Return the median seconds of a call."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5, help="counted runs of each (default 5)")
    parser.add_argument("--fvcore", action="store_true", help="measure fvcore on the CPU, too")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    print(f"torch {torch.__version__}, torchvision {torchvision.__version__}, medians of {options.runs} runs")
    against_torch, against_fvcore = [], []
    for name in MODELS:
        model, inputs = torchvision_model(name, {})
        spec = inputs[""]
        model.eval()
        x = torch.empty(spec.shape, device="meta")

        def ours(model: torch.nn.Module = model, x: torch.Tensor = x) -> archlab.Profile:
            return archlab.profile(model, x)

        def theirs(model: torch.nn.Module = model, x: torch.Tensor = x) -> int:
            with FlopCounterMode(display=False) as counter:
                model(x)
            return counter.get_total_flops()

        agree = 2 * ours().total.macs == theirs()
        trace, torchs = median(lambda m=model, t=x: archlab.trace(m, t), options.runs), median(theirs, options.runs)
        against_torch.append(torchs / trace)
        line = f"{name:20} trace {1000 * trace:6.1f} ms, with profile {1000 * median(ours, options.runs):6.1f} ms"
        line += f"   FlopCounterMode ÷ trace {torchs / trace:5.1f}×   {'equal' if agree else 'COUNTS DIFFER'}"
        if options.fvcore:
            from fvcore.nn import FlopCountAnalysis

            real = getattr(torchvision.models, name)().eval()
            image = torch.zeros(spec.shape)
            fvcore = median(lambda m=real, t=image: FlopCountAnalysis(m, t).total(), 1)
            against_fvcore.append(fvcore / trace)
            line += f"   fvcore ÷ trace {fvcore / trace:6.1f}×"
        print(line, flush=True)
    print(f"geometric mean: {statistics.geometric_mean(against_torch):.1f}× FlopCounterMode (bar 15×),", end=" ")
    print(f"slowest {min(against_torch):.1f}× (bar 7×)")
    if against_fvcore:
        print(f"geometric mean: {statistics.geometric_mean(against_fvcore):.1f}× fvcore on the CPU (bar 40×)")


if __name__ == "__main__":
    main()
