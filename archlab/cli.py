"""The command line: reads what is asked for, calls the library, and writes what comes back."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from archlab.errors import ArchlabError, UsageError

if TYPE_CHECKING:
    from archlab.report.table import Document

app = typer.Typer(
    name="archlab",
    help="What a neural network architecture costs, where, and why.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="A TARGET is a name of the zoo, torchvision:NAME, timm:NAME, hf:TYPE, package.module:callable, "
    "file.py:callable or a graph file, then +ABLATION and @INPUT: googlenet+naive@256. "
    "Exit codes: 0 ok, 1 a check failed, 2 bad usage, 3 unreadable or unbuildable, 4 incomplete, 70 internal error.",
)


INTERRUPTED = 130


class Format(StrEnum):
    """How a result is written."""

    terminal = "terminal"
    markdown = "markdown"
    json = "json"
    csv = "csv"
    html = "html"
    latex = "latex"


class ReportFormat(StrEnum):
    """How a rendered report is written."""

    markdown = "markdown"
    html = "html"


class Mode(StrEnum):
    """How a network runs."""

    inference = "inference"
    training = "training"


def _targets(incomplete: str) -> list[str]:
    """Complete a target: a name, or an ablation behind the last ``+``."""
    from archlab.zoo import ablations, catalog

    head, plus, tail = incomplete.rpartition("+")
    known = ablations.ABLATIONS if plus else catalog.ARCHITECTURES
    return [f"{head}{plus}{name}" for name in known if name.startswith(tail)]


TargetArgument = Annotated[str, typer.Argument(metavar="TARGET", autocompletion=_targets, show_default=False)]
FormatOption = Annotated[Format, typer.Option("--format", help="How the result is written.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Short for --format json.")]
OutputOption = Annotated[
    str | None, typer.Option("--output", "-o", metavar="FILE", help="Write to a file, whole or not at all.")
]
ExactOption = Annotated[bool, typer.Option("--exact", help="Print every digit.")]
ModeOption = Annotated[Mode, typer.Option("--mode", help="Count as in inference or as in training.")]
InputOption = Annotated[
    list[str] | None, typer.Option("--input", metavar="[NAME=]SHAPE[:DTYPE]", help="Another input; repeatable.")
]
ArgOption = Annotated[
    list[str] | None,
    typer.Option("--arg", metavar="NAME=VALUE", help="A constructor argument, such as num_classes=10."),
]
ConventionOption = Annotated[str, typer.Option("--convention", help="The rules to count by.")]
StrictOption = Annotated[bool, typer.Option("--strict", help="Exit with 4 if anything is uncounted.")]
ColumnsOption = Annotated[
    str | None, typer.Option("--columns", metavar="NAMES", help="Columns in order, such as macs,params,cmp.")
]
SortOption = Annotated[
    str | None,
    typer.Option("--sort", metavar="COLUMN", help="Largest first by a column; in a comparison, by its change."),
]
DepthOption = Annotated[int | None, typer.Option("--depth", min=1, help="A row a block of so many path parts.")]
TopOption = Annotated[int | None, typer.Option("--top", min=1, help="Keep so many rows and sum up the rest.")]


def _version(asked: bool) -> None:
    if asked:
        from archlab import __version__

        typer.echo(f"archlab {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error; goes anywhere.")] = False,
) -> None:
    """What a neural network architecture costs, where, and why."""


@app.command("list")
def list_(format: FormatOption = Format.terminal, json: JsonOption = False, output: OutputOption = None) -> None:
    """List every architecture and ablation, with one sentence and its source."""
    from archlab.report.listing import catalog_data, catalog_document
    from archlab.zoo.ablations import ABLATIONS
    from archlab.zoo.catalog import ARCHITECTURES

    architectures = [(name, a.summary, a.source) for name, a in ARCHITECTURES.items()]
    ablations = [(name, a.claim, a.source) for name, a in ABLATIONS.items()]
    _emit(
        catalog_document(architectures, ablations),
        _format(format, json),
        output,
        data=lambda: catalog_data(architectures, ablations),
    )


@app.command()
def profile(
    target: TargetArgument,
    input: InputOption = None,
    arg: ArgOption = None,
    mode: ModeOption = Mode.inference,
    convention: ConventionOption = "archlab",
    columns: ColumnsOption = None,
    depth: DepthOption = None,
    sort: SortOption = None,
    top: TopOption = None,
    strict: StrictOption = False,
    exact: ExactOption = False,
    format: FormatOption = Format.terminal,
    json: JsonOption = False,
    output: OutputOption = None,
) -> None:
    """Count one architecture: a row a layer or a block, and the totals."""
    from archlab import api
    from archlab.report.columns import Shaping
    from archlab.report.views import profile_document

    shaping = Shaping(_columns(columns), depth, sort, top)
    result = api.profile(_load(target, input, arg, mode), mode=mode.value, convention=convention)
    document = profile_document(result, shaping)
    _emit(document, _format(format, json), output, exact, data=result.to_dict)
    _finish(strict and bool(result.uncounted or result.assumed))


@app.command()
def compare(
    base: Annotated[str, typer.Argument(metavar="BASE", autocompletion=_targets, show_default=False)],
    others: Annotated[list[str], typer.Argument(metavar="OTHER...", autocompletion=_targets, show_default=False)],
    input: InputOption = None,
    arg: ArgOption = None,
    mode: ModeOption = Mode.inference,
    convention: ConventionOption = "archlab",
    columns: ColumnsOption = None,
    depth: DepthOption = None,
    sort: SortOption = None,
    top: TopOption = None,
    strict: StrictOption = False,
    exact: ExactOption = False,
    format: FormatOption = Format.terminal,
    json: JsonOption = False,
    output: OutputOption = None,
) -> None:
    """Compare architectures; the first name typed is the base."""
    from archlab import api
    from archlab.report.columns import Shaping
    from archlab.report.comparing import comparison_document
    from archlab.report.table import Text

    shaping = Shaping(_columns(columns), depth, sort, top)
    graphs = [_load(target, input, arg, mode) for target in (base, *others)]
    result = api.compare(*graphs, mode=mode.value, convention=convention)
    document = comparison_document(result, shaping, exact)
    if {base, *others} == {"naive", "reduced"}:
        document += (Text("The whole network: archlab compare googlenet googlenet+naive"),)
    _emit(document, _format(format, json), output, exact, data=result.to_dict)
    _finish(strict and any(p.uncounted or p.assumed for p in result.subjects))


@app.command()
def explain(
    target: TargetArgument,
    layer: Annotated[
        str | None, typer.Argument(show_default=False, help="One layer; without it, every layer's product.")
    ] = None,
    input: InputOption = None,
    arg: ArgOption = None,
    mode: ModeOption = Mode.inference,
    exact: ExactOption = False,
    format: FormatOption = Format.terminal,
    json: JsonOption = False,
    output: OutputOption = None,
) -> None:
    """Show where a number comes from: the rule, the symbols, the numbers put in."""
    from archlab import api
    from archlab.report.explaining import explanation, explanation_data, overview

    result = api.profile(_load(target, input, arg, mode), mode=mode.value)
    if layer is None or (layer in result.by_block(layer.count("/") + 1) and layer not in result.names):
        shown = [row for row in result.layers if layer is None or row.name.startswith(f"{layer}/")]
        document, data = overview(result, shown), lambda: explanation_data(result, shown)
    else:
        row = result.layer(layer)
        document, data = explanation(result, row), lambda: explanation_data(result, [row])
    _emit(document, _format(format, json), output, exact, data=data)


@app.command()
def verify(
    target: TargetArgument,
    input: InputOption = None,
    arg: ArgOption = None,
    mode: ModeOption = Mode.inference,
    exact: ExactOption = False,
    format: FormatOption = Format.terminal,
    json: JsonOption = False,
    output: OutputOption = None,
) -> None:
    """Count with torch's and fvcore's counters, too; exit with 1 if a difference has no reason."""
    from archlab import api
    from archlab.report.verifying import verification_document

    result = api.verify(_load(target, input, arg, mode), mode=mode.value)
    _emit(verification_document(result), _format(format, json), output, exact, data=result.to_dict)
    _finish(not result.ok, 1)


@app.command()
def report(
    output: Annotated[str, typer.Option("--output", "-o", metavar="FOLDER", help="Where to.")] = "reports",
    format: Annotated[ReportFormat, typer.Option("--format", help="How to write.")] = ReportFormat.markdown,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit with 1 if a report is stale.")] = False,
) -> None:
    """Render the reports: GoogLeNet, its ablations, the 1×1 convolution, the paper's Table 1."""
    from archlab.studies.render import render_all, stale

    if check:
        old = stale(output, format.value)
        for name in old:
            typer.echo(f"stale: {name} (render it: archlab report)")
        typer.echo(f"{len(old)} stale" if old else "every report is fresh")
        _finish(bool(old), 1)
        return
    for path in render_all(output, format.value):
        typer.echo(f"wrote {path}", err=True)


