"""Gradient flow: figures that follow by hand, what pairs have in common, and what seeds together say."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from accelerators import accelerator
from torch import Tensor, nn
from torch.nn import functional

import archlab
from archlab.errors import ReadError, TraceError, UsageError
from archlab.gradients import ENOUGH, INITIALISATIONS, BlockGradient, GradientFlow, Run, Setting, Spread
from archlab.ir import Builder, Graph, Op, Ref
from archlab.ops import BatchNorm, Conv2d, Dropout, Flatten, GlobalAvgPool2d, Input, Linear, ReLU, Softmax
from archlab.pytorch.initialise import initialise, seed_of
from archlab.pytorch.trainable import trainable
from archlab.zoo import ablations

CLASSES = 5


def two_layers(*, softmax: bool = False) -> Graph:
    """A linear network of two layers and no bias: 3 inputs, 4 units, 5 classes."""
    b = Builder("two-layers")
    x = b.add("first", Linear(4, bias=False), b.add("input", Input((1, 3))))
    x = b.add("second", Linear(CLASSES, bias=False), x)
    return b.build(b.add("softmax", Softmax(), x) if softmax else x)


def headed(*ops: Op, name: str = "headed") -> Graph:
    """A stem, an auxiliary head behind it, a body, and the main classifier; `ops` are put into both classifiers."""
    b = Builder(name)
    x = b.add("input", Input((1, 2, 6, 6)))
    x = b.add("stem/relu", ReLU(), b.add("stem/conv", Conv2d(4, 3), x))
    with b.scope("aux", train_only=True):
        auxiliary = _classifier(b, x, ops)
    x = b.add("body/relu", ReLU(), b.add("body/conv", Conv2d(6, 3), x))
    with b.scope("main"):
        return b.build(_classifier(b, x, ops), auxiliary)


def _classifier(b: Builder, x: Ref, ops: tuple[Op, ...]) -> Ref:
    x = b.add("flatten", Flatten(), b.add("pool", GlobalAvgPool2d(), x))
    for i, op in enumerate(ops):
        x = b.add(f"op{i}", op, x)
    return b.add("fc", Linear(CLASSES), x)


def measured(*graphs: Graph, **fields: Any) -> GradientFlow:
    return archlab.gradient_flow(*graphs, setting=Setting(**{"inits": ("kaiming",), **fields}))


def drawn(graph: Graph, init: str, seed: int, batch: int) -> tuple[nn.Module, Tensor, Tensor]:
    """The module, the inputs and the labels of one pass, drawn as they are for it."""
    network = trainable(graph, batch)
    initialise(network.module, init, seed)
    torch.manual_seed(seed_of(seed, "inputs"))
    (x,), _ = network.drawn()
    return network.module.train(), x, torch.randint(CLASSES, (batch,))


# ---- figures that follow by hand ------------------------------------------------------------------


@pytest.mark.parametrize("softmax", [False, True])
@pytest.mark.parametrize("init", INITIALISATIONS)
def test_gradients_of_two_linear_layers_are_products_of_vectors(init: str, softmax: bool) -> None:
    """For one input x, hidden h = A·x and error e = softmax(B·h) - y: ∂L/∂B = e·hᵀ and ∂L/∂A = (Bᵀ·e)·xᵀ.

    The norm of such a product of two vectors is the product of their norms; what a layer hands on has the
    gradient e, and Bᵀ·e one layer earlier.
    """
    module, x, y = drawn(two_layers(), init, 0, 1)
    first, second = (tensor.detach().double() for tensor in module.parameters())
    hidden = first @ x[0].double()
    error = torch.softmax(second @ hidden, 0) - functional.one_hot(y[0], CLASSES)
    back = second.T @ error
    (run,) = measured(two_layers(softmax=softmax), inits=(init,), seeds=1, batch=1).runs
    assert list(run.blocks) == ["first", "second"]
    assert run.blocks["second"].norm == pytest.approx(float(error.norm() * hidden.norm()), rel=1e-5)
    assert run.blocks["first"].norm == pytest.approx(float(back.norm() * x[0].double().norm()), rel=1e-5)
    assert run.blocks["second"].output_norm == pytest.approx(float(error.norm()), rel=1e-5)
    assert run.blocks["first"].output_norm == pytest.approx(float(back.norm()), rel=1e-5)
    assert run.loss == pytest.approx(float(-torch.log_softmax(second @ hidden, 0)[y[0]]), rel=1e-5)
    assert [block.params for block in run.blocks.values()] == [4 * 3, 5 * 4]
    assert run.blocks["second"].rms == run.blocks["second"].norm / math.sqrt(5 * 4)


def test_scores_near_zero_lose_the_logarithm_of_the_classes_for_each_head_by_its_weight() -> None:
    """Weights of deviation 0.01 leave all scores near 0: each cross-entropy is ln 5, and (1 + 0.3) of it is lost.

    The gradient of a score is then (1/5 - y)/N, whose norm over N images is √(1 - 1/5)/√N, and 0.3 times
    that at the head.
    """
    (run,) = measured(headed(), inits=("gaussian",), seeds=1, batch=7).runs
    assert run.loss == pytest.approx(1.3 * math.log(5), rel=1e-3)
    assert run.blocks["main"].output_norm == pytest.approx(math.sqrt((1 - 1 / 5) / 7), rel=1e-3)
    assert run.blocks["aux"].output_norm == pytest.approx(0.3 * math.sqrt((1 - 1 / 5) / 7), rel=1e-3)


@pytest.mark.parametrize("weight", [0.3, 2.0])
def test_the_gradient_is_the_main_one_plus_the_weight_times_the_auxiliary_one(weight: float) -> None:
    graph = headed()
    module, x, y = drawn(graph, "kaiming", 3, 4)
    main, auxiliary = (functional.cross_entropy(scores, y) for scores in module(x))
    stem = [module.get_parameter(f"stem.conv.{role}") for role in ("weight", "bias")]
    parts = [
        torch.cat([g.flatten() for g in torch.autograd.grad(loss, stem, retain_graph=True)])
        for loss in (main, auxiliary)
    ]
    whole = parts[0] + weight * parts[1]
    flow = measured(ablations.no_aux(graph).named("without"), graph, seeds=4, batch=4, aux_weight=weight)
    without, with_heads = (run.blocks["stem"] for run in flow.runs if run.seed == 3)
    assert without.norm == pytest.approx(float(parts[0].norm()), rel=1e-5)
    assert with_heads.norm == pytest.approx(float(whole.norm()), rel=1e-5)
    assert with_heads.along == pytest.approx(float(functional.cosine_similarity(whole, parts[0], 0)), rel=1e-5)


# ---- pairs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("init", INITIALISATIONS)
def test_heads_without_weight_change_nothing_to_the_last_digit(init: str) -> None:
    graph = headed(Dropout(0.5), BatchNorm())
    flow = measured(graph, ablations.no_aux(graph).named("without"), inits=(init,), aux_weight=0.0, seeds=3)
    for block in ("stem", "body", "main"):
        ratio = flow.ratio("without", init, block)
        assert ratio is not None
        assert (ratio.verdict, ratio.spread) == ("equal", Spread(1.0, 1.0, 1.0))
        assert flow.values("without", init, block, "along") == pytest.approx([1.0] * 3)
    assert flow.values("headed", init, "aux") == [0.0] * 3


def test_behind_the_last_head_networks_with_and_without_it_are_equal_dropout_included() -> None:
    graph = headed(Dropout(0.5))
    flow = measured(ablations.no_aux(graph).named("without"), graph, seeds=ENOUGH)
    ratios = {block: flow.ratio("headed", "kaiming", block) for block in flow.blocks}
    verdicts = {block: None if ratio is None else ratio.verdict for block, ratio in ratios.items()}
    assert (verdicts["body"], verdicts["main"], verdicts["aux"]) == ("equal", "equal", None)
    assert verdicts["stem"] != "equal"


def test_every_network_is_held_against_the_first() -> None:
    graph = headed()
    flow = measured(graph, ablations.no_aux(graph).named("without"), graph.named("again"), seeds=2)
    assert flow.values("again", "kaiming", "stem", "along") == pytest.approx([1.0, 1.0])
    assert flow.values("without", "kaiming", "stem", "along") != pytest.approx([1.0, 1.0], rel=1e-3)
    assert flow.values("headed", "kaiming", "stem", "along") == []


def test_the_same_seed_gives_the_same_figures_and_another_seed_others() -> None:
    once, again = (measured(headed(Dropout(0.5)), seeds=2) for _ in range(2))
    assert once.runs == again.runs
    assert once.runs[0].blocks != once.runs[1].blocks


def test_random_numbers_of_the_caller_stay() -> None:
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    measured(headed(Dropout(0.5)), seeds=1)
    assert torch.equal(torch.rand(1), expected)


# ---- initialisations ------------------------------------------------------------------------------

VARIANCES = {
    "default": 1 / (3 * 400),  # uniform on ±1/√fan-in
    "kaiming": 2 / 400,
    "xavier": 2 / (400 + 300),
    "gaussian": 0.01**2,
}


@pytest.mark.parametrize("init", INITIALISATIONS)
def test_an_initialisation_has_its_variance_and_its_biases(init: str) -> None:
    layer = nn.Linear(400, 300)
    initialise(layer, init, 0)
    weight = layer.weight.detach()
    # Of 120,000 weights the variance lies within a few times √(2/120,000), 0.4 %, of that of what is drawn.
    assert float(weight.var()) == pytest.approx(VARIANCES[init], rel=0.02)
    assert abs(float(weight.mean())) < 5 * math.sqrt(VARIANCES[init] / 120_000)
    assert bool(layer.bias.any()) == (init == "default")


def test_layers_are_drawn_apart_and_do_not_depend_on_their_neighbours() -> None:
    pair, alone = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3)), nn.ModuleDict({"1": nn.Linear(3, 3)})
    for model in (pair, alone):
        initialise(model, "kaiming", 0)
    assert not torch.equal(pair[0].weight, pair[1].weight)
    assert torch.equal(pair[1].weight, alone["1"].weight)


def test_norms_are_the_identity_whatever_initialises_the_rest() -> None:
    model = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3))
    nn.init.constant_(model[1].weight, 7)
    model[1].running_mean.fill_(7)
    initialise(model, "xavier", 0)
    assert model[1].weight.tolist() == [1, 1, 1]
    assert model[1].running_mean.tolist() == [0, 0, 0]


# ---- blocks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [1, 2])
def test_blocks_hold_the_parameters_that_a_profile_counts(depth: int) -> None:
    graph = archlab.load("googlenet", mode="training")
    network = trainable(graph, 2)
    counted = {name: cost.params for name, cost in archlab.profile(graph, mode="training").by_block(depth).items()}
    sizes = {
        block: sum(network.module.get_parameter(key).numel() for key in keys)
        for block, keys in network.blocks(depth).items()
    }
    assert sizes == {name: params for name, params in counted.items() if params}


def test_a_block_hands_on_what_the_next_one_reads() -> None:
    network = trainable(archlab.load("googlenet", mode="training"), 2)
    exits, layers = network.exits(1), network.layers()
    assert exits["conv2"] is layers["conv2/norm2"]
    assert exits["inception_4a"] is layers["inception_4a/output"]
    assert exits["loss1"] is layers["loss1/classifier"]


def test_blocks_that_one_network_lacks_stand_where_the_other_has_them() -> None:
    graph = headed()
    flow = measured(ablations.no_aux(graph).named("without"), graph, seeds=1)
    assert flow.blocks == ("stem", "aux", "body", "main")


# ---- what seeds together say ----------------------------------------------------------------------


def made(base: list[float], other: list[float]) -> GradientFlow:
    """A result with these norms of one block, seed by seed."""
    runs = [
        Run(name, "kaiming", seed, 1.0, {"a": BlockGradient(4, norm, norm, None)})
        for name, norms in (("base", base), ("other", other))
        for seed, norm in enumerate(norms)
    ]
    return GradientFlow(
        ("base", "other"),
        (0, 0),
        {"input": "2x3"},
        Setting(),
        dict.fromkeys(("device", "threads", "torch", "python", "date"), "?"),
        tuple(runs),
    )


VERDICTS = [
    ([1.0] * 6, [2.0] * 6, "larger"),
    ([1.0] * 6, [0.5] * 6, "smaller"),
    ([1.0] * 6, [2.0] * 5 + [0.5], "no difference"),
    ([1.0] * 6, [2.0] * 5 + [1.0], "no difference"),
    ([1.0] * 6, [1.0] * 6, "equal"),
    ([1.0] * 5, [2.0] * 5, "too few seeds"),
    ([1.0], [1.0], "equal"),
    ([0.0] * 6, [1.0] * 6, "larger"),
]


@pytest.mark.parametrize(("base", "other", "verdict"), VERDICTS)
def test_a_difference_is_called_one_where_every_seed_says_so_and_they_are_enough(
    base: list[float], other: list[float], verdict: str
) -> None:
    ratio = made(base, other).ratio("other", "kaiming", "a")
    assert ratio is not None
    assert ratio.verdict == verdict


def test_six_seeds_agree_by_chance_in_less_than_one_case_of_twenty() -> None:
    assert 2 * 0.5**ENOUGH < 0.05 < 2 * 0.5 ** (ENOUGH - 1)


def test_ratios_are_taken_seed_by_seed_and_have_their_range() -> None:
    ratio = made([1.0, 10.0, 100.0], [2.0, 50.0, 100.0]).ratio("other", "kaiming", "a")
    assert ratio is not None
    assert ratio.spread == Spread(2.0, 1.0, 5.0)  # 2/1, 50/10, 100/100
    assert ratio.larger == 2
    flow = made([1.0, 10.0, 100.0], [2.0, 50.0, 100.0])
    assert flow.spread("base", "kaiming", "a") == Spread(10.0, 1.0, 100.0)
    assert flow.spread("base", "kaiming", "a", "rms") == Spread(5.0, 0.5, 50.0)  # ÷ √4


def test_a_gradient_of_nothing_has_no_ratio() -> None:
    ratio = made([0.0] * 6, [1.0] * 6).ratio("other", "kaiming", "a")
    assert ratio is not None
    assert ratio.spread is None


def test_a_result_is_read_back_as_it_was_written() -> None:
    graph = headed()
    flow = measured(graph, ablations.no_aux(graph).named("without"), seeds=2)
    assert GradientFlow.of(json.loads(flow.to_json())) == flow


@pytest.mark.parametrize("data", [{}, [], None, {"schema": "archlab.profile/1"}, {"schema": "archlab.gradients/1"}])
def test_other_data_are_no_result(data: Any) -> None:
    with pytest.raises(ReadError, match=r"^here: "):
        GradientFlow.of(data, "here")


# ---- what cannot be measured ----------------------------------------------------------------------


def odd_head() -> Graph:
    b = Builder("odd")
    x = b.add("input", Input((1, 3)))
    with b.scope("aux", train_only=True):
        auxiliary = b.add("two", Linear(6), x)
    return b.build(b.add("one", Linear(5), x), auxiliary)


def nothing_to_train() -> Graph:
    b = Builder("bare")
    return b.build(b.add("relu", ReLU(), b.add("input", Input((1, 3)))))


MISTAKES: list[tuple[Callable[[], object], str]] = [
    (lambda: measured(odd_head()), "odd: the output of aux/two is 2x6, that of one is 2x5"),
    (lambda: measured(nothing_to_train()), "bare has no parameters to train"),
    (lambda: measured(headed(), headed()), "headed is named twice"),
    (lambda: measured(headed(), two_layers()), "headed reads 2x2x6x6, two-layers reads 2x3"),
    (lambda: Setting(seeds=0), "seeds must be at least 1, got 0"),
    (lambda: Setting(depth=0), "depth must be at least 1, got 0"),
    (lambda: Setting(batch=0), "batch must be at least 1, got 0"),
    (lambda: Setting(aux_weight=math.nan), "must be 0 or more, got nan"),
    (lambda: Setting(aux_weight=-1), "must be 0 or more, got -1"),
    (lambda: Setting(inits=()), "name an initialisation: default, kaiming"),
    (lambda: Setting(inits=("kaimin",)), "unknown initialisation 'kaimin'; did you mean 'kaiming'"),
    (lambda: measured(headed(), device="nonsense"), "--device nonsense: no such kind of device; there is cpu"),
    (lambda: measured(headed(), device="meta"), "finds no meta on this machine; there is cpu"),
]


@pytest.mark.parametrize(("mistake", "said"), MISTAKES)
def test_what_cannot_be_measured_says_why(mistake: Callable[[], object], said: str) -> None:
    with pytest.raises(UsageError) as raised:
        mistake()
    assert said in str(raised.value)


@pytest.mark.skipif(torch.accelerator.is_available(), reason="this machine has an accelerator")
def test_a_missing_gpu_is_said_with_what_there_is(run: Callable[..., Any]) -> None:
    ended = run("gradients", "googlenet", "--device", "cuda")
    assert (ended.code, ended.out) == (2, "")
    assert (
        ended.err == f"error: --device cuda: torch {torch.__version__} finds no cuda on this machine; there is cpu\n"
    )


def test_memory_that_runs_out_names_the_layer_the_batch_and_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def out_of_memory(self: nn.Linear, x: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("no")

    monkeypatch.setattr(nn.Linear, "forward", out_of_memory)
    with pytest.raises(TraceError, match=r"^headed: out of memory in aux/fc at batch 8; try --batch 4$"):
        measured(headed(), batch=8)
    with pytest.raises(TraceError, match=r"out of memory in aux/fc at batch 1; try a smaller --input$"):
        measured(headed(), batch=1)


def test_a_pass_that_fails_names_the_layer() -> None:
    with pytest.raises(TraceError, match=r"headed: the pass failed in aux/op0: .*more than 1 value per channel"):
        measured(headed(BatchNorm()), batch=1)


def test_a_gradient_that_is_not_finite_is_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nn.Linear, "forward", lambda self, x: (x @ self.weight.T) * float("inf"))
    with pytest.raises(TraceError, match=r"headed: kaiming, seed 0: the gradient of \w+ is not finite"):
        measured(headed())


# ---- interruption ---------------------------------------------------------------------------------


def interrupted_at(place: int) -> Callable[[str, str, int, int, int], None]:
    def told(subject: str, init: str, seed: int, done: int, of: int) -> None:
        if done == place:
            raise KeyboardInterrupt

    return told


def test_an_interrupt_keeps_the_seeds_that_every_network_was_measured_for() -> None:
    graph = headed()
    pair = (graph, ablations.no_aux(graph).named("without"))
    flow = archlab.gradient_flow(*pair, setting=Setting(3, ("kaiming", "xavier")), told=interrupted_at(7))
    # Of 3·2·2 passes 7 are done: three pairs, and one of a fourth.
    assert flow.interrupted
    assert (flow.seeds("kaiming"), flow.seeds("xavier")) == ((0, 1), (0,))
    assert len(flow.runs) == 6
    assert "Interrupted: 3 of 6 pairs of a seed and an initialisation were measured." in str(flow)


def test_an_interrupt_before_the_first_pair_is_one() -> None:
    graph = headed()
    with pytest.raises(KeyboardInterrupt):
        archlab.gradient_flow(graph, ablations.no_aux(graph).named("without"), told=interrupted_at(1))


# ---- on an accelerator ----------------------------------------------------------------------------


@pytest.mark.gpu
def test_an_accelerator_gives_the_figures_of_the_cpu() -> None:
    here, there = (measured(headed(), seeds=2, device=device).runs for device in ("cpu", accelerator()))
    for one, other in zip(here, there, strict=True):
        assert other.loss == pytest.approx(one.loss, rel=1e-3)
        for block, found in one.blocks.items():
            assert other.blocks[block].norm == pytest.approx(found.norm, rel=1e-2)
