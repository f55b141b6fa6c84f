"""One walk over a model: the paths of its modules, its tensors by key, and what it must be put back to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from operator import is_
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from archlab.errors import TraceError
from archlab.ir import Param, is_floating
from archlab.pytorch.spy import NAMES

_CALL = "_compiled_call_impl"
"""Where a module keeps what calls it in place of its own forward; `Module.compile` puts one there."""


class Place:
    """A module in its model: its path and class, its own parameters by name, whether it has no children.

    `places` tells in how many parents the model has it.
    """

    __slots__ = ("kind", "leaf", "parameters", "path", "places")

    def __init__(self, path: str, kind: str, parameters: tuple[tuple[str, str], ...], leaf: bool) -> None:
        self.path, self.kind, self.parameters, self.leaf = path, kind, parameters, leaf
        self.places = 1


@lru_cache(maxsize=4096)
def _kind(cls: Any) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


@lru_cache(maxsize=8192)
def _param(shape: tuple[int, ...], dtype: torch.dtype, trainable: bool, buffer: bool) -> Param:
    return Param(tuple(shape), NAMES[dtype], trainable, buffer)


_COLLECTIONS = frozenset([dict, list, set])


class Walk:
    """What a model holds before a trace.

    `params` are its parameters, then its buffers, by their first key; `keys` are those keys by the id of
    the tensor. `seen` is, by the id, what a rule may see of one whose elements it never reads.
    """

    def __init__(self, root: nn.Module | None) -> None:
        self.root = root
        self.params: dict[str, Param] = {}
        self.keys: dict[int, str] = {}
        self.seen: dict[int, tuple[Any, ...]] = {}
        self.first: Tensor | None = None
        self._buffers: dict[str, Param] = {}
        self._places: dict[int, Place] = {}
        self._modules: list[tuple[nn.Module, dict[str, Any], Place]] = []
        self._before: list[tuple[dict[Any, Any], dict[Any, Any]]] = []
        self._collections: list[tuple[Any, Any]] = []
        self._empty: list[Any] = []
        if root is not None:
            self._visit("", root)
            self.params.update(self._buffers)

    def _visit(self, path: str, module: nn.Module) -> None:
        prefix = f"{path}." if path else ""
        held = module.__dict__
        if "_parameters" in held:
            parameters, buffers, children = held["_parameters"], held["_buffers"], held["_modules"]
        else:  # a scripted module answers for its own
            parameters, buffers, children = module._parameters, module._buffers, module._modules
        before = self._before
        before.append((held, held.copy()))
        # Parameters, buffers, children, and what a forward may collect.
        for inner in [value for value in held.values() if type(value) in _COLLECTIONS]:
            if not inner:
                self._empty.append(inner)
            elif type(inner) is dict:
                before.append((inner, inner.copy()))
            else:
                self._collections.append((inner, inner.copy()))
        own = self._learned(parameters, prefix) if parameters else ()
        if buffers:
            self._kept(buffers, prefix)
        cls: Any = type(module)
        place = self._places[id(module)] = Place(path, _kind(cls), own, not children)
        self._modules.append((module, held, place))
        if not children:
            return
        met: set[int] = set()
        for name, child in children.items():
            if child is None or id(child) in met:
                continue
            met.add(id(child))
            if id(child) in self._places:
                self._meet_again(child)
            else:
                self._visit(prefix + name, child)

    def _meet_again(self, module: nn.Module) -> None:
        self._places[id(module)].places += 1
        for child in module.children():
            self._meet_again(child)

    def _learned(self, tensors: Mapping[str, Tensor | None], prefix: str) -> tuple[tuple[str, str], ...]:
        """Enter a module's own parameters; return their names in it with their keys in the model."""
        keys, own = self.keys, []
        for name, tensor in tensors.items():
            if tensor is None:
                continue
            key = keys.get(id(tensor))
            if key is None:
                key = keys[id(tensor)] = prefix + name
                if is_lazy(tensor):
                    raise TraceError(f"{key} has no shape yet; call the model once on real input before it is traced")
                param = self.params[key] = _param(tensor.shape, tensor.dtype, tensor.requires_grad, False)
                if tensor.layout is torch.strided:
                    self.seen[id(tensor)] = (Param, param.shape, param.dtype)
                if self.first is None:
                    self.first = tensor
            own.append((name, key))
        return tuple(own)

    def _kept(self, tensors: Mapping[str, Tensor | None], prefix: str) -> None:
        for name, tensor in tensors.items():
            if tensor is not None and id(tensor) not in self.keys:
                key = self.keys[id(tensor)] = prefix + name
                param = self._buffers[key] = _param(tensor.shape, tensor.dtype, False, True)
                if tensor.layout is torch.strided and (not param.shape or is_floating(param.dtype)):
                    self.seen[id(tensor)] = (Tensor, param.shape, param.dtype)

    def _turn(self, training: bool) -> None:
        assert self.root is not None
        try:
            self.root.train(training)
        except NotImplementedError:  # an exported program is what it was exported as
            return

    def train(self, training: bool) -> None:
        """Put the model into training or evaluation, if it is not there already."""
        if self.root is None:
            return
        for _, held, _ in self._modules:
            if held.get("training", training) is not training:
                self._turn(training)
                return

    def listen(self, call: Callable[[nn.Module, Place], Any]) -> None:
        """Let each module be called through `call(module, place)`, until it is restored."""
        for module, held, place in self._modules:
            held[_CALL] = call(module, place)

    def restore(self) -> None:
        """Put every attribute, parameter, buffer and child back as it was, and what an attribute collects."""
        for held, before in self._before:
            if _CALL in held and _CALL not in before:
                del held[_CALL]
            if len(held) != len(before) or not all(map(is_, held.values(), before.values())):
                held.clear()
                held.update(before)
        for held in self._empty:
            if held:
                held.clear()
        for held, before in self._collections:
            if len(held) != len(before) or not all(map(is_, held, before)):
                held.clear()
                (held.extend if type(held) is list else held.update)(before)
