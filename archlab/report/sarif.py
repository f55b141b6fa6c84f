"""A check as SARIF 2.1.0, for code scanning and editors: a rule a kind of finding, a result a finding."""

from __future__ import annotations

import hashlib
import json
import os
from typing import Any
from urllib.parse import quote

from archlab.guard.findings import Check, Finding, Place, Verdict
from archlab.guard.lock import LOCK_FILE
from archlab.report.changes import accepting, first_layer, installed

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVELS = {"fail": "error", "warn": "warning", "note": "note"}
RULES: dict[str, tuple[str, str, str]] = {
    "budget": ("OverBudget", "error", "A model costs more than its budget allows."),
    "growth": ("Growth", "error", "A model costs more than the lock says."),
    "missing": ("MissingFromLock", "error", "The lock has no entry of a model."),
    "stale": (
        "StaleLock",
        "error",
        "The lock has an entry that no model of the config is, or that was counted otherwise.",
    ),
    "incomplete": ("IncompleteCount", "error", "Something ran in a model that has no exact count."),
    "error": ("NotCounted", "error", "A model cannot be built, read or traced."),
    "tighten": (
        "Improvement",
        "note",
        "A model costs less than the lock says, and lock and budget can be tightened.",
    ),
    "moved": ("CostMoved", "note", "A model costs what the lock says, but its layers do not."),
}
"""Each kind of finding: its name, its level unless a result says otherwise, and what it means."""


def render(check: Check) -> str:
    """Return a check as a SARIF log with one run."""
    driver: dict[str, Any] = {
        "name": "archlab",
        "rules": [_rule(kind) for kind in RULES],
    }
    if found := installed("archlab"):
        driver["version"] = found
    results = [_result(verdict, finding) for verdict in check.verdicts for finding in verdict.findings]
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    text = json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=1, ensure_ascii=False)
    return f"{text.encode('utf-8', 'backslashreplace').decode()}\n"


def _rule(kind: str) -> dict[str, Any]:
    name, level, text = RULES[kind]
    return {
        "id": kind,
        "name": name,
        "shortDescription": {"text": text},
        "fullDescription": {"text": text},
        "defaultConfiguration": {"level": level},
    }


def _result(verdict: Verdict, finding: Finding) -> dict[str, Any]:
    difference = verdict.difference
    layer = difference.first.name if difference and difference.first else ""
    command = finding.accept and accepting(verdict)
    lines = [f"{verdict.name}: {finding.text}", *first_layer(difference).splitlines()]
    lines += [f"To accept it: {command}"] if command else []
    return {
        "ruleId": finding.kind,
        "ruleIndex": list(RULES).index(finding.kind),
        "level": _LEVELS[finding.level],
        "message": {"text": "\n".join(lines)},
        "locations": [_location(verdict.name, layer, finding.place or Place(LOCK_FILE, 1))],
        "partialFingerprints": {"archlab/v1": _fingerprint(verdict.name, finding.kind, finding.metric, layer)},
        "properties": {"model": verdict.name, "metric": finding.metric or None, "accept": command or None},
    }


def _location(model: str, layer: str, place: Place) -> dict[str, Any]:
    name = {"fullyQualifiedName": f"{model}/{layer}" if layer else model, "kind": "module"}
    return {
        "physicalLocation": {
            "artifactLocation": {"uri": quote(os.fsencode(place.file)), "uriBaseId": "%SRCROOT%"},
            "region": {"startLine": max(1, place.line)},
        },
        "logicalLocations": [{"name": layer or model, **name}],
    }


def _fingerprint(*parts: str) -> str:
    """Return what stays the same while the same thing is wrong, whatever the numbers are."""
    return hashlib.sha256("\0".join(parts).encode("utf-8", "backslashreplace")).hexdigest()
