"""Peak memory of a training step: what the forward pass leaves for the backward pass, and the gradients.

The step is the forward pass, the sum of each output that needs a gradient, and the backward pass from those,
as torch runs it in eager mode: in the reverse order of the forward pass, each operation letting go of what it
kept as it ends. Parameters, buffers and an optimiser's state are not in the peak; they are said beside it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import prod
from typing import Any, NamedTuple

from archlab.analyses.backward import needing_gradients, needing_operands
from archlab.analyses.saved import Saved, Site, keeps_order, saved, turns
from archlab.errors import UsageError, nearest
from archlab.ir import ITEM_BYTES, Graph, Node, Ref, TensorSpec
from archlab.ops import CONVOLUTIONS, Elementwise, Linear, Mul

OPTIMISERS = {"none": 0, "sgd": 0, "momentum": 1, "adam": 2}
"""How many tensors an optimiser keeps for each trainable parameter."""
KINDS = ("input", "activation", "saved", "gradient", "parameter gradient")
"""What a tensor alive at the peak is: given, made by a layer, kept for its backward pass alone, or a gradient."""


class Alive(NamedTuple):
    """A storage that is alive at the peak."""

    name: str
    bytes: int
    kind: str


@dataclass(frozen=True)
class TrainingMemory:
    """The peak of a training step in bytes, where it is reached (`node`, `phase`), and what is alive there.

    `weights` are bytes of parameters, `buffers` of buffers, `trainable` of the parameters that are learned.
    `assumed` are the operations that have no rule: of those the peak assumes that they keep all they read and make.
    """

    bytes: int
    node: str
    phase: str
    alive: tuple[Alive, ...]
    weights: int
    trainable: int
    buffers: int
    assumed: tuple[str, ...] = ()

    def state(self, optimiser: str) -> int:
        """Return the bytes that an optimiser keeps between steps; raise `UsageError` for an unknown one."""
        if optimiser not in OPTIMISERS:
            known = ", ".join(OPTIMISERS)
            raise UsageError(f"unknown optimiser {optimiser!r}{nearest(optimiser, OPTIMISERS)} (known: {known})")
        return OPTIMISERS[optimiser] * self.trainable

    def whole(self, optimiser: str = "none") -> int:
        """Return all bytes of a step: the peak, parameters, buffers and an optimiser's state."""
        return self.bytes + self.weights + self.buffers + self.state(optimiser)

    def by_kind(self) -> dict[str, int]:
        """Return the bytes alive at the peak by what they are."""
        sums = dict.fromkeys(KINDS, 0)
        for item in self.alive:
            sums[item.kind] += item.bytes
        return {kind: size for kind, size in sums.items() if size}

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "mode": "training",
            "bytes": self.bytes,
            "node": self.node,
            "phase": self.phase,
            "alive": [{"tensor": item.name, "bytes": item.bytes, "kind": item.kind} for item in self.alive],
            "by_kind": self.by_kind(),
            "weights": self.weights,
            "buffers": self.buffers,
            "optimiser_state": {name: self.state(name) for name in OPTIMISERS},
            "assumed": list(self.assumed),
        }


def training_memory(graph: Graph) -> TrainingMemory:
    """Return the peak of live storages of a training step of a graph, and what else a step keeps.

    A traced graph should be traced in training: in inference Python lets go of other tensors.
    """
    return _Step(graph.in_mode("training")).run()


@dataclass(eq=False, slots=True)
class _Block:
    """A storage: how many hold it, and from when to when it is alive."""

    name: str
    bytes: int
    kind: str
    born: int
    holders: int = 1
    died: int = -1


class _Gradient(NamedTuple):
    """A gradient under way: its storage, and how its elements lie: ``dense``, ``turned``, a ``part``, ``spread``.

    A `viewed` one is a view, which holds the tensor that it was made of: nothing is added to it in place.
    """

    block: _Block
    layout: str = "dense"
    viewed: bool = False


@dataclass(eq=False)
class _Record:
    """What a node left for its backward pass."""

    site: Site
    saved: Saved
    held: list[_Block]
    extra: list[_Block] = field(default_factory=list)


