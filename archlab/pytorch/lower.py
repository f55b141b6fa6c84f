"""`lower`: a graph as an `nn.Module` with the graph's own names, shapes, sharing and lifetimes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from archlab.errors import UsageError
from archlab.ir import Graph, Node, Param, Ref, is_floating
from archlab.pytorch import modules

Path = tuple[str, ...]
"""Where a module lies: the names from the root down."""


class _Shared(NamedTuple):
    """A tensor that a node reads under a key that is not its own: its role, and which module keeps it."""

    role: str
    home: Path
    name: str


class _Step(NamedTuple):
    """One call: the module, what it reads and writes, and which tensors nobody reads afterwards."""

    module: Path
    inputs: tuple[Ref, ...]
    outputs: tuple[Ref, ...]
    shared: tuple[_Shared, ...]
    dead: tuple[Ref, ...]


class _Plan(NamedTuple):
    """The calls of one mode, in order, and what they return."""

    steps: tuple[_Step, ...]
    outputs: tuple[Ref, ...]


def lower(graph: Graph, device: Any = None) -> LoweredGraph:
    """Return a module that computes the graph, its parameters initialised as torch does by default.

    `named_parameters()` and `named_buffers()` give the keys of `graph.params`. On the device
    ``"meta"`` nothing is allocated. The module is in training mode, as every new module; `eval()` it.
    """
    return LoweredGraph(graph, device)


class LoweredGraph(nn.Module):
    """A graph that runs: node ``a/b`` is the submodule ``a.b``, and each node is one module call.

    Inputs come in the order of `graph.inputs`. In training the outputs are `graph.outputs`; in
    evaluation train-only nodes do not run and what they make is not returned. One output is
    returned bare, several as a tuple. A tensor is freed after its last reader.
    """

    def __init__(self, graph: Graph, device: Any = None) -> None:
        super().__init__()
        inference = graph.in_mode("inference")
        nodes = {_path(node): node for node in graph.nodes if not node.op.is_input}
        for path, node in nodes.items():
            if "training" in path:
                raise UsageError(
                    f"{graph.name}: {node.name}: torch keeps the name 'training' for itself; rename the layer"
                )
        with nullcontext() if device is None else torch.device(device):
            leaves = {path: _module(graph, node) for path, node in nodes.items()}
            tensors = _take_tensors(nodes, leaves, graph.params)
        self.graph = graph
        self._input_refs = tuple((name, 0) for name in graph.inputs)
        self._plans = {
            True: _Plan(_steps(graph, graph.outputs, graph.nodes), graph.outputs),
            False: _Plan(_steps(graph, inference.outputs, inference.nodes), inference.outputs),
        }
        # Modules and tensors are entered below torch's setters: these forbid names such as "double" or
        # "weight", which are good names for nodes.
        for path in leaves:
            _grow(self, path, leaves)
        for key, tensor in tensors.items():
            home, name = _home(key)
            keeper = _grow(self, home, leaves)
            store: dict[str, Any] = keeper._parameters if isinstance(tensor, nn.Parameter) else keeper._buffers
            store[name] = tensor
        for step in self._plans[True].steps:
            self._share(step)

    def forward(self, *inputs: Tensor) -> Any:
        """Return the outputs; raise `UsageError` for another number of inputs than the graph has."""
        if len(inputs) != len(self._input_refs):
            names = ", ".join(name for name, _ in self._input_refs)
            raise UsageError(f"{self.graph.name} takes {len(self._input_refs)} input(s) ({names}), got {len(inputs)}")
        plan = self._plans[self.training]
        values: dict[Ref, Tensor] = dict(zip(self._input_refs, inputs, strict=True))
        for step in plan.steps:
            self._share(step)
            made = _at(self, step.module)(*[values[ref] for ref in step.inputs])
            values.update(zip(step.outputs, made if len(step.outputs) > 1 else (made,), strict=True))
            del made  # or it would outlive its last reader by one call
            for ref in step.dead:
                del values[ref]
        outputs = tuple(values[ref] for ref in plan.outputs)
        return outputs[0] if len(outputs) == 1 else outputs

    def layer(self, name: str) -> nn.Module:
        """Return the module of a node, by the node's name; raise `UsageError` for an unknown one."""
        return _at(self, _path(self.graph.node(name)))

    def _share(self, step: _Step) -> None:
        """Hand a module the tensors that others keep: anew for each call, as `to()` may have replaced them."""
        for role, home, name in step.shared:
            keeper = _at(self, home)
            held = keeper._parameters.get(name)
            _at(self, step.module).__dict__[role] = keeper._buffers.get(name) if held is None else held


