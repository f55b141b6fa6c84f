"""Inputs of files whose shapes may be open: what the file says, what was asked for, and what that leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from archlab.errors import UsageError
from archlab.ir import TensorSpec

if TYPE_CHECKING:
    from archlab.sources.target import Asked

Open = tuple[int | str, ...]
"""A shape in which a text names a dimension that is not fixed; empty where nothing is known."""


def settle(where: str, known: Mapping[str, tuple[Open, str]], asked: Sequence[Asked]) -> dict[str, TensorSpec]:
    """Return the spec of each input: as asked for, else as the file says, where an open batch is 1.

    Raises `UsageError` with the option that is missing where another dimension is open.
    """
    given: dict[str, TensorSpec] = {}
    stand_ins = {name: TensorSpec(_closed(shape), dtype) for name, (shape, dtype) in known.items()}
    for each in asked:
        name, spec = next(iter(each.resolved(stand_ins, where).items()))
        if name not in known:
            inputs = ", ".join(known)
            raise UsageError(f"{each.option}{each.text}: {where} has no input {name!r} (its inputs: {inputs})")
        shape = known[name][0]
        if shape and len(spec.shape) != len(shape):
            raise UsageError(
                f"{each.option}{each.text}: {where}: {name} has {len(shape)} dimensions ({shown(shape)}), "
                f"got {len(spec.shape)}; write --input {name}={'x'.join(str(d) for d in _closed(shape))}"
            )
        if len(each.shape) < len(spec.shape) and isinstance(spec.shape[1], int) and not isinstance(shape[1], int):
            raise UsageError(f"{each.option}{each.text}: {where}: {name} is {shown(shape)}; give its whole shape")
        given[name] = spec
    for name, (shape, dtype) in known.items():
        if name in given:
            continue
        open_ = [d for d in shape[1:] if not isinstance(d, int)]
        if open_:
            example = "x".join(str(d if isinstance(d, int) else 1 if i == 0 else 224) for i, d in enumerate(shape))
            raise UsageError(
                f"{where}: the input {name!r} is {shown(shape)}, which leaves {', '.join(map(str, open_))} open; "
                f"say it: --input {name}={example}"
            )
        given[name] = TensorSpec(tuple(d if isinstance(d, int) else 1 for d in shape), dtype)
    return {name: given[name] for name in known}


def _closed(shape: Open) -> tuple[int, ...]:
    return tuple(d if isinstance(d, int) else 1 for d in shape)


def shown(shape: Open) -> str:
    """Return a shape as it is printed, such as ``batchx3x224x224``."""
    return "x".join(map(str, shape)) or "scalar"
