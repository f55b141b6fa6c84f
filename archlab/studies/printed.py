"""Figures as the GoogLeNet paper prints them, and the rules by which a count prints as a figure."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple


class Row(NamedTuple):
    """One line of Table 1 that has params and ops: our block, its output's side, and the printed texts."""

    type: str
    block: str
    side: int
    channels: int
    depth: int
    params: str
    ops: str

    @property
    def short(self) -> str:
        """The row's name in a sentence."""
        return self.block.removeprefix("inception_")


TABLE_1 = (
    Row("convolution 7×7/2", "conv1", 112, 64, 1, "2.7K", "34M"),
    Row("convolution 3×3/1", "conv2", 56, 192, 2, "112K", "360M"),
    Row("inception (3a)", "inception_3a", 28, 256, 2, "159K", "128M"),
    Row("inception (3b)", "inception_3b", 28, 480, 2, "380K", "304M"),
    Row("inception (4a)", "inception_4a", 14, 512, 2, "364K", "73M"),
    Row("inception (4b)", "inception_4b", 14, 512, 2, "437K", "88M"),
    Row("inception (4c)", "inception_4c", 14, 512, 2, "463K", "100M"),
    Row("inception (4d)", "inception_4d", 14, 528, 2, "580K", "119M"),
    Row("inception (4e)", "inception_4e", 14, 832, 2, "840K", "170M"),
    Row("inception (5a)", "inception_5a", 7, 832, 2, "1072K", "54M"),
    Row("inception (5b)", "inception_5b", 7, 1024, 2, "1388K", "71M"),
    Row("linear", "linear", 1, 1000, 1, "1000K", "1M"),
)
"""arXiv 1409.4842v1, Table 1, without the rows that have no params; the filters are in `zoo.googlenet`."""


class Entry(NamedTuple):
    """One line of Table 3: models, crops, cost, top-5 error and its drop against the first line, in %."""

    models: int
    crops: int
    cost: int
    error: str
    drop: str


TABLE_3 = (
    Entry(1, 1, 1, "10.07", "0"),
    Entry(1, 10, 10, "9.15", "0.92"),
    Entry(1, 144, 144, "7.89", "2.18"),
    Entry(7, 1, 7, "8.09", "1.98"),
    Entry(7, 10, 70, "7.62", "2.45"),
    Entry(7, 144, 1008, "6.67", "3.45"),
)
"""arXiv 1409.4842v1, Table 3."""


def number(text: str) -> Fraction:
    """Return the number in front of a printed unit: 2.7 of ``2.7K``."""
    return Fraction(text.rstrip("KM"))


def step(text: str) -> Fraction:
    """Return the weight of a printed text's last digit: 1/10 for ``2.7K``, 1 for ``34M``."""
    return Fraction(1, 10 ** len(text.rstrip("KM").partition(".")[2]))


def rounds_to(count: int, unit: int, text: str) -> bool:
    """Whether a count in that unit, rounded to the nearest (halves up), prints as the text."""
    return _cut(Fraction(count, unit) + step(text) / 2, step(text)) == number(text)


def truncates_to(count: int, unit: int, text: str) -> bool:
    """Whether a count in that unit, its further digits cut off, prints as the text."""
    return _cut(Fraction(count, unit), step(text)) == number(text)


def agrees(value: Fraction, text: str) -> bool:
    """Whether a positive value, rounded to as many significant digits as the text has, equals it.

    Zeros at the end of a whole number are not significant: "about 100" has one digit.
    """
    printed = Decimal(text)
    whole = printed == printed.to_integral()
    digits = len((printed.normalize() if whole else printed).as_tuple().digits)
    unit = Fraction(10) ** (_magnitude(value) - digits + 1)
    return _cut(value + unit / 2, unit) == Fraction(printed)


def _magnitude(value: Fraction) -> int:
    """Return the power of ten of a positive value's first digit: 1 for 97, 0 for 8.71."""
    power = 0
    while value >= Fraction(10) ** (power + 1):
        power += 1
    while value < Fraction(10) ** power:
        power -= 1
    return power


def _cut(value: Fraction, unit: Fraction) -> Fraction:
    return value // unit * unit
