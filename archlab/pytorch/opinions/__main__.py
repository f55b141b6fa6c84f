"""The process of one counter: reads a job, builds the model, counts, and writes the opinion as JSON.

It is started by `runner`, which says on standard input what to do; what tools print goes to standard
error, so that standard output holds nothing but the result.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import sys
import time
import warnings
from typing import Any

from archlab.errors import UsageError

_SPARE = 10


def main() -> None:
    """Run one counter on one job, and say what it said and did."""
    result = os.dup(1)
    os.dup2(2, 1)
    counter, job, seconds = pickle.load(sys.stdin.buffer)  # what our own process has written, never a user's file
    if hasattr(signal, "alarm"):
        signal.alarm(int(seconds) + _SPARE)  # should the process that waits for this one be gone
    warnings.simplefilter("ignore")
    found = run(counter, job)
    with os.fdopen(result, "w", encoding="utf-8") as file:
        json.dump(found, file)


def run(counter: str, job: Any) -> dict[str, Any]:
    """Return an opinion as plain data; whatever a counter raises is its error."""
    from archlab.pytorch.opinions.changes import Snapshot, sentences
    from archlab.pytorch.opinions.subject import subject
    from archlab.pytorch.opinions.tools import TOOLS, canonical

    tool = TOOLS[counter]
    found: dict[str, Any] = {"counter": counter, "unit": tool.unit}
    try:
        given = subject(job)
        before = Snapshot(given.model)
    except Exception as error:
        return {**found, "status": "crashed", "error": f"the model could not be built: {described(error)}"}
    started = time.perf_counter()
    try:
        reading = tool.run(given)
    except UsageError as error:  # what our own side cannot ask of it
        found.update(status="not run", error=str(error))
    except Exception as error:
        found.update(status="crashed", error=described(error))
    else:
        total = reading.total
        macs = total if tool.per_mac == 1 else total // 2 if total % 2 == 0 else total / 2
        layers = canonical(given.model, reading.layers)
        found.update(total=total, macs=macs, params=reading.params, layers=layers)
        found.update(operators=reading.operators, unsupported=reading.unsupported, also=reading.also)
    found["seconds"] = time.perf_counter() - started
    changes = before.changes()
    if changes:
        changes -= _by_a_run_alone(job)
    return {**found, "changed": sentences(changes)}


def _by_a_run_alone(job: Any) -> set[tuple[str, str, str]]:
    """Return what a forward without any counter changes: that is the model's own doing."""
    from archlab.pytorch.opinions.changes import Snapshot
    from archlab.pytorch.opinions.subject import subject

    given = subject(job)
    before = Snapshot(given.model)
    try:
        given.model(*given.args, **given.kwargs)
    except Exception:  # the counter has said so, or has broken what the model calls
        return set()
    return before.changes()


def described(error: BaseException) -> str:
    """Return an error as one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


if __name__ == "__main__":
    main()
