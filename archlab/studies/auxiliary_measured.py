"""What was measured of GoogLeNet's auxiliary heads, kept beside the studies, and what the report asks of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from archlab.errors import ReadError
from archlab.gradients import GradientFlow, Spread

NETWORKS = ("googlenet", "googlenet-torchvision")
SETTING: dict[str, Any] = {"seeds": 10, "batch": 8}
HOME = Path(__file__).parent / "measured"
"""Where one file a network lies, which `benchmarks/gradients.py` writes."""

FIRST, LAST = "conv1", "linear"
TAPS = ("inception_4a", "inception_4d")
"""The blocks that the first and the second head read."""
TOP = "inception_5b"


def measured(network: str) -> GradientFlow:
    """Return what was measured of a network, with heads against without; raise `ReadError` for a missing file."""
    path = HOME / f"{network}.json"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ReadError(f"{path}: cannot be read ({error}); measure it: python benchmarks/gradients.py") from None
    return GradientFlow.of(data, path.name)


def shared(flow: GradientFlow) -> list[str]:
    """Return the blocks that the network has with heads and without, in order."""
    return [block for block in flow.blocks if len(flow.params(block)) == len(flow.subjects)]


def ratio(flow: GradientFlow, init: str, block: str) -> Spread:
    """Return the gradient norm of a block with heads ÷ without, over seeds."""
    found = flow.ratio(flow.subjects[1], init, block)
    assert found is not None
    assert found.spread is not None
    return found.spread


def fall(flow: GradientFlow, init: str) -> Spread:
    """Return what of the gradient that module 5b's output receives the first convolution's does, without heads."""
    ends = (flow.values(flow.subjects[0], init, block, "output_norm") for block in (FIRST, TOP))
    return Spread.of(first / top for first, top in zip(*ends, strict=True))


def not_larger(flow: GradientFlow) -> list[tuple[str, str]]:
    """Return the initialisations and blocks up to the second head where not every seed says larger."""
    blocks = shared(flow)
    reached = blocks[: blocks.index(TAPS[1]) + 1]
    found = []
    for init in flow.inits:
        for block in reached:
            judged = flow.ratio(flow.subjects[1], init, block)
            if judged is None or judged.larger < judged.seeds:
                found.append((init, block))
    return found
