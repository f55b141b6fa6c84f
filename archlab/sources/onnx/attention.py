"""Rules of attention, and of embeddings: what models of language are made of besides products."""

from __future__ import annotations

from collections.abc import Mapping

from archlab.errors import ReadError
from archlab.ops import Add, Attention, Concat, Embedding, LayerNorm, Layout, RMSNorm
from archlab.sources.onnx.common import (
    NotCoveredError,
    Rule,
    laid,
    seen,
)
from archlab.sources.onnx.dense import linear
from archlab.sources.onnx.reading import Call, Reading
from archlab.sources.onnx.tensors import Value


def _heads(r: Reading, call: Call, value: Value, count: int, what: str) -> Value:
    """Return (N, L, heads·E) as (N, heads, L, E)."""
    if len(value.spec.shape) == 4:
        return value
    if len(value.spec.shape) != 3 or count < 1 or value.spec.shape[2] % count:
        raise ReadError(f"{value.spec} is not divided into {count} heads")
    n, length, width = value.spec.shape
    return seen(r, call, value, (n, count, length, width // count), what)


def _attention(r: Reading, call: Call) -> list[Value]:
    """ONNX's own operator: (N, heads, L, E), or (N, L, heads·E) with the number of heads."""
    q, k, v = call.input(0), call.input(1), call.input(2)
    rank = len(q.spec.shape)
    query_heads, heads = call.integer("q_num_heads", 1), call.integer("kv_num_heads", 1)
    mask, past_k, past_v = call.optional(3), call.optional(4), call.optional(5)
    q = _heads(r, call, q, query_heads, "heads")
    k, v = _heads(r, call, k, heads, "key_heads"), _heads(r, call, v, heads, "value_heads")
    if past_k is not None and past_v is not None:
        k = r.one(call, Concat(2), [past_k, k], "keys")
        v = r.one(call, Concat(2), [past_v, v], "values")
    return _finished(r, call, q, k, v, mask, rank)


def _finished(r: Reading, call: Call, q: Value, k: Value, v: Value, mask: Value | None, rank: int) -> list[Value]:
    masked = mask is not None or bool(call.integer("is_causal", 0) or call.integer("unidirectional", 0))
    made = r.one(call, Attention(masked), [q, k, v, *([mask] if mask is not None else [])])
    if rank == 3:
        n, heads, length, width = made.spec.shape
        made = seen(r, call, made, (n, length, heads * width), "join_heads")
    if len(call.outputs) < 4:
        return [made, k, v]
    shape = (*q.spec.shape[:-1], k.spec.shape[-2])
    return [made, k, v, r.one(call, Layout("scores", (shape,), (q.spec.shape, k.spec.shape)), [q, k], "scores")]


def _multi_head(r: Reading, call: Call) -> list[Value]:
    """com.microsoft's attention of separate queries, keys and values, the projections' biases added."""
    q, k, v = call.input(0), call.optional(1), call.optional(2)
    if k is None or v is None or len(q.spec.shape) != 3 or call.optional(6) is not None:
        raise NotCoveredError
    heads, bias = call.integer("num_heads", 1), call.optional(3)
    if bias is not None:
        raise NotCoveredError
    mask = call.optional(5) or call.optional(4)
    parts = [_heads(r, call, value, heads, what) for value, what in ((q, "heads"), (k, "keys"), (v, "values"))]
    return _finished(r, call, parts[0], parts[1], parts[2], mask, 3)


def _fused(r: Reading, call: Call) -> list[Value]:
    """com.microsoft's attention with its three projections in one matrix."""
    x, weight, bias, mask = call.input(0), call.input(1), call.optional(2), call.optional(3)
    heads, extra = call.integer("num_heads", 1), [call.optional(i) for i in (4, 6)]
    plain = len(x.spec.shape) == 3 and len(weight.spec.shape) == 2 and weight.key and bias is not None
    if not plain or any(extra) or call.integers("qkv_hidden_sizes") or weight.spec.shape[1] % 3:
        raise NotCoveredError
    joined = linear(r, call, x, r.turned(weight), bias, "projections")
    n, length, width = joined.spec.shape
    shapes = ((n, length, width // 3),) * 3
    parts = r.emit(call, Layout("split", shapes, (joined.spec.shape,)), [joined], "split")
    q, k, v = (_heads(r, call, part, heads, what) for part, what in zip(parts, ("q", "k", "v"), strict=True))
    return _finished(r, call, q, k, v, mask, 3)[:1]


def _gather(r: Reading, call: Call) -> list[Value]:
    """Rows of a kept table are an embedding; anything else is arranged anew."""
    x, indices, axis = call.input(0), call.input(1), call.integer("axis", 0)
    rank = len(x.spec.shape)
    if not -rank <= axis < rank:
        raise ReadError(f"axis {axis} does not exist in {x.spec}")
    axis %= rank
    whole = indices.spec.dtype in ("int32", "int64")
    readers = r.readers.get(x.key, [])
    alone = all(op in ("Gather", "MatMul", "Gemm", "Transpose") for op, _ in readers)
    if x.key and x.learned and x.ref is None and rank == 2 and axis == 0 and whole and indices.data is None and alone:
        rows, width = x.spec.shape
        return [r.one(call, Embedding(rows, width, x.spec.dtype), [indices], weight=x)]
    shape = (*x.spec.shape[:axis], *indices.spec.shape, *x.spec.shape[axis + 1 :])
    if r.elements(indices) is not None:
        return [laid(r, call, x, shape, "gather", False)]
    op = Layout("gather", (shape,), (x.spec.shape, indices.spec.shape), "", False)
    return [r.one(call, op, [x, indices])]


def _skip_norm(r: Reading, call: Call) -> list[Value]:
    """com.microsoft's sum and norm in one."""
    x, skip, scale = call.input(0), call.input(1), call.input(2)
    simplified = call.op == "SkipSimplifiedLayerNormalization"
    bias = call.optional(3 if simplified else 4)
    made = r.one(call, Add(), [x, skip], "skip")
    if bias is not None:
        made = r.one(call, Add(), [made, bias], "bias")
    if not scale.key:
        raise NotCoveredError
    shift = None if simplified else call.optional(3)
    if simplified:
        return [r.one(call, RMSNorm(1, True), [made], weight=scale), *[made] * 3]
    op = LayerNorm(1, True, shift is not None, call.number("epsilon", 1e-5))
    return [r.one(call, op, [made], weight=scale, bias=shift), *[made] * 3]


RULES: Mapping[str, Rule] = {
    "Attention": _attention,
    "Gather": _gather,
}
MICROSOFT: Mapping[str, Rule] = {
    "Attention": _fused,
    "MultiHeadAttention": _multi_head,
    "SkipLayerNormalization": _skip_norm,
    "SkipSimplifiedLayerNormalization": _skip_norm,
}
"""Those of the domain com.microsoft, beside the ones whose names both domains have."""
