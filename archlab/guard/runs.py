"""`Runs`: revisions being counted, several at once: their worktrees are made, and a worker counts in each."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from archlab.guard import worker
from archlab.guard.cache import Cache, Job
from archlab.guard.git import GitError, environment, git, last_line
from archlab.guard.revisions import Repository, Revision
from archlab.guard.worktrees import add, filling

_POLL = 0.02
_LAST = 2000
"""How many bytes of what a process said at its end are looked at."""


@dataclass(frozen=True)
class Failure:
    """Why a model could not be counted in a revision: one line, and the exit code that it means."""

    message: str
    code: int


Outcome = Mapping[str, Any] | Failure
"""A profile as plain data, schema ``archlab.profile/1``, or why there is none."""


@dataclass
class Run:
    """One revision under way: the worktree is made, then the worker counts in it."""

    revision: Revision
    jobs: Sequence[Job]
    path: Path = Path()
    process: subprocess.Popen[bytes] | None = None
    counting: bool = False
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    read: dict[str, Sequence[Sequence[Any]]] = field(default_factory=dict)
    lost: Failure = Failure("it was not counted", worker.LOST)
    """What is said of the jobs that its process did not come to."""

    @property
    def out(self) -> Path:
        """Where the worker writes."""
        return self.path.with_suffix(".out")

    @property
    def err(self) -> Path:
        """Where goes what git, or a model, prints."""
        return self.path.with_suffix(".err")

    def kept(self, cache: Cache) -> dict[str, Outcome]:
        """Return what its jobs came to, and keep what was counted."""
        for job in self.jobs:
            if (name := job["name"]) in self.read:
                cache.keep(self.revision.tree, job, self.outcomes[name], self.read[name])
        return {job["name"]: self.outcomes.get(job["name"], self.lost) for job in self.jobs}

    def kill(self) -> None:
        """End the process and whatever it started."""
        if self.process is None:
            return
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        if self.process.stdin:
            with suppress(BrokenPipeError):  # it has ended without reading
                self.process.stdin.close()


@dataclass
class Runs:
    """All revisions that are to be counted, some of them at once."""

    repository: Repository
    folder: Path
    waiting: list[Run]
    running: list[Run] = field(default_factory=list)

    def ended(self, at_once: int, told: Callable[[Sequence[Revision], int], object]) -> Generator[Run, None, None]:
        """Yield each run as it ends; kill those that go on where the caller has enough."""
        try:
            while self.waiting or self.running:
                while self.waiting and len(self.running) < at_once:
                    self.running.append(self._begin(self.waiting.pop(0)))
                    told([run.revision for run in self.running], len(self.waiting) + len(self.running))
                time.sleep(_POLL)
                for run in list(self.running):
                    if run.process is not None and run.process.poll() is None:
                        continue
                    if run.process is None or run.counting or not self._count(run):
                        self.running.remove(run)
                        yield self._finished(run)
        finally:
            for run in self.running:
                run.kill()

    def _begin(self, run: Run) -> Run:
        run.path = self.folder / f"{self.folder.name}-{run.revision.short}-{len(self.waiting)}"
        try:
            add(self.repository, run.revision, run.path)
        except GitError as error:
            run.lost = Failure(f"its files could not be checked out: {error}", worker.UNBUILDABLE)
        else:
            self._start(run, filling(run.path), environment(), self.folder)
        return run

    def _count(self, run: Run) -> bool:
        """Start the worker of a run whose worktree is there; return whether it is."""
        run.kill()
        project = run.path / self.repository.prefix
        assert run.process is not None
        if run.process.returncode:
            said = last_line(run.err.read_bytes()) or f"git ended with {run.process.returncode}"
            run.lost = Failure(f"its files could not be checked out: {said}", worker.UNBUILDABLE)
        elif not project.is_dir():
            run.lost = Failure(f"it has no folder {self.repository.prefix}", worker.UNBUILDABLE)
        else:
            order = self._order(run, project)
            words = [sys.executable, "-P", "-B", worker.__file__, str(run.out)]
            path = os.pathsep.join(self._places(os.environ.get("PYTHONPATH", "").split(os.pathsep), run.path))
            self._start(run, words, {**environment(), "PYTHONPATH": path}, project, order)
            run.counting = True
        return run.counting

    def _start(self, run: Run, words: list[str], env: dict[str, str], cwd: Path, order: Any = None) -> None:
        with run.err.open("wb") as said:
            run.process = subprocess.Popen(
                words,
                stdin=subprocess.PIPE,
                stdout=said,
                stderr=said,
                env=env,
                cwd=cwd,
                start_new_session=True,  # an interrupt at the keyboard is ours to handle; all it starts ends with it
            )
        if order is not None:
            stdin = run.process.stdin
            assert stdin is not None
            with suppress(BrokenPipeError):  # it has ended already, and how is looked at then
                stdin.write(json.dumps(order, default=repr).encode() + b"\n")
                stdin.flush()  # and left open: the worker ends when it closes

    def _order(self, run: Run, project: Path) -> dict[str, Any]:
        own = [project, project / "src", run.path, run.path / "src"]
        path = [str(place) for place in dict.fromkeys(own) if place.is_dir()]
        path += [place for place in self._places(sys.path, run.path) if place not in path]
        return {
            "root": str(self.repository.root),
            "worktree": str(run.path),
            "path": path,
            "jobs": list(run.jobs),
        }

    def _places(self, path: Sequence[str], worktree: Path) -> list[str]:
        """Return a path with the folders of the checkout that hold files of git replaced by the worktree's."""
        root = str(self.repository.root)
        places = []
        for folder in filter(None, path):
            new = worker.moved(folder, root, str(worktree))
            places.append(new if new != folder and _holds_files(self.repository, folder) else os.path.abspath(folder))
        return places

    def _finished(self, run: Run) -> Run:
        """Return a run with what its worker wrote."""
        run.kill()
        lines = run.out.read_text(encoding="utf-8").split("\n") if run.out.is_file() else []
        for line in lines[:-1]:  # the last one was not finished, or is empty
            found = json.loads(line)
            name = found["name"]
            if "error" in found:
                run.outcomes[name] = Failure(found["error"], found["code"])
            else:
                run.outcomes[name], run.read[name] = found["profile"], found["read"]
        if run.counting:
            run.lost = Failure(self._ending(run), worker.LOST)
        return run

    def _ending(self, run: Run) -> str:
        """Return how a worker ended that left no result: by a signal, or with its last words."""
        assert run.process is not None
        code = run.process.returncode
        if code < 0:
            name = signal.Signals(-code).name
            return f"its process was ended by {name}{': out of memory?' if name == 'SIGKILL' else ''}"
        with run.err.open("rb") as said:
            said.seek(max(0, run.err.stat().st_size - _LAST))
            return last_line(said.read()) or f"its process ended with {code} and no result"


def _holds_files(repository: Repository, folder: str) -> bool:
    place = os.path.relpath(os.path.realpath(folder), repository.root)
    return bool(git(repository.root, "ls-files", "--", f":(literal,top){place}")) if place != "." else True
