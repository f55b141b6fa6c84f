"""The pytest plugin, as sessions of pytest see it: the verdicts, their words, the lock file and who may write it."""

from __future__ import annotations

import importlib
import pkgutil
import shlex
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import pytest
import torch
from sessions import COST, SECOND, Project, ended, macs, zoo

import archlab
import archlab.guard
from archlab.pytest_plugin.session import LOCK_FILE

pytest_plugins = ["pytester"]


@pytest.fixture(scope="module", autouse=True)
def _loaded_before() -> None:
    """Load what the sessions in this process load: pytester forgets it after each, and torch loads but once."""
    archlab.profile(torch.nn.Linear(2, 2), archlab.TensorSpec((1, 2)))
    for module in pkgutil.walk_packages([*archlab.guard.__path__], "archlab.guard."):
        if not module.name.endswith("worker"):
            importlib.import_module(module.name)


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
    return Project.made(pytester, monkeypatch)


# -- verdicts ------------------------------------------------------------------------------------------


def test_a_missing_entry_fails_with_the_command_that_writes_it(project: Project) -> None:
    project.cost(4)
    lines = ended(project.run(), 1, failed=1).splitlines()
    assert f"{LOCK_FILE} has no entry for 'test_net.py::test_cost'" in lines
    assert not project.lock.exists()
    command = shlex.split(next(line for line in lines if line.startswith("pytest ")))
    assert command == ["pytest", "test_net.py::test_cost", "--archlab-update"]
    ended(project.run(*command[1:]), 0, passed=1)
    assert project.locked()["test_net.py::test_cost"]["total"]["macs"] == macs(4)
    assert "archlab: 1 check, no change" in ended(project.run(), 0, passed=1)


def test_a_regression_names_the_first_layer_both_formulas_and_the_command(project: Project) -> None:
    project.cost(4)
    project.run("--archlab-update")
    before = project.lock.read_bytes()
    project.cost(5)
    out = ended(project.run(), 1, failed=1)
    grown = macs(5) - macs(4)
    assert f"MACs {macs(4):,} → {macs(5):,}, +{grown:,} (+{100 * grown / macs(4):.2f} %)" in out
    lines = [line.strip() for line in out.splitlines()]
    at = lines.index("first layer that differs: second (Conv2d 1x4x8x8 → 1x5x8x8)")
    assert lines[at + 1] == "locked  " + SECOND.format(wide=4, count=8 * 8 * 4 * 2 * 9)
    assert lines[at + 2] == "now     " + SECOND.format(wide=5, count=8 * 8 * 5 * 2 * 9)
    assert "pytest test_net.py::test_cost --archlab-update" in out.splitlines()
    assert "archlab: 1 check: 1 failed" in out
    assert project.lock.read_bytes() == before
    assert "archlab/" not in out, "frames of ours say nothing"
    ended(project.run("test_net.py::test_cost", "--archlab-update"), 0, passed=1)
    ended(project.run(), 0, passed=1)


def test_a_layer_that_is_new_has_no_products_in_the_lock(project: Project) -> None:
    project.write("test_built_networks.py", zoo('archlab.check("naive")'))
    project.run("--archlab-update")
    project.write("test_built_networks.py", zoo('archlab.check("reduced")'))
    out = ended(project.run(), 1, failed=1)
    assert "    locked  -\n    now     1·14·14·16·480·1·1 = 1,505,280 MACs" in out


def test_an_improvement_passes_and_is_said(project: Project) -> None:
    project.cost(5, ', macs="<= 20k"')
    project.run("--archlab-update")
    project.cost(4, ', macs="<= 20k"')
    out = ended(project.run(), 0, passed=1)
    assert "improved: test_net.py::test_cost" in out
    assert f"MACs {macs(5):,} → {macs(4):,}" in out
    assert f"the budget can be tightened from <= 20k to <= {macs(4)}" in out
    assert "archlab: 1 check: 1 improved" in out


