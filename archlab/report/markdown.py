"""Documents as GitHub-flavoured markdown."""

from __future__ import annotations

import re
from html import escape as html_escape

from archlab.report.numbers import cells, heads
from archlab.report.table import Block, Details, Document, Heading, Table

_MARKS = re.compile(r"[\\`*\[\]|~]|(?<![^\W_])_|_(?![^\W_])")
"""What would be read as a mark among words; not an underscore inside of one."""
_STARTS = re.compile(r"^(?:>|[#+=-]+(?=\s|$)|\d+(?=[.)]))")
"""What would be read as a mark where a line begins."""


def render(document: Document, exact: bool = False) -> str:
    """Return the document as markdown text."""
    parts = [f"# {plain(_line(document.title))}"] if document.title else []
    return "\n\n".join([*parts, *(_block(block, exact) for block in document.blocks)]) + "\n"


def _block(block: Block, exact: bool) -> str:
    if isinstance(block, Table):
        return _table(block, exact)
    if isinstance(block, Heading):
        return f"{'#' * block.level} {block.text}"
    if isinstance(block, Details):
        # Without the blank lines GitHub would read what is inside as HTML.
        inside = "\n\n".join(_block(inner, exact) for inner in block.blocks)
        summary = html_escape(_line(block.summary), quote=False)
        return f"<details>\n<summary>{summary}</summary>\n\n{inside}\n\n</details>"
    if block.code:
        fence = "`" * max(3, 1 + max(map(len, re.findall("`+", block.text)), default=0))
        return f"{fence}\n{block.text}\n{fence}"
    return plain(block.text) if block.plain else block.text


def plain(text: str) -> str:
    """Return markdown that shows a text as it is, its lines on lines of their own."""
    marked = _MARKS.sub(r"\\\g<0>", text.replace("&", "&amp;")).replace("<", "&lt;")
    lines = [_STARTS.sub(_escaped_start, line.strip()) for line in marked.splitlines()]
    return "\\\n".join(line for line in lines if line)


def _escaped_start(found: re.Match[str]) -> str:
    start = found[0]
    return f"{start}\\" if start[0].isdigit() else f"\\{start}"


def _table(table: Table, exact: bool) -> str:
    texts = cells(table, exact)
    rows = [
        [_code(text) if c.code else _escape(text) for text, c in zip(row, table.columns, strict=True)]
        for row in texts
    ]
    if table.total is not None:
        rows[-1] = [f"**{_escape(text)}**" if text else "" for text in texts[-1]]
    rule = ["---" if c.kind == "text" else "---:" for c in table.columns]
    lines = [[_escape(text) for text in heads(table)], rule, *rows]
    body = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"**{table.title}**\n\n{body}" if table.title else body


def _code(text: str) -> str:
    """Return a cell of names as code; nothing, and what begins with …, names nothing."""
    if not text or text.startswith("…"):
        return _escape(text)
    marks = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    room = " " if text[0] == "`" or text[-1] == "`" else ""
    return f"{marks}{room}{_line(text).replace('|', chr(92) + '|')}{room}{marks}"


def _line(text: str) -> str:
    return " ".join(text.split())


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
