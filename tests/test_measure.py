"""What is measured where a model runs: whose each time is, what was counted there, what is left as it was.

No test looks at how long anything takes.
"""

from __future__ import annotations

import copy
import gc
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import archlab
from archlab import Measurement, TensorSpec, TraceError, UsageError
from archlab.ir import TensorSpec as Spec
from archlab.measurements import NO_TIME, Shared
from archlab.pytorch.measure import room
from archlab.pytorch.measure.device import available
from archlab.pytorch.measure.plan import runs
from tests.accelerators import device  # noqa: F401 -- a fixture

SHORT = {"seconds": 0.01}


def measure(subject: Any, *args: Any, **kwargs: Any) -> Measurement:
    settings = {**SHORT, **kwargs.pop("settings", {})}
    return archlab.measure(subject, *args, settings=settings, **kwargs)


class Mixed(nn.Module):
    """Modules, functions and operators, one module called twice, and something that runs nothing in inference."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.again = nn.Conv2d(4, 4, 1)
        self.drop = nn.Dropout()
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Any:
        x = F.relu(self.stem(x))
        x = x + self.again(x)
        x = F.relu(x * 2 + self.again(x))
        return self.head(self.drop(x.mean((2, 3))))


def test_every_layer_that_runs_has_a_time_of_its_own(device: str) -> None:  # noqa: F811
    found = measure(Mixed(), TensorSpec((2, 3, 8, 8)), device=device)
    names = [layer.name for layer in found.profile.layers if not layer.node.op.is_input]
    assert found.shared == found.unplaced == ()
    assert sorted(found.layers) == sorted(names)
    assert all(seconds.median > 0 for seconds in found.layers.values())
    assert found.machine.device == device


def test_every_layer_counts_on_the_device_what_it_counts_by_its_shapes(device: str) -> None:  # noqa: F811
    found = measure(Mixed(), TensorSpec((2, 3, 8, 8)), device=device)
    assert found.counts is not None
    by_layer = {layer.name: layer.cost.macs for layer in found.profile.layers if layer.cost.macs}
    # stem 2·8·8·4·3·3·3, again twice 2·8·8·4·4, head 2·2·4
    assert sum(by_layer.values()) == found.counts.macs == 2 * 64 * 4 * 27 + 2 * (2 * 64 * 16) + 2 * 2 * 4
    assert {name: macs for name, macs in found.counts.by_layer.items() if macs} == by_layer


@pytest.mark.parametrize("target", ["naive", "reduced", "googlenet@64", "googlenet+naive@64", "alexnet@96"])
def test_a_graph_of_the_zoo_counts_on_the_device_what_it_counts_by_its_shapes(target: str, device: str) -> None:  # noqa: F811
    found = measure(target, device=device)
    static = archlab.profile(target)
    assert found.profile == static
    assert found.counts is not None
    assert (found.counts.macs, found.counts.differing) == (static.total.macs, ())
    assert (found.shared, found.unplaced) == ((), ())
    assert {name for name, seconds in found.layers.items() if seconds.median > 0} == {
        layer.name for layer in static.layers if not layer.node.op.is_input
    }


@pytest.mark.parametrize(
    "target", ["torchvision:resnet18@64", "torchvision:mobilenet_v3_small@64", "timm:levit_128s"]
)
def test_a_model_of_a_library_is_the_one_that_was_counted(target: str) -> None:
    found = measure(target)
    assert found.profile == archlab.profile(target)
    assert found.counts is not None
    assert found.counts.differing == ()
    assert found.shared == ()


def test_a_model_that_remembers_something_after_its_first_run_says_what_no_longer_runs() -> None:
    """LeViT keeps its attention biases, so that later runs do not index them again."""
    found = measure("timm:levit_128s")
    assert found.unplaced
    assert all(name.endswith("/index") for name in found.unplaced)
    (layer, *_) = [layer for layer in found.profile.layers if layer.name == found.unplaced[0]]
    assert found.seconds(layer) is None


class Attending(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.memory = nn.LSTM(8, 8, num_layers=2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        x, _ = self.attention(x, x, x, need_weights=False)
        x, _ = self.memory(x)
        return x


def test_layers_that_one_call_runs_share_its_time_and_say_so() -> None:
    found = measure(Attending().eval(), TensorSpec((1, 5, 8)))
    (group,) = found.shared
    inside = [each.name for each in found.profile.layers if each.name.startswith("attention")]
    assert group.what == "MultiheadAttention"
    assert set(group.layers) == set(inside)
    costs = {layer.name: layer.cost.macs for layer in found.profile.layers}
    assert costs[group.carrier] == max(costs[name] for name in group.layers)
    assert sorted(found.layers) == sorted([group.carrier, "memory/lstm"])
    rows = {row["name"]: row["seconds"] for row in found.to_dict()["layers"]}
    for name in group.layers:
        assert rows[name].get("shared_with", group.carrier) == group.carrier
        assert (rows[name]["median"] > 0) == (name == group.carrier)


def test_a_count_that_differs_on_the_device_has_its_reason() -> None:
    """In inference torch runs attention by a kernel that its counter has no rule for: 0 there, and said."""
    found = measure(Attending().eval(), TensorSpec((1, 5, 8)))
    assert found.counts is not None
    reasons = {each.layers[0].split("/")[0]: each for each in found.counts.differing}
    for each in reasons.values():
        assert each.theirs == 0
        assert each.ours > 0
        assert "no rule for" in each.reason
    # qkv 3·5·8·8, scores and values 2·(2 heads · 5·5·4), output 5·8·8
    assert reasons["attention"].ours == 3 * 5 * 64 + 2 * (2 * 25 * 4) + 5 * 64


class Scripted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.scripted = torch.jit.script(nn.Sequential(nn.Linear(4, 4), nn.ReLU()))  # type: ignore[no-untyped-call]

    def forward(self, x: Tensor) -> Any:
        return self.scripted(self.first(x))


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_what_nobody_can_listen_to_is_measured_as_one() -> None:
    found = measure(Scripted(), TensorSpec((3, 4)))
    assert found.unplaced == ()
    placed = {name for group in found.shared for name in group.layers} | set(found.layers)
    assert placed == {layer.name for layer in found.profile.layers if runs(layer.node)}


class Unsteady(nn.Module):
    """Calls one function more in each second run; a trace does not count as one."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.times = 0

    def forward(self, x: Tensor) -> Any:
        x = self.layer(x)
        if type(x) is Tensor:
            self.times += 1
            if self.times % 2:
                x = x.abs()
        return x.neg()


