"""Whether this runs in CI, where no baseline is written."""

from __future__ import annotations

import os


def in_ci() -> bool:
    """Return whether the environment says that this runs in CI: CI is set, and neither empty, 0 nor false."""
    return os.environ.get("CI", "").lower() not in ("", "0", "false")
