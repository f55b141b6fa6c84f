"""The command `check`: every model against its budget and the lock, in every format, and told to GitHub."""

from __future__ import annotations

import os
import sys
from contextlib import chdir
from enum import StrEnum
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from archlab.cli.app import app
from archlab.cli.guarding import ConfigOption, ModelsArgument, accepting, baseline
from archlab.cli.options import ExactOption, JsonOption, OutputOption, StrictOption, chosen_format
from archlab.cli.output import finish, print_text, progress
from archlab.errors import OutputError, UsageError

if TYPE_CHECKING:
    from archlab.guard.config import Config, Model
    from archlab.guard.entry import Entry
    from archlab.guard.findings import Check


class CheckFormat(StrEnum):
    """How a check is written."""

    terminal = "terminal"
    markdown = "markdown"
    json = "json"
    csv = "csv"
    html = "html"
    junit = "junit"
    sarif = "sarif"


@app.command()
def check(
    models: ModelsArgument = None,
    strict: StrictOption = False,
    require_tight: Annotated[
        bool, typer.Option("--require-tight", help="Exit with 5 if the lock can be tightened.")
    ] = False,
    exact: ExactOption = False,
    format: Annotated[
        CheckFormat, typer.Option("--format", help="How the result is written.")
    ] = CheckFormat.terminal,
    json: JsonOption = False,
    output: OutputOption = None,
    files: Annotated[
        list[str] | None,
        typer.Option(
            "--write",
            metavar="FILE",
            help="Also write it to a file, as its ending says: .json .md .html .csv .xml (JUnit) .sarif; repeatable.",
        ),
    ] = None,
    marker: Annotated[
        str, typer.Option("--marker", metavar="NAME", help="What the hidden line of the markdown names it.")
    ] = "check",
    config: ConfigOption = None,
) -> None:
    """Hold every model of the config against its budget and against the lock.

    Exit codes: 0 nothing grew, 1 a budget is broken or a count grew, 3 a model cannot be built, 4 incomplete
    under --strict, 5 no lock or a stale one.
    """
    from archlab.cli.counting import count_configured, placed
    from archlab.files import write
    from archlab.guard.check import check as check_models
    from archlab.guard.config import find_config

    format = chosen_format(format, json)
    endings = {name: _format_of(name) for name in files or ()}
    found = find_config(Path.cwd(), config)
    chosen = found.chosen(models or ())
    if not chosen:
        raise UsageError(f"{found.path.name} names no model; add one as [[model]]")
    old = baseline(found)
    with chdir(found.path.parent), progress() as show:
        done = iter(range(len(chosen)))

        def told(model: Model) -> Entry:
            show(f"counting {model.name} ({next(done)} of {len(chosen)} done)")
            return count_configured(model)

        result = check_models(found, old, chosen, told, accepting(config), strict, require_tight)
        result = placed(result, found)
    given = [word for word, on in (("--strict", strict), ("--require-tight", require_tight)) if on]
    given += [f"--config {quote(config)}"] if config else []
    reproduce = " ".join(["archlab check", *given, *map(quote, models or ())])

    def rendered(format: CheckFormat, to_screen: bool = False) -> str:
        return _render(result, found, format, reproduce, marker, exact, to_screen)

    for name, ending in endings.items():
        write(name, rendered(ending))
    text = rendered(format, output is None)
    if output is None:
        print_text(text)
    else:
        write(output, text)
        typer.echo(f"wrote {output}", err=True)
    plain = format is CheckFormat.terminal and output is None
    _tell_github(result, rendered(CheckFormat.markdown), endings, sys.stdout if plain else sys.stderr)
    finish(result.exit_code != 0, result.exit_code)


_ENDINGS = {
    ".json": CheckFormat.json,
    ".md": CheckFormat.markdown,
    ".html": CheckFormat.html,
    ".csv": CheckFormat.csv,
    ".xml": CheckFormat.junit,
    ".sarif": CheckFormat.sarif,
    ".txt": CheckFormat.terminal,
}


def _format_of(name: str) -> CheckFormat:
    ending = Path(name).suffix
    if ending not in _ENDINGS:
        raise UsageError(f"--write {name}: what its ending means is not known (endings: {', '.join(_ENDINGS)})")
    return _ENDINGS[ending]


def _render(
    result: Check, config: Config, format: CheckFormat, reproduce: str, marker: str, exact: bool, to_screen: bool
) -> str:
    """Return a check in a format."""
    if format in (CheckFormat.junit, CheckFormat.sarif):
        from archlab.report import junit, sarif

        return junit.render(result, config) if format is CheckFormat.junit else sarif.render(result)
    from archlab.report.checking import check_document
    from archlab.report.formats import render

    document = check_document(result, reproduce)
    if format is CheckFormat.markdown:
        from archlab.report.comment import comment

        return comment(document, marker, exact)
    return render(document, format.value, exact, result.to_dict, to_screen)


def _tell_github(result: Check, markdown: str, files: dict[str, CheckFormat], stream: TextIO) -> None:
    """Write annotations, the step summary and the outputs where GitHub's environment asks for them.

    A runner reads annotations from both streams; they go where they do not mix with a result for a program.
    """
    from archlab.report import github

    if os.environ.get("GITHUB_ACTIONS") == "true":
        stream.write(github.annotations(result))
    written = {format.value: name for name, format in files.items()}
    for variable, text in (
        ("GITHUB_STEP_SUMMARY", github.summary(markdown)),
        ("GITHUB_OUTPUT", github.outputs(result, written)),
    ):
        if path := os.environ.get(variable):
            try:
                with open(path, "a", encoding="utf-8") as file:
                    file.write(text)
            except OSError as error:
                raise OutputError(f"cannot write {path} (${variable}): {error.strerror}") from None
