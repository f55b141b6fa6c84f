"""Checks of networks of the zoo, as tests of what is printed need them: one layer changed, a lock, budgets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import archlab
from archlab.errors import TraceError
from archlab.guard.check import Accept, check
from archlab.guard.config import Config, Model, config_of
from archlab.guard.entry import Entry
from archlab.guard.findings import Check, Place
from archlab.guard.lock import Lock
from archlab.ir import Graph
from archlab.transform import select

ACCEPT = Accept(
    lambda name: f"archlab lock {name}",
    lambda name: f"archlab lock --budgets {name}",
    "archlab lock",
    "archlab.lock.json",
)


def entry(graph: Graph | str, target: str = "googlenet") -> Entry:
    """Return what a graph costs, as an entry of the lock."""
    graph = archlab.load(graph) if isinstance(graph, str) else graph
    return Entry.of(archlab.profile(graph).to_dict(), target)


def widened(layer: str, more: int = 1, target: str = "googlenet") -> Graph:
    """Return a network with so many more (or fewer) filters in one convolution."""
    found = select(archlab.load(target), where=lambda _, node: node.name == layer).expect(1)
    return found.swap(lambda _, node: replace(node.op, out_channels=node.op.out_channels + more))  # type: ignore[call-arg, attr-defined]


def config(budgets: str = "", *names: str) -> Config:
    """Return a config of models that are called what they are, with those budgets."""
    tables = "".join(f'[[model]]\nname = "{name}"\ntarget = "{name}"\n' for name in names or ("googlenet",))
    found = config_of(tables + budgets, Path("archlab.toml"))
    assert found is not None
    return found


def checked(
    config: Config,
    now: Mapping[str, Entry | str],
    locked: Mapping[str, Entry],
    strict: bool = False,
    tight: bool = False,
) -> Check:
    """Return the check of what models cost `now`, or fail with that text, against what is locked."""

    def count(model: Model) -> Entry:
        found = now[model.name]
        if isinstance(found, str):
            raise TraceError(found)
        return found

    return check(config, Lock(locked), config.models, count, ACCEPT, strict, tight)


def placed(check: Check, file: str = "models/net.py", line: int = 7) -> Check:
    """Return a check all of whose findings are to be looked up in one place."""
    return Check(
        tuple(
            replace(v, findings=tuple(replace(f, place=Place(file, line)) for f in v.findings))
            for v in check.verdicts
        )
    )


def grown() -> Check:
    """Return a check of three models, the first of which has one filter more than its lock in a module's midst."""
    names = ("googlenet", "vgg16", "naive")
    locked = {name: entry(name, name) for name in names}
    return checked(config("", *names), {**locked, "googlenet": entry(widened("inception_4e/5x5_reduce"))}, locked)
