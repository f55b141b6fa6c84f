"""`archlab init`, `lock` and `check` as a user meets them, from the first config to a red check and back to green."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Outcome

Run = Callable[..., Outcome]
COMMAND = [sys.executable, "-m", "archlab"]

NET = """\
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, padding=1)
        self.body = nn.Conv2d(width, 32, 3, padding=1)
        self.head = nn.Linear(32, 10)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        x = torch.relu(self.body(x))  # the body
        return self.head(x.mean((2, 3)))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current folder, an empty one, with nothing of a CI in the environment."""
    monkeypatch.chdir(tmp_path)
    for name in ("CI", "GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_from_init_to_a_red_check_and_back_to_green(run: Run, folder: Path) -> None:
    (folder / "net.py").write_text(NET)
    assert run("init", "net.py:Net", "--input", "1x3x32x32", "--budget", "+5%").code == 0
    assert run("check").code == 5  # no lock yet
    assert run("lock").code == 0
    green = run("check")
    assert green.code == 0
    assert "no change" in green.out.lower()

    (folder / "net.py").write_text(NET.replace("width=16", "width=17"))
    red = run("check")
    assert red.code == 1
    # the stem has 17 filters of 3·3·3 over 32·32 positions; the body reads 17 channels
    assert "1·32·32·16·3·3·3 = 442,368" in red.out
    assert "1·32·32·17·3·3·3 = 470,016" in red.out
    lines = [line.strip() for line in red.out.splitlines()]
    (accept,) = [line for line in lines if line.startswith("archlab lock")]
    assert any("stem" in line for line in lines)

    assert run(*accept.split()[1:]).code == 0
    assert run("check").code == 0
    assert json.loads(run("check", "--json").out)["status"] == "no change"


def test_a_broken_budget_is_raised_by_the_command_that_the_check_names(run: Run, folder: Path) -> None:
    (folder / "archlab.toml").write_text('[[model]]\ntarget = "naive"\n[budget.naive]\nmacs = "<= 100M"  # ours\n')
    run("lock")
    red = run("check")
    assert red.code == 1
    assert "12,896,000 over the budget of 100,000,000" in red.out
    (accept,) = [line.strip() for line in red.out.splitlines() if line.strip().startswith("archlab lock")]
    assert accept == "archlab lock --budgets naive"
    raised = run(*accept.split()[1:])
    assert raised.code == 0
    assert "budget.naive: macs <= 100M → <= 112.9M" in raised.out
    assert 'macs = "<= 112.9M"  # ours' in (folder / "archlab.toml").read_text()
    assert run("check").code == 0


@pytest.mark.parametrize("value", ["true", "1", "woodpecker"])
def test_ci_writes_no_baseline(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    run("init", "naive")
    monkeypatch.setenv("CI", value)
    refused = run("lock")
    assert refused.code == 2
    assert "--force" in refused.err
    assert not (folder / "archlab.lock.json").exists()
    assert run("lock", "--check").code == 5
    assert run("lock", "--force").code == 0
    assert run("lock", "--check").code == 0


def test_a_ci_that_is_switched_off_is_none(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("init", "naive")
    for value in ("", "0", "false", "False"):
        monkeypatch.setenv("CI", value)
        (folder / "archlab.lock.json").unlink(missing_ok=True)
        assert run("lock").code == 0


def test_init_writes_what_was_asked_for(run: Run, folder: Path) -> None:
    asked = ("nin-cifar10", "--input", "8x3x32x32", "--mode", "training")
    shown = run("init", *asked, "--arg", "colour=7")
    assert shown.code == 2  # the zoo takes no such argument, and nothing was written
    assert not (folder / "archlab.toml").exists()
    assert run("init", *asked, "--convention", "fvcore").code == 2  # fvcore counts inference
    shown = run("init", *asked, "--arg", "num_classes=7")
    assert shown.out.splitlines()[-1] == "wrote archlab.toml; next: archlab lock"
    model = {"name": "nin-cifar10", "target": "nin-cifar10", "input": "8x3x32x32", "mode": "training"}
    (read,) = tomllib.loads((folder / "archlab.toml").read_text())["model"]
    assert read == {**model, "arguments": {"num_classes": 7}}
    assert run("lock").code == 0
    assert run("check").code == 0
    assert run("init", "naive", "--convention", "fvcore", "--force").code == 0
    model = {"name": "naive", "target": "naive", "convention": "fvcore"}
    assert tomllib.loads((folder / "archlab.toml").read_text()) == {"model": [model]}


def test_init_leaves_a_config_that_is_there(run: Run, folder: Path) -> None:
    run("init", "naive")
    again = run("init", "reduced")
    assert (again.code, "add a [[model]] to it" in again.err) == (2, True)
    assert run("init", "reduced", "--force").code == 0
    (folder / "archlab.toml").unlink()
    (folder / "pyproject.toml").write_text('[[tool.archlab.model]]\ntarget = "naive"\n')
    assert "[[tool.archlab.model]]" in run("init", "reduced").err


def test_a_config_in_pyproject_is_found_from_a_folder_below(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "pyproject.toml").write_text('[[tool.archlab.model]]\ntarget = "net.py:Net"\ninput = "1x3x8x8"\n')
    (folder / "net.py").write_text(NET)
    (folder / "deep").mkdir()
    monkeypatch.chdir(folder / "deep")
    assert run("lock").code == 0
    assert (folder / "archlab.lock.json").exists()
    assert run("check", "--output", "here.txt").code == 0
    assert (folder / "deep" / "here.txt").exists()  # files that are asked for lie where the user is


def test_some_models_are_locked_and_checked_alone(run: Run, folder: Path) -> None:
    run("init", "naive", "reduced")
    shown = run("lock", "naive")
    assert shown.code == 0
    assert "naive: 112,896,000 MACs, 576,048 params, new" in shown.out
    assert run("check", "naive").code == 0
    assert run("check").code == 5
    assert run("lock", "reduced").code == 0
    assert run("check").code == 0
    unknown = run("check", "naiv")
    assert (unknown.code, "did you mean 'naive'?" in unknown.err) == (2, True)


def test_lock_drops_what_the_config_no_longer_names(run: Run, folder: Path) -> None:
    run("init", "naive", "reduced")
    run("lock")
    run("init", "naive", "--force")
    assert run("check").code == 5
    assert "reduced: gone" in run("lock").out
    assert run("check").code == 0


def test_lock_says_what_changed_and_rewrites_nothing_that_did_not(run: Run, folder: Path) -> None:
    (folder / "net.py").write_text(NET)
    run("init", "net.py:Net", "--input", "1x3x32x32")
    run("lock")
    before = (folder / "archlab.lock.json").stat().st_mtime_ns
    assert run("lock").out == "No change: archlab.lock.json says what 1 model costs.\n"
    assert (folder / "archlab.lock.json").stat().st_mtime_ns == before
    (folder / "net.py").write_text(NET.replace("width=16", "width=15"))
    assert run("lock", "--check").code == 5
    # 1024 positions: the stem loses a filter of 27 products, the body one channel of 9 for each of 32 filters
    assert f"Net: MACs -{1024 * (27 + 9 * 32):,}" in run("lock").out
    assert run("lock", "--check").code == 0


def test_an_improvement_is_green_and_says_how_far_the_budget_can_be_tightened(run: Run, folder: Path) -> None:
    (folder / "net.py").write_text(NET)
    run("init", "net.py:Net", "--input", "1x3x32x32", "--budget", "+5%")
    run("lock")
    (folder / "net.py").write_text(NET.replace("width=16", "width=8"))
    shown = run("check")
    assert shown.code == 0
    assert "can be tightened" in shown.out
    assert run("check", "--require-tight").code == 5


def test_a_model_that_breaks_does_not_hide_the_others(run: Run, folder: Path) -> None:
    (folder / "net.py").write_text(NET)
    run("init", "net.py:Net", "naive", "--input", "1x3x32x32")
    (folder / "archlab.toml").write_text(
        '[[model]]\ntarget = "net.py:Net"\ninput = "1x3x32x32"\n[[model]]\ntarget = "naive"\n'
    )
    assert run("lock").code == 0
    (folder / "net.py").write_text(NET + "\n1/0\n")
    shown = run("check", "--json")
    assert shown.code == 3
    models = {model["name"]: model for model in json.loads(shown.out)["models"]}
    assert models["net.py:Net"]["findings"][0]["kind"] == "error"
    assert "ZeroDivisionError" in models["net.py:Net"]["findings"][0]["message"]
    assert models["naive"]["status"] == "no change"
    locked = (folder / "archlab.lock.json").read_text()
    assert run("lock").code == 3
    assert (folder / "archlab.lock.json").read_text() == locked


def test_a_lock_with_a_merge_conflict_is_no_baseline(run: Run, folder: Path) -> None:
    run("init", "naive")
    run("lock")
    path = folder / "archlab.lock.json"
    path.write_text(path.read_text().replace('  "naive"', '<<<<<<< HEAD\n  "naive"'))
    shown = run("check")
    assert (shown.code, "write it anew: archlab lock" in shown.err) == (5, True)
    assert run("lock").code == 0
    assert run("check").code == 0


def test_an_incomplete_count_fails_under_strict(run: Run, folder: Path) -> None:
    (folder / "net.py").write_text("import torch\n\ndef f():\n    return lambda x: torch.linalg.qr(x)[0]\n")
    assert run("init", "net.py:f", "--input", "4x4").code == 0
    assert "1 uncounted" in run("lock").out
    assert run("check").code == 0
    assert run("check", "--strict").code == 4


def test_a_check_without_any_model_or_config_is_bad_usage(run: Run, folder: Path) -> None:
    assert run("check").code == 2
    (folder / "archlab.toml").write_text("")
    assert run("check").code == 2
    assert run("lock").code == 2
    assert run("check", "--config", "none.toml").code == 2


def test_a_failing_layer_is_found_in_the_users_file(run: Run, folder: Path) -> None:
    (folder / ".git").mkdir()
    (folder / "sub").mkdir()
    (folder / "sub" / "net.py").write_text(NET)
    os.chdir(folder / "sub")
    run("init", "net.py:Net", "--input", "1x3x32x32")
    run("lock")
    (folder / "sub" / "net.py").write_text(NET.replace("width, 32", "width, 33").replace("Linear(32", "Linear(33"))
    (model,) = json.loads(run("check", "--json").out)["models"]
    line = next(i for i, text in enumerate(NET.splitlines(), 1) if text.endswith("# the body"))
    assert {(found["file"], found["line"]) for found in model["findings"]} == {("sub/net.py", line)}


def test_an_architecture_of_the_zoo_fails_at_its_line_of_the_config(run: Run, folder: Path) -> None:
    (folder / "archlab.toml").write_text('\n\n[[model]]\nname = "m"\ntarget = "reduced"\n')
    run("lock")
    text = (folder / "archlab.lock.json").read_text()
    (folder / "archlab.lock.json").write_text(one_less(text))
    (model,) = json.loads(run("check", "--json").out)["models"]
    assert {(found["file"], found["line"]) for found in model["findings"]} == {("archlab.toml", 3)}


FORMATS = ("terminal", "markdown", "json", "csv", "html", "junit", "sarif")


def one_less(lock: str) -> str:
    """Return a lock in which the last layer of `reduced` takes one MAC less, and with it the whole."""
    return lock.replace('"macs": 5268480', '"macs": 5268479').replace('"macs": 3763200', '"macs": 3763199')


def change(folder: Path, run: Run) -> None:
    (folder / "archlab.toml").write_text('[[model]]\nname = "m"\ntarget = "reduced"\n[[model]]\ntarget = "naive"\n')
    run("lock")
    text = (folder / "archlab.lock.json").read_text()
    (folder / "archlab.lock.json").write_text(one_less(text))


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_tells_of_the_failure(run: Run, folder: Path, format: str) -> None:
    change(folder, run)
    shown = run("check", "--format", format)
    assert shown.code == 1
    assert "5268480" in shown.out.replace(",", "").replace("\u202f", "")


def test_one_run_writes_several_files_as_their_endings_say(run: Run, folder: Path) -> None:
    change(folder, run)
    names = ("a.json", "a.md", "a.html", "a.csv", "a.xml", "a.sarif", "a.txt")
    shown = run("check", *(word for name in names for word in ("--write", name)))
    assert shown.code == 1
    begins = ("{", "<!-- archlab:check -->", "<!DOCTYPE html>", "model", "<?xml", "{", "")
    for name, begin in zip(names, begins, strict=True):
        assert (folder / name).read_text().startswith(begin), name
    assert run("check", "--write", "a.docx").code == 2


def test_the_marker_of_the_comment_is_named(run: Run, folder: Path) -> None:
    change(folder, run)
    assert run("check", "--format", "markdown", "--marker", "zoo").out.startswith("<!-- archlab:zoo -->\n")


def test_github_is_told_where_its_environment_says_so(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(folder, run)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(folder / "summary"))
    monkeypatch.setenv("GITHUB_OUTPUT", str(folder / "output"))
    (folder / "summary").write_text("before\n")
    assert "::error" not in run("check").out
    assert (folder / "summary").read_text().startswith("before\n")
    outputs = dict(line.split("=", 1) for line in (folder / "output").read_text().splitlines())
    assert (outputs["status"], outputs["exit_code"], outputs["macs_delta"]) == ("fails", "1", "1")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    assert "::error file=archlab.toml,line=1" in run("check").out
    shown = run("check", "--json")
    assert json.loads(shown.out)["status"] == "fails"
    assert "::error file=archlab.toml,line=1" in shown.err


def environment(**more: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k not in ("CI", "GITHUB_ACTIONS")}
    return {**kept, **more}


def test_a_check_of_the_zoo_imports_nothing_heavy(folder: Path, run: Run) -> None:
    run("init", "googlenet")
    run("lock")
    script = "import sys\nfrom archlab.cli import main\ntry:\n    main(['check'])\nexcept SystemExit as end:\n"
    script += "    print([m for m in ('torch', 'numpy', 'pandas', 'tomlkit') if m in sys.modules], end.code)\n"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment(), check=True
    )
    assert done.stdout.splitlines()[-1] == "[] 0"
