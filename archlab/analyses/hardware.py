"""`Hardware`: the roofs of a machine, and how one is found by its name in the table that is shipped."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cache
from typing import Any

from archlab.errors import UsageError, nearest

DTYPES = ("float64", "float32", "tfloat32", "float16", "bfloat16", "float8", "int8")
"""The types that a machine has rates for; `tfloat32` is how some multiply float32."""
THIS = "this"
"""The name of the device in hand, which is calibrated instead of looked up."""
TF32 = ":tf32"
"""What follows a name where products of float32 are to run in TensorFloat-32."""
_NO_FASTER: Mapping[str, tuple[str, ...]] = {"float64": ("float32",), "float32": ("tfloat32", "bfloat16", "float16")}
"""Types whose rate bounds that of a wider one, for machines that publish none for it."""


@dataclass(frozen=True)
class Hardware:
    """The roofs of one machine, as its vendor gives them or as they were measured on it.

    `rates` are those of multiply-accumulates by type, in FLOP/s, without sparsity (a multiply-accumulate is 2
    FLOPs); `vector` is that of other float32 operations, None where nobody gives it; `bandwidth` is in
    B/s, `memory` in B (None where unknown), both of the memory that tensors lie in. `spread` says of what
    was measured how far it varied, as a fraction of it.
    """

    name: str
    title: str
    kind: str
    rates: Mapping[str, int]
    vector: int | None
    bandwidth: int
    memory: int | None
    source: str
    spread: Mapping[str, float] = field(default_factory=dict)
    note: str = ""

    def __post_init__(self) -> None:
        unknown = [dtype for dtype in self.rates if dtype not in DTYPES]
        figures = (*self.rates.values(), self.bandwidth, self.memory, self.vector)
        if unknown or not self.rates or any(figure is not None and figure <= 0 for figure in figures):
            raise UsageError(f"{self.name}: rates are positive and of {', '.join(DTYPES)}; got {dict(self.rates)}")

    def rate(self, dtype: str) -> tuple[str, int] | None:
        """Return the peak rate of multiply-accumulates of a type and the type that it is given for.

        A type that the machine has no rate for is no faster than a narrower one that it has; None where
        it has neither, so that nothing bounds the type.
        """
        for known in (dtype, *_NO_FASTER.get(dtype, ())):
            if known in self.rates:
                return known, self.rates[known]
        return None

    @property
    def elementwise(self) -> int:
        """The rate of operations that are no multiply-accumulates: `vector`, else no more than the highest peak."""
        return self.vector or max(self.rates.values())

    def balance(self, dtype: str) -> Fraction | None:
        """Return the arithmetic intensity, in FLOP/B, from which on products of a type are bound by compute."""
        found = self.rate(dtype)
        return None if found is None else Fraction(found[1], self.bandwidth)

    def in_tf32(self) -> Hardware:
        """Return the machine with float32 multiplied as TensorFloat-32; raise `UsageError` if it cannot."""
        if "tfloat32" not in self.rates:
            raise UsageError(f"{self.title} has no rate for TensorFloat-32; leave out {TF32}")
        rates = {**self.rates, "float32": self.rates["tfloat32"]}
        return replace(self, name=self.name + TF32, title=f"{self.title}, float32 as TF32", rates=rates)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data: FLOP/s, B/s and B."""
        measured = {"spread": dict(self.spread)} if self.spread else {}
        return {
            "name": self.name,
            "title": self.title,
            "kind": self.kind,
            "rates": dict(self.rates),
            "vector": self.vector,
            "bandwidth": self.bandwidth,
            "memory": self.memory,
            "source": self.source,
            **measured,
        }


def find(text: str) -> Hardware:
    """Return the machine of a name such as ``h100``, ``RTX 4090`` or ``a100:tf32``.

    Case, spaces and dashes make no difference. Raises `UsageError` with the nearest name for one that
    the table does not have.
    """
    from archlab.analyses.machines import ALIASES, MACHINES

    stem = text.strip()
    in_tf32 = stem.casefold().endswith(TF32)
    stem = stem[: -len(TF32)] if in_tf32 else stem
    known = {**{_plain(name): name for name in MACHINES}, **{_plain(short): name for short, name in ALIASES.items()}}
    name = known.get(_plain(stem))
    if name is None:
        close = nearest(stem, (*MACHINES, *ALIASES))
        raise UsageError(f"unknown hardware {text!r}{close} (see: archlab list; the device in hand is {THIS!r})")
    machine = machines()[name]
    return machine.in_tf32() if in_tf32 else machine


@cache
def machines() -> Mapping[str, Hardware]:
    """Return every machine of the table by its name."""
    from archlab.analyses.machines import ALIASES, MACHINES

    groups: dict[str, list[str]] = {}
    for name in MACHINES:
        groups.setdefault(name.split("-")[0], []).append(name)
    made = {}
    for name, row in MACHINES.items():
        others = [other for other in groups[name.split("-")[0]] if other != name]
        short = [alias for alias, meant in ALIASES.items() if meant == name]
        note = f"{short[0]} is {name}; there is also {', '.join(others)}" if short and others else ""
        made[name] = replace(row, name=name, note=note)
    return made


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.casefold())
