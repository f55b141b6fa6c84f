"""The report on the paper's Table 1: every printed figure beside the exact one, judged by stated rules."""

from __future__ import annotations

from fractions import Fraction

from archlab import api
from archlab.profiles import Profile
from archlab.report.numbers import human, times
from archlab.report.table import Block, Column, Document, Heading, Table
from archlab.studies import claims, table_1_params
from archlab.studies.googlenet_blocks import weights
from archlab.studies.printed import TABLE_1, number
from archlab.studies.prose import PAPER_LINK, TERMS, TITLES, code, decimal, ending, paragraph, points
from archlab.studies.recount import CUT, FAILS, HOLDS, MILLION, Recount, named, ops_verdict, params_verdict, recount
from archlab.zoo import googlenet

FILE = "paper-table-1.md"
RELEASED = "inception5h+separable_stem"


def study() -> Document:
    """Return the report."""
    profiles = [api.profile(name) for name in ("googlenet", RELEASED)]
    paper, released = map(recount, profiles)
    commands = (
        "archlab profile googlenet --depth 1 --exact",
        f"archlab profile {RELEASED} --depth 1 --exact",
        f"archlab compare inception5h {RELEASED} --top 5",
        "archlab compare googlenet inception5h --top 5",
        "archlab compare googlenet alexnet vgg16 --exact",
    )
    blocks = (
        *_answer(paper, released),
        *_ops(paper, released),
        *_released(*profiles),
        *table_1_params.sections(paper, released, RELEASED),
        *claims.section(),
    )
    return Document(TITLES[FILE], (*blocks, *ending(FILE, *commands)))


def _answer(paper: Recount, released: Recount) -> tuple[Block, ...]:
    by_verdict = {v: [r for r in TABLE_1 if ops_verdict(r, paper[r.block]) == v] for v in (HOLDS, CUT, FAILS)}
    explained = [r for r in TABLE_1 if ops_verdict(r, released[r.block]) == HOLDS]
    params = [[r for r in TABLE_1 if params_verdict(r, side[r.block]) == HOLDS] for side in (paper, released)]
    totals = [sum(c.macs for c in side.values()) for side in (paper, released)]
    printed = sum((number(row.ops) for row in TABLE_1), Fraction(0))
    rows = len(TABLE_1)
    return (
        paragraph(f"""
            Table 1 of the GoogLeNet paper ({PAPER_LINK}) prints the filters of every module beside its params and its
            operations. Counted exactly from the printed filters, most of the operations hold, and most of the params
            do not:
        """),
        points(
            f"""**Ops: {rows - len(by_verdict[FAILS])} of {rows} figures hold**, {named(by_verdict[CUT])} only if its
            digits were cut off and not rounded. {named(by_verdict[FAILS])} do not. One “op” is one MAC.""",
            f"""**Params: {len(params[0])} of {rows} hold** ({named(params[0])}), if K is 1024.""",
            f"""**Sum: the exact network takes {human(totals[0])} MACs.** The printed column adds up to
            {decimal(printed, 0)} M, the “1.5 billion multiply-adds” of the text.""",
            f"""**One network reproduces {len(explained)} of {rows} ops and {len(params[1])} of {rows} params**: the
            released `inception5h` graph with a separable first convolution, {totals[1]:,} MACs in all. So the ops
            were most likely counted on a network slightly different from the one whose filters are printed.""",
        ),
        TERMS,
    )


def _ops(paper: Recount, released: Recount) -> tuple[Block, ...]:
    rows = []
    for row in TABLE_1:
        cells: list[object] = [row.type, row.ops]
        for side in (paper, released):
            found = side[row.block]
            cells += [found.macs, decimal(Fraction(found.macs, MILLION), 2), ops_verdict(row, found)]
        rows.append(cells)
    columns = [Column("row"), Column("printed ops", "decimal")]
    for network in ("printed filters", f"`{RELEASED}`"):
        columns += [
            Column(f"exact MACs, {network}", "count", exact=True),
            Column("÷ 10⁶", "decimal"),
            Column("verdict"),
        ]
    ends: list[object] = ["sum", f"{decimal(sum((number(row.ops) for row in TABLE_1), Fraction(0)), 0)}M"]
    for side in (paper, released):
        total = sum(c.macs for c in side.values())
        ends += [total, decimal(Fraction(total, MILLION), 2), ""]
    return (
        Heading("Ops"),
        paragraph("""
            *Rule:* a figure holds if MACs ÷ 10⁶, rounded to the nearest, prints the same. It is “only truncated” if
            it prints the same with the further digits cut off. Biases, pooling, normalisation and ReLU are no MACs.
        """),
        Table(tuple(columns), rows, total=ends),
    )


def _released(paper: Profile, released: Profile) -> tuple[Block, ...]:
    names = {"n3x3": "3×3", "n5x5_reduce": "5×5 reduce"}
    widths = googlenet.INCEPTION5H.widths
    differences = [
        f"#{names.get(field, field)} of {place} is {new}, not {old}"
        for place in widths
        for field, new, old in zip(widths[place]._fields, widths[place], googlenet.TABLE_1[place], strict=True)
        if new != old
    ]
    full = paper.layer("conv1/7x7_s2")
    parts = [x for x in released.layers if x.name.startswith("conv1/") and x.cost.macs]
    separable = sum(x.cost.macs for x in parts)
    modules = [row for row in TABLE_1 if row.block.startswith("inception")]
    sums = [w.n1x1 + w.n3x3 + w.n5x5 + w.pool_proj for w in googlenet.TABLE_1.values()]
    fits = sum(row.channels == channels for row, channels in zip(modules, sums, strict=True))
    changed = released.layer("inception_4a/output").output_shape[1]
    return (
        Heading("What reproduces the ops", 3),
        paragraph(f"""
            `inception5h` is the graph that Google released with TensorFlow. It differs from the printed filters in
            {len(differences)} places: {"; ".join(differences)}. That gives 4a and 5a their printed ops. conv1 needs
            one more step. In full it takes {times(full.cost.macs / separable)} what is printed:
        """),
        code(full.formula.symbolic, f"= {full.formula.substituted} MACs"),
        paragraph(f"""
            A *separable* convolution, first depthwise with multiplier 8, then pointwise, takes the printed
            {TABLE_1[0].ops}, and has the printed {TABLE_1[0].params} of weights:
        """),
        code(
            *(f"{x.name.removeprefix('conv1/'):13}  {x.formula.substituted} MACs" for x in parts),
            f"{'sum':13}  {separable:,} MACs, {weights(released, parts):,} weights",
        ),
        paragraph("""
            For their next network the authors say so: “separable convolution with depth multiplier 8 on the first
            convolutional layer” (arXiv 1502.03167, appendix). For this one it is a hypothesis that fits both figures
            of the row. `inception5h` itself has a full 7×7.
        """),
        paragraph(f"""
            The printed filters and the printed output sizes do belong together: in {fits} of {len(modules)} modules
            #1×1 + #3×3 + #5×5 + pool proj is the printed number of channels. With {widths["4a"].n3x3} filters of 3×3,
            4a would have {changed}, and the print says {modules[2].channels}.
        """),
    )
