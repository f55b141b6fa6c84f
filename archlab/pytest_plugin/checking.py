"""One check of a test: the verdict on what it counts, and how that is said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import TYPE_CHECKING, Any

from archlab.pytest_plugin.session import LOCK_FILE, Session

if TYPE_CHECKING:
    from archlab.guard.findings import Finding, Verdict
    from archlab.profiles import Profile


_SAID = {"warn": "warning: ", "note": ""}


@dataclass(frozen=True)
class Checked:
    """What a check found: the profile, what the session remembers of it, and why the test fails, if it does."""

    profile: Profile
    record: dict[str, Any]
    failure: str


def checked(
    subject: Any,
    args: Sequence[Any],
    how: Mapping[str, Any],
    given: Mapping[str, Any],
    test: str,
    key: str,
    session: Session,
) -> Checked:
    """Count a subject as `archlab.profile` does and hold it against the budget `given` and the lock file's `key`.

    With ``--archlab-update`` only the budget fails. Raises the errors of `archlab.profile`, `UsageError` for a
    wrong budget and `ReadError` for a lock file that is none.
    """
    from archlab.api import profile
    from archlab.errors import UsageError
    from archlab.guard.budgets import METRICS, budget
    from archlab.guard.check import Accept, judge
    from archlab.guard.config import Config, Model
    from archlab.guard.entry import Entry

    try:
        allowed = budget(given, "archlab.check")
    except UsageError as error:
        inputs = [word for word in given if word not in (*METRICS, "growth", "warn")]
        hint = "; keyword inputs of a model go through inputs=(args, kwargs)" if inputs and callable(subject) else ""
        raise UsageError(f"{error}{hint}") from None
    result = profile(subject, *args, **how)
    # The test is the identity, so that another class or target in it is a change that has a first layer.
    entry = replace(Entry.of(result.to_dict()), target=test)
    allowed.counted(entry.total, "archlab.check")
    command = session.command(test)
    accept = Accept(lambda _: command, lambda _: "", command, LOCK_FILE)
    config = Config(session.lock_path, (Model(key, test),), {key: allowed})
    lock = session.lock
    verdict = judge(config.models[0], entry, lock.models.get(key) if lock else None, config, accept)
    failing = [f for f in verdict.findings if f.level == "fail" and (f.kind == "budget" or not session.update)]
    record: dict[str, Any] = {"status": verdict.status, "accept": any(finding.accept for finding in failing)}
    record["said"] = [_SAID[f.level] + f.text for f in verdict.findings if f.level in _SAID]
    if session.update:
        status = "new" if verdict.locked is None else "changed" if verdict.status == "fails" else verdict.status
        record.update(status="fails" if failing else status, entry=entry.to_dict())
    return Checked(result, record, failure(verdict, failing, key != test) if failing else "")


def failure(verdict: Verdict, failing: Sequence[Finding], named: bool) -> str:
    """Return why a check fails: what is too much, the first layer that differs, and the command that accepts it."""
    from archlab.report.changes import first_layer

    first, *others = failing
    lines = [f"{verdict.name}: {first.text}" if named else first.text, *(f"  {each.text}" for each in others)]
    if any(each.kind == "budget" for each in failing):
        lines.append("  a budget stands in the test; raise it there")
    lines += [f"  {line}" for line in first_layer(verdict.difference).splitlines()]
    if command := next((each.accept for each in failing if each.accept), ""):
        lines += [f"  to {'lock' if verdict.locked is None else 'accept'} what it costs now:", command]
    return "\n".join(lines)


def not_ours(traceback: TracebackType | None) -> TracebackType | None:
    """Return a traceback without the frames of archlab, which bury the line of the model that is wrong."""
    if traceback is None:
        return None
    below = not_ours(traceback.tb_next)
    if traceback.tb_frame.f_globals.get("__name__", "").partition(".")[0] == "archlab":
        return below
    return TracebackType(below, traceback.tb_frame, traceback.tb_lasti, traceback.tb_lineno)
