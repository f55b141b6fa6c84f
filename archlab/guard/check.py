"""A check: every model against its budget and the lock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from archlab.errors import ArchlabError
from archlab.guard.budgets import NO_GROWTH, Limits
from archlab.guard.config import Config, Model
from archlab.guard.difference import WORDS, Difference
from archlab.guard.entry import Entry
from archlab.guard.findings import Check, Finding, Verdict
from archlab.guard.lock import Lock
from archlab.guard.quantities import at_least

Counter = Callable[[Model], Entry]
"""Counts a model; raises an `ArchlabError` where it cannot be built or traced."""

_CODES = {"budget": 1, "growth": 1, "missing": 5, "stale": 5, "incomplete": 4}
"""What each kind of finding means for the exit code where it fails; an ``error`` brings its own."""


@dataclass(frozen=True)
class Accept:
    """How the commands that accept a change are spelled: their words in front of a model's name."""

    lock: Callable[[str], str]
    budgets: Callable[[str], str]
    all: str
    locked: str


def check(
    config: Config,
    lock: Lock | None,
    models: Sequence[Model],
    count: Counter,
    accept: Accept,
    strict: bool = False,
    tight: bool = False,
) -> Check:
    """Return the verdict on each of the `models`, and on what the lock has that no model of the config is.

    Improvements are notes; with `tight` a lock that could be tighter is stale. With `strict` an
    incomplete count fails.
    """
    verdicts = []
    for model in models:
        locked = lock.models.get(model.name) if lock else None
        try:
            entry = count(model)
        except ArchlabError as error:
            said = Finding("fail", "error", " ".join(str(error).split()), code=error.exit_code)
            verdicts.append(Verdict(model.name, model, None, locked, (said,)))
            continue
        verdicts.append(judge(model, entry, locked, config, accept, strict, tight))
    named = {model.name for model in config.models}
    if len(models) == len(named):
        for name in (name for name in (lock.models if lock else ()) if name not in named):
            text = f"the lock has {name!r}, which {config.path.name} has not"
            said = Finding("fail", "stale", text, accept=accept.all, code=_CODES["stale"])
            verdicts.append(Verdict(name, None, None, lock.models[name] if lock else None, (said,)))
    return Check(tuple(verdicts))


def judge(
    model: Model,
    entry: Entry,
    locked: Entry | None,
    config: Config,
    accept: Accept,
    strict: bool = False,
    tight: bool = False,
) -> Verdict:
    """Return the verdict on one model, its counts and its entry in the lock."""
    verdict = Verdict(model.name, model, entry, locked)
    budget = config.budget(model.name)
    found = [
        *over_budget(entry, budget.fail, "fail", accept.budgets(model.name)),
        *over_budget(entry, budget.warn, "warn", accept.budgets(model.name)),
        *_against_lock(verdict, budget.fail, budget.warn, accept),
    ]
    if strict and (entry.uncounted or entry.assumed):
        found.append(_found("fail", "incomplete", _incomplete(entry)))
    difference = verdict.difference
    if difference is not None and difference.old != difference.new:
        found.extend(_notes(difference, budget.fail, accept.lock(model.name), tight))
    order = ("fail", "warn", "note")
    once = {(f.kind, f.metric): f for f in sorted(found, key=lambda f: order.index(f.level), reverse=True)}
    return replace(verdict, findings=tuple(sorted(once.values(), key=lambda f: order.index(f.level))))


def _found(level: str, kind: str, text: str, metric: str = "", accept: str = "") -> Finding:
    return Finding(level, kind, text, metric, accept, _CODES.get(kind, 0))


def over_budget(entry: Entry, limits: Limits, level: str, accept: str) -> list[Finding]:
    """Return a finding of that level for each limit that an entry breaks."""
    found = []
    for metric, limit in limits.limits.items():
        value = entry.total.get(metric)
        if value is not None and not limit.allows(value):
            over = f"{value - limit.most:,} over the budget of {limit.most:,} ({limit.text})"
            found.append(_found(level, "budget", f"{_word(metric)} {value:,} is {over}", metric, accept))
    return found


