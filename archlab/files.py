"""Writing results to files: whole or not at all."""

from __future__ import annotations

import glob
import os
import tempfile
from pathlib import Path

from archlab.errors import OutputError


def write(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file so that, whatever happens, the old or the new content stands there whole.

    The text goes to a temporary file beside it, which then takes its name. What is not a regular
    file (a pipe, a terminal) is written to directly. Raises `OutputError`.
    """
    try:
        target = Path(os.path.realpath(path))
        if target.exists() and not target.is_file() and not target.is_dir():
            with target.open("w", encoding="utf-8") as stream:
                stream.write(text)
            return
        if target.is_dir():
            raise IsADirectoryError(None, "it is a folder")
        _replace(target, text)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"cannot write {os.fspath(path)!r}: {reason}; nothing was changed") from None


def _replace(target: Path, text: str) -> None:
    _sweep(target)
    handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.{os.getpid()}.", suffix=".tmp", dir=target.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~_umask())
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise


def _sweep(target: Path) -> None:
    """Remove the temporary files that writers of this file left behind when they were killed."""
    for left in target.parent.glob(f".{glob.escape(target.name)}.*.tmp"):
        process = left.name.removeprefix(f".{target.name}.").partition(".")[0]
        if process.isdigit() and not _runs(int(process)):
            left.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    if os.name == "nt":  # where the signal 0 would end it
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
