"""Our backward passes against torch's count of real ones, on the meta device: `python benchmarks/backward.py`.

A row a model, in training: our MACs of both passes, half of what `FlopCounterMode` counts over a real
forward and backward pass (from the sum of all outputs), and whether they are equal. Where they are not,
the difference is what its known error predicts: it ignores groups in the gradient of a convolution's
weight. `--markdown FILE` writes the table with date and versions.
"""

from __future__ import annotations

import argparse
import datetime
import platform
from collections.abc import Iterator
from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn
from tracing import MODELS

import archlab
from archlab.ir import Graph
from archlab.pytorch.backward import counted, groups_ignored
from archlab.pytorch.models import torchvision_model
from archlab.zoo.catalog import ARCHITECTURES

HEADS = ("model", "archlab: MACs", "of them backward", "FlopCounterMode ÷ 2", "")


def networks() -> Iterator[tuple[str, Graph | nn.Module, nn.Module, list[Tensor]]]:
    """Each network by name: what we count, the module that torch runs, and its inputs."""
    for name in ARCHITECTURES:
        graph = archlab.load(name)
        images = [torch.empty(spec.shape, device="meta") for spec in graph.inputs.values()]
        yield name, graph, archlab.lower(graph, "meta"), images
    for name in MODELS:
        model, ((image,), _) = torchvision_model(name, {})
        # Two images: batch norm in training refuses a single value a channel.
        yield f"torchvision:{name}", model, model, [torch.empty((2, *image.shape[1:]), device="meta")]


def row(name: str, subject: Graph | nn.Module, module: nn.Module, inputs: list[Tensor]) -> tuple[str, ...]:
    given = () if isinstance(subject, Graph) else tuple(inputs)
    profile = archlab.profile(subject, *given, backward=True)
    theirs = sum(counted(module.train(), *inputs))
    ours, ignored = profile.total.macs, groups_ignored(profile)
    verdict = "DIFFERENT"
    if theirs == ours:
        verdict = "equal"
    elif theirs - ignored == ours:
        verdict = f"it ignores groups: {ignored:,} too many"
    return name, f"{ours:,}", f"{profile.total.backward_macs:,}", f"{theirs:,}", verdict


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--markdown", metavar="FILE", help="write the table there, too")
    options = parser.parse_args()
    rows = []
    for network in networks():
        rows.append(row(*network))
        print("  ".join(f"{cell:>24}" for cell in rows[-1]), flush=True)
    equal = sum(cells[-1] == "equal" for cells in rows)
    wrong = sum(cells[-1] == "DIFFERENT" for cells in rows)
    grouped = len(rows) - equal - wrong
    summary = f"{equal} of {len(rows)} equal, {grouped} differ by ignored groups alone, {wrong} otherwise."
    print(summary)
    if options.markdown:
        versions = (
            f"Python {platform.python_version()}, torch {torch.__version__}, torchvision {torchvision.__version__}"
        )
        lines = [
            "# Backward passes against torch's count",
            "",
            f"`python benchmarks/backward.py`, {datetime.date.today()}, {versions}. Both passes, in training;",
            "torchvision's models read two images. " + summary,
            "",
            f"| {' | '.join(HEADS)} |",
            "| --- | ---: | ---: | ---: | --- |",
            *(f"| {' | '.join(cells)} |" for cells in rows),
        ]
        Path(options.markdown).write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
