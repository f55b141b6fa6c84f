"""Conventions of publications: netscope's analyzer of Caffe networks, and the ops column of GoogLeNet's Table 1."""

from __future__ import annotations

from collections.abc import Iterator

from archlab import ops
from archlab.analyses.conventions.seen import Seen
from archlab.analyses.conventions.tally import Item


def netscope(seen: Seen) -> Iterator[Item]:
    """dgschwend/netscope's ``macc``: MACs for the whole batch, and 5 per element of a local response norm."""
    for use in seen.uses:
        if isinstance(use.op, ops.LocalResponseNorm):
            yield Item(use.layer.name, 5 * use.made.numel, "5 per element of a local response norm")


def paper(seen: Seen) -> Iterator[Item]:
    """Table 1 of arXiv 1409.4842: an op is a MAC, and the first convolution costs what a separable one would.

    Its 34 M are those of 8 filters of 7×7 for each of 3 channels and 64 of 1×1 for the 24 that they make
    (arXiv 1502.03167, appendix); the printed 7×7 takes 118 M.
    """
    if not any(use.layer.name.startswith("inception_3a") for use in seen.uses):
        return
    first = next((use for use in seen.uses if isinstance(use.op, ops.Conv2d)), None)
    if first is None or first.read.shape[1] != 3 or getattr(first.op, "kernel", None) != (7, 7):
        return
    n, c_out, h, w = first.made.shape
    separable = n * h * w * (7 * 7 * 3 * 8 + 3 * 8 * c_out)
    yield Item(
        first.layer.name, separable - first.macs, "the first convolution as a separable one of depth multiplier 8"
    )
