"""The pytest plugin: ``def test_cost(archlab): archlab.check(model, x, macs="<= 4.2G")``, held against a lock file.

pytest loads this package at every start: it imports pytest and the standard library; all else a check imports.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any

import pytest

from archlab.pytest_plugin.session import LOCK_FILE, TESTED, Session, Tested, in_process, test_name

if TYPE_CHECKING:
    from archlab.profiles import Profile

NAME = "archlab-session"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("archlab", "what models cost (archlab)")
    group.addoption(
        "--archlab-update",
        action="store_true",
        help=f"write {LOCK_FILE} anew for the tests that run and pass, and remove its stale entries",
    )
    group.addoption(
        "--archlab-force", action="store_true", help="let --archlab-update write in CI, too, where it is refused"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Refuse to write the lock file in CI, and follow the session."""
    update, force = config.getoption("archlab_update"), config.getoption("archlab_force")
    from archlab.guard.ci import in_ci

    if force and not update:
        raise pytest.UsageError("--archlab-force is for --archlab-update, which is not given")
    if update and not force and in_ci():
        raise pytest.UsageError(
            f"--archlab-update writes no {LOCK_FILE} in CI (CI={os.environ['CI']}), where checks would then pass "
            "whatever models cost; run it where you work and commit the file, or add --archlab-force"
        )
    config.pluginmanager.register(Session(config), NAME)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Begin with nothing checked, also where a plugin runs a test again."""
    item.stash[TESTED] = Tested()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Send what a test checked with its last report, which xdist brings from a worker to the controller."""
    report = yield
    tested = item.stash.get(TESTED, None)
    if tested is not None:
        tested.passed = tested.passed and report.outcome == "passed"
        if report.when == "teardown":
            report.__dict__["archlab"] = tested.to_json(test_name(item))
    return report


@pytest.fixture
def archlab(request: pytest.FixtureRequest) -> Checks:
    """Hold models against budgets and the tests' lock file: archlab.check(model, x, macs="<= 4.2G")."""
    return Checks(request.node)


class Checks:
    """The fixture `archlab` of one test. All that the package archlab has it has, too, since it hides its name."""

    def __init__(self, item: pytest.Item) -> None:
        self._item = item

    def __getattr__(self, name: str) -> Any:
        import archlab

        return getattr(archlab, name)

    def check(
        self,
        subject: Any,
        *args: Any,
        name: str | None = None,
        mode: str = "inference",
        convention: str = "archlab",
        backward: bool = False,
        inputs: Any = None,
        growth: str | int | Mapping[str, str | int] | None = None,
        warn: Mapping[str, Any] | None = None,
        **limits: str | int,
    ) -> Profile:
        """Fail the test where a model, a target or a graph costs more than its budget or the lock file allows.

        `limits` are by metric, ``macs="<= 4.2G"``; `growth` is ``"+2%"`` or a table by metric; `warn` is a
        table of both, whose breach is said and fails nothing. `name` tells several checks of a test apart.
        All else is as for `archlab.profile`, whose result it returns; keyword inputs of a model go through
        inputs=(args, kwargs). Raises what `archlab.profile` raises, and `UsageError` for a wrong budget.
        """
        __tracebackhide__ = True
        from archlab.errors import ArchlabError
        from archlab.pytest_plugin.checking import Checked, checked, not_ours

        given = {**limits, "growth": growth, "warn": warn}
        how = {"mode": mode, "convention": convention, "backward": backward, "inputs": inputs}
        test = test_name(self._item)
        tested = self._item.stash.setdefault(TESTED, Tested())
        result: Checked | None = None
        try:
            key = tested.key(test, name)
            session = in_process(self._item.config, NAME)
            result = checked(
                subject, args, how, {k: v for k, v in given.items() if v is not None}, test, key, session
            )
        except ArchlabError as error:
            if (cause := error.__cause__) is not None:
                cause.__traceback__ = not_ours(cause.__traceback__)
            raise error.with_traceback(None) from cause
        tested.checks[key] = result.record
        if result.failure:
            pytest.fail(result.failure, pytrace=False)
        return result.profile
