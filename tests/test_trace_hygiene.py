"""Tracing leaves the model and the process as they were, also when the forward fails half-way."""

from __future__ import annotations

import gc
import pickle
import threading
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from archlab.errors import TraceError
from archlab.ir import Graph
from archlab.profiles import profile_graph
from archlab.pytorch.trace import trace


class Net(nn.Module):
    """Has what a forward may leave behind: statistics, attributes, a counter, hooks, random numbers."""

    def __init__(self, fails: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.norm = nn.BatchNorm2d(8)
        self.inner = nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(8 * 36, 4))
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.register_buffer("state", torch.zeros(4))
        self.fails = fails
        self.inner[2].eval()

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        x = self.norm(self.conv(x))
        self.last = x
        self.inner.seen = x
        self.state = self.inner(x)[0]
        self.extra = nn.Linear(2, 2)
        if self.fails:
            x.reshape(7, 11)
        return self.state + torch.rand(4)


def photograph(model: nn.Module) -> dict[str, Any]:
    return {
        "training": [module.training for module in model.modules()],
        "attributes": [sorted(vars(module)) for module in model.modules()],
        "names": [name for name, _ in model.named_modules()],
        "keys": list(model.state_dict()),
        "identity": [id(t) for t in (*model.parameters(), *model.buffers())],
        "values": [t.tolist() for t in (*model.parameters(), *model.buffers())],
        "versions": [t._version for t in (*model.parameters(), *model.buffers())],
        "hooks": [
            (list(m._forward_hooks), list(m._forward_pre_hooks), list(m._backward_hooks)) for m in model.modules()
        ],
        "grads": [p.requires_grad for p in model.parameters()],
        "call": nn.Module.__call__,
        "compile": torch.compile,
        "random": torch.random.get_rng_state().tolist(),
        "collecting": gc.isenabled(),
        "gradients": torch.is_grad_enabled(),
    }


@pytest.mark.parametrize("mode", ["inference", "training"])
@pytest.mark.parametrize("fails", [False, True])
def test_model_and_process_are_as_before(mode: str, fails: bool) -> None:
    model = Net(fails)
    model.conv.register_forward_hook(lambda *_: None)
    before = photograph(model)
    if fails:
        with pytest.raises(TraceError):
            trace(model, torch.zeros(2, 3, 8, 8), mode=mode)
    else:
        trace(model, torch.zeros(2, 3, 8, 8), mode=mode)
    assert photograph(model) == before


def test_a_traced_model_can_be_pickled_and_runs() -> None:
    model = Net()
    trace(model, torch.zeros(2, 3, 8, 8))
    again = pickle.loads(pickle.dumps(model))
    assert type(again(torch.zeros(2, 3, 8, 8))) is Tensor
    assert type(model(torch.zeros(2, 3, 8, 8))) is Tensor


def test_weights_that_a_forward_writes_into_keep_their_values() -> None:
    class Writes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(4))
            self.register_buffer("mean", torch.ones(4))

        def forward(self, x: Tensor) -> Tensor:
            self.weight.data.mul_(2)
            self.weight.data = self.weight.data * 3
            self.mean.copy_(x.mean(0))
            self.mean[0] = 5
            self.mean = x.mean(0)
            return x * self.weight

    model = Writes()
    mean = model.mean
    trace(model, torch.zeros(2, 4))
    assert model.weight.tolist() == [1.0] * 4
    assert model.mean is mean
    assert mean.tolist() == [1.0] * 4


def test_hooks_run_while_tracing_and_stay() -> None:
    model = nn.Sequential(nn.Linear(4, 4))
    model[0].register_forward_hook(lambda module, args, made: made @ torch.zeros(4, 2))
    profile = profile_graph(trace(model, torch.zeros(3, 4)))
    assert profile.total.macs == 3 * 4 * 4 + 3 * 2 * 4
    assert len(model[0]._forward_hooks) == 1