def _module(graph: Graph, node: Node) -> nn.Module:
    """Return the module of a node; raise `UsageError` for an op that only a trace can write down."""
    op: Any = node.op
    try:
        if getattr(op, "computed", ()):
            raise NotImplementedError(f"{type(op).__name__} with computed weights")
        module: nn.Module = op.to_torch(modules, *graph.input_specs(node))
    except NotImplementedError as error:
        what = f"{type(op).__name__} ({op.function})" if hasattr(op, "function") else str(error)
        raise UsageError(f"{graph.name}: {node.name}: a traced {what} cannot be lowered yet") from None
    return module


def _path(node: Node) -> Path:
    return tuple(node.name.split("/"))


def _home(key: str) -> tuple[Path, str]:
    """Return where the tensor of that key is kept, and its name there."""
    *path, name = key.split(".")
    return tuple(path), name


def _at(root: nn.Module, path: Path) -> nn.Module:
    """Return the module at a path, looked up anew so that one put in its place by a caller is found."""
    for part in path:
        child = root._modules[part]
        assert child is not None
        root = child
    return root


def _grow(root: nn.Module, path: Path, leaves: Mapping[Path, nn.Module]) -> nn.Module:
    """Return the module at a path, made where it is missing: a node's own (which may hold others) or a container."""
    for depth, part in enumerate(path, 1):
        if part not in root._modules:
            leaf = leaves.get(path[:depth])
            root._modules[part] = nn.Module() if leaf is None else leaf
        root = _at(root, (part,))
    return root


def _take_tensors(
    nodes: Mapping[Path, Node], leaves: Mapping[Path, nn.Module], params: Mapping[str, Param]
) -> dict[str, Tensor]:
    """Take the tensors that nodes read out of their modules, and return one for each key of the graph.

    The first reader gives a tensor its values, and its shape: torch's own, never the graph's, so that a
    comparison of the two means something. What no node reads is zeros.
    """
    taken: dict[str, Tensor] = {}
    read = set()
    for path, node in nodes.items():
        for role, key in node.weights.items():
            read.add(key)
            leaf = leaves[path]
            store: dict[str, Any] = leaf._parameters if role in leaf._parameters else leaf._buffers
            tensor = store.pop(role, None)
            if tensor is not None:
                taken.setdefault(key, tensor)
    for key, param in params.items():
        if key in taken or key not in read:
            dtype = getattr(torch, param.dtype)
            tensor = taken[key].detach().to(dtype) if key in taken else torch.zeros(param.shape, dtype=dtype)
            if not param.buffer:
                tensor = nn.Parameter(tensor, requires_grad=param.trainable and is_floating(param.dtype))
            taken[key] = tensor
    return taken


def _steps(graph: Graph, outputs: Iterable[Ref], nodes: Iterable[Node]) -> tuple[_Step, ...]:
    """Return the calls of these nodes in order, each with the tensors it reads last."""
    run = [node for node in nodes if not node.op.is_input]
    last: dict[Ref, str] = {}
    for node in run:
        made = [(node.name, index) for index in range(len(graph.specs[node.name]))]
        last.update(dict.fromkeys([*node.inputs, *made], node.name))
    kept = {*outputs, *((name, 0) for name in graph.inputs)}
    dead: dict[str, list[Ref]] = {}
    for ref, name in last.items():
        if ref not in kept:
            dead.setdefault(name, []).append(ref)
    steps = []
    for node in run:
        path = _path(node)
        homes = {role: _home(key) for role, key in node.weights.items()}
        shared = tuple(_Shared(role, *home) for role, home in homes.items() if home != (path, role))
        refs = tuple((node.name, index) for index in range(len(graph.specs[node.name])))
        steps.append(_Step(path, node.inputs, refs, shared, tuple(dead.get(node.name, ()))))
    return tuple(steps)
