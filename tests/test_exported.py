"""Archives of torch.export: sizes, ties, parts of a program, what is never run, and what is said of broken ones."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import battery
import pytest
import torch
from conftest import Outcome
from torch import nn

import archlab
from archlab.errors import ReadError
from archlab.ir import Graph
from archlab.pytorch.exported import replayed
from archlab.pytorch.program import program_of
from archlab.sources.open_shapes import settle

pytestmark = pytest.mark.filterwarnings("ignore")
HERE = Path(__file__).parent


def archive(model: nn.Module, *example: Any, **options: Any) -> bytes:
    made = io.BytesIO()
    torch.export.save(torch.export.export(model.eval(), example, **options), made)
    return made.getvalue()


def program_in(data: bytes) -> Any:
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        (name,) = (name for name in file.namelist() if name.endswith("models/model.json"))
        return json.loads(file.read(name))


def read(document: Mapping[str, Any], shared: Mapping[str, str] | None = None) -> Graph:
    program = program_of(document, shared or {})
    return replayed(program, settle("m.pt2", program.inputs, ()), "m.pt2", False)


def saved(tmp_path: Path, data: bytes) -> str:
    path = tmp_path / "m.pt2"
    path.write_bytes(data)
    return str(path)


@pytest.fixture(scope="module")
def block() -> bytes:
    return archive(*battery.made("block"))


class Sized(nn.Module):
    """A network for any batch and side."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8, 5)

    def forward(self, image: Any) -> Any:
        x = self.conv(image)
        with torch.no_grad():
            x = x * 2.0
        return self.head(x.mean((2, 3)).view(image.shape[0] * 2, -1).view(image.shape[0], -1))


def test_open_sizes_are_those_of_the_example_until_others_are_asked_for(
    tmp_path: Path, run: Callable[..., Outcome]
) -> None:
    n, side = torch.export.Dim("n", min=1), torch.export.Dim("side", min=8)
    data = archive(Sized(), torch.zeros(2, 3, 16, 16), dynamic_shapes=({0: n, 2: side, 3: side},))
    path = saved(tmp_path, data)
    each = 8 * 3 * 9
    assert archlab.profile(path).total.macs == 2 * 16 * 16 * each + 2 * 5 * 8
    assert archlab.profile(f"{path}@32").total.macs == 2 * 32 * 32 * each + 2 * 5 * 8
    assert archlab.profile(f"{path}@1x3x8x8").total.macs == 8 * 8 * each + 5 * 8
    assert archlab.profile(path).graph.inputs["image"].shape == (2, 3, 16, 16)
    assert "1·8·8·8·3·3·3 = 13,824" in run("explain", f"{path}@1x3x8x8", "conv").out
    assert run("compare", path, f"{path}@32").code == 0
    # what `with no_grad()` holds is a part of its own; it is counted: 2 times 8·16·16
    assert archlab.profile(path).total.operations["mul"] == 2 * 8 * 16 * 16


def test_a_size_that_is_fixed_in_the_file_fails_with_its_call(tmp_path: Path, run: Callable[..., Outcome]) -> None:
    path = saved(tmp_path, archive(Sized(), torch.zeros(2, 3, 16, 16)))
    outcome = run("profile", f"{path}@3x3x16x16")
    assert outcome.code == 3
    # 3·8 elements viewed as (4, -1) and then (2, -1) are 12 wide
    assert "m.pt2: call 5 (torch.ops.aten.linear.default): a linear layer of weight (5, 8)" in outcome.err


def test_a_tied_weight_is_one_parameter(block: bytes, tmp_path: Path) -> None:
    parameters = archlab.profile(saved(tmp_path, block)).parameters
    model, example = battery.made("block")
    assert parameters == archlab.profile(model, example).parameters
    assert parameters["unused"] == 0


def test_ablations_work_on_an_archive(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 5), nn.ReLU())
    path = saved(tmp_path, archive(model, torch.zeros(1, 3, 8, 8)))
    assert archlab.profile(f"{path}+batch_norm").total.params == 8 * 3 * 25 + 2 * 8


class Resampled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.InstanceNorm2d(4, affine=True)

    def forward(self, x: Any) -> Any:
        x = x[:, torch.arange(4)]
        up = nn.functional.interpolate(self.norm(x), scale_factor=2.0, mode="bilinear")
        return nn.functional.interpolate(up, size=(5, 5), mode="nearest")


def test_operators_in_another_order_of_arguments_count_as_their_functions(tmp_path: Path) -> None:
    example = torch.zeros(1, 4, 6, 6)
    traced = archlab.profile(Resampled().eval(), example)
    assert archlab.profile(saved(tmp_path, archive(Resampled(), example))).total == traced.total


def test_a_program_in_core_aten_counts_the_same_products(tmp_path: Path) -> None:
    model, example = battery.made("convolutions")
    made = io.BytesIO()
    torch.export.save(torch.export.export(model, (example,)).run_decompositions(), made)
    profile = archlab.profile(saved(tmp_path, made.getvalue()))
    assert profile.total.macs == archlab.profile(model, example).total.macs
    assert profile.total.params == archlab.profile(model, example).total.params


def test_an_archive_of_torch_2_13_reads_the_same() -> None:
    """Written by torch 2.13.0 from `battery.made("recurrent")`, then without weights and stack traces."""
    model, example = battery.made("recurrent")
    old = archlab.profile(str(HERE / "archives" / "recurrent-2.13.pt2"))
    assert old.total == archlab.profile(model, example).total


