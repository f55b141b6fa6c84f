"""Numbers that others published or that were computed independently of archlab; README.md says whose."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ORACLE: dict[str, Any] = json.loads((Path(__file__).parent / "oracle.json").read_text(encoding="utf-8"))
