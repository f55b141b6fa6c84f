"""Edits of graphs: select nodes by structure, say how many are expected, change them together.

Every edit returns a new graph in which all shapes are inferred anew:

1. A selection that an edit is made on holds at least one node, or exactly `expect(n)`.
2. `remove` joins a node's readers to what it read; the norm and the activation that only it feeds go with it.
3. `drop` takes nodes out together with everything that reads them, and with their outputs.
4. `swap` puts one op or a chain of ops in a node's place.
5. `insert_after` puts a chain behind a node, in front of all its readers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from archlab.errors import AblationError
from archlab.ir import Graph, Node, Op, Ref

Chain = Sequence[tuple[str, Op]]
"""New nodes in order: (whole name, op), each reading the one before it."""


def select(graph: Graph, *ops: type[Op], where: Callable[[Graph, Node], bool] | None = None) -> Selection:
    """Select the nodes whose op is one of `ops` (any op if none is named) and for which `where` holds."""
    return Selection(
        graph,
        tuple(
            node
            for node in graph.nodes
            if (not ops or isinstance(node.op, ops)) and (where is None or where(graph, node))
        ),
    )


def only_reader(graph: Graph, node: Node) -> Node | None:
    """Return the single node that reads `node`, or None if there are several, none, or it is an output."""
    readers = graph.readers[node.name]
    returned = any(name == node.name for name, _ in graph.outputs)
    return readers[0] if len(readers) == 1 and not returned else None


def trailing(graph: Graph, node: Node, ops: tuple[type[Op], ...]) -> list[Node]:
    """Return the chain of nodes of those ops that `node`, and only it, feeds."""
    chain: list[Node] = []
    reader = only_reader(graph, node)
    while reader is not None and isinstance(reader.op, ops) and len(reader.inputs) == 1:
        chain.append(reader)
        reader = only_reader(graph, reader)
    return chain


@dataclass(frozen=True)
class Selection:
    """Some nodes of a graph, to be changed together."""

    graph: Graph
    nodes: tuple[Node, ...]

    def __len__(self) -> int:
        return len(self.nodes)

    def expect(self, count: int | None = None) -> Selection:
        """Return the selection if it holds `count` nodes (at least one if None); raise `AblationError` if not."""
        if len(self.nodes) == count or (count is None and self.nodes):
            return self
        wanted = "at least one" if count is None else str(count)
        raise AblationError(f"{self.graph.name}: expected {wanted} matching layers, found {len(self.nodes)}")

    def remove(self, *, with_trailing: tuple[type[Op], ...] = ()) -> Graph:
        """Return the graph without these nodes; their readers read what they read.

        The chains of `with_trailing` ops that only they feed go, too.
        """
        self.expect(len(self.nodes) or None)
        gone = {node.name: node for node in self.nodes}
        for node in self.nodes:
            gone.update({n.name: n for n in trailing(self.graph, node, with_trailing)})
        for node in gone.values():
            if len(node.inputs) != 1:
                raise AblationError(
                    f"{self.graph.name}: {node.name} reads {len(node.inputs)} tensors and has no bypass"
                )

        def through(ref: Ref) -> Ref:
            while ref[0] in gone:
                ref = gone[ref[0]].inputs[0]
            return ref

        kept = [n for n in self.graph.nodes if n.name not in gone]
        rewired = (dataclasses.replace(n, inputs=tuple(map(through, n.inputs))) for n in kept)
        return self.graph.edit(rewired, map(through, self.graph.outputs))

    def drop(self) -> Graph:
        """Return the graph without these nodes and without everything computed from them."""
        self.expect(len(self.nodes) or None)
        gone = {node.name for node in self.nodes}
        for node in self.graph.nodes:
            if any(name in gone for name, _ in node.inputs):
                gone.add(node.name)
        outputs = [ref for ref in self.graph.outputs if ref[0] not in gone]
        return self.graph.edit((n for n in self.graph.nodes if n.name not in gone), outputs)

    def swap(self, make: Callable[[Graph, Node], Op | Chain]) -> Graph:
        """Return the graph with another op, or a chain of named ops, in place of each node."""
        return self._replace(lambda node: _as_chain(node, make(self.graph, node)))

    def insert_after(self, make: Callable[[Graph, Node], Chain]) -> Graph:
        """Return the graph with a chain of named ops behind each node."""
        return self._replace(lambda node: [node, *_as_chain(node, make(self.graph, node))])

    def _replace(self, make: Callable[[Node], list[Node]]) -> Graph:
        self.expect(len(self.nodes) or None)
        chosen = {node.name for node in self.nodes}
        moved: dict[Ref, Ref] = {}
        nodes: list[Node] = []
        for node in self.graph.nodes:
            inputs = tuple(moved.get(ref, ref) for ref in node.inputs)
            for link in make(node) if node.name in chosen else [node]:
                nodes.append(dataclasses.replace(link, inputs=inputs))
                inputs = ((link.name, 0),)
            if node.name in chosen:
                moved[node.name, 0] = inputs[0]
        return self.graph.edit(nodes, (moved.get(ref, ref) for ref in self.graph.outputs))


def _as_chain(node: Node, made: Op | Chain) -> list[Node]:
    if isinstance(made, Op):
        return [dataclasses.replace(node, op=made, weights={})]
    return [Node(name, op, train_only=node.train_only, source=node.source) for name, op in made]
