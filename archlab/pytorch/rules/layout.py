"""Rules of what arranges elements: views, slices, copies, casts, joins, and tensors made from nothing."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor

from archlab.ir import TensorSpec
from archlab.ops import Concat, Flatten, Reshape
from archlab.ops.general import Layout
from archlab.pytorch.rules.assumed import EVERYWHERE, number_for_caller
from archlab.pytorch.rules.names import COPIES, VIEWS
from archlab.pytorch.spy import NAMES, tensors_of


def arranged(r: Any, name: str, func: Callable[..., Any], args: Any, kwargs: Any, shares: bool) -> Any:
    """Record a layout whose shapes torch's meta kernel gives."""
    from archlab.pytorch.rules import by_meta

    made = by_meta(r, func, args, kwargs)
    if not isinstance(made, (TensorSpec, tuple)):
        return made
    tensors = [a for a in (*args, *kwargs.values()) if isinstance(a, Tensor)]
    for value in args:
        if isinstance(value, (list, tuple)):
            tensors.extend(item for item in value if isinstance(item, Tensor))
    return laid(r, name, tensors, made if isinstance(made, tuple) else (made,), shares, isinstance(made, tuple))


def laid(
    r: Any,
    name: str,
    tensors: Any,
    specs: tuple[TensorSpec, ...],
    shares: bool,
    several: bool = False,
) -> Any:
    """Record a layout that makes tensors of these specs."""
    saw = tuple(r.spec(t).shape for t in tensors)
    first = r.spec(tensors[0]).dtype if tensors else ""
    dtypes = tuple(["" if spec.dtype == first else spec.dtype for spec in specs])
    dtype: Any = dtypes if len(set(dtypes)) > 1 else dtypes[0]
    op = Layout(name, tuple(spec.shape for spec in specs), saw, dtype, shares)
    made = r.record(name, op, tensors, outputs=specs)
    return made if several is False or isinstance(made, tuple) else (made,)


def _reshape(r: Any, input: Any, *shape: Any, **kwargs: Any) -> Any:
    entries = kwargs.get(
        "shape", kwargs.get("size", shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape)
    )
    if isinstance(entries, torch.dtype):
        from archlab.pytorch.rules.layers import NotCoveredError

        raise NotCoveredError
    known = r.spec(input).shape
    relation: list[Any] = [int(e) for e in entries]
    for i, entry in enumerate(relation[: len(known)]):
        if entry != known[i] or entry == -1:
            break
        relation[i] = f"={i}"
    return r.record("reshape", Reshape(tuple(relation)), [input])


