"""What other counters see of a graph: which function each node is to them, and which module call ran it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from archlab import ops
from archlab.ir import COMPLEX, Call, Graph, Node, Op, TensorSpec, is_complex

if TYPE_CHECKING:
    from archlab.profiles import Layer, Profile

_NN = "torch.nn.modules"
_OURS = "archlab.pytorch.modules"
MODULES: Mapping[type[Op], tuple[str, str]] = {
    ops.Conv1d: (f"{_NN}.conv.Conv1d", "torch.conv1d"),
    ops.Conv2d: (f"{_NN}.conv.Conv2d", "torch.conv2d"),
    ops.Conv3d: (f"{_NN}.conv.Conv3d", "torch.conv3d"),
    ops.ConvTranspose1d: (f"{_NN}.conv.ConvTranspose1d", "torch.conv_transpose1d"),
    ops.ConvTranspose2d: (f"{_NN}.conv.ConvTranspose2d", "torch.conv_transpose2d"),
    ops.ConvTranspose3d: (f"{_NN}.conv.ConvTranspose3d", "torch.conv_transpose3d"),
    ops.MaxPool2d: (f"{_NN}.pooling.MaxPool2d", "functional.max_pool2d"),
    ops.AvgPool2d: (f"{_NN}.pooling.AvgPool2d", "functional.avg_pool2d"),
    ops.GlobalAvgPool2d: (f"{_NN}.pooling.AdaptiveAvgPool2d", "functional.adaptive_avg_pool2d"),
    ops.AdaptiveAvgPool2d: (f"{_NN}.pooling.AdaptiveAvgPool2d", "functional.adaptive_avg_pool2d"),
    ops.Linear: (f"{_NN}.linear.Linear", "functional.linear"),
    ops.MatMul: (f"{_OURS}.MatMul", "torch.matmul"),
    ops.BatchNorm: (f"{_NN}.batchnorm.BatchNorm2d", "functional.batch_norm"),
    ops.GroupNorm: (f"{_NN}.normalization.GroupNorm", "functional.group_norm"),
    ops.LayerNorm: (f"{_NN}.normalization.LayerNorm", "functional.layer_norm"),
    ops.RMSNorm: (f"{_NN}.normalization.RMSNorm", "functional.rms_norm"),
    ops.LocalResponseNorm: (f"{_NN}.normalization.LocalResponseNorm", "functional.local_response_norm"),
    ops.ReLU: (f"{_NN}.activation.ReLU", "functional.relu"),
    ops.GELU: (f"{_NN}.activation.GELU", "functional.gelu"),
    ops.Sigmoid: (f"{_NN}.activation.Sigmoid", "torch.sigmoid"),
    ops.Softmax: (f"{_NN}.activation.Softmax", "functional.softmax"),
    ops.Dropout: (f"{_NN}.dropout.Dropout", "functional.dropout"),
    ops.Flatten: (f"{_NN}.flatten.Flatten", "Tensor.flatten"),
    ops.Embedding: (f"{_NN}.sparse.Embedding", "functional.embedding"),
    ops.Add: (f"{_OURS}.Add", "torch.add"),
    ops.Mul: (f"{_OURS}.Mul", "torch.mul"),
    ops.Attention: (f"{_OURS}.Attention", "functional.scaled_dot_product_attention"),
}
"""The module that `lower` makes of an op, and the function that its forward calls."""


@dataclass(frozen=True)
class Use:
    """One node as other counters meet it: its function, such as ``functional.relu``, and the call that ran it."""

    layer: Layer
    function: str
    call: int

    @property
    def op(self) -> Op:
        """What it computes."""
        return self.layer.node.op

    @property
    def name(self) -> str:
        """The function without the place where it is found."""
        return self.function.rpartition(".")[2]

    @property
    def called(self) -> str:
        """What a person calls it: a part of a larger function by its own name."""
        return "attention" if isinstance(self.op, ops.Attention) else self.name

    @property
    def macs(self) -> int:
        """Our MACs, but a product of complex numbers once: no other counter takes it for four."""
        macs = self.layer.cost.macs
        return macs // COMPLEX[1] if self.is_complex else macs

    @property
    def is_complex(self) -> bool:
        """Whether it makes complex numbers."""
        return is_complex(self.made.dtype)

    @property
    def read(self) -> TensorSpec:
        """Its first input."""
        return self.layer.inputs[0]

    @property
    def made(self) -> TensorSpec:
        """Its first output."""
        return self.layer.outputs[0]


class Seen:
    """A profile as other counters see it: uses of functions, and the tree of module calls."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        graph = profile.graph
        self.calls = graph.calls or tuple(_calls(graph))
        places = {call.path: i for i, call in enumerate(self.calls)}
        self.uses = tuple(_use(layer, graph, places) for layer in profile.layers if not layer.node.op.is_input)

    @cached_property
    def direct(self) -> tuple[list[Use], ...]:
        """The uses that each call ran itself, by its place in `calls`."""
        found: tuple[list[Use], ...] = tuple([] for _ in self.calls)
        for use in self.uses:
            if use.call >= 0:
                found[use.call].append(use)
        return found

    @cached_property
    def inside(self) -> tuple[list[Use], ...]:
        """The uses that each call and the calls in it ran."""
        found = tuple(list(uses) for uses in self.direct)
        for place in range(len(self.calls) - 1, -1, -1):
            parent = self.calls[place].parent
            if parent >= 0:
                found[parent].extend(found[place])
        return found

    @cached_property
    def live(self) -> set[str]:
        """The names of the nodes that lead to an output."""
        graph = self.profile.graph
        names = {name for name, _ in graph.outputs}
        for node in reversed(graph.nodes):
            if node.name in names:
                names.update(name for name, _ in node.inputs)
        return names

    @cached_property
    def size_products(self) -> dict[str, int]:
        """By node, how many products of two sizes its arguments took, as far as a graph can tell.

        `multi_head_attention_forward` multiplies the batch by the heads for queries, keys and values, and
        the batch by the length. A reshape that joins dimensions to a size that no tensor had before had
        to multiply it.
        """
        met: set[int] = set()
        found: dict[str, int] = {}
        for use in self.uses:
            for spec in use.layer.inputs:
                met.update(spec.shape)
            if isinstance(use.op, ops.Attention) and use.name == "multi_head_attention_forward":
                found[use.layer.name] = 4
            elif isinstance(use.op, ops.Reshape) and use.name in ("reshape", "view"):
                given = [entry for entry in use.op.shape if type(entry) is int and entry > 1]
                found[use.layer.name] = sum(_joined(size, use.read.shape) for size in given if size not in met)
            for spec in use.layer.outputs:
                met.update(spec.shape)
        return found

    def is_contiguous(self, use: Use) -> bool:
        """Return whether a use reads a tensor that lies in memory as its shape says, as far as a graph can tell.

        A transposition moves nothing if all but one of the dimensions that it moves have size 1.
        """
        graph = self.profile.graph
        node = graph.node(use.layer.node.inputs[0][0])
        while isinstance(node.op, ops.Layout) and node.op.is_view:
            if node.op.function in ("transpose", "permute", "swapaxes", "movedim", "t"):
                before, after = (
                    [size for size in shape if size != 1] for shape in (node.op.saw[0], node.op.shapes[0])
                )
                return before == after and len(before) < len(node.op.saw[0])
            if not node.inputs or node.op.function in ("expand", "getitem", "chunk", "split"):
                return True
            node = graph.node(node.inputs[0][0])
        return True

    def ancestors(self, place: int) -> Iterator[int]:
        """The places of a call and of those around it, from the inside."""
        while place >= 0:
            yield place
            place = self.calls[place].parent

    def layer_of(self, place: int) -> str:
        """The name that a call's differences stand under: its node's, or its path."""
        uses = self.inside[place]
        if len({use.layer.name for use in uses}) == 1:
            return uses[0].layer.name
        return self.calls[place].path.replace(".", "/") or self.profile.subject


