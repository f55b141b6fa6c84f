"""`noting_lines`: while it is on, traced nodes know the file and line of the forward that ran them.

It does not load torch: whoever wants lines asks for them before anything is traced.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import CodeType
from typing import Any

Line = tuple[str, int]
"""A file and a line in it, counted from 1."""
NOWHERE: Line = ("", 0)

_OURS = str(Path(__file__).resolve().parents[1])
_INSTALLED = frozenset(("site-packages", "dist-packages"))
_PASSED, _OUTSIDE, _INSIDE = range(3)
"""What a file of code is: of torch, of ours, of Python's own or none at all; somebody's; in the folder asked for."""


@contextmanager
def noting_lines(inside: Path | str | None = None) -> Iterator[None]:
    """Let every trace in this thread note where each of its nodes was run, as `Source.file` and `.line`.

    That is the innermost call under way in code that is neither torch's, Python's nor ours, and of these
    the innermost in the folder `inside`, if one lies there and not among packages installed in it. A node
    run by no such code has file "" and line 0, as have inputs, parameters and constants.
    """
    token = _wanted.set((None if inside is None else os.path.realpath(inside),))
    try:
        yield
    finally:
        _wanted.reset(token)


_wanted: ContextVar[tuple[str | None] | None] = ContextVar("lines", default=None)


def steps_until(outermost: CodeType) -> list[Any]:
    """Return a list for the steps of a trace; lines are noted, if wanted, of calls made within that code."""
    wanted = _wanted.get()
    return [] if wanted is None else _Noted(wanted[0], outermost)


def lines_of(steps: list[Any]) -> list[Line]:
    """Return the line of each step."""
    return steps.lines if isinstance(steps, _Noted) else [NOWHERE] * len(steps)


class _Noted(list[Any]):
    """Steps with the line that ran each, which is looked up on the stack as the step is written down."""

    def __init__(self, inside: str | None, outermost: CodeType) -> None:
        super().__init__()
        self.lines: list[Line] = []
        self._inside, self._outermost = inside, outermost
        self._kinds: dict[str, int] = {}

    def append(self, step: Any) -> None:
        super().append(step)
        self.lines.append(NOWHERE if step.op.is_kept or step.op.is_input else self._line())

    def _line(self) -> Line:
        found, kinds = NOWHERE, self._kinds
        frame = sys._getframe(2)
        while frame is not None and (code := frame.f_code) is not self._outermost:
            kind = kinds.get(code.co_filename)
            if kind is None:
                kind = kinds[code.co_filename] = self._kind(code.co_filename)
            if kind and (found is NOWHERE or kind == _INSIDE):
                found = os.path.abspath(code.co_filename), frame.f_lineno or 0
                if kind == _INSIDE or self._inside is None:
                    break
            frame = frame.f_back  # type: ignore[assignment]
        return found

    def _kind(self, name: str) -> int:
        """Return what a file of code is; code made as text, such as torch's of a graph, has none."""
        path = os.path.realpath(name)
        parts = _INSTALLED.intersection(Path(path).parts)
        ours = any(_lies(path, folder) for folder in (_OURS, _torch()))
        if name.startswith("<") or ours or (not parts and _lies(path, _python())):
            return _PASSED
        folder = self._inside
        if folder is None or not _lies(path, folder) or _is_installed(path, folder):
            return _OUTSIDE
        return _INSIDE


def _is_installed(path: str, folder: str) -> bool:
    """Return whether a file lies among packages that are installed somewhere in a folder."""
    library = os.path.realpath(os.path.join(sys.prefix, "lib"))
    parts = Path(os.path.relpath(path, folder)).parts
    return bool(_INSTALLED.intersection(parts)) or (_lies(path, library) and not _lies(folder, library))


def _lies(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _python() -> str:
    return os.path.realpath(sysconfig.get_path("stdlib"))


def _torch() -> str:
    return os.path.realpath(os.path.dirname(str(sys.modules["torch"].__file__)))
