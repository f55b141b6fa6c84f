"""Rules of discrete Fourier transforms, counted as the radix-2 algorithm: n/2·log₂ n butterflies.

A butterfly is a complex product and two complex sums, mul 4 and add 6; a transform of real numbers takes half.
A length that is no power of two counts with its logarithm rounded up. None of it is a MAC.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import torch

from archlab.pytorch.rules.common import counted

_SIDES = {"fft_fft2": 2, "fft_ifft2": 2, "fft_rfft2": 2, "fft_irfft2": 2}


def butterflies(numel: int, lengths: list[int]) -> int:
    """Return how many there are in transforms of `numel` elements in all, along axes of these lengths."""
    return sum(numel * (length - 1).bit_length() // 2 for length in lengths if length > 1)


def _transform(name: str) -> Callable[..., Any]:
    """Any of the family: by its name one axis, two or several; from or to real numbers."""
    func = getattr(torch.ops.aten, name)
    real = "rfft" in name or "hfft" in name

    def rule(r: Any, input: Any, n: Any = None, dim: Any = None, norm: Any = None, **named: Any) -> Any:
        from archlab.pytorch.rules import by_meta

        n = named.get("s", n)
        given = {"dim": dim} if dim is not None else {}
        made = by_meta(r, func, (input, n), {**given, "norm": norm})
        rank = len(made.shape)
        axes = list(range(rank)) if name.endswith("fftn") and dim is None and n is None else None
        if axes is None:
            several = name.endswith(("fftn", "fft2"))
            last = _SIDES.get(name, len(n) if isinstance(n, (list, tuple)) else 1)
            chosen = dim if dim is not None else list(range(-last, 0)) if several else -1
            axes = [chosen] if isinstance(chosen, int) else list(chosen)
        before = r.spec(input).shape
        sizes = [max(made.shape[axis], before[axis]) for axis in axes]  # the half that symmetry spares is one side
        others = prod(d for i, d in enumerate(made.shape) if i not in {axis % rank for axis in axes})
        count = butterflies(others * prod(sizes), sizes) // (2 if real else 1)
        return counted(r, name, [input], (made,), (), (("mul", 4 * count), ("add", 6 * count)))

    return rule


def _stft(
    r: Any,
    input: Any,
    n_fft: int,
    hop_length: Any = None,
    win_length: Any = None,
    window: Any = None,
    *args: Any,
    **named: Any,
) -> Any:
    """Frames of `n_fft` elements, each times the window, and their transforms."""
    from archlab.pytorch.rules import by_meta

    made = by_meta(r, torch.stft, (input, n_fft, hop_length, win_length, window, *args), named)
    frames = made.numel // (n_fft // 2 + 1) if made.shape[-2] != n_fft else made.numel // n_fft
    count = butterflies(frames * n_fft, [n_fft]) // (2 if made.shape[-2] != n_fft else 1)
    weighed = frames * n_fft if window is not None else 0
    return counted(r, "stft", [input, window], (made,), (), (("mul", 4 * count + weighed), ("add", 6 * count)))


_NAMES = ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft")
RULES: dict[str, Callable[..., Any]] = {
    **{f"fft_{name}{axes}": _transform(f"fft_{name}{axes}") for name in _NAMES for axes in ("", "2", "n")},
    "stft": _stft,
}
