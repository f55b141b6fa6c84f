"""The list of what there is to ask about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from archlab.report.table import Column, Document, Table

Entry = tuple[str, str, str]
"""Name, one sentence, source."""


def catalog_document(architectures: Sequence[Entry], ablations: Sequence[Entry]) -> Document:
    """Return the architectures and the ablations, each with its sentence and source."""
    heads = [
        (Column(first, key=first), Column("what it is", key="summary"), Column("source", key="source"))
        for first in ("architecture", "ablation")
    ]
    heads[1] = (heads[1][0], Column("what it claims", key="claim"), heads[1][2])
    return Document("", (Table(heads[0], architectures), Table(heads[1], ablations)))


def catalog_data(architectures: Sequence[Entry], ablations: Sequence[Entry]) -> dict[str, Any]:
    """Return the same as plain data, schema ``archlab.list/1``."""
    return {
        "schema": "archlab.list/1",
        "architectures": [{"name": n, "summary": text, "source": source} for n, text, source in architectures],
        "ablations": [{"name": n, "claim": text, "source": source} for n, text, source in ablations],
    }