def _flatten(r: Any, input: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    return r.record("flatten", Flatten(start_dim, end_dim), [input])


def _cat(r: Any, tensors: Any, dim: int = 0, **kwargs: Any) -> Any:
    given = [t for t in tensors if r.spec(t).shape != (0,)] or list(tensors)
    return r.record("cat", Concat(kwargs.get("axis", dim)), given)


def _permute(name: str) -> Callable[..., Any]:
    def rule(r: Any, input: Any, *dims: Any, **kwargs: Any) -> Any:
        spec = r.spec(input)
        rank = len(spec.shape)
        if name == "permute":
            given = kwargs.get("dims", dims[0] if len(dims) == 1 and not isinstance(dims[0], int) else dims)
            order = [d % rank for d in given]
            if sorted(order) != list(range(rank)):
                raise RuntimeError(f"permute({tuple(given)}) names not each of the {rank} dimensions once")
        elif name == "t":
            order = list(range(rank))[::-1]
        else:
            a, b = (*dims, *kwargs.values())
            order = list(range(rank))
            if rank:
                order[a % rank], order[b % rank] = order[b % rank], order[a % rank]
        return laid(r, name, [input], (spec.reshaped(tuple(spec.shape[d] for d in order)),), True)

    return rule


def _unsqueeze(r: Any, input: Any, dim: int) -> Any:
    spec = r.spec(input)
    at = dim % (len(spec.shape) + 1)
    return laid(r, "unsqueeze", [input], (spec.reshaped((*spec.shape[:at], 1, *spec.shape[at:])),), True)


def _expand(r: Any, input: Any, *sizes: Any, **_: Any) -> Any:
    given = sizes[0] if len(sizes) == 1 and not isinstance(sizes[0], int) else sizes
    spec = r.spec(input)
    old = (1,) * (len(given) - len(spec.shape)) + spec.shape
    shape = tuple(o if s == -1 else int(s) for s, o in zip(given, old, strict=True))
    if any(o not in (1, s) for s, o in zip(shape, old, strict=True)):
        raise RuntimeError(f"{spec.shape} cannot be expanded to {shape}")
    return laid(r, "expand", [input], (spec.reshaped(shape),), True)


def _same(name: str, shares: bool) -> Callable[..., Any]:
    def rule(r: Any, input: Any, *_: Any, **__: Any) -> Any:
        if shares:
            return input
        return laid(r, name, [input], (r.spec(input),), False)

    return rule


def _to(r: Any, input: Any, *args: Any, **kwargs: Any) -> Any:
    spec, dtype = r.spec(input), None
    for value in (*args, *kwargs.values()):
        if isinstance(value, torch.dtype):
            dtype = NAMES[value]
        elif isinstance(value, Tensor):
            dtype = r.spec(value).dtype
    return input if dtype in (None, spec.dtype) else _cast(r, input, spec, dtype)


def _cast(r: Any, input: Any, spec: TensorSpec, dtype: Any) -> Any:
    return laid(r, "to", [input], (TensorSpec(spec.shape, dtype),), False)


def _typed(dtype: str) -> Callable[..., Any]:
    def rule(r: Any, input: Any, *_: Any, **__: Any) -> Any:
        spec = r.spec(input)
        return input if spec.dtype == dtype else _cast(r, input, spec, dtype)

    return rule


def _getitem(r: Any, input: Any, index: Any) -> Any:
    spec = r.spec(input)
    entries = index if isinstance(index, tuple) else (index,)
    simple = all(e is None or e is Ellipsis or (isinstance(e, (int, slice)) and type(e) is not bool) for e in entries)
    if not simple:
        return _advanced(r, input, entries)
    blank = torch.empty(spec.shape, dtype=torch.bool, device="meta")
    with torch._C.DisableTorchFunction():
        shape = tuple(blank[index].shape)
    return laid(r, "getitem", [input], (spec.reshaped(shape),), True)


def _advanced(r: Any, input: Any, entries: Any) -> Any:
    if len(entries) == 1 and isinstance(entries[0], Tensor) and r.spec(entries[0]).dtype in ("int64", "int32"):
        spec = r.spec(input)  # rows of a table
        return laid(
            r, "index", [input, entries[0]], (spec.reshaped((*r.spec(entries[0]).shape, *spec.shape[1:])),), False
        )
    tensors: list[Any] = [input]
    known: list[Any] = []
    taken = ""
    for entry in entries:
        if isinstance(entry, Tensor):
            twin = r.traced(entry)
            tensors.append(twin)
            if twin.spec.dtype in ("bool", "uint8"):
                # A mask stands for the places where it holds, one row of them for each of its dimensions.
                value = r.elements(twin)
                taken = EVERYWHERE if value is None else taken
                hits = twin.spec.numel if value is None else int(value.count_nonzero())
                known.extend(torch.empty(hits, dtype=torch.int64, device="meta") for _ in twin.spec.shape or (0,))
            else:
                known.append(torch.empty(twin.spec.shape, dtype=torch.int64, device="meta"))
        else:
            known.append(entry)
    spec = r.spec(input)
    with torch._C.DisableTorchFunction():
        shape = tuple(torch.empty(spec.shape, dtype=torch.bool, device="meta")[tuple(known)].shape)
    made = laid(r, "index", tensors, (spec.reshaped(shape),), False)
    if taken:
        r.rest(made, taken)
    return made


def _setitem(r: Any, input: Any, index: Any, value: Any) -> None:
    twin = r.traced(input)
    tensors = [twin, *([value] if isinstance(value, Tensor) else [])]
    made = r.record(
        "setitem", Layout("setitem", (twin.spec.shape,), tuple(r.spec(t).shape for t in tensors), "", True), tensors
    )
    if twin.value is not None:
        from archlab.pytorch.rules import _guesses, _is_known, _real

        if all(_is_known(r, t) for t in tensors_of((index, value), {})):
            with torch._C.DisableTorchFunction():
                twin.value[_real(index, r)] = _real(value, r)
            made.value = twin.value
            twin.guessed = frozenset().union(*[_guesses(r, t) for t in tensors_of((twin, index, value), {})])
    if twin is not input:
        r.overwrite(input)
    r.wrote(twin, made)


def _generic(name: str, shares: bool) -> Callable[..., Any]:
    def rule(r: Any, *args: Any, **kwargs: Any) -> Any:
        func = getattr(Tensor, name, None) or getattr(torch, name, None) or getattr(torch.nn.functional, name, None)
        if name.startswith("get "):
            func = attrgetter(name[4:])
        elif hasattr(torch, name) and args and isinstance(args[0], (list, tuple)):
            func = getattr(torch, name)
        if func is None:
            func = getattr(torch.ops.aten, name)
        made = arranged(r, name, func, args, {k: v for k, v in kwargs.items() if k != "out"}, shares)
        kind = getattr(torch.return_types, name, None)
        return made if kind is None or type(made) is not tuple else kind(made)

    return rule


def _unfold(r: Any, input: Any, *args: Any, **kwargs: Any) -> Any:
    """Torch has two: windows of one dimension, a view, and windows of an image, a copy."""
    if "dilation" in kwargs or "kernel_size" in kwargs:
        return arranged(r, "im2col", torch.nn.functional.unfold, (input, *args), kwargs, False)
    return arranged(r, "unfold", Tensor.unfold, (input, *args), kwargs, True)


def _numbers(kind: Callable[[Any], Any]) -> Callable[..., Any]:
    def rule(r: Any, input: Any, *args: Any) -> Any:
        twin = r.traced(input)
        value = r.elements(twin)
        if value is None and (number := number_for_caller(r, twin)) is not None:
            return kind(torch.tensor(number))
        if value is None:
            raise r.unknown("the elements of a tensor that the trace does not compute")
        return kind(value)

    return rule


RULES: dict[str, Callable[..., Any]] = {
    **{name: _generic(name, True) for name in VIEWS},
    **{name: _generic(name, False) for name in COPIES},
    **{f"get {name}": _generic(f"get {name}", True) for name in ("T", "mT", "H", "mH", "real", "imag")},
    "reshape": _reshape,
    "view": _reshape,
    "_unsafe_view": _reshape,
    "flatten": _flatten,
    "permute": _permute("permute"),
    "transpose": _permute("transpose"),
    "t": _permute("t"),
    "swapaxes": _permute("transpose"),
    "unsqueeze": _unsqueeze,
    "expand": _expand,
    "cat": _cat,
    "concat": _cat,
    "concatenate": _cat,
    **{name: _same(name, False) for name in ("roll", "flip", "fliplr", "flipud", "tril", "triu")},
    "contiguous": _same("contiguous", True),
    "clone": _same("clone", False),
    "alias": _same("alias", True),
    "requires_grad_": _same("requires_grad_", True),
    "cpu": _same("cpu", True),
    "cuda": _same("cuda", True),
    "to": _to,
    "type_as": _to,
    "_to_copy": _to,
    "type": _to,
    "float": _typed("float32"),
    "double": _typed("float64"),
    "half": _typed("float16"),
    "bfloat16": _typed("bfloat16"),
    "int": _typed("int32"),
    "long": _typed("int64"),
    "bool": _typed("bool"),
    "unfold": _unfold,
    "__getitem__": _getitem,
    "__setitem__": _setitem,
    "item": _numbers(lambda v: v.item()),
    "_local_scalar_dense": _numbers(lambda v: v.item()),
    "tolist": _numbers(lambda v: v.tolist()),
    "__bool__": _numbers(bool),
    "__int__": _numbers(int),
    "__index__": _numbers(lambda v: v.__index__()),
    "__float__": _numbers(float),
    "is_nonzero": _numbers(bool),
    "equal": lambda r, a, b: torch.equal(_numbers(lambda v: v)(r, a), _numbers(lambda v: v)(r, b)),
    "__iter__": lambda r, x: iter([_getitem(r, x, i) for i in range(r.spec(x).shape[0])]),
    "__contains__": lambda r, x, v: bool((_numbers(lambda t: t)(r, x) == v).any()),
}
