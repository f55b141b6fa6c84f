"""The app that commands register with."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(
    name="archlab",
    help="What a neural network architecture costs, where, and why.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="A TARGET is a name of the zoo, torchvision:NAME, timm:NAME, hf:TYPE, package.module:callable, "
    "file.py:callable or a graph file, then +ABLATION and @INPUT: googlenet+naive@256. "
    "Exit codes: 0 ok, 1 a check failed, 2 bad usage, 3 unreadable or unbuildable, 4 incomplete, "
    "5 no baseline or a stale one, 70 internal error.",
)


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
