"""Where results go: the screen, a file as a whole, and the exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import typer

from archlab.cli.options import Format
from archlab.errors import ArchlabError

if TYPE_CHECKING:
    from archlab.report.table import Document


def emit(
    document: Document,
    format: Format,
    output: str | None,
    exact: bool = False,
    data: Callable[[], Any] | None = None,
) -> None:
    """Write a result to the screen, or to a file as a whole."""
    text = render(document, format, exact, data, output is None)
    if output is None:
        print_text(text)
        return
    from archlab.files import write

    write(output, text)
    typer.echo(f"wrote {output}", err=True)


def render(
    document: Document,
    format: Format,
    exact: bool = False,
    data: Callable[[], Any] | None = None,
    to_screen: bool = True,
) -> str:
    """Return a document in a format, fitted to the screen if it goes there."""
    from archlab.report.formats import render

    return render(document, format.value, exact, data, to_screen)


def print_text(text: str) -> None:
    """Write to standard output; raise `OutputError` where that is closed or full."""
    from archlab.errors import OutputError

    if sys.stdout is None:
        raise OutputError("cannot write to standard output: it is closed")
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        # What is left in the buffer would fail once more when Python shuts down.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):  # whoever read has seen enough
            raise typer.Exit(0) from None
        raise OutputError(f"cannot write to standard output: {error.strerror}") from None


@contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """Give a function that shows one line on standard error, if a person looks at it, until the work is done."""
    shown = sys.stderr is not None and sys.stderr.isatty()

    def show(text: str) -> None:
        if shown:
            sys.stderr.write(f"\r\x1b[K{text}")
            sys.stderr.flush()

    try:
        yield show
    finally:
        show("")


def finish(failed: bool, code: int = 4) -> None:
    """End the command with an exit code if it failed."""
    if failed:
        raise typer.Exit(code)


def show_partial(error: ArchlabError, words: list[str]) -> None:
    """Show what ran before a trace failed, as JSON where that was asked for."""
    from archlab.errors import TraceError

    if isinstance(error, TraceError) and error.partial is not None:
        from archlab import api
        from archlab.report.table import Text
        from archlab.report.views import completeness, profile_document

        ran, message = api.profile(error.partial), " ".join(str(error).split())
        if "--json" in words or "--format=json" in words or ("--format", "json") in pairwise(words):
            import json

            print_text(json.dumps({**ran.to_dict(), "error": message}, indent=1, ensure_ascii=False) + "\n")
            return
        document = profile_document(ran)
        said = Text(f"Incomplete: {message}. This is what ran before.")
        blocks = tuple(said if block == Text(completeness(ran)) else block for block in document.blocks)
        print_text(render(replace(document, blocks=blocks), Format.terminal))
