"""The report on 1×1 reductions: one branch, one module, the whole network, and examples in print."""

from __future__ import annotations

from fractions import Fraction

from archlab import api
from archlab.ir import Builder, Graph
from archlab.ops import Conv2d, Input
from archlab.report.comparing import totals
from archlab.report.numbers import human, times
from archlab.report.table import Block, Column, Document, Heading, Table
from archlab.studies import reduction_in_place, worked_examples
from archlab.studies.prose import TERMS, TITLES, code, decimal, ending, paragraph, products, shape

FILE = "1x1-reduction.md"
CHANNELS, SIDE, FILTERS, KERNEL, CHOSEN = 480, 14, 48, 5, 16
"""The branch of `naive` and `reduced`, restated to try other widths; a test holds it to the zoo's."""


def study() -> Document:
    """Return the report."""
    commands = (
        "archlab compare naive reduced",
        "archlab explain naive 5x5",
        "archlab compare inception-4a inception-4a+no_reduction inception-4a+naive",
        "archlab compare googlenet googlenet+no_reduction googlenet+naive",
        "archlab compare googlenet googlenet+no_reduction_3x3 googlenet+no_reduction_5x5 googlenet+no_pool_proj",
    )
    blocks = (*_answer(), *_branch(), *reduction_in_place.sections(), *worked_examples.section())
    return Document(TITLES[FILE], (*blocks, *ending(FILE, *commands)))


def _answer() -> tuple[Block, ...]:
    scales = (
        ("one 5×5 branch of module 4a", "reduced", "naive", "the 5×5 filters read all channels"),
        ("one module, 4a", "inception-4a", "inception-4a+no_reduction", "no reductions; every other width is kept"),
        ("the whole network", "googlenet", "googlenet+no_reduction", "the same in all nine modules"),
        (
            "the whole network, as Figure 2a draws it",
            "googlenet",
            "googlenet+naive",
            "no projections behind the pools either, so that modules grow",
        ),
    )
    rows, factors = [], []
    for scale, base, other, change in scales:
        comparison = api.compare(base, other)
        kept, without = (p.total.macs for p in comparison.subjects)
        factors.append(times(float(comparison.ratio("macs"))))
        rows.append((scale, kept, without, factors[-1], change))
    columns = (
        Column("scale"),
        Column("MACs with reductions", "count"),
        Column("MACs without", "count"),
        Column("factor", "decimal"),
        Column("what “without” means"),
    )
    branch, module, network, literal = factors
    return (
        paragraph(f"""
            A *reduction* is a 1×1 convolution with fewer outputs than inputs, in front of a larger filter. It thins
            the channels that the expensive filter has to read. **It makes one 5×5 branch {branch} cheaper, the module
            around it {module}, and all of GoogLeNet {network}. Against the naive network that the paper draws, the
            factor is {literal}.** All four numbers are right. They answer different questions.
        """),
        Table(columns, rows),
        paragraph("""
            The factor falls from the branch to the network, because the rest of a module and the rest of a network
            have no reductions to lose, and their cost stands on both sides. It rises again in the last line, because
            the naive network is not only unreduced. It is also wider.
        """),
        TERMS,
    )


def _branch() -> tuple[Block, ...]:
    comparison = api.compare("naive", "reduced")
    direct, through = comparison.subjects
    reduction, behind = (layer.cost.macs for layer in through.layers[1:])
    bound = break_even()
    return (
        Heading("One branch"),
        paragraph(f"""
            Module 4a puts {FILTERS} filters of {KERNEL}×{KERNEL} on {CHANNELS} channels at {SIDE}×{SIDE} positions.
            Directly (`naive`), each output value is a sum of {KERNEL}·{KERNEL}·{CHANNELS} products:
        """),
        products(direct),
        paragraph(f"""
            Behind {CHOSEN} filters of 1×1 (`reduced`), the 5×5 filters read {CHANNELS // CHOSEN} times fewer
            channels:
        """),
        products(through),
        paragraph(f"""
            The reduction costs {human(reduction)} MACs and saves {human(direct.total.macs - behind)}. The output has
            the same shape, {shape(direct.graph.output_specs[0])}. Side by side:
        """),
        totals(comparison),
        paragraph("""
            The products also say when a reduction pays. Take H·W positions, C channels in, n filters of k×k, and r
            filters of 1×1. The branch costs H·W·(C·r + r·n·k²) instead of H·W·C·n·k², and the positions cancel:
        """),
        code(
            "it saves MACs while  r < C·n·k² / (C + n·k²)",
            f"                       = {CHANNELS}·{FILTERS}·{KERNEL**2} / ({CHANNELS} + {FILTERS}·{KERNEL**2})"
            f" = {decimal(bound, 1)}",
        ),
        _widths(direct.total.macs, int(bound)),
        paragraph(f"""
            What is paid for it: one more layer in the path, one more tensor of {shape(through.layers[1].outputs[0])}
            to write and to read, and a narrower view. All that the 5×5 filters learn about the {CHANNELS} channels
            has passed through {CHOSEN} numbers a position. Whether that costs accuracy, counting cannot say.
        """),
    )


def _widths(direct: int, last: int) -> Table:
    """Return what the branch costs behind other numbers of 1×1 filters."""
    notes = {
        CHOSEN: "the choice of module 4a",
        last: "the last that saves anything",
        last + 1: "costs more than direct",
    }
    rows = []
    for width in (4, 8, CHOSEN, 32, 64, 128, 256, last, last + 1):
        cost = api.profile(through_reduction(width)).total
        rows.append(
            (str(width), cost.macs, cost.params, direct - cost.macs, direct / cost.macs, notes.get(width, ""))
        )
    columns = (
        Column("1×1 filters, r", "decimal"),
        Column("MACs", "count", exact=True),
        Column("params", "count", exact=True),
        Column("MACs saved", "count", exact=True),
        Column("direct ÷ reduced MACs", "decimal"),
        Column("note"),
    )
    return Table(columns, rows)


def break_even() -> Fraction:
    """Return the number of 1×1 filters from which on a reduction no longer saves MACs."""
    per_channel = FILTERS * KERNEL**2
    return Fraction(CHANNELS * per_channel, CHANNELS + per_channel)


def through_reduction(width: int) -> Graph:
    """Return the branch behind so many 1×1 filters."""
    b = Builder(f"through-{width}")
    x = b.add("input", Input((1, CHANNELS, SIDE, SIDE)))
    x = b.add("reduce", Conv2d(width, 1), x)
    return b.build(b.add("conv", Conv2d(FILTERS, KERNEL, padding=KERNEL // 2), x))
