"""How `diff` and `bisect` count: revisions all at once, the working tree here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import chdir
from dataclasses import replace
from typing import TYPE_CHECKING

from archlab.cli.operands import Operand, Project
from archlab.errors import ArchlabError, ReadError, UsageError

if TYPE_CHECKING:
    from archlab.guard.config import Model
    from archlab.guard.revisions import Repository, Revision
    from archlab.guard.runs import Outcome
    from archlab.guard.sides import Counted, Side


def sides(
    project: Project, operands: Sequence[Operand], show: Callable[[str], None], way: Callable[[str], Model]
) -> list[Side]:
    """Return the two sides counted: all revisions at once, the working tree here."""
    from archlab.guard.sides import Side

    jobs = {
        place: (each.revision, project.models(each.revision))
        for place, each in enumerate(operands)
        if each.revision is not None
    }
    counts = in_revisions(project.repository, list(jobs.values()), show) if jobs else []
    found = dict(zip(jobs, counts, strict=True))
    result = []
    for place, each in enumerate(operands):
        if each.revision is not None:
            result.append(Side(each.revision.name, found[place], each.revision))
        elif each.entries is not None:
            result.append(Side(each.text, each.entries))
        elif each.target:
            result.append(Side(each.text, here([way(each.text)], show)))
        else:
            with chdir(project.folder):
                result.append(Side(each.text, here(project.models(None), show)))
    return _narrowed(operands, result)


def _narrowed(operands: Sequence[Operand], sides: list[Side]) -> list[Side]:
    """Return the sides; where one has a single model by its nature, the other with the model that it stands for."""
    for place in (0, 1):
        one, other = sides[place], sides[1 - place]
        if operands[place].target and len(one.models) == 1 < len(other.models):
            ((name, counted),) = one.models.items()
            alike = [
                each for each, found in other.models.items() if each == name or _target(found) == _target(counted)
            ]
            if not alike:
                raise UsageError(f"{other.name} has no model {name!r} (models: {', '.join(other.models)})")
            chosen = name if name in alike else alike[0]
            sides[place] = replace(one, models={chosen: counted})
            sides[1 - place] = replace(other, models={chosen: other.models[chosen]})
    return sides


def _target(counted: Counted) -> str | None:
    return getattr(counted, "target", None)


def here(models: Sequence[Model], show: Callable[[str], None]) -> dict[str, Counted]:
    """Return what models cost in the current folder as it is now."""
    from archlab.cli.counting import count
    from archlab.guard.runs import Failure

    found: dict[str, Counted] = {}
    for number, model in enumerate(models):
        show(f"counting {model.name} ({number} of {len(models)} done)")
        try:
            found[model.name] = count(model)
        except ArchlabError as error:
            found[model.name] = Failure(" ".join(str(error).split()), error.exit_code)
    return found


def in_revisions(
    repository: Repository, wanted: Sequence[tuple[Revision, Sequence[Model]]], show: Callable[[str], None]
) -> list[dict[str, Counted]]:
    """Return what models cost in each revision, all of them counted at once."""
    from archlab.guard.history import counted

    def told(now: Sequence[Revision], done: int, total: int) -> None:
        show(f"counting {', '.join(revision.short for revision in now)} ({done} of {total} revisions done)")

    jobs: dict[Revision, dict[str, Mapping[str, object]]] = {}
    for revision, models in wanted:
        jobs.setdefault(revision, {}).update({model.name: model.to_dict() for model in models})
    found = counted(repository, {revision: list(each.values()) for revision, each in jobs.items()}, told)
    return [
        {model.name: _counted(found[revision][model.name], model) for model in models} for revision, models in wanted
    ]


def _counted(outcome: Outcome, model: Model) -> Counted:
    """Return what a model costs; a profile that says too little, of an archlab long ago, is no count."""
    from archlab.guard.entry import Entry
    from archlab.guard.runs import Failure

    if isinstance(outcome, Failure):
        return outcome
    try:
        return Entry.of(outcome, model.target, model.arguments)
    except ReadError as error:
        return Failure(str(error), error.exit_code)
