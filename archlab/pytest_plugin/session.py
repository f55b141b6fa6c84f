"""What a session of tests checked, and its end: stale entries of the lock file are found, or the file is written."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

if TYPE_CHECKING:
    from archlab.guard.lock import Lock

LOCK_FILE = "archlab.tests.lock.json"
"""The tests' lock file, in pytest's root folder."""
_STATUSES = {"fails": "failed", "warns": "with a warning", "new": "new", "changed": "changed", "improved": "improved"}
_JUDGED = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED)
ANEW = "delete it and write it anew: pytest --archlab-update"


@dataclass
class Tested:
    """One run of one test: its checks by their names in the lock file, and whether all of it passed so far."""

    checks: dict[str, dict[str, Any]] = field(default_factory=dict)
    passed: bool = True
    unnamed: int = 0

    def key(self, test: str, name: str | None) -> str:
        """Return the name of a test's next check: the test, ``#2`` from the second on, or ``#name``."""
        from archlab.errors import UsageError

        if name is None:
            self.unnamed += 1
        key = test if name is None and self.unnamed == 1 else f"{test}#{self.unnamed if name is None else name}"
        if key in self.checks:
            raise UsageError(f"two checks of one test are {key!r}; give one another name=")
        return key

    def to_json(self, test: str) -> str:
        """Return it as text, which a report takes from one process to another."""
        return json.dumps({"test": test, "passed": self.passed, "checks": self.checks})


TESTED = pytest.StashKey[Tested]()


def test_name(item: pytest.Item) -> str:
    """Return a test's node id as it was collected: xdist appends a group to it."""
    return f"{item.parent.nodeid}::{item.name}" if item.parent else item.nodeid


def in_process(config: pytest.Config, name: str) -> Session:
    """Return the session that follows the tests of this process."""
    return cast(Session, config.pluginmanager.get_plugin(name))


