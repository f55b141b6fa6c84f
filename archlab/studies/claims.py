"""Statements about GoogLeNet that can be checked by counting, with the figure as printed and as counted."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from math import prod
from typing import NamedTuple

from archlab import api
from archlab.analyses.depth import depth
from archlab.profiles import Profile
from archlab.report.table import Block, Column, Heading, Table
from archlab.studies.googlenet_blocks import field_size
from archlab.studies.printed import TABLE_1, TABLE_3, agrees, number
from archlab.studies.prose import decimal, paragraph

SOURCE = "arXiv 1409.4842v1"
REVISITED = "arXiv 1512.00567"
LECTURE = "CS231n 2016, lecture 7, slide 76"


class Claim(NamedTuple):
    """A statement, the figure in it, who says so, what we count, and how that comes about."""

    statement: str
    printed: str
    source: str
    counted: Fraction
    how: str

    @property
    def holds(self) -> bool:
        """Whether our figure, rounded to the printed significant digits, is the printed one."""
        return agrees(self.counted, self.printed)

    @property
    def shown(self) -> str:
        """Our figure, with two decimals unless it is whole."""
        return decimal(self.counted, 0 if self.counted.denominator == 1 else 2)


def counted() -> tuple[Claim, ...]:
    """Return the statements about size, work and structure."""
    net, alexnet, vgg = (api.profile(name) for name in ("googlenet", "alexnet", "vgg16"))
    training = api.profile("googlenet", mode="training")
    size, work = net.total.params, net.total.macs
    body = size - net.layer("linear").cost.params
    lengths, field = depth(net.graph), field_size(net.graph, "inception_5b/output")
    billion, million = 10**9, 10**6
    sum_of_ops = int(sum(number(row.ops) for row in TABLE_1)) * million
    return (
        Claim("1.5 billion multiply-adds", "1.5", f"{SOURCE}, section 1", Fraction(work, billion), f"{work:,} MACs"),
        Claim(
            "the same, by the table's own ops",
            "1.5",
            f"{SOURCE}, Table 1",
            Fraction(sum_of_ops, billion),
            "sum of the print",
        ),
        Claim(
            "12× fewer parameters than Krizhevsky et al.",
            "12",
            f"{SOURCE}, section 1",
            Fraction(alexnet.total.params, size),
            f"{alexnet.total.params:,} ÷ {size:,}",
        ),
        Claim(
            "the same, classifier left out of GoogLeNet",
            "12",
            f"{SOURCE}, section 1",
            Fraction(alexnet.total.params, body),
            f"{alexnet.total.params:,} ÷ {body:,}",
        ),
        Claim(
            "only 5 million parameters", "5", f"{REVISITED}, section 1", Fraction(size, million), f"{size:,} params"
        ),
        Claim(
            "AlexNet: 60 million parameters",
            "60",
            f"{REVISITED}, section 1",
            Fraction(alexnet.total.params, million),
            f"{alexnet.total.params:,} params",
        ),
        Claim(
            "2× more compute than AlexNet",
            "2",
            LECTURE,
            Fraction(work, alexnet.total.macs),
            f"{work:,} ÷ {alexnet.total.macs:,} MACs",
        ),
        Claim(
            "27× fewer parameters than VGG-16",
            "27",
            "CS231n, later slides",
            Fraction(vgg.total.params, size),
            f"{vgg.total.params:,} ÷ {size:,}",
        ),
        Claim(
            "22 layers deep",
            "22",
            f"{SOURCE}, section 5",
            Fraction(lengths.weighted),
            "longest path, weighted layers",
        ),
        Claim(
            "22, as the sum of Table 1's depth column",
            "22",
            f"{SOURCE}, Table 1",
            Fraction(sum(row.depth for row in TABLE_1)),
            "sum of the print",
        ),
        Claim(
            "27 with pooling", "27", f"{SOURCE}, section 5", Fraction(lengths.with_pooling), "longest path with pools"
        ),
        Claim(
            "about 100 building blocks",
            "100",
            f"{SOURCE}, section 5",
            Fraction(_building_blocks(training)),
            f"all layers but input, ReLU and flatten, with heads ({_building_blocks(net)} without)",
        ),
        Claim(
            "receptive field of 224",
            "224",
            f"{SOURCE}, section 5",
            Fraction(field),
            "at 5b; the paper means the input's size",
        ),
    )


def _building_blocks(profile: Profile) -> int:
    return sum(layer.op not in ("Input", "ReLU", "Flatten") for layer in profile.layers)


def arithmetic() -> tuple[Claim, ...]:
    """Return the statements that follow from other printed figures."""
    parts = {"scales": 4, "squares": 3, "crops": 6, "mirror images": 2}
    first, last = TABLE_3[0], TABLE_3[-1]
    crops = Claim(
        "144 crops an image",
        "144",
        f"{SOURCE}, section 7",
        Fraction(prod(parts.values())),
        " · ".join(f"{n} {what}" for what, n in parts.items()),
    )
    claims = [crops]
    for entry in TABLE_3[1:]:
        where = f"{entry.models} model{'s' * (entry.models > 1)}, {entry.crops} crop{'s' * (entry.crops > 1)}"
        source = f"{SOURCE}, Table 3"
        if entry.models > 1 and entry.crops > 1:
            product = Fraction(entry.models * entry.crops)
            how = f"{entry.models} · {entry.crops}"
            claims.append(Claim(f"cost of {where}", str(entry.cost), source, product, how))
        drop = Fraction(first.error) - Fraction(entry.error)
        how = f"{first.error} − {entry.error}"
        claims.append(Claim(f"% less top-5 error with {where}", entry.drop, source, drop, how))
    for statement, printed, before in (
        ("56.5 % less error than in 2012", "56.5", "15.3"),
        ("about 40 % less error than Clarifai", "40", "11.2"),
    ):
        share = 100 * (Fraction(before) - Fraction(last.error)) / Fraction(before)
        how = f"({before} − {last.error}) ÷ {before}"
        claims.append(Claim(statement, printed, f"{SOURCE}, section 7", share, how))
    return tuple(claims)


def section() -> tuple[Block, ...]:
    """Return the section on statements in the text."""
    macs = {name: api.profile(name).total.macs for name in ("googlenet", "googlenet-torchvision", "vgg16")}
    paper, torchvision = (decimal(Fraction(macs[name], 10**9), 3) for name in ("googlenet", "googlenet-torchvision"))
    ratio = decimal(Fraction(macs["vgg16"], macs["googlenet"]), 2)
    return (
        Heading("Other statements that can be checked"),
        paragraph("""
            *Rule:* a statement holds if the counted figure, rounded to as many significant digits as are printed, is
            the printed one. “About 100” has one digit, “12×” has two.
        """),
        _table("Size, work and structure", counted()),
        paragraph(f"""
            “12×” needs the 5 million of the later paper, and GoogLeNet has more than that even without its
            classifier. A count of torchvision's GoogLeNet does print as 1.5 billion ({torchvision} G against {paper}
            G), but only because [its 5×5 branch is 3×3](googlenet.md).
        """),
        _table("Arithmetic within the print", arithmetic()),
        paragraph(f"""
            What counting cannot check: that the network is “2 to 3× faster” than similar ones without inception
            modules (section 4), which is a measurement, and that average pooling gains 0.6 % of top-1 accuracy
            (section 5). For scale, VGG-16 takes {ratio} times as many MACs. What inception modules and average
            pooling save is in [the ablations](googlenet-ablations.md).
        """),
    )


def _table(title: str, claims: Iterable[Claim]) -> Table:
    rows = [
        (c.statement, c.printed, c.shown, c.how, "holds" if c.holds else "**does not hold**", c.source)
        for c in claims
    ]
    columns = (
        Column("statement"),
        Column("printed", "decimal"),
        Column("counted", "decimal"),
        Column("from"),
        Column("verdict"),
        Column("source"),
    )
    return Table(columns, rows, title=title)
