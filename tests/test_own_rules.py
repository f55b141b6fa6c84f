"""Rules of one's own: for ops that archlab does not know, and what is listed where nobody gave one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import archlab
from archlab import Formula, TensorSpec, UsageError, registry
from archlab.errors import TraceError
from archlab.sources.json import read_graph

torch.library.define(
    "archlab_own::scan", "(Tensor x, Tensor a, int state=16, *, bool reverse=False) -> (Tensor, Tensor)"
)
torch.library.define("archlab_own::relu", "(Tensor x) -> Tensor")
torch.library.define("archlab_own::composite", "(Tensor x) -> Tensor")
torch.library.define("archlab_own::shapeless", "(Tensor x) -> Tensor")
torch.library.define("archlab_own::add_to", "(Tensor(a!) x, Tensor y) -> ()")
torch.library.define("archlab_own::parts", "(Tensor x) -> Tensor[]")


@torch.library.register_fake("archlab_own::scan")
def _(x: Tensor, a: Tensor, state: int = 16, *, reverse: bool = False) -> tuple[Tensor, Tensor]:
    return torch.empty_like(x), x.new_empty((x.shape[0], state), dtype=torch.int64)


torch.library.register_fake("archlab_own::relu")(torch.empty_like)
torch.library.register_fake("archlab_own::add_to")(lambda x, y: None)
torch.library.register_fake("archlab_own::parts")(lambda x: [torch.empty_like(x)])
torch.library.impl("archlab_own::composite", "CompositeImplicitAutograd")(lambda x: x @ x.T)


@torch.library.custom_op("archlab_own::twice", mutates_args=())
def twice(x: Tensor, times: int = 2) -> Tensor:
    return x * times


@twice.register_fake
def _(x: Tensor, times: int = 2) -> Tensor:
    return torch.empty_like(x)


own = torch.ops.archlab_own


@pytest.fixture(autouse=True)
def _without_rules() -> Iterator[None]:
    """Each test starts and ends without any rule."""
    before = dict(registry._RULES)
    registry._RULES.clear()
    yield
    registry._RULES.clear()
    registry._RULES.update(before)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(8, 8)
        self.mixer = Mixer()

    def forward(self, x: Tensor) -> Tensor:
        return self.mixer(self.inner(x))


class Mixer(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = own.scan(x, x, 4, reverse=True)[0]
        return y


X = TensorSpec((3, 8))


def test_a_rule_counts_its_op_with_its_own_formula() -> None:
    seen: list[Any] = []

    @archlab.rule("archlab_own::scan")
    def scan(outputs: Any, inputs: Any, arguments: Any) -> Any:
        seen.append((outputs, inputs, dict(arguments)))
        (rows, width), state = inputs[0].shape, arguments["state"]
        return {"mac": Formula.product(("rows", rows), ("width", width), ("state", state)), "exp": 5}

    profile = archlab.profile(Net(), X)
    assert profile.uncounted == {}
    layer = profile.layer("mixer")
    assert (layer.op, str(layer.formula)) == ("Custom", "rows·width·state = 3·8·4 = 96")
    assert (layer.cost.macs, layer.cost.operations["exp"], layer.cost.flops) == (3 * 8 * 4, 5, 2 * 96 + 5)
    outputs, inputs, arguments = seen[0]
    assert outputs == (TensorSpec((3, 8)), TensorSpec((3, 4), "int64"))
    assert layer.output_shapes == ((3, 8), (3, 4))
    assert inputs == (X, X)
    assert arguments == {"x": X, "a": X, "state": 4, "reverse": True}
    again = read_graph(profile.graph.to_json(), "text")
    assert again == profile.graph
    assert archlab.profile(again).layer("mixer").formulas == layer.formulas


def test_arguments_have_their_defaults() -> None:
    archlab.rule("archlab_own::scan")(lambda outputs, inputs, arguments: {"mac": arguments["state"]})
    assert archlab.profile(lambda x: own.scan(x, a=x), X).total.macs == 16


@pytest.mark.parametrize(
    "call",
    [lambda x: twice(x, 5), lambda x: own.twice(x, 5), lambda x: own.twice.default(x, times=5)],
    ids=["wrapper", "packet", "overload"],
)
def test_a_custom_op_is_counted_however_it_is_called(call: Any) -> None:
    archlab.rule("archlab_own::twice")(lambda outputs, inputs, a: {"mul": a["times"] * outputs[0].numel})
    profile = archlab.profile(call, X)
    assert (profile.total.operations["mul"], profile.uncounted) == (5 * 3 * 8, {})


def test_an_op_named_like_one_of_torch_is_not_taken_for_it() -> None:
    profile = archlab.profile(own.relu, X)
    assert (profile.uncounted, profile.total.flops) == ({"archlab_own::relu": 1}, 0)


def test_an_op_that_is_written_with_torch_is_counted_by_its_parts_unless_it_has_a_rule() -> None:
    assert archlab.profile(own.composite, X).total.macs == 3 * 3 * 8
    archlab.rule("archlab_own::composite")(lambda outputs, inputs, arguments: {"mac": 7})
    assert archlab.profile(own.composite, X).total.macs == 7


def test_a_function_of_torch_without_a_rule_takes_one_by_the_name_it_is_listed_under() -> None:
    name, *_ = archlab.profile(torch.linalg.svd, X).uncounted
    archlab.rule(name)(lambda outputs, inputs, arguments: {"mac": 11 if arguments["full_matrices"] else 5})
    profile = archlab.profile(torch.linalg.svd, X)
    assert (profile.uncounted, profile.total.macs) == ({}, 11)


def test_an_op_that_only_writes_into_its_argument_is_part_of_the_data_flow() -> None:
    def run(x: Tensor) -> Tensor:
        y = x + 1
        own.add_to(y, x)
        return y

    profile = archlab.profile(run, X)
    assert profile.uncounted == {"archlab_own::add_to": 1}
    assert profile.graph.outputs == (("archlab_own::add_to", 0),)


def test_a_list_of_one_tensor_stays_a_list() -> None:
    assert archlab.profile(lambda x: own.parts(x)[0], X).layers[-1].output_shape == X.shape


def test_an_op_without_a_fake_kernel_says_what_to_register() -> None:
    with pytest.raises(TraceError, match=r'@torch\.library\.register_fake\("archlab_own::shapeless"\)'):
        archlab.trace(own.shapeless, X)


WRONG: list[tuple[Any, str]] = [
    ({"flop": 3}, r"counts 'flop' \(classes: mac, add, mul, div, exp, cmp\)"),
    ({"macs": 3}, "counts 'macs'; did you mean 'mac'?"),
    ({"mac": -3}, "counts -3 mac; a count cannot be negative"),
    ({"mac": 2.5}, "counts mac as 2.5; a count is a Formula of integers or an int"),
    ({"mac": True}, "counts mac as True"),
    (None, "returned NoneType, not {operation class: Formula or int}"),
]


@pytest.mark.parametrize(("made", "message"), WRONG)
def test_what_is_no_count_is_an_error_that_names_the_rule_and_its_place(made: Any, message: str) -> None:
    archlab.rule("archlab_own::relu")(lambda outputs, inputs, arguments: made)
    with pytest.raises(TraceError, match=r"the rule for archlab_own::relu \(.*test_own_rules.py:\d+\)") as caught:
        archlab.trace(own.relu, X)
    assert message.replace("\\", "") in str(caught.value)


def test_a_rule_that_fails_is_named() -> None:
    archlab.rule("archlab_own::relu")(lambda outputs, inputs, arguments: {"mac": arguments["k"]})
    with pytest.raises(TraceError, match=r"the rule for archlab_own::relu \(.*\) failed: KeyError: 'k'"):
        archlab.trace(own.relu, X)


def test_a_name_takes_one_rule_unless_another_is_meant_to_replace_it() -> None:
    archlab.rule("archlab_own::relu")(lambda outputs, inputs, arguments: {"cmp": 1})
    with pytest.raises(UsageError, match=r"archlab_own::relu has a rule already \(.*test_own_rules.py:\d+\)"):
        archlab.rule("archlab_own::relu")(lambda outputs, inputs, arguments: {"cmp": 2})
    archlab.rule("archlab_own::relu", replace=True)(lambda outputs, inputs, arguments: {"cmp": 3})
    assert archlab.profile(own.relu, X).total.operations["cmp"] == 3
    registry.forget("archlab_own::relu")
    assert archlab.profile(own.relu, X).uncounted == {"archlab_own::relu": 1}


@pytest.mark.parametrize("name", ["relu", "aten::relu", "torchvision::deform_conv2d"])
def test_a_rule_for_what_archlab_counts_is_refused_not_ignored(name: str) -> None:
    archlab.rule(name)(lambda outputs, inputs, arguments: {})
    with pytest.raises(UsageError, match=r"archlab counts .* itself; the rule at .* would be ignored"):
        archlab.trace(nn.ReLU(), X)


@pytest.mark.parametrize("name", ["", None, lambda x: x])
def test_a_rule_needs_the_name_of_an_op(name: Any) -> None:
    with pytest.raises(UsageError, match="a rule is for an op by its name"):
        archlab.rule(name)


def test_registering_a_rule_imports_no_torch() -> None:
    script = (
        "import archlab, sys\narchlab.rule('mylib::scan')(lambda o, i, a: {})\n"
        "archlab.profile('naive')\nprint('torch' in sys.modules, 'importlib.metadata' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["False", "False"]


def test_what_has_no_rule_is_listed_with_where_it_ran_and_the_line_that_adds_one() -> None:
    model = nn.Sequential(*[Mixer() for _ in range(5)])
    for text in (str(archlab.profile(model, X)), archlab.profile(model, X).to_markdown()):
        (line,) = [line for line in text.splitlines() if "@archlab.rule" in line]
        assert [word for word in line.replace("|", " ").split() if word != "and"] == [
            "archlab_own::scan", "5", "0,", "1,", "2", "2", "more", '@archlab.rule("archlab_own::scan")',
        ]  # fmt: skip


# -- plug-ins --------------------------------------------------------------------------------------

MODEL = """
import torch
torch.library.define("plugged::scan", "(Tensor x) -> Tensor")
torch.library.register_fake("plugged::scan")(torch.empty_like)
class Run(torch.nn.Module):
    def forward(self, x): return torch.ops.plugged.scan(x)
