"""Models as targets: built without weights, fed what was asked for or their own default, and traced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from archlab.errors import UsageError
from archlab.ir import Graph, TensorSpec

if TYPE_CHECKING:
    from archlab.sources.target import Asked


def load_model(source: str, asked: Sequence[Asked], arguments: Mapping[str, Any], mode: str) -> Graph:
    """Return the trace of ``torchvision:NAME``, ``timm:NAME``, ``hf:TYPE`` or ``module:callable``.

    Inputs without a name go by position, those with one by keyword; what is asked for replaces the
    model's own default. Raises `UsageError` where there is none and none was given.
    """
    from archlab.pytorch.trace import trace

    model, positional, named = built(source, asked, arguments)
    return trace(model, mode=mode, inputs=(positional, named))


def built(
    source: str, asked: Sequence[Asked], arguments: Mapping[str, Any]
) -> tuple[Any, tuple[Any, ...], dict[str, TensorSpec]]:
    """Return a model, and its inputs by position and by name; raise as `load_model` does."""
    from archlab.pytorch.models import BUILDERS, module_model

    prefix, _, rest = source.partition(":")
    model, defaults = BUILDERS[prefix](rest, arguments) if prefix in BUILDERS else module_model(source, arguments)
    positional, named = _inputs(source, asked, defaults)
    if not positional and not named:
        raise UsageError(f"{source}: what does it read? give its input, such as --input 1x3x224x224")
    return model, tuple(positional), named


def _inputs(
    source: str, asked: Sequence[Asked], defaults: tuple[tuple[Any, ...], Mapping[str, TensorSpec]]
) -> tuple[list[Any], dict[str, TensorSpec]]:
    """Return what a model is given; a detector takes a list, and each tensor that is asked for is an image of it."""
    positional, named = list(defaults[0]), dict(defaults[1])
    listed = len(positional) == 1 and isinstance(positional[0], list)
    several: list[Any] = positional[0] if listed else positional
    place = 0
    for each in asked:
        if each.name:
            named[each.name] = each.spec(named.get(each.name), source)
        elif len(named) == 1 and not positional:
            (only,) = named
            named[only] = each.spec(named[only], source)
        else:
            old = several[place] if place < len(several) else None
            several[place : place + 1] = [each.spec(old, source, 3 if listed else 4)]
            place += 1
    return positional, named
