"""Four implementations of GoogLeNet side by side, and the trap in the one that looks like the paper."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from archlab import api
from archlab.ir import Graph, Node
from archlab.ops import BatchNorm, Conv2d, LocalResponseNorm
from archlab.profiles import Profile
from archlab.report.numbers import human
from archlab.report.table import Block, Column, Heading, Table
from archlab.studies.googlenet_blocks import EXACT_MACS, EXACT_PARAMS, field_size, weights
from archlab.studies.prose import code, paragraph, percent, points
from archlab.transform import select
from archlab.zoo.catalog import ARCHITECTURES

VERSIONS = ("googlenet", "googlenet-torchvision", "googlenet-tfslim", "inception5h")


def sections() -> tuple[Block, ...]:
    """Return the sections on the implementations."""
    profiles = [api.profile(name) for name in VERSIONS]
    return (
        Heading("Four implementations that share the name"),
        points(*(f"`{name}`: {ARCHITECTURES[name].summary} *{ARCHITECTURES[name].source}*" for name in VERSIONS)),
        _totals(profiles),
        _choices(),
        *_trap(profiles[0], profiles[1]),
    )


def _totals(profiles: list[Profile]) -> Table:
    columns = (
        Column("implementation"),
        EXACT_MACS,
        EXACT_PARAMS,
        Column("of which weights", "count", exact=True),
        Column("biases", "count", exact=True),
        Column("norms", "count", exact=True),
        Column("params with auxiliary heads", "count", exact=True),
        Column("FLOPs", "count", exact=True),
        Column("activations", "count", exact=True),
        Column("peak memory", "count", "B", exact=True),
    )
    rows = []
    for profile in profiles:
        cost, unused = profile.total, profile.parameters["unused"]
        heavy = weights(profile, profile.layers)
        parts = (heavy, profile.biases, cost.params - heavy - profile.biases)
        counts = (cost.params + unused if unused else None, cost.flops, cost.activations, profile.peak_memory)
        rows.append((f"`{profile.subject}`", cost.macs, cost.params, *parts, *counts))
    return Table(columns, rows, title="Totals in inference, one image of 224×224")


def _choices() -> Table:
    """Return what the graphs themselves say about the choices in which they differ."""
    facts: dict[str, Callable[[Graph], object]] = {
        "kernel of the “5×5” branch": lambda g: _square(_op(g, "inception_3a/5x5")),
        "3×3 filters in 4a": lambda g: _op(g, "inception_4a/3x3").out_channels,
        "1×1 filters in front of 5×5 in 5a": lambda g: _op(g, "inception_5a/5x5_reduce").out_channels,
        "norm behind convolutions": _norm,
        "local response norms": lambda g: len(select(g, LocalResponseNorm)),
        "max pool in front of 5a": lambda g: _square(next(n.op for n in g.nodes if n.name.startswith("pool4/"))),
        "dropout in front of the classifier": lambda g: _op(g, "dropout").p,
        "auxiliary heads": lambda g: len({n.block for n in g.nodes if n.train_only}),
        "receptive field at 5b [pixels]": lambda g: field_size(g, "inception_5b/output"),
    }
    graphs = [api.load(name) for name in VERSIONS]
    rows = [(fact, *(str(read(graph)) for graph in graphs)) for fact, read in facts.items()]
    return Table((Column("choice"), *(Column(f"`{name}`") for name in VERSIONS)), rows, title="In what they differ")


def _op(graph: Graph, name: str) -> Any:
    return graph.node(name).op


def _square(op: Any) -> str:
    return "×".join(map(str, op.kernel))


def _norm(graph: Graph) -> str:
    norms: list[Any] = [node.op for node in select(graph, BatchNorm).nodes]
    if not norms:
        return "none"
    return "batch norm" if norms[0].scale else "batch norm without scale"


def repaired() -> Graph:
    """Return torchvision's network with 5×5 filters where the paper has them."""

    def five(_: Graph, node: Node) -> Any:
        return replace(node.op, kernel=5, padding=2)  # type: ignore[call-arg]

    branch = select(api.load("googlenet-torchvision"), Conv2d, where=lambda _, node: node.name.endswith("/5x5"))
    return branch.swap(five)


def _trap(paper: Profile, torchvision: Profile) -> tuple[Block, ...]:
    fixed = api.profile(repaired()).total
    five, three = (sum(x.cost.macs for x in p.layers if x.name.endswith("/5x5")) for p in (paper, torchvision))
    macs = [profile.total.macs for profile in (paper, torchvision)]
    missing = macs[0] - macs[1]
    same = "exactly as many as the paper's geometry" if fixed.macs == macs[0] else "not those of the paper's geometry"
    near = [f"{n / 10**9:.2f} G" for n in macs]
    return (
        Heading("The trap: torchvision's count looks like the paper's", 3),
        paragraph(f"""
            The paper names a budget of 1.5 billion multiply-adds, and torchvision's network takes {human(macs[1])}
            MACs. That is a coincidence. torchvision and TF-slim have **3×3 filters in the 5×5 branch** (a known bug,
            pytorch/vision issue 906). All of the difference comes from there:
        """),
        code(
            f"5×5 filters in the nine modules  {five:>13,} MACs",
            f"3×3 filters in their place       {three:>13,} MACs  ({three / five:.2f} of it, 9/25)",
            f"difference                       {five - three:>13,} MACs",
            f"paper − torchvision              {missing:>13,} MACs  ({macs[0]:,} − {macs[1]:,})",
        ),
        paragraph(f"""
            With 5×5 filters put back, torchvision's network takes {fixed.macs:,} MACs, {same}, and has
            {fixed.params:,} params. So a count of GoogLeNet near {near[1]} means 3×3 filters, and one near {near[0]}
            means 5×5. {percent(missing, macs[0])} of the work is missing, and much of the receptive field: at 5b it
            is {field_size(torchvision.graph, "inception_5b/output")} pixels instead of
            {field_size(paper.graph, "inception_5b/output")}, to which the smaller pool in front of 5a adds its part.
            What the paper's 1.5 billion really were is the subject of [the report on Table 1](paper-table-1.md).
        """),
    )
