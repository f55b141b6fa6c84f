"""Documents as GitHub-flavoured markdown."""

from __future__ import annotations

from archlab.report.numbers import cells, heads
from archlab.report.table import Document, Heading, Table


def render(document: Document, exact: bool = False) -> str:
    """Return the document as markdown text."""
    parts = [f"# {document.title}"] if document.title else []
    for block in document.blocks:
        if isinstance(block, Table):
            parts.append(_table(block, exact))
        elif isinstance(block, Heading):
            parts.append(f"{'#' * block.level} {block.text}")
        else:
            parts.append(f"```\n{block.text}\n```" if block.code else block.text)
    return "\n\n".join(parts) + "\n"


def _table(table: Table, exact: bool) -> str:
    rows = cells(table, exact)
    if table.total is not None:
        rows[-1] = [f"**{text}**" if text else "" for text in rows[-1]]
    rule = ["---" if c.kind == "text" else "---:" for c in table.columns]
    lines = [heads(table), rule, *rows]
    body = "\n".join(f"| {' | '.join(_escape(text) for text in line)} |" for line in lines)
    return f"**{table.title}**\n\n{body}" if table.title else body


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
