"""The worked example of the 1×1 convolution: one 5×5 branch, directly and through a reduction."""

from __future__ import annotations

from archlab.ir import Builder, Graph
from archlab.ops import Conv2d, Input


def naive() -> Graph:
    """48 5×5 filters over 14×14×480."""
    b = Builder("naive")
    x = b.add("input", Input((1, 480, 14, 14)))
    return b.build(b.add("5x5", Conv2d(48, 5, padding=2), x))


def reduced() -> Graph:
    """The same through 16 1×1 filters: the 5×5 branch of inception (4a)."""
    b = Builder("reduced")
    x = b.add("input", Input((1, 480, 14, 14)))
    x = b.add("5x5_reduce", Conv2d(16, 1), x)
    return b.build(b.add("5x5", Conv2d(48, 5, padding=2), x))
