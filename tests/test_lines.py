"""Where each layer stands: traces asked for lines know the file and line of the user's forward that ran a node.

Every line that is expected is found by a mark in the text of the model, ``# <- mark``.
"""

from __future__ import annotations

import colorsys
import contextvars
import dataclasses
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import archlab
from archlab.errors import TraceError
from archlab.ir import Graph, TensorSpec
from archlab.pytorch.lines import noting_lines
from archlab.sources.json import read_graph

NET = """
import torch
from torch import nn
from torch.nn import functional as F

from helpers import stem


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)

    def forward(self, x):
        y = self.conv(x)  # <- block conv
        y = self.norm(  # <- block norm
            y,
        )
        return y + x  # <- block add


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.body = nn.Sequential(Block(), nn.Sequential(nn.Conv2d(8, 4, 1), nn.ReLU()))
        self.scale = nn.Parameter(torch.zeros(4, 1, 1))
        self.lstm = nn.LSTM(4, 6, batch_first=True)
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)
        self.register_buffer("shift", torch.zeros(6))

    def pooled(self, x):
        return F.adaptive_avg_pool2d(x, 4)  # <- pool

    def forward(self, x):
        x = stem(self.stem, x)  # <- stem's caller
        x = F.relu(x)  # <- relu
        x = self.body(x)  # <- body
        x = (
            self.pooled(x)  # <- product
            * self.scale
        )
        x.add_(1)  # <- in place
        x = x.flatten(2).transpose(1, 2)
        x, _ = self.lstm(x)  # <- lstm
        x = self.attention(x, x, x)[0]  # <- attention
        return x @ x.mT + self.shift.sum()  # <- operator
"""
HELPERS = """
def stem(conv, x):
    return conv(x)  # <- stem
"""
WRAPPER = """
from torch import nn
from torchvision.models import resnet18


class Wrapper(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = resnet18(weights=None)

    def forward(self, x):
        return self.net(x)  # <- wrapper
"""
IMAGE = ("1x3x8x8",)


def marked(file: Path | str, mark: str) -> tuple[str, int]:
    """Return a file and the number of the one line in it that has a mark."""
    lines = Path(file).read_text(encoding="utf-8").splitlines()
    (number,) = [i for i, line in enumerate(lines, 1) if line.endswith(f"# <- {mark}")]
    return str(file), number


def lines(graph: Graph) -> dict[str, tuple[str, int]]:
    found = {}
    for node in graph.nodes:
        assert node.source is not None
        found[node.name] = node.source.file, node.source.line
    return found


@pytest.fixture
def net(tmp_path: Path) -> Path:
    (tmp_path / "net.py").write_text(NET, encoding="utf-8")
    (tmp_path / "helpers.py").write_text(HELPERS, encoding="utf-8")
    sys.modules.pop("helpers", None)  # of another test's folder
    return tmp_path / "net.py"


def test_each_layer_knows_the_line_of_the_users_code_that_ran_it(net: Path) -> None:
    with noting_lines():
        found = lines(archlab.load(f"{net}:Net", inputs=IMAGE))
    expected = {
        "stem": marked(net.with_name("helpers.py"), "stem"),
        "relu": marked(net, "relu"),
        "body/0/conv": marked(net, "block conv"),
        "body/0/norm": marked(net, "block norm"),
        "body/0": marked(net, "block add"),
        "body/1/0": marked(net, "body"),
        "body/1/1": marked(net, "body"),
        "adaptive_avg_pool2d": marked(net, "pool"),
        "mul": marked(net, "product"),
        "add": marked(net, "in place"),
        "lstm/lstm": marked(net, "lstm"),
        "attention/attention": marked(net, "attention"),
        "attention/linear#2": marked(net, "attention"),
        "matmul": marked(net, "operator"),
        "add#2": marked(net, "operator"),
    }
    assert {name: found.get(name) for name in expected} == expected


def test_inputs_parameters_and_constants_have_no_line(net: Path) -> None:
    with noting_lines():
        graph = archlab.load(f"{net}:Net", inputs=IMAGE)
    found = lines(graph)
    kept = [node.name for node in graph.nodes if node.op.is_kept or node.op.is_input]
    assert {"input", "scale", "shift", "lstm/constant"} <= set(kept)
    assert {found[name] for name in kept} == {("", 0)}
    assert ("", 0) not in {found[node.name] for node in graph.nodes if node.name not in kept}


