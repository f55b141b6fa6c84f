"""`Call`: one call of a module while a model was traced; what counts by module reads these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from archlab.ir.tensor import Shape

Specs = tuple[tuple[Shape, str], ...]
"""A shape and a dtype for each of several tensors."""
Keys = tuple[tuple[str, str], ...]
"""For each of several parameters its name in the module and its key in `Graph.params`."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a module, in the order in which calls began.

    `parent` is the place of the call that it was made in, -1 for none; `number` tells which call of its
    module it is, from 0. `inputs` and `outputs` are the tensors given and returned, nested ones too, in
    order. `parameters` are the module's own, those of its children left out; `leaf` tells whether it has
    no children.
    """

    path: str
    kind: str
    parent: int = -1
    number: int = 0
    inputs: Specs = ()
    outputs: Specs = ()
    parameters: Keys = ()
    leaf: bool = True

    @property
    def class_name(self) -> str:
        """The class without its module, such as ``Conv2d``."""
        return self.kind.rpartition(".")[2]

    def to_dict(self) -> Mapping[str, Any]:
        """Return it as plain data."""
        return {
            "path": self.path,
            "kind": self.kind,
            "parent": self.parent,
            "number": self.number,
            "inputs": [[list(shape), dtype] for shape, dtype in self.inputs],
            "outputs": [[list(shape), dtype] for shape, dtype in self.outputs],
            "parameters": [list(pair) for pair in self.parameters],
            "leaf": self.leaf,
        }
