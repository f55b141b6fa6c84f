"""All ops. To add one: a class in its file, its name here, a row in the conformance test."""

from archlab.ir import Op
from archlab.ops.conv import Conv2d, ConvTranspose2d
from archlab.ops.dense import Linear, MatMul
from archlab.ops.layout import Concat, Flatten, Input, Reshape
from archlab.ops.norm import BatchNorm, LayerNorm, LocalResponseNorm
from archlab.ops.pointwise import GELU, Add, Dropout, Mul, ReLU, Sigmoid, Softmax
from archlab.ops.pool import AdaptiveAvgPool2d, AvgPool2d, GlobalAvgPool2d, MaxPool2d

ALL: tuple[type[Op], ...] = (
    Input,
    Conv2d,
    ConvTranspose2d,
    MaxPool2d,
    AvgPool2d,
    GlobalAvgPool2d,
    AdaptiveAvgPool2d,
    Linear,
    MatMul,
    BatchNorm,
    LayerNorm,
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
)
BY_NAME: dict[str, type[Op]] = {op.__name__: op for op in ALL}
CONVOLUTIONS: tuple[type[Op], ...] = (Conv2d, ConvTranspose2d)
POOLS: tuple[type[Op], ...] = (MaxPool2d, AvgPool2d, GlobalAvgPool2d, AdaptiveAvgPool2d)
NORMS: tuple[type[Op], ...] = (BatchNorm, LayerNorm, LocalResponseNorm)
ACTIVATIONS: tuple[type[Op], ...] = (ReLU, GELU, Sigmoid)

__all__ = [
    "ACTIVATIONS",
    "ALL",
    "BY_NAME",
    "CONVOLUTIONS",
    "GELU",
    "NORMS",
    "POOLS",
    "AdaptiveAvgPool2d",
    "Add",
    "AvgPool2d",
    "BatchNorm",
    "Concat",
    "Conv2d",
    "ConvTranspose2d",
    "Dropout",
    "Flatten",
    "GlobalAvgPool2d",
    "Input",
    "LayerNorm",
    "Linear",
    "LocalResponseNorm",
    "MatMul",
    "MaxPool2d",
    "Mul",
    "ReLU",
    "Reshape",
    "Sigmoid",
    "Softmax",
]
