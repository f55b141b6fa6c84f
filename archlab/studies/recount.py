"""Our counts for the rows of the paper's Table 1, and what they say about its figures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from typing import NamedTuple

from archlab.profiles import Profile
from archlab.studies.printed import TABLE_1, Row, number, rounds_to, step, truncates_to
from archlab.studies.prose import listed

MILLION = 10**6
KILO = 1024
HOLDS, CUT, FAILS = "holds", "only truncated", "**does not hold**"


class Counts(NamedTuple):
    """What we count for one row of the table."""

    weights: int
    biases: int
    macs: int

    @property
    def params(self) -> int:
        """Weights and biases."""
        return self.weights + self.biases


Recount = Mapping[str, Counts]
"""The counts of a network by the table's rows."""
RULES: Mapping[str, tuple[int, Callable[[Counts], int], Callable[[int, int, str], bool]]] = {
    f"{what}, K = {kilo}, {how}": (kilo, read, prints)
    for kilo in (KILO, 1000)
    for what, read in (("weights", lambda c: c.weights), ("weights and biases", lambda c: c.params))
    for how, prints in (("rounded", rounds_to), ("truncated", truncates_to))
}
"""The rules by which the params column may have been printed."""


def recount(profile: Profile) -> Recount:
    """Return what we count for each row of the table."""
    found = {}
    for row in TABLE_1:
        nodes = [x.node for x in profile.layers if x.name.split("/")[0] == row.block]
        sizes = {
            role: sum(profile.graph.params[n.weights[role]].spec.numel for n in nodes if role in n.weights)
            for role in ("weight", "bias")
        }
        found[row.block] = Counts(sizes["weight"], sizes["bias"], profile.by_block()[row.block].macs)
    return found


def ops_verdict(row: Row, found: Counts) -> str:
    """Return whether a printed number of ops holds: by rounding, only by truncation, or not."""
    if rounds_to(found.macs, MILLION, row.ops):
        return HOLDS
    return CUT if truncates_to(found.macs, MILLION, row.ops) else FAILS


def reproducing(row: Row, found: Counts) -> list[str]:
    """Return the rules by which a printed number of params comes out."""
    return [rule for rule, (kilo, read, prints) in RULES.items() if prints(read(found), kilo, row.params)]


def params_verdict(row: Row, found: Counts) -> str:
    """Return whether a printed number of params holds by any rule."""
    return HOLDS if reproducing(row, found) else FAILS


def implied(row: Row, ops: Fraction) -> Fraction:
    """Return the weights, in K, that so many millions of ops imply: ops ÷ positions."""
    return ops * MILLION / (row.side**2 * KILO)


def contradicts(row: Row, biases: int) -> bool:
    """Whether a row's params cannot belong to its own ops, whatever the filters.

    Both figures are given all the room that rounding, truncation and biases leave.
    """
    ops, params, half = number(row.ops), number(row.params), step(row.params) / 2
    least = implied(row, ops - Fraction(1, 2))
    most = implied(row, ops + 1) + Fraction(biases, KILO)
    return most < params - half or least > params + 2 * half


def named(rows: Iterable[Row]) -> str:
    """Return rows as a sentence names them."""
    return listed(row.short for row in rows)
