"""The report on GoogLeNet's auxiliary classifiers: what one backward pass says of them, and what it cannot say."""

from __future__ import annotations

from archlab.gradients import INITIALISATIONS, GradientFlow, Spread
from archlab.report.gradients import between, factor, number, setting
from archlab.report.table import Block, Column, Document, Heading, Table
from archlab.studies.auxiliary_measured import (
    FIRST,
    LAST,
    NETWORKS,
    SETTING,
    TAPS,
    fall,
    measured,
    not_larger,
    ratio,
    shared,
)
from archlab.studies.prose import PAPER_LINK, TITLES, code, ending, listed, paragraph, points

FILE = "auxiliary-classifiers.md"
LATER_LINK = "[Szegedy et al. 2015, arXiv 1512.00567](https://arxiv.org/abs/1512.00567)"


def study() -> Document:
    """Return the report."""
    paper, normed = (measured(network) for network in NETWORKS)
    blocks = (
        *_answer(paper, normed),
        *_claims(),
        *_how(paper),
        *_paper(paper),
        *_normed(normed),
        *_limits(paper, normed),
    )
    quick = "archlab gradients {0}+no_aux {0} --seeds 1 --batch 2 --init {1}"
    commands = [quick.format(NETWORKS[0], "gaussian"), quick.format(NETWORKS[1], "kaiming")]
    return Document(TITLES[FILE], (*blocks, *ending(FILE, *commands)))


def _answer(paper: GradientFlow, normed: GradientFlow) -> tuple[Block, ...]:
    at = {init: factor(ratio(paper, init, FIRST).median) for init in paper.inits}
    with_norm = between(ratio(normed, init, FIRST).median for init in normed.inits)
    seeds = paper.setting.seeds
    exceptions = [
        f"{block} of {network} with {init}"
        for network, flow in zip(NETWORKS, (paper, normed), strict=True)
        for init, block in not_larger(flow)
    ]
    but = f" But not in {listed(exceptions)}." if exceptions else ""
    cosine = {init: _median(paper, init, FIRST, "along", heads=True) for init in paper.inits}
    return (
        paragraph(f"""
            While GoogLeNet learns, two small classifiers sit on modules 4a and 4d, and their losses are added to that
            of the main one. Do they carry gradient to the early layers? **At the first step they do, and how much
            depends on how the weights are drawn.** With a deviation of 0.01 the heads make the gradient of the first
            convolution {at["gaussian"]} larger, with torch's own initialisation {at["default"]}, with Xavier's
            {at["xavier"]}, with Kaiming's {at["kaiming"]}. In the network with batch norm it is {with_norm}, however
            the weights are drawn.
        """),
        _glance(paper, normed),
        points(
            """**The heads make up for a gradient that vanishes.** Where little of it arrives, they add much. Where
            the initialisation or batch norm lets it arrive, they add little.""",
            f"""**They shorten the way, they do not mend it.** With a deviation of 0.01 and with heads, the first
            convolution's gradient is still {number(_median(paper, "gaussian", FIRST, "norm", heads=True))}; the
            classifier's is {number(_median(paper, "gaussian", LAST, "norm", heads=True))}.""",
            f"""**All seeds agree.** Up to the second head the gradient is larger with heads for each of the {seeds}
            seeds.{but} Behind it, from 4e on, it is the same to the last digit: nothing flows there from a head.""",
            f"""**Where the gradient vanishes, the heads alone decide.** The cosine between the first convolution's
            gradient with heads and without is {cosine["gaussian"]:.2f} with a deviation of 0.01 and
            {cosine["default"]:.2f} with torch's own: the main classifier has next to no say in the first step. With
            Kaiming's it is {cosine["kaiming"]:.2f}.""",
            """**A factor near 1.6 says little.** The loss with heads weighs 1 + 0.3 + 0.3 = 1.6 times as much.
            Without heads, a larger step would give as much.""",
        ),
    )


def _glance(paper: GradientFlow, normed: GradientFlow) -> Table:
    rows = []
    for name, flow in (("the paper's", paper), ("with batch norm", normed)):
        for init in flow.inits:
            ratios = [_with_range(ratio(flow, init, block)) for block in (FIRST, *TAPS)]
            rows.append((name, init, factor(fall(flow, init).median), *ratios))
    columns = (
        Column("network"),
        Column("initialisation"),
        Column("without heads: conv1 ÷ 5b", "decimal"),
        Column("with ÷ without heads: conv1", "decimal"),
        Column("4a", "decimal"),
        Column("4d", "decimal"),
    )
    return Table(
        columns,
        rows,
        title="How much of the gradient reaches conv1 without heads (its output ÷ that of 5b), and what heads add",
    )


def _claims() -> tuple[Block, ...]:
    return (
        Heading("What is claimed"),
        paragraph(f"""
            {PAPER_LINK}, section 5, gives three reasons for the heads: the features in the middle should already tell
            classes apart, more gradient should reach the layers in front, and the training should be regularised.
            Each head's loss counts 0.3, and the heads are dropped after training. {LATER_LINK}, section 4, doubts it:
            there the heads did not make the network learn faster at first, they helped only near the end, and the
            lower of the two could go without harm. Its authors read them as regularisers.
        """),
    )


