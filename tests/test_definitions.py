"""Where a target's own code stands: the line that a check points at where a layer has none.

Every line that is expected is found by a mark in the text, ``# <- mark``.
"""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from archlab.errors import UsageError
from archlab.sources.definitions import LIBRARIES, definition

FORMS = {
    "a class": "import os\n\nclass Net:  # <- here\n    pass\n",
    "a decorated class": "@final\nclass Net:  # <- here\n    pass\n",
    "a function": "def Net(width=3):  # <- here\n    return width\n",
    "a function of several lines": "def Net(  # <- here\n    width=3,\n):\n    return width\n",
    "an asynchronous function": "async def Net():  # <- here\n    pass\n",
    "an instance": "class Other:\n    pass\n\nNet = Other()  # <- here\n",
    "an annotated instance": "Net: object = make()  # <- here\n",
    "one of several": "First, (Net, *_) = make()  # <- here\n",
    "a partial": "Net = partial(  # <- here\n    Other,\n    width=3,\n)\n",
    "a walrus": "print(Net := make())  # <- here\n",
    "within an if": "if sys.version_info > (3, 0):\n    class Net:  # <- here\n        pass\n",
    "within a with": "with torch.device('meta'):\n    Net = make()  # <- here\n",
    "defined twice": "def Net():\n    pass\n\ndef Net(width):  # <- here\n    pass\n",
    "wrapped": "class Net:\n    pass\n\nNet = compiled(Net)  # <- here\n",
    "a name that functions use, too": "Net = make()  # <- here\n\ndef other():\n    Net = 3\n    class Net: pass\n",
    "a name of a comprehension, too": "Net = make()  # <- here\nall = [Net for Net in range(3)]\n",
    "a method of that name, too": "class Net:  # <- here\n    def Net(self): pass\n",
    "a script": "Net = make()  # <- here\nif __name__ == '__main__':\n    Net = make(3)\n",
    "for type checkers": "if typing.TYPE_CHECKING:\n    from x import Net\nelse:\n    Net = make()  # <- here\n",
    "with a fallback": "try:\n    Net = make()  # <- here\nexcept ImportError:\n    Net = None\n",
    "imported from where nothing is": "from no_such_package import Net  # <- here\n",
    "imported from what is built in": "from math import sqrt as Net  # <- here\n",
    "with umlauts": "# -*- coding: latin-1 -*-\ntext = 'ä'\nNet = make()  # <- here\n",
}


def marked(file: Path, mark: str, encoding: str = "utf-8") -> tuple[str, int]:
    lines = file.read_text(encoding=encoding).splitlines()
    (number,) = [i for i, line in enumerate(lines, 1) if line.endswith(f"# <- {mark}")]
    return str(file), number


@pytest.mark.parametrize("form", FORMS)
def test_a_name_stands_where_the_file_binds_it_last(tmp_path: Path, form: str) -> None:
    file = tmp_path / "net.py"
    file.write_text(FORMS[form], encoding="latin-1")
    assert definition(f"{file}:Net") == marked(file, "here", "latin-1")


PACKAGE = {
    "models/__init__.py": "from .nets import Net\nfrom .nets import Net as Renamed\nfrom models.inner import *\n",
    "models/nets.py": "raise SystemExit('nobody runs this')\nclass Net:  # <- Net\n    pass\n",
    "models/inner/__init__.py": "from ..nets import Net as Up\nfrom . import deep\nfrom .deep import Deep, make\n",
    "models/inner/deep.py": "class Deep:  # <- Deep\n    pass\n\ndef make():  # <- make\n    return Deep()\n",
    "models/beyond.py": "from .nets import Net as Near\nfrom ...nets import Net as Far  # <- beyond\n",
    "hf.py": "llama = 3\n",
    "plain/module.py": "Net = 1  # <- plain\n",
    "round.py": "from again import Net\n",
    "again.py": "from round import Net  # <- round\n",
    "main.py": "from models import Renamed\nfrom plain.module import Net as Plain\nfrom ..far import Far  # <- far\n",
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in PACKAGE.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("target", "file", "mark"),
    [
        ("models.nets:Net", "models/nets.py", "Net"),
        ("models:Net", "models/nets.py", "Net"),
        ("models:Renamed", "models/nets.py", "Net"),
        ("models:Deep", "models/inner/deep.py", "Deep"),
        ("models.inner:Up", "models/nets.py", "Net"),
        ("models.inner:make", "models/inner/deep.py", "make"),
        ("plain.module:Net", "plain/module.py", "plain"),
        ("models.beyond:Near", "models/nets.py", "Net"),
        ("models.beyond:Far", "models/beyond.py", "beyond"),
        ("main.py:Renamed", "models/nets.py", "Net"),
        ("./main.py:Plain", "plain/module.py", "plain"),
        ("main.py:Far", "main.py", "far"),
        ("models.nets:Net+no_norm@224", "models/nets.py", "Net"),
    ],
)
def test_a_name_is_followed_to_where_it_is_made(project: Path, target: str, file: str, mark: str) -> None:
    assert definition(target) == marked(project / file, mark)


