"""The backward pass of a training step on sizes alone: the order in which gradients come, add up and go."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from typing import Any, NamedTuple

from archlab.analyses.heap import Block
from archlab.analyses.saved import Site, turns
from archlab.analyses.step_forward import Forward, Record, label
from archlab.ir import ITEM_BYTES, Graph, Node, Ref, TensorSpec
from archlab.ops import CONVOLUTIONS, Elementwise, Linear, Mul


class Gradient(NamedTuple):
    """A gradient under way: its storage, and how its elements lie: ``dense``, ``turned``, a ``part``, ``spread``.

    A `viewed` one is a view, which holds the tensor that it was made of: nothing is added to it in place.
    """

    block: Block
    layout: str = "dense"
    viewed: bool = False


class Step(Forward):
    """Runs a graph forward and backward; `pending` are the gradients that arrived, `sums` those of parameters."""

    def __init__(self, graph: Graph) -> None:
        super().__init__(graph)
        self.pending: dict[Ref, Gradient] = {}
        self.sums: dict[str, Gradient] = {}

    def backward(self) -> None:
        """Run from the sum of each output that needs a gradient."""
        outputs = [ref for ref in self.graph.outputs if ref in self.needing]
        item = {ref: ITEM_BYTES[self.graph.specs[ref[0]][ref[1]].dtype] for ref in outputs}
        for ref in outputs:
            self.running = "sum"
            self.new(f"sum of {label(ref)}", item[ref], "activation")
            self.look()
        self.pass_ = "backward"
        for ref in outputs:
            ones = self.new(f"gradient of the sum of {label(ref)}", item[ref])
            ones.holders += 1  # who calls the backward pass holds it, too
            self.look()
            self.pending[ref] = Gradient(ones, "spread")
        for node in reversed(self.graph.nodes):
            if node.name in self.records and node.name in self.handed:
                self._back(node, self.records.pop(node.name))

    def _back(self, node: Node, record: Record) -> None:
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
            given = [Gradient(rows)]
        made = [(operand, self._gradient(record, operand, given[0])) for operand in operands]
        self.look()
        made = [(operand, self._summed(record, operand, gradient)) for operand, gradient in made]
        self.let_go(*record.held, *record.extra, *(gradient.block for gradient in given))
        if record.saved.gradient == "padded":
            made = [(operand, self._cut(record, operand, gradient)) for operand, gradient in made]
        self._hand(node, made)

    def _gradient(self, record: Record, operand: int | str, given: Gradient) -> Gradient:
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
            return Gradient(given.block, layout, given.viewed or kind != "same")
        size = self._spec(site, operand).bytes
        if kind == "padded" and operand == 0:
            size = record.saved.padded
        elif _broadcasts(site):
            size = site.outputs[0].numel * ITEM_BYTES[self._spec(site, operand).dtype]
        made = self.new(self._gradient_name(site, operand), size)
        layout = "turned" if self._lies_otherwise(site, operand) else "dense"
        # A linear layer multiplies matrices: rows made one dimension, and the weight transposed.
        viewed = isinstance(site.op, Linear) and (operand == "weight" or len(site.inputs[0].shape) > 2)
        return Gradient(made, layout, viewed)

    def _lies_otherwise(self, site: Site, operand: int | str) -> bool:
        """Return whether a gradient is made with its channels last, since the input lies so."""
        if not isinstance(site.op, CONVOLUTIONS) or site.node.inputs[0] not in self.turned:
            return False
        _, channels, *kernel = self._spec(site, "weight").shape if operand == "weight" else (1, 1)
        return isinstance(operand, int) or (channels > 1 and prod(kernel) > 1)

    def _summed(self, record: Record, operand: int | str, gradient: Gradient) -> Gradient:
        """Return a gradient summed over the places that its operand was broadcast to."""
        site = record.site
        spec = self._spec(site, operand)
        same = record.saved.gradient == "same"
        if spec.shape == site.outputs[0].shape or not (same or _broadcasts(site)):
            return gradient
        summed = self.new(self._gradient_name(site, operand), spec.bytes)
        self.look()
        self.let_go(gradient.block)
        return Gradient(summed, viewed=len(spec.shape) < len(site.outputs[0].shape))

    def _cut(self, record: Record, operand: int | str, gradient: Gradient) -> Gradient:
        """Return the gradient of an input without that of its padding."""
        if operand != 0:
            return gradient
        cut = self.new(gradient.block.name, record.site.inputs[0].bytes)
        self.look()
        self.let_go(gradient.block)
        return Gradient(cut)

    def _back_norm(self, node: Node, record: Record, given: Gradient) -> None:
        """Run the backward pass of a local response norm, which torch composes of eight operations.

        x / w, w = s^β, s = k + α·mean(p), p the padded squares of x.
        """
        size, name = record.site.inputs[0].bytes, self._gradient_name(record.site, 0)
        held = record.held
        squares, sums, power = record.extra

        def made(size: int = size, name: str = f"temporary of {node.name}") -> Block:
            block = self.new(name, size)
            self.look()
            return block

        parts = [made() for _ in range(3)]
        of_power = made()  # -g · x / w / w
        self.let_go(*parts)
        direct = made(name=name)  # g / w
        self.let_go(given.block, power)
        self._hand(node, [(0, Gradient(direct))])
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
        self.let_go(cut, *held)
        self._hand(node, [(0, Gradient(block)) for block in twice])

    def _hand(self, node: Node, made: Iterable[tuple[int | str, Gradient]]) -> None:
        """Hand gradients on: to the nodes that made the operands, and to parameters."""
        ready = []
        for operand, gradient in made:
            if key := self.parameter(node, operand):
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

    def _add(self, sums: dict[Any, Gradient], place: Any, gradient: Gradient, spec: TensorSpec) -> None:
        """Add a gradient to those that arrived, in place where nobody else holds their storage."""
        old = sums.get(place)
        if old is None:
            sums[place] = gradient
        elif old.block.holders == 1 and old.layout in ("dense", "turned") and not old.viewed:
            self.let_go(gradient.block)
        else:
            sums[place] = Gradient(self.new(gradient.block.name, spec.bytes))
            self.look()
            self.let_go(old.block, gradient.block)

    def _spec(self, site: Site, operand: int | str) -> TensorSpec:
        if isinstance(operand, int):
            return site.inputs[operand]
        return self.graph.params[site.node.weights[operand]].spec

    def _gradient_name(self, site: Site, operand: int | str) -> str:
        if isinstance(operand, int):
            return f"gradient of {label(site.node.inputs[operand])}"
        return f"gradient of {site.node.weights[operand]}"


def _broadcasts(site: Site) -> bool:
    return isinstance(site.op, (Mul, Elementwise)) and len(site.inputs) > 1