def _joined(size: int, shape: tuple[int, ...]) -> int:
    """Return how many products make a size of neighbouring dimensions, 0 if they do not make it."""
    for start in range(len(shape)):
        product = 1
        for end in range(start, len(shape)):
            product *= shape[end]
            if product == size:
                return end - start
    return 0


def _use(layer: Layer, graph: Graph, places: Mapping[str, int]) -> Use:
    node = layer.node
    if graph.calls and node.source is not None:
        return Use(layer, node.source.function, node.source.call)
    known = None if isinstance(node.op, ops.Softmax) else MODULES.get(type(node.op))
    function = _function(node.op) if known is None else known[1]
    return Use(layer, function, -1 if node.op.is_kept else places[_dotted(node)])


def _calls(graph: Graph) -> Iterator[Call]:
    """The calls of the module that `lower` makes of a graph: itself, and one for each node."""
    given, made = (tuple((s.shape, s.dtype) for s in specs) for specs in (graph.inputs.values(), graph.output_specs))
    yield Call("", "archlab.pytorch.lower.LoweredGraph", -1, 0, given, made, (), False)
    for node in graph.nodes:
        if node.op.is_input or node.op.is_kept:
            continue
        inputs, outputs = (
            tuple((s.shape, s.dtype) for s in specs) for specs in (graph.input_specs(node), graph.specs[node.name])
        )
        kept = tuple((role, key) for role, key in node.weights.items() if not graph.params[key].buffer)
        yield Call(_dotted(node), _module(node.op), 0, 0, inputs, outputs, kept)


def _module(op: Op) -> str:
    kind = MODULES.get(type(op), (f"{_OURS}.{type(op).__name__}", ""))[0]
    if getattr(op, "padding", None) == "same_upper":
        return f"{_OURS}.SameUpper{type(op).__name__}"
    if isinstance(op, ops.Softmax) and op.log:
        return f"{_NN}.activation.LogSoftmax"
    if isinstance(op, ops.BatchNorm) and op.scale != op.shift:
        return f"{_OURS}.HalfAffineBatchNorm"
    if isinstance(op, ops.Recurrent):
        return f"{_NN}.rnn.{op.kind.partition('_')[0].upper()}"
    return kind


def _function(op: Op) -> str:
    if isinstance(op, ops.Softmax):
        return f"functional.{'log_' * op.log}softmax"
    function = getattr(op, "function", type(op).__name__.lower())
    return f"torch.{op.kind if isinstance(op, ops.Recurrent) else function}"


def _dotted(node: Node) -> str:
    return node.name.replace("/", ".")
