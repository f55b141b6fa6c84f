"""`Netlist`: the nodes of a network while a file is read, with the spec of everything made so far."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from archlab.errors import GraphError, ReadError
from archlab.ir import Graph, Node, Op, Param, Ref, TensorSpec, weight_dtype
from archlab.sources.values import MAX_RANK

MAX_NODES = 50_000
"""More are no network that a person made; files that unfold into themselves end here."""
MAX_NAME = 500
"""Longer names are cut."""


class Netlist:
    """Collects nodes in order; `where` names the file in errors."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.nodes: dict[str, Node] = {}
        self.specs: dict[Ref, TensorSpec] = {}
        self.params: dict[str, Param] = {}
        self._times: dict[str, int] = {}

    def add(
        self,
        name: str,
        op: Op,
        inputs: Iterable[Ref] = (),
        weights: Mapping[str, str] | None = None,
        frozen: Iterable[str] = (),
    ) -> tuple[Ref, ...]:
        """Append a node and return its outputs; a name that is taken gets ``#2``, ``#3`` and so on.

        `weights` are keys by role, `frozen` the roles that are not learned any more. Raises
        `ShapeError` where the inputs do not fit, `ReadError` where there are too many or too few.
        """
        if len(self.nodes) >= MAX_NODES:
            raise ReadError(f"has more than {MAX_NODES:,} layers")
        inputs, name = tuple(inputs), self._free(clean(name))
        specs = tuple(self.specs[ref] for ref in inputs)
        reads, least = op.reads, op.at_least
        if len(specs) != reads if reads is not None else len(specs) < least:
            wanted = f"at least {least}" if reads is None else reads
            raise ReadError(f"{type(op).__name__} reads {wanted} tensor(s), got {len(specs)}")
        outputs = op.outputs(*specs)
        if deep := next((spec for spec in outputs if len(spec.shape) > MAX_RANK), None):
            raise ReadError(f"makes a tensor of {len(deep.shape)} dimensions, more than any framework has")
        shapes = op.weights(*specs)
        node = Node(name, op, inputs, dict(weights or {}))
        for role in shapes.keys() & {*node.weights, *frozen}:
            self.params.setdefault(node.key(role), Param(shapes[role], weight_dtype(specs), role not in frozen))
        self.nodes[name] = node
        refs = tuple((name, index) for index in range(len(outputs)))
        self.specs.update(zip(refs, outputs, strict=True))
        return refs

    def _free(self, name: str) -> str:
        if name not in self.nodes:
            return name
        times = self._times.get(name, 1) + 1
        while f"{name}#{times}" in self.nodes:
            times += 1
        self._times[name] = times
        return f"{name}#{times}"

    def graph(self, name: str, outputs: Iterable[Ref]) -> Graph:
        """Return the graph of what was collected."""
        try:
            return Graph(clean(name), tuple(self.nodes.values()), tuple(outputs), self.params, "read")
        except GraphError as error:
            raise type(error)(f"{self.where}: {error}") from None


def clean(name: str) -> str:
    """Return a name that a node can have: printable parts joined by ``/``, each without a dot."""
    text = "".join(c if c.isprintable() else "_" for c in name.replace(".", "_")[:MAX_NAME])
    return "/".join(part for part in text.split("/") if part) or "layer"


def read_bytes(path: Path, most: int, what: str) -> bytes:
    """Return what a file holds; raise `ReadError` if it cannot be read or has more than `most` bytes."""
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        raise ReadError(f"{path}: cannot be read: {error.strerror or error}") from None
    if len(data) > most:
        raise ReadError(f"{path}: has more than {most:,} bytes, too many for {what}")
    return data
