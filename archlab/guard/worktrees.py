"""Clean worktrees for the time of one run, under git's own folder; what a killed run left is swept by the next."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from archlab.guard.git import GitError, command
from archlab.guard.revisions import Repository, Revision

_TRIES = 5
_PAUSE = 0.1


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


def add(repository: Repository, revision: Revision, path: Path) -> None:
    """Make a worktree of a revision, still without its files; raise `GitError` where git refuses.

    One at a time: git fails where it comes across another that is being made. Those that a user makes
    meanwhile are why it is tried again.
    """
    with (repository.common / "archlab" / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for tries_left in reversed(range(_TRIES)):
            try:
                words = ("--no-checkout", "--detach", "--force", "--quiet")
                repository.git("worktree", "add", *words, str(path), revision.commit)
                return
            except GitError:
                if not tries_left:
                    raise
                time.sleep(_PAUSE)


def filling(path: Path) -> list[str]:
    """Return the command that puts the files of its revision into a worktree."""
    return command(path, "reset", "--hard", "--quiet")


def remove(repository: Repository, folder: Path) -> None:
    """Remove a folder and what git keeps of the worktrees in it; those of others, even lost ones, stay."""
    kept = repository.common / "worktrees"
    for entry in kept.iterdir() if kept.is_dir() else ():
        try:
            place = Path(os.path.realpath(entry / (entry / "gitdir").read_text(encoding="utf-8").strip()))
        except OSError:  # another process removes it just now, or git is making it
            continue
        if place.is_relative_to(folder):
            with suppress(OSError):  # at once, so that nobody's git comes across half of it
                entry.rename(folder / f"{entry.name}.removed")
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):  # there are others
        kept.rmdir()