def test_a_model_that_runs_otherwise_from_run_to_run_has_a_whole_time_and_no_others() -> None:
    found = measure(Unsteady(), TensorSpec((2, 4)))
    assert found.whole.median > 0
    assert (dict(found.layers), found.layers_seconds) == ({}, NO_TIME)
    assert set(found.unplaced) == {"layer", "neg"}
    assert "from run to run" in found.note
    assert found.note in str(found)


class Otherwise(nn.Module):
    """Runs one addition more than when it is traced: which of them was traced would be a guess."""

    def forward(self, x: Tensor) -> Tensor:
        if type(x) is Tensor:
            x = x + 1
        return (x + 2) * 3 + 4


def test_a_function_that_ran_another_number_of_times_than_traced_is_not_guessed() -> None:
    found = measure(Otherwise(), TensorSpec((2, 4)))
    (group,) = found.shared
    assert group.layers == tuple(l.name for l in found.profile.layers if l.name.startswith("add"))  # noqa: E741
    assert "which ran 3 times, traced 2" in group.what
    assert len(found.layers) == 2  # the additions and the product


def test_the_columns_of_a_table_sum_to_its_totals() -> None:
    found = measure("googlenet@64")
    assert found.sum_of_medians == pytest.approx(sum(seconds.median for seconds in found.layers.values()))
    assert found.layers_seconds.runs == len(found.listened_rounds) == len(found.rounds)
    assert min(found.listened_rounds) <= found.layers_seconds.median <= max(found.listened_rounds)
    data = found.to_dict()
    assert sum(row["seconds"]["median"] for row in data["layers"]) == pytest.approx(data["sum_of_medians"])
    for record in (data["whole_seconds"], data["layers_seconds"], *(row["seconds"] for row in data["layers"])):
        assert record["iqr"] >= 0
        assert record["low"] <= record["median"] <= record["high"]
    assert data["source"] == "measured"
    assert data["measured_macs"] == data["total"]["macs"]