def test_the_error_has_its_cause_the_failing_module_and_what_ran() -> None:
    class Fails(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise KeyError("no such thing")

    model = nn.Sequential(nn.Linear(4, 8), nn.Sequential(nn.ReLU(), Fails()), nn.Linear(8, 2))
    with pytest.raises(TraceError, match=r"1\.1.*no such thing") as caught:
        trace(model, torch.zeros(3, 4))
    assert isinstance(caught.value.__cause__, KeyError)
    partial = caught.value.partial
    assert isinstance(partial, Graph)
    assert profile_graph(partial).total.macs == 3 * 8 * 4
    assert [node.name for node in partial.nodes] == ["input", "0", "1/0"]


def test_an_error_that_a_model_catches_itself_is_not_a_failure() -> None:
    class Tries(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wrong, self.right = nn.Linear(5, 2), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            try:
                return self.wrong(x)
            except Exception:
                return self.right(x)

    graph = trace(Tries(), torch.zeros(3, 4))
    assert profile_graph(graph).total.macs == 3 * 2 * 4
    assert [node.name for node in graph.nodes] == ["input", "right"]


def test_the_next_trace_after_a_failure_counts_the_same() -> None:
    model = nn.Linear(16, 8)
    for _ in range(3):
        with pytest.raises(TraceError):
            trace(Net(fails=True), torch.zeros(2, 3, 8, 8))
        assert profile_graph(trace(model, torch.zeros(4, 16))).total.macs == 4 * 8 * 16


def test_two_threads_trace_at_once_and_a_third_computes() -> None:
    ready, results, errors = threading.Barrier(3), {}, []

    def work(name: str, width: int) -> None:
        try:
            model = nn.Sequential(*[nn.Linear(width, width) for _ in range(50)])
            ready.wait(10)
            for _ in range(5):
                results[name] = profile_graph(trace(model, torch.zeros(2, width))).total.macs
        except BaseException as error:
            errors.append(error)

    def compute() -> None:
        layer = nn.Linear(8, 8)
        ready.wait(10)
        for _ in range(200):
            if type(layer(torch.zeros(2, 8))) is not Tensor:
                errors.append(AssertionError("a thread that does not trace got a traced tensor"))

    threads = [threading.Thread(target=work, args=(f"t{w}", w)) for w in (16, 32)] + [
        threading.Thread(target=compute)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert results == {"t16": 50 * 2 * 16 * 16, "t32": 50 * 2 * 32 * 32}
    assert nn.Module.__call__.__module__ == "torch.nn.modules.module"
    assert torch.compile.__module__ == "torch"
    assert gc.isenabled()


def test_a_trace_inside_a_trace_counts_for_itself() -> None:
    inner: list[int] = []

    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.other = nn.Linear(4, 4), nn.Linear(4, 8)

        def forward(self, x: Tensor) -> Tensor:
            inner.append(profile_graph(trace(self.other, torch.zeros(5, 4))).total.macs)
            return self.layer(x)

    assert profile_graph(trace(Outer(), torch.zeros(3, 4))).total.macs == 3 * 4 * 4
    assert inner == [5 * 8 * 4]


def test_the_collector_stays_off_where_it_was_off() -> None:
    gc.disable()
    try:
        trace(nn.Linear(4, 4), torch.zeros(2, 4))
        assert not gc.isenabled()
    finally:
        gc.enable()


class Remembers(nn.Module):
    """Keeps what it has made in a dict, a list and a set, as some models keep a table of positions."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.table: dict[str, Tensor] = {}
        self.seen: list[Any] = ["first"]
        self.names: set[str] = set()

    def forward(self, x: Tensor) -> Tensor:
        if "bias" not in self.table:
            self.table["bias"] = self.layer(x)
        self.seen.append(x)
        self.names.add("x")
        return x + self.table["bias"]


def test_what_a_forward_collects_in_attributes_is_put_back() -> None:
    model = Remembers()
    held = model.table, model.seen, model.names
    for _ in range(2):
        assert profile_graph(trace(model, torch.zeros(3, 4))).total.macs == 3 * 4 * 4
        assert (model.table, model.seen, model.names) == ({}, ["first"], set())
    assert (model.table, model.seen, model.names) == held
    assert model.table is held[0]


def test_a_tensor_that_another_trace_left_behind_is_a_constant() -> None:
    left: list[Tensor] = []

    def keeps(x: Tensor) -> Tensor:
        left.append(x + 1)
        return left[0] + x

    assert [type(node.op).__name__ for node in trace(keeps, torch.zeros(2)).nodes] == ["Input", "Elementwise", "Add"]
    # The second time left[0] is of the first trace: it was not made by this one.
    graph = trace(keeps, torch.zeros(2))
    assert [type(node.op).__name__ for node in graph.nodes] == ["Input", "Elementwise", "Kept", "Add"]


def test_what_runs_after_a_failure_that_a_model_caught_is_not_in_the_module_that_failed() -> None:
    class Tries(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wrong = nn.Linear(5, 2)

        def forward(self, x: Tensor) -> Tensor:
            try:
                return self.wrong(x)
            except Exception:
                return torch.relu(x)

    graph = trace(Tries(), torch.zeros(3, 4))
    assert [node.name for node in graph.nodes] == ["input", "relu"]
    assert [call.path for call in graph.calls] == ["", "wrong"]
    assert graph.calls[1].outputs == ()
    source = graph.node("relu").source
    assert source is not None
    assert source.call == 0
