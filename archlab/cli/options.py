"""The options and arguments that commands share, and the texts they are given as."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, TypeVar

import typer

from archlab.errors import UsageError


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


def complete_target(incomplete: str) -> list[str]:
    """Complete a target: a name, or an ablation behind the last ``+``."""
    from archlab.zoo import ablations, catalog

    head, plus, tail = incomplete.rpartition("+")
    known = ablations.ABLATIONS if plus else catalog.ARCHITECTURES
    return [f"{head}{plus}{name}" for name in known if name.startswith(tail)]


TargetArgument = Annotated[str, typer.Argument(metavar="TARGET", autocompletion=complete_target, show_default=False)]
FormatOption = Annotated[Format, typer.Option("--format", help="How the result is written.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Short for --format json.")]
OutputOption = Annotated[
    str | None, typer.Option("--output", "-o", metavar="FILE", help="Write to a file, whole or not at all.")
]
ExactOption = Annotated[bool, typer.Option("--exact", help="Print every digit.")]
ModeOption = Annotated[Mode, typer.Option("--mode", help="Count as in inference or as in training.")]
BackwardOption = Annotated[
    bool, typer.Option("--backward", help="Add the MACs of the backward pass; implies --mode training.")
]
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


Chosen = TypeVar("Chosen", bound=StrEnum)
"""The formats of one command, terminal and json among them."""


def chosen_format(format: Chosen, json: bool) -> Chosen:
    """Return the format of --format and --json together; raise `UsageError` where they differ."""
    if json and format.value not in ("terminal", "json"):
        raise UsageError(f"--json is short for --format json; leave out one of --json and --format {format.value}")
    return type(format)("json") if json else format


def names(text: str | None) -> tuple[str, ...]:
    """Return the names in a list with commas."""
    return tuple(name.strip() for name in text.split(",")) if text else ()


def load(target: str, inputs: list[str] | None, arguments: list[str] | None, mode: Mode) -> Any:
    """Return the graph of a target with the inputs and constructor arguments of the command line."""
    from archlab import api

    return api.load(target, inputs=inputs or (), arguments=constructor_arguments(arguments or []), mode=mode.value)


def constructor_arguments(texts: list[str]) -> Mapping[str, Any]:
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
