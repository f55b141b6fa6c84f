"""Results as data: CSV text and pandas frames, raw values without rounding."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from archlab.report.table import Document

if TYPE_CHECKING:
    import pandas

    from archlab.profiles import Profile


def render_csv(document: Document) -> str:
    """Return the data table of a document as CSV: one header line, raw values, no total row."""
    table = document.data or document.tables[0]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([column.key or column.title for column in table.columns])
    writer.writerows(table.rows)
    return out.getvalue()


def profile_frame(profile: Profile) -> pandas.DataFrame:
    """Return a frame with a row a layer: name, op, output shape, every count, and each operation class."""
    import pandas

    rows = []
    for layer in profile.layers:
        row = layer.to_dict()
        operations = row.pop("operations")
        for nested in ("formulas", "gradients"):
            row.pop(nested, None)
        rows.append({**row, **operations})
    return pandas.DataFrame(rows)
