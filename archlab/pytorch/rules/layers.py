"""Rules of layers with weights: convolutions, norms, embeddings; and where the rules of all layers meet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from archlab.ir import TensorSpec
from archlab.ops import (
    BY_RANK,
    BatchNorm,
    Dropout,
    GroupNorm,
    LayerNorm,
    LocalResponseNorm,
    RMSNorm,
)
from archlab.ops.general import Embedding
from archlab.pytorch.rules import attention, pools, products, recurrent, sampling
from archlab.pytorch.rules.common import NotCoveredError, arranged, as_tuple, counted, keep


def _convolution(rank: int, transposed: bool) -> Callable[..., Any]:
    kind: Any = BY_RANK[rank][transposed]

    def rule(
        r: Any, input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, *rest: Any, **more: Any
    ) -> Any:
        shape, spec = r.spec(weight).shape, r.spec(input)
        if len(spec.shape) == rank + 1:  # without a batch
            one = arranged(r, "unsqueeze", input, (1, *spec.shape))
            made = rule(r, one, weight, bias, stride, padding, *rest, **more)
            return arranged(r, "squeeze", made, r.spec(made).shape[1:])
        names = ("output_padding", "groups", "dilation") if transposed else ("dilation", "groups")
        options = {**dict(zip(names, rest, strict=False)), **more}
        options = {k: tuple(v) if isinstance(v, (list, torch.Size)) else v for k, v in options.items()}
        padding = 0 if padding == "valid" else padding
        keys, computed, roles = keep(r, weight=weight, bias=bias)
        groups = options.get("groups", 1)
        channels, reads = (shape[1] * groups, shape[0]) if transposed else (shape[0], shape[1] * groups)
        if len(spec.shape) != rank + 2 or spec.shape[1] != reads:
            raise RuntimeError(f"a convolution of weight {tuple(shape)}, groups {groups}, does not read {spec.shape}")
        chosen = (
            kind,
            channels,
            shape[2:],
            as_tuple(stride),
            as_tuple(padding),
            bias is not None,
            roles,
            *options.items(),
        )
        op = r.ops.get(chosen)
        if op is None:
            op = r.ops[chosen] = kind(
                channels,
                shape[2:],
                as_tuple(stride),
                padding=as_tuple(padding),
                bias=bias is not None,
                computed=roles,
                **options,
            )
        return r.record(kind.__name__.lower(), op, [input, *computed], keys)

    return rule


def _aten_convolution(
    r: Any,
    input: Any,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: int,
    *_: Any,
) -> Any:
    rank = len(r.spec(weight).shape) - 2
    if transposed:
        return _convolution(rank, True)(r, input, weight, bias, stride, padding, output_padding, groups, dilation)
    return _convolution(rank, False)(r, input, weight, bias, stride, padding, dilation, groups)


def _batch_norm(
    r: Any,
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *_: Any,
) -> Any:
    keys, computed, _roles = keep(r, weight=weight, bias=bias)
    tracked = running_mean is not None and r.buffer_key(running_mean) is not None
    if computed:
        raise NotCoveredError
    if tracked:
        keys.update({"running_mean": r.buffer_key(running_mean), "running_var": r.buffer_key(running_var)})
        counter = keys["running_mean"].removesuffix("running_mean") + "num_batches_tracked"
        tracked = counter in r.params
        keys["num_batches_tracked"] = counter
    if not tracked:
        keys = {role: key for role, key in keys.items() if role in ("weight", "bias")}
    op = BatchNorm(weight is not None, bias is not None, eps, bool(training), tracked)
    return r.record("batch_norm", op, [input], keys)


def scaled(r: Any, made: Any, weight: Any, bias: Any) -> Any:
    """Apply an affine part whose weights are computed, not kept."""
    from archlab.pytorch.rules.elements import RULES as ELEMENTS

    if weight is not None:
        made = ELEMENTS["mul"](r, made, weight)
    return made if bias is None else ELEMENTS["add"](r, made, bias)


def _layer_norm(
    r: Any, input: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5, *_: Any
) -> Any:
    keys, computed, _roles = keep(r, weight=weight, bias=bias)
    if r.spec(input).shape[-len(normalized_shape) :] != tuple(normalized_shape):
        raise RuntimeError(f"a layer norm over {tuple(normalized_shape)} does not read {r.spec(input).shape}")
    if computed or (bias is not None and weight is None):
        made = r.record("layer_norm", LayerNorm(len(normalized_shape), False, False, eps), [input])
        return scaled(r, made, weight, bias)
    op = LayerNorm(len(normalized_shape), weight is not None, bias is not None, eps)
    return r.record("layer_norm", op, [input], keys)


def _rms_norm(r: Any, input: Any, normalized_shape: Any, weight: Any = None, eps: Any = None) -> Any:
    keys, computed, _roles = keep(r, weight=weight)
    op = RMSNorm(len(normalized_shape), weight is not None and not computed, eps or 1e-6)
    made = r.record("rms_norm", op, [input], keys)
    return scaled(r, made, weight, None) if computed else made


def _group_norm(
    r: Any, input: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5, *_: Any
) -> Any:
    keys, computed, _roles = keep(r, weight=weight, bias=bias)
    if computed:
        return scaled(r, r.record("group_norm", GroupNorm(num_groups, False, False, eps), [input]), weight, bias)
    return r.record("group_norm", GroupNorm(num_groups, weight is not None, bias is not None, eps), [input], keys)


def _instance_norm(
    r: Any,
    input: Any,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *_: Any,
) -> Any:
    return _group_norm(r, input, r.spec(input).shape[1], weight, bias, eps)


def _local_response_norm(
    r: Any, input: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Any:
    return r.record("local_response_norm", LocalResponseNorm(size, alpha, beta, k), [input])


def _embedding(r: Any, *args: Any, **kwargs: Any) -> Any:
    first, second = args[:2] if len(args) > 1 else (args[0], kwargs["weight"])
    weight, indices = (first, second) if r.parameter_key(first) else (second, first)
    key, spec = r.parameter_key(weight), r.spec(weight)
    made = TensorSpec((*r.spec(indices).shape, spec.shape[1]), spec.dtype)
    if key is None:
        return counted(r, "embedding", [indices, weight], (made,), ())
    return r.record(
        "embedding", Embedding(spec.shape[0], spec.shape[1], spec.dtype), [indices], {"weight": key}, outputs=(made,)
    )


def _glu(r: Any, input: Any, dim: int = -1) -> Any:
    """Half the channels times the sigmoid of the other half."""
    spec = r.spec(input)
    shape = list(spec.shape)
    if shape[dim] % 2:
        raise RuntimeError(f"glu halves dimension {dim} of {spec.shape}, which is odd")
    shape[dim] //= 2
    each = (("exp", 1), ("add", 1), ("div", 1), ("mul", 1))
    return counted(r, "glu", [input], (spec.reshaped(tuple(shape)),), each)


def _dropout(r: Any, input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    return r.record("dropout", Dropout(float(p), bool(training)), [input])


def _convolution_mode(
    r: Any, input: Any, weight: Any, bias: Any, stride: Any, padding: str, dilation: Any, groups: int
) -> Any:
    return _convolution(len(r.spec(weight).shape) - 2, False)(
        r, input, weight, bias, stride, padding, dilation=dilation, groups=groups
    )


def _weight_norm(r: Any, v: Any, g: Any, dim: int = 0) -> Any:
    """g·v/‖v‖, the norm over all dimensions but one."""
    from archlab.pytorch.rules.elements import RULES as ELEMENTS

    rank = len(r.spec(v).shape)
    dims = tuple(d for d in range(rank) if d != dim % rank) if dim != -1 else None
    length = ELEMENTS["norm"](r, v, 2, dims, True)
    return ELEMENTS["mul"](r, v, ELEMENTS["div"](r, g, length))


def _several(rule: Callable[..., Any]) -> Callable[..., Any]:
    """The kernel below returns statistics, too; nothing reads them without gradients."""

    def several(r: Any, *args: Any, **kwargs: Any) -> Any:
        made = rule(r, *args, **kwargs)
        return made, r.constant(TensorSpec((0,)), None), r.constant(TensorSpec((0,)), None)

    return several


RULES: dict[str, Callable[..., Any]] = {
    "conv1d": _convolution(1, False),
    "conv2d": _convolution(2, False),
    "conv3d": _convolution(3, False),
    "conv_transpose1d": _convolution(1, True),
    "conv_transpose2d": _convolution(2, True),
    "conv_transpose3d": _convolution(3, True),
    "convolution": _aten_convolution,
    "_convolution": _aten_convolution,
    "_convolution_mode": _convolution_mode,
    "glu": _glu,
    "batch_norm": _batch_norm,
    "layer_norm": _layer_norm,
    "rms_norm": _rms_norm,
    "group_norm": _group_norm,
    "instance_norm": _instance_norm,
    "local_response_norm": _local_response_norm,
    "embedding": _embedding,
    "_weight_norm": _weight_norm,
    "_weight_norm_interface": lambda r, v, g, dim=0: (made := _weight_norm(r, v, g, dim), made),
    "native_layer_norm": _several(_layer_norm),
    "native_batch_norm": _several(_batch_norm),
    **dict.fromkeys(
        [
            "dropout",
            "dropout1d",
            "dropout2d",
            "dropout3d",
            "feature_dropout",
            "alpha_dropout",
            "feature_alpha_dropout",
        ],
        _dropout,
    ),
    **pools.RULES,
    **products.RULES,
    **attention.RULES,
    **recurrent.RULES,
    **sampling.RULES,
}
__all__ = ["RULES", "NotCoveredError"]
