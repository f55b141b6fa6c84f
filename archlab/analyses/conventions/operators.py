"""Tools that count by operator: fvcore and torchprofile read a trace of torch.jit, torch and ptflops-aten listen.

Each rule yields, for one use of a function, what the tool counts beside (or instead of) our MACs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod
from typing import Any

from archlab import ops
from archlab.analyses.conventions.seen import Seen, Use
from archlab.analyses.conventions.tally import Item

Differences = Iterator[tuple[int, str]]
"""So much more or less than our MACs, and why."""

CONVOLUTION = "padding given by name: its operator is aten::_convolution_mode, which has no rule"
ATTENTION = "attention: scaled_dot_product_attention has no rule"
DEAD = "leads to no output, so a trace of torch.jit has dropped it"


def by_use(rule: Callable[[Seen, Use], Differences]) -> Callable[[Seen], Iterator[Item]]:
    """Return the rule of a convention from that of one use."""

    def items(seen: Seen) -> Iterator[Item]:
        for use in seen.uses:
            for count, reason in rule(seen, use):
                if count:
                    yield Item(use.layer.name, count, reason)

    return items


def fvcore(seen: Seen, use: Use) -> Differences:
    """fvcore's handles: MACs of contractions, estimates for norms, adaptive pools and resampling."""
    op, n_in, n_out = use.op, use.read.numel if use.layer.inputs else 0, use.made.numel
    if use.layer.name not in seen.live:
        yield -use.macs, DEAD
    elif by_name(op):
        yield -use.macs, CONVOLUTION
    elif isinstance(op, ops.BatchNorm):
        times = (4 if op.training else 1) + op.scale
        yield times * n_in, f"{times} per element of a batch norm"
    elif isinstance(op, (ops.LayerNorm, ops.GroupNorm)):
        yield (4 + op.scale) * n_in, f"{4 + op.scale} per element of a {_norm(use)} norm"
    elif isinstance(op, (ops.GlobalAvgPool2d, ops.AdaptiveAvgPool2d)):
        yield n_in, "1 per input element of an adaptive average pool"
    elif isinstance(op, ops.Attention):
        yield from _attention(seen, use, masked_product="baddbmm")
    elif isinstance(op, ops.MatMul):
        yield from _fvcore_product(use)
    elif (name := _counted(op)) in ("interpolate_nearest", "interpolate_bilinear", "grid_sample"):
        times = 1 if name == "interpolate_nearest" else 4
        if len(use.made.shape) == 4:
            yield times * n_out, f"{times} per output element of {name.replace('_', ' ')}"
    elif name == "einsum" and not use.macs:
        yield n_out // 2, "half of each product of an einsum that sums nothing"
    elif use.macs and not (isinstance(op, (ops.Linear, *ops.CONVOLUTIONS)) or name == "einsum" or is_cell(use)):
        yield -use.macs, f"{use.name}: no rule"


def _fvcore_product(use: Use) -> Differences:
    left, right = (spec.shape for spec in use.layer.inputs)
    if use.name in ("mv", "dot", "vdot", "baddbmm", "addmv", "addbmm") or len(left) < 2 or len(right) < 2:
        yield -use.macs, f"{use.name} with a vector or a bias: no rule"
    else:
        macs = prod(left) * right[-1]
        yield macs - use.macs, "matmul: the batch dimensions that only the right operand has are left out"


def torchprofile(seen: Seen, use: Use) -> Differences:
    """torchprofile's handlers: MACs, one per element of affine norms, products, means and average pools."""
    op: Any = use.op
    n_out = use.made.numel
    affine = isinstance(op, (ops.BatchNorm, ops.LayerNorm, ops.GroupNorm)) and op.scale
    if use.layer.name not in seen.live:
        yield -use.macs, DEAD
    elif by_name(op):
        yield -use.macs, CONVOLUTION
    elif affine:
        yield n_out, f"1 per element of a {_norm(use)} norm"
    elif isinstance(op, (ops.ConvTranspose1d, ops.ConvTranspose2d, ops.ConvTranspose3d)):
        square = use.made.shape[1] == use.read.shape[1]
        channels = use.made.shape[1] // op.groups if square else use.read.shape[1]
        macs = n_out * channels * prod(op.kernel)
        yield macs - use.macs, "a transposed convolution by its output's size, its stride forgotten"
    elif isinstance(op, (ops.GlobalAvgPool2d, ops.AdaptiveAvgPool2d, ops.AvgPool2d)) or _is_mean(use):
        yield n_out, "1 per output element of a mean or an average pool"
    elif _is_product(use) or (_counted(op) == "interpolate_bilinear" and len(use.made.shape) == 4):
        times = 1 if _is_product(use) else 4
        yield times * n_out, f"{times} per output element of {'a product' if times == 1 else 'interpolate bilinear'}"
    elif isinstance(op, ops.LocalResponseNorm):
        yield 3 * n_out, "3 per element of a local response norm: two products and an average pool"
    elif _counted(op) == "einsum" and not use.macs:
        yield n_out, "1 per product of an einsum that sums nothing"
    elif use.name == "leaky_relu":
        yield n_out, "1 per element of a leaky ReLU"
    elif _counted(op) == "grid_sample":
        yield 4 * n_out, "4 per output element of a grid sample"
    elif isinstance(op, ops.Recurrent):
        if is_cell(use):
            times = {"lstm": 3, "gru": 2}.get(op.kind, 0)
            yield times * prod(use.read.shape[:-1]) * op.hidden, "1 per output element of a product"
        elif op.kind != "lstm" or op.packed:
            yield -use.macs, f"{op.kind}: no rule"
    elif isinstance(op, ops.Reshape) or (isinstance(op, ops.Attention) and in_mha(use)):
        # torch.jit traces what a model computes from sizes, too, and a product of two is an aten::mul.
        yield seen.size_products.get(use.layer.name, 0), "sizes that are multiplied in Python, 1 each"
        if isinstance(op, ops.Attention) and asks_for_weights(seen, use):
            yield use.read.numel, "1 per output element of a product: the scaling of the queries"
    elif isinstance(op, ops.MatMul):
        if use.name in ("mv", "dot", "vdot", "addbmm"):
            yield -use.macs, f"{use.name}: no rule"
    elif use.macs and not isinstance(op, (ops.Linear, ops.Attention, *ops.CONVOLUTIONS)) and _counted(op) != "einsum":
        yield -use.macs, f"{use.name}: no rule"


