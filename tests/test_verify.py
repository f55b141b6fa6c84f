"""Verification: independent counters agree, differ for a stated reason, or are reported."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from random_graphs import graphs

from archlab.errors import UsageError
from archlab.formula import Formula
from archlab.ir import MODES, Builder, Graph, Node, Op, Shape, TensorSpec
from archlab.ops import (
    AdaptiveAvgPool2d,
    BatchNorm,
    Conv2d,
    ConvTranspose2d,
    Flatten,
    GlobalAvgPool2d,
    Input,
    LayerNorm,
    Linear,
    MatMul,
    Softmax,
)
from archlab.pytorch.counters import count_with_fvcore, quiet
from archlab.pytorch.lower import lower
from archlab.pytorch.verify import verify
from archlab.verifications import UNEXPLAINED, Row, Verification
from archlab.zoo import catalog


def chain(*ops: Op, shape: Shape = (2, 6, 9, 7)) -> Graph:
    b = Builder("chain")
    x = b.add("input", Input(shape))
    for i, op in enumerate(ops):
        x = b.add(f"{type(op).__name__}{i}", op, x)
    return b.build(x)


def product(a: Shape, b: Shape) -> Graph:
    builder = Builder("product")
    return builder.build(builder.add("product", MatMul(), builder.add("a", Input(a)), builder.add("b", Input(b))))


def row(verification: Verification, name: str) -> Row:
    return next(row for row in verification.rows if row.name == name)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", catalog.ARCHITECTURES)
def test_every_architecture_of_the_zoo_verifies(name: str, mode: str) -> None:
    verification = verify(catalog.build(name), mode)
    assert verification.ok, str(verification)
    by_name = {count.name: count for count in verification.counters}
    assert verification.macs == by_name["torch"].total == sum(r.macs for r in verification.rows)
    extras = sum(reading.difference for r in verification.rows for reading in r.readings)
    assert by_name["fvcore"].total == verification.macs + extras


@pytest.mark.parametrize(
    ("name", "total"), [("googlenet-torchvision", 1_504_878_688), ("alexnet-torchvision", 714_197_696)]
)
def test_fvcore_on_meta_reads_what_others_read_from_it_on_the_torchvision_models(name: str, total: int) -> None:
    # architectures.md, section 6.1: fvcore 0.1.5 run on torchvision's own models.
    assert {count.name: count.total for count in verify(catalog.build(name)).counters}["fvcore"] == total


@settings(max_examples=50, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(graphs())
def test_random_graphs_verify_in_both_modes(graph: Graph) -> None:
    for mode in MODES:
        assert verify(graph, mode).ok


def test_fvcore_counts_the_same_on_meta_as_on_the_cpu() -> None:
    graph = chain(
        Conv2d(4, 3, 2, 1),
        Conv2d(6, (1, 3), padding="same", groups=2),
        Conv2d(6, 3, 2, "same_upper"),
        BatchNorm(shift=False),
        ConvTranspose2d(4, 3, 2, 1, 1, groups=2),
        LayerNorm(),
        AdaptiveAvgPool2d(3),
        Flatten(),
        Linear(5),
        Softmax(),
    )
    module = lower(graph).eval()
    names = [node.name for node in graph.nodes[1:]]
    on_meta = count_with_fvcore(lower(graph, "meta").eval(), (torch.empty(2, 6, 9, 7, device="meta"),), names)
    with quiet():
        from fvcore.nn import FlopCountAnalysis  # warns when it is imported

        on_cpu = FlopCountAnalysis(module, (torch.zeros(2, 6, 9, 7),))
        on_cpu.unsupported_ops_warnings(False)
        assert on_meta.layers == {name: on_cpu.by_module()[name] for name in names}
        assert on_meta.total == on_cpu.total()
        assert on_meta.unsupported == {n: dict(on_cpu.unsupported_ops(n)) for n in names if on_cpu.unsupported_ops(n)}


@pytest.mark.parametrize(
    ("op", "mode", "extra", "reason"),
    [
        (BatchNorm(), "inference", 2 * (2 * 6 * 9 * 7), "2 per element of a batch norm"),
        (BatchNorm(scale=False), "inference", 1 * (2 * 6 * 9 * 7), "1 per element of a batch norm"),
        (BatchNorm(), "training", 5 * (2 * 6 * 9 * 7), "5 per element of a batch norm"),
        (BatchNorm(scale=False), "training", 4 * (2 * 6 * 9 * 7), "4 per element of a batch norm"),
        (LayerNorm(), "inference", 5 * (2 * 6 * 9 * 7), "5 per element of a layer norm"),
        (LayerNorm(scale=False, shift=False), "inference", 4 * (2 * 6 * 9 * 7), "4 per element of a layer norm"),
        (GlobalAvgPool2d(), "inference", 2 * 6 * 9 * 7, "each input element of an adaptive pool"),
        (AdaptiveAvgPool2d(2), "inference", 2 * 6 * 9 * 7, "each input element of an adaptive pool"),
    ],
    ids=repr,
)
def test_what_fvcore_counts_besides_macs_is_explained_by_its_rule(op: Op, mode: str, extra: int, reason: str) -> None:
    verification = verify(chain(op), mode)
    torchs, fvcores = verification.rows[0].readings
    assert (torchs.count, torchs.reason) == (0, "")
    assert (fvcores.count, fvcores.difference) == (extra, extra)
    assert reason in fvcores.reason
    assert f"{extra:,}" in fvcores.reason
    assert verification.ok


def test_a_convolution_that_fvcore_has_no_rule_for_is_said_so() -> None:
    verification = verify(chain(Conv2d(4, 3, padding="same")))
    torchs, fvcores = verification.rows[0].readings
    assert torchs.count == verification.macs == 2 * 4 * 9 * 7 * (6 * 3 * 3)
    assert (fvcores.count, fvcores.difference) == (0, -verification.macs)
    assert "no rule for aten::_convolution_mode" in fvcores.reason
    assert verification.ok


def test_batches_of_the_right_operand_alone_are_missing_from_fvcore() -> None:
    torchs, fvcores = verify(product((2, 3), (5, 3, 4))).rows[0].readings
    assert torchs.count == 5 * 2 * 3 * 4
    assert fvcores.count == 2 * 3 * 4
    assert "batch dimensions that only the right operand has" in fvcores.reason


def test_products_with_a_vector_that_no_counter_has_a_rule_for_are_said_so() -> None:
    verification = verify(product((2, 3), (3,)))
    torchs, fvcores = verification.rows[0].readings
    assert verification.macs == 2 * 3
    assert torchs.count == fvcores.count == 0
    assert "no rule for aten.mv" in torchs.reason
    assert "for aten::matmul fails on these shapes" in fvcores.reason
    assert verification.ok


def test_a_layer_that_leads_to_no_output_is_missing_from_fvcore_and_said_so() -> None:
    b = Builder("dead end")
    x = b.add("conv", Conv2d(2, 1), b.add("input", Input((1, 2, 5, 5))))
    b.add("unread", Conv2d(3, 1), x)
    verification = verify(b.build(x))
    torchs, fvcores = row(verification, "unread").readings
    assert (torchs.count, fvcores.count) == (25 * 2 * 3, 0)
    assert "leads to none" in fvcores.reason
    assert verification.ok


def test_an_operator_without_a_rule_is_listed_by_layer_and_nothing_is_printed(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.DEBUG):
        verification = verify(chain(Flatten(), Softmax()))
    assert verification.counters[1].unsupported == {"Softmax1": {"aten::softmax": 1}}
    assert [record for record in caplog.records if record.name.startswith("fvcore")] == []
    assert capsys.readouterr() == ("", "")


@dataclass(frozen=True)
class Miscounted(Conv2d):
    """A convolution that forgets one factor."""

    def arithmetic(self, outputs: tuple[TensorSpec, ...], x: TensorSpec) -> Mapping[str, Formula]:
        return {"mac": Formula.product(*outputs[0].shape, x.shape[1])}


def test_a_wrong_count_is_unexplained_and_not_ok() -> None:
    verification = verify(chain(Conv2d(4, 3), Miscounted(4, 3)))
    right, wrong = verification.rows
    assert [reading.reason for reading in right.readings] == ["", ""]
    assert [reading.reason for reading in wrong.readings] == [UNEXPLAINED, UNEXPLAINED]
    assert wrong.readings[0].difference == 2 * 4 * 5 * 3 * 4 * (3 * 3 - 1)
    assert not verification.ok


def test_a_rule_does_not_explain_away_a_count_of_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BatchNorm, "arithmetic", lambda op, outputs, x: {"mac": Formula.product(*x.shape)})
    torchs, fvcores = verify(chain(BatchNorm())).rows[0].readings
    assert torchs.reason == UNEXPLAINED
    assert fvcores.reason == UNEXPLAINED


@dataclass(frozen=True)
class Misshapen(Conv2d):
    """A convolution that puts the channels of its weight the wrong way round."""

    def weights(self, x: TensorSpec) -> Mapping[str, Shape]:
        return {"weight": (x.shape[1], self.out_channels, *self.kernel), "bias": (self.out_channels,)}


@dataclass(frozen=True)
class Renamed(Conv2d):
    """A convolution that calls its bias something else."""

    def weights(self, x: TensorSpec) -> Mapping[str, Shape]:
        return {"weight": (self.out_channels, x.shape[1], *self.kernel), "offset": (self.out_channels,)}


@dataclass(frozen=True)
class Miscut(Conv2d):
    """A convolution that says it makes one column more."""

    def infer(self, x: TensorSpec) -> TensorSpec:
        made = super().infer(x)
        return made.reshaped((*made.shape[:3], made.shape[3] + 1))


@pytest.mark.parametrize(
    ("op", "check", "detail"),
    [
        (Misshapen(4, 3), "parameters", "Misshapen0.weight: ours 6x4x3x3, torch's 4x6x3x3"),
        (Renamed(4, 3), "parameters", "Renamed0.offset: ours 4, torch's none; Renamed0.bias: ours none, torch's 4"),
        (Miscut(4, 3), "layer outputs", "Miscut0: ours 2x4x7x6, torch's 2x4x7x5"),
        (Miscut(4, 3), "outputs", "outputs: ours 2x4x7x6, torch's 2x4x7x5"),
    ],
    ids=repr,
)
def test_a_wrong_weight_or_shape_is_a_check_that_does_not_hold(op: Op, check: str, detail: str) -> None:
    verification = verify(chain(op))
    failed = {c.name: c.detail for c in verification.checks if not c.ok}
    assert failed[check] == detail
    assert not verification.ok


def test_a_forward_that_fails_is_a_check_that_does_not_hold() -> None:
    verification = verify(chain(Miscut(4, 3), Flatten(), Linear(3)))
    (failed,) = [check for check in verification.checks if not check.ok]
    assert failed.name == "forward"
    assert "RuntimeError" in failed.detail
    assert verification.counters == ()
    assert not verification.ok


def test_checks_say_how_much_was_compared() -> None:
    checks = {check.name: check.detail for check in verify(chain(Conv2d(4, 3), BatchNorm())).checks}
    assert (checks["parameters"], checks["buffers"], checks["layer outputs"]) == ("4 equal", "3 equal", "2 equal")


def test_a_layer_below_another_is_counted_once_and_under_its_own_name() -> None:
    nodes = (
        Node("input", Input((1, 2, 5, 5))),
        Node("a", Conv2d(3, 1), (("input", 0),)),
        Node("a/b", Conv2d(4, 1), (("a", 0),)),
    )
    verification = verify(Graph("nested", nodes, (("a/b", 0),)))
    assert [reading.count for reading in row(verification, "a").readings] == [25 * 2 * 3] * 2
    assert [reading.count for reading in row(verification, "a/b").readings] == [25 * 3 * 4] * 2


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(UsageError, match="unknown mode 'evaluation'"):
        verify(chain(Conv2d(4, 3)), "evaluation")