class _Step:
    """A step that is run on sizes alone."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.needing = needing_gradients(graph)
        self.handed, self.readers = self._reached()
        self.blocks: list[_Block] = []
        self.clock = self.now = 0
        self.peak, self.when, self.place, self.phase = -1, 0, "", ""
        self.running, self.pass_ = "", "forward"
        self.home: dict[Ref, _Block] = {}
        self.turned: set[Ref] = set()  # tensors whose elements do not lie row by row
        self.records: dict[str, _Record] = {}
        self.pending: dict[Ref, _Gradient] = {}
        self.sums: dict[str, _Gradient] = {}
        self.assumed: dict[str, None] = {}

    def run(self) -> TrainingMemory:
        """Run forward and backward and return what was seen."""
        (self._forward_traced if self.graph.storages else self._forward_built)()
        self._backward()
        alive = [Alive(b.name, b.bytes, b.kind) for b in self.blocks if b.born <= self.when and self._outlives(b)]
        params = self.graph.params.values()
        weights = [p for p in params if not p.buffer]
        return TrainingMemory(
            self.peak,
            self.place,
            self.phase,
            tuple(sorted(alive, key=lambda item: -item.bytes)),
            sum(p.spec.bytes for p in weights),
            sum(p.spec.bytes for p in weights if p.trainable),
            sum(p.spec.bytes for p in params if p.buffer),
            tuple(self.assumed),
        )

    def _outlives(self, block: _Block) -> bool:
        return block.died < 0 or block.died > self.when

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
                if key := self._parameter(node, operand):
                    readers[key] = readers.get(key, 0) + 1
        return found, readers

    def _parameter(self, node: Node, operand: int | str) -> str:
        """Return the key of the parameter that an operand is, an empty text for a tensor."""
        if isinstance(operand, str):
            return node.weights[operand]
        read = self.graph.node(node.inputs[operand][0])
        return read.weights.get("value", "") if read.op.is_kept else ""

    # -- storages --------------------------------------------------------------------------------

    def new(self, name: str, size: int, kind: str = "gradient") -> _Block:
        """Take a storage, which the caller holds."""
        self.clock += 1
        self.now += size
        block = _Block(name, size, kind, self.clock)
        self.blocks.append(block)
        return block

    def look(self) -> None:
        """See what is alive as an operation returns."""
        if self.now > self.peak:
            self.peak, self.when, self.place, self.phase = self.now, self.clock, self.running, self.pass_

    def let_go(self, *blocks: _Block) -> None:
        """Hold storages no longer."""
        for block in blocks:
            block.holders -= 1
            if not block.holders:
                self.clock += 1
                self.now -= block.bytes
                block.died = self.clock

    # -- forward ---------------------------------------------------------------------------------

    def _born(self, ref: Ref) -> _Block:
        node = self.graph.node(ref[0])
        size = self.graph.specs[ref[0]][ref[1]].bytes
        return self.new(_label(ref), size, "input" if node.op.is_input else "activation")

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
        made: list[_Block] = []
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
        if (needs := self.handed.get(node.name)) and not node.op.is_input:
            own = self.home.get((node.name, 0))
            in_place = not node.op.is_view and any(own is self.home.get(ref) for ref in node.inputs)
            site = Site(node, self.graph.input_specs(node), self.graph.specs[node.name], needs, in_place)
            rule = saved(site)
            if not rule.known:
                self.assumed[getattr(node.op, "function", type(node.op).__name__)] = None
            refs = [*(node.inputs[i] for i in rule.inputs), *((node.name, i) for i in rule.outputs)]
            held = [self.home[ref] for ref in refs if ref in self.home]
            for block in held:
                block.holders += 1
            extra = [self.new(f"{what} of {node.name}", size, "saved") for what, size in rule.extra]
            self.records[node.name] = _Record(site, rule, held, extra)
        self.look()

    # -- backward --------------------------------------------------------------------------------

    def _backward(self) -> None:
        outputs = [ref for ref in self.graph.outputs if ref in self.needing]
        item = {ref: ITEM_BYTES[self.graph.specs[ref[0]][ref[1]].dtype] for ref in outputs}
        for ref in outputs:
            self.running = "sum"
            self.new(f"sum of {_label(ref)}", item[ref], "activation")
            self.look()
        self.pass_ = "backward"
        for ref in outputs:
            ones = self.new(f"gradient of the sum of {_label(ref)}", item[ref])
            ones.holders += 1  # who calls the backward pass holds it, too
            self.look()
            self.pending[ref] = _Gradient(ones, "spread")
        for node in reversed(self.graph.nodes):
            if node.name in self.records:
                self._back(node, self.records.pop(node.name))

    def _back(self, node: Node, record: _Record) -> None:
        """Run the backward pass of a node, let go of what it kept and was given, and hand on what it made."""
        self.running = node.name
        found = [self.pending.pop((node.name, i), None) for i in range(len(record.site.outputs))]
        given = [gradient for gradient in found if gradient is not None]
        if not given:
            self.let_go(*record.held, *record.extra)
            return
        operands = sorted(record.site.needs, key=lambda operand: (isinstance(operand, str), str(operand)))
        if record.saved.gradient == "norm":
            self._back_norm(node, record, given[0])
            return
        if isinstance(node.op, Linear) and len(record.site.inputs[0].shape) > 2 and given[0].layout == "turned":
            rows = self.new(given[0].block.name, record.site.outputs[0].bytes)  # a product takes rows
            self.look()
            self.let_go(given[0].block)
            given = [_Gradient(rows)]
        made = [(operand, self._gradient(record, operand, given[0])) for operand in operands]
        self.look()
        made = [(operand, self._summed(record, operand, gradient)) for operand, gradient in made]
        self.let_go(*record.held, *record.extra, *(gradient.block for gradient in given))
        if record.saved.gradient == "padded":
            made = [(operand, self._cut(record, operand, gradient)) for operand, gradient in made]
        self._hand(node, made)

    def _gradient(self, record: _Record, operand: int | str, given: _Gradient) -> _Gradient:
        """Return the gradient of an operand as its operation makes it of the one it is given."""
        site, kind = record.site, record.saved.gradient
        turned = turns(site.op)
        again = kind == "view" and given.layout == "turned" and not turned
        if kind in ("same", "view", "parts", "spread") and not again:
            given.block.holders += 1
            layout = given.layout
            if kind == "spread":
                layout = "spread"
            elif kind == "parts" and layout != "spread":
                axis = site.op.dim % len(site.outputs[0].shape)
                whole = all(size == 1 for size in site.outputs[0].shape[:axis])
                layout = layout if whole else "part"
            elif turned and layout in ("dense", "turned"):
                layout = "turned" if layout == "dense" else "dense"
            return _Gradient(given.block, layout, given.viewed or kind != "same")
        size = self._spec(site, operand).bytes
        if kind == "padded" and operand == 0:
            size = record.saved.padded
        elif _broadcasts(site):
            size = site.outputs[0].numel * ITEM_BYTES[self._spec(site, operand).dtype]
        made = self.new(self._gradient_name(site, operand), size)
        layout = "turned" if self._lies_otherwise(site, operand) else "dense"
        # A linear layer multiplies matrices: rows made one dimension, and the weight transposed.
        viewed = isinstance(site.op, Linear) and (operand == "weight" or len(site.inputs[0].shape) > 2)
        return _Gradient(made, layout, viewed)

    def _lies_otherwise(self, site: Site, operand: int | str) -> bool:
        """Return whether a gradient is made with its channels last, since the input lies so."""
        if not isinstance(site.op, CONVOLUTIONS) or site.node.inputs[0] not in self.turned:
            return False
        _, channels, *kernel = self._spec(site, "weight").shape if operand == "weight" else (1, 1)
        return isinstance(operand, int) or (channels > 1 and prod(kernel) > 1)

    def _summed(self, record: _Record, operand: int | str, gradient: _Gradient) -> _Gradient:
        """Return a gradient summed over the places that its operand was broadcast to."""
        site = record.site
        spec = self._spec(site, operand)
        same = record.saved.gradient == "same"
        if spec.shape == site.outputs[0].shape or not (same or _broadcasts(site)):
            return gradient
        summed = self.new(self._gradient_name(site, operand), spec.bytes)
        self.look()
        self.let_go(gradient.block)
        return _Gradient(summed, viewed=len(spec.shape) < len(site.outputs[0].shape))

    def _cut(self, record: _Record, operand: int | str, gradient: _Gradient) -> _Gradient:
        """Return the gradient of an input without that of its padding."""
        if operand != 0:
            return gradient
        cut = self.new(gradient.block.name, record.site.inputs[0].bytes)
        self.look()
        self.let_go(gradient.block)
        return _Gradient(cut)

    def _back_norm(self, node: Node, record: _Record, given: _Gradient) -> None:
        """Run the backward pass of a local response norm, which torch composes of eight operations.

        x / w, w = s^β, s = k + α·mean(p), p the padded squares of x.
        """
        size, name = record.site.inputs[0].bytes, self._gradient_name(record.site, 0)
        (x,) = record.held
        squares, sums, power = record.extra

        def made(size: int = size, name: str = f"temporary of {node.name}") -> _Block:
            block = self.new(name, size)
            self.look()
            return block

        parts = [made() for _ in range(3)]
        of_power = made()  # -g · x / w / w
        self.let_go(*parts)
        direct = made(name=name)  # g / w
        self.let_go(given.block, power)
        self._hand(node, [(0, _Gradient(direct))])
        parts = [made(), made()]
        of_sums = made()  # β · s^(β-1)
        self.let_go(*parts, of_power, sums)
        of_mean = made()
        self.let_go(of_sums)
        of_squares = made(squares.bytes)
        self.let_go(of_mean, squares)
        cut = made()
        self.let_go(of_squares)
        twice = [made(name=name), made(name=name)]  # x·x: one for each factor
        self.let_go(cut, x)
        self._hand(node, [(0, _Gradient(block)) for block in twice])

    def _hand(self, node: Node, made: Iterable[tuple[int | str, _Gradient]]) -> None:
        """Hand gradients on: to the nodes that made the operands, and to parameters."""
        ready = []
        for operand, gradient in made:
            if key := self._parameter(node, operand):
                self._add(self.sums, key, gradient, self.graph.params[key].spec)
                self.readers[key] -= 1
                if not self.readers[key]:
                    ready.append(key)
            elif isinstance(operand, int):
                ref = node.inputs[operand]
                self._add(self.pending, ref, gradient, self.graph.specs[ref[0]][ref[1]])
        for key in ready:
            block, layout, _ = self.sums[key]
            if layout != "dense" or block.holders > 1:
                kept = self.new("", self.graph.params[key].spec.bytes)
                self.look()
                self.let_go(block)
                block = kept
            block.name, block.kind = f"gradient of {key}", "parameter gradient"

    def _add(self, sums: dict[Any, _Gradient], place: Any, gradient: _Gradient, spec: TensorSpec) -> None:
        """Add a gradient to those that arrived, in place where nobody else holds their storage."""
        old = sums.get(place)
        if old is None:
            sums[place] = gradient
        elif old.block.holders == 1 and old.layout in ("dense", "turned") and not old.viewed:
            self.let_go(gradient.block)
        else:
            sums[place] = _Gradient(self.new(gradient.block.name, spec.bytes))
            self.look()
            self.let_go(old.block, gradient.block)

    def _spec(self, site: Site, operand: int | str) -> TensorSpec:
        if isinstance(operand, int):
            return site.inputs[operand]
        return self.graph.params[site.node.weights[operand]].spec

    def _gradient_name(self, site: Site, operand: int | str) -> str:
        if isinstance(operand, int):
            return f"gradient of {_label(site.node.inputs[operand])}"
        return f"gradient of {site.node.weights[operand]}"


def _broadcasts(site: Site) -> bool:
    return isinstance(site.op, (Mul, Elementwise)) and len(site.inputs) > 1


def _label(ref: Ref) -> str:
    return ref[0] if ref[1] == 0 else f"{ref[0]}[{ref[1]}]"