def test_inputs_take_no_time() -> None:
    data = measure("naive").to_dict()
    row = next(row for row in data["layers"] if row["name"] == "input")
    assert (row["seconds"]["median"], row["seconds"]["runs"]) == (0.0, 0)


@pytest.fixture
def settled() -> Iterator[None]:
    threads, collecting = torch.get_num_threads(), gc.isenabled()
    yield
    assert (torch.get_num_threads(), gc.isenabled()) == (threads, collecting)


@pytest.mark.usefixtures("settled")
def test_a_failed_measurement_leaves_the_process_as_it_was() -> None:
    with pytest.raises(TraceError):
        measure(Hungry(RuntimeError("no")), TensorSpec((6, 4)), settings={"threads": 1})


def test_what_is_drawn_for_a_measurement_is_put_back() -> None:
    before = torch.random.get_rng_state()
    measure("alexnet@96", mode="training")  # weights are initialised, and its dropout draws
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.usefixtures("settled")
def test_a_model_and_the_process_are_left_as_they_were() -> None:
    model = Mixed().train()
    before = copy.deepcopy(model.state_dict())
    found = measure(model, torch.ones(2, 3, 8, 8), settings={"threads": 1, "channels_last": True, "dtype": "bf16"})
    assert found.machine.threads == 1
    assert model.training
    assert all("_compiled_call_impl" not in module.__dict__ for module in model.modules())
    for key, tensor in model.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, before[key])
    assert torch.is_grad_enabled()


def test_a_batch_replaces_the_first_dimension_of_every_input() -> None:
    one, four = measure("reduced"), measure("reduced", settings={"batch": 4})
    assert four.profile.total.macs == 4 * one.profile.total.macs
    assert (one.machine.batch, four.machine.batch) == (1, 4)
    model = measure("torchvision:resnet18@64", settings={"batch": 2})
    assert model.profile.total.macs == 2 * archlab.profile("torchvision:resnet18@64").total.macs


def test_a_type_is_that_of_weights_and_inputs() -> None:
    found = measure("reduced", settings={"dtype": "bf16"})
    assert found.profile.total.weight_bytes * 2 == archlab.profile("reduced").total.weight_bytes
    assert found.machine.dtype == "bfloat16"
    model = measure(Mixed(), TensorSpec((2, 3, 8, 8)), settings={"dtype": "fp64"})
    assert model.machine.dtype == "float64"
    assert model.profile.total.macs == archlab.profile(Mixed(), TensorSpec((2, 3, 8, 8))).total.macs


def test_training_runs_and_counts_what_training_does() -> None:
    found = measure("reduced", mode="training")
    assert found.profile.mode == "training"
    batch_norm = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    trained = measure(batch_norm, TensorSpec((2, 3, 8, 8)), mode="training")
    assert trained.profile == archlab.profile(batch_norm, TensorSpec((2, 3, 8, 8)), mode="training")


@pytest.mark.slow
def test_a_compiled_model_is_one_call_that_all_layers_share() -> None:
    found = measure("reduced", settings={"compile": True})
    assert found.shared == (Shared("the compiled model", "5x5", ("5x5_reduce", "5x5")),)
    assert found.layers["5x5"] == found.whole == found.layers_seconds
    assert found.machine.compiled
    assert found.counts is not None
    assert found.counts.macs == archlab.profile("reduced").total.macs


