"""Names of layers: module paths where an exporter wrote them down, else the file's own names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from archlab.sources.netlist import clean

_SCOPES = "pkg.torch.onnx.name_scopes"
_QUOTED = re.compile(r"'([^']*)'")


class Label(NamedTuple):
    """The module that runs an op, the function, and which part of it a node is."""

    module: str
    function: str
    part: str = ""


def label_of(node: Any) -> Label:
    """Return where a node comes from: torch's exporters say it in a property or in the name."""
    for entry in node.metadata_props:
        if entry.key == _SCOPES:
            scopes = [scope for scope in _QUOTED.findall(entry.value[:10_000]) if scope]
            if scopes:
                return Label(".".join(scopes[-2:-1]).replace(".", "/"), _plain(scopes[-1]))
    name = node.name or next((out for out in node.output if out), "") or node.op_type
    if name.startswith("/") and name.count("/") > 1:
        *scopes, function = name[1:].split("/")
        parts = [scope.removeprefix(f"{before}.") for before, scope in zip(["", *scopes], scopes, strict=False)]
        return Label("/".join(parts).replace(".", "/"), _plain(function))
    return Label("", clean(name).lower() if name.startswith("/") else clean(name))


def _plain(function: str) -> str:
    """Return a function's name without the number that tells its calls apart."""
    return clean(re.sub(r"_\d+$", "", function)).lower()


def called_again(labels: Sequence[Label], free: Sequence[bool]) -> list[Label]:
    """Return labels in which a module that torch calls ``relu_1`` is ``relu``, called again.

    Only modules that keep no weights (`free`) are taken for one called before.
    """
    seen: set[str] = set()
    made = []
    for label, is_free in zip(labels, free, strict=True):
        first = re.sub(r"_\d+$", "", label.module)
        again = is_free and first != label.module and first in seen
        made.append(label._replace(module=first) if again else label)
        seen.add(label.module)
    return made


def names_of(labels: Sequence[Label]) -> list[str]:
    """Return a name for each label: the module, with the function where it runs several, #k from the second."""
    functions: dict[str, set[str]] = {}
    for label in labels:
        functions.setdefault(label.module, set()).add(label.function)
    seen: dict[str, int] = {}
    made = []
    for label in labels:
        alone = label.module and len(functions[label.module]) == 1
        parts = (label.module, "" if alone else label.function, label.part)
        base = clean("/".join(part for part in parts if part))
        times = seen.get(base, 0) + 1
        while times > 1 and f"{base}#{times}" in seen:
            times += 1
        seen[base] = times
        name = base if times == 1 else f"{base}#{times}"
        seen.setdefault(name, 1)
        made.append(name)
    return made


def renamed(names: Mapping[str, str], refs: Sequence[tuple[str, int]]) -> tuple[tuple[str, int], ...]:
    """Return refs with other names of their nodes."""
    return tuple((names[name], index) for name, index in refs)
