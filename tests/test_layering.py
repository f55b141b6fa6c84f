"""Who may import whom: the table of the design, held over the syntax tree and by what really gets loaded."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import archlab

ROOT = Path(archlab.__file__).parent

ROWS: dict[str, tuple[str, ...]] = {
    "base": ("errors", "dims", "files", "formula"),
    "ir": ("ir",),
    "registry": ("registry",),
    "ops": ("ops",),
    "transform": ("transform",),
    "results": (
        "cost",
        "profiles",
        "analyses",
        "opinions",
        "verifications",
        "reconciliations",
        "samples",
        "machines",
        "measurements",
        "gradients",
    ),
    "compare": ("alignment", "comparisons", "measured_comparisons"),
    "guard": ("guard",),
    "zoo": ("zoo",),
    "pytorch": ("pytorch",),
    "sources": ("sources",),
    "report": ("report",),
    "api": ("api", "measuring", ""),
    "studies": ("studies",),
    "cli": ("cli", "__main__"),
    "pytest_plugin": ("pytest_plugin",),
}
"""The modules of each row; "" is the package itself, whose public names are the api's."""

MAY: dict[str, set[str]] = {
    "base": set(),
    "ir": {"base"},
    "registry": {"ir"},
    "ops": {"ir"},
    "transform": {"ir"},
    "results": {"ops", "transform"},
    "compare": {"results"},
    "zoo": {"ops", "transform"},
    "pytorch": {"results", "registry"},
    "sources": {"zoo", "transform"},
    "guard": {"compare"},
    "report": {"guard"},
    "api": {"compare", "registry"},
    "studies": {"api", "report", "zoo"},
    "cli": {"base"},
    "pytest_plugin": set(),
}
"""What each row may import; rows are transitive."""

NEVER = {"report": {"ops", "transform", "zoo", "pytorch"}}
"""What a row may not import although a row below it does: tables and diagrams know nothing of networks."""

IN_BODIES: dict[str, set[str]] = {
    "sources": {"pytorch"},
    "api": set(ROWS),
    "cli": set(ROWS),
    "pytest_plugin": set(ROWS),
}
"""What a row may import inside function bodies, or for type checkers, as well."""

GUESTS = ("archlab.guard.worker",)
"""Scripts that run in a process of their own and use the package as anyone would: its public names alone."""

OUTSIDE: dict[str, tuple[str, ...]] = {
    "torch": ("pytorch",),
    "fvcore": ("pytorch",),
    **dict.fromkeys(("calflops", "ptflops", "thop", "torchinfo", "torchprofile"), ("pytorch.opinions",)),
    "rich": ("report.terminal", "report.progress"),
    "pandas": ("report.data",),
    "numpy": ("analyses.exact", "sweep", "sources.onnx"),
    "pyarrow": ("sweep",),
    "onnx": ("sources.onnx",),
    "google": ("sources.onnx",),
    "tomlkit": ("guard",),
    "typer": ("cli",),
    "pytest": ("pytest_plugin",),
}
"""Where each package from outside may be imported; any other may be nowhere."""


@dataclass(frozen=True)
class Import:
    """One imported name: in which function ("" at the top), and whether for type checkers alone."""

    name: str
    function: str
    typing: bool


def imports(text: str, modules: set[str]) -> Iterator[Import]:
    def walk(node: ast.AST, function: str, typing: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            inside = child.name if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) else function
            if isinstance(child, ast.Lambda):
                inside = "lambda"
            checked = typing or (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test))
            if isinstance(child, ast.Import):
                yield from (Import(alias.name, function, typing) for alias in child.names)
            if isinstance(child, ast.ImportFrom):
                assert child.level == 0, "imports are absolute"
                for alias in child.names:
                    whole = f"{child.module}.{alias.name}"
                    yield Import(whole if whole in modules else str(child.module), function, typing)
            yield from walk(child, inside, checked)

    return walk(ast.parse(text), "", False)


def row_of(module: str) -> str:
    part = module.removeprefix("archlab").removeprefix(".").split(".")[0]
    found = [row for row, parts in ROWS.items() if part in parts]
    assert found, f"{module} is in no row of the table"
    return found[0]


def below(row: str) -> set[str]:
    return {row} | {lower for direct in MAY[row] for lower in below(direct)} - NEVER.get(row, set())


def why_not(module: str, found: Import) -> str | None:
    """Return what is wrong with an import, or None."""
    package = found.name.split(".")[0]
    if package in sys.stdlib_module_names:
        return None
    if package != "archlab":
        places = tuple(f"archlab.{place}" for place in OUTSIDE.get(package, ()))
        allowed = found.typing or any(module == place or module.startswith(f"{place}.") for place in places)
        return None if allowed else f"{module} imports {package}"
    if module in GUESTS and found.function:
        return None if found.name == "archlab" else f"{module} imports {found.name}"
    row, other = row_of(module), row_of(found.name)
    if other in below(row) or ((found.function or found.typing) and other in IN_BODIES.get(row, ())):
        return None
    if row in {"results", "compare"} and other == "report":
        in_place = found.function == "__str__" or found.function.startswith("to_")
        return None if in_place else f"{module} imports {found.name} outside of to_* and __str__"
    return f"{module} ({row}) imports {found.name} ({other})"


