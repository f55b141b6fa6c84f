"""`Node`: one layer of a graph, with the references, parameters and origin that it carries."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from archlab.ir.op import Op
from archlab.ir.tensor import Shape, TensorSpec

Ref = tuple[str, int]
"""One output of a node: (node name, output index)."""


@dataclass(frozen=True, slots=True)
class Param:
    """A tensor that a graph keeps: a parameter, or a buffer (kept, not learned)."""

    shape: Shape
    dtype: str = "float32"
    trainable: bool = True
    buffer: bool = False
    spec: TensorSpec = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        spec = TensorSpec(self.shape, self.dtype)
        object.__setattr__(self, "spec", spec)
        object.__setattr__(self, "shape", spec.shape)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.init}


@dataclass(frozen=True, slots=True)
class Source:
    """Where a node came from; neither pricing nor equality look at it.

    `module` is the path of the module that ran it and `module_class` its class; `call` is the place of
    that call in `Graph.calls`, -1 outside of any; `function` is the outermost torch function, where a
    model finds it: ``torch.add``, ``functional.relu``, ``Tensor.mul`` (an operator such as ``*``, too).
    `file` and `line` are where the forward that ran it stands, "" and 0 unless a trace was asked to note them.
    """

    module: str = ""
    module_class: str = ""
    call: int = -1
    function: str = ""
    file: str = ""
    line: int = 0


@dataclass(frozen=True)
class Node:
    """One layer: an op, the tensors it reads, and the keys of the parameters it reads by role.

    A role that `weights` does not name belongs to this node alone, under its own name. The source of a
    traced node is made when it is first asked for. No gradient flows back into a `detached` node: the model
    ran it under `torch.no_grad`. `assumed` says what its elements, which control flow read, were taken to be.
    """

    name: str
    op: Op
    inputs: tuple[Ref, ...] = ()
    weights: Mapping[str, str] = field(default_factory=dict)
    train_only: bool = False
    source: Source | None = field(default_factory=lambda: None, compare=False)
    detached: bool = False
    assumed: str = ""

    @classmethod
    def assembled(
        cls,
        name: str,
        op: Op,
        inputs: tuple[Ref, ...],
        weights: Mapping[str, str],
        sources: Callable[[str], Source],
        detached: bool = False,
        assumed: str = "",
    ) -> Node:
        """Return a node whose source `sources` tells by its name, once somebody asks."""
        node = object.__new__(cls)
        fields = {
            "name": name,
            "op": op,
            "inputs": inputs,
            "weights": weights,
            "train_only": False,
            "_sources": sources,
            "detached": detached,
            "assumed": assumed,
        }
        object.__setattr__(node, "__dict__", fields)
        return node

    def __getattr__(self, name: str) -> Any:
        if name != "source" or "_sources" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        held = self.__dict__
        held["source"] = source = held.pop("_sources")(self.name)
        return source

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), tuple(getattr(self, f.name) for f in dataclasses.fields(self))

    def __hash__(self) -> int:
        return hash((self.name, self.op))

    @property
    def block(self) -> str:
        """The path in front of the last ``/``, or an empty string."""
        return self.name.rpartition("/")[0]

    def key(self, role: str) -> str:
        """Return the key of the parameter that it reads in a role."""
        return self.weights.get(role) or f"{self.name.replace('/', '.')}.{role}"

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data; what is as by default is left out."""
        op = {"type": type(self.op).__name__}
        op.update({f.name: getattr(self.op, f.name) for f in dataclasses.fields(self.op)})
        data: dict[str, Any] = {"name": self.name, "op": op, "inputs": [list(ref) for ref in self.inputs]}
        if self.weights:
            data["weights"] = dict(self.weights)
        if self.train_only:
            data["train_only"] = True
        if self.detached:
            data["detached"] = True
        if self.assumed:
            data["assumed"] = self.assumed
        if self.source is not None:
            data["source"] = dataclasses.asdict(self.source)
        return data
