"""Rules of kernels that torch reaches below its Python interface: the work of the composite above them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from archlab.ir import TensorSpec
from archlab.pytorch.rules import attention, elements, layers, sampling
from archlab.pytorch.rules.common import arranged, counted


def _attention(extra: int, mask_at: int | None) -> Callable[..., Any]:
    """An attention kernel that makes `extra` more tensors, which only its backward reads."""

    def rule(r: Any, query: Any, key: Any, value: Any, *rest: Any, attn_mask: Any = None, **named: Any) -> Any:
        mask = rest[mask_at] if mask_at is not None and mask_at < len(rest) else attn_mask
        causal = named.get("is_causal", next((v for v in rest if v is True), False))
        made = attention.RULES["scaled_dot_product_attention"](r, query, key, value, mask, is_causal=causal)
        return (made, *(r.constant(TensorSpec((0,)), None) for _ in range(extra)))

    return rule


def _encoder_layer(
    r: Any,
    x: Any,
    width: int,
    heads: int,
    qkv_weight: Any,
    qkv_bias: Any,
    out_weight: Any,
    out_bias: Any,
    use_gelu: bool,
    norm_first: bool,
    eps: float,
    norm_weight_1: Any,
    norm_bias_1: Any,
    norm_weight_2: Any,
    norm_bias_2: Any,
    weight_1: Any,
    bias_1: Any,
    weight_2: Any,
    bias_2: Any,
    mask: Any = None,
    mask_type: Any = None,
) -> Any:
    """The fast path of `nn.TransformerEncoderLayer`: attention, a feed-forward part, two norms and two sums."""
    rules = layers.RULES
    n, length, _ = r.spec(x).shape

    def attend(y: Any) -> Any:
        turned = arranged(r, "transpose", y, (length, n, width))
        given = (width, heads, qkv_weight, qkv_bias, None, None, False, 0.0, out_weight, out_bias, False, None, False)
        made, _ = rules["multi_head_attention_forward"](r, turned, turned, turned, *given, mask)
        return arranged(r, "transpose", made, (n, length, width))

    def feed(y: Any) -> Any:
        inner = elements.RULES["gelu" if use_gelu else "relu"](r, rules["linear"](r, y, weight_1, bias_1))
        return rules["linear"](r, inner, weight_2, bias_2)

    def first(y: Any) -> Any:
        return rules["layer_norm"](r, y, (width,), norm_weight_1, norm_bias_1, eps)

    def second(y: Any) -> Any:
        return rules["layer_norm"](r, y, (width,), norm_weight_2, norm_bias_2, eps)

    add = elements.RULES["add"]
    if norm_first:
        x = add(r, x, attend(first(x)))
        return add(r, x, feed(second(x)))
    x = first(add(r, x, attend(x)))
    return second(add(r, x, feed(x)))


def _upsample(mode: str, places: int) -> Callable[..., Any]:
    """A resampling kernel: its size, or None and its factors as the last argument, `places` after the size."""

    def rule(r: Any, input: Any, size: Any, *rest: Any, **named: Any) -> Any:
        factors = named.get("scale_factors", rest[places] if size is None else None)
        return sampling.RULES["interpolate"](r, input, size, factors, mode)

    return rule


def _embedding_bag(
    r: Any,
    weight: Any,
    indices: Any,
    offsets: Any,
    scale: bool = False,
    mode: int = 0,
    sparse: bool = False,
    weights: Any = None,
    include_last: bool = False,
    *_: Any,
) -> Any:
    """Each row that an index names is added to its bag's; a mean divides once, a maximum compares instead."""
    bags, width = r.spec(offsets).shape[0] - bool(include_last), r.spec(weight).shape[1]
    rows = r.spec(indices).numel * width
    whole = [("cmp" if mode == 2 else "add", rows)]
    if mode == 1:
        whole.append(("div", bags * width))
    if weights is not None:
        whole.append(("mul", rows))
    made = counted(
        r, "embedding_bag", [weight, indices, offsets, weights], (r.spec(weight).reshaped((bags, width)),), (), whole
    )
    return (made, *(r.constant(TensorSpec((0,), "int64"), None) for _ in range(3)))


_MODES = {
    **{f"upsample_nearest{rank}d": ("nearest", 0) for rank in (1, 2, 3)},
    **{f"_upsample_nearest_exact{rank}d": ("nearest-exact", 0) for rank in (1, 2, 3)},
    "upsample_linear1d": ("linear", 1),
    "upsample_bilinear2d": ("bilinear", 1),
    "upsample_trilinear3d": ("trilinear", 1),
    "upsample_bicubic2d": ("bicubic", 1),
}
RULES: dict[str, Callable[..., Any]] = {
    **{name: _upsample(mode, places) for name, (mode, places) in _MODES.items()},
    "_scaled_dot_product_flash_attention_for_cpu": _attention(1, None),
    "_scaled_dot_product_attention_math": _attention(1, 0),
    "_scaled_dot_product_efficient_attention": _attention(3, 0),
    "_transformer_encoder_layer_fwd": _encoder_layer,
    "_embedding_bag": _embedding_bag,
    "_embedding_bag_forward_only": _embedding_bag,
}
