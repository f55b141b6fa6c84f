"""The report on GoogLeNet's ablations: what each changes, what it costs, whether its claim holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from archlab import api
from archlab.analyses.memory import peak_memory
from archlab.comparisons import Comparison
from archlab.profiles import Layer, Profile
from archlab.report.numbers import change, in_bytes, times
from archlab.report.table import Block, Column, Document, Heading, Table, Text
from archlab.studies.prose import TERMS, TITLES, ending, listed, paragraph, points
from archlab.studies.verdicts import VERDICTS, Verdict
from archlab.zoo.ablations import ABLATIONS

FILE = "googlenet-ablations.md"
BASE = "googlenet"


def study() -> Document:
    """Return the report."""
    base = api.profile(BASE)
    comparisons = {name: api.compare(base, f"{BASE}+{name}") for name in ABLATIONS}
    verdicts = {name: VERDICTS[name](comparison) for name, comparison in comparisons.items()}
    sections = [block for name in ABLATIONS for block in _section(name, comparisons[name], verdicts[name])]
    commands = (
        f"archlab compare {BASE} {BASE}+naive",
        f"archlab compare {BASE} {BASE}+fc_head {BASE}+fc4096_head --exact",
        f"archlab compare {BASE} {BASE}+no_aux --mode training",
        f"archlab compare {BASE} {BASE}+factorized_5x5 --top 10",
        "archlab list",
    )
    blocks = (*_answer(base, comparisons, verdicts), Heading("One by one"), *sections)
    return Document(TITLES[FILE], (*blocks, *ending(FILE, *commands)))


def _answer(base: Profile, comparisons: dict[str, Comparison], verdicts: dict[str, Verdict]) -> tuple[Block, ...]:
    judged = [v.supported for v in verdicts.values() if v.supported is not None]
    most = {
        metric: max(comparisons, key=lambda name: comparisons[name].ratio(metric))
        for metric in ("macs", "params", "bytes_moved")
    }
    ratios = {metric: times(float(comparisons[name].ratio(metric))) for metric, name in most.items()}
    hidden = times(float(comparisons[most["bytes_moved"]].ratio("macs")))
    factorized = comparisons["factorized_5x5"].ratio("macs")
    still = listed(f"`+{name}`" for name, c in comparisons.items() if c.ratio("macs") == 1)
    return (
        paragraph(f"""
            An *ablation* changes one thing in a network, so that its worth shows. Here are {len(comparisons)} edits
            of GoogLeNet, one at a time. {len(judged)} come with a claim that counting can judge, and **the numbers
            support {"all" if all(judged) else sum(judged)} of these {len(judged)}**. The others measure what a part
            is worth.
        """),
        points(
            f"""**The most work:** `+{most["macs"]}`, {ratios["macs"]} the MACs. Reductions and projections are what
            makes the network affordable.""",
            f"""**The most params:** `+{most["params"]}`, {ratios["params"]}. Averaging in front of the classifier is
            what makes it small.""",
            f"""**The most memory traffic:** `+{most["bytes_moved"]}`, {ratios["bytes_moved"]} the bytes for {hidden}
            the MACs. Who looks at MACs alone does not see it.""",
            f"""**The surprise:** `+factorized_5x5`, {change(float(factorized))} MACs. Two 3×3 filters for one 5×5 are
            known as a saving, and here they are none.""",
            f"""**The same MACs to the last digit:** {still}. Their effect is in FLOPs, in memory traffic, or in
            training.""",
        ),
        _glance(comparisons, verdicts),
        TERMS,
        _costs(base, comparisons),
        _peak(base, comparisons),
    )


def _glance(comparisons: dict[str, Comparison], verdicts: dict[str, Verdict]) -> Table:
    rows = [
        (
            f"`+{name}`",
            *(c.ratio(metric) for metric in ("macs", "params", "flops", "bytes_moved")),
            verdicts[name].word,
        )
        for name, c in comparisons.items()
    ]
    columns = (
        Column("ablation"),
        *(Column(title, "ratio") for title in ("MACs", "params", "FLOPs", "bytes moved")),
        Column("claim"),
    )
    return Table(columns, rows, title="Against the unchanged network, in inference")


def _costs(base: Profile, comparisons: dict[str, Comparison]) -> Table:
    subjects = {f"`{BASE}`": base, **{f"`+{name}`": c.others[0] for name, c in comparisons.items()}}
    rows = []
    for name, profile in subjects.items():
        cost = profile.total
        sizes = (cost.weight_bytes, cost.bytes_moved, profile.peak_memory)
        rows.append((name, cost.macs, cost.params, cost.flops, *sizes, cost.intensity))
    columns = (
        Column("network"),
        *(Column(title, "count", exact=True) for title in ("MACs", "params", "FLOPs")),
        *(Column(title, "count", "B", exact=True) for title in ("weights", "bytes moved", "peak memory")),
        Column("intensity", "decimal", "FLOP/B"),
    )
    return Table(columns, rows, title="Totals in inference, one image of 224×224")


def _peak(base: Profile, comparisons: dict[str, Comparison]) -> Text:
    """Return what the column of peak memory says."""
    profiles = [base, *(c.others[0] for c in comparisons.values())]
    places = list(dict.fromkeys(peak_memory(profile.graph).node for profile in profiles))
    sizes = {profile.peak_memory for profile in profiles}
    if len(sizes) > 1:
        return paragraph(f"The peak memory differs; it is reached at {listed(f'`{place}`' for place in places)}.")
    return paragraph(f"""
        The peak memory is {in_bytes(sizes.pop())} in every row. It is reached at {listed(f"`{p}`" for p in places)},
        where the image is largest. No edit of a module, not even the naive one, has as much alive at once. Whether a
        network fits and what it costs are two questions.
    """)


def _section(name: str, comparison: Comparison, verdict: Verdict) -> tuple[Block, ...]:
    ablation, measures = ABLATIONS[name], verdict.supported is None
    return (
        Heading(f"`+{name}`", 3),
        points(
            f"**{'Measures' if measures else 'Claim'}:** {ablation.claim} *{ablation.source}*",
            f"**Changed:** {_changed(comparison)}",
            f"**{'Result' if measures else f'Verdict: {verdict.word}'}.** {verdict.because}",
        ),
    )


def _changed(comparison: Comparison) -> str:
    """Return which layers an edit takes out, puts in, and makes cost something else."""
    pairs = [row.layers for row in comparison.rows]
    found = {
        "gone": [old for old, new in pairs if old and not new],
        "new": [new for old, new in pairs if new and not old],
        "kept at another cost": [old for old, new in pairs if old and new and old.cost != new.cost],
    }
    parts = [f"{_kinds(layers)} {word}" for word, layers in found.items() if layers]
    return "; ".join(parts) + "." if parts else "nothing; every layer costs what it did."


def _kinds(layers: Iterable[Layer | None]) -> str:
    return listed(f"{n} {op}" for op, n in Counter(layer.op for layer in layers if layer).items())
