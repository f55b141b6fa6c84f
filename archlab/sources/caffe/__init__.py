"""Caffe's layers: which op of ours each type is, and what its parameters are by default.

A rule takes a layer and what it reads and returns what it makes; caffe.proto holds the names and the
defaults.
"""

from __future__ import annotations

from collections.abc import Mapping

from archlab.ops import Layout
from archlab.sources.caffe import plain, pools, weighted
from archlab.sources.caffe.layer import Rule

RULES: Mapping[str, Rule] = {
    "AbsVal": plain.elementwise("abs"),
    "Accuracy": pools.accuracy,
    "ArgMax": pools.argmax,
    "BNLL": plain.elementwise("softplus"),
    "BatchNorm": weighted.batch_norm,
    "Bias": weighted.bias,
    "Clip": plain.elementwise("clamp"),
    "Concat": plain.concat,
    "Convolution": weighted.convolution(False),
    "ConvolutionDepthwise": weighted.convolution(False, True),
    "Crop": plain.crop,
    "Deconvolution": weighted.convolution(True),
    "DepthwiseConvolution": weighted.convolution(False, True),
    "Dropout": plain.dropout,
    "ELU": plain.elementwise("elu"),
    "Eltwise": plain.eltwise,
    "Embed": weighted.embed,
    "EuclideanLoss": pools.euclidean,
    "Exp": plain.exponential("exp"),
    "Flatten": plain.flatten,
    "InnerProduct": weighted.inner_product,
    "LRN": pools.lrn,
    "Log": plain.exponential("log"),
    "MVN": pools.mvn,
    "Normalize": plain.unknown,
    "PReLU": weighted.prelu,
    "Permute": plain.permute,
    "Pooling": pools.pooling,
    "Power": plain.power,
    "ReLU": plain.relu,
    "ReLU6": plain.elementwise("relu6"),
    "Reduction": pools.reduction,
    "Reshape": plain.reshape,
    "Scale": weighted.scale,
    "ShuffleChannel": lambda layer, x: layer.add(
        Layout("shuffle", (layer.spec(x).shape,), (layer.spec(x).shape,), "", False), x
    ),
    "Sigmoid": plain.elementwise("sigmoid"),
    "Silence": lambda layer, *inputs: (),
    "Slice": plain.sliced,
    "Softmax": pools.softmax,
    "SoftmaxWithLoss": pools.loss,
    "Split": lambda layer, x: (x,) * layer.tops,
    "Swish": plain.elementwise("silu"),
    "TanH": plain.elementwise("tanh"),
    "Threshold": plain.elementwise("gt"),
    "Tile": plain.tile,
}
"""The rule of each type."""
