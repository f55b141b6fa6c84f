"""Gradient flow of models that run themselves: built anew, drawn like graphs, and left as they were."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import archlab
from archlab.errors import UsageError
from archlab.gradients import GradientFlow, Setting
from archlab.ir import Builder, TensorSpec
from archlab.ops import Input, Linear
from archlab.pytorch.initialise import TABLE, initialise, tables_of
from archlab.pytorch.trainable import Live, trainable

MODELS = """
import torch
from torch import nn
from torch.nn import functional

class TwoLayers(nn.Module):
    def __init__(self, softmax=False, also=None):
        super().__init__()
        self.first, self.second = nn.Linear(3, 4, bias=False), nn.Linear(4, 5, bias=False)
        self.softmax, self.also = softmax, also

    def forward(self, x):
        hidden = self.first(x)
        scores = self.second(hidden)
        scores = scores.softmax(-1) if self.softmax else scores
        return (scores, scores.view(-1, 5), hidden) if self.also else scores

class Positions(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(torch.empty(1, 3))
        nn.init.trunc_normal_(self.table, std=0.5)
        self.scale = nn.Parameter(torch.full((1, 3), 1e-3))
        self.fc = nn.Linear(3, 5)

    def forward(self, x):
        return self.fc(functional.dropout((x + self.table) * self.scale, 0.5, self.training))

class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.rows, self.fc = nn.Embedding(7, 4), nn.Linear(4, 5)

    def forward(self, ids):
        return self.fc(self.rows(ids))

class Headed(nn.Module):
    def __init__(self, head=True):
        super().__init__()
        self.stem = nn.Linear(3, 8)
        self.aux = nn.Sequential(nn.Dropout(0.5), nn.Linear(8, 5)) if head else None
        self.main = nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.5), nn.Linear(8, 5))

    def forward(self, x):
        x = self.stem(x)
        auxiliary = None if self.aux is None else self.aux(x)
        return self.main(x) if auxiliary is None else (self.main(x), auxiliary)

def headless():
    return Headed(False)

