"""Examples of 1×1 reductions in print, recounted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from archlab import api
from archlab.ir import Builder, Graph
from archlab.ops import Concat, Conv2d, Input, MaxPool2d
from archlab.profiles import Profile
from archlab.report.numbers import human
from archlab.report.table import Block, Column, Heading, Table
from archlab.studies.prose import listed, paragraph, products, sum_of

MILLION = 10**6
PAGE = "course notes on can.gitbook.io"
LECTURE = "Stanford CS231n 2017, lecture 9"


@dataclass(frozen=True)
class Printed:
    """A number of MACs as somebody printed it, in millions, with so many decimals."""

    example: str
    millions: str
    source: str
    profile: Profile

    @property
    def holds(self) -> bool:
        """Whether our count, rounded to the printed digits, prints the same."""
        return self.prints(self.profile.total.macs)

    def prints(self, macs: int) -> bool:
        """Whether so many MACs would be printed as this number."""
        decimals = len(self.millions.partition(".")[2])
        return f"{macs / MILLION:.{decimals}f}" == self.millions

    def counted_twice(self) -> list[str]:
        """Return the layers whose MACs, added a second time, give the printed number."""
        macs = self.profile.total.macs
        return [x.name for x in self.profile.layers if x.cost.macs and self.prints(macs + x.cost.macs)]


def lecture_module(reduced: bool) -> Graph:
    """Return the module of the lecture: 28×28×256 in, 128 1×1, 192 3×3 and 96 5×5 filters.

    Reduced, 64 1×1 filters stand in front of 3×3 and 5×5 and behind the pool.
    """
    b = Builder("lecture-reduced" if reduced else "lecture-naive")
    x = b.add("input", Input((1, 256, 28, 28)))
    three = b.add("3x3_reduce", Conv2d(64, 1), x) if reduced else x
    five = b.add("5x5_reduce", Conv2d(64, 1), x) if reduced else x
    pool = b.add("pool", MaxPool2d(3, 1, 1), x)
    branches = (
        b.add("1x1", Conv2d(128, 1), x),
        b.add("3x3", Conv2d(192, 3, padding=1), three),
        b.add("5x5", Conv2d(96, 5, padding=2), five),
        b.add("pool_proj", Conv2d(64, 1), pool) if reduced else pool,
    )
    return b.build(b.add("output", Concat(), *branches))


def examples() -> tuple[Printed, ...]:
    """Return the printed examples with their recounts."""
    naive, reduced = (api.profile(lecture_module(reduced)) for reduced in (False, True))
    return (
        Printed("48 5×5 filters on 14×14×480", "112.9", PAGE, api.profile("naive")),
        Printed("the same behind 16 1×1 filters", "5.3", PAGE, api.profile("reduced")),
        Printed("a naive module on 28×28×256", "854", f"{LECTURE}, slide 48", naive),
        Printed("the same with three times 64 1×1 filters", "358", f"{LECTURE}, slide 55", reduced),
    )


def section() -> tuple[Block, ...]:
    """Return the section on examples in print."""
    printed = examples()
    rows = [
        (e.example, f"{e.millions} M", e.profile.total.macs, "holds" if e.holds else "**does not hold**", e.source)
        for e in printed
    ]
    columns = (
        Column("example"),
        Column("printed MACs", "decimal"),
        Column("exact MACs", "count", exact=True),
        Column("verdict"),
        Column("source"),
    )
    return (
        Heading("Examples in print"),
        paragraph("""
            A printed number holds if the exact count, rounded to as many digits, prints the same. (The lecture says
            “ops” and counts one for each MAC.)
        """),
        Table(columns, rows),
        *(block for example in printed if not example.holds for block in _erratum(example, printed)),
    )


def _erratum(wrong: Printed, printed: Sequence[Printed]) -> tuple[Block, ...]:
    """Return what is wrong with a printed example, which stands behind its naive counterpart."""
    twice, macs = wrong.counted_twice(), wrong.profile.total.macs
    naive = printed[printed.index(wrong) - 1].profile.total.macs
    place = "3b"
    same = api.profile(f"inception-{place}+naive").total.macs == naive
    sums = listed(sum_of((macs, wrong.profile.layer(name).cost.macs)) for name in twice)
    cause = "No term counted twice explains the printed number."
    if twice:
        terms = listed(f"`{name}`" for name in twice)
        cause = f"The {wrong.millions} M come out if {terms} is counted twice ({sums}). No other term does that."
    return (
        paragraph(f"""
            **The {wrong.millions} M of {wrong.source}, are too many.** The module's own terms are:
        """),
        products(wrong.profile),
        paragraph(f"""
            {cause} So 64-wide reductions make this module {naive / macs:.2f} times cheaper, {human(naive)} to
            {human(macs)} MACs, which is better than the slide claims.
            {f"(The naive module of the lecture is GoogLeNet's {place} in its literal form.)" if same else ""}
        """),
    )
