"""Counts that are kept by what decides them: the files of a revision, the job, and what else is installed."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from archlab.errors import OutputError
from archlab.files import write
from archlab.guard.revisions import Repository

Job = Mapping[str, Any]
"""A model as plain data: name, target, inputs, arguments, mode, convention, backward."""
SCHEMA = "archlab.count/1"
_PACKAGE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Cache:
    """The folder of the counts of one repository, and a fingerprint of all that decides them but the files."""

    folder: Path
    prefix: str
    environment: str

    @classmethod
    def of(cls, repository: Repository) -> Cache:
        """Return the cache of a repository for the packages that are installed now."""
        found: dict[str, Any] = {"schema": SCHEMA, "python": _python(), **installed(_path(repository))}
        if not _PACKAGE.is_relative_to(repository.root):
            found["archlab"] = sources(_PACKAGE)
        return cls(repository.common / "archlab" / "counts", repository.prefix, _digest(found))

    def read(self, tree: str, job: Job) -> dict[str, Any] | None:
        """Return the profile that is kept of a job, None where there is none or it cannot be relied on."""
        path = self._path(tree, job)
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
            if kept["key"] != self._key(tree, job) or not all(_unchanged(*file) for file in kept["read"]):
                return None
            profile: dict[str, Any] = kept["profile"]
            os.utime(path)  # so that it is not forgotten
            return profile if isinstance(profile["total"], dict) else None
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None  # whatever is wrong with it, it can be counted anew

    def keep(self, tree: str, job: Job, profile: Any, read: Sequence[Sequence[Any]]) -> None:
        """Keep a profile, whole or not at all, with the files that it depends on: path, size and time."""
        path = self._path(tree, job)
        text = json.dumps({"key": self._key(tree, job), "read": read, "profile": profile})
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write(path, text)
        except (OSError, OutputError):
            return  # a full disk costs time at the next run, never the result of this one

    def forget(self, days: int = 90) -> None:
        """Remove what was not asked for in so many days."""
        last = time.time() - days * 24 * 3600
        for path in self.folder.glob("*/*.json"):
            with suppress(OSError):  # another run is as fast, or the folder cannot be written
                if path.stat().st_mtime < last:
                    path.unlink()

    def _key(self, tree: str, job: Job) -> dict[str, Any]:
        asked = {key: value for key, value in job.items() if key != "name"}
        key = {"tree": tree, "folder": self.prefix, "job": asked, "environment": self.environment}
        plain: dict[str, Any] = json.loads(json.dumps(key, default=repr))
        return plain

    def _path(self, tree: str, job: Job) -> Path:
        return self.folder / tree[:2] / f"{_digest(self._key(tree, job))}.json"


def installed(path: Sequence[str]) -> dict[str, Any]:
    """Return the folders of a path, and the distributions in them, whose folders say name and version.

    What adds to the path or redirects imports (``.pth`` files and the finders beside them) is told by
    size and time, too.
    """
    found: list[tuple[str, int, int]] = []
    for folder in path:
        try:
            entries = list(os.scandir(folder))
        except OSError:  # a zip file, or nothing
            continue
        found.extend((entry.name, 0, 0) for entry in entries if entry.name.endswith((".dist-info", ".egg-info")))
        steering = [e for e in entries if e.name.endswith(".pth") or e.name.startswith("__editable__")]
        found.extend((e.name, e.stat().st_size, e.stat().st_mtime_ns) for e in steering)
    return {"path": list(path), "installed": sorted(found)}


def _path(repository: Repository) -> list[str]:
    """Return where modules come from that are not the project's: not the checkout, nor the folder of the script."""
    script = os.path.dirname(os.path.realpath(sys.argv[0])) if sys.argv else ""
    real = [os.path.realpath(folder) for folder in sys.path if folder]
    return [folder for folder in dict.fromkeys(real) if folder not in (script, str(repository.folder))]


def sources(package: Path) -> list[tuple[str, int, int]]:
    """Return path, size and time of every source file of a package."""
    files = sorted(package.rglob("*.py"))
    return [(str(file), (stat := file.stat()).st_size, stat.st_mtime_ns) for file in files]


def _python() -> str:
    return f"{platform.python_implementation()} {sys.version} {sys.prefix}"


def _digest(value: Any) -> str:
    return sha256(json.dumps(value, sort_keys=True, default=repr).encode()).hexdigest()


def _unchanged(path: str, size: int, time: int) -> bool:
    stat = os.stat(path)
    return (stat.st_size, stat.st_mtime_ns) == (size, time)
