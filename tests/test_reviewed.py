"""Cases that a review has found wrong once: each must stay right."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from typer.testing import CliRunner

import archlab
from archlab import TensorSpec
from archlab.cli.commands import app
from archlab.errors import ShapeError, TraceError

WRITES: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "a slice, copied into": lambda y, made: y[:2].copy_(made[:2]),
    "another shape, added to": lambda y, made: y.view(-1).add_(made.view(-1)),
    "a transposition, added to": lambda y, made: y.t().add_(made.t()),
    "an item": lambda y, made: y.__setitem__(slice(0, 2), made[:2]),
}


class Writes(nn.Module):
    """Writes what one layer makes into a part of a tensor that the next layer reads."""

    def __init__(self, write: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.first, self.second, self.write = nn.Linear(8, 8), nn.Linear(8, 8), write

    def forward(self, x: Tensor) -> Any:
        y = torch.zeros(4, 8)
        self.write(y, self.first(x))
        return self.second(y)


@pytest.mark.parametrize("way", WRITES)
def test_a_gradient_flows_through_what_was_written_through_a_view(way: str) -> None:
    profile = archlab.profile(Writes(WRITES[way]), torch.zeros(4, 8), backward=True)
    # both forward passes; the second's weight and input; the first's weight
    assert profile.total.macs == (2 + 2 + 1) * 4 * 8 * 8


REJECTED: dict[str, tuple[Callable[..., Any], list[tuple[int, ...]]]] = {
    "einsum": (lambda a, b: torch.einsum("ij,jk->ik", a, b), [(2, 3), (4, 3)]),
    "bmm": (torch.bmm, [(1, 2, 3), (4, 3, 2)]),
    "expand": (lambda a: a.expand(5, 3), [(2, 3)]),
    "permute": (lambda a: a.permute(0, 0), [(2, 3)]),
}


@pytest.mark.parametrize("name", REJECTED)
def test_what_torch_rejects_is_rejected(name: str) -> None:
    function, shapes = REJECTED[name]
    inputs = [torch.zeros(shape) for shape in shapes]
    with pytest.raises(RuntimeError):
        function(*inputs)
    with pytest.raises(TraceError):
        archlab.trace(function, *inputs)


def test_resizing_by_area_is_the_adaptive_pool_that_torch_calls_for_it() -> None:
    counts = archlab.profile(lambda x: functional.interpolate(x, size=3, mode="area"), torch.zeros(1, 1, 7, 7))
    # three windows of three positions each way
    assert (counts.total.operations["add"], counts.total.operations["div"]) == (9 * 9, 9)


def test_a_product_of_rows_of_vectors_sums_each_row() -> None:
    assert archlab.profile(torch.linalg.vecdot, torch.zeros(3, 5), torch.zeros(3, 5)).total.macs == 3 * 5


def test_a_padding_mask_changes_no_count_of_an_encoder() -> None:
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(32, 4, 64, batch_first=True), 2)
    mask = torch.tensor([[False, False, False, False, True, True]] * 2)
    macs = [
        archlab.profile(encoder, torch.zeros(2, 6, 32), mode=mode, src_key_padding_mask=mask).total.macs
        for mode in ("inference", "training")
    ]
    # 12 tokens: four projections of 32·32 and two of 32·64; attention of 6·6 scores, 4 heads of 8
    assert macs == [2 * (12 * (4 * 32 * 32 + 2 * 32 * 64) + 2 * 2 * 4 * 6 * 6 * 8)] * 2


def test_a_condition_on_data_is_assumed_aloud() -> None:
    def run(x: Tensor) -> Any:
        return torch.cond(x.sum() > 0, lambda a: a @ a, lambda a: a + 1, (x,))

    profile = archlab.profile(run, torch.zeros(3, 3))
    assert profile.total.macs == 27
    assert profile.assumed == {"a condition on data holds everywhere": 1}


def test_random_states_of_python_and_numpy_stay() -> None:
    import numpy

    def run(x: Tensor) -> Tensor:
        random.random()
        numpy.random.rand()
        return x * 2

    before, theirs = random.getstate(), numpy.random.get_state()[1].copy()
    archlab.trace(run, torch.zeros(2))
    assert random.getstate() == before
    assert (numpy.random.get_state()[1] == theirs).all()


def test_a_parameter_without_a_shape_says_so() -> None:
    with pytest.raises(TraceError, match="weight has no shape yet; call the model once"):
        archlab.trace(nn.LazyLinear(8), torch.zeros(2, 8))


def test_an_input_that_no_memory_holds_is_refused() -> None:
    with pytest.raises(ShapeError, match="more than any memory holds"):
        archlab.trace(nn.Linear(8, 8), TensorSpec((2**40, 2**30, 8)))


MODELS = """
import torch
from torch import nn

