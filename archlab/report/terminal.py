"""Documents on a terminal, fitted to its width; piped, they are never cut."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text as RichText

from archlab.report.numbers import cells, heads
from archlab.report.table import ESSENTIAL, Block, Details, Document, Heading, Table

_UNLIMITED = 100_000
_GAP = 2
_NARROWEST = 8


def render(document: Document, exact: bool = False, width: int | None = None, colour: bool = False) -> str:
    """Return the document as text; `width` None leaves every line whole."""
    out = io.StringIO()
    console = Console(
        file=out,
        width=width or _UNLIMITED,
        force_terminal=colour,
        color_system="standard" if colour else None,
        no_color="NO_COLOR" in os.environ,
        highlight=False,
        emoji=False,
        markup=False,
        legacy_windows=False,
    )
    if document.title:
        console.print(RichText(document.title, style="bold"))
    _print_blocks(console, document.blocks, exact, width)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def _print_blocks(console: Console, blocks: Sequence[Block], exact: bool, width: int | None) -> None:
    for block in blocks:
        if isinstance(block, Details) and block.aside:
            continue
        console.print()
        if isinstance(block, Table):
            _print_table(console, block, exact, width)
        elif isinstance(block, Heading):
            console.print(RichText(block.text, style="bold"))
        elif isinstance(block, Details):
            console.print(RichText(block.summary, style="bold"))
            _print_blocks(console, block.blocks, exact, width)
        else:
            console.print(RichText(block.text), soft_wrap=block.code or width is None)


def screen() -> tuple[int | None, bool]:
    """Return the width to fit and whether to use colour for what is printed to stdout now."""
    if sys.stdout is None or not sys.stdout.isatty():
        return None, False
    plain = "NO_COLOR" in os.environ or os.environ.get("TERM") in ("dumb", "unknown")
    return Console().width, not plain


def _print_table(console: Console, table: Table, exact: bool, width: int | None) -> None:
    rows, titles = cells(table, exact), heads(table, "\n")
    widths = [
        max(len(line) for text in column for line in text.split("\n")) for column in zip(titles, *rows, strict=True)
    ]
    shown = _fitting(table, widths, width)
    _shrink(table, widths, shown, width)
    if table.title:
        console.print(RichText(table.title, style="bold"))
    grid = RichTable(
        box=None,
        padding=(0, _GAP, 0, 0),
        pad_edge=False,
        show_edge=False,
        header_style="bold",
        show_header=any(titles),
    )
    deepest = max(titles[i].count("\n") for i in shown)
    for i in shown:
        words = table.columns[i].kind == "text"
        grid.add_column(
            RichText("\n" * (deepest - titles[i].count("\n")) + titles[i]),
            justify="left" if words else "right",
            overflow="fold",
            no_wrap=not words,
            max_width=widths[i] if words else None,
        )
    for r, row in enumerate(rows):
        ends = r == len(table.rows)
        if ends:
            grid.add_row(*("─" * widths[i] for i in shown), style="dim")
        grid.add_row(*(RichText(row[i]) for i in shown), style="bold" if ends else "")
    console.print(grid)
    hidden = [title.replace("\n", " ") for i, title in enumerate(titles) if i not in shown]
    if hidden:
        console.print(RichText(f"not shown at this width: {', '.join(hidden)}", style="dim"))


def _shrink(table: Table, widths: list[int], shown: list[int], width: int | None) -> None:
    """Narrow the widest columns of words until the table fits; their cells wrap."""
    if width is None:
        return
    wordy = [i for i in shown if table.columns[i].kind == "text"]
    while wordy and sum(widths[i] + _GAP for i in shown) - _GAP > width:
        widest = max(wordy, key=lambda i: widths[i])
        if widths[widest] <= _NARROWEST:
            break
        widths[widest] -= 1


def _fitting(table: Table, widths: list[int], width: int | None) -> list[int]:
    """Return the columns that fit, the least important left out first."""
    shown = list(range(len(widths)))
    while width is not None and sum(widths[i] + _GAP for i in shown) - _GAP > width:
        least = min(table.columns[i].importance for i in shown)
        if least >= ESSENTIAL:
            break
        shown = [i for i in shown if table.columns[i].importance > least]
    return shown
