"""A check as JUnit XML: a suite a model, a case for the build, one for the lock, one for each limit of its budget."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from xml.etree import ElementTree as ET

from archlab.guard.budgets import Limit
from archlab.guard.config import Config
from archlab.guard.findings import Check, Finding, Verdict
from archlab.report.changes import accepting, listed, told

_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold, not even escaped."""
_COUNTED = ("failure", "error", "skipped")


def render(check: Check, config: Config) -> str:
    """Return a check as JUnit XML; `config` names the limits, those kept, too."""
    suites = ET.Element("testsuites", name="archlab check")
    for verdict in check.verdicts:
        suite = ET.SubElement(suites, "testsuite", name=_legal(verdict.name))
        for case in _cases(verdict, config):
            case.set("classname", _legal(verdict.name))
            suite.append(case)
        _count(suite)
    _count(suites)
    ET.indent(suites, " ")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ET.tostring(suites, encoding="unicode")}\n'


def _count(element: ET.Element) -> None:
    cases = list(element.iter("testcase"))
    element.set("tests", str(len(cases)))
    for word in _COUNTED:
        element.set({"failure": "failures", "error": "errors"}.get(word, word), str(len(list(element.iter(word)))))


def _cases(verdict: Verdict, config: Config) -> Iterator[ET.Element]:
    if verdict.model is None:
        yield _case("lock", verdict, verdict.findings)
        return
    yield _case("build", verdict, [f for f in verdict.findings if f.kind in ("error", "incomplete")], _gaps(verdict))
    if verdict.entry is None:
        yield _skipped("lock", "the model could not be counted")
    else:
        rest = [f for f in verdict.findings if f.kind not in ("error", "incomplete", "budget")]
        yield _case("lock", verdict, rest)
    budget = config.budget(verdict.name)
    for level, limits in (("fail", budget.fail), ("warn", budget.warn)):
        for metric, limit in limits.limits.items():
            yield _limit(verdict, level, metric, limit)


def _limit(verdict: Verdict, level: str, metric: str, limit: Limit) -> ET.Element:
    name = f"budget {'' if level == 'fail' else f'{level} '}{metric} {limit.text}"
    if verdict.entry is None:
        return _skipped(name, "the model could not be counted")
    value = verdict.entry.total.get(metric)
    if value is None:
        return _skipped(name, f"{metric} is not counted of this model")
    found = [f for f in verdict.findings if (f.kind, f.metric, f.level) == ("budget", metric, level)]
    kept = f"{metric} is {value:,}, of {limit.most:,} allowed"
    over = f"{metric} is {value:,}, over the {limit.most:,} that the budget warns of"
    return _case(name, verdict, found, "" if found else kept if limit.allows(value) else over)


def _case(name: str, verdict: Verdict, findings: Sequence[Finding], output: str = "") -> ET.Element:
    """Return a case that fails by what is grave among the findings; the rest and `output` is what it prints."""
    case = ET.Element("testcase", name=_legal(name))
    grave = [finding for finding in findings if finding.level == "fail"]
    if grave:
        lines = [finding.text for finding in grave]
        error = grave[0].kind == "error"
        if not error:
            command = accepting(verdict)
            lines += [*told(verdict), *([f"to accept it: {command}"] if command else [])]
        tag = ET.SubElement(case, "error" if error else "failure", type=grave[0].kind, message=_legal(grave[0].text))
        tag.text = _legal("\n".join(lines))
    said = [f"{ {'warn': 'warning'}.get(f.level, f.level) }: {f.text}" for f in findings if f.level != "fail"]
    if said or output:
        ET.SubElement(case, "system-out").text = _legal("\n".join([*said, *([output] if output else [])]))
    return case


def _skipped(name: str, why: str) -> ET.Element:
    case = ET.Element("testcase", name=_legal(name))
    ET.SubElement(case, "skipped", message=why)
    return case


def _gaps(verdict: Verdict) -> str:
    """Return what has no exact count."""
    if verdict.entry is None:
        return ""
    return "\n".join(f"{word}: {text}" for word in ("uncounted", "assumed") if (text := listed(verdict.entry, word)))


def _legal(text: str) -> str:
    """Return a text without what XML cannot hold; that is named by its number instead."""
    return _ILLEGAL.sub(lambda found: f"\\x{ord(found[0]):02x}", text).replace("\r", "\\x0d")
