"""Caffe's networks in its text format, written from the published layer tables in several of its dialects."""

from __future__ import annotations

from collections.abc import Sequence

Layers = list[str]


def layer(name: str, kind: str, bottom: str | Sequence[str], top: str | None = None, **parts: str) -> str:
    """Return a layer as ``layer`` has it."""
    bottoms = [bottom] if isinstance(bottom, str) else bottom
    lines = [f'layer {{\n  name: "{name}"\n  type: "{kind}"']
    lines += [f'  bottom: "{b}"' for b in bottoms]
    lines += [f'  top: "{name if top is None else top}"']
    lines += [f"  {part} {{ {text} }}" for part, text in parts.items()]
    return "\n".join(lines) + "\n}\n"


def old_layer(name: str, kind: str, bottom: str, top: str, **parts: str) -> str:
    """Return a layer as ``layers`` has it: a word for the type, and learning rates beside it."""
    rates = "  blobs_lr: 1\n  blobs_lr: 2\n  weight_decay: 1\n  weight_decay: 0\n" if kind == "CONVOLUTION" else ""
    text = "".join(f"  {part} {{\n    {given}\n  }}\n" for part, given in parts.items())
    return f'layers {{\n  bottom: "{bottom}"\n  top: "{top}"\n  name: "{name}"\n  type: {kind}\n{rates}{text}}}\n'


def conv(name: str, bottom: str, channels: int, kernel: int, rest: str = "") -> str:
    """Return a convolution and the ReLU in its place, with the learning rates that such files have."""
    weights = "param { lr_mult: 1 decay_mult: 1 } param { lr_mult: 2 decay_mult: 0 }"
    text = (
        f'layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}" {weights} convolution_param '
        f"{{ num_output: {channels} kernel_size: {kernel} {rest} weight_filler {{ type: 'xavier' std: 0.1 }} "
        f'bias_filler {{ type: "constant" value: 0.2 }} }} }}\n'
    )
    return text + layer(f"{name.rpartition('/')[0]}/relu_{name.rpartition('/')[2]}", "ReLU", name, name)


def inner(name: str, bottom: str, channels: int) -> str:
    return layer(name, "InnerProduct", bottom, inner_product_param=f"num_output: {channels}")


INCEPTION = {
    "3a": (64, 96, 128, 16, 32, 32), "3b": (128, 128, 192, 32, 96, 64), "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64), "4c": (128, 128, 256, 24, 64, 64), "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128), "5a": (256, 160, 320, 32, 128, 128), "5b": (384, 192, 384, 48, 128, 128),
}  # fmt: skip
"""Table 1 of arXiv 1409.4842: 1×1, 3×3 reduce, 3×3, 5×5 reduce, 5×5, pool projection."""


def googlenet(side: int = 224) -> str:
    """bvlc_googlenet's deploy text: ``input`` and four ``input_dim``."""
    text = f'name: "GoogleNet"\ninput: "data"\ninput_dim: 1\ninput_dim: 3\ninput_dim: {side}\ninput_dim: {side}\n'
    text += conv("conv1/7x7_s2", "data", 64, 7, "stride: 2 pad: 3")
    text += layer("pool1/3x3_s2", "Pooling", "conv1/7x7_s2", pooling_param="pool: MAX kernel_size: 3 stride: 2")
    text += layer("pool1/norm1", "LRN", "pool1/3x3_s2", lrn_param="local_size: 5 alpha: 0.0001 beta: 0.75")
    text += conv("conv2/3x3_reduce", "pool1/norm1", 64, 1) + conv("conv2/3x3", "conv2/3x3_reduce", 192, 3, "pad: 1")
    text += layer("conv2/norm2", "LRN", "conv2/3x3", lrn_param="local_size: 5 alpha: 0.0001 beta: 0.75")
    text += layer("pool2/3x3_s2", "Pooling", "conv2/norm2", pooling_param="pool: MAX kernel_size: 3 stride: 2")
    x = "pool2/3x3_s2"
    for place, (one, three_reduce, three, five_reduce, five, proj) in INCEPTION.items():
        if place in ("4a", "5a"):
            pool = f"pool{int(place[0]) - 1}/3x3_s2"
            text += layer(pool, "Pooling", x, pooling_param="pool: MAX kernel_size: 3 stride: 2")
            x = pool
        at = f"inception_{place}"
        text += conv(f"{at}/1x1", x, one, 1) + conv(f"{at}/3x3_reduce", x, three_reduce, 1)
        text += conv(f"{at}/3x3", f"{at}/3x3_reduce", three, 3, "pad: 1")
        text += conv(f"{at}/5x5_reduce", x, five_reduce, 1)
        text += conv(f"{at}/5x5", f"{at}/5x5_reduce", five, 5, "pad: 2")
        text += layer(f"{at}/pool", "Pooling", x, pooling_param="pool: MAX kernel_size: 3 stride: 1 pad: 1")
        text += conv(f"{at}/pool_proj", f"{at}/pool", proj, 1)
        text += layer(f"{at}/output", "Concat", [f"{at}/{part}" for part in ("1x1", "3x3", "5x5", "pool_proj")])
        x = f"{at}/output"
    text += layer("pool5/7x7_s1", "Pooling", x, pooling_param="pool: AVE kernel_size: 7 stride: 1")
    text += layer("pool5/drop_7x7_s1", "Dropout", "pool5/7x7_s1", "pool5/7x7_s1", dropout_param="dropout_ratio: 0.4")
    return text + inner("loss3/classifier", "pool5/7x7_s1", 1000) + layer("prob", "Softmax", "loss3/classifier")


