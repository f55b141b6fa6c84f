"""Ablations: named edits of a graph, each with its claim and the source of the claim.

They select by structure, so they work on any graph in which that structure occurs; one that hits
nothing raises `AblationError`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from archlab.errors import AblationError, UsageError, nearest
from archlab.ir import Graph, Node, Op
from archlab.ops import (
    ACTIVATIONS,
    NORMS,
    BatchNorm,
    Concat,
    Conv2d,
    Dropout,
    Flatten,
    GlobalAvgPool2d,
    Linear,
    LocalResponseNorm,
    MaxPool2d,
    ReLU,
)
from archlab.transform import Chain, Selection, only_reader, select, trailing

PAPER = "Szegedy et al. 2014, arXiv 1409.4842"
FOLLOWERS: tuple[type[Op], ...] = (*NORMS, *ACTIVATIONS)


def reductions(graph: Graph, kernel: int | None = None) -> Selection:
    """Select 1×1 convolutions with fewer outputs than inputs in front of a larger one (of that kernel)."""

    def reduces(graph: Graph, node: Node) -> bool:
        if not _is_pointwise(node.op) or not _narrows(graph, node):
            return False
        fed = _after(graph, node, FOLLOWERS)
        if fed is None or not isinstance(fed.op, Conv2d):
            return False
        size: tuple[int, int] = fed.op.kernel
        return min(size) > 1 if kernel is None else size == (kernel, kernel)

    return select(graph, Conv2d, where=reduces)


def pool_projections(graph: Graph) -> Selection:
    """Select narrowing 1×1 convolutions between a max pool of stride 1 and a concatenation."""

    def projects(graph: Graph, node: Node) -> bool:
        before = graph.node(node.inputs[0][0]).op
        after = _after(graph, node, FOLLOWERS)
        return (
            _is_pointwise(node.op)
            and _narrows(graph, node)
            and isinstance(before, MaxPool2d)
            and before.stride == (1, 1)
            and after is not None
            and isinstance(after.op, Concat)
        )

    return select(graph, Conv2d, where=projects)


def no_reduction(graph: Graph) -> Graph:
    """Remove every reduction; projections and other 1×1 convolutions stay."""
    return reductions(graph).remove(with_trailing=FOLLOWERS)


def no_pool_proj(graph: Graph) -> Graph:
    """Remove the projections behind the pools, so that a pool hands on all its channels."""
    return pool_projections(graph).remove(with_trailing=FOLLOWERS)


def naive(graph: Graph) -> Graph:
    """Remove reductions and pool projections: Figure 2a."""
    return no_pool_proj(no_reduction(graph))


def fc_head(graph: Graph) -> Graph:
    """Remove the global average pool in front of the classifier, which then reads every position."""
    return _averaged_heads(graph).remove()


def fc4096_head(graph: Graph) -> Graph:
    """Put two layers of 4096 units between all positions and the classifier, as AlexNet and VGG do."""
    heads = _averaged_heads(graph).expect()
    classifiers = [_behind_average(graph, node) for node in heads.nodes]
    names = {node.name for node in classifiers if node is not None}
    dropouts = {
        n.name
        for n in graph.nodes
        if isinstance(n.op, Dropout) and any(r.name in names for r in graph.readers[n.name])
    }
    graph = heads.remove()
    if dropouts:
        graph = select(graph, Dropout, where=lambda _, node: node.name in dropouts).remove()

    def layers(_: Graph, node: Node) -> Chain:
        hidden = [
            (f"{name}{suffix}", op)
            for name in ("fc6", "fc7")
            for suffix, op in (("", Linear(4096)), ("_relu", ReLU()), ("_dropout", Dropout(0.5)))
        ]
        return [(_beside(node, name), op) for name, op in [*hidden, ("fc8", node.op)]]

    return select(graph, Linear, where=lambda _, node: node.name in names).swap(layers)


def no_aux(graph: Graph) -> Graph:
    """Drop everything that exists in training alone."""
    return select(graph, where=lambda _, node: node.train_only).drop()


def no_lrn(graph: Graph) -> Graph:
    """Remove the local response normalisations."""
    return select(graph, LocalResponseNorm).remove()


def batch_norm(graph: Graph) -> Graph:
    """Put a batch norm behind each convolution that has no norm yet; the convolution's bias goes."""

    def bare(graph: Graph, node: Node) -> bool:
        reader = only_reader(graph, node)
        return reader is None or not isinstance(reader.op, BatchNorm)

    def normed(_: Graph, node: Node) -> Chain:
        op: Any = node.op
        return [(node.name, replace(op, bias=False)), (f"{node.name}_bn", BatchNorm())]

    return select(graph, Conv2d, where=bare).swap(normed)


def factorized_5x5(graph: Graph) -> Graph:
    """Make each 5×5 convolution r→n two 3×3 ones, r→n→n, with the norm and activation in between, too."""

    def plain(_: Graph, node: Node) -> bool:
        op: Any = node.op
        return bool(op.kernel == (5, 5) and op.stride == op.dilation == (1, 1) and op.padding == (2, 2))

    def pair(graph: Graph, node: Node) -> Chain:
        five: Any = node.op
        op = replace(five, kernel=3, padding=1)
        between = [
            (f"{node.name}_1{follower.name.removeprefix(node.name)}", follower.op)
            for follower in trailing(graph, node, FOLLOWERS)
        ]
        return [(f"{node.name}_1", op), *between, (f"{node.name}_2", op)]

    return select(graph, Conv2d, where=plain).swap(pair)


