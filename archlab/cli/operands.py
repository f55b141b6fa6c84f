"""What `diff` and `bisect` are given: files, targets, revisions and ranges, and the models to count in them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archlab.errors import UsageError, nearest

if TYPE_CHECKING:
    from archlab.guard.config import Config, Model
    from archlab.guard.entry import Entry
    from archlab.guard.revisions import Repository, Revision
    from archlab.measurements import Timing

TREE = "working tree"


@dataclass(frozen=True)
class Operand:
    """One side as it was typed: what a file says already, a revision, or a target; else the working tree.

    `timing` is what a profile's JSON says of a measurement, None where nothing was measured.
    """

    text: str = TREE
    entries: Mapping[str, Entry] | None = None
    target: bool = False
    revision: Revision | None = None
    timing: Timing | None = None


@dataclass(frozen=True)
class Project:
    """Where the command runs: the folder, the config if there is one, and how targets are to be counted."""

    folder: Path
    config: Config | None
    way: Callable[[str], Model]
    explicit: bool = False
    targets: Sequence[str] = field(default=())

    @cached_property
    def repository(self) -> Repository:
        """The repository that the folder lies in; raise `UsageError` where there is none."""
        from archlab.guard.revisions import Repository

        return Repository.of(self.folder)

    def models(self, revision: Revision | None) -> tuple[Model, ...]:
        """Return the models to count: those named, or all of the revision's own config, or of the present one."""
        config = self.config if revision is None else self._config_of(revision)
        known = {model.name: model for model in config.models} if config else {}
        if self.targets:
            return tuple(known.get(text) or self.way(text) for text in self.targets)
        if config is None:
            raise UsageError(
                "which models? there is no archlab.toml; name them behind the range: archlab diff main..HEAD TARGET"
            )
        return tuple(known.values())

    def _config_of(self, revision: Revision) -> Config | None:
        from archlab.guard.config import CONFIG_FILE, PYPROJECT, config_of

        names = (self.config.path.name,) if self.explicit and self.config else (CONFIG_FILE, PYPROJECT)
        for name in names:
            text = self.repository.show(revision, name)
            try:
                found = None if text is None else config_of(text, self.folder / name)
            except UsageError as error:
                raise UsageError(f"{revision.name}: {error}") from None
            if found is not None:
                return found
        return self.config


def project(given: str | None, targets: Sequence[str], way: Callable[[str], Model]) -> Project:
    """Return the project that the current folder belongs to; targets count from the current folder."""
    from archlab.guard.config import find_config, nearest_config

    config = nearest_config(Path.cwd()) if given is None else find_config(Path.cwd(), given)
    named = {model.name for model in config.models} if config else set()
    from_here = config is None or (targets and not named.intersection(targets))
    folder = Path.cwd() if from_here or config is None else config.path.parent
    return Project(folder, config, way, given is not None, targets)


def operand(text: str, repository: Callable[[], Repository]) -> Operand:
    """Return what a text stands for: a file, a TARGET or a revision, in that order; raise `UsageError`."""
    from archlab.guard.revisions import no_range

    if os.path.isfile(text):
        return Operand(text, _entries(Path(text)), target=True, timing=_timing(Path(text)))
    if is_target(text):
        return Operand(text, target=True)
    if said := no_range(text):
        raise UsageError(said)
    try:
        found = repository()
    except UsageError as error:
        raise UsageError(f"{text!r} is no file, nor a TARGET{_near(text)}, and as for revisions: {error}") from None
    revision = found.find(text)
    if revision is None:
        try:
            found.resolve(text)
        except UsageError as error:
            raise UsageError(f"{error}; nor is it a file or a TARGET{_near(text)}") from None
    return Operand(text, revision=revision)


def is_target(text: str) -> bool:
    """Return whether a text is a TARGET by its form: a model's, a file's, or a name of the zoo."""
    from archlab.sources.target import names_model, parse
    from archlab.zoo.catalog import ARCHITECTURES

    try:
        source = parse(text).source
    except UsageError:
        return False
    named = names_model(source) and not source.startswith((":", "HEAD:", "@:"))
    return named or source in ARCHITECTURES or os.path.isfile(source)


def _near(text: str) -> str:
    from archlab.zoo.catalog import ARCHITECTURES

    return nearest(text, ARCHITECTURES)


def _entries(path: Path) -> Mapping[str, Entry] | None:
    """Return what a lock file or a profile's JSON says, None for any other file."""
    from archlab.guard.entry import PROFILE, Entry
    from archlab.guard.lock import SCHEMA, Lock

    data = _data(path)
    schema = data.get("schema")
    if schema == SCHEMA:
        return Lock.of(path.read_text(encoding="utf-8"), str(path)).models
    if schema == PROFILE:
        entry = Entry.of(data)
        return {entry.target: entry}
    return None


def _timing(path: Path) -> Timing | None:
    """Return what a profile's JSON says of a measurement, None for any other file."""
    from archlab.guard.entry import PROFILE
    from archlab.measurements import Timing

    data = _data(path)
    return Timing.of(data) if data.get("schema") == PROFILE else None


def _data(path: Path) -> dict[str, Any]:
    """Return the object that a JSON file holds, an empty one for any other file."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}
