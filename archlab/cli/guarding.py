"""The commands of the guard that write: `init` and `lock`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import chdir
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from archlab.cli.app import app
from archlab.cli.options import (
    ArgOption,
    BackwardOption,
    ConventionOption,
    InputOption,
    Mode,
    ModeOption,
    complete_target,
    constructor_arguments,
)
from archlab.cli.output import finish, progress
from archlab.errors import BaselineError, ReadError, UsageError

if TYPE_CHECKING:
    from archlab.guard.check import Accept
    from archlab.guard.config import Config, Model
    from archlab.guard.entry import Entry
    from archlab.guard.lock import Lock

STALE = 5
_SAID = 2
"""How many changes of a model are said one by one."""
ConfigOption = Annotated[
    str | None,
    typer.Option("--config", metavar="FILE", help="The config; else the nearest archlab.toml or pyproject.toml."),
]
ModelsArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="[MODEL]...", show_default=False, help="Only these models of the config."),
]


@app.command()
def init(
    targets: Annotated[
        list[str], typer.Argument(metavar="TARGET...", autocompletion=complete_target, show_default=False)
    ],
    input: InputOption = None,
    arg: ArgOption = None,
    mode: ModeOption = Mode.inference,
    backward: BackwardOption = False,
    convention: ConventionOption = "archlab",
    budget: Annotated[
        str | None, typer.Option("--budget", metavar="+5%", help="Also budgets: the present cost and so much more.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an archlab.toml that is there.")] = False,
) -> None:
    """Write archlab.toml, which says what to guard: the models named."""
    from archlab.cli.counting import count
    from archlab.files import write
    from archlab.guard.config import CONFIG_FILE, PYPROJECT, Model, read_config
    from archlab.guard.writing import named, new_config, room_of

    room = None if budget is None else room_of(budget)
    if Path(CONFIG_FILE).exists() and not force:
        raise UsageError(f"{CONFIG_FILE} is there already; add a [[model]] to it, or replace it with --force")
    if Path(PYPROJECT).is_file() and read_config(Path(PYPROJECT)) is not None and not force:
        raise UsageError(f"{PYPROJECT} has [tool.archlab] already; add a [[tool.archlab.model]], or use --force")
    arguments = constructor_arguments(arg or [])
    mode = Mode.training if backward else mode
    twice = next((target for target in targets if targets.count(target) > 1), None)
    if twice is not None:
        raise UsageError(f"{twice} is named twice")
    models = [
        Model(name, target, tuple(input or ()), mode.value, convention, backward, arguments)
        for name, target in zip(named(targets), targets, strict=True)
    ]
    entries = _counted(models, count)
    write(CONFIG_FILE, new_config(models, entries, room))
    for name, entry in entries.items():
        typer.echo(f"{name}: {_summary(entry)}")
    typer.echo(f"wrote {CONFIG_FILE}; next: archlab lock")


@app.command()
def lock(
    models: ModelsArgument = None,
    budgets: Annotated[
        bool, typer.Option("--budgets", help="Also raise the budgets that the present cost breaks.")
    ] = False,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit with 5 if the lock is stale.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Write it in CI, too.")] = False,
    config: ConfigOption = None,
) -> None:
    """Write archlab.lock.json: what every model of the config costs now, a line a layer."""
    from archlab.cli.counting import count_configured
    from archlab.files import write
    from archlab.guard.ci import in_ci
    from archlab.guard.config import find_config
    from archlab.guard.lock import LOCK_FILE, Lock
    from archlab.guard.writing import raised

    if not check and not force and in_ci():
        raise UsageError(
            f"{LOCK_FILE} is not written in CI: a baseline that the check itself writes guards nothing; "
            "commit what `archlab lock` writes on your machine, or use --force"
        )
    found = find_config(Path.cwd(), config)
    chosen = found.chosen(models or ())
    if not chosen:
        raise UsageError(f"{found.path.name} names no model; add one as [[model]]")
    old = _old_lock(found, check or bool(models))
    with chdir(found.path.parent):
        entries = _counted(chosen, count_configured)
    before = old or Lock()
    after = before.with_entries(entries).only(frozenset(model.name for model in found.models))
    said, name = _said(before, after), os.path.relpath(found.lock_path)
    if check:
        verdict = f"{name} is stale; write it: {_command('', config)}" if said else f"{name} is up to date"
        typer.echo("\n".join([*said, verdict]))
        finish(bool(said), STALE)
        return
    if budgets:
        edited, lines = raised(found, found.path.read_text(encoding="utf-8"), entries)
        if lines:
            write(found.path, edited)
        typer.echo("\n".join(lines) if lines else "No budget is broken.")
    if old is not None and not said and found.lock_path.read_text(encoding="utf-8") == after.text():
        typer.echo(f"No change: {name} says what {_models(len(chosen))} cost{'s' * (len(chosen) == 1)}.")
    else:
        write(found.lock_path, after.text())
        typer.echo("\n".join([*said, f"wrote {name}: {_models(len(after.models))}"]))
    broken = [] if budgets else _broken(found, entries)
    if broken:
        command = _command(f"--budgets {_words(broken)}", config)
        typer.echo(f"Still over budget: {', '.join(broken)}. To raise what they break: {command}")


def _broken(config: Config, entries: Mapping[str, Entry]) -> list[str]:
    """Return the names of the models that break a limit whose breach fails."""
    from archlab.guard.check import over_budget

    return [name for name, entry in entries.items() if over_budget(entry, config.budget(name).fail, "fail", "")]


def _command(words: str, config: str | None) -> str:
    """Return the command that writes the lock, with its words and the config that was given."""
    return " ".join(["archlab lock", *([f"--config {quote(config)}"] if config else []), *([words] if words else [])])


def _words(names: Sequence[str]) -> str:
    """Return names as words of a command; one that begins with a dash is no option behind two."""
    return " ".join([*(["--"] if any(name.startswith("-") for name in names) else []), *map(quote, names)])


def accepting(config: str | None) -> Accept:
    """Return the commands that accept what a check found, with the config that was given."""
    from archlab.guard.check import Accept
    from archlab.guard.lock import LOCK_FILE

    return Accept(
        lock=lambda name: _command(_words([name]), config),
        budgets=lambda name: _command(f"--budgets {_words([name])}", config),
        all=_command("", config),
        locked=LOCK_FILE,
    )


def _counted(models: list[Model] | tuple[Model, ...], count: Callable[[Model], Entry]) -> dict[str, Entry]:
    entries = {}
    with progress() as show:
        for number, model in enumerate(models):
            show(f"counting {model.name} ({number} of {len(models)} done)")
            entries[model.name] = count(model)
    return entries


def baseline(config: Config) -> Lock | None:
    """Return the lock beside a config, None where there is none; raise `BaselineError` for one that is no lock."""
    from archlab.guard.lock import Lock

    try:
        return Lock.read(config.lock_path)
    except ReadError as error:
        raise BaselineError(str(error)) from None


def _old_lock(config: Config, needed: bool) -> Lock | None:
    """Return the lock that is there; one that cannot be read is as none where it is written anew."""
    try:
        return baseline(config)
    except BaselineError:
        if needed:
            raise
        return None


def _said(before: Lock, after: Lock) -> list[str]:
    """Return a line a model whose entry is new, gone or another."""
    from archlab.guard.check import grown
    from archlab.guard.difference import WORDS, Difference

    lines = [f"{name}: gone" for name in before.models if name not in after.models]
    for name, entry in after.models.items():
        old = before.models.get(name)
        if old == entry:
            continue
        if old is None or old.way != entry.way:
            lines.append(f"{name}: {_summary(entry)}, {'new' if old is None else 'counted anew'}")
            continue
        difference = Difference(old, entry)
        changes = [f"{WORDS.get(m, m)} {grown(a, b)}" for m, (a, b) in difference.totals.items() if a != b]
        left = len(changes) - _SAID
        more = f" and {left} other count{'s' * (left != 1)}" if left > 0 else ""
        first = f"; first at {difference.first.name}" if difference.first else ""
        lines.append(f"{name}: {', '.join(changes[:_SAID]) or 'the same totals, other layers'}{more}{first}")
    return lines


def _summary(entry: Entry) -> str:
    uncounted = f", {entry.total['uncounted']} uncounted" if entry.uncounted else ""
    return f"{entry.total['macs']:,} MACs, {entry.total['params']:,} params{uncounted}"


def _models(count: int) -> str:
    return f"{count} model{'s' * (count != 1)}"
