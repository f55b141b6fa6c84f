"""`definition`: where the code stands that a target names, told from its text alone: nothing of it is run."""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import NamedTuple

from archlab.sources.target import parse

LIBRARIES = ("torchvision", "timm", "hf")
"""The prefixes of targets that name models of libraries."""
MOST = 20
"""A name is followed through so many imports."""


class _Module(NamedTuple):
    """A file of code, the package that its relative imports start from, and the folders searched before others."""

    file: str
    package: str
    folders: tuple[str, ...]


def definition(target: str) -> tuple[str, int] | None:
    """Return the file, absolute, and the line where ``file.py:name`` or ``package.module:name`` is defined.

    That is the line of its `class`, `def` or last assignment, in the module that it is imported from if
    that can be found, else of the import. None for any other target, and where the code does not say it.
    """
    source = parse(target).source
    where, _, name = source.rpartition(":")
    if not where or os.path.isfile(source) or source.partition(":")[0] in LIBRARIES:
        return None
    if where.endswith(".py"):
        file = os.path.abspath(where)
        return _defined(_Module(file, "", (os.path.dirname(file),)), name, MOST)
    module = _found(where, ("",))
    return None if module is None else _defined(module, name, MOST)


def _defined(module: _Module, name: str, left: int) -> tuple[str, int] | None:
    """Return where a module's text binds a name last, followed through imports while there are `left`."""
    try:
        tree = ast.parse(Path(module.file).read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):  # whoever loads the target is told
        return None
    binding = [node for node in _run(tree) if isinstance(node, _BINDING)]
    bound = [node for node in binding if name in _names(node)]
    if not bound:
        stars = [node for node in binding if isinstance(node, ast.ImportFrom) and node.names[0].name == "*"]
        found = (_imported(module, node, name, left) for node in reversed(stars))
        return next((place for place in found if place), None)
    last = bound[-1]
    if isinstance(last, ast.ImportFrom):
        original = [alias.name for alias in last.names if name == (alias.asname or alias.name)][-1]
        return _imported(module, last, original, left) or (module.file, last.lineno)
    return module.file, last.lineno


def _imported(module: _Module, node: ast.ImportFrom, name: str, left: int) -> tuple[str, int] | None:
    if not left:
        return None
    parts = module.package.split(".") if node.level else []
    if node.level > len(parts):
        return None
    parts = parts[: len(parts) - node.level + 1]
    other = _found(".".join([*parts, *([node.module] if node.module else [])]), module.folders)
    return None if other is None else _defined(other, name, left - 1)


def _run(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield what a module runs when it is imported, in order: nothing within a function, class or comprehension.

    What runs only where an import fails comes before what runs else.
    """
    todo: list[ast.AST] = [tree]
    while todo:
        node = todo.pop()
        yield node
        if isinstance(node, _SCOPES):
            continue
        inner = list(ast.iter_child_nodes(node))
        if isinstance(node, ast.If) and any(_says(part) in _NEVER for part in ast.walk(node.test)):
            inner = list(node.orelse)
        if isinstance(node, ast.Try):
            inner = [*node.handlers, *node.body, *node.orelse, *node.finalbody]
        todo.extend(reversed(inner))


_BINDING = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Name, ast.ImportFrom)
_SCOPES = (
    *(ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda),
    *(ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp),
)
_NEVER = ("__name__", "TYPE_CHECKING")
"""An `if` on these does not run in a module that is imported."""


def _says(node: ast.AST) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _names(node: ast.AST) -> tuple[str, ...]:
    """Return the names that a part of the syntax binds."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return (node.name,)
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        return (node.id,)
    if isinstance(node, ast.ImportFrom):
        return tuple(alias.asname or alias.name for alias in node.names)
    return ()


def _found(name: str, folders: tuple[str, ...]) -> _Module | None:
    """Return the file of a module without importing it or the packages that it is in."""
    spec: ModuleSpec | None = None
    places: list[str] | None = None
    parts = name.split(".")
    if not all(map(str.isidentifier, parts)):
        return None
    for i in range(len(parts)):
        spec = _spec(".".join(parts[: i + 1]), [*folders, *sys.path] if places is None else places, places)
        if spec is None:
            return None
        places = None if spec.submodule_search_locations is None else list(spec.submodule_search_locations)
        if places is None and i + 1 < len(parts):
            return None
    if spec is None or not str(spec.origin).endswith(".py"):
        return None
    package = name if places is not None else name.rpartition(".")[0]
    return _Module(os.path.abspath(str(spec.origin)), package, folders)


def _spec(name: str, folders: list[str], path: list[str] | None) -> ModuleSpec | None:
    """Return what is known of a module; packages that are installed to be edited have finders of their own."""
    spec = PathFinder.find_spec(name, folders)
    for finder in sys.meta_path:
        if spec is not None:
            break
        if finder is not PathFinder and hasattr(finder, "find_spec"):
            spec = finder.find_spec(name, path)
    return spec
