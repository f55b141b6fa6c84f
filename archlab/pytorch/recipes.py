"""Calls that look like one answered before are written down as that one was, without running their rule again.

A call looks like another when it is of the same function, its tensors have the same shapes, types and
strides, and all else is equal. Elements that are known steer what a rule does, so tensors that have them
are no part of this. What is remembered are immutable values alone: it holds for any model, and for any
later trace.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from archlab.ir import Op, TensorSpec
from archlab.pytorch.layouts import LARGEST, Home, settled
from archlab.pytorch.spy import TracedTensor


class Recipe(NamedTuple):
    """One step, with its inputs and weights by their places among the tensors of the call.

    `homes` are, for each output, the place of the tensor whose storage it lies in (-1: a new one) and its
    strides; None says that all are new and dense. `wrap` makes of several outputs what the call returns;
    None returns the only one as it is.
    """

    function: str
    op: Op
    inputs: tuple[int, ...]
    weights: tuple[tuple[str, int], ...]
    outputs: tuple[TensorSpec, ...]
    homes: tuple[Home, ...] | None
    wrap: Callable[[list[Any]], Any] | None


RECIPES: dict[Any, Recipe] = {}

_SCALARS = frozenset([int, float, bool, str, type(None), type(Ellipsis)])
_CONSTANTS = frozenset([torch.dtype, torch.device, torch.layout, torch.memory_format])
_LISTS = frozenset([tuple, list, torch.Size])


def _looks(r: Any, rule: Any, func: Any, args: Any, kwargs: Any) -> tuple[Any, list[Any]] | None:
    """Return what a call looks like, to compare with others, and its tensors; None where elements matter."""
    key: list[Any] = [rule, func, torch.get_default_dtype()]
    tensors: list[Any] = []
    for value in args:  # as `_enter` does, without a call for what most arguments are
        kind = type(value)
        if kind is TracedTensor:
            if value.known is not None and value.value is not None:
                return None
            spec = value.spec
            key += (spec.shape, spec.dtype, value.strides)
            tensors.append(value)
        elif kind in _SCALARS:
            key += (kind, value)
        elif (seen := r.seen.get(id(value))) is not None:
            key += seen
            tensors.append(value)
        elif not _enter(r, value, key, tensors):
            return None
    for name, value in kwargs.items():
        key.append(name)
        if not _enter(r, value, key, tensors):
            return None
    if not tensors:
        return None
    if len(tensors) > 1:
        ids = [id(tensor) for tensor in tensors]
        if len(set(ids)) < len(ids):
            key.append(tuple(map(ids.index, ids)))
    return tuple(key), tensors


def answered(r: Any, rule: Callable[..., Any], args: Any, kwargs: Any, func: Any = None) -> Any:
    """Return what a rule answers, by the recipe of a call that looks like this one if there is one.

    Where `func` is given, torch itself says in which storages and how its outputs lie; else they lie as
    the ops say, which holds for dense tensors.
    """
    seen = _looks(r, rule, func, args, kwargs)
    if seen is None:
        made = rule(r, *args, **kwargs)
        return made if func is None else settled(r, None, func, args, kwargs, made)
    key, tensors = seen
    recipe = RECIPES.get(key)
    if recipe is not None:
        return r.repeat(recipe, tensors)
    return _first(r, key, tensors, rule, args, kwargs, func)


def alike(r: Any, key: Any, tensors: list[Any], rule: Callable[..., Any], args: Any) -> Any:
    """Return what a rule answers to a call that `key` tells from all others, for its dense tensors."""
    recipe = RECIPES.get(key)
    if recipe is not None:
        return r.repeat(recipe, tensors)
    return _first(r, key, tensors, rule, args, {}, None)


def _first(r: Any, key: Any, tensors: list[Any], rule: Callable[..., Any], args: Any, kwargs: Any, func: Any) -> Any:
    """Return what a rule answers to the first call of its look, and remember how it was written down."""
    before, notes = len(r.steps), r.notes
    made = rule(r, *args, **kwargs)
    if func is not None:
        made = settled(r, key, func, args, kwargs, made)
    if r.notes == notes:  # what a rule notes beside its step, such as what it assumes, no recipe says
        _remember(r, key, tensors, before, made)
    return made


def _enter(r: Any, value: Any, key: list[Any], tensors: list[Any]) -> bool:
    """Enter an argument into the key; return whether it can be compared."""
    kind = type(value)
    if kind is TracedTensor:
        if value.known is not None and value.value is not None:
            return False
        spec = value.spec
        key += (spec.shape, spec.dtype, value.strides)
        tensors.append(value)
    elif kind in _SCALARS:
        key += (kind, value)
    elif kind in _LISTS:
        key += (kind, len(value))
        for item in value:
            item_kind = type(item)
            if item_kind in _SCALARS:
                key += (item_kind, item)
            elif not _enter(r, item, key, tensors):
                return False
    elif kind in _CONSTANTS:
        key.append(value)
    elif kind is slice:
        key.append(slice)
        return all(_enter(r, part, key, tensors) for part in (value.start, value.stop, value.step))
    elif (seen := r.seen.get(id(value))) is not None:
        key += seen
        tensors.append(value)
    else:
        return False
    return True


def _remember(r: Any, key: Any, tensors: list[Any], before: int, made: Any) -> None:
    """Remember what a call has written down since there were `before` steps, if a recipe can say it.

    It must be one step beside tensors first met, which reads the call's own tensors, and of which the
    call returns all outputs.
    """
    if not r.steps or len(r.steps) == before or any(not step.op.is_kept for step in r.steps[before:-1]):
        return
    flat, step, number = made if isinstance(made, (tuple, list)) else (made,), r.steps[-1], len(r.steps) - 1
    if [getattr(item, "ref", None) for item in flat] != [(number, i) for i in range(len(step.outputs))]:
        return
    if any(item.known is not None for item in flat):
        return  # elements of its own, such as the ones of `ones_like`, no recipe says
    refs = [_ref(r, tensor) for tensor in tensors]
    names = [None if type(tensor) is TracedTensor else r.names[id(tensor)] for tensor in tensors]
    if not all(ref in refs for ref in step.inputs) or not all(name in names for name in step.weights.values()):
        return
    inputs = tuple(refs.index(ref) for ref in step.inputs)
    weights = tuple((role, names.index(name)) for role, name in step.weights.items())
    homes = tuple([home for item in flat if (home := _home(r, tensors, item)) is not None])
    if len(homes) < len(flat):
        return
    placed = None if homes == _NEW * len(flat) else homes
    wrap = None if flat[0] is made else type(made)
    if len(RECIPES) >= LARGEST:
        RECIPES.clear()
    RECIPES[key] = Recipe(step.function, step.op, inputs, weights, step.outputs, placed, wrap)


_NEW = ((-1, None),)


def _home(r: Any, tensors: list[Any], made: TracedTensor) -> Home | None:
    """Return where an output lies; None where that is in no tensor of the call."""
    if made.root is None:
        return -1, made.strides
    for place, tensor in enumerate(tensors):
        twin = tensor if type(tensor) is TracedTensor else r.leaf(tensor)
        if twin is not None and twin.home is made.root:
            return place, made.strides
    return None


def _ref(r: Any, tensor: Any) -> Any:
    twin = tensor if type(tensor) is TracedTensor else r.leaf(tensor)
    return None if twin is None else twin.ref
