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
import warnings

_SPARE = 10


def main() -> None:
    """Run one counter on one job, and say what it said and did."""
    result = os.dup(1)
    os.dup2(2, 1)
    counter, job, seconds = pickle.load(sys.stdin.buffer)  # what our own process has written, never a user's file
    if hasattr(signal, "alarm"):
        signal.alarm(int(seconds) + _SPARE)  # should the process that waits for this one be gone
    warnings.simplefilter("ignore")
    from archlab.pytorch.opinions.counting import counted
    from archlab.pytorch.opinions.subject import subject

    found = counted(counter, lambda: subject(job))
    with os.fdopen(result, "w", encoding="utf-8") as file:
        json.dump(found, file)


if __name__ == "__main__":
    main()
