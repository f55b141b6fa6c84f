"""`counted`: what models cost in revisions of a repository, each in a clean worktree and a process of its own."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing

from archlab.guard.cache import Cache, Job
from archlab.guard.revisions import Repository, Revision
from archlab.guard.runs import Outcome, Run, Runs
from archlab.guard.worktrees import run_folder

Told = Callable[[Sequence[Revision], int, int], None]
"""Hears which revisions are counted now, how many are done, and of how many."""


def counted(
    repository: Repository,
    wanted: Mapping[Revision, Sequence[Job]],
    told: Told | None = None,
    at_once: int | None = None,
) -> dict[Revision, dict[str, Outcome]]:
    """Return for each revision what each of its jobs costs, by the job's name.

    A job is the plain data of a model: name, target, inputs, arguments, mode, convention and backward.
    Revisions with the same files are counted once, and none that is known already. What fails is part of
    the result. However this ends, no process and no worktree is left behind. Raises `UsageError` where
    git is missing or cannot make worktrees at all.
    """
    cache = Cache.of(repository)
    found: dict[str, dict[str, Outcome]] = {}
    waiting: dict[str, Run] = {}
    keys = {revision: _key(revision, jobs) for revision, jobs in wanted.items()}
    for revision, jobs in wanted.items():
        known = {job["name"]: cache.read(revision.tree, job) for job in jobs}
        outcomes = found.setdefault(keys[revision], {})
        outcomes |= {name: profile for name, profile in known.items() if profile is not None}
        missing = [job for job in jobs if known[job["name"]] is None]
        if missing:
            waiting[keys[revision]] = Run(revision, missing)
    total = len(found)
    if waiting:
        cache.forget()
        with run_folder(repository) as folder:
            runs = Runs(repository, folder, list(waiting.values()))
            ended = runs.ended(at_once or cpus(), lambda now, left: told and told(now, total - left, total))
            with closing(ended):  # an interrupt may come while a result is kept
                for run in ended:
                    found[keys[run.revision]] |= run.kept(cache)
    return {
        revision: {job["name"]: found[keys[revision]][job["name"]] for job in jobs}
        for revision, jobs in wanted.items()
    }


def _key(revision: Revision, jobs: Sequence[Job]) -> str:
    return f"{revision.tree} {json.dumps(list(jobs), sort_keys=True, default=repr)}"


def cpus() -> int:
    """Return how many processes can count at once."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
