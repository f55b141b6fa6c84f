"""Scratch git repositories for tests: files in, commits out."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from archlab import Builder
from archlab.ops import Input, Linear

ENVIRONMENT = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    "GIT_AUTHOR_NAME": "A",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@example.org",
}


class Scratch:
    """A git repository in a folder, with `main` as its branch."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self.git("init", "--quiet", "--initial-branch=main")

    def git(self, *words: str) -> str:
        """Return what git prints; fail with what it says."""
        done = subprocess.run(
            ["git", *words],
            cwd=self.folder,
            env={**os.environ, **ENVIRONMENT},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def write(self, files: Mapping[str, str | None]) -> None:
        """Write files, or remove those whose text is None."""
        for name, text in files.items():
            path = self.folder / name
            if text is None:
                path.unlink()
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")

    def commit(self, subject: str, files: Mapping[str, str | None]) -> str:
        """Write files, commit them, and return the commit's hash."""
        self.write(files)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "-m", subject)
        return self.git("rev-parse", "HEAD")


def linear_graph(width: int) -> str:
    """Return the graph file of one linear layer from 8 numbers to `width`: 8·width MACs."""
    b = Builder("net")
    x = b.add("input", Input((1, 8)))
    return b.build(b.add("fc", Linear(width), x)).to_json()


def job(target: str, name: str = "net", **more: Any) -> dict[str, Any]:
    """Return a job to count a target."""
    plain = {"inputs": [], "arguments": {}, "mode": "inference", "convention": "archlab", "backward": False}
    return {"name": name, "target": target, **plain, **more}


TINY = {
    "archlab/__init__.py": """
import importlib
import importlib.util


def load(target, *, inputs=(), arguments=None):
    where, _, name = target.rpartition(":")
    if where.endswith(".py"):
        spec = importlib.util.spec_from_file_location(where.removesuffix(".py"), where)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    else:
        module = importlib.import_module(where)
    return getattr(module, name)


def profile(graph, *, mode="inference"):
    return Profile(graph)


class Profile:
    def __init__(self, macs):
        self.macs = macs

    def to_dict(self):
        return {"schema": "archlab.profile/1", "subject": "?", "total": {"macs": self.macs}}
"""
}
"""An archlab of a project's own, older than most options: a target names an integer, and that is its MACs. With it
a process starts in a twentieth of the time that torch takes."""


def net(width: int) -> str:
    """Return the text of a module whose Net is one linear layer from 8 numbers to `width`."""
    return f"""
import torch

print("models may print")


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(8, {width})

    def forward(self, x):
        return self.fc(x)
"""
