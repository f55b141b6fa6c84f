"""Rules of matrix products, dense, sparse, quantised and by Einstein's notation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from archlab.ir import TensorSpec
from archlab.ops import Linear, MatMul
from archlab.ops.pointwise import broadcast
from archlab.pytorch.rules.common import NotCoveredError, counted, keep


def linear(r: Any, input: Any, weight: Any, bias: Any = None) -> Any:
    """Record `input @ weight.T + bias`."""
    keys, computed, roles = keep(r, weight=weight, bias=bias)
    shape = r.spec(weight).shape
    if len(shape) != 2 or _is_sparse(weight):
        raise NotCoveredError
    if r.spec(input).shape[-1:] != shape[1:]:
        raise RuntimeError(f"a linear layer of weight {tuple(shape)} does not read {r.spec(input).shape}")
    return r.record("linear", Linear(shape[0], bias is not None, roles), [input, *computed], keys)


def _matmul(r: Any, a: Any, b: Any, **_: Any) -> Any:
    for sparse, other in ((a, b), (b, a)):
        if _is_sparse(sparse):
            return _sparse(r, a, b, sparse, other)
    return r.record("matmul", MatMul(), [a, b])


def _bmm(r: Any, a: Any, b: Any, **_: Any) -> Any:
    """Unlike `matmul`, it broadcasts nothing."""
    left, right = r.spec(a).shape, r.spec(b).shape
    if len(left) != 3 or len(right) != 3 or left[0] != right[0]:
        raise RuntimeError(f"bmm takes two batches of as many matrices, got {left} and {right}")
    return _matmul(r, a, b)


def _int_mm(r: Any, a: Any, b: Any, **_: Any) -> Any:
    """A product of 8-bit matrices, summed in 32 bits."""
    (rows, inner), (_, columns) = r.spec(a).shape, r.spec(b).shape
    return counted(r, "int_mm", [a, b], (TensorSpec((rows, columns), "int32"),), (("mac", inner),))


def _conv_tbc(r: Any, input: Any, weight: Any, bias: Any, pad: int = 0) -> Any:
    """A convolution over (time, batch, channels) with a weight (k, C_in, C_out)."""
    (length, batch, _), (taps, c_in, c_out) = r.spec(input).shape, r.spec(weight).shape
    made = r.spec(input).reshaped((length + 2 * pad - taps + 1, batch, c_out))
    return counted(r, "conv_tbc", [input, weight, bias], (made,), (("mac", taps * c_in), ("add", 1)))


def _vecdot(r: Any, a: Any, b: Any, dim: int = -1, **_: Any) -> Any:
    """The product of two vectors for each place of the other dimensions, which broadcast."""
    shape = broadcast(r.spec(a).shape, r.spec(b).shape)
    made = r.spec(a).reshaped(tuple(size for i, size in enumerate(shape) if i != dim % len(shape)))
    return counted(r, "vecdot", [a, b], (made,), (("mac", shape[dim]),))


def _is_sparse(tensor: Any) -> bool:
    return tensor.layout is not torch.strided


def _sparse(r: Any, a: Any, b: Any, sparse: Any, other: Any) -> Any:
    """Each element that is kept meets every column (row) of the other side."""
    if _is_sparse(other) or len(sparse.shape) != 2 or len(other.shape) > 2:
        raise r.unknown("a product of sparse tensors that has no rule")
    kept = _stored(sparse)
    columns = r.spec(other).shape[-1 if sparse is a else 0] if len(r.spec(other).shape) == 2 else 1
    left, right = r.spec(a).shape, r.spec(b).shape
    made = TensorSpec((*left[:-1], *right[1:]), r.spec(other).dtype)
    return counted(r, "sparse_mm", [a, b], (made,), (), (("mac", kept * columns),))


def _stored(sparse: Any) -> int:
    with torch._C.DisableTorchFunction():
        if sparse.layout is torch.sparse_coo:
            return int(sparse._nnz())
        return int(sparse.values().numel())


def _addmm(r: Any, *args: Any, beta: Any = 1, alpha: Any = 1, **named: Any) -> Any:
    """`beta·bias + alpha·a@b`; factors of 1 cost nothing."""
    from archlab.pytorch.rules.elements import RULES as ELEMENTS

    named.pop("out", None), named.pop("out_dtype", None)
    bias, a, b = (*args, *named.values())  # torch names them as it passes them: in order
    made = _matmul(r, a, b)
    if alpha != 1:
        made = ELEMENTS["mul"](r, made, alpha)
    if beta == 0:
        return made
    return ELEMENTS["add"](r, made, bias if beta == 1 else ELEMENTS["mul"](r, bias, beta))


def _solve_triangular(
    r: Any, a: Any, b: Any, *, upper: bool, left: bool = True, unitriangular: bool = False, **_: Any
) -> Any:
    """Substitution: the i-th unknown takes i - 1 products, and a division unless the diagonal is 1."""
    spec, n = r.spec(b), r.spec(a).shape[-1]
    sides = spec.numel // n if n else 0
    each = () if unitriangular else (("div", 1),)
    return counted(r, "solve_triangular", [a, b], (spec,), each, (("mac", n * (n - 1) // 2 * sides),))


def _addbmm(r: Any, bias: Any, a: Any, b: Any, **factors: Any) -> Any:
    """Like `baddbmm`, summed over the batch."""
    from archlab.pytorch.rules.elements import RULES as ELEMENTS

    (n, rows, inner), columns = r.spec(a).shape, r.spec(b).shape[-1]
    made = r.spec(a).reshaped((rows, columns))
    summed = counted(r, "addbmm", [a, b], (made,), (("mac", n * inner),))
    if factors.get("alpha", 1) != 1:
        summed = ELEMENTS["mul"](r, summed, factors["alpha"])
    if factors.get("beta", 1) == 0:
        return summed
    scaled = bias if factors.get("beta", 1) == 1 else ELEMENTS["mul"](r, bias, factors["beta"])
    return ELEMENTS["add"](r, summed, scaled)


def _outer(r: Any, a: Any, b: Any, **_: Any) -> Any:
    made = r.spec(a).reshaped((r.spec(a).numel, r.spec(b).numel))
    return counted(r, "outer", [a, b], (made,), (("mul", 1),))


def _distances(r: Any, a: Any, b: Any, p: float = 2.0, *_: Any, **__: Any) -> Any:
    """Differences, squares and their sum for each pair of rows, and a root."""
    left, right = r.spec(a), r.spec(b)
    made = left.reshaped((*left.shape[:-1], right.shape[-2]))
    width = left.shape[-1]
    each = (("add", 2 * width), ("mul" if p == 2 else "exp", width), ("exp" if p == 2 else "add", 1))
    return counted(r, "cdist", [a, b], (made,), each)


def _einsum(r: Any, equation: Any, *operands: Any) -> Any:
    if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
        operands = tuple(operands[0])
    if not isinstance(equation, str) or len(operands) != 2 or "." in equation:
        raise NotCoveredError
    left, arrow, out = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if any(len(set(term)) != len(term) for term in terms):
        raise NotCoveredError
    sizes: dict[str, int] = {}
    for term, operand in zip(terms, operands, strict=True):
        for letter, size in zip(term, r.spec(operand).shape, strict=True):
            known = sizes.get(letter, 1)
            if 1 not in (known, size) and known != size:
                raise RuntimeError(f"einsum {equation}: {letter} is both {known} and {size}")
            sizes[letter] = size if known == 1 else known
    if not arrow:
        out = "".join(sorted(letter for letter in sizes if left.count(letter) == 1))
    alone = [letter for letter in sizes if letter not in out and left.count(letter) == 1]
    if alone:  # torch sums those first: additions, not products
        raise NotCoveredError
    made = TensorSpec(tuple(sizes[letter] for letter in out), r.spec(operands[0]).dtype)
    summed = 1
    for letter, size in sizes.items():
        summed *= size if letter not in out else 1
    each = (("mac", summed),) if any(letter not in out for letter in sizes) else (("mul", 1),)
    return counted(r, "einsum", operands, (made,), each)


def _bilinear(r: Any, input1: Any, input2: Any, weight: Any, bias: Any = None) -> Any:
    """x₁ᵀ·A·x₂: for each output feature I₁·I₂ products give a vector, and I₂ more its product with x₂."""
    features, first, second = r.spec(weight).shape
    spec = r.spec(input1)
    each: tuple[tuple[str, int], ...] = (("mac", first * second + second),)
    each = (*each, ("add", 1)) if bias is not None else each
    made = spec.reshaped((*spec.shape[:-1], features))
    return counted(r, "bilinear", [input1, input2, weight, bias], (made,), each)


def _grouped_mm(r: Any, a: Any, b: Any, offs: Any = None, bias: Any = None, out_dtype: Any = None, **_: Any) -> Any:
    """Rows of `a` in groups, each times its own matrix of `b`: every row meets one matrix, wherever groups end."""
    left, right = r.spec(a), r.spec(b)
    if len(left.shape) == 2 and len(right.shape) == 3:
        made, inner = left.reshaped((left.shape[0], right.shape[2])), left.shape[1]
    elif len(left.shape) == 3 and len(right.shape) == 3:
        made, inner = left.reshaped((*left.shape[:2], right.shape[2])), left.shape[2]
    else:
        raise NotCoveredError
    return counted(r, "grouped_mm", [a, b, offs, bias], (made,), (("mac", inner),))


RULES: dict[str, Callable[..., Any]] = {
    "linear": linear,
    "matmul": _matmul,
    "__matmul__": _matmul,
    "mm": _matmul,
    "bmm": _bmm,
    "_int_mm": _int_mm,
    "conv_tbc": _conv_tbc,
    "vecdot": _vecdot,
    "linalg_vecdot": _vecdot,
    "mv": _matmul,
    "dot": _matmul,
    "__rmatmul__": lambda r, a, b: _matmul(r, b, a),
    "vdot": _matmul,
    "_sparse_mm": _matmul,
    "addmm": _addmm,
    "baddbmm": _addmm,
    "addmv": _addmm,
    "_sparse_addmm": _addmm,
    "addbmm": _addbmm,
    "outer": _outer,
    "ger": _outer,
    "einsum": _einsum,
    "cdist": _distances,
    "linalg_solve_triangular": _solve_triangular,
    "solve_triangular": _solve_triangular,
    "bilinear": _bilinear,
    "_grouped_mm": _grouped_mm,
    "grouped_mm": _grouped_mm,
}
