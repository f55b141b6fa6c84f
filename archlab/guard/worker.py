"""Counts the models of one revision in its worktree: run as a script by its path, in a process of its own.

It imports archlab and the models as anyone would who stood in that worktree. What it counts is refused
if any of the code came from the checkout instead: two revisions counted from the same files would be a lie.
"""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, TextIO

LOST = 70
UNBUILDABLE = 3
_FINDER = "__editable__"
"""How setuptools begins the names of the modules that find those of editable installs."""


def main(order: dict[str, Any], out: TextIO) -> None:
    """Count every job of an order and write a line of JSON each: its profile and what else it read, or why not.

    An order has the real paths ``root`` and ``worktree``, the project's folder in it ``project``, ``path``
    for ``sys.path``, and ``jobs``.
    """
    sys.path[:] = order["path"]
    redirect_editables(order["root"], order["worktree"])
    for job in order["jobs"]:
        found: dict[str, Any]
        try:
            found = {"profile": count(job, order), "read": list(outside(order))}
        except BaseException as error:  # a model may raise anything, and the next one is still to be counted
            found = failure(error)
        refused = from_checkout(order)
        if refused:
            found = {"error": refused, "code": UNBUILDABLE}
        if "error" in found:
            found["error"] = found["error"].replace(order["worktree"] + os.sep, "").replace(order["worktree"], ".")
        out.write(json.dumps({"name": job["name"], **found}) + "\n")
        out.flush()


def count(job: dict[str, Any], order: dict[str, Any]) -> dict[str, Any]:
    """Return the profile of a job as plain data."""
    import archlab

    target = job["target"]
    if os.path.isabs(target):  # one that names a file of the checkout means that of the revision
        target = moved(target, order["root"], order["worktree"])
    graph = _call(archlab.load, target, inputs=job["inputs"], arguments=job["arguments"], mode=job["mode"])
    way = {"mode": job["mode"], "convention": job["convention"], "backward": job["backward"]}
    data: dict[str, Any] = _call(archlab.profile, graph, **way).to_dict()
    return {"backward": job["backward"], **data, "subject": job["target"]}  # older profiles do not say it


def _call(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Call a function without those options that say nothing and that an older archlab does not know."""
    known = inspect.signature(function).parameters
    silent: tuple[Any, ...] = ([], {}, "inference", "archlab", False)
    return function(*args, **{key: value for key, value in options.items() if key in known or value not in silent})


def failure(error: BaseException) -> dict[str, Any]:
    """Return an error as one line and an exit code: its own, or 70 with its type."""
    said = " ".join(str(error).split())
    code = getattr(error, "exit_code", None)
    if isinstance(code, int):
        return {"error": said, "code": code}
    return {"error": f"{type(error).__name__}: {said}" if said else type(error).__name__, "code": LOST}


def redirect_editables(root: str, worktree: str) -> None:
    """Let the import hooks of editable installs find in the worktree what they would find in the checkout."""
    for finder in sys.meta_path:
        module = sys.modules.get(getattr(finder, "__module__", ""))
        if not getattr(module, "__name__", "").startswith(_FINDER):
            continue
        for table in (getattr(module, "MAPPING", {}), getattr(module, "NAMESPACES", {})):
            for name, place in table.items():
                if isinstance(place, str):
                    table[name] = moved(place, root, worktree)
                else:
                    table[name] = [moved(each, root, worktree) for each in place]


def moved(path: str, root: str, worktree: str) -> str:
    """Return where a path of the checkout lies in the worktree; a path outside of it as it is."""
    real = os.path.realpath(path)
    return worktree + real[len(root) :] if _inside(real, root) and not _inside(real, worktree) else path


def loaded() -> Iterator[tuple[str, str]]:
    """Yield every loaded module that has a file, and its real path; not this script, nor what finds modules."""
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and name != "__main__" and not name.startswith(_FINDER):
            yield name, os.path.realpath(file)


def from_checkout(order: dict[str, Any]) -> str:
    """Return what to say where a module was loaded from the checkout, or from a copy that was installed of it."""
    root, worktree = order["root"], order["worktree"]
    for name, file in loaded():
        if _inside(file, worktree):
            continue
        if _inside(file, root) and os.path.relpath(file, root) in tracked(root):
            where = os.path.relpath(file, root)
            return (
                f"{name} was imported from {where} of the checkout, not of the revision; "
                f"it would be counted as it is now: put its folder on PYTHONPATH"
            )
        if file in installed_copies(root, tuple(sys.path)):
            return (
                f"{name} was imported from a copy of the project that is installed, not of the revision; "
                f"install it with pip install -e, or put its folder on PYTHONPATH"
            )
    return ""


@cache
def tracked(root: str) -> frozenset[str]:
    """Return the files of a checkout that git knows."""
    done = subprocess.run(["git", "-C", root, "ls-files", "-z"], capture_output=True, check=True)
    return frozenset(os.fsdecode(done.stdout).split("\0"))


@cache
def installed_copies(root: str, path: tuple[str, ...]) -> frozenset[str]:
    """Return the files of the distributions that were installed from a folder of the repository."""
    from importlib.metadata import distributions
    from urllib.parse import unquote, urlparse

    files: set[str] = set()
    for found in distributions(path=list(path)):
        text = found.read_text("direct_url.json")
        url = urlparse(json.loads(text)["url"]) if text else None
        if url and url.scheme == "file" and _inside(os.path.realpath(unquote(url.path)), root):
            files.update(os.path.realpath(str(found.locate_file(file))) for file in found.files or ())
    return frozenset(files)


def outside(order: dict[str, Any]) -> Iterator[tuple[str, int, int]]:
    """Yield path, size and time of every loaded file that neither the revision nor an installed version fixes."""
    installed = ("site-packages", "dist-packages", "lib-dynload")
    library = os.path.dirname(os.path.realpath(os.__file__))
    for _, file in loaded():
        parts = file.split(os.sep)
        if _inside(file, order["worktree"]) or any(word in parts for word in installed) or _inside(file, library):
            continue
        if os.path.isfile(file):
            stat = os.stat(file)
            yield file, stat.st_size, stat.st_mtime_ns


def _inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder + os.sep)


def _end_with_parent(line: int) -> None:
    """End this process when the one that started it is gone, however that ended: then the pipe closes."""
    os.read(line, 1)
    os._exit(LOST)


if __name__ == "__main__":
    first = sys.stdin.readline()
    threading.Thread(target=_end_with_parent, args=(os.dup(0),), daemon=True).start()
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
    with open(sys.argv[1], "w", encoding="utf-8") as stream:
        main(json.loads(first), stream)
    os._exit(0)  # threads and exit handlers of a model have nothing more to say
