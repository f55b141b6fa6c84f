"""The README shows what archlab really prints, and its code runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import sympy
from conftest import Outcome

import archlab
from archlab.guard.config import config_of
from archlab.report.reconciling import reconciliation_document
from archlab.report.terminal import render

ROOT = Path(archlab.__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
Run = Callable[..., Outcome]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def test_the_opening_is_what_the_command_prints(run: Run) -> None:
    first, _, shown = blocks("text")[0].partition("\n")
    assert first == "$ archlab compare naive reduced"
    assert shown == run("compare", "naive", "reduced").out


def test_every_command_that_it_lists_runs(run: Run) -> None:
    commands = re.findall(r"^archlab ((?:(?!  ).)+)", blocks("text")[1], re.MULTILINE)
    assert len(commands) == 10
    for command in commands:
        if command != "report":  # writes into the folder; test_studies renders
            assert run(*command.split()).code == 0, command


def test_the_conventions_that_it_shows_are_what_a_terminal_of_80_columns_shows() -> None:
    pytest.importorskip("torchvision", reason="torchvision is not installed")
    (block,) = [text for text in blocks("text") if text.startswith("$ archlab reconcile torchvision:vit_b_16")]
    result = archlab.reconcile("torchvision:vit_b_16")
    shown = render(reconciliation_document(result), width=80).splitlines()
    assert block.splitlines()[1:] == [line.rstrip() for line in shown[: len(block.splitlines()) - 1]]


def test_its_code_runs_and_gives_what_the_comments_say() -> None:
    (code,) = blocks("python")
    n = sympy.Symbol("n", integer=True, positive=True)
    names: dict[str, object] = {"n": n}
    exec(code, names)
    profile = names["profile"]
    assert isinstance(profile, archlab.Profile)
    for line in code.splitlines():
        expression, comment, said = line.partition("#")
        if comment and re.match(r"\s*\(?\d", said):
            value = eval(expression, names)
            numbers = [int(word) for word in re.findall(r"\d+", said.partition(":")[0])]
            assert (list(value) if isinstance(value, tuple) else [value]) == numbers, line


def test_its_two_commands_stand_in_sh_blocks_of_their_own() -> None:
    one, two = blocks("sh")
    assert one.strip().endswith("archlab compare naive reduced")
    assert "pytest" in two


def test_nothing_is_left_to_fill_in() -> None:
    assert "@@" not in TEXT


def test_its_links_lead_somewhere() -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert (ROOT / link).exists(), link


@pytest.mark.parametrize("tool", ["torch", "fvcore"])
def test_its_figures_of_counters_are_those_of_verify(tool: str) -> None:
    counts = {count.name: count.total for count in archlab.verify("googlenet-torchvision", counters=()).counters}
    shown = f"{2 * counts[tool]:,}" if tool == "torch" else f"{counts[tool]:,}"
    assert shown in TEXT


def guard_session() -> tuple[str, list[tuple[str, str]]]:
    """Return the file that the session about the guard begins with, and its commands, each with what it prints."""
    (block,) = [text for text in blocks("text") if text.startswith("$ archlab init")]
    steps = [step.partition("\n") for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]]
    return blocks("py")[0], [(command, shown) for command, _, shown in steps]


def test_its_session_with_the_guard_goes_from_init_to_red_and_back_to_green(tmp_path: Path) -> None:
    text, steps = guard_session()
    (tmp_path / "net.py").write_text(text, encoding="utf-8")
    kept = {name: value for name, value in os.environ.items() if name not in ("CI", "GITHUB_ACTIONS")}
    path = f"{tmp_path / 'bin'}{os.pathsep}{kept['PATH']}"
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "archlab").write_text(f'#!/bin/sh\nexec {sys.executable} -m archlab "$@"\n')
    (tmp_path / "bin" / "archlab").chmod(0o755)
    environment = {**kept, "PATH": path, "PYTHONPATH": str(ROOT)}
    codes = []
    for command, shown in steps:
        done = subprocess.run(
            command, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.stdout == shown, command
        codes.append((command.split()[1], done.returncode))
    checks = [code for word, code in codes if word == "check"]
    assert checks == [0, 1, 0]
    assert all(code == 0 for word, code in codes if word != "check")


def test_its_config_of_the_guard_is_one() -> None:
    (text,) = blocks("toml")
    config = config_of(text, Path("archlab.toml"))
    assert config is not None
    assert config.budget("resnet50").fail.limits["macs"].most == 33 * 10**9
