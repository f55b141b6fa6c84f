"""Attention, counted as what it is, whichever kernel runs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from archlab.dims import equal, maximum, require, where
from archlab.formula import Factor, Formula
from archlab.ir import Gradient, Op, Shape, TensorSpec
from archlab.ops.elements import require_floating
from archlab.ops.pointwise import broadcast


@dataclass(frozen=True)
class Attention(Op):
    """softmax(q·kᵀ·scale + mask)·v over queries (*, L, E), keys (*, S, E) and values (*, S, E_v).

    `masked` adds a mask, given as a fourth input or made for a causal one; grouped queries share
    their keys and values. Masks are not looked at.
    """

    masked: bool = False

    arity = None
    at_least = 3
    rule = (
        "each of the L·S scores of a head sums E products and each of its L·E_v outputs S products, masked "
        "positions included; a score takes mul 1 (scale), add 1 (mask, if any) and a softmax"
    )

    def infer(self, q: TensorSpec, k: TensorSpec, v: TensorSpec, *mask: TensorSpec) -> TensorSpec:
        """(*, L, E_v); the leading dimensions broadcast."""
        for x in (q, k, v):
            require(len(x.shape) >= 2, "needs tensors of at least two dimensions, got {}", x.shape)
            require(x.dtype == q.dtype, "queries are {}, keys or values {}", q.dtype, x.dtype)
        require(equal(q.shape[-1], k.shape[-1]), "queries are {} wide, keys {}", q.shape[-1], k.shape[-1])
        require(equal(k.shape[-2], v.shape[-2]), "there are {} keys and {} values", k.shape[-2], v.shape[-2])
        require_floating(q)
        outer = broadcast(broadcast(q.shape[:-3], k.shape[:-3]), v.shape[:-3])
        return q.reshaped((*outer, *_heads(q.shape, k.shape, v.shape), q.shape[-2], v.shape[-1]))

    def arithmetic(
        self, outputs: tuple[TensorSpec, ...], q: TensorSpec, k: TensorSpec, v: TensorSpec, *mask: TensorSpec
    ) -> Mapping[str, Formula]:
        """See `rule`."""
        one = Formula.product(*_rows(outputs[0]), ("S", k.shape[-2]))
        scores, weighted = _products(outputs[0], q, k)
        return {
            "mac": scores + weighted,
            "mul": one,
            "cmp": one,
            "exp": one,
            "div": one,
            "add": Formula.product(3 if self.masked else 2, *one.terms[0]),
        }

    def gradients(
        self, outputs: tuple[TensorSpec, ...], q: TensorSpec, k: TensorSpec, v: TensorSpec, *mask: TensorSpec
    ) -> tuple[Gradient, ...]:
        """Four products: two for each of the forward's. Scores are kept, not computed anew as fused kernels do."""
        scores, weighted = _products(outputs[0], q, k)
        return (
            Gradient("scores", (0, 1, *range(3, 3 + len(mask))), weighted),
            Gradient("values", (2,), weighted),
            Gradient("queries", (0,), scores),
            Gradient("keys", (1,), scores),
        )

    def to_torch(self, nn: Any, q: TensorSpec, k: TensorSpec, v: TensorSpec, *mask: TensorSpec) -> Any:
        """Our module around `torch.nn.functional.scaled_dot_product_attention`, which takes one mask."""
        if len(mask) > 1:
            raise NotImplementedError("attention with several masks")
        return nn.Attention(self.masked)


def _rows(output: TensorSpec) -> tuple[Factor, ...]:
    *leading, length, _ = output.shape
    names = ("N", "heads") if len(leading) <= 2 else tuple(f"d{i}" for i in range(len(leading)))
    return (*zip(names, leading, strict=False), ("L", length))


def _products(output: TensorSpec, q: TensorSpec, k: TensorSpec) -> tuple[Formula, Formula]:
    """Return the products of queries and keys, and those of their weights and values."""
    rows, keys = _rows(output), ("S", k.shape[-2])
    return (
        Formula.product(*rows, keys, ("E", q.shape[-1])),
        Formula.product(*rows, ("E_v", output.shape[-1]), keys),
    )


def _heads(q: Shape, k: Shape, v: Shape) -> Shape:
    """Return the dimension of the heads, if there is one: broadcast, or the queries' where they are grouped."""
    each = [shape[-3] if len(shape) > 2 else 1 for shape in (q, k, v)]
    if max(map(len, (q, k, v))) == 2:
        return ()
    queries, keys, values = each
    plain: bool = True
    for a, b in ((queries, keys), (queries, values), (keys, values)):
        plain = plain & (equal(a, b) | equal(a, 1) | equal(b, 1))
    grouped: bool = min(map(len, (q, k, v))) > 2
    for shared in (keys, values):
        grouped = grouped & (shared >= 1) & equal(queries % maximum(shared, 1), 0)
    require(plain | grouped, "{} heads of queries do not share {} of keys and {} of values", *each)
    return (where(plain, where(equal(queries, 1), where(equal(keys, 1), values, keys), queries), queries),)
