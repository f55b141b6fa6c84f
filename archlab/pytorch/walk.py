"""One walk over a model: the paths of its modules, its tensors by key, and what it must be put back to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import is_
from typing import Any, NamedTuple

from torch import Tensor, nn

_CALL = "_compiled_call_impl"
"""Where a module keeps what calls it in place of its own forward; `Module.compile` puts one there."""


class Place(NamedTuple):
    """A module in its model: its path and class, its own parameters by name, whether it has no children."""

    path: str
    kind: str
    parameters: tuple[tuple[str, str], ...]
    leaf: bool


_KINDS: dict[type, str] = {}


def _kind(cls: type) -> str:
    known = _KINDS.get(cls)
    if known is None:
        known = _KINDS[cls] = f"{cls.__module__}.{cls.__qualname__}"
    return known


class Walk:
    """What a model holds before a trace.

    `parameters` and `buffers` are the tensors by their first key.
    """

    def __init__(self, root: nn.Module | None) -> None:
        self.root = root
        self.parameters: dict[str, Tensor] = {}
        self.buffers: dict[str, Tensor] = {}
        self._seen: set[int] = set()
        self._modules: list[tuple[nn.Module, dict[str, Any], Place]] = []
        self._keys: dict[int, str] = {}
        self._before: list[tuple[dict[str, Any], dict[str, Any]]] = []
        if root is not None:
            self._visit("", root)

    def _visit(self, path: str, module: nn.Module) -> None:
        if id(module) in self._seen:
            return
        self._seen.add(id(module))
        prefix = f"{path}." if path else ""
        held = module.__dict__
        parameters, buffers, children = (
            held[name] if name in held else getattr(module, name) for name in ("_parameters", "_buffers", "_modules")
        )
        self._before.append((held, held.copy()))
        for inner in (parameters, buffers, children):
            if type(inner) is dict:
                self._before.append((inner, inner.copy()))
        self._enter(parameters, prefix, self.parameters)
        self._enter(buffers, prefix, self.buffers)
        own = tuple([(name, self._keys[id(tensor)]) for name, tensor in parameters.items() if tensor is not None])
        self._modules.append((module, held, Place(path, _kind(type(module)), own, not children)))
        for name, child in children.items():
            if child is not None:
                self._visit(prefix + name, child)

    def _enter(self, tensors: Mapping[str, Tensor | None], prefix: str, into: dict[str, Tensor]) -> None:
        for name, tensor in tensors.items():
            if tensor is not None and id(tensor) not in self._seen:
                self._seen.add(id(tensor))
                self._keys[id(tensor)] = prefix + name
                into[prefix + name] = tensor

    def train(self, training: bool) -> None:
        """Put the model into training or evaluation, if it is not there already."""
        if self.root is not None and any(held.get("training", training) is not training for held, _ in self._before):
            self.root.train(training)

    def listen(self, call: Callable[[nn.Module, Place], Any]) -> None:
        """Let each module be called through `call(module, place)`, until it is restored."""
        for module, held, place in self._modules:
            held[_CALL] = call(module, place)

    def restore(self) -> None:
        """Put every attribute, parameter, buffer and child back as it was."""
        for held, before in self._before:
            if _CALL in held and _CALL not in before:
                del held[_CALL]
            if len(held) != len(before) or not all(map(is_, held.values(), before.values())):
                held.clear()
                held.update(before)
