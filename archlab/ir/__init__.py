"""The graph language: tensors, ops, nodes and graphs. It knows no concrete op and no framework."""

from archlab.ir.builder import Builder
from archlab.ir.call import Call
from archlab.ir.graph import Graph
from archlab.ir.node import Node, Param, Ref, Source
from archlab.ir.op import MODES, OPERATION_CLASSES, Op
from archlab.ir.tensor import ITEM_BYTES, LARGEST, Shape, TensorSpec, is_floating, promoted, weight_dtype

__all__ = [
    "ITEM_BYTES",
    "LARGEST",
    "MODES",
    "OPERATION_CLASSES",
    "Builder",
    "Call",
    "Graph",
    "Node",
    "Op",
    "Param",
    "Ref",
    "Shape",
    "Source",
    "TensorSpec",
    "is_floating",
    "promoted",
    "weight_dtype",
]