def test_without_being_asked_a_trace_notes_nothing_and_writes_no_path(net: Path) -> None:
    plain = archlab.load(f"{net}:Net", inputs=IMAGE)
    with noting_lines():
        noted = archlab.load(f"{net}:Net", inputs=IMAGE)
    again = archlab.load(f"{net}:Net", inputs=IMAGE)
    assert set(lines(plain).values()) == {("", 0)}
    assert plain == noted
    assert again.to_json() == plain.to_json()
    assert str(net.parent) not in plain.to_json().replace(f"{net}:Net", "")
    assert archlab.profile(noted).to_json() == archlab.profile(plain).to_json()


def test_a_file_of_a_graph_keeps_the_lines(net: Path) -> None:
    with noting_lines():
        graph = archlab.load(f"{net}:Net", inputs=IMAGE)
    again = read_graph(graph.to_json(), "it")
    assert lines(again) == lines(graph)
    assert [node.source for node in again.nodes] == [node.source for node in graph.nodes]


def test_a_folder_takes_the_innermost_line_in_it(net: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    net.rename(project / "net.py")
    moved = project / "net.py"
    with noting_lines(project), pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(tmp_path)  # the helper stays outside
        found = lines(archlab.load(f"{moved}:Net", inputs=IMAGE))
    assert found["stem"] == marked(moved, "stem's caller")
    assert found["body/0/conv"] == marked(moved, "block conv")


def test_a_folder_without_any_of_the_code_changes_nothing(net: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with noting_lines():
        anywhere = lines(archlab.load(f"{net}:Net", inputs=IMAGE))
    with noting_lines(tmp_path / "other"):
        elsewhere = lines(archlab.load(f"{net}:Net", inputs=IMAGE))
    with noting_lines(str(tmp_path)[:-1]):  # a folder is no beginning of a name
        beside = lines(archlab.load(f"{net}:Net", inputs=IMAGE))
    assert anywhere == elsewhere == beside


def test_a_folder_may_be_relative_or_reached_through_a_link(
    net: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.mkdir()
    link.symlink_to(real, target_is_directory=True)
    net.rename(real / "net.py")
    monkeypatch.syspath_prepend(tmp_path)  # the helper stays outside

    def stem(folder: Path | str, target: str) -> tuple[str, int]:
        with noting_lines(folder):
            return lines(archlab.load(f"{target}:Net", inputs=IMAGE))["stem"]

    monkeypatch.chdir(real)
    here = marked(real / "net.py", "stem's caller")
    assert stem(".", "./net.py") == stem("../link", "../real/net.py") == stem(real, "net.py") == here
    monkeypatch.chdir(tmp_path)
    assert stem(real, "link/net.py") == stem(link, "link/net.py") == marked(link / "net.py", "stem's caller")


def test_a_library_in_a_wrapper_stands_where_the_project_calls_it(tmp_path: Path) -> None:
    torchvision = pytest.importorskip("torchvision")
    library = Path(torchvision.__file__).parent / "models" / "resnet.py"
    wrapper = tmp_path / "wrapper.py"
    wrapper.write_text(WRAPPER, encoding="utf-8")
    with noting_lines():
        found = lines(archlab.load(f"{wrapper}:Wrapper", inputs=("1x3x64x64",)))
    texts = library.read_text(encoding="utf-8").splitlines()
    assert {file for file, line in found.values() if line} == {str(library)}
    assert texts[found["net/conv1"][1] - 1].strip() == "x = self.conv1(x)"
    assert texts[found["net/layer4/1/conv2"][1] - 1].strip() == "out = self.conv2(out)"
    with noting_lines(tmp_path):
        found = lines(archlab.load(f"{wrapper}:Wrapper", inputs=("1x3x64x64",)))
    assert set(found.values()) == {("", 0), marked(wrapper, "wrapper")}


@pytest.mark.parametrize("place", ["env/lib/python3.11/site-packages", "env/dist-packages", "env/lib"])
def test_packages_installed_within_the_folder_are_not_of_it(
    net: Path, tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = tmp_path / place
    packages.mkdir(parents=True)
    net.with_name("helpers.py").rename(packages / "helpers.py")
    monkeypatch.syspath_prepend(packages)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "env"))
    with noting_lines(tmp_path):
        within = lines(archlab.load(f"{net}:Net", inputs=IMAGE))
    with noting_lines():
        anywhere = lines(archlab.load(f"{net}:Net", inputs=IMAGE))
    assert within["stem"] == marked(net, "stem's caller")
    assert anywhere["stem"] == marked(packages / "helpers.py", "stem")


@pytest.mark.parametrize("place", ["env/lib/python3.11/site-packages/mine", "env/lib/mine"])
def test_a_folder_that_is_itself_installed_is_looked_into(
    net: Path, tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / place
    mine.mkdir(parents=True)
    net.rename(mine / "net.py")
    monkeypatch.syspath_prepend(tmp_path)  # the helper stays outside
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "env"))
    with noting_lines(mine):
        found = lines(archlab.load(f"{mine / 'net.py'}:Net", inputs=IMAGE))
    assert found["stem"] == marked(mine / "net.py", "stem's caller")


def test_code_of_python_itself_is_passed_over_but_not_the_packages_beside_it(
    net: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with noting_lines():
        graph = archlab.trace(lambda x: colorsys.rgb_to_yiq(x, x, x)[0], TensorSpec((2, 3)))  # <- colours
    ran = {lines(graph)[node.name] for node in graph.nodes if not (node.op.is_input or node.op.is_kept)}
    assert ran == {marked(__file__, "colours")}

    packages = tmp_path / "python" / "site-packages"
    packages.mkdir(parents=True)
    net.with_name("helpers.py").rename(packages / "helpers.py")
    monkeypatch.syspath_prepend(packages)
    monkeypatch.setattr(sysconfig, "get_path", {"stdlib": str(tmp_path / "python")}.__getitem__)
    with noting_lines():
        found = lines(archlab.load(f"{net}:Net", inputs=IMAGE))
    assert found["stem"] == marked(packages / "helpers.py", "stem")


def test_a_model_without_code_of_its_own_has_no_line_rather_than_that_of_who_traces_it() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2))
    with noting_lines():
        assert set(lines(archlab.trace(model, TensorSpec((1, 3, 8, 8)))).values()) == {("", 0)}
    with noting_lines(Path(__file__).parent):
        assert set(lines(archlab.trace(model, TensorSpec((1, 3, 8, 8)))).values()) == {("", 0)}


