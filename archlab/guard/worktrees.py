"""Clean worktrees for the time of one run, under git's own folder; what a killed run left is swept by the next."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from archlab.guard.git import command
from archlab.guard.revisions import Repository, Revision


@contextmanager
def run_folder(repository: Repository) -> Iterator[Path]:
    """Give a folder of this run alone, and remove it with every worktree in it, however the run ends.

    Its lock is held by this process: when that is gone, whatever ended it, anyone may sweep the folder.
    """
    place = repository.common / "archlab" / "worktrees"
    place.mkdir(parents=True, exist_ok=True)
    sweep(repository)
    handle, name = tempfile.mkstemp(prefix=f"{os.getpid()}-", suffix=".lock", dir=place)
    folder = Path(name).with_suffix("")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        folder.mkdir()
        yield folder
    finally:
        remove(repository, folder)
        os.unlink(name)
        os.close(handle)


def sweep(repository: Repository) -> None:
    """Remove the folders of runs that ended without doing so."""
    place = repository.common / "archlab" / "worktrees"
    for folder in [path for path in place.iterdir() if path.is_dir()]:
        lock = folder.with_name(f"{folder.name}.lock")
        with lock.open("a") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:  # its run goes on
                continue
            remove(repository, folder)
            lock.unlink(missing_ok=True)


def adding(repository: Repository, revision: Revision, path: Path) -> list[str]:
    """Return the command that makes a clean worktree of a revision."""
    return command(repository.root, "worktree", "add", "--detach", "--quiet", str(path), revision.commit)


def remove(repository: Repository, folder: Path) -> None:
    """Remove a folder and what git keeps of the worktrees in it; those of others, even lost ones, stay."""
    kept = repository.common / "worktrees"
    for entry in kept.iterdir() if kept.is_dir() else ():
        try:
            place = Path(os.path.realpath(entry / (entry / "gitdir").read_text(encoding="utf-8").strip()))
        except OSError:  # another process removes it just now, or git is making it
            continue
        if place.is_relative_to(folder):
            shutil.rmtree(entry, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):  # there are others
        kept.rmdir()
