"""Rules of attention: counted as what it is, whichever kernel runs it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from archlab.ops.attention import Attention
from archlab.pytorch.rules.common import NotCoveredError, arranged, counted
from archlab.pytorch.rules.products import linear


def _attention(
    r: Any,
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    **_: Any,
) -> Any:
    mask = [attn_mask] if attn_mask is not None else []
    return r.record("scaled_dot_product_attention", Attention(bool(mask) or is_causal), [query, key, value, *mask])


def _multi_head_attention(
    r: Any,
    query: Any,
    key: Any,
    value: Any,
    embed: int,
    heads: int,
    in_weight: Any,
    in_bias: Any,
    bias_k: Any,
    bias_v: Any,
    add_zero_attn: bool,
    dropout_p: float,
    out_weight: Any,
    out_bias: Any,
    training: bool = True,
    key_padding_mask: Any = None,
    need_weights: bool = True,
    attn_mask: Any = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Any = None,
    k_proj_weight: Any = None,
    v_proj_weight: Any = None,
    static_k: Any = None,
    static_v: Any = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> Any:
    """Projections, attention, output projection: the same work whichever kernel runs it."""
    if bias_k is not None or add_zero_attn or static_k is not None:
        raise NotCoveredError
    single = len(r.spec(query).shape) == 2
    if use_separate_proj_weight:
        weights = (q_proj_weight, k_proj_weight, v_proj_weight)
        biases = [None] * 3 if in_bias is None else [_part(r, in_bias, i, embed) for i in range(3)]
        parts = [linear(r, x, w, b) for x, w, b in zip((query, key, value), weights, biases, strict=True)]
    elif query is key and key is value:
        packed = linear(r, query, in_weight, in_bias)
        parts = [_part(r, packed, i, embed, -1) for i in range(3)]
    else:
        parts = [
            linear(r, x, _part(r, in_weight, i, embed), None if in_bias is None else _part(r, in_bias, i, embed))
            for i, x in enumerate((query, key, value))
        ]
    width = embed // heads
    split = []
    for part in parts:
        shape = r.spec(part).shape
        batch = () if single else (shape[1],)
        split.append(arranged(r, "heads", part, (*batch, heads, shape[0], width)))
    masks = [m for m in (attn_mask, key_padding_mask) if m is not None]
    made = r.record("attention", Attention(bool(masks) or is_causal), [*split, *masks])
    length = r.spec(query).shape[0]
    batch = () if single else (r.spec(query).shape[1],)
    joined = arranged(r, "join_heads", made, (length, *batch, embed))
    out = linear(r, joined, out_weight, out_bias)
    if not need_weights:
        return out, None
    keys = r.spec(split[1]).shape[-2]
    many = () if average_attn_weights else (heads,)
    shape = (*batch, *many, length, keys)
    counts = (("add", heads), ("div", 1)) if average_attn_weights else ()
    return out, counted(r, "attention_weights", [made], (r.spec(made).reshaped(shape),), counts)


def _part(r: Any, tensor: Any, index: int, size: int, dim: int = 0) -> Any:
    """Return one of the equal parts of a tensor along its first or last dimension, a view."""
    shape = list(r.spec(tensor).shape)
    shape[dim] = size
    return arranged(r, f"part_{index + 1}", tensor, tuple(shape))


def _flex_attention(
    r: Any, query: Any, key: Any, value: Any, score_mod: Any = None, block_mask: Any = None, *_: Any, **__: Any
) -> Any:
    """Every score is counted, masked blocks included, as for any mask; a modified score is one addition."""
    made = r.record("flex_attention", Attention(True), [query, key, value])
    spec = r.spec(query)
    row = spec.reshaped(spec.shape[:-1])
    lse = counted(r, "logsumexp", [made], (row,), ())
    return made, lse, lse


RULES: dict[str, Callable[..., Any]] = {
    "scaled_dot_product_attention": _attention,
    "multi_head_attention_forward": _multi_head_attention,
    "flex_attention": _flex_attention,
}
