"""How much listening layer by layer adds to what a model takes: the sum of its layers beside its plain runs.

    python benchmarks/measuring.py [--seconds 30] [--output FILE] [TARGET]...

The figures are of the machine that it runs on, which the result names; a busy one gives wide intervals.
"""

from __future__ import annotations

import argparse
import sys
from datetime import date
from pathlib import Path

import archlab
from archlab.report.numbers import in_seconds

TARGETS = (
    "torchvision:resnet50",
    "googlenet",
    "torchvision:mobilenet_v2",
    "torchvision:densenet121",
    "torchvision:vit_b_32",
    "torchvision:swin_t",
    "timm:convnext_atto",
    "hf:gpt2",
)


def row(target: str, seconds: float, device: str) -> tuple[str, archlab.Measurement]:
    found = archlab.measure(target, device=device, settings={"seconds": seconds})
    whole, listened = found.whole, found.layers_seconds
    assert found.counts is not None
    counted = "equal" if not found.counts.differing else f"{len(found.counts.differing)} calls differ, each explained"
    if any(not each.reason for each in found.counts.differing):
        counted = "UNEXPLAINED"
    share, reach = found.listened_share
    between = "" if reach is None else f"{100 * reach.low:.1f} to {100 * reach.high:.1f} %"
    running = [layer for layer in found.profile.layers if not (layer.node.op.is_input or layer.node.op.is_kept)]
    cells = (
        f"`{target}`",
        in_seconds(whole.median),
        in_seconds(listened.median),
        f"{100 * share:.1f} %",
        between,
        in_seconds(found.sum_of_medians),
        str(whole.runs),
        f"{len(found.layers)} of {len(running)}",
        counted,
    )
    return f"| {' | '.join(cells)} |", found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", default=list(TARGETS))
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output")
    asked = parser.parse_args()
    lines, first = [], None
    for target in asked.targets:
        print(target, file=sys.stderr)
        line, found = row(target, asked.seconds, asked.device)
        lines.append(line)
        first = first or found
    assert first is not None
    text = "\n".join(
        [
            "# Listening layer by layer",
            "",
            f"Rendered by `benchmarks/measuring.py` on {date.today()}, {first.machine.place}.",
            "Plain runs and runs that are listened to take turns. What interrupts a run now and then is in most of",
            "the runs and in few of a layer's: on a busy machine the medians of the layers sum to less.",
            "",
            "| target | plain run | listened to | of the plain run beside it | 95 % interval "
            "| sum of the layers' medians | rounds | layers with a time of their own | MACs on the device |",
            "|---|--:|--:|--:|--:|--:|--:|--:|---|",
            *lines,
            "",
        ]
    )
    if asked.output:
        Path(asked.output).write_text(text, encoding="utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
