"""Graphs that are one op after another."""

from __future__ import annotations

from archlab.ir import Builder, Graph, Op, Shape
from archlab.ops import Input


def chain(*ops: Op, shape: Shape = (1, 2, 32, 32)) -> Graph:
    """Return the graph of an input and these ops, named by their index."""
    b = Builder("chain")
    x = b.add("input", Input(shape))
    for i, op in enumerate(ops):
        x = b.add(str(i), op, x)
    return b.build(x)