def test_a_budget_fails_whatever_the_lock_says_and_when_it_is_written(project: Project) -> None:
    project.cost(4, f', macs="<= {macs(4) - 1}", params=10**6')
    for words in ((), ("--archlab-update",)):
        out = ended(project.run(*words), 1, failed=1)
        assert f"MACs {macs(4):,} is 1 over the budget of {macs(4) - 1:,}" in out
        assert "a budget stands in the test; raise it there" in out
        assert not project.lock.exists()
    assert "pytest test_net.py" not in out, "no command raises it"


def test_what_only_warns_passes_and_is_said(project: Project) -> None:
    project.cost(4, ', warn={"macs": "<= 1k"}')
    project.run("--archlab-update")
    out = ended(project.run(), 0, passed=1)
    assert f"warning: MACs {macs(4):,} is {macs(4) - 1000:,} over the budget of 1,000 (<= 1k)" in out
    assert "archlab: 1 check: 1 with a warning" in out


@pytest.mark.parametrize(("growth", "passed"), [('"+25%"', 1), ('{"macs": "+25%"}', 0), ('"+1%"', 0)])
def test_growth_is_allowed_for_all_metrics_or_for_those_named(project: Project, growth: str, passed: int) -> None:
    project.cost(4)
    project.run("--archlab-update")
    project.cost(5, f", growth={growth}")
    ended(project.run(), 1 - passed, passed=passed, failed=1 - passed)


def test_a_check_returns_the_profile_and_takes_keyword_inputs(project: Project) -> None:
    text = """
    from net import Net

    def test_cost(archlab):
        x = archlab.TensorSpec((1, 3, 8, 8))
        profile = archlab.check(Net(), inputs=((), {"x": x}), mode="training", name="keywords")
        assert profile.mode == "training"
        assert archlab.check(Net(), x, backward=True).total.backward_macs
    """
    project.write("test_net.py", textwrap.dedent(text))
    ended(project.run("--archlab-update"), 0, passed=1)
    assert list(project.locked()) == ["test_net.py::test_cost", "test_net.py::test_cost#keywords"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (', mac="<= 1k"', "unknown metric 'mac'; did you mean 'macs'?"),
        (", mask=1", "keyword inputs of a model go through inputs=(args, kwargs)"),
        (', macs="lots"', "macs 'lots' is no count"),
        (', growth="2%"', "growth = '2%' is no growth"),
        (', mode="fast"', "unknown mode 'fast'"),
    ],
)
def test_a_mistake_in_a_check_is_said_at_the_line_of_the_test(project: Project, more: str, said: str) -> None:
    project.cost(4, more)
    out = ended(project.run(), 1, failed=1)
    assert said in out
    assert "test_net.py:5: UsageError" in out
    assert "archlab/" not in out, "frames of ours say nothing"


def test_a_forward_that_fails_shows_the_models_line_and_none_of_ours(project: Project) -> None:
    project.write("test_net.py", COST.format(wide=4, more="").replace("8, 8)", "8, 9)"))
    out = ended(project.run(), 1, failed=1)
    assert "the forward failed in head" in out
    assert "return self.head(self.second(self.first(x)).flatten(1))" in out
    assert "pytorch/rules" not in out


# -- names ---------------------------------------------------------------------------------------------


def test_checks_of_one_test_are_numbered_or_named(project: Project) -> None:
    lines = ('archlab.check("naive")', 'archlab.check("reduced")', 'archlab.check("reduced", name="a b")')
    text = 'import pytest\n@pytest.mark.parametrize("n", ["x y", 2])\n' + zoo(*lines).replace(
        "archlab)", "archlab, n)"
    )
    project.write("test_built_networks.py", text)
    ended(project.run("--archlab-update"), 0, passed=2)
    tests = ("test_built_networks.py::test_zoo[2]", "test_built_networks.py::test_zoo[x y]")
    assert list(project.locked()) == [f"{test}{end}" for test in tests for end in ("", "#2", "#a b")]
    assert "archlab: 6 checks, no change" in ended(project.run(), 0, passed=2)
    project.write("test_built_networks.py", text.replace('"reduced", name', '"naive", name'))
    out = ended(project.run("-k", "x"), 1, failed=1, deselected=1)
    assert "test_built_networks.py::test_zoo[x y]#a b: MACs " in out
    assert "pytest 'test_built_networks.py::test_zoo[x y]' --archlab-update" in out.splitlines(), "quoted for a shell"


