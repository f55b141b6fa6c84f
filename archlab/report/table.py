"""`Table` and `Document`: results as columns with units and raw values, which every format renders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Kind = Literal["text", "count", "bytes", "seconds", "ratio", "share", "decimal"]
"""What a column holds: words, exact integers, bytes, seconds, other ÷ base, fractions of a whole, decimal numbers."""


ESSENTIAL = 9
"""The importance of columns that are never left out."""


@dataclass(frozen=True)
class Column:
    """A column: its title (it may break a line), what kind of value it holds, and its unit.

    A terminal that is too narrow leaves out the columns of the lowest `importance` first and says so;
    `key` names the column on the command line and in CSV; `exact` always prints every digit. A `signed`
    count is a change: it has its sign, and ``~`` stands for none. `code` holds names, which a format with
    marks of its own sets as code, so that it reads no marks in them.
    """

    title: str
    kind: Kind = "text"
    unit: str = ""
    importance: int = ESSENTIAL
    key: str = ""
    exact: bool = False
    signed: bool = False
    code: bool = False


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
    """A paragraph of markdown; `code` keeps its lines as they are, `plain` its words and where lines end."""

    text: str
    code: bool = False
    plain: bool = False


@dataclass(frozen=True)
class Heading:
    """A section title, in markdown."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Details:
    """Blocks under a summary, folded away where the format can; a terminal leaves an `aside` out."""

    summary: str
    blocks: tuple[Block, ...]
    aside: bool = False


Block = Table | Text | Heading | Details


@dataclass(frozen=True)
class Document:
    """A titled sequence of paragraphs, headings, tables and details.

    `data` is the table that formats of a single table write; the first one if None.
    """

    title: str
    blocks: tuple[Block, ...] = field(default_factory=tuple)
    data: Table | None = None

    def __add__(self, blocks: tuple[Block, ...]) -> Document:
        return replace(self, blocks=(*self.blocks, *blocks))

    @property
    def tables(self) -> list[Table]:
        """Its tables, in order, those in details, too."""
        return list(_tables(self.blocks))


def _tables(blocks: Sequence[Block]) -> Iterator[Table]:
    for block in blocks:
        if isinstance(block, Table):
            yield block
        elif isinstance(block, Details):
            yield from _tables(block.blocks)