def alexnet() -> str:
    """bvlc_alexnet's deploy text: an Input layer."""
    text = 'name: "AlexNet"\nlayer { name: "data" type: "Input" top: "data"\n'
    text += "  input_param { shape: { dim: 1 dim: 3 dim: 227 dim: 227 } } }\n"
    norm = {"lrn_param": "local_size: 5 alpha: 0.0001 beta: 0.75"}
    pool = {"pooling_param": "pool: MAX kernel_size: 3 stride: 2"}
    text += conv("conv1", "data", 96, 11, "stride: 4") + layer("norm1", "LRN", "conv1", **norm)
    text += layer("pool1", "Pooling", "norm1", **pool) + conv("conv2", "pool1", 256, 5, "pad: 2 group: 2")
    text += layer("norm2", "LRN", "conv2", **norm) + layer("pool2", "Pooling", "norm2", **pool)
    text += conv("conv3", "pool2", 384, 3, "pad: 1") + conv("conv4", "conv3", 384, 3, "pad: 1 group: 2")
    text += conv("conv5", "conv4", 256, 3, "pad: 1 group: 2") + layer("pool5", "Pooling", "conv5", **pool)
    for name, bottom in (("fc6", "pool5"), ("fc7", "fc6")):
        text += inner(name, bottom, 4096) + layer(f"relu_{name}", "ReLU", name, name)
        text += layer(f"drop_{name}", "Dropout", name, name, dropout_param="dropout_ratio: 0.5")
    return text + inner("fc8", "fc7", 1000) + layer("prob", "Softmax", "fc8")


def nin(side: int = 224) -> str:
    """The authors' ImageNet model: ``layers``, words for types, ``input_shape``, a comment."""
    text = (
        f'# Network in Network\nname: "nin_imagenet"\ninput: "data"\ninput_shape {{ dim: [1, 3, {side}, {side}] }}\n'
    )
    x = "data"

    def add(name: str, channels: int, given: str) -> None:
        nonlocal text, x
        text += old_layer(name, "CONVOLUTION", x, name, convolution_param=f"num_output: {channels}\n    {given}")
        text += old_layer(f"relu_{name}", "RELU", name, name)
        x = name

    def pool(name: str, given: str) -> None:
        nonlocal text, x
        text += old_layer(name, "POOLING", x, name, pooling_param=given)
        x = name

    add("conv1", 96, "kernel_size: 11\n    stride: 4")
    for name in ("cccp1", "cccp2"):
        add(name, 96, "kernel_size: 1\n    stride: 1")
    pool("pool0", "pool: MAX\n    kernel_size: 3\n    stride: 2")
    add("conv2", 256, "pad: 2\n    kernel_size: 5\n    stride: 1")
    for name in ("cccp3", "cccp4"):
        add(name, 256, "kernel_size: 1")
    pool("pool2", "pool: MAX\n    kernel_size: 3\n    stride: 2")
    add("conv3", 384, "pad: 1\n    kernel_size: 3")
    for name in ("cccp5", "cccp6"):
        add(name, 384, "kernel_size: 1")
    pool("pool3", "pool: MAX\n    kernel_size: 3\n    stride: 2")
    text += old_layer("drop", "DROPOUT", x, x, dropout_param="dropout_ratio: 0.5")
    add("conv4-1024", 1024, "pad: 1\n    kernel_size: 3")
    add("cccp7-1024", 1024, "kernel_size: 1")
    add("cccp8-1024", 1000, "kernel_size: 1")
    pool("pool4", "pool: AVE\n    kernel_size: 6\n    stride: 1")
    return text


VGG = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
"""Convolutions in each stage: columns D and E of arXiv 1409.1556, Table 1."""


def vgg(name: str) -> str:
    """The authors' deploy text: ``layers``, fully connected ones as INNER_PRODUCT."""
    text = f'name: "{name}"\ninput: "data"\ninput_dim: 1\ninput_dim: 3\ninput_dim: 224\ninput_dim: 224\n'
    x = "data"
    for stage, count in enumerate(VGG[name], 1):
        for i in range(1, count + 1):
            at, given = f"conv{stage}_{i}", f"num_output: {min(32 << stage, 512)}\n    pad: 1\n    kernel_size: 3"
            text += old_layer(at, "CONVOLUTION", x, at, convolution_param=given)
            text += old_layer(f"relu{stage}_{i}", "RELU", at, at)
            x = at
        pool = f"pool{stage}"
        text += old_layer(pool, "POOLING", x, pool, pooling_param="pool: MAX\n    kernel_size: 2\n    stride: 2")
        x = pool
    for at, width in (("fc6", 4096), ("fc7", 4096), ("fc8", 1000)):
        text += old_layer(at, "INNER_PRODUCT", x, at, inner_product_param=f"num_output: {width}")
        if width == 4096:
            text += old_layer(f"relu{at[2]}", "RELU", at, at)
            text += old_layer(f"drop{at[2]}", "DROPOUT", at, at, dropout_param="dropout_ratio: 0.5")
        x = at
    return text + old_layer("prob", "SOFTMAX", x, "prob")
