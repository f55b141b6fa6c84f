"""Rendering the reports into a folder, and finding those that no longer say what the code says."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from archlab.errors import OutputError
from archlab.files import write
from archlab.report.formats import render
from archlab.report.table import Document
from archlab.studies.ablations import study as googlenet_ablations
from archlab.studies.auxiliary import study as auxiliary_classifiers
from archlab.studies.googlenet import study as googlenet
from archlab.studies.reduction import study as one_by_one_reduction
from archlab.studies.table_1 import study as paper_table_1

STUDIES: Mapping[str, Callable[[], Document]] = {
    "googlenet.md": googlenet,
    "1x1-reduction.md": one_by_one_reduction,
    "googlenet-ablations.md": googlenet_ablations,
    "paper-table-1.md": paper_table_1,
    "auxiliary-classifiers.md": auxiliary_classifiers,
}
"""Every report by its file name."""


def render_all(folder: str | os.PathLike[str], format: str = "markdown") -> list[Path]:
    """Render every report into a folder, made if it is missing, and return the paths written.

    Raises `OutputError` if the folder cannot be made or a file cannot be written.
    """
    texts = dict(_texts(format))
    home = Path(folder)
    try:
        home.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OutputError(
            f"cannot make the folder {os.fspath(folder)}: {reason}; choose another with --output"
        ) from None
    for name, text in texts.items():
        write(home / name, text)
    return [home / name for name in texts]


def stale(folder: str | os.PathLike[str], format: str = "markdown") -> list[str]:
    """Return the names of the reports that are missing in a folder or differ from what is rendered now.

    Raises `OutputError` for one that is there and cannot be read.
    """
    return [name for name, text in _texts(format) if _read(Path(folder) / name) != text.encode()]


def _texts(format: str) -> Iterator[tuple[str, str]]:
    """Return each report's file name and text as markdown or html."""
    for name, study in STUDIES.items():
        renamed = name.replace(".md", ".html") if format == "html" else name
        yield renamed, render(study(), format)


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise OutputError(f"cannot read {path}: {error.strerror or error}; render it anew: archlab report") from None