def _how(paper: GradientFlow) -> tuple[Block, ...]:
    seeds, batch = (SETTING[key] for key in ("seeds", "batch"))
    return (
        Heading("How it was measured"),
        paragraph(f"""
            One forward and one backward pass of the network with its heads and without (`+no_aux`), for
            {paper.setting.seeds} seeds and {len(paper.inits)} initialisations. Both networks of a pair have the same
            images, labels and dropout, and the same weights in every layer that they share, so a ratio compares
            nothing but the heads. The figure of a block is the L2 norm of the gradient of all its parameters; medians
            over seeds, with the lowest and the highest in brackets. {setting(paper)}
        """),
        points(*(f"**{init}**: {words}" for init, words in INITIALISATIONS.items())),
        code(*(f"archlab gradients {n}+no_aux {n} --seeds {seeds} --batch {batch}" for n in NETWORKS)),
        paragraph("""
            A page of measurements cannot be rendered from the code alone. Every pass is kept in
            `archlab/studies/measured/`, and this page is rendered from there; `python benchmarks/gradients.py`
            measures anew. A seed draws the same everywhere; the last digits depend on the machine.
        """),
    )


def _paper(flow: GradientFlow) -> tuple[Block, ...]:
    steps = {init: [ratio(flow, init, block).median for block in TAPS] for init in flow.inits}
    weakest = "gaussian"
    return (
        Heading("The paper's network, block by block"),
        _norms(flow),
        paragraph(f"""
            With a deviation of 0.01 the first convolution has a gradient of
            {number(_median(flow, weakest, FIRST, "norm"))}, and the classifier one of
            {number(_median(flow, weakest, LAST, "norm"))}. With Kaiming's weights, which are drawn so that a signal
            keeps its size through ReLUs, they are {number(_median(flow, "kaiming", FIRST, "norm"))} and
            {number(_median(flow, "kaiming", LAST, "norm"))}.
        """),
        _ratios(flow),
        paragraph(f"""
            The ratios have two steps, at the modules that the heads read. Between the heads only the second one
            reaches: {factor(steps[weakest][1])} at 4d with a deviation of 0.01. In front of the first one both do:
            {factor(steps[weakest][0])} at 4a. From there to the image a ratio hardly changes, since both gradients go
            through the same layers.
        """),
        _cosines(flow),
    )


def _normed(flow: GradientFlow) -> tuple[Block, ...]:
    taps = [[ratio(flow, init, block).median for init in flow.inits] for block in TAPS]
    falls = between(fall(flow, init).median for init in flow.inits)
    return (
        Heading("The same with batch norm"),
        paragraph(f"""
            `{NETWORKS[1]}` has batch norm behind every convolution, and no LRN. Its gradient does not vanish: without
            heads, the first convolution's output receives {falls} what module 5b's output does.
        """),
        _ratios(flow),
        paragraph(f"""
            Here the ratio does not rise from 4d ({between(taps[1])}) to 4a ({between(taps[0])}): of what the first
            head adds, next to nothing shows. That fits the later paper's remark that the lower head could go. It does
            not prove it.
        """),
    )


def _limits(paper: GradientFlow, normed: GradientFlow) -> tuple[Block, ...]:
    factors = between(ratio(flow, init, FIRST).median for flow in (paper, normed) for init in flow.inits)
    return (
        Heading("What this supports, and what not"),
        points(
            f"""**Supported:** at the first step more gradient reaches the early layers with the heads, as the paper
            expects. How much more is a matter of the initialisation and of batch norm: {factors} in the first
            convolution. No single factor describes it.""",
            """**Not supported:** that the network learns faster or better. This is one point of a training; what
            comes of it is another question, and an optimiser that scales each gradient by its own size takes most of
            the factor out again.""",
            """**Not touched:** regularisation, the features in the middle, accuracy, and anything after the first
            step. What the later paper found is about whole trainings; nothing here speaks against it.""",
            f"""**Left open:** images and labels are random, {paper.setting.seeds} draws of {SETTING["batch"]}; real
            images are more alike, and another batch shifts the factors. The paper's section on training does not say
            how the weights were drawn, so which row was theirs is not known.""",
        ),
    )


def _norms(flow: GradientFlow) -> Table:
    base = flow.subjects[0]
    rows = []
    for block in shared(flow):
        spreads = [flow.spread(base, init, block) for init in flow.inits]
        cells = [f"{number(s.median)} ({number(s.low)} … {number(s.high)})" for s in spreads if s is not None]
        rows.append((block, flow.params(block)[base], *cells))
    columns = (Column("block"), Column("params", "count"), *(Column(init, "decimal") for init in flow.inits))
    return Table(columns, rows, title="Gradient norm without heads")


def _ratios(flow: GradientFlow) -> Table:
    rows = []
    for block in shared(flow):
        verdicts = {found.verdict for init in flow.inits if (found := flow.ratio(flow.subjects[1], init, block))}
        ratios = [_with_range(ratio(flow, init, block)) for init in flow.inits]
        rows.append((block, *ratios, verdicts.pop() if len(verdicts) == 1 else "depends"))
    columns = (Column("block"), *(Column(init, "decimal") for init in flow.inits), Column("with heads"))
    return Table(columns, rows, title="Gradient norm with heads ÷ without")


def _cosines(flow: GradientFlow) -> Table:
    rows = []
    for block in shared(flow):
        spreads = [flow.spread(flow.subjects[1], init, block, "along") for init in flow.inits]
        cells = [f"{s.median:.2f} ({s.low:.2f} … {s.high:.2f})" for s in spreads if s is not None]
        rows.append((block, *cells))
    columns = (Column("block"), *(Column(init, "decimal") for init in flow.inits))
    return Table(columns, rows, title="Cosine between the gradients with and without heads")


def _with_range(spread: Spread) -> str:
    if spread.low == spread.high:
        return factor(spread.median)
    return f"{factor(spread.median)} ({factor(spread.low)} … {factor(spread.high)})"


def _median(flow: GradientFlow, init: str, block: str, quantity: str, *, heads: bool = False) -> float:
    """Return the median of a quantity of the network without heads, or with them."""
    found = flow.spread(flow.subjects[heads], init, block, quantity)
    assert found is not None
    return found.median
