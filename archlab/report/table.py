"""`Table` and `Document`: results as columns with units and raw values, which every format renders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["text", "count", "bytes", "ratio", "share", "decimal"]
"""What a column holds: words, exact integers, bytes, × factors, fractions of a whole, decimal numbers."""


@dataclass(frozen=True)
class Column:
    """A column: its title, what kind of value it holds, and its unit.

    A terminal that is too narrow leaves out the columns of the lowest `importance` first and says so;
    `key` names the column on the command line and in CSV.
    """

    title: str
    kind: Kind = "text"
    unit: str = ""
    importance: int = 9
    key: str = ""


@dataclass(frozen=True)
class Table:
    """Rows of raw values. `total` is one more row that the count columns sum to."""

    columns: tuple[Column, ...]
    rows: Sequence[Sequence[Any]]
    title: str = ""
    total: Sequence[Any] | None = None

    def __post_init__(self) -> None:
        for row in [*self.rows, *([self.total] if self.total is not None else [])]:
            if len(row) != len(self.columns):
                raise ValueError(f"{self.title}: a row of {len(row)} values for {len(self.columns)} columns")


@dataclass(frozen=True)
class Text:
    """A paragraph; `code` keeps its lines as they are."""

    text: str
    code: bool = False


@dataclass(frozen=True)
class Heading:
    """A section title."""

    text: str


Block = Table | Text | Heading


@dataclass(frozen=True)
class Document:
    """A titled sequence of paragraphs, headings and tables."""

    title: str
    blocks: tuple[Block, ...] = field(default_factory=tuple)

    @property
    def tables(self) -> list[Table]:
        """Its tables, in order."""
        return [block for block in self.blocks if isinstance(block, Table)]