def _format(format: Format, json: bool) -> Format:
    if json and format not in (Format.terminal, Format.json):
        raise UsageError(f"--json is short for --format json; leave out one of --json and --format {format.value}")
    return Format.json if json else format


def _columns(text: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",")) if text else ()


def _load(target: str, inputs: list[str] | None, arguments: list[str] | None, mode: Mode) -> Any:
    from archlab import api

    return api.load(target, inputs=inputs or (), arguments=_arguments(arguments or []), mode=mode.value)


def _arguments(texts: list[str]) -> Mapping[str, Any]:
    """Return NAME=VALUE texts as a mapping; a value that is a Python literal is one."""
    from ast import literal_eval

    parsed: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise UsageError(f"--arg {text}: write NAME=VALUE, such as num_classes=10")
        try:
            parsed[name] = literal_eval(value)
        except (ValueError, SyntaxError):
            parsed[name] = value
    return parsed


def _emit(
    document: Document,
    format: Format,
    output: str | None,
    exact: bool = False,
    data: Callable[[], Any] | None = None,
) -> None:
    """Write a result to the screen, or to a file as a whole."""
    text = _render(document, format, exact, data, output is None)
    if output is None:
        _print(text)
        return
    from archlab.report.files import write

    write(output, text)
    typer.echo(f"wrote {output}", err=True)


