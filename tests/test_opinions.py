"""Other counters, each in a process of its own: what they say, how they fail, and what they do to a model."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import opinionated
import pytest
import torch
from torch import nn

import archlab
from archlab.errors import UsageError
from archlab.ir import TensorSpec
from archlab.opinions import Opinion
from archlab.ops import Input, Linear
from archlab.pytorch.opinions import COUNTERS, Job, opinion, opinions, runner, tools
from archlab.pytorch.opinions.counting import counted
from archlab.pytorch.opinions.subject import called

X = TensorSpec((3, 4))
MACS = 3 * (4 * 6 + 6 * 2)
PARAMS = (4 + 1) * 6 + (6 + 1) * 2


def job(name: str, **more: Any) -> Job:
    return Job(f"opinionated:{name}", **{"args": (X,), **more})


@pytest.fixture(scope="module")
def said() -> dict[str, Opinion]:
    return {found.counter: found for found in opinions(job("Small"))}


SAYS = {
    # One MAC is one flop to fvcore, and two to torch's own.
    "fvcore": ("FLOPs", MACS, MACS),
    "torch": ("FLOPs", 2 * MACS, MACS),
    "profiler": ("FLOPs", 2 * MACS, MACS),
    "thop": ("MACs", MACS, MACS),
    # A sample's products and biases; a ReLU's 6 as a module, and the whole batch's as a function.
    "ptflops": ("MACs", (4 + 1) * 6 + (6 + 1) * 2 + 6 + 3 * 6, (4 + 1) * 6 + (6 + 1) * 2 + 6 + 3 * 6),
    # Products and biases of the whole batch.
    "ptflops-aten": ("MACs", 3 * PARAMS, 3 * PARAMS),
    # Every parameter once for every sample.
    "torchinfo": ("mult-adds", 3 * PARAMS, 3 * PARAMS),
    "calflops": ("MACs", MACS, MACS),
    "torchprofile": ("MACs", MACS, MACS),
}


@pytest.mark.parametrize("counter", COUNTERS)
def test_a_counter_says_what_it_prints_in_its_own_unit_and_in_macs(counter: str, said: dict[str, Opinion]) -> None:
    found = said[counter]
    assert (found.status, found.error) == ("counted", "")
    assert (found.unit, found.total, found.macs) == SAYS[counter]
    assert found.version
    assert found.params in (PARAMS, None)


LAYERS = {
    "fvcore": {"": MACS, "first": 3 * 4 * 6, "act": 0, "second": 3 * 6 * 2},
    "torch": {"": 2 * MACS, "first": 2 * 3 * 4 * 6, "second": 2 * 3 * 6 * 2},
    "thop": {"": MACS, "first": 3 * 4 * 6, "act": 0, "second": 3 * 6 * 2},
    "ptflops": {"": SAYS["ptflops"][1], "first": (4 + 1) * 6, "act": 6, "second": (6 + 1) * 2},
    "ptflops-aten": {"": 3 * PARAMS, "first": 3 * (4 + 1) * 6, "second": 3 * (6 + 1) * 2},
    "torchinfo": {"": 3 * PARAMS, "first": 3 * (4 + 1) * 6, "act": 0, "second": 3 * (6 + 1) * 2},
    "calflops": {"": MACS, "first": 3 * 4 * 6, "act": 0, "second": 3 * 6 * 2},
    "profiler": {},
    "torchprofile": {},
}


@pytest.mark.parametrize("counter", COUNTERS)
def test_a_counter_says_it_by_layer_where_it_can(counter: str, said: dict[str, Opinion]) -> None:
    assert said[counter].layers == LAYERS[counter]


def test_calflops_flops_are_kept_beside_its_macs(said: dict[str, Opinion]) -> None:
    assert said["calflops"].also == {"FLOPs": 2 * MACS + 3 * 6}  # and one for each ReLU


def test_operators_without_a_rule_are_listed(said: dict[str, Opinion]) -> None:
    assert said["fvcore"].unsupported == {}
    softmax = Job("torch.nn:Softmax", args=(X,), arguments={"dim": 1})
    assert opinion("fvcore", softmax).unsupported == {"aten::softmax": 1}
    assert opinion("torchprofile", job("Elsewhere")).unsupported == {"aten::numpy_t": 1}


def test_what_each_counter_leaves_behind_is_said(said: dict[str, Opinion]) -> None:
    assert {name: found.changed for name, found in said.items() if found.changed} == {
        "thop": ("keys of the state dict added: total_ops, total_params",),
        "ptflops": (
            "attributes added: __batch_counter__, compute_average_flops_cost, reset_flops_count, "
            "start_flops_count, stop_flops_count",
        ),
        "ptflops-aten": ("hooks left: forward hook, forward pre hook (3 modules)", "no longer pickles"),
    }


def test_a_counter_that_raises_has_crashed_and_what_it_left_is_said() -> None:
    found = opinion("fvcore", job("Untraceable"))
    assert (found.status, found.error, found.total) == ("crashed", "ValueError: no tracing here", None)
    assert "hooks left: forward hook, forward pre hook (4 modules)" in found.changed


def test_an_error_that_a_counter_prints_and_swallows_is_its_error() -> None:
    found = opinion("ptflops", job("Small", args=(TensorSpec((3, 5)),)))
    assert found.status == "crashed"
    assert "RuntimeError" in found.error
    assert "3x5" in found.error


def test_a_process_that_dies_is_a_crash_that_names_the_signal() -> None:
    found = opinion("torch", job("Dies"))
    assert (found.status, found.version) == ("crashed", version("torch"))
    assert found.error == "its process was ended by SIGKILL: out of memory?"


def test_a_counter_that_hangs_is_stopped_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPINIONATED_PID", str(tmp_path / "pid"))
    started = time.monotonic()
    found = opinion("torch", job("Hangs"), seconds=3)
    assert (found.status, found.error) == ("timed out", "took more than 3 s")
    assert time.monotonic() - started < 60


def test_an_interrupt_ends_the_process_of_a_counter(tmp_path: Path) -> None:
    place = tmp_path / "pid"
    path = os.pathsep.join([str(Path(archlab.__file__).parents[1]), str(Path(opinionated.__file__).parent)])
    environment = {**os.environ, "OPINIONATED_PID": str(place), "PYTHONPATH": path}
    words = ["verify", "opinionated:Hangs", "--input", "3x4", "--counters", "torch"]
    command = subprocess.Popen(
        [sys.executable, "-m", "archlab", *words], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    while not place.exists() or not place.read_text(encoding="utf-8"):
        assert command.poll() is None, command.communicate()
        time.sleep(0.1)
    hanging = int(place.read_text(encoding="utf-8"))
    command.send_signal(signal.SIGINT)
    out, err = command.communicate(timeout=60)
    assert (command.returncode, out, err) == (130, b"", b"error: interrupted\n")
    with pytest.raises(ProcessLookupError):
        os.kill(hanging, 0)


def test_no_more_than_two_run_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    running: list[int] = []
    most = 0
    start = runner._start

    def started(*args: Any) -> Any:
        nonlocal most
        run = start(*args)
        running.append(run.process.pid)
        most = max(most, sum(_alive(pid) for pid in running))
        return run

    monkeypatch.setattr(runner, "_start", started)
    found = opinions(Job("opinionated:nothing"), ("torch", "fvcore", "thop", "torchinfo"))
    assert len(running) == 4
    assert most == 2
    assert [each.status for each in found] == ["not run"] * 4
    assert all(each.error.startswith("opinionated has no 'nothing'") for each in found)


def _alive(pid: int) -> bool:
    state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").split()[2] if Path(f"/proc/{pid}").exists() else "Z"
    return state != "Z"


def test_a_counter_that_is_not_installed_is_said_so_and_not_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "COUNTERS", {"thop": "no_such_package"})
    monkeypatch.setattr(runner, "_start", lambda *_: pytest.fail("started"))
    assert opinion("thop", job("Small")) == Opinion("thop", status="not installed")


def test_an_unknown_counter_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="unknown counter 'thopp'; did you mean 'thop'"):
        opinion("thopp", job("Small"))


def test_constructor_arguments_and_a_graph_reach_the_other_process() -> None:
    found = opinion("torch", job("Small", arguments={"width": 7}))
    assert found.total == 2 * 3 * (4 * 7 + 7 * 2)
    b = archlab.Builder("built")
    graph = b.build(b.add("a/b", Linear(5), b.add("input", Input((2, 3)))))
    built = opinion("thop", Job(graph=graph))
    assert (built.total, built.params, built.layers) == (2 * 3 * 5, 3 * 5 + 5, {"": 30, "a": 30, "a.b": 30})


def test_inputs_by_name_go_by_position_where_the_model_lets_them() -> None:
    inputs = {"x": X, "y": X}
    assert opinion("fvcore", job("TwoInputs", args=(), kwargs=inputs)).total == MACS
    refused = opinion("thop", job("Named", args=(), kwargs={"x": X}))
    assert (refused.status, refused.error) == ("not run", "takes inputs by position alone, not x by name")


# What is different afterwards, seen in this process with counters of our own.


def _left(do: Callable[[Any], None], model: type[nn.Module] = opinionated.Small) -> tuple[str, ...]:
    def count(subject: Any) -> tools.Reading:
        subject.model(*subject.args)
        do(subject.model)
        return tools.Reading(1)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tools, "TOOLS", {"ours": tools.Tool(count, "MACs")})
        patch.setattr("archlab.pytorch.opinions.counting.TOOLS", tools.TOOLS)
        found: tuple[str, ...] = counted("ours", lambda: called(model(), (X,), {}, "inference"))["changed"]
    return found


def _nothing(model: Any) -> None:
    pass


@pytest.fixture
def linear() -> Iterator[None]:
    kept = nn.functional.linear
    yield
    nn.functional.linear = kept


@pytest.mark.parametrize(
    ("do", "said"),
    [
        (lambda m: m.act.train(), "training flag changed: now training (in act)"),
        (lambda m: m.register_buffer("count", torch.zeros(1)), "keys of the state dict added: count"),
        (lambda m: setattr(m.act, "note", 1), "attributes added: note (in act)"),
        (lambda m: setattr(m.second, "out_features", 3), "attributes replaced: out_features (in second)"),
        (lambda m: setattr(m.act, "inplace", True), "attributes replaced: inplace (in act)"),
        (lambda m: delattr(m.act, "inplace"), "attributes removed: inplace (in act)"),
        (lambda m: m.act.register_forward_hook(lambda *_: None), "hooks left: forward hook (in act)"),
        (lambda m: setattr(m.act, "forward", m.act.forward), "attributes added: forward (in act)"),
        (lambda m: setattr(m, "first", nn.Linear(4, 6)), "parameters replaced: bias, weight (in first)"),
        (lambda m: m.second(m.first(torch.ones(1, 4))).sum().backward(), "gradients left: bias, weight (2 modules)"),
        (lambda m: m.add_module("more", nn.ReLU()), "modules added: more"),
    ],
)
def test_a_change_to_the_model_is_said_with_its_place(do: Callable[[Any], None], said: str) -> None:
    assert said in _left(do)


def test_a_buffer_that_changes_in_value_is_said() -> None:
    def move(model: Any) -> None:
        model.norm.running_mean.add_(1)

    assert _left(move, opinionated.Normed) == ("buffers changed in value: running_mean (in norm)",)


@pytest.mark.usefixtures("linear")
def test_a_function_left_replaced_is_said() -> None:
    def replace(model: Any) -> None:
        nn.functional.linear = lambda *args: args[0]

    assert _left(replace) == ("functions left replaced: F.linear",)


def test_a_model_that_no_longer_pickles_is_said() -> None:
    assert "no longer pickles" in _left(lambda m: setattr(m.act, "lock", threading.Lock()))


def test_a_list_made_anew_of_the_same_things_is_no_change() -> None:
    def again(model: Any) -> None:
        model.lstm.to("cpu")  # which makes its lists of weights anew

    class Recurs(opinionated.Small):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(2, 2)

    assert _left(again, Recurs) == ()


def test_a_counter_that_changes_nothing_has_changed_nothing() -> None:
    assert _left(_nothing) == ()


def test_what_a_model_does_to_itself_is_not_held_against_a_counter() -> None:
    assert _left(_nothing, opinionated.Remembers) == ()
    assert _left(lambda m: setattr(m, "note", 1), opinionated.Remembers) == ("attributes added: note",)
