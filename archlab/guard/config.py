"""`Config`: which models a project guards and what they may cost, from archlab.toml or pyproject.toml."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from archlab.errors import UsageError, nearest
from archlab.guard.budgets import Budget, budget
from archlab.guard.entry import counted_metrics
from archlab.guard.lock import LOCK_FILE

CONFIG_FILE = "archlab.toml"
PYPROJECT = "pyproject.toml"
_KEYS = ("name", "target", "input", "mode", "backward", "convention", "arguments")
_MODES = ("inference", "training")


@dataclass(frozen=True)
class Model:
    """One guarded model: any target, and how it is counted. `line` is where the config file has it."""

    name: str
    target: str
    inputs: tuple[str, ...] = ()
    mode: str = "inference"
    convention: str = "archlab"
    backward: bool = False
    arguments: Mapping[str, Any] = field(default_factory=dict)
    line: int = field(default=0, compare=False)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that are counted of it."""
        return counted_metrics(self.backward, self.convention)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data, as another process needs it to count the model."""
        return {
            "name": self.name,
            "target": self.target,
            "inputs": list(self.inputs),
            "mode": self.mode,
            "convention": self.convention,
            "backward": self.backward,
            "arguments": dict(self.arguments),
        }


@dataclass(frozen=True)
class Config:
    """What a project guards: the file that says so, its models, and their budgets by name or pattern."""

    path: Path
    models: tuple[Model, ...] = ()
    budgets: Mapping[str, Budget] = field(default_factory=dict)

    @property
    def lock_path(self) -> Path:
        """Where the lock file lies: beside the config, archlab.lock.json, or of another NAME.toml NAME.lock.json."""
        if self.path.name in (CONFIG_FILE, PYPROJECT):
            return self.path.parent / LOCK_FILE
        return self.path.with_suffix(".lock.json")

    def budget(self, name: str) -> Budget:
        """Return the budget of a model: its own, over those of patterns that its name fits."""
        own = Budget()
        for pattern in self.patterns(name):
            own = own.over(self.budgets[pattern])
        return own

    def patterns(self, name: str) -> list[str]:
        """Return the budgets that are for a model, those that tell more of its name first: its own above all."""
        fitting = [pattern for pattern in self.budgets if pattern == name or fnmatchcase(name, pattern)]
        return sorted(fitting, key=lambda pattern: (pattern != name, -sum(sign not in "*?" for sign in pattern)))

    def chosen(self, names: Sequence[str]) -> tuple[Model, ...]:
        """Return the models of those names, all where none is given; raise `UsageError` for an unknown one."""
        known = {model.name: model for model in self.models}
        for name in names:
            if name not in known:
                raise UsageError(
                    f"{self.path.name} has no model {name!r}{nearest(name, known)} (models: {', '.join(known)})"
                )
        return tuple(model for model in self.models if not names or model.name in names)


def find_config(folder: Path, given: str | None = None) -> Config:
    """Return the config of a folder or the nearest folder above it, or of the file given; raise `UsageError`.

    Of two in one folder archlab.toml counts before ``[tool.archlab]`` in pyproject.toml.
    """
    if given is not None:
        path = Path(given)
        if not path.is_file():
            raise UsageError(f"{given}: no such file")
        found = read_config(path.resolve())
        if found is None:
            raise UsageError(f"{given} has no [tool.archlab]")
        return found
    found = nearest_config(folder)
    if found is None:
        raise UsageError(
            f"no {CONFIG_FILE} here or above, nor a {PYPROJECT} with [tool.archlab]; begin with: archlab init TARGET"
        )
    return found


def nearest_config(folder: Path) -> Config | None:
    """Return the config of a folder or the nearest folder above it, None where there is none; raise `UsageError`."""
    for place in (folder, *folder.parents):
        for name in (CONFIG_FILE, PYPROJECT):
            if (place / name).is_file() and (found := read_config(place / name)) is not None:
                return found
    return None


def read_config(path: Path) -> Config | None:
    """Return the config in a file, None where a pyproject.toml has no ``[tool.archlab]``; raise `UsageError`."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from None
    return config_of(text, path)


