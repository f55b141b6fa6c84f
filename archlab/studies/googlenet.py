"""The report on GoogLeNet: totals, stages, and why work and params sit at opposite ends."""

from __future__ import annotations

from collections.abc import Mapping

from archlab import api
from archlab.analyses.depth import depth
from archlab.analyses.memory import peak_memory
from archlab.cost import Cost, total
from archlab.profiles import Profile
from archlab.report.numbers import human, in_bytes
from archlab.report.table import Block, Column, Document, Heading, Table
from archlab.report.views import totals_table
from archlab.studies import googlenet_blocks, googlenet_reach, googlenet_versions
from archlab.studies.googlenet_blocks import SHARES, field_size, shares, weights
from archlab.studies.prose import PAPER_LINK, TERMS, TITLES, code, ending, paragraph, percent

FILE = "googlenet.md"
STAGES: Mapping[str, tuple[str, ...]] = {
    "stem": ("conv1", "pool1", "conv2", "pool2"),
    "modules 3a, 3b": ("inception_3a", "inception_3b", "pool3"),
    "modules 4a to 4e": (*(f"inception_4{letter}" for letter in "abcde"), "pool4"),
    "modules 5a, 5b": ("inception_5a", "inception_5b"),
    "head": ("pool5", "flatten", "dropout", "linear", "softmax"),
}
"""The blocks of each stage; a stage ends with the pool that halves its sides."""


def study() -> Document:
    """Return the report."""
    profile = api.profile("googlenet")
    commands = (
        "archlab profile googlenet --exact",
        "archlab profile googlenet --depth 1 --exact",
        "archlab profile googlenet --columns params,macs,share,receptive_field,effective_stride",
        "archlab explain googlenet conv2/3x3",
        "archlab profile googlenet --mode training --depth 1",
        "archlab compare googlenet googlenet-torchvision googlenet-tfslim inception5h",
    )
    blocks = (
        *_answer(profile),
        *_stages(profile),
        *googlenet_blocks.by_block(profile),
        *googlenet_blocks.by_filter(profile),
        *googlenet_reach.sections(profile),
        *googlenet_versions.sections(),
        *googlenet_blocks.by_layer(profile),
    )
    return Document(TITLES[FILE], (*blocks, *ending(FILE, *commands)))


def _answer(profile: Profile) -> tuple[Block, ...]:
    cost, stages, graph = profile.total, by_stage(profile), profile.graph
    early = stages["stem"] + stages["modules 3a, 3b"]
    late = stages["modules 5a, 5b"] + stages["head"]
    reach = field_size(graph, "inception_5b/output")
    side = profile.layers[0].output_shape[2]
    return (
        paragraph(f"""
            **GoogLeNet ({PAPER_LINK}) takes {human(cost.macs)} MACs, or {human(cost.flops)} FLOPs, for one image of
            {side}×{side}. It has {human(cost.params)} params.** It is {depth(graph).weighted} weighted layers deep. A
            value behind its last module can depend on {reach}×{reach} pixels, more than the whole image. Its weights
            take {in_bytes(cost.weight_bytes)}; its activations need {in_bytes(peak_memory(graph).bytes)} at the
            fullest moment.
        """),
        paragraph(f"""
            Work and params sit at opposite ends. The stem and the modules 3a and 3b do
            **{percent(early.macs, cost.macs)} of the MACs with {percent(early.params, cost.params)} of the params**.
            The modules 5a and 5b and the classifier do {percent(late.macs, cost.macs)} of the MACs with
            {percent(late.params, cost.params)} of the params. To make the network faster, look at the front. To make
            it smaller, look at the end.
        """),
        totals_table(profile),
        paragraph("""
            The unused params belong to the auxiliary heads, which run in training only. Every number is taken apart
            below.
        """),
        TERMS,
    )


def by_stage(profile: Profile) -> dict[str, Cost]:
    """Return the cost of each stage."""
    blocks = profile.by_block()
    return {stage: total(blocks[name] for name in names) for stage, names in STAGES.items()}


def _stages(profile: Profile) -> tuple[Block, ...]:
    whole = profile.total
    rows = [
        (stage, _sides(profile, STAGES[stage]), *shares(cost, whole), cost.activations)
        for stage, cost in by_stage(profile).items()
    ]
    columns = (Column("stage"), Column("positions"), *SHARES, Column("activations", "count", exact=True))
    conv, linear = profile.layer("conv2/3x3"), profile.layer("linear")
    side = conv.output_shape[2]
    names = ("conv1/7x7_s2", *(f"inception_{place}/1x1" for place in ("3a", "4a", "5a")))
    uses = [layer.cost.macs // weights(profile, [layer]) for layer in map(profile.layer, names)]
    return (
        Heading("Where the work is, and why"),
        Table(columns, rows, total=("total", "", *shares(whole, whole), whole.activations)),
        paragraph("""
            The reason is reuse. A convolution applies every weight once at every position, so its MACs are its
            weights times its positions. A linear layer has one position:
        """),
        code(
            f"conv2/3x3  {conv.formula.symbolic}",
            f"           = {conv.formula.substituted} MACs",
            f"           = {weights(profile, [conv]):,} weights, each used {side}·{side} = {side * side:,} times",
            f"linear     {linear.formula.symbolic}",
            f"           = {linear.formula.substituted} MACs",
            f"           = {weights(profile, [linear]):,} weights, each used once",
        ),
        paragraph(f"""
            Each stage halves the sides, which leaves a quarter of the positions. One weight costs {uses[0]:,} MACs in
            conv1, {uses[1]:,} in 3a, {uses[2]:,} in 4a, {uses[3]:,} in 5a, and one in the classifier. Params grow
            toward the end, but their price falls faster.
        """),
    )


def _sides(profile: Profile, blocks: tuple[str, ...]) -> str:
    """Return the sides of what those layers of some blocks write that have MACs."""
    shapes = [x.output_shape for x in profile.layers if x.name.split("/")[0] in blocks and x.cost.macs]
    return ", ".join(dict.fromkeys(f"{shape[2]}×{shape[3]}" if len(shape) == 4 else "1" for shape in shapes))
