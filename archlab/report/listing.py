"""The list of what there is to ask about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from archlab.analyses.hardware import machines
from archlab.report.numbers import in_rate
from archlab.report.table import Column, Document, Table

Entry = tuple[str, str, str]
"""Name, one sentence, source."""


def catalog_document(architectures: Sequence[Entry], ablations: Sequence[Entry]) -> Document:
    """Return the architectures and the ablations, each with its sentence and source, and the machines."""
    heads = [
        (Column(first, key=first), Column("what it is", key="summary"), Column("source", key="source"))
        for first in ("architecture", "ablation")
    ]
    heads[1] = (heads[1][0], Column("what it claims", key="claim"), heads[1][2])
    return Document("", (Table(heads[0], architectures), Table(heads[1], ablations), hardware_table()))


def hardware_table() -> Table:
    """Return the machines that --hardware knows: their highest peaks, the bandwidth, and who says so."""
    heads = (
        Column("hardware", key="hardware"),
        Column("what it is", key="title"),
        Column("peaks", key="rates"),
        Column("source", key="source"),
    )
    rows = []
    for name, machine in machines().items():
        shown = [dtype for dtype in ("float32", "bfloat16") if dtype in machine.rates]
        peaks = [f"{dtype} {in_rate(machine.rates[dtype], 'FLOP/s')}" for dtype in shown]
        rows.append((name, machine.title, ", ".join([*peaks, in_rate(machine.bandwidth, "B/s")]), machine.source))
    return Table(heads, rows)


def catalog_data(architectures: Sequence[Entry], ablations: Sequence[Entry]) -> dict[str, Any]:
    """Return the same as plain data, schema ``archlab.list/1``."""
    return {
        "schema": "archlab.list/1",
        "architectures": [{"name": n, "summary": text, "source": source} for n, text, source in architectures],
        "ablations": [{"name": n, "claim": text, "source": source} for n, text, source in ablations],
        "hardware": [machine.to_dict() for machine in machines().values()],
    }
