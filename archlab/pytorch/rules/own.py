"""Functions without a rule of ours: counted by a rule that somebody else registered, or listed as uncounted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map, tree_unflatten

from archlab import registry
from archlab.errors import TraceError, UsageError
from archlab.ir import Op, TensorSpec
from archlab.ops.general import Custom, Unknown
from archlab.pytorch.meta import load_kernels
from archlab.pytorch.spy import DTYPES, NAMES

_checked: set[str] = set()


def name_of(func: Any) -> str:
    """Return the name of a torch function; an op that is not ATen's has its namespace in front."""
    if isinstance(func, torch._ops.OpOverload):
        return func._schema.name.removeprefix("aten::")
    if isinstance(func, torch._ops.OpOverloadPacket):
        return func._qualified_op_name.removeprefix("aten::")
    return getattr(func, "__name__", str(func))


def check_names(known: Iterable[str]) -> None:
    """Raise `UsageError` if somebody's rule is for a function that archlab counts itself: it would be ignored."""
    for name, rule in registry.registered().items():
        if name not in _checked and name in known:
            raise UsageError(f"archlab counts {name} itself; the rule at {rule.where} would be ignored: drop it")
        _checked.add(name)


def on_meta(r: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """Return what torch's own meta kernel makes of a call, in tensors without elements."""

    def blank(value: Any) -> Any:
        if isinstance(value, Tensor):
            spec = r.spec(value)
            return torch.empty(spec.shape, dtype=DTYPES[spec.dtype], device="meta")
        if type(value) in (list, tuple):
            return type(value)(blank(item) for item in value)
        return torch.device("meta") if isinstance(value, torch.device) else value

    load_kernels()
    with torch._C.DisableTorchFunction():
        return func(*[blank(a) for a in args], **{k: blank(v) for k, v in kwargs.items()})


def unknown(r: Any, func: Any, name: str, args: Any, kwargs: Any) -> Any:
    """Write down a call that no rule counts."""

    def op(specs: Any, inputs: Any) -> Op:
        return Unknown(name, _seen(specs), tuple(x.shape for x in inputs))

    return _literal(r, func, name, args, kwargs, op)


def custom(r: Any, func: Any, rule: registry.Rule, args: Any, kwargs: Any) -> Any:
    """Write down a call that a rule of somebody's own counts."""
    named = _arguments(r, func, rule.name, args, kwargs)

    def op(specs: Any, inputs: Any) -> Op:
        counts = registry.counts_by(rule, specs, inputs, named)
        sums = tuple((kind, formula.terms) for kind, formula in counts.items())
        return Custom(rule.name, _seen(specs), tuple(x.shape for x in inputs), sums)

    return _literal(r, func, rule.name, args, kwargs, op)


def _seen(specs: Any) -> Any:
    return tuple((spec.shape, spec.dtype) for spec in specs)


def _literal(r: Any, func: Any, name: str, args: Any, kwargs: Any, op: Any) -> Any:
    """Record a call with the shapes that torch gives it; what it writes into stands for what it made."""
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    returned, layout = tree_flatten(_outcome(r, func, name, args, kwargs))
    at = [i for i, leaf in enumerate(returned) if isinstance(leaf, Tensor)]
    specs = [TensorSpec(tuple(returned[i].shape), NAMES[returned[i].dtype]) for i in at]
    targets = _written_by(func, name, args, kwargs)
    again = dict(zip(at, targets, strict=False)) if _returns_targets(func, name, args, kwargs) else {}
    made_specs = tuple(
        [spec for i, spec in zip(at, specs, strict=True) if i not in again] + [r.spec(t) for t in targets]
    )
    if not made_specs:
        return tree_unflatten(returned, layout)  # it makes no tensor and changes none: a question about one
    made = r.record(name, op(made_specs, tuple(r.spec(t) for t in tensors)), tensors, outputs=made_specs)
    several = list(made) if isinstance(made, tuple) else [made]
    for i in at:
        returned[i] = again[i] if i in again else several.pop(0)
    for target, new in zip(targets, several, strict=True):
        twin = r.traced(target)
        if twin is not target:
            r.overwrite(target)
        twin.ref, twin.value, twin.guessed = new.ref, None, frozenset()
    return tree_unflatten(returned, layout)


def _outcome(r: Any, func: Any, name: str, args: Any, kwargs: Any) -> Any:
    own = "::" in name
    try:
        if own and not any(isinstance(leaf, Tensor) for leaf in tree_leaves((args, kwargs))):
            from torch._subclasses import FakeTensorMode

            with torch._C.DisableTorchFunction(), FakeTensorMode():
                return func(*args, **kwargs)
        return on_meta(r, func, args, kwargs)
    except (NotImplementedError, RuntimeError) as error:
        if not own:
            raise
        why = str(error).splitlines()[0]
        raise TraceError(
            f"{name} gives no shape for tensors without elements ({why}); "
            f'register one: @torch.library.register_fake("{name}")'
        ) from error


def _schema(func: Any, name: str, args: Any, kwargs: Any) -> Any:
    """Return the first schema of a function that these arguments fit, None if torch knows none."""
    if isinstance(func, torch._ops.OpOverload):
        return func._schema
    qualified = name if "::" in name else f"aten::{name}"
    known = torch._C._jit_get_schemas_for_operator(qualified)
    return next((schema for schema in known if _fits(schema, args, kwargs)), None)


def _fits(schema: Any, args: Any, kwargs: Any) -> bool:
    """Return whether a call could be one of a schema: all arguments known, none missing, tensors in place."""
    named = {argument.name: argument for argument in schema.arguments}
    positional = [argument.name for argument in schema.arguments if not argument.kwarg_only]
    if len(args) > len(positional) or not kwargs.keys() <= named.keys():
        return False
    given = {**dict(zip(positional, args, strict=False)), **kwargs}
    if not all(name in given or argument.has_default_value() for name, argument in named.items()):
        return False
    takes = {name: str(argument.type) for name, argument in named.items()}
    return all(
        isinstance(v, Tensor) == (takes[k] == "Tensor") for k, v in given.items() if "Optional" not in takes[k]
    )


def _named(schema: Any, args: Any, kwargs: Any) -> dict[str, Any]:
    """Return all arguments of a call by name, defaults included."""
    named = {a.name: a.default_value for a in schema.arguments if a.has_default_value()}
    named.update({a.name: value for a, value in zip(schema.arguments, args, strict=False)})
    return {**named, **kwargs}


def _arguments(r: Any, func: Any, name: str, args: Any, kwargs: Any) -> Mapping[str, Any]:
    """Return what a rule sees of the arguments: by name, with a spec for each tensor."""
    schema = _schema(func, name, args, kwargs)
    named = _named(schema, args, kwargs) if schema is not None else {**dict(enumerate(args)), **kwargs}
    return tree_map(lambda v: r.spec(v) if isinstance(v, Tensor) else v, named)  # type: ignore[no-any-return]


def _written_by(func: Any, name: str, args: Any, kwargs: Any) -> list[Tensor]:
    """Return the tensors that a call writes into."""
    schema = _schema(func, name, args, kwargs)
    if schema is None:
        return [args[0]] if name.endswith("_") and args and isinstance(args[0], Tensor) else []
    written = {a.name for a in schema.arguments if a.alias_info is not None and a.alias_info.is_write}
    found = tree_leaves([value for key, value in _named(schema, args, kwargs).items() if key in written])
    return [value for value in found if isinstance(value, Tensor)]


def _returns_targets(func: Any, name: str, args: Any, kwargs: Any) -> bool:
    """Return whether what a call returns is what it writes into."""
    schema = _schema(func, name, args, kwargs)
    if schema is None:
        return name.endswith("_")
    return any(returned.alias_info is not None and returned.alias_info.is_write for returned in schema.returns)
