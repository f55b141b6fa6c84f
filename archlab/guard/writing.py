"""The config as text: written for a new project, and edited in place with the comments that people left in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from archlab.errors import UsageError
from archlab.guard.budgets import Growth, Limits
from archlab.guard.config import PYPROJECT, Config, Model
from archlab.guard.entry import Entry
from archlab.guard.quantities import at_least

BUDGETED = ("macs", "params", "peak_memory", "uncounted")
"""The metrics that a new budget bounds."""
_HEAD = (
    "What archlab guards. `archlab lock` writes what these models cost to archlab.lock.json,",
    "`archlab check` holds them against it and against their budgets.",
)


def new_config(models: Sequence[Model], entries: Mapping[str, Entry], room: Growth | None) -> str:
    """Return the text of a config for those models, with budgets that leave `room` above the present cost."""
    import tomlkit

    document = tomlkit.document()
    for line in _HEAD:
        document.add(tomlkit.comment(line))
    tables = tomlkit.aot()
    for model in models:
        tables.append(tomlkit.item(_plain(model)))
    document.add("model", tables)
    if room is not None:
        budgets = tomlkit.table(is_super_table=True)
        for model in models:
            budgets.add(model.name, tomlkit.item(_budget(entries[model.name], room)))
        document.add("budget", budgets)
        return tomlkit.dumps(document)
    example = (f"[budget.{_key(models[0].name)}]", 'macs = "<= 1.6G"', "uncounted = 0", 'growth.macs = "+2%"')
    return tomlkit.dumps(document) + "\n" + "".join(f"# {line}\n" for line in example)


def _plain(model: Model) -> dict[str, Any]:
    """Return what a config says of a model; what is as by default is left out."""
    data: dict[str, Any] = {"name": model.name, "target": model.target}
    if model.inputs:
        data["input"] = model.inputs[0] if len(model.inputs) == 1 else list(model.inputs)
    default = Model(model.name, model.target)
    for key in ("mode", "convention", "backward"):
        if getattr(model, key) != getattr(default, key):
            data[key] = getattr(model, key)
    if model.arguments:
        data["arguments"] = dict(model.arguments)
    return data


def _budget(entry: Entry, room: Growth) -> dict[str, Any]:
    counts = {metric: room.most(entry.total[metric]) for metric in BUDGETED}
    return {
        metric: value if metric == "uncounted" else f"<= {at_least(value, metric)}"
        for metric, value in counts.items()
    }


def room_of(text: str) -> Growth:
    """Return the room that ``+5%`` leaves; raise `UsageError` for anything but a share."""
    from archlab.guard.budgets import growth

    try:
        room = growth(text if text.startswith("+") else f"+{text}", "growth", "--budget")
    except UsageError:
        room = None
    if room is None or room.step or "%" not in room.text:
        raise UsageError(f"--budget {text}: write the room above the present cost as a share, such as --budget +5%")
    return room


def raised(config: Config, text: str, entries: Mapping[str, Entry]) -> tuple[str, list[str]]:
    """Return the config's text with every limit raised that an entry breaks, and what was raised, a line each.

    A raised limit is the present cost with four digits; comments and order stay as they are.
    """
    import tomlkit

    document = tomlkit.parse(text)
    root: Any = document["tool"]["archlab"] if config.path.name == PYPROJECT else document
    said = []
    for name, entry in entries.items():
        for key, level in ((None, "fail"), ("warn", "warn")):
            limits: Limits = getattr(config.budget(name), level)
            for metric, limit in limits.limits.items():
                value = entry.total.get(metric)
                if value is None or limit.allows(value):
                    continue
                table, label = _holder(root, config, name, key, metric)
                whole = isinstance(table[metric], int)
                table[metric] = value if whole else f"<= {at_least(value, metric)}"
                said.append(f"{label}: {metric} {limit.text} → {table[metric]}")
    return tomlkit.dumps(document), said


def _holder(root: Any, config: Config, name: str, key: str | None, metric: str) -> tuple[Any, str]:
    """Return the table that sets a limit of a model, and its name: the model's own, or the first pattern's."""
    for pattern in config.patterns(name):
        table = root["budget"][pattern]
        table = table if key is None else table.get(key, {})
        if metric in table:
            return table, f"budget.{pattern}{'' if key is None else f'.{key}'}"
    raise AssertionError(f"no budget sets {metric} of {name}")


def _key(name: str) -> str:
    import tomlkit

    return tomlkit.key(name).as_string()


def named(targets: Sequence[str]) -> list[str]:
    """Return a name for each target: what it calls, a file's stem, or itself; itself, too, where two are alike."""
    short = [_short(target) for target in targets]
    return [target if short.count(name) > 1 else name for target, name in zip(targets, short, strict=True)]


def _short(target: str) -> str:
    plain = target.partition("@")[0]
    if ":" in plain:
        return plain.rpartition(":")[2]
    return Path(plain).stem if "/" in plain or Path(plain).suffix else target
