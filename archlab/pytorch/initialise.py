"""Initialisations by name: a layer gets the same values for a seed, whatever else its network has."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from hashlib import blake2b

import torch
from torch import Tensor, nn

_FILL: Mapping[str, Callable[[Tensor], object] | None] = {
    "default": None,
    "kaiming": lambda weight: nn.init.kaiming_normal_(weight, nonlinearity="relu"),
    "xavier": nn.init.xavier_uniform_,
    "gaussian": lambda weight: nn.init.normal_(weight, std=0.01),
}
"""What each of `archlab.gradients.INITIALISATIONS` does to the weights of a contraction; None leaves torch's own."""


TABLE = 0.02
"""The deviation of parameters that belong to no layer of torch, such as the positions of a transformer."""


def initialise(model: nn.Module, scheme: str, seed: int, tables: Container[str] = ()) -> None:
    """Fill the parameters of every layer, in place, as a scheme says.

    Each layer of torch first resets itself; then the scheme fills its weights of two or more dimensions and
    its biases become 0. Norms and embeddings stay as torch makes them. `tables` are the names of parameters
    outside of such layers that are drawn, too (see `tables_of`). Draws from torch's global generators and
    leaves them moved.
    """
    fill = _FILL[scheme]
    for name, layer in model.named_modules():
        own = dict(layer.named_parameters(recurse=False))
        if not own:
            continue
        torch.manual_seed(seed_of(seed, name))
        reset = _reset(layer)
        if reset is None:
            for role, tensor in own.items():
                if f"{name}.{role}".removeprefix(".") in tables:
                    nn.init.normal_(tensor, std=TABLE)
            continue
        reset()
        if fill is None or isinstance(layer, nn.Embedding) or all(tensor.dim() < 2 for tensor in own.values()):
            continue
        for tensor in own.values():
            if tensor.dim() >= 2:
                fill(tensor)
            else:
                nn.init.zeros_(tensor)


def tables_of(model: nn.Module) -> frozenset[str]:
    """Return the parameters of two or more dimensions that no layer resets and that are zeros as a model is built.

    A model draws these itself, such as its positions; a constructor that draws nothing leaves them 0. What
    it sets to something, such as the scale of a branch, is no such table.
    """
    return frozenset(
        f"{name}.{role}".removeprefix(".")
        for name, layer in model.named_modules()
        if _reset(layer) is None
        for role, tensor in layer.named_parameters(recurse=False)
        if tensor.dim() >= 2 and not bool(tensor.any())
    )


def _reset(layer: nn.Module) -> Callable[[], object] | None:
    found = getattr(layer, "reset_parameters", None) or getattr(layer, "_reset_parameters", None)
    return found if callable(found) else None


def seed_of(seed: int, name: str) -> int:
    """Return the seed of one layer, one input or one choice: drawn from its name, the same on every machine."""
    return int.from_bytes(blake2b(f"{seed} {name}".encode(), digest_size=7).digest())
