"""The hook of pre-commit, run by pre-commit itself in a repository of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import archlab

ROOT = Path(archlab.__file__).parent.parent
WHO = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")


@dataclass(frozen=True)
class Repository:
    """A repository with a model, and one with the hook beside it; archlab and pre-commit know nothing of others."""

    folder: Path

    def call(self, *words: str, where: str = "project") -> subprocess.CompletedProcess[str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("GIT_", "PRE_COMMIT"))}
        environment = {
            **kept,
            "PATH": f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "PRE_COMMIT_HOME": str(self.folder / "home"),
            "GIT_CONFIG_GLOBAL": os.devnull,
            "CI": "",
        }
        return subprocess.run(
            words, cwd=self.folder / where, env=environment, capture_output=True, text=True, check=False, timeout=300
        )

    def git(self, *words: str, where: str = "project") -> str:
        made = self.call("git", *WHO, *words, where=where)
        assert made.returncode == 0, made.stderr
        return made.stdout.strip()

    def put(self, target: str) -> None:
        (self.folder / "project" / "net.json").write_text(archlab.load(target).to_json(), encoding="utf-8")

    def commit(self) -> subprocess.CompletedProcess[str]:
        """Commit all that there is, which runs the hook."""
        self.git("add", "-A")
        return self.call("git", *WHO, "commit", "-m", "more")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path)
    for name in ("hook", "project", "bin"):
        (tmp_path / name).mkdir()
    program = tmp_path / "bin" / "archlab"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m archlab "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    shutil.copy(ROOT / ".pre-commit-hooks.yaml", tmp_path / "hook")
    made.git("init", "-q", where="hook")
    made.git("add", "-A", where="hook")
    made.git("commit", "-qm", "hook", where="hook")
    revision = made.git("rev-parse", "HEAD", where="hook")
    hooks = (
        f"repos:\n- repo: {json.dumps(str(tmp_path / 'hook'))}\n  rev: {revision}\n  hooks:\n  - id: archlab-check\n"
    )
    (tmp_path / "project" / ".pre-commit-config.yaml").write_text(hooks, encoding="utf-8")
    (tmp_path / "project" / "archlab.toml").write_text('[[model]]\nname = "net"\ntarget = "net.json"\n')
    made.git("init", "-q")
    made.put("reduced")
    assert made.call("archlab", "lock").returncode == 0
    installed = made.call(sys.executable, "-m", "pre_commit", "install")
    assert installed.returncode == 0, installed.stderr + installed.stdout
    return made


def test_a_commit_that_makes_a_model_cost_more_is_refused_until_the_lock_says_so(repository: Repository) -> None:
    first = repository.commit()
    assert first.returncode == 0, first.stderr
    assert "archlab check" in first.stderr
    assert "Passed" in first.stderr
    assert "deprecated" not in first.stderr
    repository.put("naive")
    refused = repository.commit()
    assert refused.returncode == 1
    assert "exit code: 1" in refused.stderr
    assert "first layer that differs: 5x5_reduce" in refused.stderr
    assert repository.git("rev-list", "--count", "HEAD") == "1"
    command = next(line for line in refused.stderr.splitlines() if line.startswith("archlab lock"))
    assert repository.call(*command.split()).returncode == 0
    assert repository.commit().returncode == 0
    assert repository.git("rev-list", "--count", "HEAD") == "2"


def test_a_commit_of_nothing_that_a_model_is_made_of_is_checked_too(repository: Repository) -> None:
    assert repository.commit().returncode == 0
    (repository.folder / "project" / "notes.txt").write_text("x")
    checked = repository.commit()
    assert checked.returncode == 0
    assert "Passed" in checked.stderr