def sources() -> dict[str, str]:
    paths = {
        ".".join(("archlab", *path.relative_to(ROOT).with_suffix("").parts)): path for path in ROOT.rglob("*.py")
    }
    return {name.removesuffix(".__init__"): path.read_text(encoding="utf-8") for name, path in paths.items()}


def violations(texts: dict[str, str], modules: set[str]) -> list[str]:
    # The package's own names are for type checkers only; at run time each is loaded when it is asked for.
    found = ((name, item) for name, text in texts.items() for item in imports(text, modules))
    reasons = (why_not(name, item) for name, item in found if not (name == "archlab" and item.typing))
    return [reason for reason in reasons if reason]


def test_every_import_follows_the_table() -> None:
    texts = sources()
    assert violations(texts, set(texts)) == []


WRONG = [
    ("dims", "import archlab.ir", "(base) imports archlab.ir (ir)"),
    ("dims", "import numpy", "imports numpy"),
    ("ir.graph", "from archlab.ops import Conv2d", "(ir) imports archlab.ops (ops)"),
    ("ops.conv", "from archlab import transform", "(ops) imports archlab.transform (transform)"),
    ("ops.conv", "from archlab import load", "(ops) imports archlab (api)"),
    ("cost", "import archlab.comparisons", "(results) imports archlab.comparisons (compare)"),
    ("zoo.classics", "from archlab import cost", "(zoo) imports archlab.cost (results)"),
    ("report.html", "from archlab.ops import ALL", "(report) imports archlab.ops (ops)"),
    ("report.html", "def f():\n    import archlab.zoo", "(report) imports archlab.zoo (zoo)"),
    ("report.html", "import rich", "imports rich"),
    (
        "profiles",
        "def render():\n    from archlab.report import html",
        "imports archlab.report.html outside of to_* and __str__",
    ),
    ("profiles", "import pandas", "imports pandas"),
    ("api", "from archlab.zoo import catalog", "(api) imports archlab.zoo.catalog (zoo)"),
    ("sources.json", "import archlab.pytorch", "(sources) imports archlab.pytorch (pytorch)"),
    ("sources.json", "def f():\n    import torch", "imports torch"),
    ("errors", "import requests", "imports requests"),
    ("guard.worker", "def f():\n    from archlab.guard import lock", "imports archlab.guard.lock"),
    ("guard.cache", "def f():\n    import archlab", "(guard) imports archlab (api)"),
]
RIGHT = [
    ("dims", "import math"),
    ("profiles", "class P:\n    def to_html(self):\n        from archlab.report import html"),
    ("sources.json", "def f():\n    import archlab.pytorch"),
    ("api", "def f():\n    from archlab.zoo import catalog"),
    ("api", "if TYPE_CHECKING:\n    import numpy"),
    ("guard.worker", "def f():\n    import archlab"),
]


@pytest.mark.parametrize(("module", "line", "reason"), WRONG)
def test_an_import_against_the_table_is_found(module: str, line: str, reason: str) -> None:
    name = f"archlab.{module}"
    assert violations({name: line}, set(sources())) == [f"{name} {reason}"]


@pytest.mark.parametrize(("module", "line"), RIGHT)
def test_an_import_that_the_table_allows_is_not_reported(module: str, line: str) -> None:
    assert violations({f"archlab.{module}": line}, set(sources())) == []


HEAVY = ("torch", "numpy", "pandas", "sympy", "pyarrow", "onnx")
WORK = """
import contextlib, io, sys
import archlab
from archlab.zoo import ablations, catalog

assert list(catalog.ARCHITECTURES) and list(ablations.ABLATIONS)
for name in catalog.ARCHITECTURES:
    archlab.profile(archlab.load(name), mode="training")
profile = archlab.profile("googlenet+naive")
str(profile), profile.to_json(), profile.to_markdown(), profile.by_block(), profile.peak_memory
archlab.depth(profile.graph), archlab.receptive_field(profile.graph), profile.graph.to_json()
str(archlab.compare("googlenet", "googlenet+naive", "vgg16").to_json())
archlab.evaluate(profile.graph, {"input": {"shape": (8, 3, 256, 256)}})

from archlab.cli import main

for command in ("list", "profile googlenet", "compare googlenet googlenet+naive", "explain googlenet conv2/3x3"):
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            main(command.split())
        except SystemExit as end:
            assert not end.code, command
"""


def loaded(script: str) -> set[str]:
    """Return which heavy packages are loaded after a script has run in a fresh interpreter."""
    ask = f"\nimport sys\nprint(*[name for name in {HEAVY} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", script + ask], capture_output=True, text=True, check=True)
    return set(result.stdout.splitlines()[-1].split())


def test_declared_architectures_are_listed_built_profiled_compared_and_explained_without_heavy_packages() -> None:
    assert loaded(WORK) == set()


@pytest.mark.parametrize(
    ("work", "packages"), [("import numpy", {"numpy"}), ("profile.to_frame()", {"numpy", "pandas"})]
)
def test_a_heavy_package_would_be_seen(work: str, packages: set[str]) -> None:
    """Else the test above could pass because it looks at nothing."""
    assert loaded(f"import archlab\nprofile = archlab.profile('naive')\n{work}") == packages


def test_the_package_itself_loads_nothing_of_ours() -> None:
    script = "import archlab, sys\nprint(*sorted(m for m in sys.modules if m.startswith('archlab')))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["archlab"]