def test_two_checks_of_one_name_are_refused(project: Project) -> None:
    project.write("test_built_networks.py", zoo(*['archlab.check("naive", name="n")'] * 2))
    out = ended(project.run("--archlab-update"), 1, failed=1)
    assert "two checks of one test are 'test_built_networks.py::test_zoo#n'; give one another name=" in out


def test_a_test_that_runs_again_makes_its_checks_anew(project: Project) -> None:
    again = """
from _pytest.runner import runtestprotocol

def pytest_runtest_protocol(item, nextitem):
    for last in (False, True):
        item._initrequest()
        runtestprotocol(item, nextitem=nextitem, log=last)
    return True
"""
    project.write("conftest.py", again)
    project.cost(4)
    ended(project.run("--archlab-update"), 0, passed=1)
    assert list(project.locked()) == ["test_net.py::test_cost"]


# -- who writes ----------------------------------------------------------------------------------------


def test_only_tests_that_ran_and_passed_are_written(project: Project) -> None:
    project.write("test_a.py", zoo('archlab.check("reduced")', name="test_a"))
    project.write("test_b.py", zoo('archlab.check("reduced")', name="test_b"))
    project.run("--archlab-update")
    old = project.locked()
    project.write("test_a.py", zoo('archlab.check("naive")', name="test_a"))
    project.write("test_b.py", zoo('archlab.check("naive")', "assert False", name="test_b"))
    ended(project.run("--archlab-update"), 1, passed=1, failed=1)
    new = project.locked()
    assert new["test_b.py::test_b"] == old["test_b.py::test_b"]
    assert new["test_a.py::test_a"] != old["test_a.py::test_a"]
    project.write("test_b.py", zoo('archlab.check("naive")', name="test_b"))
    ended(project.run("--archlab-update", "test_a.py"), 0, passed=1)
    assert project.locked() == new, "test_b did not run"


def test_an_update_that_changes_nothing_leaves_the_file_alone(project: Project) -> None:
    project.cost(4)
    project.run("--archlab-update")
    path = project.lock
    before = path.stat()
    assert f"no change; {LOCK_FILE} is as it was" in ended(project.run("--archlab-update"), 0, passed=1)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.parametrize("ci", ["1", "true", "yes"])
def test_an_update_is_refused_in_ci_unless_forced(project: Project, monkeypatch: pytest.MonkeyPatch, ci: str) -> None:
    project.cost(4)
    monkeypatch.setenv("CI", ci)
    result = project.run("--archlab-update")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert f"in CI (CI={ci})" in result.stderr.str()
    assert not project.lock.exists()
    ended(project.run("--archlab-update", "--archlab-force"), 0, passed=1)
    assert project.lock.exists()
    ended(project.run(), 0, passed=1)


@pytest.mark.parametrize("ci", ["", "0", "false", "False"])
def test_an_environment_that_says_it_is_not_ci_may_write(
    project: Project, monkeypatch: pytest.MonkeyPatch, ci: str
) -> None:
    project.cost(4)
    monkeypatch.setenv("CI", ci)
    ended(project.run("--archlab-update"), 0, passed=1)


def test_force_alone_is_a_mistake(project: Project) -> None:
    result = project.run("--archlab-force")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "--archlab-force is for --archlab-update" in result.stderr.str()


