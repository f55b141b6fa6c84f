"""`Formula`: a count that remembers its factors, so an explanation cannot drift from its number."""

from __future__ import annotations

from typing import Any

Factor = tuple[str, Any]


class Formula:
    """A sum of products of named dimensions.

    >>> macs = Formula.product(("H", 14), ("W", 14), ("C_out", 48))
    >>> macs.symbolic, macs.value
    ('H·W·C_out', 9408)
    >>> str(macs)
    'H·W·C_out = 14·14·48 = 9,408'

    The dimensions are ints, numpy integer arrays or sympy expressions; `value` is of the same kind.
    """

    __slots__ = ("terms",)

    def __init__(self, *terms: tuple[Factor, ...]) -> None:
        self.terms = terms

    @classmethod
    def product(cls, *factors: Factor | int) -> Formula:
        """Return one product of ``(name, dimension)`` pairs and plain integers."""
        return cls(tuple((str(f), f) if isinstance(f, int) else f for f in factors))

    @property
    def value(self) -> Any:
        """The count."""
        total: Any = 0
        for term in self.terms:
            product: Any = 1
            for _, dimension in term:
                product = product * dimension
            total = total + product
        return total

    @property
    def symbolic(self) -> str:
        """The factors' names, such as ``N·H_out·W_out·C_out·C_in·k_h·k_w``."""
        return " + ".join("·".join(name for name, _ in term) or "1" for term in self.terms) or "0"

    @property
    def substituted(self) -> str:
        """The factors' numbers and the result, such as ``1·14·14·48·480·5·5 = 112,896,000``."""
        products = " + ".join("·".join(_plain(d) for _, d in term) or "1" for term in self.terms) or "0"
        value = self.value
        shown = f"{value:,}" if isinstance(value, int) else str(value)
        return products if products == shown else f"{products} = {shown}"

    def each(self, factor: Factor) -> Formula:
        """Return the sum with each of its products taken so many times, by a named factor.

        >>> str(Formula.product(("N", 3)).each(("complex", 4)))
        'N·complex = 3·4 = 12'
        """
        return Formula(*((*term, factor) for term in self.terms))

    def __add__(self, other: Formula) -> Formula:
        return Formula(*self.terms, *other.terms)

    def __mul__(self, factor: int) -> Formula:
        if factor == 1:
            return self
        return self.each((str(factor), factor))

    def __int__(self) -> int:
        return int(self.value)

    __index__ = __int__

    def __bool__(self) -> bool:
        return bool(self.terms)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Formula) and self.terms == other.terms

    def __hash__(self) -> int:
        return hash(self.terms)

    def __str__(self) -> str:
        return f"{self.symbolic} = {self.substituted}" if self.terms else "0"

    def __repr__(self) -> str:
        return f"Formula({self})"


def _plain(dimension: Any) -> str:
    return str(dimension) if isinstance(dimension, int) or hasattr(dimension, "shape") else f"({dimension})"
