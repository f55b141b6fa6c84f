"""Which convention, input size, batch or head gives a published number: a search over all of them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any

from archlab.analyses.conventions import FLOPS, tallies
from archlab.analyses.conventions.recipes import RECIPES
from archlab.analyses.conventions.variants import Variant
from archlab.errors import UsageError

if TYPE_CHECKING:
    from archlab.profiles import Profile

_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "b": 3, "t": 4, "p": 5}
_WORDS = r"(macs?|flops?|mult-?adds?|multiply-adds?|ops)?"
_CLAIM = re.compile(rf"\s*([0-9][0-9,_]*(?:\.[0-9]+)?)\s*(k|m|g|b|t|p)?\s*{_WORDS}\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Claim:
    """A published number: its digits, the letter behind them, and whether it says MACs or FLOPs."""

    text: str
    number: Decimal
    letter: str = ""
    unit: str = ""

    @property
    def scales(self) -> dict[int, str]:
        """What its letter can stand for, and how that is said; K is 1000 for most, 1024 for some."""
        power = _POWERS[self.letter.lower()]
        if not power:
            return {1: ""}
        letter = self.letter.upper() if power > 1 else "k"
        return {1000**power: "", 1024**power: f"{letter} = 2{_superscript(10 * power)}"}

    def fits(self, value: int, scale: int) -> str:
        """Return ``rounded`` or ``cut off`` if a value prints as the claim, else an empty string."""
        step = Decimal(1).scaleb(int(self.number.as_tuple().exponent))
        exact = Decimal(value) / scale
        if exact.quantize(step, ROUND_HALF_UP) == self.number:
            return "rounded"
        return "cut off" if exact.quantize(step, ROUND_DOWN) == self.number else ""


def claim_of(text: str) -> Claim:
    """Return the claim in a text such as ``1.5G``, ``3.2 GFLOPs`` or ``1,582,671,872``; raise `UsageError`."""
    found = _CLAIM.fullmatch(text)
    if found is None:
        raise UsageError(f"--claimed {text!r} is no number of operations; write 1.5G, 714M, 3.2GFLOPs or 1582671872")
    digits, letter, word = found.groups()
    number = Decimal(digits.replace(",", "").replace("_", ""))
    if not number:
        raise UsageError(f"--claimed {text!r}: nothing takes no operations")
    unit = {"f": FLOPS, "m": "MACs"}.get((word or "")[:1].lower(), "")
    return Claim(text.strip(), number, letter or "", unit)


@dataclass(frozen=True)
class Match:
    """A combination that gives a number: its value, the rule, and what departs from the plain way of counting.

    `also` are other rules that give the same value.
    """

    value: int
    rule: str
    unit: str
    variant: Variant
    scale: int
    said: str
    fit: str
    distance: float
    also: tuple[str, ...] = ()

    @property
    def rules(self) -> tuple[str, ...]:
        """Every rule that gives this very value, the plainest first."""
        return (self.rule, *self.also)

    @property
    def departures(self) -> int:
        """How many things differ from MACs of the network at its own size."""
        extra = self.rule != "MACs"
        return len(self.variant.departures) + bool(self.said) + extra + (self.fit == "cut off")

    @cached_property
    def sentence(self) -> str:
        """How a paper could say it."""
        given = ", ".join(str(spec) for spec in self.variant.profile.input.values())
        words = [f"for {given}", *self.variant.departures, *([self.said] if self.said else [])]
        cut = ", its digits cut off" if self.fit == "cut off" else ""
        rule = "" if self.rule == self.unit else f" ({self.rule})"
        return f"{self.value:,} {self.unit}{rule} {', '.join(words)}{cut}"

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "value": self.value,
            "unit": self.unit,
            "rules": list(self.rules),
            "input": {name: str(spec) for name, spec in self.variant.profile.input.items()},
            "departures": [*self.variant.departures, *([self.said] if self.said else [])],
            "fit": self.fit,
            "distance": self.distance,
            "sentence": self.sentence,
        }


def search(claim: Claim, variants: Iterable[Variant]) -> list[Match]:
    """Return every combination, those that print as the claim first, the nearest first among each."""
    found = []
    for variant in variants:
        for rule, unit, value in figures(variant.profile):
            if claim.unit and claim.unit != unit:
                continue
            for scale, said in claim.scales.items():
                distance = abs(float(Decimal(value) / scale / claim.number) - 1)
                found.append(Match(value, rule, unit, variant, scale, said, claim.fits(value, scale), distance))
    found.sort(key=lambda match: (not match.fit, match.distance, match.departures))
    alike: dict[tuple[int, int], list[Match]] = {}
    for match in found:
        alike.setdefault((match.value, match.scale), []).append(match)
    return [replace(first, also=_others(first, rest)) for first, *rest in alike.values()]


def _others(first: Match, rest: list[Match]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(m.rule for m in rest if m.variant is first.variant and m.rule != first.rule))


def figures(profile: Profile) -> Iterable[tuple[str, str, int]]:
    """The figures that a network can be said to take: (rule, MACs or FLOPs, value), the plainest first."""
    for rule, count in RECIPES.items():
        yield rule, FLOPS if rule.startswith(("2·", "FLOPs")) else "MACs", count(profile)
    for figure in tallies(profile):
        convention, name, value = figure.convention, figure.convention.name, figure.reported
        yield f"as {name} counts" if convention.tool else f"by the rule of {_PUBLISHED[name]}", convention.unit, value
        if convention.unit != FLOPS:
            yield f"twice what {name} counts", FLOPS, 2 * value


_PUBLISHED = {"netscope": "netscope", "paper": "GoogLeNet's Table 1"}


def _superscript(number: int) -> str:
    return str(number).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
