"""The commands that look back: `diff` between two sides, and `bisect` for the commit that changed a metric."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from archlab.cli.app import app
from archlab.cli.guarding import ConfigOption
from archlab.cli.options import (
    ArgOption,
    BackwardOption,
    ConventionOption,
    ExactOption,
    Format,
    InputOption,
    JsonOption,
    Mode,
    ModeOption,
    OutputOption,
    TopOption,
    chosen_format,
    complete_target,
    constructor_arguments,
)
from archlab.cli.output import emit, finish, progress
from archlab.errors import UsageError, nearest

if TYPE_CHECKING:
    from archlab.cli.operands import Operand, Project
    from archlab.guard.config import Model

NOT_COUNTED = 3


class DiffFormat(StrEnum):
    """How a difference is written."""

    terminal = "terminal"
    markdown = "markdown"
    json = "json"
    csv = "csv"
    html = "html"


DiffFormatOption = Annotated[DiffFormat, typer.Option("--format", help="How the result is written.")]


def _way(
    input: list[str] | None, arg: list[str] | None, mode: Mode, backward: bool, convention: str
) -> Callable[[str], Model]:
    """Return how a target of the command line is counted."""
    from archlab.guard.config import Model

    arguments = constructor_arguments(arg or [])
    way = (Mode.training if backward else mode).value
    return lambda text: Model(text, text, tuple(input or ()), way, convention, backward, arguments)


@app.command()
def diff(
    operands: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[OLD..NEW | OLD [NEW]] [TARGET]...",
            autocompletion=complete_target,
            show_default=False,
            help="Two revisions, or two of: a lock file, a profile as JSON, a TARGET, a revision. One is held "
            "against the working tree; TARGETs behind them choose what to count.",
        ),
    ] = None,
    input: InputOption = None,
    arg: ArgOption = None,
    mode: ModeOption = Mode.inference,
    backward: BackwardOption = False,
    convention: ConventionOption = "archlab",
    config: ConfigOption = None,
    top: TopOption = None,
    exact: ExactOption = False,
    format: DiffFormatOption = DiffFormat.terminal,
    json: JsonOption = False,
    output: OutputOption = None,
) -> None:
    """Say what changed between two revisions, targets, profiles or lock files.

    The models are those of each revision's own config, or of the present one. Exit code 3 says that something
    could not be counted; the rest is shown.
    """
    from archlab.cli.sides import sides
    from archlab.guard.sides import Changes
    from archlab.report.history import diff_document
    from archlab.report.table import Text

    way = _way(input, arg, mode, backward, convention)
    project, both = _operands(operands or ["HEAD"], config, way)
    with progress() as show:
        old, new = sides(project, both, show, way)
    changes = Changes(old, new)
    document, data = diff_document(changes, top), changes.to_dict()
    timings = [each.timing for each in both if each.timing is not None]
    if len(timings) == 2:
        from archlab.machines import warn_of_machines
        from archlab.report.measuring import timings_table

        warn_of_machines(both[0].text, timings[0].machine, both[1].text, timings[1].machine)
        document += (timings_table(timings), Text("Measured one by one, not in turn: no verdict."))
        data["measured"] = [each.to_dict() for each in timings]
    emit(document, Format(chosen_format(format, json).value), output, exact, data=lambda: data)
    finish(changes.exit_code != 0, changes.exit_code)


def _operands(texts: Sequence[str], config: str | None, way: Callable[[str], Model]) -> tuple[Project, list[Operand]]:
    """Return the project and the two sides that were asked for."""
    from archlab.cli.operands import Operand, operand, project
    from archlab.guard.revisions import Repository, is_range

    def repository() -> Repository:
        return Repository.of(Path.cwd())

    first, rest = texts[0], list(texts[1:])
    if is_range(first) and not Path(first).exists():
        ends = [Operand(end.text, revision=end) for end in repository().ends(first)]
        return project(config, rest, way), ends
    both = [operand(first, repository)]
    if rest:
        both.append(operand(rest.pop(0), repository))
    if rest and not all(each.revision for each in both):
        raise UsageError(f"{' '.join(texts)}: what is {rest[0]!r} for? TARGETs go behind a range or two revisions")
    targets = [each.text for each in both if each.target and each.entries is None]
    if len(both) == 2 and len(targets) == 1 and any(each.revision for each in both):
        # One model now, and as it was: the target is the model, and its side the working tree.
        both = [each if each.revision else Operand() for each in both]
        return project(config, targets, way), both
    if len(both) == 1:
        if targets:
            raise UsageError(f"{first}: compared with what? name two, or see what it costs: archlab profile {first}")
        both.append(Operand())
    return project(config, rest, way), both


@app.command()
def bisect(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            autocompletion=complete_target,
            show_default=False,
            help="A model of the config, or a TARGET.",
        ),
    ],
    span: Annotated[str, typer.Argument(metavar="GOOD..BAD", show_default=False, help="A range of revisions.")],
    metric: Annotated[str, typer.Option("--metric", help="What grew or shrank.")] = "macs",
    input: InputOption = None,
    arg: ArgOption = None,
    mode: ModeOption = Mode.inference,
    backward: BackwardOption = False,
    convention: ConventionOption = "archlab",
    config: ConfigOption = None,
    top: TopOption = None,
    exact: ExactOption = False,
    format: DiffFormatOption = DiffFormat.terminal,
    json: JsonOption = False,
    output: OutputOption = None,
) -> None:
    """Find the commit at which a metric of a model left its good side.

    Commits are followed along first parents; those that cannot be counted are passed over. Exit code 3 says that
    they hide the answer, or that an end of the range cannot be counted.
    """
    from archlab.cli.operands import project
    from archlab.cli.searching import search
    from archlab.guard.entry import LOCKED, OPTIONAL
    from archlab.guard.revisions import is_range
    from archlab.report.bisecting import bisect_document

    if metric not in (known := (*LOCKED, *OPTIONAL)):
        raise UsageError(f"--metric {metric}: unknown metric{nearest(metric, known)} (metrics: {', '.join(known)})")
    if is_range(model) and ".." not in span:  # the other way round
        model, span = span, model
    where = project(config, [model], _way(input, arg, mode, backward, convention))
    with progress() as show:
        found = search(where, span, metric, show)
    again = ["archlab", "bisect", "--metric", metric, *_given(input, arg, mode, backward, convention, config), model]
    commands = [
        (reason, f"{' '.join(map(quote, again))} {quote(range_)}")
        for reason, range_ in found.next_ranges(where.repository)
    ]
    document = bisect_document(found, commands, top)
    emit(document, Format(chosen_format(format, json).value), output, exact, data=found.to_dict)
    finish(bool(found.steps.hidden), NOT_COUNTED)


def _given(
    input: list[str] | None, arg: list[str] | None, mode: Mode, backward: bool, convention: str, config: str | None
) -> list[str]:
    """Return the options that were given, as they are typed."""
    words = [word for text in input or () for word in ("--input", text)]
    words += [word for text in arg or () for word in ("--arg", text)]
    words += ["--mode", mode.value] if mode is Mode.training and not backward else []
    words += ["--backward"] if backward else []
    words += ["--convention", convention] if convention != "archlab" else []
    return words + (["--config", config] if config else [])