def torch(seen: Seen, use: Use) -> Differences:
    """FlopCounterMode on the CPU: convolutions and products, but not what a fused kernel computes."""
    for count, reason in _listened(seen, use):
        yield 2 * count, reason


def ptflops_aten(seen: Seen, use: Use) -> Differences:
    """ptflops' ATen backend: convolutions and products, with their biases; no batched product with a bias."""
    op: Any = use.op
    found = False
    for count, reason in _listened(seen, use, masked_product="baddbmm"):
        found = found or count != 0
        yield count, reason
    if found:
        return
    if isinstance(op, (ops.Linear, *ops.CONVOLUTIONS)) and getattr(op, "bias", False):
        if isinstance(op, ops.Linear) and len(use.read.shape) > 2 and not seen.is_contiguous(use):
            return  # torch multiplies first and adds the bias by itself
        yield use.made.numel, "1 per output element for a bias"
    elif isinstance(op, ops.Recurrent) and op.bias:
        rows = use.macs and prod(use.read.shape[:-1])
        gates = {"gru": 3}.get(op.kind, 1 if op.kind.startswith("rnn") else 4) * op.hidden
        yield 2 * rows * gates * op.layers * op.directions, "1 per output element for a bias"
    elif use.name == "addmm" and isinstance(op, ops.MatMul):
        yield use.made.numel, "1 per output element for a bias"
    elif use.name == "baddbmm" and isinstance(op, ops.MatMul):
        yield -use.macs, "baddbmm: no rule"


def _listened(seen: Seen, use: Use, masked_product: str = "") -> Differences:
    """What a mode below autograd does not hear on the CPU, as negative MACs."""
    op = use.op
    if isinstance(op, ops.Attention):
        fused = len(use.read.shape) > 2 and use.read.shape[-1] == use.layer.inputs[2].shape[-1]
        if in_mha(use) or fused or use.name == "flex_attention":
            yield from _attention(seen, use, masked_product)
    elif isinstance(op, ops.Recurrent):
        if op.kind == "lstm" and not op.packed and not op.projection and not is_cell(use):
            yield -use.macs, "lstm: the CPU's fused kernel has no rule"
    elif isinstance(op, ops.MatMul):
        left, right = (spec.shape for spec in use.layer.inputs)
        if len(right) == 1 or (len(left) == 1 and len(right) != 2):
            yield -use.macs, "a product with a vector: aten.mv and aten.dot have no rule"
    elif (
        use.macs
        and not isinstance(op, (ops.Linear, *ops.CONVOLUTIONS))
        and _counted(op) not in ("einsum", "sparse_mm")
    ):
        yield -use.macs, f"{use.name}: no rule"


def _attention(seen: Seen, use: Use, masked_product: str = "") -> Differences:
    """Attention is one kernel without a rule; where its weights are asked for it is two products and a softmax."""
    if not (in_mha(use) and asks_for_weights(seen, use)):
        yield -use.macs, ATTENTION
    elif masked_product and len(use.layer.inputs) > 3:
        *rows, length, _width = use.made.shape
        yield -prod(rows) * length * use.layer.inputs[1].shape[-2] * use.read.shape[-1], f"{masked_product}: no rule"


def in_mha(use: Use) -> bool:
    """Return whether a node is a part of `torch.nn.functional.multi_head_attention_forward`."""
    return use.name == "multi_head_attention_forward"


def asks_for_weights(seen: Seen, use: Use) -> bool:
    """Return whether the weights of an attention are returned, so that no fused kernel can compute it."""
    readers = seen.profile.graph.readers[use.layer.name]
    return any(getattr(node.op, "function", "") == "attention_weights" for node in readers)


def is_cell(use: Use) -> bool:
    """Return whether a recurrent op is one step, which torch computes by products that every counter sees."""
    return isinstance(use.op, ops.Recurrent) and use.name.endswith("_cell")


def by_name(op: Any) -> bool:
    """Return whether the padding of a convolution is given by torch's name."""
    return isinstance(op, ops.CONVOLUTIONS) and getattr(op, "padding", None) == "same"


def _counted(op: Any) -> str:
    return op.function if isinstance(op, ops.Counted) else ""


def _norm(use: Use) -> str:
    return use.name.removesuffix("_norm")


def _is_mean(use: Use) -> bool:
    op = use.op
    if isinstance(op, ops.Reduce):
        return op.function == "mean"
    return _counted(op) in (
        "avg_pool1d", "avg_pool3d", "adaptive_avg_pool1d", "adaptive_avg_pool3d",
    )  # fmt: skip


def _is_product(use: Use) -> bool:
    op = use.op
    product = isinstance(op, ops.Mul) or (isinstance(op, ops.Elementwise) and op.function == "mul")
    return product and use.name in ("mul", "mul_", "__mul__", "__rmul__", "__imul__")
