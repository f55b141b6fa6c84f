"""The git command line, run so that neither a hook's environment nor a repository's own hooks interfere."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from archlab.errors import UsageError

_LOCAL = (
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_DIR",
    "GIT_GRAFT_FILE",
    "GIT_INDEX_FILE",
    "GIT_NAMESPACE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
)
"""What a hook finds in its environment: with it git would take another repository's, or the commit's, index."""
_OPTIONS = ("-c", f"core.hooksPath={os.devnull}", "-c", "i18n.logOutputEncoding=UTF-8", "-c", "core.fsmonitor=false")


class GitError(UsageError):
    """git refused; the message is its last line."""


def environment(given: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return an environment for git and for what runs in a worktree, without that of a hook."""
    kept = {name: value for name, value in given.items() if name not in _LOCAL}
    return {**kept, "LC_ALL": "C.UTF-8", "LANGUAGE": "", "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0"}


def command(folder: Path, *words: str) -> list[str]:
    """Return the words that run git in a folder."""
    return ["git", "-C", str(folder), *_OPTIONS, *words]


def git(folder: Path, *words: str) -> str:
    """Return what git prints in a folder, without the last line break; raise `GitError` where it refuses."""
    try:
        done = subprocess.run(
            command(folder, *words), env=environment(), stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
    except FileNotFoundError:
        raise UsageError("git is not installed, or not on the PATH; revisions are read with it") from None
    if done.returncode:
        raise GitError(last_line(done.stderr) or f"git {words[0]} ended with {done.returncode}")
    return done.stdout.decode("utf-8", "surrogateescape").removesuffix("\n")


def last_line(said: bytes) -> str:
    """Return the line with which git says why it refused, without its first word."""
    lines = [line.strip() for line in said.decode("utf-8", "replace").splitlines() if line.strip()]
    fatal = [line for line in lines if line.startswith(("fatal:", "error:"))]
    return (fatal or lines or [""])[-1].removeprefix("fatal:").removeprefix("error:").strip()