def calls(document: Any) -> list[Any]:
    return document["graph_module"]["graph"]["nodes"]


def test_an_operator_that_is_not_registered_is_uncounted_in_the_file_s_shape(block: bytes) -> None:
    document = program_in(block)
    place = next(i for i, call in enumerate(calls(document)) if ".gelu." in call["target"])
    calls(document)[place]["target"] = "torch.ops.nowhere.scan.default"
    graph = read(document)
    profile = archlab.profile(graph)
    assert profile.uncounted == {"nowhere.scan": 1}
    assert "nowhere" not in vars(torch.ops)


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "builtins.eval",
        "torch.load",
        "torch.ops.aten",
        "_operator.pow",
        "torch.ops.higher_order.run_with_rng_state",
        "torch.ops.a-b.c.d",
    ],
)
def test_what_is_no_operator_is_refused(block: bytes, target: str) -> None:
    document = program_in(block)
    calls(document)[0]["target"] = target
    with pytest.raises(ReadError, match=r"m\.pt2: call 0 \("):
        read(document)


def test_an_operator_that_opens_files_is_not_called(block: bytes, tmp_path: Path) -> None:
    document = program_in(block)
    first = calls(document)[0]
    victim = tmp_path / "victim"
    first["target"] = "torch.ops.aten.from_file.default"
    first["inputs"] = [
        {"name": "filename", "arg": {"as_string": str(victim)}, "kind": 1},
        {"name": "shared", "arg": {"as_bool": True}, "kind": 1},
        {"name": "size", "arg": {"as_int": 4}, "kind": 1},
    ]
    assert archlab.profile(read(document)).uncounted == {"aten.from_file": 1}
    assert not victim.exists()


def test_expressions_are_not_evaluated(tmp_path: Path) -> None:
    n = torch.export.Dim("n", min=1)
    document = program_in(archive(Sized(), torch.zeros(2, 3, 16, 16), dynamic_shapes=({0: n},)))
    victim = tmp_path / "victim"
    text = json.dumps(document)
    assert "Symbol(" in text
    bad = f"__import__('pathlib').Path('{victim}').touch()"
    graph = read(json.loads(text.replace("Symbol('s", f"{bad} or Symbol('s")))
    assert graph.inputs["image"].shape == (2, 3, 16, 16)
    assert not victim.exists()


def change(path: str, value: Any) -> Callable[[Any], None]:
    def apply(document: Any) -> None:
        *steps, last = path.split("/")
        place = document
        for step in steps:
            place = place[int(step)] if isinstance(place, list) else place[step]
        if value is None:
            del place[last]
        else:
            place[int(last) if isinstance(place, list) else last] = value

    return apply


GRAPH = "graph_module/graph"


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (change("schema_version/major", 99), r"is of version 99 of torch.export's schema"),
        (change("graph_module", None), r"the entry 'graph_module' must be of type dict"),
        (change(f"{GRAPH}/nodes", {}), r"the entry 'nodes' must be of type list"),
        (change(f"{GRAPH}/nodes/3", 7), r"the entry 'target' must be of type str"),
        (change(f"{GRAPH}/nodes/2/inputs/0/arg", {"as_tensor": {"name": "x"}}), r"call 2 \(.*\): reads 'x', which"),
        (change(f"{GRAPH}/nodes/2/inputs/0/arg", {"as_magic": 1}), r"the kind 'as_magic' has no rule"),
        (change(f"{GRAPH}/nodes/2/inputs/0/name", "nope"), r"call 2 \(.*\): takes no 'nope'"),
        (change(f"{GRAPH}/nodes/0/inputs/0/arg", {"as_int": 2**70}), r"must be an integer of 64 bits"),
        (change(f"{GRAPH}/tensor_values/p_norm_weight/dtype", 99), r"has elements of type 99, which archlab"),
        (
            change(f"{GRAPH}/tensor_values/p_norm_weight/sizes/0", {"as_int": -3}),
            r"a size must be a number or a name",
        ),
        (change(f"{GRAPH}/tensor_values/p_norm_weight/sizes/0", {"as_int": 2**62}), r"more than any memory holds"),
        (change(f"{GRAPH}/tensor_values/p_norm_weight/sizes/0", {"as_int": 5}), r"norm.weight is \(5,\), its input"),
        (change("graph_module/signature/input_specs/0", {"token": {}}), r"an input of the kind 'token'"),
    ],
)
def test_a_broken_program_is_told_by_file_and_call(block: bytes, edit: Callable[[Any], None], message: str) -> None:
    document = program_in(block)
    edit(document)
    with pytest.raises(ReadError, match=message) as caught:
        read(document)
    assert "\n" not in str(caught.value)


def test_a_program_that_calls_itself_has_an_end(block: bytes) -> None:
    """JSON cannot hold a cycle, but a part may stand in a part, a thousand deep."""
    document = program_in(block)
    graph = document["graph_module"]["graph"]
    inner: Any = {"inputs": [], "outputs": [], "nodes": [], "tensor_values": {}}
    for _ in range(100):
        call = {
            "target": "torch.ops.higher_order.wrap",
            "inputs": [{"name": "", "arg": {"as_graph": {"name": "g", "graph": inner}}, "kind": 1}],
            "outputs": [],
            "metadata": {},
        }
        inner = {"inputs": [], "outputs": [], "nodes": [call], "tensor_values": {}}
    graph["nodes"].insert(0, inner["nodes"][0])
    with pytest.raises(ReadError, match=r"parts of the program are nested more than 30 deep"):
        read(document)