"""
PLUGIN = """
import archlab
@archlab.rule("plugged::scan")
def scan(outputs, inputs, arguments): return {"mac": 3 * outputs[0].numel}
def more(): raise RuntimeError("registers nothing")
"""


def installed(folder: Path, entry: str, plugin: str = PLUGIN) -> dict[str, str]:
    """Install a plug-in into a folder and return the environment that has it on its path."""
    info = folder / "plugged-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugged\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(f"[archlab.rules]\nscans = {entry}\n")
    (folder / "plugged_rules.py").write_text(plugin)
    (folder / "model.py").write_text(MODEL)
    root = str(Path(archlab.__file__).parents[1])
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), root])}


def profiled(folder: Path, environment: dict[str, str], *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "archlab", "profile", f"{folder}/model.py:Run", "--input", "2x5", *more]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


@pytest.mark.parametrize("entry", ["plugged_rules", "plugged_rules:scan"])
def test_an_installed_plug_in_is_found(tmp_path: Path, entry: str) -> None:
    result = profiled(tmp_path, installed(tmp_path, entry), "--strict", "--json")
    assert (result.returncode, result.stderr) == (0, "")
    assert json.loads(result.stdout)["total"]["macs"] == 3 * 2 * 5


def test_a_plug_in_that_fails_is_said_in_one_line_and_its_ops_are_uncounted(tmp_path: Path) -> None:
    result = profiled(tmp_path, installed(tmp_path, "plugged_rules", "import no_such_thing"), "--strict")
    assert result.returncode == 4
    assert result.stderr == (
        "warning: plug-in 'scans' of plugged 1.2 failed, its ops are uncounted: plugged_rules: "
        "ModuleNotFoundError: No module named 'no_such_thing'\n"
    )
    assert '@archlab.rule("plugged::scan")' in result.stdout


def test_a_plug_in_may_be_a_function_that_registers(tmp_path: Path) -> None:
    result = profiled(tmp_path, installed(tmp_path, "plugged_rules:more"))
    assert "plugged_rules:more: RuntimeError: registers nothing" in result.stderr


def test_plug_ins_are_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def entry_points(group: str) -> list[Any]:
        asked.append(group)
        return []

    monkeypatch.setattr(registry, "_loaded", False)
    monkeypatch.setattr("importlib.metadata.entry_points", entry_points)
    with warnings.catch_warnings():
        archlab.trace(nn.ReLU(), X)
        assert asked == []  # nothing without a rule was met
        archlab.trace(own.relu, X)
        archlab.trace(own.relu, X)
    assert asked == ["archlab.rules"]
