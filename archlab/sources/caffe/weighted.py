"""Rules of Caffe's layers that have blobs: convolutions, inner products, norms, scales, embeddings."""

from __future__ import annotations

from typing import Any

from archlab.errors import ReadError
from archlab.ir import Ref
from archlab.ops import (
    BY_RANK,
    Add,
    BatchNorm,
    Elementwise,
    Embedding,
    Flatten,
    Kept,
    Layout,
    Linear,
    Mul,
    Reshape,
)
from archlab.sources.caffe.layer import Layer, Refs, Rule, sizes_of


def convolution(transposed: bool, depthwise: bool = False) -> Rule:
    """Return the rule of convolutions, which take one blob or several in turn."""

    def rule(layer: Layer, *inputs: Ref) -> Refs:
        part = layer.part("convolution_param")
        made = []
        for x in inputs:
            shape = layer.spec(x).shape
            rank = len(shape) - 2
            if rank not in BY_RANK or part.integer("axis", 1) != 1:
                raise ReadError(f"a convolution over {len(shape)} dimensions has no rule")
            groups = shape[1] if depthwise else part.integer("group", 1)
            sizes: dict[str, Any] = {
                "kernel": sizes_of(part, "kernel_size", None, rank, "kernel"),
                "stride": sizes_of(part, "stride", 1, rank),
                "padding": sizes_of(part, "pad", 0, rank),
                "dilation": sizes_of(part, "dilation", 1, rank),
            }
            bias = part.flag("bias_term", True)
            kind: Any = BY_RANK[rank][transposed]
            op = kind(part.integer("num_output", 0), groups=groups, bias=bias, **sizes)
            made.append(layer.add(op, x, roles=("weight", "bias")[: 1 + bias]))
        return tuple(made)

    return rule


def inner_product(layer: Layer, x: Ref) -> Ref:
    """A linear layer over all axes from one on."""
    part = layer.part("inner_product_param")
    rank = len(layer.spec(x).shape)
    axis = part.integer("axis", 1)
    if not -rank <= axis < rank:
        raise ReadError(f"axis {axis} does not exist in {layer.spec(x).shape}")
    if axis % rank < rank - 1:
        x = layer.add(Flatten(axis % rank), x, name=f"{layer.name}flatten")
    bias = part.flag("bias_term", True)
    return layer.add(Linear(part.integer("num_output", 0), bias), x, roles=("weight", "bias")[: 1 + bias])


def batch_norm(layer: Layer, x: Ref) -> Ref:
    """A batch norm without a scale of its own."""
    return layer.add(BatchNorm(False, False, layer.part("batch_norm_param").number("eps", 1e-5)), x)


def scale(layer: Layer, x: Ref, *factor: Ref) -> Ref:
    """A factor and, if asked for, a summand a channel; behind a batch norm they are its own."""
    part = layer.part("scale_param")
    bias = part.flag("bias_term", False)
    axis, axes = part.integer("axis", 1), part.integer("num_axes", 1)
    before = layer.net.nodes[x[0]]
    plain = not factor and axis == 1 and axes == 1
    if plain and isinstance(before.op, BatchNorm) and not before.op.scale and layer.alone:
        del layer.net.nodes[x[0]]
        roles = ("weight", "bias")[: 1 + bias]
        return layer.add(BatchNorm(True, bias, before.op.eps), *before.inputs, roles=roles, name=x[0])
    made = layer.add(Mul(), x, factor[0] if factor else _kept(layer, x, axis, axes, "weight"))
    return _shifted(layer, x, made, axis, axes, 0 if factor else 1) if bias else made


def bias(layer: Layer, x: Ref, *summand: Ref) -> Ref:
    """A summand a channel, learned or read."""
    part = layer.part("bias_param")
    axis, axes = part.integer("axis", 1), part.integer("num_axes", 1)
    return layer.add(Add(), x, summand[0] if summand else _kept(layer, x, axis, axes, "bias"))


def _shifted(layer: Layer, x: Ref, made: Ref, axis: int, axes: int, first: int) -> Ref:
    return layer.add(Add(), made, _kept(layer, x, axis, axes, "bias", first), name=f"{layer.name}/shift")


def _kept(layer: Layer, x: Ref, axis: int, axes: int, what: str, first: int = 0) -> Ref:
    """Return a learned tensor over some axes of `x`, in a shape that broadcasts with it."""
    shape = layer.spec(x).shape
    start = axis % len(shape) if shape else 0
    end = len(shape) if axes == -1 else start + axes
    if not start <= end <= len(shape):
        raise ReadError(f"axes {axis} to {axis + axes} do not exist in {shape}")
    name = f"{layer.name}/{what}"
    kept = layer.add(Kept(shape[start:end]), roles=("value",), name=name, first=first)
    rest = len(shape) - end
    return layer.add(Reshape((*shape[start:end], *(1,) * rest)), kept, name=f"{name}/axes") if rest else kept


def prelu(layer: Layer, x: Ref) -> Ref:
    """A rectifier with a learned slope a channel."""
    shape = layer.spec(x).shape
    size = (1,) if layer.part("prelu_param").flag("channel_shared", False) else shape[1:2]
    slope = layer.add(Kept(size), roles=("value",), name=f"{layer.name}/slope")
    return layer.add(Elementwise("prelu"), x, slope)


def embed(layer: Layer, x: Ref) -> Ref:
    """Rows of a table."""
    part, spec = layer.part("embed_param"), layer.spec(x)
    indices = layer.add(Layout("indices", (spec.shape,), (spec.shape,), "int64"), x, name=f"{layer.name}/indices")
    op = Embedding(part.integer("input_dim", 0), part.integer("num_output", 0))
    made = layer.add(op, indices, roles=("weight",))
    if not part.flag("bias_term", True):
        return made
    bias = layer.add(Kept((op.width,)), roles=("value",), name=f"{layer.name}/bias", first=1)
    return layer.add(Add(), made, bias, name=f"{layer.name}/shift")