class Unknown(nn.Module):
    def forward(self, x):
        return torch.linalg.inv(x)

class Fails(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(4, 4)

    def forward(self, x):
        self.a(x)
        raise ValueError("no")
"""


@pytest.mark.parametrize("command", ["compare", "explain", "profile", "reconcile"])
def test_every_command_names_what_is_uncounted(command: str, tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text(MODELS)
    target = f"{tmp_path}/m.py:Unknown"
    shown = CliRunner().invoke(app, [command, target, *[target] * (command == "compare"), "--input", "4x4"])
    assert shown.exit_code == 0
    assert "Uncounted: linalg_inv_ex (1×)" in " ".join(shown.output.split())


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_failed_profile_says_that_it_is_incomplete(options: list[str], tmp_path: Path, run: Any) -> None:
    (tmp_path / "m.py").write_text(MODELS)
    made = run("profile", f"{tmp_path}/m.py:Fails", "--input", "2x4", *options)
    assert made.code == 3
    if options:
        data = json.loads(made.out)
        assert (data["error"], data["total"]["macs"]) == ("Fails: the forward failed in Fails: no", 2 * 4 * 4)
    else:
        text = " ".join(made.out.split())
        assert "Incomplete: Fails: the forward failed in Fails: no. This is what ran before." in text
        assert "every operation has a rule" not in text


def test_an_exported_program_is_traced_as_it_was_exported() -> None:
    program = torch.export.export(nn.Linear(8, 8).eval(), (torch.zeros(2, 8),)).module()
    assert archlab.profile(program, torch.zeros(2, 8)).total.macs == 2 * 8 * 8


def quantised(layer: nn.Module) -> nn.Module:
    made: nn.Module = torch.ao.quantization.quantize_dynamic(
        nn.Sequential(layer), {nn.LSTM, nn.GRU}, dtype=torch.qint8
    )
    return made


MORE: dict[str, tuple[Callable[[], Any], list[Tensor], int]] = {
    # two layers of four gates of 6 units, over 5 steps of 2 sequences
    "a quantised LSTM": (
        lambda: quantised(nn.LSTM(8, 6, 2)),
        [torch.zeros(5, 2, 8)],
        5 * 2 * 4 * 6 * (8 + 6 + 6 + 6),
    ),
    "a quantised GRU": (lambda: quantised(nn.GRU(8, 6)), [torch.zeros(5, 2, 8)], 5 * 2 * 3 * 6 * (8 + 6)),
    "a product in 8 bits": (
        lambda: torch._int_mm,
        [torch.zeros(32, 32, dtype=torch.int8), torch.zeros(32, 32, dtype=torch.int8)],
        32 * 32 * 32,
    ),
    # 7 + 2·1 - 3 + 1 places of 2 sequences, 4 channels of 3 taps of 3 channels
    "a convolution, time first": (
        lambda: lambda x, w, b: torch.conv_tbc(x, w, b, 1),
        [torch.zeros(7, 2, 3), torch.zeros(3, 3, 4), torch.zeros(4)],
        7 * 2 * 4 * 3 * 3,
    ),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", MORE)
def test_more_contractions_are_counted(name: str) -> None:
    make, inputs, macs = MORE[name]
    model = make()
    profile = archlab.profile(model, *inputs)
    assert (profile.total.macs, profile.uncounted) == (macs, {})
    ran = model(*inputs)
    made = [tuple(t.shape) for t in (ran[0] if isinstance(ran, tuple) else ran,)]
    assert [profile.graph.output_specs[0].shape] == made


@pytest.mark.parametrize("shape", [(3,), (3, 8), (1, 3, 8, 8, 8)])
def test_a_convolution_of_an_input_of_another_rank_says_both_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(TraceError, match=r"weight \(8, 3, 3, 3\), groups 1, does not read \(") as error:
        archlab.trace(nn.Conv2d(3, 8, 3), TensorSpec(shape))
    assert str(shape) in str(error.value)
