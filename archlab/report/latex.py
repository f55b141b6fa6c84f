"""The tables of a document as LaTeX, for the booktabs package."""

from __future__ import annotations

from archlab.report.numbers import cells, heads
from archlab.report.table import Document, Table

_ESCAPES = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "×": r"$\times$", "·": r"$\cdot$", "→": r"$\to$",
    "−": "$-$", "Σ": r"$\Sigma$", "…": r"\dots{}",
}  # fmt: skip


def render(document: Document, exact: bool = False) -> str:
    """Return each table of the document as a `tabular`."""
    return "\n".join(_tabular(table, exact) for table in document.tables)


def _tabular(table: Table, exact: bool) -> str:
    align = "".join("l" if c.kind == "text" else "r" for c in table.columns)
    lines = [" & ".join(map(_escape, row)) + r" \\" for row in (heads(table), *cells(table, exact))]
    lines.insert(1, r"\midrule")
    if table.total is not None:
        lines.insert(-1, r"\midrule")
    body = "\n".join(lines)
    caption = f"% {table.title}\n" if table.title else ""
    return f"{caption}\\begin{{tabular}}{{{align}}}\n\\toprule\n{body}\n\\bottomrule\n\\end{{tabular}}\n"


def _escape(text: str) -> str:
    return "".join(_ESCAPES.get(character, character) for character in text)
