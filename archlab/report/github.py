"""What GitHub reads of a check in a workflow: annotations, the step summary, and the outputs of a step."""

# No `from __future__ import annotations` here: its name is that of the annotations that this file writes.
from collections.abc import Mapping

from archlab.guard.findings import Check, Verdict
from archlab.report.changes import accepting, told
from archlab.report.comment import capped

SUMMARY = 1024 * 1024
"""Bytes of the summaries of a step that GitHub takes."""
SHOWN = 10
"""Annotations of each level that GitHub shows of a step."""
_LEVELS = {"fail": "error", "warn": "warning", "note": "notice"}


def annotations(check: Check) -> str:
    """Return workflow commands, a line each: one a model and level, since GitHub shows ten of a level.

    Of more models than that the last line says how many there are besides.
    """
    lines = []
    for level, command in _LEVELS.items():
        found = [verdict for verdict in check.verdicts if any(f.level == level for f in verdict.findings)]
        shown = found if len(found) <= SHOWN else found[: SHOWN - 1]
        lines += [_annotation(verdict, level) for verdict in shown]
        if rest := found[len(shown) :]:
            names = ", ".join(verdict.name for verdict in rest)
            lines.append(_command(command, {"title": f"archlab: {len(rest)} more models"}, names))
    return "".join(f"{line}\n" for line in lines)


def _annotation(verdict: Verdict, level: str) -> str:
    findings = [finding for finding in verdict.findings if finding.level == level]
    place = next((finding.place for finding in findings if finding.place), None)
    properties = {"file": place.file, "line": str(place.line)} if place else {}
    lines = [finding.text for finding in findings]
    gravest = verdict.findings[0].level == level
    if gravest:
        lines += told(verdict)
        command = accepting(verdict)
        lines += [f"accept it: {command}"] if command else []
    says = verdict.status if gravest else {"warn": "warns", "note": "notes"}[level]
    return _command(_LEVELS[level], {**properties, "title": f"archlab: {verdict.name} {says}"}, "\n".join(lines))


def _command(name: str, properties: Mapping[str, str], message: str) -> str:
    given = ",".join(f"{key}={_property(value)}" for key, value in properties.items())
    return f"::{name} {given}::{_data(message)}"


def _data(text: str) -> str:
    """Escape a message as the runner takes it apart: per cent first, then the ends of lines."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def summary(markdown: str) -> str:
    """Return markdown as a step's summary, no longer than GitHub takes."""
    return capped(markdown, SUMMARY, lambda text: len(text.encode("utf-8", "replace")))


def outputs(check: Check, written: Mapping[str, str]) -> str:
    """Return the outputs of a step: status, exit code, MACs, params and their changes, and the files `written`.

    Counts are sums over the models that could be counted, changes over those that the lock has; `written`
    gives the file of a format, "json" or "html". What there is not is empty.
    """
    values = {"status": check.status, "exit_code": str(check.exit_code)}
    for metric in ("macs", "params"):
        entries = [verdict.entry for verdict in check.verdicts if verdict.entry]
        differences = [difference for verdict in check.verdicts if (difference := verdict.difference)]
        values[metric] = str(sum(entry.total[metric] for entry in entries)) if entries else ""
        values[f"{metric}_delta"] = str(sum(d.change(metric) for d in differences)) if differences else ""
    values |= {f"report_{format}": written.get(format, "") for format in ("json", "html")}
    return "".join(_output(name, value) for name, value in values.items())


def _output(name: str, value: str) -> str:
    if "\n" not in value and "\r" not in value:
        return f"{name}={value}\n"
    end = "END"
    while end in value:
        end += "_"
    return f"{name}<<{end}\n{value}\n{end}\n"
