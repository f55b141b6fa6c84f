"""`Lock`: the lock file, which keeps what models cost: sorted, integers only, a line a layer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from archlab.errors import ReadError
from archlab.guard.entry import Entry

SCHEMA = "archlab.lock/1"
LOCK_FILE = "archlab.lock.json"
ANEW = "write it anew: archlab lock"


@dataclass(frozen=True)
class Lock:
    """The entries of a lock file by the models' names."""

    models: Mapping[str, Entry] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path, anew: str = ANEW) -> Lock | None:
        """Return the lock in a file, None where there is none; raise `ReadError` for a file that is no lock.

        `anew` says how it is written anew.
        """
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise ReadError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
        return cls.of(text, str(path), anew)

    @classmethod
    def of(cls, text: str, where: str, anew: str = ANEW) -> Lock:
        """Return the lock in a text; raise `ReadError` for one that is no lock."""
        if any(line.startswith("<<<<<<< ") for line in text.splitlines()):
            raise ReadError(f"{where}: has the marks of a merge that is not settled; take one side, then {anew}")
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ReadError(f"{where}: is no lock file (it is no JSON: {error}); {anew}") from None
        schema = data.get("schema") if isinstance(data, dict) else None
        if schema != SCHEMA or not isinstance(data.get("models"), dict):
            raise ReadError(f"{where}: is no lock file (its schema is {schema!r}, not {SCHEMA!r}); {anew}")
        return cls({name: _read(name, entry, where, anew) for name, entry in data["models"].items()})

    def with_entries(self, entries: Mapping[str, Entry]) -> Lock:
        """Return the lock with those entries in place of its own of the same names."""
        return Lock({**self.models, **entries})

    def only(self, names: frozenset[str]) -> Lock:
        """Return the lock without the entries of other names."""
        return Lock({name: entry for name, entry in self.models.items() if name in names})

    def text(self) -> str:
        """Return the file: keys sorted, layers in the network's order, a line each, so that diffs show the cause."""
        models = ",\n".join(f"  {_text(name)}: {_entry(self.models[name].to_dict())}" for name in sorted(self.models))
        return f'{{\n "models": {{{_lines(models, " ")}}},\n "schema": {_text(SCHEMA)}\n}}\n'


def _read(name: str, data: Any, where: str, anew: str) -> Entry:
    try:
        return Entry.from_dict(data)
    except (ReadError, KeyError, TypeError, ValueError, AttributeError) as error:
        why = str(error) if isinstance(error, ReadError) else "it is not as a lock file has one"
        raise ReadError(f"{where}: is no lock file (its entry {name!r}: {why}); {anew}") from None


def _entry(data: Mapping[str, Any]) -> str:
    parts = []
    for key in sorted(data):
        if key == "layers":
            layers = ",\n".join(f"    [{_text(name)}, {_text(row)}]" for name, row in data[key])
            parts.append(f'   "layers": [{_lines(layers, "   ")}]')
        elif key == "total":
            totals = ",\n".join(f"    {_text(metric)}: {data[key][metric]}" for metric in sorted(data[key]))
            parts.append(f'   "total": {{{_lines(totals, "   ")}}}')
        else:
            parts.append(f"   {_text(key)}: {_text(data[key])}")
    return "{\n" + ",\n".join(parts) + "\n  }"


def _lines(text: str, indent: str) -> str:
    return f"\n{text}\n{indent}" if text else ""


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)
