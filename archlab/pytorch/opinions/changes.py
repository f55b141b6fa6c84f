"""What is different about a model and about torch after something ran on it."""

from __future__ import annotations

import io
import pickle
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

Change = tuple[str, str, str]
"""What kind of change, of what, and in which module."""

_KEPT_APART = ("_parameters", "_buffers", "_modules", "_non_persistent_buffers_set", "training")
_HOOKS = (
    "_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks",
    "_state_dict_hooks", "_state_dict_pre_hooks", "_load_state_dict_pre_hooks", "_load_state_dict_post_hooks",
)  # fmt: skip
_SIDE_TABLES = ("_forward_hooks_with_kwargs", "_forward_hooks_always_called", "_forward_pre_hooks_with_kwargs")
_NAMESPACES = {
    "torch": torch,
    "F": nn.functional,
    "Tensor": Tensor,
    "nn.init": nn.init,
    "nn.Module": nn.Module,
    "torch.jit": torch.jit,
}


class Snapshot:
    """A model, its tensors and torch's functions as they are now; `changes` says what is different later."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._modules = {path: _module_state(module) for path, module in model.named_modules()}
        self._keys = set(model.state_dict(keep_vars=True))
        self._tensors = _tensors(model)
        self._copies = {key: tensor.detach().clone() for key, tensor in self._tensors.items() if key[0] == "buffer"}
        self._grads = {key for key, tensor in self._tensors.items() if tensor.grad is not None}
        self._functions = _functions()
        self._global_hooks = _global_hooks()
        self._pickles = _pickles(model)
        self._gradients = torch.is_grad_enabled()

    def changes(self) -> set[Change]:
        """Return all that is different now."""
        return {*self._module_changes(), *self._tensor_changes(), *self._process_changes()}

    def _module_changes(self) -> Iterator[Change]:
        now = dict(self._model.named_modules())
        for path in self._modules.keys() ^ now.keys():
            yield ("modules added" if path in now else "modules removed"), path, ""
        for path in self._modules.keys() & now.keys():
            before, after = self._modules[path], _module_state(now[path])
            for name in sorted(after["attributes"].keys() - before["attributes"].keys()):
                yield "attributes added", name, path
            for name in sorted(before["attributes"].keys() - after["attributes"].keys()):
                yield "attributes removed", name, path
            for name in sorted(before["attributes"].keys() & after["attributes"].keys()):
                if not _alike(before["attributes"][name], after["attributes"][name]):
                    yield "attributes replaced", name, path
            for name in _HOOKS:
                if after[name] != before[name]:
                    kind = "hooks left" if len(after[name]) > len(before[name]) else "hooks changed"
                    yield kind, name.strip("_").removesuffix("s").replace("_", " "), path
            if before["training"] != after["training"]:
                yield "training flag changed", "now training" if after["training"] else "now in evaluation", path
            if before["class"] is not after["class"]:
                yield "class changed", after["class"].__name__, path

    def _tensor_changes(self) -> Iterator[Change]:
        keys = set(self._model.state_dict(keep_vars=True))
        for name in sorted(keys ^ self._keys):
            yield f"keys of the state dict {'added' if name in keys else 'removed'}", *_split(name)
        now = _tensors(self._model)
        for key in self._tensors.keys() & now.keys():
            kind, name = key
            place = _split(name)
            if now[key] is not self._tensors[key]:
                yield f"{kind}s replaced", *place
            elif kind == "buffer" and not _same(now[key], self._copies[key]):
                yield "buffers changed in value", *place
            if (now[key].grad is not None) != (key in self._grads):
                yield "gradients left", *place

    def _process_changes(self) -> Iterator[Change]:
        functions = _functions()
        for name, function in self._functions.items():
            if functions.get(name) is not function and not _from_torch(functions.get(name)):
                yield "functions left replaced", name, ""
        if _global_hooks() != self._global_hooks:
            yield "hooks left", "for every module", ""
        if self._pickles and not _pickles(self._model):
            yield "no longer pickles", "", ""
        if torch.is_grad_enabled() != self._gradients:
            yield "gradients switched", "on" if torch.is_grad_enabled() else "off", ""


def sentences(changes: Iterable[Change]) -> tuple[str, ...]:
    """Return changes in words, those of one kind and name together: ``attributes added: total_ops (53 modules)``."""
    places: dict[tuple[str, str], list[str]] = defaultdict(list)
    for kind, name, path in changes:
        places[kind, name].append(path)
    names: dict[tuple[str, tuple[str, ...]], list[str]] = defaultdict(list)
    for (kind, name), paths in sorted(places.items()):
        names[kind, tuple(sorted(paths))].append(name)
    said = []
    for (kind, at), found in names.items():
        shown = ", ".join(found[:6]) + (f" and {len(found) - 6} more" if len(found) > 6 else "")
        where = f" ({len(at)} modules)" if len(at) > 1 else f" (in {at[0]})" if at[0] else ""
        said.append(f"{kind}: {shown}{where}" if shown else kind)
    return tuple(said)


def _module_state(module: nn.Module) -> dict[str, Any]:
    skipped = {*_KEPT_APART, *_HOOKS, *_SIDE_TABLES}
    state: dict[str, Any] = {name: list(module.__dict__.get(name, ())) for name in _HOOKS}
    state["attributes"] = {name: value for name, value in module.__dict__.items() if name not in skipped}
    state["training"], state["class"] = module.training, type(module)
    return state


def _alike(a: Any, b: Any) -> bool:
    """Return whether two values are the same thing, or plain data or lists of the same things."""
    if a is b or type(a) is not type(b):
        return a is b
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(_alike, a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_alike(a[key], b[key]) for key in a)
    return isinstance(a, (bool, int, float, str, bytes)) and a == b


def _tensors(model: nn.Module) -> dict[tuple[str, str], Tensor]:
    parameters = {("parameter", name): tensor for name, tensor in model.named_parameters()}
    return {**parameters, **{("buffer", name): tensor for name, tensor in model.named_buffers()}}


def _split(key: str) -> tuple[str, str]:
    path, _, name = key.rpartition(".")
    return name, path


def _same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and bool(torch.equal(torch.nan_to_num(a), torch.nan_to_num(b)))


def _functions() -> dict[str, Any]:
    """Return the functions and methods that tools are known to replace, by the name a reader knows them by."""
    return {
        f"{label}.{name}": value
        for label, space in _NAMESPACES.items()
        for name, value in vars(space).items()
        if callable(value) and (not name.startswith("__") or name == "__call__")
    }


def _from_torch(function: Any) -> bool:
    """Return whether torch itself put a function there, as its compiler does when it is first loaded."""
    home = getattr(function, "__globals__", None)
    module = home.get("__name__", "") if home is not None else type(function).__module__
    return str(module).partition(".")[0] == "torch"


def _global_hooks() -> list[int]:
    module = nn.modules.module
    return [len(value) for name, value in sorted(vars(module).items()) if name.startswith("_global_") and value]


def _pickles(model: nn.Module) -> bool:
    try:
        _Structure(io.BytesIO()).dump(model)
    except Exception:
        return False
    return True


class _Structure(pickle.Pickler):
    """Pickles all but the elements of tensors."""

    def persistent_id(self, item: Any) -> Any:
        return id(item) if isinstance(item, Tensor) else None
