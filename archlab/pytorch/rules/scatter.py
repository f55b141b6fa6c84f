"""Rules of what adds, multiplies or compares elements into places of another tensor, and of running extremes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from archlab.ir import TensorSpec
from archlab.pytorch.rules.common import counted

_KINDS = {"sum": "add", "add": "add", "mean": "add", "prod": "mul", "multiply": "mul", "amax": "cmp", "amin": "cmp"}


def _into(name: str, source: int, how: int | None = None) -> Callable[..., Any]:
    """Count one operation for each element of the source, which is argument number `source`; `how` names its kind."""

    def rule(r: Any, *args: Any, **named: Any) -> Any:
        given = [*args, *(v for k, v in named.items() if k not in ("alpha", "out", "include_self"))]
        reduce = named.get("reduce", given[how] if how is not None and how < len(given) else "sum")
        target, brought = r.spec(given[0]), given[source]
        times = r.spec(brought).numel if hasattr(brought, "shape") else r.spec(given[source - 1]).numel
        whole = [(_KINDS[reduce], times)]
        if named.get("alpha", 1) != 1:
            whole.append(("mul", times))
        if reduce == "mean":
            whole.append(("div", target.numel))
        return counted(r, name, given, (target,), (), tuple(whole))

    return rule


def _running(name: str) -> Callable[..., Any]:
    """`cummax` and `cummin`: each element is compared with the extreme so far; and where that was."""

    def rule(r: Any, input: Any, dim: Any = None, **_: Any) -> Any:
        import torch

        spec = r.spec(input)
        value = counted(r, name, [input], (spec,), (("cmp", 1),))
        where = counted(r, f"{name}_indices", [value], (TensorSpec(spec.shape, "int64"),), ())
        return getattr(torch.return_types, name)((value, where))

    return rule


def _with_mean(name: str) -> Callable[..., Any]:
    """`var_mean` and `std_mean`: the mean is on the way to the variance, and costs nothing more."""

    def rule(r: Any, input: Any, dim: Any = None, *rest: Any, keepdim: bool = False, **named: Any) -> Any:
        from archlab.pytorch.rules.elements import RULES as ELEMENTS

        keep = bool(rest[-1]) if rest and type(rest[-1]) is bool and len(rest) > 1 else keepdim
        spread = ELEMENTS[name](r, input, None if type(dim) is bool else dim, keepdim=keep)
        return spread, counted(r, "mean", [spread], (r.spec(spread),), ())

    return rule


def _aminmax(r: Any, input: Any, *, dim: Any = None, keepdim: bool = False, **_: Any) -> Any:
    import torch

    from archlab.pytorch.rules.elements import RULES as ELEMENTS

    both = tuple(ELEMENTS[name](r, input, dim, keepdim) for name in ("amin", "amax"))
    return torch.return_types.aminmax(both)


def _index_put(r: Any, input: Any, indices: Any, values: Any, accumulate: bool = False) -> Any:
    """A copy, unless it adds to what is there."""
    from archlab.pytorch.rules.layout import laid

    if not accumulate:
        return laid(r, "index_put", [input, values], (r.spec(input),), False)
    return counted(r, "index_put", [input, values], (r.spec(input),), (), (("add", r.spec(values).numel),))


RULES: dict[str, Callable[..., Any]] = {
    "index_add": _into("index_add", 3),
    "scatter_add": _into("scatter_add", 3),
    "index_reduce": _into("index_reduce", 3, 4),
    "scatter_reduce": _into("scatter_reduce", 3, 4),
    "index_put": _index_put,
    "cummax": _running("cummax"),
    "cummin": _running("cummin"),
    "var_mean": _with_mean("var"),
    "std_mean": _with_mean("std"),
    "aminmax": _aminmax,
}
