"""`Builder`: writes a graph down layer by layer, with scopes that become path prefixes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from archlab.ir.graph import Graph
from archlab.ir.node import Node, Ref
from archlab.ir.op import Op


class Builder:
    """Collects nodes for one graph.

    >>> b = Builder("tiny")
    >>> x = b.add("input", Input((1, 3, 8, 8)))
    >>> with b.scope("stem"):
    ...     x = b.add("conv", Conv2d(4, 3), x)      # the node stem/conv
    >>> graph = b.build(x)
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._nodes: list[Node] = []
        self._scope: tuple[str, ...] = ()
        self._train_only = False

    def add(self, name: str, op: Op, *inputs: Ref) -> Ref:
        """Append a node that reads `inputs` and return its first output."""
        path = "/".join((*self._scope, name))
        self._nodes.append(Node(path, op, inputs, train_only=self._train_only))
        return path, 0

    @contextmanager
    def scope(self, name: str, *, train_only: bool = False) -> Iterator[None]:
        """Prefix the names of the nodes added inside; `train_only` marks them as auxiliary."""
        outer = self._scope, self._train_only
        self._scope, self._train_only = (*self._scope, name), self._train_only or train_only
        try:
            yield
        finally:
            self._scope, self._train_only = outer

    def build(self, *outputs: Ref) -> Graph:
        """Return the graph; raise `GraphError` or `ShapeError` where layers do not fit."""
        return Graph(self.name, tuple(self._nodes), outputs)