def test_the_module_of_a_file_elsewhere_is_found_beside_it(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "empty").mkdir()
    monkeypatch.chdir(project / "empty")
    assert definition("../main.py:Renamed") == marked(project / "models" / "nets.py", "Net")
    assert definition("models:Net") is None


def test_names_that_import_each_other_come_to_an_end(project: Path) -> None:
    found = definition("round:Net")
    assert found is not None
    assert found[0] in {str(project / "round.py"), str(project / "again.py")}


@pytest.mark.parametrize(
    "target",
    [
        "googlenet+naive@256",
        "torchvision:resnet18",
        "timm:vit_base_patch16_224",
        "hf:llama",
        "model.onnx",
        "no_such_package.module:Net",
        "models.no_such_module:Net",
        "models.nets.deeper:Net",
        "models.nets:Missing",
        "models:",
        ":Net",
        "..:Net",
        "missing.py:Net",
        "wrong.py:Net",
        "null.py:Net",
        "nested.py:Net",
        "deep.py:Net",
        "nu\0ll.py:Net",
        "math:sqrt",
        "sys:exit",
        "models/nets:Net",
    ],
)
def test_where_no_code_says_it_there_is_none(project: Path, target: str) -> None:
    (project / "wrong.py").write_text("class Net(:\n", encoding="utf-8")
    (project / "null.py").write_text("class Net: pass\0\n", encoding="utf-8")
    (project / "nested.py").write_text("x = " + "(" * 5000 + ")" * 5000 + "\nNet = 3\n", encoding="utf-8")
    (project / "deep.py").write_text("x = " + "-" * 100_000 + "1\nNet = 3\n", encoding="utf-8")
    assert definition(target) is None


def test_long_sums_and_chains_do_not_exhaust_the_stack(tmp_path: Path) -> None:
    file = tmp_path / "net.py"
    chain = "".join(f"elif x == {i}:\n    pass\n" for i in range(900))
    file.write_text(f"x = {' + '.join(['1'] * 900)}\nif x:\n    pass\n{chain}Net = 3  # <- here\n", encoding="utf-8")
    assert definition(f"{file}:Net") == marked(file, "here")


def test_a_file_whose_name_has_a_colon_is_no_code(project: Path) -> None:
    (project / "models:Net").write_text("{}", encoding="utf-8")
    assert definition("models:Net") is None


def test_a_text_that_is_no_target_is_said_to_be_none() -> None:
    with pytest.raises(UsageError, match="is SOURCE"):
        definition("models:Net++")


@pytest.mark.parametrize("name", ["json:JSONDecoder", "torch.nn:Conv2d", "torch.nn.functional:relu"])
def test_real_code_stands_where_inspect_says(name: str) -> None:
    module, _, attribute = name.partition(":")
    value: Any = getattr(importlib.import_module(module), attribute)
    assert definition(name) == (inspect.getsourcefile(value), inspect.getsourcelines(value)[1])


def test_the_libraries_are_those_that_targets_may_name() -> None:
    from archlab.pytorch.models import BUILDERS

    assert set(BUILDERS) == set(LIBRARIES)


def test_nothing_is_imported_to_find_it(project: Path) -> None:
    script = """
import sys
from archlab.sources.definitions import definition

print(*(definition(target)[1] for target in ("models:Deep", "main.py:Renamed")))
print(definition("torch.nn:Conv2d") is None, *sys.modules.keys() & {"torch", "models", "main"})
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=project)
    _, deep = marked(project / "models/inner/deep.py", "Deep")
    _, net = marked(project / "models/nets.py", "Net")
    assert ran.stdout == f"{deep} {net}\nFalse\n"
