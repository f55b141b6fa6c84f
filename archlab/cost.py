"""`Cost`: what one or many layers take, and `price`, the only place where operations become numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from archlab import dims
from archlab.formula import Formula
from archlab.ir import OPERATION_CLASSES, Node, Op, TensorSpec

METRICS = ("macs", "params", "flops", "activations", "bytes_moved", "weight_bytes")


@dataclass(frozen=True, slots=True, eq=False)
class Cost:
    """Exact counts of one or many layers, for the whole batch.

    `macs` multiply-accumulates · `params` learnable scalars, tied ones once · `flops` 2·MACs + all
    other operations · `activations` output elements · `bytes_moved` unfused memory traffic ·
    `weight_bytes` bytes of the parameters · `operations` the count of each operation class ·
    `backward_macs` how many of the MACs are the backward pass's: no other count has a part of it.
    """

    macs: int = 0
    params: int = 0
    flops: int = 0
    activations: int = 0
    bytes_moved: int = 0
    weight_bytes: int = 0
    operations: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(OPERATION_CLASSES, 0))
    backward_macs: int = 0

    @property
    def intensity(self) -> float:
        """Arithmetic intensity of the forward pass in FLOPs / byte moved; 0 where nothing moves."""
        return (self.flops - 2 * self.backward_macs) / self.bytes_moved if self.bytes_moved else 0.0

    def __add__(self, other: Cost) -> Cost:
        return total((self, other))

    def _counts(self) -> tuple[Any, ...]:
        return *(getattr(self, metric) for metric in METRICS), self.backward_macs, self.operations

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Cost) and self._counts() == other._counts()

    def __hash__(self) -> int:
        return hash((self.macs, self.params, self.flops))

    def to_dict(self) -> dict[str, Any]:
        """Return the counts as plain data."""
        counts: dict[str, Any] = {metric: getattr(self, metric) for metric in METRICS}
        return {**counts, "intensity": self.intensity, "operations": dict(self.operations)}


@dataclass(frozen=True, slots=True, eq=False)
class Total(Cost):
    """The counts of a whole graph, and the figure that its convention prints: `reported`, in `unit`.

    By our own convention that is the MACs. A figure in FLOPs counts each MAC twice.
    """

    reported: int = 0
    unit: str = "MACs"

    def to_dict(self) -> dict[str, Any]:
        """Return the counts as plain data."""
        return {**Cost.to_dict(self), "reported": self.reported, "unit": self.unit}


def total(costs: Iterable[Cost]) -> Cost:
    """Return the sum of costs."""
    macs = params = flops = activations = bytes_moved = weight_bytes = backward_macs = 0
    operations = dict.fromkeys(OPERATION_CLASSES, 0)
    # Not `+=`: on arrays that would add in place, in the shape and type of the first.
    for cost in costs:
        macs = macs + cost.macs
        params = params + cost.params
        flops = flops + cost.flops
        activations = activations + cost.activations
        bytes_moved = bytes_moved + cost.bytes_moved
        weight_bytes = weight_bytes + cost.weight_bytes
        backward_macs = backward_macs + cost.backward_macs
        for kind, count in cost.operations.items():
            operations[kind] = operations[kind] + count
    return Cost(macs, params, flops, activations, bytes_moved, weight_bytes, operations, backward_macs)


def price_node(
    node: Node,
    inputs: tuple[TensorSpec, ...],
    outputs: tuple[TensorSpec, ...],
    parameters: Mapping[str, TensorSpec],
    owned: set[str],
    gradients: Mapping[str, Formula] | None = None,
) -> Cost:
    """Return the cost of a node in its graph; enter its `parameters` (by key) into `owned`.

    A tensor that it reads twice is fetched once, and of a parameter no more than its op fetches; a
    parameter counts at the first node that reads it. `gradients` are the products of its backward pass.
    """
    read = enumerate(inputs) if node.op.gathers else ()
    given = [node.op.fetched(place, spec, *inputs) for place, spec in read] or inputs
    distinct = dict(zip(node.inputs, given, strict=True))
    roles = {key: role for role, key in node.weights.items()}
    fetched = [node.op.fetched(roles[key], spec, *inputs) for key, spec in parameters.items()]
    new = [spec for key, spec in parameters.items() if key not in owned]
    owned.update(parameters)
    return price(node.op, inputs, outputs, [*distinct.values(), *fetched], new, gradients)


def price(
    op: Op,
    inputs: tuple[TensorSpec, ...],
    outputs: tuple[TensorSpec, ...],
    read: Iterable[TensorSpec],
    owned: Iterable[TensorSpec],
    gradients: Mapping[str, Formula] | None = None,
) -> Cost:
    """Return the cost of one op, for ints, integer arrays and symbols alike.

    `inputs` and `outputs` are what its rule sees; `read` are the distinct tensors it fetches, inputs
    and parameters; `owned` are the parameters that no earlier layer has accounted for.
    """
    formulas = with_gradients(op.formulas(outputs, *inputs), gradients)
    operations = {kind: formulas[kind].value if kind in formulas else 0 for kind in OPERATION_CLASSES}
    activations: Any = 0
    moved: Any = 0
    if not op.is_view:
        for spec in outputs:
            activations = activations + dims.product(spec.shape)
            moved = moved + spec.bytes
        for spec in read:
            moved = moved + spec.bytes
    params: Any = 0
    weight_bytes: Any = 0
    for spec in owned:
        params = params + spec.numel
        weight_bytes = weight_bytes + spec.bytes
    flops = sum(operations.values()) + operations["mac"]
    backward = sum(formula.value for formula in gradients.values()) if gradients else 0
    return Cost(operations["mac"], params, flops, activations, moved, weight_bytes, operations, backward)


def with_gradients(formulas: Mapping[str, Formula], gradients: Mapping[str, Formula] | None) -> Mapping[str, Formula]:
    """Return how operations are counted with the products of the backward pass among the MACs.

    The same product three times is three times the product.
    """
    if not gradients:
        return formulas
    products = (formulas.get("mac", Formula()), *gradients.values())
    times = Counter(term for product in products for term in product.terms)
    terms = [term if n == 1 else ((str(n), n), *term) for term, n in times.items()]
    return {**formulas, "mac": Formula(*terms)}