def test_a_function_is_a_forward_too() -> None:
    with noting_lines():
        graph = archlab.trace(lambda x: x.relu(), TensorSpec((2, 3)))  # <- lambda
    assert lines(graph)["relu"] == marked(__file__, "lambda")


class Own(nn.Module):
    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Any:
        return self.inner(x)  # <- own


def test_code_that_stands_in_no_file_is_passed_over() -> None:
    made: dict[str, Callable[[Tensor], Tensor]] = {}
    exec(compile("def f(x):\n    return x.relu()", "<string>", "exec"), made)
    with noting_lines():
        graph = archlab.trace(Own(made["f"]), TensorSpec((2, 3)))
        alone = archlab.trace(made["f"], TensorSpec((2, 3)))
    assert lines(graph)["relu"] == marked(__file__, "own")
    assert lines(alone)["relu"] == ("", 0)


def script() -> Any:
    return torch.jit.script(nn.Sequential(nn.Linear(3, 3), nn.ReLU()))


def drawn() -> Any:
    return torch.fx.symbolic_trace(nn.Sequential(nn.Linear(3, 3), nn.ReLU()))


def compiled() -> Any:
    return torch.compile(nn.Sequential(nn.Linear(3, 3), nn.ReLU()))


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:FutureWarning")
@pytest.mark.parametrize("make", [script, drawn, compiled])
def test_what_torch_made_of_a_model_stands_where_it_is_called(make: Callable[[], Any]) -> None:
    with noting_lines():
        graph = archlab.trace(Own(make()), TensorSpec((2, 3)))
    found = lines(graph)
    ran = {found[node.name] for node in graph.nodes if not (node.op.is_input or node.op.is_kept)}
    assert ran == {marked(__file__, "own")}


