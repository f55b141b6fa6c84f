"""Documents as one self-contained HTML page."""

from __future__ import annotations

from html import escape

from archlab.report.numbers import cells, heads
from archlab.report.table import Block, Details, Document, Heading, Table

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem; color: #1a1a1a; }
table { border-collapse: collapse; margin: 1rem 0; font-size: 13px; }
caption { text-align: left; font-weight: 600; padding: .3rem 0; }
th, td { padding: .2rem .7rem; border-bottom: 1px solid #ddd; text-align: left; }
th { border-bottom: 2px solid #888; position: sticky; top: 0; background: #fff; }
.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
tfoot td { font-weight: 600; border-top: 2px solid #888; }
pre { background: #f5f5f5; padding: .7rem; overflow-x: auto; }
summary { font-weight: 600; padding: .3rem 0; cursor: pointer; }
@media (prefers-color-scheme: dark) {
  body { background: #161616; color: #e6e6e6; } th { background: #161616; } th, td { border-color: #444; }
  pre { background: #242424; }
}
"""


def render(document: Document, exact: bool = False) -> str:
    """Return a whole page that needs nothing else."""
    title, body = escape(document.title), "\n".join(_block(block, exact) for block in document.blocks)
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{title}</title>\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n{body}\n</body>\n</html>\n"
    )


def _block(block: Block, exact: bool) -> str:
    if isinstance(block, Table):
        return _table(block, exact)
    if isinstance(block, Heading):
        return f"<h{block.level}>{escape(block.text)}</h{block.level}>"
    if isinstance(block, Details):
        body = "\n".join(_block(inner, exact) for inner in block.blocks)
        return f"<details>\n<summary>{escape(block.summary)}</summary>\n{body}\n</details>"
    if block.code:
        return f"<pre>{escape(block.text)}</pre>"
    return f"<p>{'<br>'.join(escape(block.text).splitlines()) if block.plain else escape(block.text)}</p>"


def _table(table: Table, exact: bool) -> str:
    classes = ["" if c.kind == "text" else ' class="n"' for c in table.columns]

    def line(texts: list[str], tag: str) -> str:
        pairs = zip(texts, classes, strict=True)
        return f"<tr>{''.join(f'<{tag}{cls}>{escape(text)}</{tag}>' for text, cls in pairs)}</tr>"

    rows = cells(table, exact)
    foot = f"\n<tfoot>{line(rows.pop(), 'td')}</tfoot>" if table.total is not None else ""
    body = "\n".join(line(row, "td") for row in rows)
    caption = f"<caption>{escape(table.title)}</caption>\n" if table.title else ""
    return f"<table>\n{caption}<thead>{line(heads(table), 'th')}</thead>\n<tbody>\n{body}\n</tbody>{foot}\n</table>"
