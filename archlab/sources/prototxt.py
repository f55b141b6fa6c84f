"""Caffe's networks, as their text format describes them: which layers run, what they read, what is given.

Our own parser reads the text: protobuf's needs Caffe's generated classes, and the packages that ship
them have not been kept up. Nothing in a file is executed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from archlab.errors import GraphError, ReadError, nearest
from archlab.ir import Graph, Ref, TensorSpec
from archlab.ops import Input
from archlab.sources.caffe import RULES
from archlab.sources.caffe.layer import Layer, Refs
from archlab.sources.netlist import MAX_NODES, Netlist, read_bytes
from archlab.sources.open_shapes import Open, settle
from archlab.sources.textproto import Message, parse

if TYPE_CHECKING:
    from archlab.sources.target import Asked

MAX_BYTES = 8 * 2**20
"""A larger file is refused. bvlc_googlenet's takes 36 KiB."""
DATA = (
    "Data", "ImageData", "HDF5Data", "WindowData", "AnnotatedData", "VideoData", "Python", "MemoryData", "DummyData",
)  # fmt: skip
"""Layers that bring tensors in from elsewhere."""
V1_TYPES: Mapping[str, str] = {
    "ABSVAL": "AbsVal", "ACCURACY": "Accuracy", "ARGMAX": "ArgMax", "BNLL": "BNLL", "CONCAT": "Concat",
    "CONVOLUTION": "Convolution", "DATA": "Data", "DECONVOLUTION": "Deconvolution", "DROPOUT": "Dropout",
    "DUMMY_DATA": "DummyData", "ELTWISE": "Eltwise", "EUCLIDEAN_LOSS": "EuclideanLoss", "EXP": "Exp",
    "FLATTEN": "Flatten", "HDF5_DATA": "HDF5Data", "IMAGE_DATA": "ImageData", "INNER_PRODUCT": "InnerProduct",
    "LRN": "LRN", "MEMORY_DATA": "MemoryData", "MVN": "MVN", "POOLING": "Pooling", "POWER": "Power",
    "RELU": "ReLU", "SIGMOID": "Sigmoid", "SILENCE": "Silence", "SLICE": "Slice", "SOFTMAX": "Softmax",
    "SOFTMAX_LOSS": "SoftmaxWithLoss", "SPLIT": "Split", "TANH": "TanH", "THRESHOLD": "Threshold",
    "WINDOW_DATA": "WindowData",
}  # fmt: skip
"""The types as ``layers`` has them, in words of ``layer``."""


@dataclass
class _Declared:
    """One layer as it stands in the file, with the layers that made what it reads."""

    name: str
    kind: str
    message: Message
    old: bool
    bottoms: list[str]
    tops: list[str]


def read_file(path: Path, asked: Sequence[Asked] = (), mode: str | None = None) -> Graph:
    """Return the network in a file, for the inputs asked for; raise as `read_net` does."""
    data = read_bytes(path, MAX_BYTES, "a network's description")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ReadError(f"{path}: is not UTF-8 text (byte {error.start})") from None
    return read_net(text, str(path), asked, mode)


def read_net(text: str, where: str, asked: Sequence[Asked] = (), mode: str | None = None) -> Graph:
    """Return the network that a text describes, with the layers of phase TRAIN in training, else of TEST.

    Raises `ReadError` for what is no such text, `GraphError` or `ShapeError` where layers do not fit,
    `UsageError` where an input's shape must be given.
    """
    root = parse(text, where)
    phase = "TRAIN" if mode == "training" else "TEST"
    declared = [layer for layer in _layers(root) if _runs(layer.message, phase)]
    if not declared:
        raise ReadError(f"{where}: has no layers for the phase {phase}; is it a Caffe network?")
    net = Netlist(where)
    try:
        given = _inputs(root, declared, where, asked)
    except GraphError as error:
        raise type(error)(f"{where}: {error}") from None
    blobs: dict[str, Ref] = {}
    for name, spec in given.items():
        (blobs[name],) = net.add(name, Input(spec.shape, spec.dtype))
    alone = _alone(declared)
    left = dict.fromkeys(blobs)
    for i, layer in enumerate(declared):
        if _gives(layer):
            continue
        made = _apply(net, layer, blobs, i in alone)
        for name in layer.bottoms:
            left.pop(name, None)
        for top, ref in zip(layer.tops, made, strict=True):
            if top in blobs and top not in layer.bottoms:
                raise ReadError(f"{layer.message.at}: layer {layer.name!r}: another layer makes {top!r} already")
            blobs[top] = ref
            left[top] = None
    outputs = [blobs[name] for name in left if name not in given]
    if not outputs:
        raise ReadError(f"{where}: nothing is computed")
    return net.graph(root.text("name") or "caffe", dict.fromkeys(outputs))


def _layers(root: Message) -> list[_Declared]:
    found = [(m, False) for m in root.messages("layer")] + [(m, True) for m in root.messages("layers")]
    if len(found) > MAX_NODES:
        raise ReadError(f"{root.where}: has more than {MAX_NODES:,} layers")
    return [_declared(message, old, i) for i, (message, old) in enumerate(found)]


