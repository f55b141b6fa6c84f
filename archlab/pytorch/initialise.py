"""Initialisations by name: a layer gets the same values for a seed, whatever else its network has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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


def initialise(model: nn.Module, scheme: str, seed: int) -> None:
    """Fill the parameters of every layer, in place, as a scheme says.

    Each layer first resets itself as torch does; then the scheme fills its weights of two or more
    dimensions and its biases become 0. Norms and embeddings stay as torch makes them. Draws from torch's
    global generators and leaves them moved.
    """
    fill = _FILL[scheme]
    for name, layer in model.named_modules():
        own = list(layer.parameters(recurse=False))
        if not own:
            continue
        torch.manual_seed(seed_of(seed, name))
        reset = getattr(layer, "reset_parameters", None) or getattr(layer, "_reset_parameters", None)
        if reset is not None:
            reset()
        if fill is None or isinstance(layer, nn.Embedding) or all(tensor.dim() < 2 for tensor in own):
            continue
        for tensor in own:
            if tensor.dim() >= 2:
                fill(tensor)
            else:
                nn.init.zeros_(tensor)


def seed_of(seed: int, name: str) -> int:
    """Return the seed of one layer, one input or one choice: drawn from its name, the same on every machine."""
    return int.from_bytes(blake2b(f"{seed} {name}".encode(), digest_size=7).digest())
