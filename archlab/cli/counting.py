"""How the commands of the guard count a model of the config, and find the line that runs a layer of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from archlab.errors import UsageError

if TYPE_CHECKING:
    from archlab.guard.config import Config, Model
    from archlab.guard.entry import Entry
    from archlab.guard.findings import Check, Place, Verdict


def count(model: Model) -> Entry:
    """Return the counts of a model; its files lie in the current folder."""
    from archlab import api
    from archlab.guard.entry import Entry

    graph = api.load(model.target, inputs=model.inputs, arguments=model.arguments, mode=model.mode)
    profile = api.profile(graph, mode=model.mode, convention=model.convention, backward=model.backward)
    return Entry.of(profile.to_dict(), model.target, model.arguments)


def count_configured(model: Model) -> Entry:
    """Return the counts of a model of the config; an error names its table there, not options of the command line."""
    try:
        return count(model)
    except UsageError as error:
        text = str(error)
        for option, key in _KEYS.items():
            text = text.replace(option, key)
        raise UsageError(f"[[model]] {model.name}: {text}") from None


_KEYS = {"--input ": "input = ", "--mode ": "mode = ", "--arg ": "arguments: "}
"""What the config calls options of the command line."""


def placed(check: Check, config: Config) -> Check:
    """Return a check whose findings say where to look.

    That is, of a failure or a warning, the line of the model's forward that runs the first layer which
    differs, where it lies in the project; else the model's line in the config. The config's folder is
    the current one.
    """
    root = _root(config.path.parent)
    return replace(check, verdicts=tuple(_placed(verdict, config, root) for verdict in check.verdicts))


def _placed(verdict: Verdict, config: Config, root: Path) -> Verdict:
    from archlab.guard.findings import Place

    grave = any(finding.level != "note" for finding in verdict.findings)
    model, difference = verdict.model, verdict.difference
    first = difference.first if difference and grave else None
    place = _line(model, first.new.name, root) if model and first and first.new else None
    if place is None:
        place = Place(config.path.relative_to(root).as_posix(), max(1, model.line if model else 1))
    return replace(verdict, findings=tuple(replace(finding, place=place) for finding in verdict.findings))


def _line(model: Model, layer: str, root: Path) -> Place | None:
    """Return the line that runs a layer of a model, None where no file of the project does."""
    from archlab import api
    from archlab.guard.findings import Place
    from archlab.sources.target import names_model

    if not names_model(model.target):
        return None
    from archlab.pytorch.lines import noting_lines
    from archlab.sources.definitions import definition

    with noting_lines(root):
        graph = api.load(model.target, inputs=model.inputs, arguments=model.arguments, mode=model.mode)
    source = next((node.source for node in graph.nodes if node.name == layer), None)
    places = [(source.file, source.line)] if source and source.file else []
    defined = definition(model.target)
    places += [defined] if defined else []
    for file, line in places:
        path = Path(file).resolve()
        if path.is_relative_to(root):
            return Place(path.relative_to(root).as_posix(), line)
    return None


def _root(folder: Path) -> Path:
    """Return the folder of the repository that a folder lies in, or the folder itself."""
    return next((place for place in (folder, *folder.parents) if (place / ".git").exists()), folder)
