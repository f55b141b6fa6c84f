"""GoogLeNet taken apart: by block, by kind of filter, by layer."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from archlab.analyses.receptive_field import receptive_field
from archlab.cost import Cost, total
from archlab.ir import Graph
from archlab.ops import Conv2d
from archlab.profiles import Layer, Profile
from archlab.report.table import Block, Column, Heading, Table
from archlab.studies.prose import paragraph, percent, shape
from archlab.zoo.ablations import pool_projections, reductions

EXACT_PARAMS = Column("params", "count", exact=True)
EXACT_MACS = Column("MACs", "count", exact=True)
SHARE_OF_MACS = Column("share of MACs", "share")
SHARES = (EXACT_PARAMS, Column("share of params", "share"), EXACT_MACS, SHARE_OF_MACS)
"""The columns of `shares`."""
FIELD = Column("receptive field", "decimal", "pixels")


def shares(cost: Cost, whole: Cost) -> tuple[int | float, ...]:
    """Return params and MACs, each followed by its share of a whole."""
    return cost.params, cost.params / whole.params, cost.macs, cost.macs / whole.macs


def weights(profile: Profile, layers: Iterable[Layer]) -> int:
    """Return the params of some layers without their biases."""
    return sum(profile.graph.params[x.node.weights["weight"]].spec.numel for x in layers if x.cost.macs)


def field_size(graph: Graph, name: str) -> str:
    """Return a layer's receptive field in pixels as text, empty where it has none."""
    field = receptive_field(graph)[name]
    return str(field.size) if field else ""


def by_block(profile: Profile) -> tuple[Block, ...]:
    """Return the section with a row a block."""
    reach, whole = receptive_field(profile.graph), profile.total
    work, traffic = [], []
    for name, cost in profile.by_block().items():
        if not cost.bytes_moved:
            continue
        layers = [layer for layer in profile.layers if layer.name.split("/")[0] == name]
        field, own = reach[layers[-1].name], weights(profile, layers)
        seen = (str(field.size), str(field.stride)) if field else ("", "")
        uses = f"{cost.macs // own:,}" if own else ""
        share = cost.macs / whole.macs
        work.append((name, shape(layers[-1].outputs[0]), cost.params, cost.macs, share, uses, *seen))
        traffic.append((name, cost.flops, cost.activations, cost.bytes_moved, cost.intensity))
    columns = (
        Column("block"),
        Column("output"),
        EXACT_PARAMS,
        EXACT_MACS,
        SHARE_OF_MACS,
        Column("uses of a weight", "decimal"),
        FIELD,
        Column("stride", "decimal", "pixels"),
    )
    moves = (
        Column("block"),
        Column("FLOPs", "count", exact=True),
        Column("activations", "count", exact=True),
        Column("bytes moved", "count", "B", exact=True),
        Column("intensity", "decimal", "FLOP/B"),
    )
    ends = ("total", whole.flops, whole.activations, whole.bytes_moved, whole.intensity)
    return (
        Heading("Block by block"),
        Table(columns, work, title="Work", total=("total", "", whole.params, whole.macs, 1.0, "", "", "")),
        paragraph("""
            *Uses of a weight* is MACs ÷ weights: the number of positions at which each weight is applied. *Stride* is
            the distance between neighbouring values in pixels of the input. Flatten and dropout do nothing in
            inference and are left out.
        """),
        Table(moves, traffic, title="Memory traffic", total=ends),
        paragraph("""
            *Bytes moved* is memory traffic without any fusion: inputs and weights read once, outputs written once.
            *Intensity* is FLOPs ÷ bytes moved. Where it is low, memory is the limit and not arithmetic: the pools,
            and the classifier, which reads each weight for a single use.
        """),
    )


