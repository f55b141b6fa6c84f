"""All ops. To add one: a class in its file, its name here, a row in the conformance test."""

from archlab.ir import Op
from archlab.ops.attention import Attention
from archlab.ops.batch_norm import BatchNorm
from archlab.ops.conv import Conv1d, Conv2d, Conv3d
from archlab.ops.conv_transpose import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from archlab.ops.dense import Linear, MatMul
from archlab.ops.general import Counted, Custom, Elementwise, Embedding, Kept, Layout, Reduce, Unknown
from archlab.ops.layout import Concat, Flatten, Input, Reshape
from archlab.ops.norm import GroupNorm, LayerNorm, LocalResponseNorm, RMSNorm
from archlab.ops.pointwise import GELU, Add, Dropout, Mul, ReLU, Sigmoid, Softmax
from archlab.ops.pool import AdaptiveAvgPool2d, AvgPool2d, GlobalAvgPool2d, MaxPool2d
from archlab.ops.recurrent import Recurrent

ALL: tuple[type[Op], ...] = (
    Input,
    Conv1d,
    Conv2d,
    Conv3d,
    ConvTranspose1d,
    ConvTranspose2d,
    ConvTranspose3d,
    MaxPool2d,
    AvgPool2d,
    GlobalAvgPool2d,
    AdaptiveAvgPool2d,
    Linear,
    MatMul,
    BatchNorm,
    GroupNorm,
    LayerNorm,
    RMSNorm,
    LocalResponseNorm,
    ReLU,
    GELU,
    Sigmoid,
    Softmax,
    Add,
    Mul,
    Concat,
    Flatten,
    Reshape,
    Dropout,
    Attention,
    Embedding,
    Recurrent,
    Elementwise,
    Reduce,
    Layout,
    Counted,
    Kept,
    Custom,
    Unknown,
)
BY_NAME: dict[str, type[Op]] = {op.__name__: op for op in ALL}
CONVOLUTIONS: tuple[type[Op], ...] = (Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d)
BY_RANK: dict[int, tuple[type[Op], type[Op]]] = {
    1: (Conv1d, ConvTranspose1d),
    2: (Conv2d, ConvTranspose2d),
    3: (Conv3d, ConvTranspose3d),
}
"""The convolution and the transposed one over so many axes."""
POOLS: tuple[type[Op], ...] = (MaxPool2d, AvgPool2d, GlobalAvgPool2d, AdaptiveAvgPool2d)
NORMS: tuple[type[Op], ...] = (BatchNorm, GroupNorm, LayerNorm, RMSNorm, LocalResponseNorm)
ACTIVATIONS: tuple[type[Op], ...] = (ReLU, GELU, Sigmoid)

__all__ = [
    "ACTIVATIONS",
    "ALL",
    "BY_NAME",
    "BY_RANK",
    "CONVOLUTIONS",
    "GELU",
    "NORMS",
    "POOLS",
    "AdaptiveAvgPool2d",
    "Add",
    "Attention",
    "AvgPool2d",
    "BatchNorm",
    "Concat",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "Counted",
    "Custom",
    "Dropout",
    "Elementwise",
    "Embedding",
    "Flatten",
    "GlobalAvgPool2d",
    "GroupNorm",
    "Input",
    "Kept",
    "LayerNorm",
    "Layout",
    "Linear",
    "LocalResponseNorm",
    "MatMul",
    "MaxPool2d",
    "Mul",
    "RMSNorm",
    "ReLU",
    "Recurrent",
    "Reduce",
    "Reshape",
    "Sigmoid",
    "Softmax",
    "Unknown",
]