def _against_lock(verdict: Verdict, fail: Limits, warn: Limits, accept: Accept) -> list[Finding]:
    entry, locked = verdict.entry, verdict.locked
    assert entry is not None
    command = accept.lock(verdict.name)
    if locked is None:
        return [_found("fail", "missing", f"{accept.locked} has no entry for {verdict.name!r}", accept=command)]
    difference = verdict.difference
    if difference is None:
        ways = [
            (word, locked.way[word], entry.way[word]) for word in entry.way if entry.way[word] != locked.way[word]
        ]
        said = "; ".join(f"{word} {_plain(old)}, now {_plain(new)}" for word, old, new in ways)
        pairs = ((metric, locked.total[metric], entry.total[metric]) for metric in ("macs", "params"))
        costs = ", ".join(f"{_word(metric)} {old:,}, now {new:,}" for metric, old, new in pairs)
        return [_found("fail", "stale", f"the lock was counted otherwise: {said}; {costs}", accept=command)]
    found = []
    for metric, (old, new) in difference.totals.items():
        if new <= old:
            continue
        allowed = fail.growth(metric) or NO_GROWTH
        text = f"{_word(metric)} {old:,} → {new:,}, {grown(old, new)}"
        warned = warn.growth(metric)
        if not allowed.allows(old, new):
            most = "" if allowed is NO_GROWTH else f"; {allowed.text} allows {allowed.most(old):,}"
            found.append(_found("fail", "growth", text + most, metric, command))
        elif warned is not None and not warned.allows(old, new):
            found.append(_found("warn", "growth", f"{text}; the budget warns beyond {warned.text}", metric, command))
        else:
            found.append(_found("note", "growth", f"{text}; {allowed.text} allows it", metric, command))
    return found


def _notes(difference: Difference, limits: Limits, accept: str, tight: bool) -> list[Finding]:
    """Return what improved and how far budgets can be tightened, or that the cost only moved."""
    fell = {metric: pair for metric, pair in difference.totals.items() if pair[1] < pair[0]}
    found = []
    for metric, (old, new) in fell.items():
        text = f"{_word(metric)} {old:,} → {new:,}, {grown(old, new)}"
        limit = limits.limits.get(metric)
        if limit is not None and limit.most > new:
            text += f"; the budget can be tightened from {limit.text} to <= {at_least(new, metric)}"
        found.append(_found("note", "tighten", text, metric, accept))
    if difference.unchanged:
        found.append(
            _found("note", "moved", "every count is the same, layers have other names, ops or outputs", "", accept)
        )
    elif not fell and all(old == new for old, new in difference.totals.values()):
        layers = f"{len(difference.changed)} layer{'s' * (len(difference.changed) != 1)}"
        found.append(_found("note", "moved", f"the totals are the same, {layers} cost something else", "", accept))
    if tight and found:
        found.append(_found("fail", "stale", "the lock can be tightened", accept=accept))
    return found


def grown(old: int, new: int) -> str:
    """Return how a count changed: by how many, and by which share of what it was."""
    if not old:
        return f"{new - old:+,}"
    percent = 100 * (new - old) / old
    return f"{new - old:+,} ({percent:+,.2f} %)" if abs(percent) >= 0.01 else f"{new - old:+,} ({percent:+.1g} %)"


def _incomplete(entry: Entry) -> str:
    parts = [
        f"{word} {', '.join(f'{name} ({times}×)' for name, times in found.items())}"
        for word, found in (("uncounted", entry.uncounted), ("assumed", entry.assumed))
        if found
    ]
    return f"the count is incomplete: {'; '.join(parts)}"


def _word(metric: str) -> str:
    return WORDS.get(metric, metric)


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {text}" for key, text in value.items()) or "none"
    return str(value)
