"""How `bisect` counts the revisions that its search asks for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from archlab.cli.operands import Project
from archlab.cli.sides import in_revisions
from archlab.errors import ReadError, UsageError

if TYPE_CHECKING:
    from archlab.guard.found import Found
    from archlab.guard.revisions import Revision
    from archlab.guard.sides import Counted


def search(project: Project, span: str, metric: str, show: Callable[[str], None]) -> Found:
    """Return where a metric of the project's one target left its good side in a range.

    Raises `UsageError` for a range whose ends do not follow each other, `ReadError` where one cannot be counted.
    """
    from archlab.guard.bisect import bisect
    from archlab.guard.found import Found
    from archlab.guard.history import cpus
    from archlab.guard.runs import Failure

    good, bad = project.repository.ends(span)
    (model,) = project.models(bad)
    line = [good, *project.repository.between(good, bad)]
    known: dict[Revision, Counted] = {}

    def counts(revisions: Sequence[Revision]) -> dict[Revision, int | None]:
        found = in_revisions(project.repository, [(revision, (model,)) for revision in revisions], show)
        known.update((revision, each[model.name]) for revision, each in zip(revisions, found, strict=True))
        values: dict[Revision, int | None] = {}
        for revision in revisions:
            counted = known[revision]
            values[revision] = None if isinstance(counted, Failure) else counted.total.get(metric)
        return values

    for end, value in counts(list(dict.fromkeys((good, bad)))).items():
        counted = known[end]
        if isinstance(counted, Failure):
            raise ReadError(f"{end.name} cannot be counted: {counted.message}")
        if value is None:
            raise UsageError(f"--metric {metric}: {model.name} has none; see --backward and --convention")
    return Found(model.name, metric, (good, bad), len(line) - 1, bisect(counts, line, cpus()), known)
