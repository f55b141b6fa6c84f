"""Every error archlab raises on purpose, each with the exit code it means on the command line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ArchlabError(Exception):
    """Base of archlab's own errors; its message says where, what and what to do."""

    exit_code = 70


class ArchlabWarning(UserWarning):
    """Something that leaves a result incomplete, which then says so, too."""


class UsageError(ArchlabError, ValueError):
    """What was asked for cannot be: a malformed target, an unknown name, an unknown option value."""

    exit_code = 2


class AblationError(UsageError):
    """An ablation selected nothing, or another number of layers than it was told to expect."""


class OutputError(UsageError):
    """A result could not be written; nothing half-written was left behind."""


class GraphError(ArchlabError, ValueError):
    """A graph is not well formed: an unknown reference, a duplicate name, a wrong parameter."""

    exit_code = 3


class ShapeError(GraphError):
    """Shapes that do not fit an operation. An op says what; the graph adds where."""


class ReadError(ArchlabError):
    """A file could not be read as what it claims to be."""

    exit_code = 3


class BaselineError(ReadError):
    """The baseline of a check is there and cannot be read."""

    exit_code = 5


class TraceError(ArchlabError):
    """A forward failed while it was traced; `partial` is the graph of what ran before, if anything did."""

    exit_code = 3

    def __init__(self, message: str, partial: object = None) -> None:
        super().__init__(message)
        self.partial = partial


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the known name closest to `name`, or an empty string."""
    folded = {word.casefold(): word for word in known}
    close = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.5)
    return f"; did you mean {folded[close[0]]!r}?" if close else ""
