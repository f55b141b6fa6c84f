"""Predicted memory against what runs on the CPU take: `python benchmarks/memory.py`.

A row a network, the zoo at its own input and the models of `tracing.py` at 2 x 3 x 224 x 224 (or what they
need): the predicted peak of live storages, the measured one, what the allocator had given out at most, and the
difference of the latter two, the workspace; in inference, and for a step of training. Parameters and buffers are
zeros. `--markdown FILE` writes the table with date and versions.
"""

from __future__ import annotations

import argparse
import datetime
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import nn
from tracing import MODELS

import archlab
from archlab.analyses.memory import MeasuredMemory, peak_memory
from archlab.analyses.training_memory import training_memory
from archlab.ir import Graph
from archlab.pytorch.measure.memory import measured_memory
from archlab.pytorch.models import torchvision_model
from archlab.zoo.catalog import ARCHITECTURES

HEADS = ("network", "run", "predicted", "measured", "", "allocated", "workspace")


def zeros(model: nn.Module) -> nn.Module:
    """Return a model of zeros on the CPU."""
    model = model.to_empty(device="cpu")
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.detach().zero_()
    return model


def networks() -> Iterator[tuple[str, Any, nn.Module, torch.Tensor]]:
    """Each network by name: what is predicted (None: the trace), the module that runs, and its input."""
    for name in ARCHITECTURES:
        graph = archlab.load(name)
        ((shape,),) = [[spec.shape for spec in graph.inputs.values()]]
        yield name, graph, zeros(archlab.lower(graph, "meta")), torch.zeros(shape)
    for name in MODELS:
        model, ((image,), _) = torchvision_model(name, {})
        # Two images: batch norm in training refuses a single value a channel.
        yield f"torchvision:{name}", None, zeros(model), torch.zeros(2, *image.shape[1:])


def rows(name: str, graph: Graph | None, model: nn.Module, x: torch.Tensor) -> Iterator[tuple[str, ...]]:
    for mode in ("inference", "training"):
        of = archlab.trace(model, x, mode=mode) if graph is None else graph
        training = mode == "training"
        step = training_memory(of) if training else None
        predicted = step.bytes if step else peak_memory(of, mode).bytes
        run = measured_memory(model, x, training=training)
        yield name, mode, *cells(predicted, run, step.assumed if step else ())


def cells(predicted: int, run: MeasuredMemory, assumed: tuple[str, ...]) -> tuple[str, ...]:
    verdict = "equal" if predicted == run.live else f"{predicted - run.live:+,} ({predicted / run.live - 1:+.1%})"
    if predicted != run.live and assumed:
        verdict += f", assumed: {', '.join(assumed)}"
    return f"{predicted:,}", f"{run.live:,}", verdict, f"{run.allocated:,}", f"{run.workspace:,}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--markdown", metavar="FILE", help="write the table there, too")
    parser.add_argument("--only", metavar="TEXT", default="", help="only networks whose name holds it")
    options = parser.parse_args()
    found = []
    for name, *network in networks():
        if options.only in name:
            for row in rows(name, *network):
                found.append(row)
                print("  ".join(f"{cell:>20}" for cell in row), flush=True)
    counts = {
        mode: (sum(row[4] == "equal" for row in found if row[1] == mode), sum(row[1] == mode for row in found))
        for mode in ("inference", "training")
    }
    summary = "; ".join(f"{mode}: {equal} of {all} equal to the byte" for mode, (equal, all) in counts.items()) + "."
    print(summary)
    if options.markdown:
        versions = (
            f"Python {platform.python_version()}, torch {torch.__version__}, torchvision {torchvision.__version__}"
        )
        lines = [
            "# Predicted and measured memory",
            "",
            f"`python benchmarks/memory.py`, {datetime.date.today()}, {versions}, {platform.machine()}. Bytes on the",
            "CPU in eager mode: live storages (inputs, activations, and in training what autograd keeps and all",
            "gradients; without parameters and buffers), and what the allocator had given out at most. " + summary,
            "",
            f"| {' | '.join(HEADS)} |",
            "| --- | --- | ---: | ---: | --- | ---: | ---: |",
            *(f"| {' | '.join(row)} |" for row in found),
        ]
        Path(options.markdown).write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
