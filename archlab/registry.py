"""Rules of one's own: what an op that archlab does not know computes, said by a function of shapes.

`rule` is all that a plug-in needs; plug-ins are found through the entry point group ``archlab.rules``.
"""

from __future__ import annotations

import operator
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from archlab.errors import ArchlabWarning, UsageError, nearest
from archlab.formula import Formula
from archlab.ir import OPERATION_CLASSES, TensorSpec

GROUP = "archlab.rules"
"""The entry point group of plug-ins; each names a module that registers rules, or a function that does."""

Specs = tuple[TensorSpec, ...]
Counts = Mapping[str, Formula]
_F = TypeVar("_F", bound=Callable[..., Any])


class Rule(NamedTuple):
    """The function that counts an op, and where it was defined."""

    name: str
    function: Callable[..., Any]
    where: str


_RULES: dict[str, Rule] = {}
_loaded = False


def rule(name: str, *, replace: bool = False) -> Callable[[_F], _F]:
    """Register what the op of that name computes: a function of (outputs, inputs, arguments).

    >>> @rule("mylib::scan")
    ... def scan(outputs, inputs, arguments):
    ...     (n, length, channels), = (x.shape for x in inputs)
    ...     return {"mac": Formula.product(("N", n), ("L", length), ("C", channels), ("state", arguments["state"]))}

    `outputs` and `inputs` are `TensorSpec`s of the tensors that it makes and reads, `arguments` all its
    arguments by name, defaults included, with a `TensorSpec` for each tensor. It returns operations of the
    whole call by class (mac, add, mul, div, exp, cmp), each a `Formula` or an int. The shapes come from the
    op's own fake kernel (`torch.library.register_fake`). Raises `UsageError` where the name is taken, unless
    `replace` says that this is meant.
    """
    if not isinstance(name, str) or not name or not name.isprintable():
        raise UsageError(f'a rule is for an op by its name, such as @archlab.rule("mylib::scan"), got {name!r}')
    name = name.removeprefix("aten::")

    def register(function: _F) -> _F:
        if not callable(function):
            raise UsageError(f"the rule for {name} must be a function, got {type(function).__name__}")
        new, old = Rule(name, function, _where(function)), _RULES.get(name)
        if old is not None and not replace and old.where != new.where:  # a module that is loaded again stays
            raise UsageError(f"{name} has a rule already ({old.where}), a second one is at {new.where}; drop one")
        _RULES[name] = new
        return function

    return register


def _where(function: Any) -> str:
    code = getattr(function, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code is not None else repr(function)


def forget(name: str) -> None:
    """Take a rule back; raise `UsageError` if there is none of that name."""
    if _RULES.pop(name.removeprefix("aten::"), None) is None:
        raise UsageError(f"there is no rule for {name}{nearest(name, _RULES)}")


def names() -> tuple[str, ...]:
    """Return the ops that have a rule of somebody's own, those of plug-ins included."""
    load_plugins()
    return tuple(_RULES)


def registered() -> Mapping[str, Rule]:
    """Return the rules registered so far, by op."""
    return _RULES


def find(name: str) -> Rule | None:
    """Return the rule for an op, None if there is none."""
    load_plugins()
    return _RULES.get(name)


def load_plugins() -> None:
    """Load the installed plug-ins, once. One that fails is said in a warning; its ops stay uncounted."""
    global _loaded  # noqa: PLW0603
    if _loaded:
        return
    _loaded = True
    from importlib.metadata import entry_points

    for entry in sorted(entry_points(group=GROUP), key=lambda e: e.name):
        before = {known.function for known in _RULES.values()}
        try:
            made = entry.load()
            if callable(made) and made not in before | {known.function for known in _RULES.values()}:
                made()
        except Exception as error:
            owner = f" of {entry.dist.name} {entry.dist.version}" if entry.dist is not None else ""
            what = " ".join(f"{type(error).__name__}: {error}".split())
            warnings.warn(
                f"plug-in {entry.name!r}{owner} failed, its ops are uncounted: {entry.value}: {what}",
                ArchlabWarning,
                stacklevel=2,
            )


def counts_by(rule: Rule, outputs: Specs, inputs: Specs, arguments: Mapping[str, Any]) -> Counts:
    """Return what a rule counts for a call; raise `UsageError` that names the rule where that is no count."""
    place = f"the rule for {rule.name} ({rule.where})"
    try:
        made = rule.function(outputs, inputs, arguments)
    except Exception as error:
        raise UsageError(f"{place} failed: {type(error).__name__}: {error}") from error
    if not isinstance(made, Mapping):
        raise UsageError(f"{place} returned {type(made).__name__}, not {{operation class: Formula or int}}")
    counts = {}
    for kind, count in made.items():
        if kind not in OPERATION_CLASSES:
            known = ", ".join(OPERATION_CLASSES)
            raise UsageError(f"{place} counts {kind!r}{nearest(str(kind), OPERATION_CLASSES)} (classes: {known})")
        counts[kind] = formula = _formula(count, f"{place} counts {kind}")
        if formula.value < 0:
            raise UsageError(f"{place} counts {formula.value} {kind}; a count cannot be negative")
    return counts


def _formula(count: Any, what: str) -> Formula:
    """Return a count as a formula of ints."""
    if isinstance(count, Formula):
        terms: Sequence[Any] = count.terms
        return Formula(*(tuple((str(name), _integer(size, what)) for name, size in term) for term in terms))
    return Formula.product(_integer(count, what))


def _integer(value: Any, what: str) -> int:
    try:
        if isinstance(value, bool):
            raise TypeError
        return operator.index(value)
    except TypeError:
        raise UsageError(f"{what} as {value!r}; a count is a Formula of integers or an int") from None
