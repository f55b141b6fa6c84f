"""The graph language: tensors, ops, nodes and graphs. It knows no concrete op and no framework."""

from archlab.ir.builder import Builder
from archlab.ir.call import Call
from archlab.ir.gradient import Gradient
from archlab.ir.graph import Graph
from archlab.ir.node import Node, Param, Ref, Source
from archlab.ir.op import COMPLEX, MODES, OPERATION_CLASSES, Op, products_of
from archlab.ir.storage import Storage
from archlab.ir.tensor import ITEM_BYTES, LARGEST, Shape, TensorSpec, is_complex, is_floating, promoted, weight_dtype

__all__ = [
    "COMPLEX",
    "ITEM_BYTES",
    "LARGEST",
    "MODES",
    "OPERATION_CLASSES",
    "Builder",
    "Call",
    "Gradient",
    "Graph",
    "Node",
    "Op",
    "Param",
    "Ref",
    "Shape",
    "Source",
    "Storage",
    "TensorSpec",
    "is_complex",
    "is_floating",
    "products_of",
    "promoted",
    "weight_dtype",
]