def _declared(message: Message, old: bool, index: int) -> _Declared:
    if "layer" in message.fields:
        raise ReadError(f"{message.at}: is in Caffe's first format; upgrade_net_proto_text brings it up to date")
    kind = message.text("type")
    if not kind:
        raise ReadError(f"{message.at}: a layer needs a type")
    kind = V1_TYPES.get(kind, kind) if old else kind
    name = message.text("name") or f"{kind}{index + 1}"
    return _Declared(name, kind, message, old, message.texts("bottom"), message.texts("top"))


def _runs(message: Message, phase: str) -> bool:
    """Return whether a layer runs: its rules name phases; stages and levels that nobody set keep it out."""

    def meets(rule: Message) -> bool:
        named = {"0": "TRAIN", "1": "TEST"}.get(rule.text("phase"), rule.text("phase"))
        return named in ("", phase) and not rule.texts("stage") and rule.integer("min_level", 0) <= 0

    included, excluded = message.messages("include"), message.messages("exclude")
    return any(map(meets, included)) if included else not any(map(meets, excluded))


def _gives(layer: _Declared) -> bool:
    return layer.kind == "Input" or (layer.kind in DATA and not layer.bottoms)


def _inputs(
    root: Message, layers: Sequence[_Declared], where: str, asked: Sequence[Asked]
) -> Mapping[str, TensorSpec]:
    """Return the given tensors: those of ``input:``, of Input layers and of data layers."""
    shapes: dict[str, Open | None] = {}
    advice: dict[str, str] = {}
    names = root.texts("input")
    declared = [tuple(m.integers("dim")) for m in root.messages("input_shape")]
    flat = root.integers("input_dim")
    if not declared and flat:
        declared = [tuple(flat[i : i + 4]) for i in range(0, len(flat), 4)]
    if names and len(declared) not in (0, len(names)):
        raise ReadError(f"{where}: has {len(names)} inputs and {len(declared)} shapes of inputs")
    for i, name in enumerate(names):
        shapes[name] = declared[i] if declared else None
    for layer in filter(_gives, layers):
        found = _data_shapes(layer)
        for i, top in enumerate(layer.tops):
            shapes[top] = found[min(i, len(found) - 1)] if found else ("batch",) if top == "label" else None
            advice[top] = _advice(layer)
    return settle(where, {name: (shape, "float32") for name, shape in shapes.items()}, asked, advice)


def _data_shapes(layer: _Declared) -> list[tuple[int, ...]]:
    """Return the shapes that a layer without bottoms says itself, an empty list if it does not."""
    message = layer.message
    if layer.kind in ("Input", "DummyData"):
        part = message.message("input_param" if layer.kind == "Input" else "dummy_data_param")
        return [tuple(m.integers("dim")) for m in part.messages("shape")]
    if layer.kind == "MemoryData":
        part = message.message("memory_data_param")
        image = tuple(part.integer(name, 0) for name in ("batch_size", "channels", "height", "width"))
        return [image, image[:1]] if all(image) else []
    return []


def _advice(layer: _Declared) -> str:
    crop = layer.message.message("transform_param").integer("crop_size", 0)
    crop = crop or max((m.integer("crop_size", 0) for m in layer.message.messages("data_param")), default=0)
    return f"1x3x{crop or 224}x{crop or 224}"


def _alone(layers: Sequence[_Declared]) -> set[int]:
    """Return the layers that alone read what they read first; in-place layers make a blob anew."""
    made: dict[str, int] = {}
    readers: dict[tuple[str, int], list[int]] = {}
    for i, layer in enumerate(layers):
        for name in layer.bottoms:
            readers.setdefault((name, made.get(name, -1)), []).append(i)
        for name in layer.tops:
            made[name] = i
    return {i for (_, maker), found in readers.items() if len(found) == 1 and maker >= 0 for i in found}


def _apply(net: Netlist, layer: _Declared, blobs: Mapping[str, Ref], alone: bool) -> Refs:
    """Return what a layer makes, a ref for each of its tops."""
    where = f"{layer.message.at}: layer {layer.name!r}"
    if layer.kind not in RULES:
        near = nearest(layer.kind, RULES)
        raise ReadError(f"{where}: no rule says what the type {layer.kind[:60]!r} makes{near}")
    for name in layer.bottoms:
        if name not in blobs:
            raise ReadError(f"{where}: reads {name!r}, which no layer before it makes")
    read = tuple(blobs[name] for name in layer.bottoms)
    rule = RULES[layer.kind]
    try:
        most = _most(rule)
        if not read or (most is not None and len(read) > most):
            wanted = "at least one tensor" if most is None else f"{most} tensor(s)"
            raise ReadError(f"reads {wanted}, got {len(read)}")
        made = rule(Layer(net, layer.name, layer.kind, layer.message, len(layer.tops), layer.old, alone), *read)
    except (ReadError, GraphError) as error:
        raise type(error)(str(error) if str(error).startswith(net.where) else f"{where}: {error}") from None
    refs = (made,) if made and isinstance(made[0], str) else tuple(made)
    if len(refs) < len(layer.tops):
        raise ReadError(f"{where}: makes {len(refs)} tensor(s), the file names {len(layer.tops)}")
    return refs[: len(layer.tops)]


def _most(rule: object) -> int | None:
    """Return how many tensors a rule takes, None for any number."""
    code = rule.__code__  # type: ignore[attr-defined]
    return None if code.co_flags & 0x04 else code.co_argcount - 1
