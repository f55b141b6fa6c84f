"""One counter run on one subject: what it returned or raised, and what it did to the model."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from archlab.errors import UsageError
from archlab.pytorch.opinions.changes import Change, Snapshot, sentences
from archlab.pytorch.opinions.subject import Subject
from archlab.pytorch.opinions.tools import TOOLS, canonical


def counted(counter: str, make: Callable[[], Subject]) -> dict[str, Any]:
    """Return an opinion as plain data; whatever a counter raises is its error.

    `make` builds the model anew each time: once for the counter, and once more where something is
    different afterwards, to see what a forward alone changes.
    """
    tool = TOOLS[counter]
    found: dict[str, Any] = {"counter": counter, "unit": tool.unit}
    try:
        subject = make()
        before = Snapshot(subject.model)
    except UsageError as error:
        return {**found, "status": "not run", "error": str(error)}
    except Exception as error:
        return {**found, "status": "crashed", "error": f"the model could not be built: {described(error)}"}
    started = time.perf_counter()
    try:
        reading = tool.run(subject)
    except UsageError as error:  # what our own side cannot ask of it
        found.update(status="not run", error=str(error))
    except Exception as error:
        found.update(status="crashed", error=described(error))
    else:
        total = reading.total
        macs = total if tool.per_mac == 1 else total // 2 if total % 2 == 0 else total / 2
        found.update(total=total, macs=macs, params=reading.params)
        found.update(layers=canonical(subject.model, reading.layers), operators=dict(reading.operators))
        found.update(unsupported=dict(reading.unsupported), also=dict(reading.also), facts=dict(reading.facts))
    found["seconds"] = time.perf_counter() - started
    changes = before.changes()
    if changes:
        changes -= _by_a_run_alone(make)
    return {**found, "changed": sentences(changes)}


def _by_a_run_alone(make: Callable[[], Subject]) -> set[Change]:
    """Return what a forward without any counter changes: that is the model's own doing."""
    subject = make()
    before = Snapshot(subject.model)
    try:
        subject.model(*subject.args, **subject.kwargs)
    except Exception:  # the counter has said so, or has broken what the model calls
        return set()
    return before.changes()


def described(error: BaseException) -> str:
    """Return an error as one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
