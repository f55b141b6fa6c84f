"""One lock for every version of torch: a rule decides a count, never what torch fuses or decomposes.

`.ci/run` runs this once with the newest torch and once, in an environment of its own, with the oldest allowed.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

import archlab
from archlab.guard.config import Model, read_config
from archlab.guard.entry import Entry
from archlab.guard.lock import Lock

FOLDER = Path(__file__).parent / "versions"


def count(model: Model) -> Entry:
    graph = archlab.load(model.target, inputs=model.inputs, mode=model.mode)
    profile = archlab.profile(graph, mode=model.mode, backward=model.backward)
    return Entry.of(profile.to_dict(), model.target)


def test_this_is_the_version_that_was_asked_for() -> None:
    assert torch.__version__.startswith(os.environ.get("ARCHLAB_TORCH", ""))


def test_this_version_of_torch_counts_what_the_lock_says_to_the_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FOLDER)
    config = read_config(FOLDER / "archlab.toml")
    assert config is not None
    text = config.lock_path.read_text(encoding="utf-8")
    counted = Lock({model.name: count(model) for model in config.models})
    assert counted == Lock.of(text, "the lock")
    assert counted.text() == text


def test_the_networks_reach_every_composite_that_torch_may_take_apart() -> None:
    lock = Lock.read(FOLDER / "archlab.lock.json")
    assert lock is not None
    ops = {row.op for entry in lock.models.values() for row in entry.rows}
    assert {"Attention", "Recurrent", "RMSNorm", "GELU", "MatMul"} - ops == set()
    assert not any(entry.uncounted for entry in lock.models.values())
