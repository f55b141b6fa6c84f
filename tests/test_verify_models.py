"""Verification of models: other counters beside ours, by module, with reasons; what fails is reported."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import opinionated
import pytest
import torch
from torch import nn
from torch.nn import functional

import archlab
from archlab.analyses.conventions import CONVENTIONS, Item, Tally
from archlab.errors import UsageError
from archlab.formula import Formula
from archlab.ir import TensorSpec
from archlab.opinions import Opinion
from archlab.ops import Linear
from archlab.pytorch.agreement import parts
from archlab.pytorch.opinions.live import packed
from archlab.pytorch.trace import trace
from archlab.pytorch.verify import verify_with
from archlab.report import terminal
from archlab.report.verifying import verification_document
from archlab.verifications import UNEXPLAINED, Agreement, Disagreement, Verification

X = TensorSpec((3, 4))
FIRST, SECOND = 3 * 4 * 6, 3 * 6 * 2
MACS = FIRST + SECOND


def facts(model: nn.Module, outputs: list[str]) -> Opinion:
    def held(tensors: Iterable[tuple[str, torch.Tensor]]) -> dict[str, str]:
        types = {torch.int64: ":int64", torch.float32: ""}
        return {name: ("x".join(map(str, t.shape)) or "scalar") + types[t.dtype] for name, t in tensors}

    kept = {"parameters": held(model.named_parameters()), "buffers": held(model.named_buffers()), "outputs": outputs}
    return Opinion("forward", total=0, macs=0, facts=kept)


def verified(
    model: nn.Module,
    *said: Opinion,
    expected: Mapping[str, int] | None = None,
    inputs: Any = (X,),
    shape: str = "3x2",
) -> Verification:
    """Return what becomes of these opinions of a model; no process is started."""
    by_name = {"forward": facts(model, [shape]), **{each.counter: each for each in said}}
    graph = trace(model, *inputs)
    names = [each.counter for each in said]
    foreseen = {name: foretold(name, figure) for name, figure in (expected or {}).items()}
    return verify_with(graph, lambda asked: tuple(by_name[name] for name in asked), "inference", names, foreseen)


def foretold(counter: str, figure: int) -> Tally:
    """Return what a convention says that makes a figure of no MACs."""
    return Tally(CONVENTIONS[counter], 0, (Item("norm", figure, "for a test"),))


def only(verification: Verification) -> Agreement:
    (found,) = verification.agreements
    return found


def says(counter: str, total: int, layers: Mapping[str, int] | None = None, **more: Any) -> Opinion:
    macs = total // 2 if counter in ("torch", "profiler") else total
    return Opinion(counter, "1", total=total, macs=macs, layers=layers or {}, **more)


def test_a_figure_that_is_ours_agrees() -> None:
    said = says("torch", 2 * MACS, {"": 2 * MACS, "first": 2 * FIRST, "second": 2 * SECOND})
    verification = verified(opinionated.Small(), said)
    assert (only(verification).verdict, only(verification).difference, only(verification).first) == (
        "agrees",
        0,
        None,
    )
    assert verification.ok
    assert [(row.name, row.op, row.macs) for row in verification.rows] == [
        ("first", "Linear", FIRST),
        ("second", "Linear", SECOND),
    ]


def test_a_difference_without_a_reason_is_held_against_someone_where_both_claim_the_same() -> None:
    said = says("torch", 2 * (MACS + 5), {"": 2 * (MACS + 5), "first": 2 * FIRST, "second": 2 * (SECOND + 5)})
    verification = verified(opinionated.Small(), said)
    assert only(verification).verdict == "UNEXPLAINED"
    assert only(verification).first == Disagreement("second", SECOND, SECOND + 5)
    assert [reading.reason for row in verification.rows for reading in row.readings] == ["", UNEXPLAINED]
    assert not verification.ok


def test_layers_that_differ_do_not_cancel_out() -> None:
    said = says("torch", 2 * MACS, {"": 2 * MACS, "first": 2 * (FIRST - 7), "second": 2 * (SECOND + 7)})
    verification = verified(opinionated.Small(), said)
    assert only(verification).verdict == "UNEXPLAINED"
    assert only(verification).first == Disagreement("first", FIRST, FIRST - 7)


def test_another_convention_is_information() -> None:
    layers = {"": MACS + 3 * 6, "first": FIRST + 3 * 6, "second": SECOND}
    verification = verified(opinionated.Small(), says("torchinfo", MACS + 3 * 6, layers))
    assert only(verification).verdict == "differs"
    assert only(verification).difference == 3 * 6
    assert only(verification).first == Disagreement("first", FIRST, FIRST + 3 * 6)
    assert verification.ok


@pytest.mark.parametrize("counter", ["torchinfo", "torch"])
def test_a_figure_that_its_convention_predicts_is_marked(counter: str) -> None:
    said = says(counter, 2 * MACS + 10)
    right = verified(opinionated.Small(), said, expected={counter: 2 * MACS + 10})
    assert (only(right).verdict, right.ok) == ("as its convention says", True)
    wrong = verified(opinionated.Small(), said, expected={counter: 2 * MACS + 11})
    assert only(wrong).verdict == ("UNEXPLAINED" if counter == "torch" else "differs")


def test_the_first_difference_of_a_figure_that_was_foreseen_has_its_conventions_reason() -> None:
    extra = 4 * (3 * 6)
    layers = {"": MACS + extra, "first": FIRST, "norm": extra, "second": SECOND}
    said = says("thop", MACS + extra, layers)
    right = verified(opinionated.Normed(), said, expected={"thop": MACS + extra})
    assert only(right).first == Disagreement("norm", 0, extra, "for a test")
    wrong = verified(opinionated.Normed(), said, expected={"thop": MACS})
    assert only(wrong).first == Disagreement("norm", 0, extra)


def test_a_wrong_count_of_ours_is_unexplained(monkeypatch: pytest.MonkeyPatch) -> None:
    said = says("fvcore", MACS, {"": MACS, "first": FIRST, "act": 0, "second": SECOND})
    monkeypatch.setattr(
        Linear, "arithmetic", lambda op, outputs, *inputs: {"mac": Formula.product(*outputs[0].shape)}
    )
    verification = verified(opinionated.Small(), said)
    assert only(verification).verdict == "UNEXPLAINED"
    assert only(verification).first == Disagreement("first", 3 * 6, FIRST)


def test_what_fvcore_adds_for_a_norm_is_explained_by_module() -> None:
    extra = 2 * (3 * 6)  # two for each element of a batch norm with a scale
    layers = {"": MACS + extra, "first": FIRST, "norm": extra, "act": 0, "second": SECOND}
    verification = verified(opinionated.Normed(), says("fvcore", MACS + extra, layers))
    found = only(verification)
    assert (found.verdict, verification.ok) == ("explained", True)
    assert found.first is not None
    assert (found.first.layer, found.first.ours, found.first.theirs) == ("norm", 0, extra)
    assert found.first.reason == f"fvcore counts 2 per element of a batch norm: 2·N·C_out = 2·3·6 = {extra}"


class Attends(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.project(x)
        return functional.scaled_dot_product_attention(y, y, y)


ATTENTION = 2 * (5 * 5 * 8)
PROJECTION = 5 * 8 * 8


@pytest.mark.parametrize(
    ("counter", "unsupported", "verdict"),
    [
        ("torch", {}, "explained"),
        ("fvcore", {"aten::scaled_dot_product_attention": 1}, "explained"),
        ("fvcore", {}, "UNEXPLAINED"),
    ],
)
def test_attention_that_a_counter_misses_is_explained_where_it_has_no_rule(
    counter: str, unsupported: dict[str, int], verdict: str
) -> None:
    unit = 2 if counter == "torch" else 1
    layers = {"": unit * PROJECTION, "project": unit * PROJECTION}
    said = says(counter, unit * PROJECTION, layers, unsupported=unsupported)
    verification = verified(Attends(), said, inputs=(TensorSpec((1, 5, 8)),), shape="1x5x8")
    found = only(verification)
    assert found.verdict == verdict
    assert found.first is not None
    assert (found.first.layer, found.first.ours, found.first.theirs) == ("(the model itself)", ATTENTION, 0)
    assert found.first.reason.startswith(f"{counter} has no rule for " if verdict == "explained" else "")


def test_the_first_layer_is_the_first_that_runs_not_the_first_by_name() -> None:
    class Backwards(opinionated.Small):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.first(self.second(x))

    model = Backwards()
    model.first, model.second = nn.Linear(6, 2), nn.Linear(4, 6)
    layers = {"": MACS + 2, "first": SECOND + 1, "second": FIRST + 1}
    assert only(verified(model, says("thop", MACS + 2, layers))).first == Disagreement("second", FIRST, FIRST + 1)


def test_modules_that_a_counter_does_not_name_count_nothing_for_it() -> None:
    graph = trace(opinionated.Small(), X)
    found = parts(says("torchinfo", SECOND, {"": SECOND, "second": SECOND}), archlab.profile(graph), False)
    assert [(part.name, part.ours, part.theirs) for part in found if part.ours] == [
        ("first", FIRST, 0),
        ("second", SECOND, SECOND),
    ]


def test_a_counter_without_layers_says_only_how_much_it_differs() -> None:
    verification = verified(opinionated.Small(), says("torchprofile", MACS + 1))
    assert (only(verification).verdict, only(verification).first) == ("differs", None)
    assert "has no figures by layer" in str(verification)


FAILURES = [
    Opinion("thop", "1", "crashed", error="KeyError: 'x'"),
    Opinion("thop", "1", "timed out", error="took more than 3 s"),
    Opinion("thop", status="not installed"),
    Opinion("thop", "1", "not run", error="takes inputs by position alone, not x by name"),
]


@pytest.mark.parametrize("said", FAILURES, ids=lambda said: said.status)
def test_a_counter_that_fails_is_reported_and_not_fatal(said: Opinion) -> None:
    verification = verified(opinionated.Small(), said)
    assert only(verification).verdict == said.status
    assert verification.ok
    assert said.status in str(verification)
    assert said.error in str(verification)


def test_a_changed_model_is_reported_with_what_changed() -> None:
    said = says("thop", MACS, {"": MACS}, changed=("keys of the state dict added: total_ops",))
    text = str(verified(opinionated.Small(), said))
    assert "agrees, changed the model" in text
    assert "keys of the state dict added: total_ops" in text


@pytest.mark.parametrize(
    ("part", "value", "detail"),
    [
        ("parameters", {}, "first.weight: ours 6x4, torch's none"),
        ("buffers", {"seen": "1"}, "seen: ours none, torch's 1"),
        ("outputs", ["3x5"], "output 0: ours 3x2, torch's 3x5"),
    ],
)
def test_a_trace_that_is_not_the_model_is_a_check_that_does_not_hold(part: str, value: Any, detail: str) -> None:
    model = opinionated.Small()
    forward = facts(model, ["3x2"])
    forward = Opinion("forward", total=0, facts={**forward.facts, part: value})
    verification = verify_with(trace(model, X), lambda _: (forward,), counters=())
    failed = {check.name: check.detail for check in verification.checks if not check.ok}
    assert failed[part].startswith(detail)
    assert not verification.ok


def test_outputs_whose_shape_is_assumed_are_not_held_against_a_trace() -> None:
    class Cuts(opinionated.Small):
        def forward(self, x: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
            return super().forward(x)[: int(n)]

    model = Cuts()
    forward = facts(model, ["2x2"])  # the trace takes n, given by shape, to be zero
    verification = verify_with(trace(model, X, TensorSpec((), "int64")), lambda _: (forward,), counters=())
    (outputs,) = [check for check in verification.checks if check.name == "outputs"]
    assert outputs.ok
    assert outputs.detail.startswith("depend on elements, so no comparison: ")


def test_a_model_that_does_not_run_is_a_check_that_does_not_hold() -> None:
    forward = Opinion("forward", status="crashed", error="RuntimeError: no")
    verification = verify_with(trace(opinionated.Small(), X), lambda _: (forward,), counters=())
    assert [(check.name, check.ok, check.detail) for check in verification.checks] == [
        ("forward", False, "RuntimeError: no")
    ]
    assert not verification.ok


def test_counters_that_put_a_model_into_evaluation_do_not_count_training() -> None:
    model = opinionated.Normed()
    asked: list[str] = []

    def ask(names: Iterable[str]) -> tuple[Opinion, ...]:
        asked.extend(names)
        return tuple(facts(model, ["3x2"]) if name == "forward" else says(name, 2 * MACS) for name in names)

    graph = trace(model, X, mode="training")
    verification = verify_with(graph, ask, "training", ["thop", "torch", "calflops"])
    assert asked == ["forward", "torch"]
    assert [(each.opinion.counter, each.verdict) for each in verification.agreements] == [
        ("thop", "not run"),
        ("torch", "agrees"),
        ("calflops", "not run"),
    ]


# With the counters themselves, each in its process.


def test_a_target_is_verified_with_the_counters_themselves() -> None:
    verification = archlab.verify(
        "opinionated:Normed", inputs=["3x4"], counters=["torch", "fvcore", "torchinfo"], arguments={}
    )
    assert verification.ok, str(verification)
    assert [each.verdict for each in verification.agreements] == ["agrees", "explained", "as its convention says"]
    checks = {check.name: check.detail for check in verification.checks}
    assert checks == {"parameters": "6 equal", "buffers": "3 equal", "outputs": "1 equal"}
    assert verification.params == (4 + 1) * 6 + 2 * 6 + (6 + 1) * 2


def test_a_module_called_from_elsewhere_and_under_two_names_agrees_with_torch() -> None:
    verification = archlab.verify("opinionated:Elsewhere", inputs=["3x4"], counters=["torch"])
    assert only(verification).verdict == "agrees", str(verification)
    # Each linear layer twice, one of them once by its other name; and a product of 3x4 and 4x4.
    assert [(row.name, row.macs, row.readings[0].count) for row in verification.rows] == [
        ("inner/0", 2 * (3 * 4 * 4), 2 * (3 * 4 * 4)),
        ("inner/1", 2 * (3 * 4 * 4), 2 * (3 * 4 * 4)),
        ("(the model itself)", 3 * 4 * 4, 3 * 4 * 4),
    ]


def test_a_module_is_verified_and_left_as_it_was() -> None:
    model = opinionated.Normed()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    verification = archlab.verify(model, torch.zeros(3, 4), counters=["thop"])
    assert verification.ok
    found = only(verification)
    assert found.opinion.changed == ("keys of the state dict added: total_ops, total_params",)
    # Two for each element of the norm's input, and two more: thop counts 4 without and with a scale.
    assert found.opinion.total == MACS + 4 * (3 * 6)
    assert model.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert model.training


def test_large_weights_stay_at_home_and_what_steers_a_model_travels() -> None:
    model = nn.Sequential(nn.Linear(1000, 1000), nn.BatchNorm1d(1000))
    model[1].running_mean.fill_(3)
    model.register_buffer("places", torch.arange(100_000))
    model.again = model[0]
    data = packed(model)
    assert len(data) < 100_000 * 8 + 2 * 1000 * 4 + 10_000  # integers, two small buffers, and names
    made = pickle.loads(data)
    assert made.again is made[0]
    assert [tuple(p.shape) for p in made.parameters()] == [(1000, 1000), (1000,), (1000,), (1000,)]
    assert torch.equal(made.places, torch.arange(100_000))
    assert made[1].running_mean.unique().tolist() == [3]


def test_a_module_that_no_other_process_can_make_is_read_here_by_those_that_leave_it_alone() -> None:
    class Local(opinionated.Small):
        pass

    model = Local()
    verification = archlab.verify(model, X, counters=["torch", "fvcore", "thop"])
    assert [each.verdict for each in verification.agreements] == ["agrees", "agrees", "not run"]
    assert "name it as file.py:callable" in verification.agreements[2].opinion.error
    assert [check.ok for check in verification.checks] == [True] * 3


def test_a_function_has_counts_but_no_other_counter() -> None:
    verification = archlab.verify(opinionated.twice, torch.zeros(3, 4), counters=["torch"])
    assert (verification.macs, only(verification).verdict) == (3 * 3 * 4, "not run")
    assert only(verification).opinion.error == "reads modules alone, not a function"
    assert verification.ok


def test_an_ablated_or_built_graph_is_lowered_for_the_counters() -> None:
    verification = archlab.verify("naive", counters=["thop"])
    assert only(verification).verdict == "agrees"
    assert {count.name: count.total for count in verification.counters} == {
        "torch": verification.macs,
        "fvcore": verification.macs,
    }
    assert verification.macs == 14 * 14 * 48 * 480 * 5 * 5


def test_inputs_that_belong_to_no_model_are_refused() -> None:
    with pytest.raises(UsageError, match="only a model takes inputs here"):
        archlab.verify("naive", torch.zeros(1))


def test_the_command_line_reports_each_counter_and_ends_well(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("from torch import nn\ndef make(width):\n    return nn.Linear(4, width)\n", encoding="utf-8")
    words = [f"{file}:make", "--arg", "width=5", "--input", "2x4", "--counters", "torch,ptflops-aten", "--json"]
    result = subprocess.run(
        [sys.executable, "-m", "archlab", "verify", *words], capture_output=True, text=True, check=True
    )
    data = json.loads(result.stdout)
    assert result.stderr == ""
    assert (data["ok"], data["macs"]) == (True, 2 * 4 * 5)
    assert [(each["opinion"]["counter"], each["verdict"], each["difference"]) for each in data["agreements"]] == [
        ("torch", "agrees", 0),
        ("ptflops-aten", "as its convention says", 2 * 5),
    ]


# What a person reads.


def shown() -> Verification:
    extra = 2 * (3 * 6)
    return verified(
        opinionated.Normed(),
        says("torch", 2 * MACS, {"": 2 * MACS, "first": 2 * FIRST, "second": 2 * SECOND}),
        says("fvcore", MACS + extra, {"": MACS + extra, "first": FIRST, "norm": extra, "second": SECOND}),
        says("thop", MACS + 2 * extra, {"": MACS + 2 * extra, "first": FIRST, "norm": 2 * extra, "second": SECOND},
             changed=("keys of the state dict added: total_ops, total_params (9 modules)",)),
        Opinion("calflops", "1", "crashed", error="AttributeError: 'dict' object has no attribute 'to' " * 3),
        expected={"thop": MACS + 2 * extra},
    )  # fmt: skip


@pytest.mark.parametrize("width", [80, 120])
def test_the_report_fits_a_terminal(width: int) -> None:
    text = terminal.render(verification_document(shown()), width=width)
    assert max(map(len, text.splitlines())) <= width
    for words in (
        "agrees",
        "explained",
        "as its convention says",
        "crashed",
        "changed the model",
        "norm",
        "AttributeError",
    ):
        assert words in " ".join(text.split())


def test_the_report_says_first_how_it_ends() -> None:
    lines = str(shown()).splitlines()
    assert lines[0] == "Normed · inference"
    assert lines[2] == (
        "Nothing is left unexplained where a counter claims what we claim. "
        "Of 4 counters: 1 agrees, 1 explained, 1 as its convention says, 1 crashed."
    )


def test_markdown_and_json_hold_every_counter() -> None:
    verification = shown()
    for counter in ("torch", "fvcore", "thop", "calflops"):
        assert f"| {counter} |" in verification.to_markdown().replace("  ", "")
    data = json.loads(verification.to_json())
    assert data["agreements"][1]["first"]["layer"] == "norm"
    assert data["agreements"][3]["opinion"]["error"].startswith("AttributeError")
