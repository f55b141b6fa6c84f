"""`torch.export` archives as data: the JSON in the zip file, checked; nothing in them is unpickled or evaluated."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archlab.errors import ReadError

MAX_BYTES = 64 * 2**20
"""A larger program is refused before it is parsed. ResNet-50's takes 1 MiB."""
MAX_ENTRIES = 2**20
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, ValueError)


@dataclass(frozen=True)
class Archive:
    """The program of an archive, and which weights share their elements: name → the first name of the same."""

    program: Mapping[str, Any]
    shared: Mapping[str, str]


def open_archive(path: Path) -> Archive:
    """Return what an archive holds; raise `ReadError` where it is none, or not such a one."""
    try:
        with zipfile.ZipFile(path) as file:
            names = file.namelist()
            if len(names) > MAX_ENTRIES:
                raise ReadError(f"{path}: has more than {MAX_ENTRIES:,} entries")
            found = [n for n in names if n.endswith("/models/model.json") or n == "models/model.json"]
            found = found or [n for n in names if n.count("/") <= 2 and "/models/" in n and n.endswith(".json")]
            found = found or [n for n in names if n.rpartition("/")[2] == "serialized_exported_program.json"]
            if not found:
                raise ReadError(f"{path}: holds no program of torch.export (models/model.json)")
            program = _json(file, found[0], path)
            weights = [n for n in names if n.endswith("weights/model_weights_config.json")]
            shared = _shared(_json(file, weights[0], path)) if weights else {}
    except _BROKEN as error:
        what = getattr(error, "strerror", None) or error
        raise ReadError(f"{path}: is no torch.export archive: {str(what)[:200]}") from None
    return Archive(program, shared)


def _json(file: zipfile.ZipFile, name: str, path: Path) -> Mapping[str, Any]:
    with file.open(name) as entry:
        data = entry.read(MAX_BYTES + 1)  # whatever size the zip file claims
    if len(data) > MAX_BYTES:
        raise ReadError(f"{path}: {name} has more than {MAX_BYTES:,} bytes, too many for a program")
    try:
        found = json.loads(data)
    except RecursionError:
        raise ReadError(f"{path}: {name}: lists and objects are nested too deeply") from None
    except ValueError as error:
        raise ReadError(f"{path}: {name} is not JSON: {str(error)[:100]}") from None
    if not isinstance(found, dict):
        raise ReadError(f"{path}: {name} must be an object")
    return found


def _shared(config: Mapping[str, Any]) -> Mapping[str, str]:
    """Return the first name of each weight that lies where another does, in the same shape."""
    first: dict[str, str] = {}
    shared = {}
    entries = config.get("config")
    for name, entry in entries.items() if isinstance(entries, dict) else ():
        meta = entry.get("tensor_meta") if isinstance(entry, dict) else None
        device = meta.get("device") if isinstance(meta, dict) else None
        # Tensors of the meta device have no elements, so that all of one size seem to lie in one place.
        if isinstance(device, dict) and device.get("type") != "meta":
            place = json.dumps([entry.get("path_name"), meta], sort_keys=True)
            shared[name] = first.setdefault(place, name)
    return shared
