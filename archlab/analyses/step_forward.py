"""The forward pass of a training step on sizes alone: what each node makes, and leaves for its backward pass."""

from __future__ import annotations

from dataclasses import dataclass

from archlab.analyses.backward import needing_gradients, needing_operands
from archlab.analyses.heap import Block, Heap
from archlab.analyses.saved import Saved, Site, keeps_order, saved, turns
from archlab.ir import Graph, Node, Ref


@dataclass(eq=False)
class Record:
    """What a node left for its backward pass."""

    site: Site
    saved: Saved
    held: list[Block]
    extra: list[Block]


_NONE: frozenset[int | str] = frozenset()


class Forward(Heap):
    """Runs a graph forward; `home` is where each tensor lies, `records` what nodes left."""

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph = graph
        self.needing = needing_gradients(graph)
        self.handed, self.readers = self._reached()
        self.home: dict[Ref, Block] = {}
        self.turned: set[Ref] = set()  # tensors whose elements do not lie row by row
        self.records: dict[str, Record] = {}
        self.assumed: dict[str, None] = {}
        self.ties: dict[str, int] = {}  # how many hold what idle nodes keep
        self.owners: dict[int, list[str]] = {}  # the idle nodes whose result lies in a storage

    def forward(self) -> None:
        """Run it, freeing tensors when Python did where that is known."""
        (self._forward_traced if self.graph.storages else self._forward_built)()

    def _reached(self) -> tuple[dict[str, frozenset[int | str]], dict[str, int]]:
        """Return the operands of each node that get a gradient, and how many gradients each parameter gets."""
        handed = {ref for ref in self.graph.outputs if ref in self.needing}
        found: dict[str, frozenset[int | str]] = {}
        readers: dict[str, int] = {}
        for node in reversed(self.graph.nodes):
            if node.op.is_kept or all((node.name, i) not in handed for i in range(len(self.graph.specs[node.name]))):
                continue
            operands = frozenset(needing_operands(self.graph, node, self.needing))
            found[node.name] = operands
            for operand in operands:
                if isinstance(operand, int):
                    handed.add(node.inputs[operand])
                if key := self.parameter(node, operand):
                    readers[key] = readers.get(key, 0) + 1
        return found, readers

    def parameter(self, node: Node, operand: int | str) -> str:
        """Return the key of the parameter that an operand is, an empty text for a tensor."""
        if isinstance(operand, str):
            return node.weights[operand]
        read = self.graph.node(node.inputs[operand][0])
        return read.weights.get("value", "") if read.op.is_kept else ""

    def _born(self, ref: Ref) -> Block:
        node = self.graph.node(ref[0])
        size = self.graph.specs[ref[0]][ref[1]].bytes
        return self.new(label(ref), size, "input" if node.op.is_input else "activation")

    def _forward_built(self) -> None:
        """Run a graph that frees a tensor after its last reader; the caller holds inputs and outputs."""
        specs, nodes = self.graph.specs, self.graph.nodes
        root: dict[Ref, Ref] = {}
        last: dict[Ref, int] = {}
        for step, node in enumerate(nodes):
            for index in range(len(specs[node.name])):
                own = (node.name, index)
                root[own] = root[node.inputs[0]] if node.op.is_view and node.inputs else own
                last[root[own]] = step
            last.update((root[ref], step) for ref in node.inputs)
        held = {root[ref] for ref in self.graph.outputs} | {(name, 0) for name in self.graph.inputs}
        kept = {(node.name, 0) for node in nodes if node.op.is_kept}
        dead: dict[int, list[Ref]] = {}
        for ref, step in last.items():
            if ref not in held | kept:
                dead.setdefault(step, []).append(ref)
        for name in self.graph.inputs:
            self.home[name, 0] = self._born((name, 0))
        for step, node in enumerate(nodes):
            for index in range(len(specs[node.name])):
                own = (node.name, index)
                if root[own] not in self.home and root[own] not in kept:
                    self.home[own] = self._born(own)
                if root[own] in self.home:
                    self.home[own] = self.home[root[own]]
            self._ran(node)
            self.let_go(*(self.home[ref] for ref in dead.get(step, ())))

    def _forward_traced(self) -> None:
        """Run a graph that frees a storage when Python did."""
        storages = self.graph.storages
        born: dict[str, list[int]] = {}
        freed: dict[int, list[int]] = {}
        for number, storage in enumerate(storages):
            born.setdefault(storage.outputs[0][0], []).append(number)
            freed.setdefault(storage.freed, []).append(number)
        made: list[Block] = []
        for node in self.graph.nodes:
            for number in born.get(node.name, ()):
                self.let_go(*(made[i] for i in freed.get(number, ())))
                block = self._born(storages[number].outputs[0])
                made.append(block)
                self.home.update(dict.fromkeys(storages[number].outputs, block))
            self._ran(node)
        self.let_go(*(made[i] for i in freed.get(len(storages), ())))

    def _ran(self, node: Node) -> None:
        """Keep what the backward pass of a node that ran needs, and look."""
        self.running = node.name
        if node.inputs and keeps_order(node.op) and (node.inputs[0] in self.turned) != turns(node.op):
            self.turned.update((node.name, i) for i in range(len(self.graph.specs[node.name])))
        if needs := self.handed.get(node.name) or self._idle(node):
            own = self.home.get((node.name, 0))
            in_place = not node.op.is_view and any(own is self.home.get(ref) for ref in node.inputs)
            site = Site(node, self.graph.input_specs(node), self.graph.specs[node.name], needs, in_place)
            rule = saved(site)
            if not rule.known and node.name not in self.handed:
                rule = Saved()
            if not rule.known:
                self.assumed[getattr(node.op, "function", type(node.op).__name__)] = None
            outputs = rule.outputs if node.name in self.handed else ()  # an idle node goes with its own result
            refs = [*(node.inputs[i] for i in rule.inputs), *((node.name, i) for i in outputs)]
            held = [self.home[ref] for ref in refs if ref in self.home]
            for block in held:
                block.holders += 1
            extra = [self.new(f"{what} of {node.name}", size, "saved") for what, size in rule.extra]
            self.records[node.name] = Record(site, rule, held, extra)
            if node.name not in self.handed:
                self._tie(node)
        self.look()

    def _idle(self, node: Node) -> frozenset[int | str]:
        """Return the operands that need a gradient of a node that no backward pass reaches: none comes of it."""
        makes = any((node.name, i) in self.needing for i in range(len(self.graph.specs[node.name])))
        return frozenset(needing_operands(self.graph, node, self.needing)) if makes and not node.op.is_kept else _NONE

    def _tie(self, node: Node) -> None:
        """Let what an idle node keeps go with its result, and with what is made of that."""
        if (node.name, 0) in self.home:
            self.ties[node.name] = 1
            self.owners.setdefault(id(self.home[node.name, 0]), []).append(node.name)
        for name in {name for name, _ in node.inputs if name in self.ties}:
            self.ties[name] += 1

    def gone(self, block: Block) -> None:
        """Let go of what idle nodes keep whose result is gone."""
        for name in self.owners.pop(id(block), ()):
            self._untie(name)

    def _untie(self, name: str) -> None:
        self.ties[name] -= 1
        if not self.ties[name]:
            record = self.records.pop(name)
            self.let_go(*record.held, *record.extra)
            for before in {before for before, _ in record.site.node.inputs if before in self.ties}:
                self._untie(before)


def label(ref: Ref) -> str:
    """Return the name of an output: its node's, with its place from the second."""
    return ref[0] if ref[1] == 0 else f"{ref[0]}[{ref[1]}]"
