"""The README shows what archlab really prints, and its code runs."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import sympy
from conftest import Outcome

import archlab
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