instance = TwoLayers()
"""


@pytest.fixture
def models(tmp_path: Path) -> str:
    """A file of models."""
    path = tmp_path / "some_models.py"
    path.write_text(MODELS)
    return str(path)


def measured(target: str, shape: str = "2x3", **more: Any) -> GradientFlow:
    setting = Setting(2, ("default", "kaiming"))
    return archlab.gradient_flow(target, setting=setting, inputs=(shape,), **more)


def test_a_model_has_the_figures_of_the_graph_that_is_the_same_network(models: str) -> None:
    b = Builder("two-layers")
    x = b.add("first", Linear(4, bias=False), b.add("input", Input((2, 3))))
    graph = b.build(b.add("second", Linear(5, bias=False), x))
    built = archlab.gradient_flow(graph, setting=Setting(2, ("default", "kaiming"))).runs
    for one, other in zip(built, measured(f"{models}:TwoLayers").runs, strict=True):
        assert (other.init, other.seed, other.blocks) == (one.init, one.seed, one.blocks)
        assert other.loss == one.loss


def test_probabilities_at_the_end_lose_what_scores_lose(models: str) -> None:
    scores, probabilities = (measured(f"{models}:TwoLayers", arguments={"softmax": end}) for end in (False, True))
    for one, other in zip(scores.runs, probabilities.runs, strict=True):
        assert other.loss == pytest.approx(one.loss, rel=1e-5)
        assert other.blocks["first"].norm == pytest.approx(one.blocks["first"].norm, rel=1e-4)


def test_an_output_of_the_same_shape_is_a_head_and_another_is_left_out_aloud(models: str) -> None:
    """The second output is the first once more: the loss is (1 + 0.3) times that of the first alone."""
    alone, several = (measured(f"{models}:TwoLayers", arguments={"also": also}) for also in (False, True))
    assert (several.heads, several.left_out) == ((1,), (1,))
    for one, other in zip(alone.runs, several.runs, strict=True):
        assert other.loss == pytest.approx(1.3 * one.loss, rel=1e-6)
        assert other.blocks["first"].norm == pytest.approx(1.3 * one.blocks["first"].norm, rel=1e-5)
    assert f"Outputs of another shape are in no loss: 1 of {models}:TwoLayers." in " ".join(str(several).split())
    assert "in no loss" not in str(alone)
    assert GradientFlow.of(several.to_dict()) == several


def test_a_parameter_of_no_layer_is_drawn_and_a_constant_stays(models: str) -> None:
    flow = measured(f"{models}:Positions")
    assert flow.blocks == ("table", "scale", "fc")
    first, again = flow, measured(f"{models}:Positions")
    assert first.runs == again.runs  # dropout that is no module, too
    # The gradient of the table is what arrives there times the scale, 0.001: far below that of the scale.
    assert all(run.blocks["table"].norm < run.blocks["fc"].norm for run in flow.runs)
    assert all(run.blocks["table"].output_norm is None for run in flow.runs)


def test_tables_are_what_a_constructor_left_empty() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Parameter(torch.zeros(100, 50))
            self.constant = nn.Parameter(torch.full((10, 10), 7.0))
            self.shift = nn.Parameter(torch.zeros(10))
            self.fc = nn.Linear(3, 3)
            nn.init.zeros_(self.fc.weight)

    model = Model()
    tables = tables_of(model)
    assert tables == {"table"}
    for seed in (0, 1):  # what is drawn once is still a table
        initialise(model, "xavier", seed, tables)
        table = model.table.detach()
        # Of 5,000 numbers the deviation lies within a few times 1/√(2·5,000) = 1 % of that of what is drawn.
        assert float(table.std()) == pytest.approx(TABLE, rel=0.05)
        assert bool((model.constant == 7).all())
        assert not bool(model.shift.any())
    before = model.table.detach().clone()
    initialise(model, "xavier", 0, tables)
    assert not torch.equal(model.table, before)


def test_tokens_are_rows_of_the_table_that_reads_them(models: str) -> None:
    tokens = Live("tokens", f"{models}:Tokens", {}, (TensorSpec((50, 20), "int64"),), {})
    (ids,), _ = trainable(tokens).drawn()
    # Of 1,000 tokens from 7 rows one is missing in a case of (6/7)^1000 · 7, about 10^-66.
    assert set(ids.flatten().tolist()) == set(range(7))


def test_what_a_model_draws_itself_is_drawn_for_it(models: str) -> None:
    positions = Live("positions", f"{models}:Positions", {}, (TensorSpec((2, 3)),), {})
    assert trainable(positions).tables == {"table"}


def test_dropout_is_the_same_with_and_without_a_head_that_draws_before_it(models: str) -> None:
    targets = (f"{models}:headless", f"{models}:Headed")
    flow = archlab.gradient_flow(*targets, setting=Setting(3, ("kaiming",)), inputs=("4x3",))
    assert flow.heads == (0, 1)
    verdicts = {block: flow.ratio(targets[1], "kaiming", block) for block in ("stem", "main")}
    assert verdicts["main"] is not None
    assert verdicts["main"].verdict == "equal"
    assert verdicts["stem"] is not None
    assert verdicts["stem"].verdict == "too few seeds"


def test_a_module_that_somebody_else_holds_is_left_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, models: str
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    instance = importlib.import_module("some_models").instance.eval()
    before = {name: tensor.clone() for name, tensor in instance.state_dict().items()}
    measured("some_models:instance")
    assert not instance.training
    for name, tensor in instance.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert all(p.grad is None for p in instance.parameters())
    assert not any(layer._forward_pre_hooks or layer._forward_hooks for layer in instance.modules())


@pytest.mark.parametrize("target", ["torchvision:mobilenet_v2@32", "torchvision:shufflenet_v2_x1_0@32"])
def test_a_model_that_no_graph_can_be_lowered_for_is_measured(target: str) -> None:
    flow = archlab.gradient_flow(target, setting=Setting(1, ("kaiming",)))
    assert flow.input == {"input": "2x3x32x32"}
    (run,) = flow.runs
    assert all(block.norm > 0 for block in run.blocks.values())
    profile = archlab.profile(archlab.load(target))
    assert sum(block.params for block in run.blocks.values()) == profile.total.params


def test_a_function_has_nothing_to_train(models: str) -> None:
    Path(models).write_text("def make():\n    return lambda x: x\n")
    with pytest.raises(UsageError, match=r"make is a function; only a module has parameters to train"):
        measured(f"{models}:make")
