"""Recurrent layers, counted as what they are, whichever kernel runs them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from archlab.dims import require, require_integer
from archlab.formula import Factor, Formula
from archlab.ir import Gradient, Op, Shape, TensorSpec

MOST_LAYERS = 1000
"""More are a mistake, and each has weights of its own."""
GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}
PER_UNIT: Mapping[str, Mapping[str, int]] = {
    # three sigmoids (exp, add, div) and two tanh; c = f·c + i·g; h = o·tanh(c); the gates' two sums
    "lstm": {"exp": 5, "add": 3 + 1 + 4, "div": 3, "mul": 3},
    # two sigmoids and a tanh; n = tanh(W·x + r·(U·h)); h = (1 - z)·n + z·h; the gates' two sums
    "gru": {"exp": 3, "add": 2 + 2 + 3, "div": 2, "mul": 3},
    "rnn_tanh": {"exp": 1, "add": 1},
    "rnn_relu": {"cmp": 1, "add": 1},
}
"""Operations per hidden unit and step beside the products and the biases."""


@dataclass(frozen=True)
class Recurrent(Op):
    """An LSTM, GRU or plain recurrent layer, or several on top of each other, as torch keeps them.

    Reads (L, N, C), with `batch_first` (N, L, C), or without a batch (L, C); then the first states, if
    given. `packed` reads (rows, C) and the rows of each step, so that only real steps count.
    `projection` is the width that an LSTM's states are projected to. `computed` names the weights
    that are read as inputs, not kept.
    """

    kind: str
    hidden: int
    layers: int = 1
    bias: bool = True
    batch_first: bool = False
    bidirectional: bool = False
    projection: int = 0
    packed: bool = False
    computed: Any = field(default=(), repr=False)

    arity = None
    rule = (
        "per step, layer and direction: gates·hidden products with the input and with the state (a projection "
        "hidden·width more); two biases add 2 per gate; sigmoids, tanh and the update as `ops.functions` says"
    )

    def __post_init__(self) -> None:
        require(self.kind in GATES, "kind must be one of {}, got {}", ", ".join(GATES), self.kind)
        for name in ("hidden", "layers"):
            object.__setattr__(self, name, require_integer(getattr(self, name), name, 1))
        require(self.layers <= MOST_LAYERS, "layers must be at most {}, got {}", MOST_LAYERS, self.layers)
        object.__setattr__(self, "projection", require_integer(self.projection, "projection", 0))
        narrower = self.projection == 0 or (self.kind == "lstm" and self.projection < self.hidden)
        require(narrower, "a projection is one of an LSTM to less than {}, got {}", self.hidden, self.projection)
        named = isinstance(self.computed, (tuple, list)) and set(self.computed) <= set(self.roles)
        require(named, "computed names weights of the layer, got {!r}", self.computed)
        object.__setattr__(self, "computed", tuple(self.computed))

    @property
    def width(self) -> int:
        """How wide the state is that goes to the next step."""
        return self.projection or self.hidden

    @property
    def directions(self) -> int:
        """1, or 2 if it reads backwards, too."""
        return 2 if self.bidirectional else 1

    @property
    def roles(self) -> tuple[str, ...]:
        """The names of its weights, as torch orders them."""
        parts = ["weight_ih", "weight_hh", *(["bias_ih", "bias_hh"] if self.bias else [])]
        parts += ["weight_hr"] if self.projection else []
        ends = ["", "_reverse"][: self.directions]
        return tuple(f"{part}_l{i}{end}" for i in range(self.layers) for end in ends for part in parts)

    def _reads(self, layer: int, x: TensorSpec) -> int:
        return x.shape[-1] if layer == 0 else self.width * self.directions

    def infer(self, x: TensorSpec, *others: TensorSpec) -> tuple[TensorSpec, ...]:
        """The output of the last layer at every step, and the last states of every layer."""
        require(
            len(x.shape) == 2 if self.packed else len(x.shape) in (2, 3),
            "does not read a tensor of shape {}",
            x.shape,
        )
        batch: tuple[int, ...]
        if self.packed:
            require(
                len(others) >= 2,
                "a packed sequence comes with its steps and its first states, got {} tensors",
                len(others),
            )
            require(len(others[1].shape) == 3, "the first states are (layers, N, width), got {}", others[1].shape)
            batch = (others[1].shape[1],)
        else:
            batch = () if len(x.shape) == 2 else (x.shape[0 if self.batch_first else 1],)
        every = self.directions * self.layers
        output = x.reshaped((*x.shape[:-1], self.directions * self.width))
        state = x.reshaped((every, *batch, self.width))
        if self.kind != "lstm":
            return output, state
        return output, state, x.reshaped((every, *batch, self.hidden))

    def weights(self, x: TensorSpec, *others: TensorSpec) -> Mapping[str, Shape]:
        """W_ih (gates·hidden, C_in), W_hh (gates·hidden, width), two biases, a projection: a layer and direction."""
        tall = GATES[self.kind] * self.hidden
        shapes: dict[str, Shape] = {}
        for role in self.roles:
            part, _, which = role.rpartition("_l")
            layer = int(which.removesuffix("_reverse"))
            shapes[role] = {
                "weight_ih": (tall, self._reads(layer, x)),
                "weight_hh": (tall, self.width),
                "weight_hr": (self.width, self.hidden),
            }.get(part, (tall,))
        return {role: shape for role, shape in shapes.items() if role not in self.computed}

    def arithmetic(
        self, outputs: tuple[TensorSpec, ...], x: TensorSpec, *others: TensorSpec
    ) -> Mapping[str, Formula]:
        """See `rule`."""
        steps = self._steps(x)
        both, units = ("directions", self.directions), ("hidden", self.hidden)
        gates, width = ("gates", GATES[self.kind]), ("width", self.width)
        macs = Formula()
        for layer in range(self.layers):
            macs = macs + Formula.product(*steps, both, gates, units, ("C_in", self._reads(layer, x)))
            macs = macs + Formula.product(*steps, both, gates, units, width)
            if self.projection:
                macs = macs + Formula.product(*steps, both, units, width)
        counts = {"mac": macs}
        per_unit = dict(PER_UNIT[self.kind])
        if self.bias:
            per_unit["add"] += 2 * GATES[self.kind]
        for kind, times in per_unit.items():
            counts[kind] = Formula.product(times, *steps, both, ("layers", self.layers), units)
        return counts

    def _steps(self, x: TensorSpec) -> tuple[Factor, ...]:
        names = ("rows",) if len(x.shape) == 2 else ("N", "L") if self.batch_first else ("L", "N")
        return tuple(zip(names, x.shape[:-1], strict=True))

    def _first_and_later(self, x: TensorSpec, *others: TensorSpec) -> tuple[tuple[Factor, ...], tuple[Factor, ...]]:
        """Return the steps that read a first state, and those that read the state of an earlier step."""
        if self.packed:
            batch = others[1].shape[1]
            return (("N", batch),), (("(rows-N)", x.shape[0] - batch),)
        steps = self._steps(x)
        batched = tuple(step for step in steps if step[0] == "N")
        return batched, tuple(step if step in batched else (f"({step[0]}-1)", step[1] - 1) for step in steps)

    def gradients(self, outputs: tuple[TensorSpec, ...], x: TensorSpec, *others: TensorSpec) -> tuple[Gradient, ...]:
        """The forward's product for each weight, and for what it multiplies.

        The state that a step reads depends on all that its layer read before; the first step's is given.
        """
        given = 1 + len(others) - len(self.computed)
        places = {role: given + i for i, role in enumerate(self.computed)}
        states = tuple(range(2 if self.packed else 1, given))
        tall = (("gates", GATES[self.kind]), ("hidden", self.hidden))
        every, (first, later) = self._steps(x), self._first_and_later(x, *others)
        found: list[Gradient] = []
        below: tuple[int | str, ...] = (0,)
        for layer in range(self.layers):
            reads = below
            for end in ("", "_reverse")[: self.directions]:
                own = {role: places.get(role, role) for role in self.roles if role.endswith(f"_l{layer}{end}")}
                name = f"l{layer}{end}"
                whole = (*reads, *states, *own.values())
                wide = ("width", self.width)
                read = Formula.product(*every, *tall, ("C_in", self._reads(layer, x)))
                found += [
                    Gradient(f"input of {name}", reads, read),
                    Gradient(f"weight_ih_{name}", (own[f"weight_ih_{name}"],), read),
                    Gradient(f"weight_hh_{name}", (own[f"weight_hh_{name}"],), Formula.product(*every, *tall, wide)),
                    Gradient(f"states of {name}", whole, Formula.product(*later, *tall, wide)),
                    Gradient(f"first state of {name}", states[:1], Formula.product(*first, *tall, wide)),
                ]
                if self.projection:
                    narrow = Formula.product(*every, tall[1], wide)
                    found.append(Gradient(f"weight_hr_{name}", (own[f"weight_hr_{name}"],), narrow))
                    found.append(Gradient(f"projected of {name}", whole, narrow))
                below = tuple(dict.fromkeys((*below, *whole)))
        return tuple(found)

    def to_torch(self, nn: Any, x: TensorSpec, *others: TensorSpec) -> Any:
        """`torch.nn.LSTM`, `GRU` or `RNN`; its states are a tuple beside the output."""
        options = {"batch_first": self.batch_first, "bidirectional": self.bidirectional, "bias": self.bias}
        sizes = (x.shape[-1], self.hidden, self.layers)
        if self.kind == "lstm":
            return nn.LSTM(*sizes, **options, proj_size=self.projection)
        if self.kind == "gru":
            return nn.GRU(*sizes, **options)
        return nn.RNN(*sizes, nonlinearity=self.kind.removeprefix("rnn_"), **options)