class Session:
    """Follows a session: what was collected and checked, here or by xdist's workers, and what that means."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.update: bool = config.getoption("archlab_update")
        self.lock_path = config.rootpath / LOCK_FILE
        self.tests: dict[str, dict[str, Any]] = {}
        self.gone: set[str] = set()
        self.lines: list[str] = []
        self.bad = False
        self._collected: set[str] = set()
        self._whole: set[str] = set()
        self._broken: set[str] = set()

    @cached_property
    def lock(self) -> Lock | None:
        """The lock file as the session began, None where there is none; raise `ReadError` for a file that is none."""
        from archlab.guard.lock import Lock

        return Lock.read(self.lock_path, ANEW)

    def command(self, *tests: str) -> str:
        """Return the command that writes the entries of some tests, as one types it where pytest was called."""
        option = self.config.option
        words = [f"--rootdir={option.rootdir}"] if getattr(option, "rootdir", None) else []
        words += ["-c", str(option.inifilename)] if getattr(option, "inifilename", None) else []
        return shlex.join(["pytest", *words, *map(self._typed, tests), "--archlab-update"])

    def _typed(self, test: str) -> str:
        file, *inside = test.split("::")
        return "::".join([os.path.relpath(self.config.rootpath / file, self.config.invocation_params.dir), *inside])

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        """Note a test, before any plugin leaves it out."""
        self._collected.add(test_name(item))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Note which files were collected to their end."""
        file, inside, _ = report.nodeid.partition("::")
        if report.outcome != "passed":
            self._broken.add(file)
        elif not inside:
            self._whole.add(file)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note what a test checked; of a test that ran again the last run counts."""
        if text := getattr(report, "archlab", None):
            data = json.loads(text)
            self.tests[data.pop("test")] = data

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Note what one of xdist's workers misses: the controller itself collects nothing."""
        output = getattr(node, "workeroutput", None) or {}
        self.gone.update(json.loads(output.get("archlab", "[]")))

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Judge the entries or write them; a session that was cut off does neither."""
        if self.config.option.collectonly:
            return
        if exitstatus not in _JUDGED:
            self.lines += [f"archlab: the session was cut off; {LOCK_FILE} is as it was"] if self.update else []
            return
        if not self.lock_path.is_file() and not any(test["checks"] for test in self.tests.values()):
            return
        from archlab.errors import ArchlabError

        try:
            self.gone |= self._missing()
            if hasattr(self.config, "workeroutput"):
                self.config.workeroutput["archlab"] = json.dumps(sorted(self.gone))
                return
            self._end()
        except ArchlabError as error:
            self.bad = True
            self.lines.append(f"error: {error}")
        if self.bad and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _missing(self) -> set[str]:
        """Return the tests of entries that are no more, although what holds them was collected whole."""
        folders = [Path(os.path.realpath(self.config.invocation_params.dir / text)) for text in self.config.args]
        # --lf leaves tests out while it collects. Of a file in which tests are named pytest reports no end.
        whole = set() if self.config.getoption("lf", False) else self._whole - self._broken
        missing = set()
        for entry in self.lock.models.values() if self.lock else ():
            file = entry.target.partition("::")[0]
            path = self._path(file)
            covered = any(path == above or above in path.parents for above in folders)
            if (covered and not path.exists()) or (file in whole and entry.target not in self._collected):
                missing.add(entry.target)
        return missing

    def _path(self, file: str) -> Path:
        return Path(os.path.realpath(self.config.rootpath / file))

    def _stale(self) -> dict[str, str]:
        """Return the entries that no test is for any more, each with the reason."""
        reasons = {}
        for name, entry in self.lock.models.items() if self.lock else ():
            ran = self.tests.get(entry.target)
            if entry.target in self.gone:
                file, _, test = entry.target.partition("::")
                there = self._path(file).exists()
                reasons[name] = f"{file} has no {test}" if there else f"{file} is not there"
            elif ran and ran["passed"] and name not in ran["checks"]:
                reasons[name] = "its test passes without this check"
        return reasons

    def _end(self) -> None:
        checks = {name: check for test in self.tests.values() for name, check in test["checks"].items()}
        for name, check in checks.items():
            if check["said"] and check["status"] != "fails":
                self.lines += [f"{check['status']}: {name}", *(f"  {text}" for text in check["said"])]
        stale = self._stale()
        if not checks and not stale:
            return  # a session of other tests
        verb = "removed" if self.update else "stale"
        self.lines += [f"{verb}: {name!r}: {reason}" for name, reason in stale.items()]
        said = _counted([check["status"] for check in checks.values()])
        if self.update:
            said += f"; {self._write(stale)}"
        elif stale:
            self.bad = True
            said += f"; {len(stale)} stale in {LOCK_FILE}"
        failing = [check for check in checks.values() if check["accept"]]
        if not self.update and (stale or len(failing) > 1):
            again = shlex.join(["pytest", *map(str, self.config.invocation_params.args), "--archlab-update"])
            self.lines += ["to accept all of this:", again]
        self.lines.append(said)

    def _write(self, stale: Iterable[str]) -> str:
        from archlab.files import write
        from archlab.guard.entry import Entry
        from archlab.guard.lock import Lock

        passed = [test["checks"] for test in self.tests.values() if test["passed"]]
        fresh = {name: Entry.from_dict(check["entry"]) for checks in passed for name, check in checks.items()}
        # Read anew: another session may have written in the meantime.
        old = Lock.read(self.lock_path, ANEW) or Lock()
        new = old.only(frozenset(old.models) - set(stale)).with_entries(fresh)
        if new.text() == old.text():
            return f"{LOCK_FILE} is as it was"
        write(self.lock_path, new.text())
        return f"{LOCK_FILE} is written"

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say what was found, last that there was no change."""
        if self.lines:
            terminalreporter.section("archlab", red=self.bad, green=not self.bad)
            for line in self.lines:
                terminalreporter.write_line(line)


def _counted(statuses: list[str]) -> str:
    parts = [f"{statuses.count(status)} {word}" for status, word in _STATUSES.items() if status in statuses]
    rest = statuses.count("no change")
    parts += [f"{rest} without change"] if rest else []
    checks = f"archlab: {len(statuses)} check{'s' * (len(statuses) != 1)}"
    return f"{checks}: {', '.join(parts)}" if len(statuses) > rest else f"{checks}, no change"
