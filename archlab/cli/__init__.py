"""The command line: `main` runs it and turns every failure into one line and an exit code."""

from __future__ import annotations

import sys
import warnings
from typing import Any

# Commands register as they are imported.
from archlab.cli import architectures, checking, commands, gradients, guarding, history  # noqa: F401
from archlab.cli.app import app
from archlab.cli.output import show_partial
from archlab.errors import ArchlabError, ArchlabWarning

INTERRUPTED = 130
_showwarning = warnings.showwarning


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its code; every error is one line."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"] or ["--help"]
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that lacks a sign still gets the rest
    warnings.showwarning = _warn
    try:
        code = app(words, prog_name="archlab", standalone_mode=False)
    except Exception as error:
        if debug:
            raise
        sys.exit(_report(error, words))
    except KeyboardInterrupt:
        code = INTERRUPTED
    if code == INTERRUPTED:  # typer turns an interrupt into this code, too
        sys.stderr.write("error: interrupted\n")
    sys.exit(code if isinstance(code, int) else 0)


def _warn(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
    """Say our own warnings in one line, and leave those of others as they are."""
    if issubclass(category, ArchlabWarning):
        sys.stderr.write(f"warning: {' '.join(str(message).split())}\n")
    else:
        _showwarning(message, category, *where, **more)


def _report(error: Exception, words: list[str]) -> int:
    """Say what went wrong in one line and return the exit code."""
    code, message = 70, f"internal error, {type(error).__name__}: {error} (see it with --debug)"
    if isinstance(error, ArchlabError):
        code, message = error.exit_code, str(error)
        show_partial(error, words)
    elif hasattr(error, "format_message"):
        code, message = 2, f"{error.format_message()} (see: archlab --help)"
    elif type(error).__name__ == "Abort":
        code, message = INTERRUPTED, "interrupted"
    sys.stderr.write(f"error: {' '.join(message.split())}\n")
    return code