def _render(
    document: Document,
    format: Format,
    exact: bool = False,
    data: Callable[[], Any] | None = None,
    to_screen: bool = True,
) -> str:
    from archlab.report.formats import render

    return render(document, format.value, exact, data, to_screen)


def _print(text: str) -> None:
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


def _finish(failed: bool, code: int = 4) -> None:
    if failed:
        raise typer.Exit(code)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its code; every error is one line."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"] or ["--help"]
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that lacks a sign still gets the rest
    try:
        code = app(words, prog_name="archlab", standalone_mode=False)
    except Exception as error:
        if debug:
            raise
        sys.exit(_report(error))
    except KeyboardInterrupt:
        code = INTERRUPTED
    if code == INTERRUPTED:  # typer turns an interrupt into this code, too
        sys.stderr.write("error: interrupted\n")
    sys.exit(code if isinstance(code, int) else 0)


def _show_partial(error: ArchlabError) -> None:
    """Show what ran before a trace failed."""
    from archlab.errors import TraceError

    if isinstance(error, TraceError) and error.partial is not None:
        from archlab import api
        from archlab.report.views import profile_document

        ran = api.profile(error.partial)
        _print(_render(profile_document(ran), Format.terminal))


def _report(error: Exception) -> int:
    """Say what went wrong in one line and return the exit code."""
    code, message = 70, f"internal error, {type(error).__name__}: {error} (see it with --debug)"
    if isinstance(error, ArchlabError):
        code, message = error.exit_code, str(error)
        _show_partial(error)
    elif hasattr(error, "format_message"):
        code, message = 2, f"{error.format_message()} (see: archlab --help)"
    elif type(error).__name__ == "Abort":
        code, message = INTERRUPTED, "interrupted"
    sys.stderr.write(f"error: {' '.join(message.split())}\n")
    return code
