"""The phrases and blocks that every report shares: terms, percentages, products, commands, links."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

from archlab.ir import TensorSpec
from archlab.profiles import Profile
from archlab.report.table import Block, Heading, Text

TITLES = {
    "googlenet.md": "GoogLeNet: what it costs, where, and why",
    "1x1-reduction.md": "The 1×1 reduction at three scales",
    "googlenet-ablations.md": "GoogLeNet with one thing changed",
    "paper-table-1.md": "The paper's Table 1, recounted",
    "auxiliary-classifiers.md": "GoogLeNet's auxiliary classifiers after one backward pass",
}
"""The title of every report by its file name."""
PAPER_LINK = "[Szegedy et al. 2014, arXiv 1409.4842](https://arxiv.org/abs/1409.4842)"


def paragraph(text: str) -> Text:
    """Return a text as one paragraph, its line breaks taken out."""
    return Text(" ".join(text.split()))


def points(*texts: str) -> Text:
    """Return a list of points, the line breaks of each taken out."""
    return Text("\n".join(f"- {' '.join(text.split())}" for text in texts))


TERMS = paragraph("""
    *How to read this.* One MAC is a multiplication and the addition that takes it up. FLOPs are a count, not a rate:
    two for each MAC, and one for every other operation (bias, ReLU, pooling, normalisation, softmax). Params are
    learned numbers, biases included. Activations are the numbers that layers write. Counts are exact, for one image
    (batch 1) in inference, unless a line says otherwise. k is 10³, M is 10⁶, G is 10⁹.
""")


def percent(part: int, whole: int) -> str:
    """Return a share of a whole, such as 60.8 %."""
    return f"{100 * part / whole:.1f} %"


def decimal(value: Fraction, places: int) -> str:
    """Return a fraction with so many decimals."""
    return f"{float(value):,.{places}f}"


def listed(words: Iterable[str]) -> str:
    """Return words as a sentence lists them: a, b and c."""
    *head, last = list(words) or ["none"]
    return f"{', '.join(head)} and {last}" if head else last


def shape(spec: TensorSpec) -> str:
    """Return the shape of one image's tensor, such as 64×112×112."""
    return "×".join(map(str, spec.shape[1:]))


def sum_of(terms: Iterable[int]) -> str:
    """Return a sum with its result: 1,505,280 + 3,763,200 = 5,268,480."""
    numbers = list(terms)
    return f"{' + '.join(f'{n:,}' for n in numbers)} = {sum(numbers):,}"


def code(*lines: str) -> Text:
    """Return lines that keep their form."""
    return Text("\n".join(lines), code=True)


def products(profile: Profile) -> Text:
    """Return each layer's MACs as a product of its sizes, and their sum."""
    counted = [layer for layer in profile.layers if layer.cost.macs]
    wide = max(len(layer.name) for layer in counted)
    lines = [f"{'':{wide}}  {counted[0].formula.symbolic}"]
    lines += [f"{layer.name:{wide}}  {layer.formula.substituted} MACs" for layer in counted]
    if len(counted) > 1:
        lines.append(f"{'sum':{wide}}  {sum_of(layer.cost.macs for layer in counted)} MACs")
    return code(*lines)


def ending(file: str, *commands: str) -> tuple[Block, ...]:
    """Return the last section of a report: the commands that show its numbers, and the other reports."""
    links = " · ".join(f"[{title}]({name})" for name, title in TITLES.items() if name != file)
    return (
        Heading("Reproduce"),
        code(*commands),
        paragraph(f"""
            `archlab report` renders this page, and a test fails when a number in it is stale. See also: {links}.
        """),
    )
