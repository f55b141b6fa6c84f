"""Inputs of files whose shapes may be open: what the file says, what was asked for, and what that leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from archlab.errors import UsageError
from archlab.ir import TensorSpec

if TYPE_CHECKING:
    from archlab.sources.target import Asked

Open = tuple[int | str, ...]
"""A shape in which a text names a dimension that is not fixed."""


def settle(
    where: str,
    known: Mapping[str, tuple[Open | None, str]],
    asked: Sequence[Asked],
    advice: Mapping[str, str] | None = None,
) -> dict[str, TensorSpec]:
    """Return the spec of each input: as asked for, else as the file says, where an open batch is 1.

    The shape of an input is None where the file says nothing of it; `advice` is what to write then.
    Raises `UsageError` with the option that is missing where another dimension is open.
    """
    given: dict[str, TensorSpec] = {}
    stand_ins = {name: TensorSpec(_closed(shape or ()), dtype) for name, (shape, dtype) in known.items()}
    for each in asked:
        ((name, spec),) = each.resolved(stand_ins, where).items()
        if name not in known:
            raise UsageError(
                f"{each.option}{each.text}: {where} has no input {name!r} (its inputs: {', '.join(known)})"
            )
        given[name] = _fitting(each, where, name, known[name][0], spec)
    for name, (shape, dtype) in known.items():
        if name not in given:
            given[name] = _told(where, name, shape, dtype, (advice or {}).get(name, "1x3x224x224"))
    return {name: given[name] for name in known}


def _fitting(each: Asked, where: str, name: str, shape: Open | None, spec: TensorSpec) -> TensorSpec:
    """Return what was asked for, if the input has as many dimensions."""
    at = f"{each.option}{each.text}: {where}: {name}"
    if shape is None:
        return spec
    if len(spec.shape) != len(shape):
        example = "x".join(map(str, _closed(shape)))
        raise UsageError(
            f"{at} has {len(shape)} dimensions ({shown(shape)}), got {len(spec.shape)}; "
            f"write --input {name}={example}"
        )
    if len(each.shape) < len(spec.shape) and not isinstance(shape[1], int):
        raise UsageError(f"{at} is {shown(shape)}; give its whole shape")
    return spec


def _told(where: str, name: str, shape: Open | None, dtype: str, advice: str) -> TensorSpec:
    """Return what the file says of an input."""
    if shape is None:
        raise UsageError(
            f"{where}: the file does not say the shape of {name!r}; give it, such as --input {name}={advice}"
        )
    open_ = [d for d in shape[1:] if not isinstance(d, int)]
    if open_:
        example = "x".join(str(d if isinstance(d, int) else 1 if i == 0 else 224) for i, d in enumerate(shape))
        raise UsageError(
            f"{where}: the input {name!r} is {shown(shape)}, which leaves {', '.join(map(str, open_))} open; "
            f"say it: --input {name}={example}"
        )
    return TensorSpec(_closed(shape), dtype)


def _closed(shape: Open) -> tuple[int, ...]:
    return tuple(d if isinstance(d, int) else 1 for d in shape)


def shown(shape: Open) -> str:
    """Return a shape as it is printed, such as ``batchx3x224x224``."""
    return "x".join(map(str, shape)) or "scalar"
