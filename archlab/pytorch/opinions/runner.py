"""`opinion`: start a counter in a fresh process, wait so long, and take what it says."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from archlab.errors import UsageError, nearest
from archlab.opinions import Opinion
from archlab.pytorch.opinions.job import Job

COUNTERS: Mapping[str, str] = {
    "torch": "torch",
    "fvcore": "fvcore",
    "profiler": "torch",
    "thop": "thop",
    "ptflops": "ptflops",
    "ptflops-aten": "ptflops",
    "torchinfo": "torchinfo",
    "calflops": "calflops",
    "torchprofile": "torchprofile",
}
"""Each counter and the package that it needs."""

FORWARD = "forward"
"""What runs the model without any counter, for the facts about it."""

SECONDS = 600.0
"""How long a counter may take by default."""

_POLL = 0.02

Told = Callable[[Sequence[str], int, int], None]
"""Hears which counters run now, how many are done, and of how many."""


def opinion(counter: str, job: Job, seconds: float = SECONDS) -> Opinion:
    """Return what one counter says of a model, in a process of its own that may take so many seconds.

    A counter that raises, dies, hangs or is not installed is an opinion, too; its `status` says so.
    """
    (found,) = opinions(job, (counter,), seconds)
    return found


def opinions(
    job: Job,
    counters: Iterable[str] = COUNTERS,
    seconds: float = SECONDS,
    at_once: int = 2,
    told: Told | None = None,
) -> tuple[Opinion, ...]:
    """Return what counters say of a model, in their order, never more than `at_once` running.

    `told` hears which run now, how many are done and of how many. However this ends, no process is left
    behind. Raises `UsageError` for an unknown counter.
    """
    names = list(counters)
    for name in names:
        if name not in (FORWARD, *COUNTERS):
            raise UsageError(f"unknown counter {name!r}{nearest(name, COUNTERS)} (known: {', '.join(COUNTERS)})")
    found: dict[str, Opinion] = {}
    waiting = []
    for name in names:
        if find_spec(COUNTERS.get(name, "torch")) is None:
            found[name] = Opinion(name, status="not installed")
        else:
            waiting.append(name)
    running: list[_Run] = []
    with tempfile.TemporaryDirectory(prefix="archlab-") as folder:
        try:
            while waiting or running:
                while waiting and len(running) < at_once:
                    running.append(_start(waiting.pop(0), job, Path(folder), seconds))
                    if told is not None:
                        told([run.counter for run in running], len(found), len(names))
                time.sleep(_POLL)
                for run in [run for run in running if run.ended()]:
                    running.remove(run)
                    found[run.counter] = run.result()
        finally:
            for run in running:
                run.kill()
    return tuple(found[name] for name in names)


@dataclass
class _Run:
    """A counter's process, where it writes, and how long it may take."""

    counter: str
    process: subprocess.Popen[bytes]
    out: Path
    err: Path
    seconds: float
    started: float

    def ended(self) -> bool:
        return self.process.poll() is not None or time.monotonic() - self.started > self.seconds

    def kill(self) -> None:
        """End the process and whatever it started."""
        if self.process.poll() is None:
            if hasattr(os, "killpg"):
                os.killpg(self.process.pid, signal.SIGKILL)
            else:
                self.process.kill()
            self.process.wait()

    def result(self) -> Opinion:
        if self.process.poll() is None:
            self.kill()
            return self._failed("timed out", f"took more than {self.seconds:g} s")
        text = self.out.read_text(encoding="utf-8")
        if self.process.returncode or not text:
            return self._failed("crashed", _ending(self.process.returncode, self.err))
        return Opinion.from_dict({**json.loads(text), "version": counter_version(self.counter)})

    def _failed(self, status: Any, error: str) -> Opinion:
        took = time.monotonic() - self.started
        return Opinion(self.counter, counter_version(self.counter), status, error=error, seconds=took)


def _start(counter: str, job: Job, folder: Path, seconds: float) -> _Run:
    given, out, err = (folder / f"{counter}.{name}" for name in ("job", "out", "err"))
    given.write_bytes(pickle.dumps((counter, job, seconds)))
    # What this process can import, that one can; the folder it starts in must not come before that.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with given.open("rb") as stdin, out.open("wb") as stdout, err.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "archlab.pytorch.opinions"],
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=environment,
            start_new_session=True,  # so that all that it starts ends with it
        )
    return _Run(counter, process, out, err, seconds, time.monotonic())


def counter_version(counter: str) -> str:
    """Return the version of the package that a counter is part of."""
    return version(COUNTERS.get(counter, "torch"))


def _ending(code: int, err: Path) -> str:
    """Return how a process ended that left no result: by a signal, or with its last words."""
    if code < 0:
        name = signal.Signals(-code).name
        return f"its process was ended by {name}{': out of memory?' if name == 'SIGKILL' else ''}"
    lines = err.read_text(encoding="utf-8", errors="replace").split("\n")
    said = [line.strip() for line in lines if line.strip()]
    return said[-1] if said else f"its process ended with {code} and no result"