def test_a_hook_stands_where_it_is_written() -> None:
    layer = nn.Linear(3, 3)
    layer.register_forward_hook(lambda module, args, made: made * 2)  # <- hook
    with noting_lines():
        found = lines(archlab.trace(Own(layer), TensorSpec((2, 3))))
    assert found["inner/linear"] == marked(__file__, "own")
    assert found["inner/mul"] == marked(__file__, "hook")


def test_a_write_through_a_view_stands_where_it_was_written() -> None:
    def forward(x: Tensor) -> Tensor:
        x[0] = 1  # <- write
        return x

    with noting_lines():
        graph = archlab.trace(forward, TensorSpec((2, 3)))
    ran = [node for node in graph.nodes if not (node.op.is_input or node.op.is_kept)]
    assert ran
    assert {lines(graph)[node.name] for node in ran} == {marked(__file__, "write")}


def test_each_call_of_one_layer_has_the_line_of_that_call() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Any:
            x = self.layer(x)  # <- first call
            return self.layer(x)  # <- second call

    with noting_lines():
        found = lines(archlab.trace(Twice(), TensorSpec((2, 3))))
    assert found["layer/linear"] == marked(__file__, "first call")
    assert found["layer/linear#2"] == marked(__file__, "second call")


def test_what_ran_before_a_failure_knows_its_line_and_nothing_is_noted_after() -> None:
    def forward(x: Tensor) -> Tensor:
        x = x.relu()  # <- before the failure
        return x.reshape(7, 7)

    with pytest.raises(TraceError) as caught, noting_lines():
        archlab.trace(forward, TensorSpec((2, 3)))
    partial = caught.value.partial
    assert partial is not None
    assert lines(partial)["relu"] == marked(__file__, "before the failure")
    assert lines(archlab.trace(lambda x: x.relu(), TensorSpec((2, 3))))["relu"] == ("", 0)


def test_one_request_within_another_ends_with_itself() -> None:
    def line() -> int:
        return lines(archlab.trace(lambda x: x.relu(), TensorSpec((2, 3))))["relu"][1]

    with noting_lines():
        with noting_lines("/nowhere"):
            assert line()
        assert line()
    assert not line()


def test_other_threads_are_not_asked_and_may_ask_themselves() -> None:
    found: dict[str, tuple[str, int]] = {}

    def trace(name: str) -> None:
        found[name] = lines(archlab.trace(lambda x: x.relu(), TensorSpec((2, 3))))["relu"]  # <- thread

    def ask() -> None:
        with noting_lines():
            trace("asks")

    with noting_lines():
        context = contextvars.copy_context()
    threads = [
        threading.Thread(target=trace, args=("plain",)),
        threading.Thread(target=ask),
        threading.Thread(target=context.run, args=(trace, "lent")),
    ]
    with noting_lines():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        trace("own")
    line = marked(__file__, "thread")
    assert found == {"plain": ("", 0), "asks": line, "lent": line, "own": line}


def test_an_edited_graph_keeps_the_lines_of_what_stays() -> None:
    model = Own(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()))
    with noting_lines():
        graph = archlab.trace(model, TensorSpec((1, 3, 8, 8)))
    wider = graph.with_inputs({"input": TensorSpec((2, 3, 9, 9))})
    assert lines(wider) == lines(graph)
    assert lines(wider)["inner/0"] == marked(__file__, "own")


def test_lines_are_no_part_of_what_makes_nodes_equal() -> None:
    with noting_lines():
        (_, noted) = archlab.trace(lambda x: x.relu(), TensorSpec((2, 3))).nodes
    assert noted.source is not None
    moved = dataclasses.replace(noted, source=dataclasses.replace(noted.source, file="other.py", line=1))
    assert noted == moved


def test_asking_for_lines_does_not_load_torch() -> None:
    script = "import sys\nfrom archlab.pytorch.lines import noting_lines\nwith noting_lines('.'): import archlab\n"
    script += "archlab.load('naive')\nprint('torch' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n"