def by_filter(profile: Profile) -> tuple[Block, ...]:
    """Return the section with a row a kind of filter; kinds are found by structure."""
    graph, whole = profile.graph, profile.total
    reducing = {node.name for node in reductions(graph).nodes}
    projecting = {node.name for node in pool_projections(graph).nodes}

    def square(kernel: int) -> Callable[[Layer], bool]:
        return lambda layer: isinstance(layer.node.op, Conv2d) and layer.node.op.kernel == (kernel, kernel)

    kinds: dict[str, Callable[[Layer], bool]] = {
        "7×7": square(7),
        "5×5": square(5),
        "3×3": square(3),
        "1×1, reductions in front of 3×3 and 5×5": lambda layer: layer.name in reducing,
        "1×1, projections behind pools": lambda layer: layer.name in projecting,
        "1×1, branches of their own": lambda layer: layer.name.endswith("/1x1"),
        "1×1 in the stem (64 → 64, narrows nothing)": lambda layer: layer.name == "conv2/3x3_reduce",
        "linear": lambda layer: layer.op == "Linear",
    }
    found = {kind: [x.cost for x in profile.layers if belongs(x)] for kind, belongs in kinds.items()}
    rows = [(kind, str(len(costs)), *shares(total(costs), whole)) for kind, costs in found.items()]
    three = total(found["3×3"])
    thin = total(cost for kind, costs in found.items() if kind.startswith("1×1") for cost in costs)
    count = str(sum(len(costs) for costs in found.values()))
    return (
        Heading("By kind of filter"),
        Table(
            (Column("filter"), Column("layers", "decimal"), *SHARES),
            rows,
            total=("total", count, *shares(whole, whole)),
        ),
        paragraph(f"""
            The 3×3 filters do most of the work, {percent(three.macs, whole.macs)}. All 1×1 filters together do
            {percent(thin.macs, whole.macs)} and hold {percent(thin.params, whole.params)} of the params. What the
            reductions save is the subject of [a report of its own](1x1-reduction.md).
        """),
    )


def by_layer(profile: Profile) -> tuple[Block, ...]:
    """Return the sections with a row a layer that has MACs, and a row a kind of operation."""
    reach, whole = receptive_field(profile.graph), profile.total
    weighted = [layer for layer in profile.layers if layer.cost.macs]
    rows = []
    for layer in weighted:
        field, product = reach[layer.name], layer.formula.substituted.rpartition(" = ")[0]
        share = layer.cost.macs / whole.macs
        size = str(field.size) if field else ""
        rows.append((layer.name, shape(layer.outputs[0]), layer.cost.params, layer.cost.macs, share, product, size))
    columns = (
        Column("layer"),
        Column("output"),
        EXACT_PARAMS,
        EXACT_MACS,
        SHARE_OF_MACS,
        Column("MACs as a product"),
        FIELD,
    )
    kinds = {op: sum(x.op == op for x in profile.layers) for op in profile.by_op()}
    operations = [
        (op, str(kinds[op]), cost.flops, cost.activations, cost.bytes_moved) for op, cost in profile.by_op().items()
    ]
    titles = (
        Column("operation"),
        Column("layers", "decimal"),
        *(Column(title, "count", exact=True) for title in ("FLOPs", "activations")),
        Column("bytes moved", "count", "B", exact=True),
    )
    ends = ("total", str(sum(kinds.values())), whole.flops, whole.activations, whole.bytes_moved)
    heavy = total(layer.cost for layer in weighted)
    return (
        Heading(f"All {len(weighted)} layers with weights"),
        paragraph(f"""
            The product of a convolution is `{weighted[0].formula.symbolic}`, that of the classifier
            `{weighted[-1].formula.symbolic}`.
        """),
        Table(columns, rows, total=("total", "", whole.params, whole.macs, 1.0, "", "")),
        Heading("What the other operations add"),
        Table(titles, operations, total=ends),
        paragraph(f"""
            Convolutions and the classifier do {percent(heavy.flops, whole.flops)} of the FLOPs but move only
            {percent(heavy.bytes_moved, whole.bytes_moved)} of the bytes. The rest of the traffic is ReLU, pooling,
            normalisation and concatenation, which hardly compute. That is what fusing them into the convolutions
            saves.
        """),
    )