class Interrupting(nn.Module):
    """Raises in a later run, as an interrupt from the keyboard does."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.left = [after]

    def forward(self, x: Tensor) -> Any:
        if type(x) is Tensor:
            self.left[0] -= 1
            if self.left[0] == 0:
                raise KeyboardInterrupt
        return self.layer(x)

    def __deepcopy__(self, memo: Any) -> Interrupting:
        return self


def test_an_interrupt_ends_it_with_what_was_measured_so_far() -> None:
    found = measure(Interrupting(900), TensorSpec((2, 4)), settings={"seconds": 60})
    assert found.interrupted
    assert 0 < len(found.rounds) == found.whole.runs
    assert found.layers["layer"].median > 0
    assert "Interrupted" in str(found)
    assert found.to_dict()["interrupted"]


def test_an_interrupt_before_anything_was_measured_is_one() -> None:
    with pytest.raises(KeyboardInterrupt):
        measure(Interrupting(1), TensorSpec((2, 4)))


class Hungry(nn.Module):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)
        self.error = error
        self.second.forward = self.fail  # type: ignore[method-assign]

    def fail(self, x: Tensor) -> Tensor:
        if type(x) is Tensor:
            raise self.error
        return F.linear(x, self.second.weight)

    def forward(self, x: Tensor) -> Any:
        return self.second(self.first(x))


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_memory_that_runs_out_names_the_layer_the_batch_and_the_next_to_try(error: Exception) -> None:
    with pytest.raises(TraceError, match=r"out of memory on cpu in second with batch 6; try --batch 3"):
        measure(Hungry(error), TensorSpec((6, 4)))


def test_a_model_that_fails_on_the_device_names_the_layer() -> None:
    with pytest.raises(TraceError, match=r"Hungry: the forward failed in second on cpu: \"bf\" not implemented"):
        measure(Hungry(RuntimeError('"bf" not implemented')), TensorSpec((6, 4)))


def test_what_cannot_fit_is_said_before_it_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    weights, each = 107_776, 426_496  # bytes: 26,944 params, and the peak of one image
    assert (archlab.profile("reduced").total.weight_bytes, archlab.peak_memory("reduced").bytes) == (weights, each)
    monkeypatch.setattr(room, "available", lambda _: weights + 9 * each)
    measure("reduced", settings={"batch": 8})
    with pytest.raises(TraceError, match=r"out of memory on cpu in 5x5 with batch 40.*try --batch 5$"):
        measure("reduced", settings={"batch": 40})  # 20 and 10 do not fit, either
    monkeypatch.setattr(room, "available", lambda _: weights - 1)
    with pytest.raises(TraceError, match="its weights alone"):
        measure("torchvision:resnet18@64")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"dtype": "int8"}, "--dtype int8: no floating type"),
        ({"batch": 0}, "--batch must be at least 1, got 0"),
        ({"seconds": 0}, "--seconds must be above 0, got 0"),
    ],
)
def test_settings_that_cannot_be_are_said(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        measure("naive", settings=settings)


def test_inputs_without_a_common_first_dimension_take_no_batch() -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return x.sum() + y.sum()

    with pytest.raises(UsageError, match=r"--batch 4: the inputs \(2x3, 5\) have no first dimension in common"):
        measure(Two(), Spec((2, 3)), Spec((5,)), settings={"batch": 4})


def test_a_model_without_elements_cannot_be_measured() -> None:
    with torch.device("meta"):
        model = nn.Linear(2, 2)
    with pytest.raises(UsageError, match="have no elements"):
        measure(model, TensorSpec((1, 2)))


def test_a_device_that_is_not_there_is_said_with_what_there_is() -> None:
    missing = "xpu" if "cuda" in available() else "cuda"
    with pytest.raises(UsageError, match=rf"--device {missing}: torch .* finds no {missing} .* there is cpu"):
        measure("naive", device=missing)
    with pytest.raises(UsageError, match="--device tpu: no such kind of device; there is cpu"):
        measure("naive", device="tpu")
