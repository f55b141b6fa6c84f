"""Sessions of pytest with the plugin, in a scratch project with a small network."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from torch import nn

import archlab
from archlab.guard import check  # noqa: F401 loaded here once: a session in this process forgets what it loads
from archlab.pytest_plugin import checking  # noqa: F401 as above
from archlab.pytest_plugin.session import LOCK_FILE

PLUGIN = ("-p", "archlab.pytest_plugin")
"""Other plugins are left out, so that this one is loaded the same way whether the package is installed or not."""

NET = """
from torch import nn

class Net(nn.Module):
    def __init__(self, wide=4):
        super().__init__()
        self.first = nn.Conv2d(3, 2, 1)
        self.second = nn.Conv2d(2, wide, 3, padding=1)
        self.head = nn.Linear(wide * 64, 10)

    def forward(self, x):
        return self.head(self.second(self.first(x)).flatten(1))
"""
COST = """
from net import Net

def test_cost(archlab):
    archlab.check(Net({wide}), archlab.TensorSpec((1, 3, 8, 8)){more})
"""
SECOND = "1·8·8·{wide}·2·3·3 = {count:,} MACs"
"""The second layer's MACs: N·H·W·C_out·C_in·k·k."""


def macs(wide: int) -> int:
    """Return the MACs of the network: its three layers'."""
    return 8 * 8 * 2 * 3 + 8 * 8 * wide * 2 * 9 + wide * 64 * 10


@dataclass(frozen=True)
class Project:
    """A folder with a network, in which sessions run that know the plugin, not in CI."""

    pytester: pytest.Pytester

    @classmethod
    def made(cls, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
        archlab.profile(nn.Linear(2, 2), archlab.TensorSpec((1, 2)))
        archlab.profile("naive").to_dict()
        monkeypatch.delenv("CI", raising=False)
        monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        project = cls(pytester)
        project.write("net.py", NET)
        pytester.syspathinsert()
        return project

    @property
    def path(self) -> Path:
        return self.pytester.path

    @property
    def lock(self) -> Path:
        return self.path / LOCK_FILE

    def run(self, *words: str) -> pytest.RunResult:
        """Run pytest in this process."""
        return self.pytester.runpytest_inprocess(*PLUGIN, *words, no_reraise_ctrlc=True)

    def run_apart(self, *words: str) -> pytest.RunResult:
        """Run pytest in a process of its own."""
        return self.pytester.runpytest_subprocess(*PLUGIN, *words)

    def locked(self) -> dict[str, Any]:
        """Return the entries of the lock file by name."""
        models = json.loads(self.lock.read_text(encoding="utf-8"))["models"]
        assert isinstance(models, dict)
        return models

    def write(self, name: str, text: str) -> Path:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def cost(self, wide: int, more: str = "", name: str = "test_net.py") -> None:
        """Write a test that checks the network."""
        self.write(name, COST.format(wide=wide, more=more))


def ended(result: pytest.RunResult, code: int, **outcomes: int) -> str:
    """Return what a session printed, after looking at how it ended."""
    out = result.stdout.str()
    assert result.ret == code, out
    result.assert_outcomes(**outcomes)
    return out


def zoo(*lines: str, name: str = "test_zoo") -> str:
    """Return the text of a test that makes checks of built networks."""
    return "\n    ".join([f"def {name}(archlab):", *(lines or ("pass",))]) + "\n"
