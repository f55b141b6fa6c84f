"""Entries of the tests' lock file that no test is for any more: what a session may say of them, and what not."""

from __future__ import annotations

import pytest
from sessions import Project, ended, zoo

from archlab.pytest_plugin.session import LOCK_FILE

pytest_plugins = ["pytester"]

ONE = zoo('archlab.check("naive")', name="test_one")
TWO = zoo('archlab.check("reduced")', 'archlab.check("naive")', name="test_two")


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project with two files of tests, whose checks are all in the lock file."""
    made = Project.made(pytester, monkeypatch)
    made.write("tests/test_a.py", ONE + TWO)
    made.write("tests/test_b.py", ONE)
    ended(made.run("--archlab-update"), 0, passed=3)
    assert sorted(made.locked()) == [
        "tests/test_a.py::test_one",
        "tests/test_a.py::test_two",
        "tests/test_a.py::test_two#2",
        "tests/test_b.py::test_one",
    ]
    return made


def test_without_stale_entries_nothing_is_said(project: Project) -> None:
    assert " stale in " not in ended(project.run(), 0, passed=3)


def test_an_entry_whose_file_is_gone_is_stale(project: Project) -> None:
    (project.path / "tests/test_b.py").unlink()
    for words in ((), ("tests",), ("-k", "one"), ("--lf",)):
        outcome = {"passed": 1, "deselected": 1} if "-k" in words else {"passed": 2}
        out = ended(project.run(*words), 1, **outcome)
        assert "stale: 'tests/test_b.py::test_one': tests/test_b.py is not there" in out
        assert f"1 stale in {LOCK_FILE}" in out


def test_an_entry_whose_test_is_gone_is_stale(project: Project) -> None:
    project.write("tests/test_a.py", ONE)
    for words in ((), ("tests/test_a.py",), ("-m", "not slow"), ("--deselect", "tests/test_b.py::test_one")):
        out = project.run(*words)
        assert out.ret == 1
        text = out.stdout.str()
        assert "stale: 'tests/test_a.py::test_two': tests/test_a.py has no test_two" in text
        assert "stale: 'tests/test_a.py::test_two#2': tests/test_a.py has no test_two" in text
        assert f"2 stale in {LOCK_FILE}" in text


def test_an_entry_whose_check_is_gone_is_stale(project: Project) -> None:
    project.write("tests/test_a.py", ONE + zoo('archlab.check("reduced")', name="test_two"))
    for words in ((), ("tests/test_a.py::test_two",)):
        out = project.run(*words)
        assert out.ret == 1
        assert "stale: 'tests/test_a.py::test_two#2': its test passes without this check" in out.stdout.str()


def test_a_session_without_tests_left_is_no_success(project: Project) -> None:
    for name in ("a", "b"):
        (project.path / f"tests/test_{name}.py").unlink()
    assert f"4 stale in {LOCK_FILE}" in ended(project.run(), 1)


def test_an_update_removes_what_is_stale_and_that_alone(project: Project) -> None:
    (project.path / "tests/test_b.py").unlink()
    project.write("tests/test_a.py", zoo('archlab.check("reduced")', name="test_two"))
    out = ended(project.run(), 1, passed=1)
    assert "to accept all of this:" in out
    assert next(line for line in out.splitlines() if line.startswith("pytest ")).endswith(" --archlab-update")
    out = ended(project.run("--archlab-update"), 0, passed=1)
    assert "removed: 'tests/test_b.py::test_one': tests/test_b.py is not there" in out
    assert list(project.locked()) == ["tests/test_a.py::test_two"]
    ended(project.run(), 0, passed=1)


@pytest.mark.parametrize(
    "words",
    [
        ("tests/test_a.py::test_two",),
        ("tests/test_a.py::test_two", "tests/test_b.py"),
        ("tests/test_b.py",),
        ("tests", "--ignore", "tests/test_a.py"),
        ("--lf", "tests"),
    ],
)
def test_a_session_that_does_not_collect_all_of_a_file_says_nothing_of_it(
    project: Project, words: tuple[str, ...]
) -> None:
    # As the last session fails in `test_two`, --lf collects that test alone.
    project.write("tests/test_a.py", zoo("assert False", name="test_two"))
    assert "has no test_one" in ended(project.run("tests/test_a.py"), 1, failed=1)
    project.write("tests/test_a.py", TWO)
    result = project.run(*words)
    assert result.ret == 0, result.stdout.str()
    assert " stale in " not in result.stdout.str()
    before = project.lock.read_bytes()
    assert project.run(*words, "--archlab-update").ret == 0
    assert project.lock.read_bytes() == before


def test_what_is_missing_elsewhere_is_none_of_a_part(project: Project) -> None:
    (project.path / "tests/test_b.py").unlink()
    assert " stale in " not in ended(project.run("tests/test_a.py"), 0, passed=2)


@pytest.mark.parametrize(
    "text",
    [
        "import no_such_module\n",
        "import pytest\npytest.skip('not here', allow_module_level=True)\n",
        "import pytest\npytest.importorskip('no_such_module')\n",
    ],
)
def test_a_file_that_cannot_be_collected_is_not_judged(project: Project, text: str) -> None:
    project.write("tests/test_a.py", text + ONE)
    result = project.run()
    assert " stale in " not in result.stdout.str()


@pytest.mark.parametrize(
    "how", ["assert False", "import pytest; pytest.skip('no')", "import pytest; pytest.xfail('no')"]
)
def test_a_test_that_does_not_come_to_its_check_is_not_judged(project: Project, how: str) -> None:
    project.write("tests/test_a.py", ONE + zoo('archlab.check("reduced")', how, name="test_two"))
    before = project.lock.read_bytes()
    for words in ((), ("--archlab-update",)):
        result = project.run(*words)
        assert result.ret == int("False" in how)
        assert " stale in " not in result.stdout.str()
        assert project.lock.read_bytes() == before


def test_a_session_that_stops_at_a_failure_judges_what_ran(project: Project) -> None:
    project.write("tests/test_a.py", zoo("assert False", name="test_one") + zoo("pass", name="test_two"))
    out = ended(project.run("-x"), 1, failed=1)
    assert " stale in " not in out, "test_two did not run"


def test_collecting_alone_judges_nothing(project: Project) -> None:
    (project.path / "tests/test_b.py").unlink()
    assert project.run("--collect-only").ret == 0


def test_workers_bring_their_checks_to_the_one_that_writes_and_judges(project: Project) -> None:
    project.lock.unlink()
    xdist = ("-p", "xdist", "-n", "2")
    ended(project.run_apart(*xdist, "--archlab-update"), 0, passed=3)
    assert len(project.locked()) == 4
    assert "archlab: 4 checks, no change" in ended(project.run(), 0, passed=3)
    group = "import pytest\npytestmark = pytest.mark.xdist_group('one')\n"  # it ends up in the node ids
    two = zoo('archlab.check("naive")', 'archlab.check("naive")', name="test_two")
    project.write("tests/test_a.py", group + two)
    project.write("tests/test_b.py", group + ONE)
    out = ended(project.run_apart(*xdist, "--dist=loadgroup"), 1, passed=1, failed=1)
    assert "first layer that differs: 5x5_reduce (gone: Conv2d 1x16x14x14)" in out
    assert "stale: 'tests/test_a.py::test_one': tests/test_a.py has no test_one" in out
    assert "archlab: 2 checks: 1 failed, 1 without change; 1 stale in" in out
