"""Mixtures of experts: MACs, total and active params, and the assumption they rest on; derived by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Outcome
from torch import Tensor, nn
from torch.nn import functional

import archlab
from archlab.profiles import Profile
from archlab.pytorch.backward import counted

pytestmark = pytest.mark.filterwarnings("ignore")

Run = Callable[..., Outcome]
WIDTH, HIDDEN, EXPERTS = 16, 32, 4
EXPERT = WIDTH * HIDDEN + HIDDEN + HIDDEN * WIDTH + WIDTH
EXPERT_MACS = 2 * WIDTH * HIDDEN
REST = (WIDTH * EXPERTS + EXPERTS) + (WIDTH * WIDTH + WIDTH)
"""The params of the router and of the layer behind the experts, which every token reads."""


def assumption(k: int, experts: int = EXPERTS) -> str:
    return f"each token goes to {k} of {experts} experts, evenly, whatever the router says"


class Mixture(nn.Module):
    """A router, experts of two layers each, and a layer behind them; `run` says how tokens meet experts."""

    def __init__(self, run: Callable[..., Tensor], k: int = 1) -> None:
        super().__init__()
        self.k, self.run = k, run
        self.gate, self.out = nn.Linear(WIDTH, EXPERTS), nn.Linear(WIDTH, WIDTH)
        layers = [(nn.Linear(WIDTH, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, WIDTH)) for _ in range(EXPERTS)]
        self.experts = nn.ModuleList(nn.Sequential(*layer) for layer in layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.run(self, x))


def by_index(m: Any, x: Tensor) -> Tensor:
    """Each expert takes the rows that chose it."""
    p = m.gate(x).softmax(-1)
    choice, y = p.argmax(-1), torch.zeros_like(x)
    for e, expert in enumerate(m.experts):
        rows = (choice == e).nonzero(as_tuple=True)[0]
        if len(rows):
            y[rows] = expert(x[rows]) * p[rows, e].unsqueeze(-1)
    return y


def by_mask(m: Any, x: Tensor) -> Tensor:
    """The same with masks, and the choice by `max`."""
    weight, choice = m.gate(x).softmax(-1).max(-1)
    y = torch.zeros_like(x)
    for e, expert in enumerate(m.experts):
        mask = choice == e
        if mask.any():
            y[mask] = expert(x[mask]) * weight[mask].unsqueeze(-1)
    return y


def by_place(m: Any, x: Tensor) -> Tensor:
    """Several experts a row, found in a one-hot mask, as transformers wrote it before grouped products."""
    weight, choice = m.gate(x).softmax(-1).topk(m.k, dim=-1)
    y = torch.zeros_like(x)
    mask = functional.one_hot(choice, EXPERTS).permute(2, 1, 0)
    for e, expert in enumerate(m.experts):
        place, rows = torch.where(mask[e])
        y.index_add_(0, rows, expert(x[rows]) * weight[rows, place, None])
    return y


def by_sorting(m: Any, x: Tensor) -> Tensor:
    """Rows in the order of their experts, cut where the experts change."""
    weight, choice = m.gate(x).softmax(-1).topk(m.k, dim=-1)
    order = choice.flatten().argsort()
    sizes = torch.bincount(choice.flatten(), minlength=EXPERTS).tolist()
    parts = x[order // m.k].split(sizes)
    made = torch.cat([expert(part) for expert, part in zip(m.experts, parts, strict=True)])
    return torch.zeros_like(x).index_add(0, order // m.k, made * weight.flatten()[order, None])


def by_layer(m: Any, x: Tensor) -> Tensor:
    """All first layers on their rows, joined, then all second layers on theirs."""
    weight, choice = m.gate(x).softmax(-1).topk(m.k, dim=-1)
    order = choice.flatten().argsort()
    sizes = torch.bincount(choice.flatten(), minlength=EXPERTS).tolist()
    rows = x[order // m.k]
    for layer in (0, 2):
        rows = rows if layer == 0 else rows.relu()
        rows = torch.cat([e[layer](part) for e, part in zip(m.experts, rows.split(sizes), strict=True)])
    return torch.zeros_like(x).index_add(0, order // m.k, rows * weight.flatten()[order, None])


WAYS = [(by_index, 1), (by_mask, 1), (by_place, 1), (by_place, 2), (by_place, 3), (by_sorting, 2), (by_layer, 2)]


def profiled(run: Callable[..., Tensor], k: int, tokens: int = 12) -> Profile:
    return archlab.profile(Mixture(run, k), torch.zeros(tokens, WIDTH))


@pytest.mark.parametrize(("run", "k"), WAYS)
def test_each_token_costs_the_experts_that_it_goes_to(run: Callable[..., Tensor], k: int) -> None:
    profile = profiled(run, k)
    assert profile.total.macs == 12 * (WIDTH * EXPERTS + k * EXPERT_MACS + WIDTH * WIDTH)
    assert profile.parameters["read"] == REST + EXPERTS * EXPERT
    assert profile.parameters["active"] == REST + k * EXPERT
    assert profile.assumed == {assumption(k): 1}
    assert not profile.uncounted


@pytest.mark.parametrize(("run", "k"), WAYS)
def test_real_routes_cost_the_same_in_both_passes(run: Callable[..., Tensor], k: int) -> None:
    torch.manual_seed(0)
    model, x = Mixture(run, k), torch.randn(12, WIDTH)
    profile = archlab.profile(model, x, backward=True)
    assert (profile.total.macs - profile.total.backward_macs, profile.total.backward_macs) == counted(model, x)


@pytest.mark.parametrize("tokens", [5, 7, 13])
def test_tokens_that_experts_cannot_share_evenly_cost_as_much(tokens: int) -> None:
    profile = profiled(by_place, 3, tokens)
    assert profile.total.macs == tokens * (WIDTH * EXPERTS + 3 * EXPERT_MACS + WIDTH * WIDTH)
    assert profile.parameters["active"] == REST + 3 * EXPERT


def test_one_token_leaves_the_other_experts_unread() -> None:
    counts = profiled(by_index, 1, tokens=1).parameters
    assert (counts["read"], counts["unused"]) == (REST + EXPERT, (EXPERTS - 1) * EXPERT)
    assert "active" not in counts  # it reads all that is read


def test_a_batch_of_sequences_routes_its_tokens() -> None:
    profile = archlab.profile(Mixture(by_mask), torch.zeros(2, 6, WIDTH))
    assert profile.total.macs == 12 * (WIDTH * EXPERTS + EXPERT_MACS + WIDTH * WIDTH)
    assert profile.parameters["active"] == REST + EXPERT


class Stacked(nn.Module):
    """Experts whose matrices lie in one tensor."""

    def __init__(self, run: Callable[..., Tensor], k: int = 2) -> None:
        super().__init__()
        self.run, self.k, self.gate = run, k, nn.Linear(WIDTH, EXPERTS, bias=False)
        self.up = nn.Parameter(torch.zeros(EXPERTS, WIDTH, HIDDEN))
        self.bias = nn.Parameter(torch.zeros(EXPERTS, HIDDEN))

    def forward(self, x: Tensor) -> Tensor:
        weight, choice = self.gate(x).topk(self.k, dim=-1)
        return self.run(self, x, choice) + weight.sum()


def gathered(m: Any, x: Tensor, choice: Tensor) -> Tensor:
    """Each row is given matrices of its own: exact, whoever is chosen."""
    flat = choice.flatten()
    rows = x.repeat_interleave(m.k, 0).unsqueeze(1)
    return torch.bmm(rows, m.up[flat]).squeeze(1) + m.bias[flat]


def grouped(m: Any, x: Tensor, choice: Tensor) -> Tensor:
    order = choice.flatten().argsort()
    ends = torch.bincount(choice.flatten(), minlength=EXPERTS).cumsum(0).int()
    made = functional.grouped_mm(x[order // m.k], m.up, offs=ends)
    return made + m.bias[choice.flatten()[order]]


def sliced(m: Any, x: Tensor, choice: Tensor) -> Tensor:
    made = [x[(choice == e).any(-1)] @ m.up[e] + m.bias[e] for e in range(EXPERTS)]
    return torch.cat(made)


def test_matrices_gathered_by_row_assume_nothing() -> None:
    profile = archlab.profile(Stacked(gathered), torch.zeros(12, WIDTH))
    assert profile.total.macs == 12 * (WIDTH * EXPERTS + 2 * WIDTH * HIDDEN)
    assert profile.parameters["active"] == WIDTH * EXPERTS + 2 * (WIDTH * HIDDEN + HIDDEN)
    assert profile.assumed == {}


@pytest.mark.parametrize("run", [grouped, sliced])
def test_matrices_of_experts_that_lie_in_one_tensor_are_active_in_part(run: Callable[..., Tensor]) -> None:
    profile = archlab.profile(Stacked(run), torch.zeros(12, WIDTH))
    assert profile.total.macs == 12 * (WIDTH * EXPERTS + 2 * WIDTH * HIDDEN)
    assert profile.parameters["read"] == WIDTH * EXPERTS + EXPERTS * (WIDTH * HIDDEN + HIDDEN)
    assert profile.parameters["active"] == WIDTH * EXPERTS + 2 * (WIDTH * HIDDEN + HIDDEN)
    assert profile.assumed == {assumption(2): 1}


@pytest.mark.parametrize(("tokens", "touched"), [(1, 2), (2, 4), (12, 4)])
def test_a_grouped_product_reads_the_experts_that_are_touched(tokens: int, touched: int) -> None:
    profile = archlab.profile(Stacked(grouped), torch.zeros(tokens, WIDTH))
    layer = next(layer for layer in profile.layers if "grouped_mm" in layer.name)
    rows, ends = 2 * tokens, 4 * EXPERTS  # the ends are 32-bit integers
    assert layer.cost.bytes_moved == 4 * (rows * WIDTH + touched * WIDTH * HIDDEN + rows * HIDDEN) + ends


# -- what is no routing ---------------------------------------------------------------------------


class Pruned(nn.Module):
    """Keeps the 3 tokens that score highest; a layer works on them alone."""

    def __init__(self) -> None:
        super().__init__()
        self.score, self.layer = nn.Linear(WIDTH, 1), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        kept = self.score(x).squeeze(-1).topk(3, dim=-1).indices
        return self.layer(x.gather(1, kept.unsqueeze(-1).expand(-1, -1, WIDTH)))


def test_tokens_that_are_kept_are_no_experts() -> None:
    profile = archlab.profile(Pruned(), torch.zeros(2, 6, WIDTH))
    assert "active" not in profile.parameters
    assert profile.assumed == {}


def test_a_choice_that_nobody_reads_is_no_assumption() -> None:
    profile = archlab.profile(lambda x: (x.topk(2).indices, x.argmax(-1), x.max(-1)), torch.zeros(3, 8))
    assert profile.assumed == {}


@pytest.mark.parametrize("shape", [(2000,), (3, 2000)])
def test_the_word_that_scores_highest_is_no_expert(shape: tuple[int, ...]) -> None:
    profile = archlab.profile(lambda x: x[: 1 + int(x.argmax(-1).sum())], torch.zeros(shape))
    assert profile.assumed == {"data picks each choice equally often": 1}


def test_routes_that_are_given_are_taken_as_they_are() -> None:
    def run(m: Any, x: Tensor) -> Tensor:
        choice = torch.tensor([0, 0, 0, 2])
        return torch.cat([m.experts[e](x[choice == e]) for e in (0, 2)])

    profile = archlab.profile(Mixture(run), torch.zeros(4, WIDTH))
    assert profile.assumed == {}
    assert [layer.output_shape[0] for layer in profile.layers if layer.name.startswith("experts/0/0")] == [3]


def test_a_network_without_experts_names_no_active_params() -> None:
    assert set(archlab.profile("googlenet").parameters) == {"read", "trainable", "frozen", "unused", "buffers"}


# -- results --------------------------------------------------------------------------------------


def test_the_assumption_and_the_active_params_survive_json(tmp_path: Path) -> None:
    profile = profiled(by_place, 2)
    file = tmp_path / "mixture.json"
    file.write_text(profile.graph.to_json())
    again = archlab.profile(archlab.load(file))
    assert again.assumed == profile.assumed
    assert again.parameters == profile.parameters


MODEL = """
import torch
from torch import nn

