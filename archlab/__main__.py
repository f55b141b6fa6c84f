"""The door: `archlab` and `python -m archlab` come in here, and an interrupt at any moment ends with 130."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

INTERRUPTED = 130
_seen: list[int] = []


def main() -> None:
    """Run the command line; whatever swallows an interrupt, the process ends as interrupted."""
    signal.signal(signal.SIGINT, _interrupt)
    code: object = 0
    try:
        from archlab.cli import main as run

        run()
    except SystemExit as end:
        code = end.code
    except KeyboardInterrupt:
        sys.stderr.write("error: interrupted\n")
        code = INTERRUPTED
    if not _seen:
        sys.exit(code)  # type: ignore[arg-type]
    if code != INTERRUPTED:
        sys.stderr.write("error: interrupted\n")
    sys.stderr.flush()
    os._exit(INTERRUPTED)  # Python would end itself by the signal if the interrupt had passed through an exec()


def _interrupt(number: int, frame: FrameType | None) -> None:
    _seen.append(number)
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
