"""An oracle of peak memory: what storages are alive between the torch calls of a real run on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves


class Live(TorchFunctionMode):
    """Measures the largest sum of bytes of distinct storages that are alive as a torch call returns.

    Its arguments are alive then, what the kernel took for itself is not. `kept` are the model's own tensors.
    """

    def __init__(self, kept: Iterable[Tensor]) -> None:
        super().__init__()
        self.peak = 0
        self.at = ""
        self.log: list[tuple[str, int]] = []
        self._kept = {tensor.untyped_storage()._cdata for tensor in kept}
        self._seen: dict[int, tuple[StorageWeakRef, int]] = {}

    def look(self, made: Any, name: str) -> None:
        """Measure, with what was made among what may be alive."""
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                if storage._cdata not in self._kept:
                    known = self._seen.get(storage._cdata)
                    if known is None or known[0].expired():
                        self._seen[storage._cdata] = StorageWeakRef(storage), storage.nbytes()
        self._seen = {key: value for key, value in self._seen.items() if not value[0].expired()}
        now = sum(size for _, size in self._seen.values())
        self.log.append((name, now))
        if now > self.peak:
            self.peak, self.at = now, name

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        self.look(made, getattr(func, "__name__", str(func)))
        return made


def live(model: Callable[..., Any], *inputs: Tensor) -> Live:
    """Return what was alive while a model ran on the CPU, without gradients."""
    kept = [*model.parameters(), *model.buffers()] if isinstance(model, nn.Module) else []
    watch = Live(kept)
    watch.look(inputs, "inputs")
    with torch.no_grad(), watch:
        model(*inputs)
    return watch