class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.gate = nn.Linear(16, 4)
        self.experts = nn.ModuleList(nn.Linear(16, 16) for _ in range(4))

    def forward(self, x):
        choice = self.gate(x).argmax(-1)
        y = torch.zeros_like(x)
        for e, expert in enumerate(self.experts):
            y[choice == e] = expert(x[choice == e])
        return y
"""


def test_the_command_line_shows_both_and_is_strict_about_it(tmp_path: Path, run: Run) -> None:
    (tmp_path / "mixture.py").write_text(MODEL)
    target = f"{tmp_path / 'mixture.py'}:Model"
    shown = run("profile", target, "--input", "8x16")
    assert shown.code == 0
    assert f"; {16 * 4 + 4 + 16 * 16 + 16} active" in shown.out
    assert "Assumed: each token goes to 1 of 4 experts, evenly, whatever the router says (1×)." in shown.out
    assert run("profile", target, "--input", "8x16", "--strict").code == 4
    data = json.loads(run("profile", target, "--input", "8x16", "--json").out)
    assert data["parameters"]["active"] == 16 * 4 + 4 + 16 * 16 + 16
    assert data["assumed"] == {assumption(1): 1}


# -- transformers ---------------------------------------------------------------------------------


def causal(name: str, **fields: Any) -> Profile:
    transformers = pytest.importorskip("transformers")
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.for_model(name, **fields))
    return archlab.profile(model, input_ids=torch.zeros(1, 16, dtype=torch.int64), use_cache=False)


SMALL = {
    "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
    "vocab_size": 200, "num_experts_per_tok": 2, "tie_word_embeddings": False,
}  # fmt: skip


def test_mixtral_by_hand() -> None:
    profile = causal("mixtral", **SMALL, intermediate_size=128, num_local_experts=8)
    # q and o map 64 to 4 heads of 16; k and v to 2. An expert has a gate, an up and a down projection.
    attention, norms, router, expert = 2 * 64 * 64 + 2 * 64 * 32, 2 * 64, 8 * 64, 3 * 64 * 128
    ends = 200 * 64 + 64 + 200 * 64
    assert profile.parameters["read"] == ends + 2 * (attention + norms + router + 8 * expert)
    assert profile.parameters["active"] == ends + 2 * (attention + norms + router + 2 * expert)
    # 16 tokens; 4 heads of 16·16 scores of 16 products, twice. The rotary angles' product is with one number.
    layer = 16 * (attention + router + 2 * expert) + 2 * (4 * 16 * 16 * 16)
    assert profile.total.macs == 2 * layer + 16 * 200 * 64
    assert profile.assumed == {assumption(2, 8): 2}
    assert not profile.uncounted


def test_deepseek_v3_by_hand() -> None:
    small = {**SMALL, "num_key_value_heads": 4, "first_k_dense_replace": 1}
    del small["head_dim"]
    profile = causal("deepseek_v3", **small, n_routed_experts=8, n_shared_experts=1, moe_intermediate_size=32,
                     n_group=2, topk_group=1)  # fmt: skip
    # One of the two layers is dense; of the other each token reads 2 of 8 experts and the shared one.
    assert profile.parameters["read"] - profile.parameters["active"] == (8 - 2) * (3 * 64 * 32)
    assert profile.assumed == {assumption(2, 8): 1}


@pytest.mark.parametrize(
    ("name", "field", "expert"),
    [
        ("qwen3_moe", "num_experts", 3 * 64 * 32),
        ("olmoe", "num_experts", 3 * 64 * 128),
        ("granitemoe", "num_local_experts", 3 * 64 * 128),
        # Its experts have biases, too.
        ("gpt_oss", "num_local_experts", 3 * 64 * 128 + 2 * 128 + 64),
    ],
)
def test_other_mixtures_read_two_of_eight_experts_in_each_layer(name: str, field: str, expert: int) -> None:
    sizes = {"moe_intermediate_size": 32} if name == "qwen3_moe" else {}
    profile = causal(name, **SMALL, **sizes, intermediate_size=128, **{field: 8})
    assert profile.parameters["read"] - profile.parameters["active"] == 2 * (8 - 2) * expert
    assert profile.assumed == {assumption(2, 8): 2}