def config_of(text: str, path: Path) -> Config | None:
    """Return the config in the text of a file of that name; as `read_config`."""
    try:
        data: Mapping[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path.name}: is no TOML: {error}") from None
    prefix = ""
    if path.name == PYPROJECT:
        if "archlab" not in data.get("tool", {}):
            return None
        data, prefix = data["tool"]["archlab"], "tool.archlab."
    for key in data:
        if key not in ("model", "budget"):
            raise UsageError(f"{path.name}: unknown table [{prefix}{key}]{nearest(key, ('model', 'budget'))}")
    models = _models(data.get("model", []), path.name, prefix, text)
    budgets = data.get("budget", {})
    if not isinstance(budgets, dict):
        raise UsageError(f"{path.name}: write a budget as [{prefix}budget.NAME]")
    named = {
        name: budget(_dict(table, f"budget.{name}"), f"{path.name}: [{prefix}budget.{name}]")
        for name, table in budgets.items()
    }
    for name, found in named.items():
        fitting = [model for model in models if model.name == name or fnmatchcase(model.name, name)]
        if not fitting:
            raise UsageError(
                f"{path.name}: [{prefix}budget.{name}] is for no model{nearest(name, [m.name for m in models])}; "
                f"name a [[{prefix}model]] or a pattern of names"
            )
        counted = {metric for model in fitting for metric in model.metrics}
        found.counted(counted, f"{path.name}: [{prefix}budget.{name}]")
    return Config(path, models, named)


def _models(tables: Any, file: str, prefix: str, text: str) -> tuple[Model, ...]:
    if not isinstance(tables, list):
        raise UsageError(f"{file}: write a model as [[{prefix}model]]")
    heads = re.compile(rf"^\s*\[\[\s*{re.escape(prefix)}model\s*\]\]")
    lines = [number for number, line in enumerate(text.splitlines(), 1) if heads.match(line)]
    lines += [0] * (len(tables) - len(lines))  # inline tables have no line of their own
    models = tuple(
        _model(table, f"{file}: [[{prefix}model]]", line) for table, line in zip(tables, lines, strict=False)
    )
    names = [model.name for model in models]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UsageError(f"{file}: two models are named {twice!r}; give one another name")
    return models


def _model(table: Any, where: str, line: int) -> Model:
    data = _dict(table, where)
    for key in data:
        if key not in _KEYS:
            raise UsageError(f"{where}: unknown key {key!r}{nearest(key, _KEYS)} (keys: {', '.join(_KEYS)})")
    target = data.get("target")
    if not isinstance(target, str) or not target:
        raise UsageError(f'{where} needs a target, such as target = "torchvision:resnet50"')
    name = data.get("name", target)
    where = f"{where} {name}"
    inputs = data.get("input", [])
    inputs = [inputs] if isinstance(inputs, str) else inputs
    mode, convention, backward = (
        data.get("mode", "inference"),
        data.get("convention", "archlab"),
        data.get("backward", False),
    )
    arguments = _dict(data.get("arguments", {}), f"{where}: arguments")
    if not isinstance(inputs, list) or not all(isinstance(each, str) for each in inputs):
        raise UsageError(
            f'{where}: input = {inputs!r} is no input; write "1x3x224x224", or a list of "name=SHAPE:dtype"'
        )
    if mode not in _MODES:
        raise UsageError(f"{where}: unknown mode {mode!r}{nearest(str(mode), _MODES)}")
    if not isinstance(name, str) or not isinstance(convention, str) or not isinstance(backward, bool):
        raise UsageError(f"{where}: name and convention are texts, backward is true or false")
    if convention != "archlab":
        from archlab.analyses.conventions import CONVENTIONS

        if convention not in CONVENTIONS:
            raise UsageError(f"{where}: unknown convention {convention!r}{nearest(convention, CONVENTIONS)}")
    mode = "training" if backward else mode
    return Model(name, target, tuple(inputs), mode, convention, backward, arguments, line)


def _dict(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UsageError(f"{where} is no table: {value!r}")
    return value