@pytest.mark.parametrize("how", ["raise KeyboardInterrupt", 'import pytest; pytest.exit("no more")'])
def test_a_session_that_is_cut_off_leaves_the_file(project: Project, how: str) -> None:
    project.write("test_a.py", zoo('archlab.check("reduced")', name="test_a"))
    project.run("--archlab-update")
    before = project.lock.read_bytes()
    project.write("test_a.py", zoo('archlab.check("naive")', name="test_a") + zoo(how, name="test_b"))
    cut = project.run("--archlab-update")
    assert cut.ret == pytest.ExitCode.INTERRUPTED
    assert f"the session was cut off; {LOCK_FILE} is as it was" in cut.stdout.str()
    assert project.lock.read_bytes() == before
    assert project.run().ret == pytest.ExitCode.INTERRUPTED


def test_a_crash_of_the_process_leaves_the_file(project: Project) -> None:
    project.write("test_a.py", zoo('archlab.check("reduced")', name="test_a"))
    project.run("--archlab-update")
    before = project.lock.read_bytes()
    crash = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    project.write("test_a.py", zoo('archlab.check("naive")', name="test_a") + zoo(crash, name="test_b"))
    assert project.run_apart("--archlab-update").ret < 0
    assert project.lock.read_bytes() == before
    assert [path.name for path in project.path.glob(f"*{LOCK_FILE}*")] == [LOCK_FILE]


@pytest.mark.parametrize("text", ["<<<<<<< HEAD\n", "[]", '{"schema": "archlab.lock/9"}'])
def test_a_file_that_is_no_lock_is_an_error_and_is_never_written_over(project: Project, text: str) -> None:
    project.cost(4)
    path = project.write(LOCK_FILE, text)
    for words in ((), ("--archlab-update",)):
        out = ended(project.run(*words), 1, failed=1)
        assert "archlab.tests.lock.json: " in out
        assert "delete it and write it anew: pytest --archlab-update" in out
        assert path.read_text(encoding="utf-8") == text


# -- places --------------------------------------------------------------------------------------------


def test_the_file_lies_in_the_root_folder_and_commands_are_those_of_the_present_folder(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write("pytest.ini", "[pytest]\n")
    project.cost(4, name="tests/deep/test_net.py")
    monkeypatch.chdir(project.path / "tests")
    lines = ended(project.run(), 1, failed=1).splitlines()
    command = "pytest deep/test_net.py::test_cost --archlab-update"
    assert command in lines
    ended(project.run(*command.split()[1:]), 0, passed=1)
    assert list(project.locked()) == ["tests/deep/test_net.py::test_cost"]


def test_a_root_folder_that_was_given_is_in_the_command(project: Project) -> None:
    project.cost(4, name="tests/test_net.py")
    lines = ended(project.run("--rootdir=tests"), 1, failed=1).splitlines()
    command = next(line for line in lines if line.startswith("pytest "))
    ended(project.run(*shlex.split(command)[1:]), 0, passed=1)
    assert (project.path / "tests" / LOCK_FILE).is_file()
    ended(project.run("--rootdir=tests"), 0, passed=1)


def test_pyproject_offers_the_plugin_to_pytest() -> None:
    path = Path(archlab.__file__).parent.parent / "pyproject.toml"
    offered = tomllib.loads(path.read_text(encoding="utf-8"))["project"]["entry-points"]["pytest11"]
    assert offered == {"archlab": "archlab.pytest_plugin"}


def test_pytest_starts_without_anything_of_ours_but_the_plugin() -> None:
    script = """
import sys, archlab.pytest_plugin
print(*sorted(m for m in sys.modules if m.split(".")[0] in ("archlab", "torch", "numpy", "rich")))
"""
    made = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert made.stdout.split() == ["archlab", "archlab.pytest_plugin", "archlab.pytest_plugin.session"]


def test_a_session_without_checks_says_nothing(project: Project) -> None:
    project.cost(4)
    project.write("test_a.py", "def test_a(): pass\n")
    assert "archlab:" not in ended(project.run("test_a.py"), 0, passed=1)
    project.run("--archlab-update")
    for words in (("test_a.py",), ("-k", "test_a"), ("test_a.py", "--archlab-update")):
        result = project.run(*words)
        assert result.ret == 0
        assert "archlab:" not in result.stdout.str()
