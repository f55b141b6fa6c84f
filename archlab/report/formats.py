"""One function from a document to the text of any format."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from archlab.report.table import Document


def render(
    document: Document,
    format: str,
    exact: bool = False,
    data: Callable[[], Any] | None = None,
    to_screen: bool = False,
) -> str:
    """Return a document as terminal, markdown, json, csv, html or latex text.

    JSON is made of `data`, the result itself; a terminal's text is fitted only `to_screen`.
    """
    if format == "json":
        import json

        return json.dumps(data() if data else None, indent=1, ensure_ascii=False) + "\n"
    if format == "csv":
        from archlab.report.data import render_csv

        return render_csv(document)
    if format == "terminal":
        from archlab.report import terminal

        width, colour = terminal.screen() if to_screen else (None, False)
        return terminal.render(document, exact, width, colour)
    from importlib import import_module

    renderer = import_module(f"archlab.report.{format}")
    text: str = renderer.render(document, exact)
    return text