def separable_stem(graph: Graph) -> Graph:
    """Make the first convolution depthwise with multiplier 8, then pointwise; no bias on the depthwise part."""

    def first(graph: Graph, node: Node) -> bool:
        op: Any = node.op
        return graph.node(node.inputs[0][0]).op.is_input and op.groups == 1 and min(op.kernel) > 1

    stem = select(graph, Conv2d, where=first)

    def separable(graph: Graph, node: Node) -> Chain:
        op: Any = node.op
        channels = graph.input_specs(node)[0].shape[1]
        # A module alone has several first convolutions in one block; each then makes a block of its own.
        block = (node.block if len(stem) == 1 else "") or node.name
        depthwise = replace(op, out_channels=channels * 8, groups=channels, bias=False)
        kernel = "x".join(map(str, op.kernel))
        return [
            (f"{block}/{kernel}_depthwise", depthwise),
            (f"{block}/pointwise", Conv2d(op.out_channels, 1, bias=op.bias)),
        ]

    return stem.swap(separable)


@dataclass(frozen=True)
class Ablation:
    """A named edit, what it claims in one sentence, and where the claim comes from."""

    apply: Callable[[Graph], Graph]
    claim: str
    source: str


ABLATIONS: Mapping[str, Ablation] = {
    "naive": Ablation(
        naive,
        "Without reductions and pool projections modules grow from stage to stage and cost explodes.",
        f"{PAPER}, Figure 2a and section 4",
    ),
    "no_reduction": Ablation(
        no_reduction,
        "The 1×1 reductions alone save most of the work in front of 3×3 and 5×5 filters; all widths stay.",
        f"{PAPER}, section 4; controlled variant",
    ),
    "no_reduction_3x3": Ablation(
        lambda graph: reductions(graph, 3).remove(with_trailing=FOLLOWERS),
        "What the reductions in front of the 3×3 filters save.",
        f"{PAPER}, section 4; controlled variant",
    ),
    "no_reduction_5x5": Ablation(
        lambda graph: reductions(graph, 5).remove(with_trailing=FOLLOWERS),
        "What the reductions in front of the 5×5 filters save.",
        f"{PAPER}, section 4; controlled variant",
    ),
    "no_pool_proj": Ablation(
        no_pool_proj,
        "Without the projection a pool hands on all its channels, and every later module reads more.",
        f"{PAPER}, section 4",
    ),
    "fc_head": Ablation(
        fc_head,
        "A classifier over all positions instead of their average costs parameters, hardly any operations.",
        f"{PAPER}, section 5; Lin et al. 2013, arXiv 1312.4400, section 3.2",
    ),
    "fc4096_head": Ablation(
        fc4096_head,
        "The two 4096-unit layers of AlexNet and VGG outweigh the whole network in parameters.",
        f"{PAPER}, section 5; Krizhevsky et al. 2012",
    ),
    "batch_norm": Ablation(
        batch_norm,
        "Batch norm after each convolution, whose bias goes, adds parameters only in the thousands.",
        "Ioffe & Szegedy 2015, arXiv 1502.03167",
    ),
    "factorized_5x5": Ablation(
        factorized_5x5,
        "Two 3×3 filters for one 5×5 save work where both keep the width; here r→n→n widens first, so it costs more.",
        "Szegedy et al. 2015, arXiv 1512.00567, section 3.1",
    ),
    "separable_stem": Ablation(
        separable_stem,
        "A separable first convolution costs 34 M MACs as the paper's table prints, where the full one costs 118 M.",
        "Ioffe & Szegedy 2015, arXiv 1502.03167, appendix (for the next network); a hypothesis for this one",
    ),
    "no_lrn": Ablation(
        no_lrn,
        "Local response normalisation has no parameters and no MACs, only elementwise work and memory traffic.",
        f"{PAPER}, Figure 3; Simonyan & Zisserman 2014, arXiv 1409.1556, section 4.4",
    ),
    "no_aux": Ablation(
        no_aux,
        "The auxiliary heads nearly double the parameters of training for 0.5 % more work; inference has none.",
        f"{PAPER}, section 5",
    ),
}


def apply(graph: Graph, name: str) -> Graph:
    """Return the graph after one ablation, with its name appended; raise `UsageError` if that is unknown."""
    if name not in ABLATIONS:
        raise UsageError(f"unknown ablation {name!r}{nearest(name, ABLATIONS)} (see: archlab list)")
    try:
        changed = ABLATIONS[name].apply(graph)
    except AblationError:
        raise AblationError(f"{graph.name}: ablation {name!r} matches no layer of this graph; leave it out") from None
    return changed.named(f"{graph.name}+{name}")


def _is_pointwise(op: Op) -> bool:
    return isinstance(op, Conv2d) and op.kernel == op.stride == (1, 1) and op.groups == 1


def _narrows(graph: Graph, node: Node) -> bool:
    return graph.specs[node.name][0].shape[1] < graph.input_specs(node)[0].shape[1]


def _after(graph: Graph, node: Node, through: tuple[type[Op], ...]) -> Node | None:
    """Return the only reader of a node behind the `through` ops that only it feeds."""
    chain = trailing(graph, node, through)
    return only_reader(graph, chain[-1] if chain else node)


def _behind_average(graph: Graph, node: Node) -> Node | None:
    reader = _after(graph, node, (Flatten, Dropout))
    return reader if reader is not None and isinstance(reader.op, Linear) else None


def _averaged_heads(graph: Graph) -> Selection:
    """Select the global average pools that feed a flattened linear layer and nothing else."""

    def feeds_classifier(graph: Graph, node: Node) -> bool:
        flattened = any(isinstance(n.op, Flatten) for n in trailing(graph, node, (Flatten, Dropout)))
        return flattened and _behind_average(graph, node) is not None

    return select(graph, GlobalAvgPool2d, where=feeds_classifier)


def _beside(node: Node, name: str) -> str:
    return f"{node.block}/{name}" if node.block else name
