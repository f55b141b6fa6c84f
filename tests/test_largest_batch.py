"""The largest batch that fits: by hand, for any chain of layers, from targets, and on the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from chains import chain
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import archlab
from archlab.analyses.largest_batch import largest_batch, needed
from archlab.errors import UsageError
from archlab.ir import Builder, Graph, Op, TensorSpec
from archlab.ir.batch import rebatched
from archlab.ops import Add, BatchNorm, Conv2d, Dropout, Input, Linear, MaxPool2d, ReLU

ITEM = 4


def test_a_line_is_followed_to_the_last_byte() -> None:
    # At conv 1: the input 2·64, its own input 5·64 and its output 3·64 for each sample, the weights beside them.
    graph = chain(Conv2d(5, 1), Conv2d(3, 1), shape=(1, 2, 8, 8))
    each, weights = ITEM * 64 * (2 + 5 + 3), ITEM * (2 * 5 + 5 + 5 * 3 + 3)
    for batch in (1, 2, 3, 1000):
        for spare in (0, each - 1):
            found = archlab.largest_batch(graph, weights + batch * each + spare)
            assert (found.batch, found.bytes, found.more) == (
                batch,
                weights + batch * each,
                weights + (batch + 1) * each,
            )
            assert found.parts == {"tensors": batch * each, "weights": weights, "buffers": 0}


def test_nothing_fits_below_one_sample() -> None:
    graph = chain(ReLU(), shape=(7, 3))
    found = archlab.largest_batch(graph, ITEM * 2 * 3 - 1)
    assert (found.batch, found.first, found.bytes, found.more) == (0, 1, ITEM * 6, ITEM * 6)
    assert archlab.largest_batch(graph, ITEM * 2 * 3).batch == 1


def test_few_graphs_are_made() -> None:
    made = []
    make = rebatched(archlab.load("googlenet"))

    def counted(batch: int) -> Graph:
        made.append(batch)
        return make(batch)

    largest_batch(counted, 8 * 10**9)
    assert len(made) < 10


LAYERS: list[Op] = [Conv2d(5, 1), Conv2d(2, 3, padding=1), MaxPool2d(2, 1), ReLU(), Dropout(), BatchNorm()]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from(LAYERS), min_size=1, max_size=6),
    st.sampled_from(["none", "sgd", "momentum", "adam"]),
    st.sampled_from(["inference", "training"]),
    st.integers(0, 400_000),
)
def test_the_largest_batch_fits_and_one_more_does_not(ops: list[Op], optimiser: str, mode: str, limit: int) -> None:
    make = rebatched(chain(*ops, shape=(1, 3, 9, 7)))
    optimiser = optimiser if mode == "training" else "none"
    found = largest_batch(make, limit, mode, optimiser)

    def size(batch: int) -> int:
        return sum(needed(make(batch), mode, optimiser)[0].values())

    assert found.more == size(found.batch + 1) > limit
    if found.batch:
        assert found.bytes == size(found.batch) <= limit
    sizes = [size(batch) for batch in range(1, found.batch + 3)]
    assert sizes == sorted(sizes)  # so that no larger one fits either


def test_a_limit_of_exactly_what_a_batch_takes_is_enough() -> None:
    # Gradients of weights hold the peak of small batches and activations that of larger ones: no single line.
    make = rebatched(chain(Linear(100), ReLU(), Linear(10), shape=(1, 50)))
    for batch in range(1, 60):
        size = sum(needed(make(batch), "training")[0].values())
        assert largest_batch(make, size, "training").batch == batch
        assert largest_batch(make, size - 1, "training").batch == batch - 1


def test_training_takes_gradients_and_what_an_optimiser_keeps() -> None:
    graph = chain(Linear(100), ReLU(), Linear(10), shape=(1, 50))
    learned = ITEM * (50 * 100 + 100 + 100 * 10 + 10)
    limit = 10 * learned
    batches = [archlab.largest_batch(graph, limit, "training", name) for name in ("none", "momentum", "adam")]
    assert [found.parts.get(f"state of {found.optimiser}", 0) for found in batches] == [0, learned, 2 * learned]
    assert batches[0].batch > batches[1].batch > batches[2].batch
    assert archlab.largest_batch(graph, limit).batch > batches[0].batch


def test_statistics_of_one_value_begin_with_a_batch_of_two() -> None:
    # One number a channel is no batch: torch refuses it, and so do we.
    graph = chain(Conv2d(4, 8), BatchNorm(), shape=(4, 3, 8, 8))
    found = archlab.largest_batch(graph, 10**6, "training")
    assert found.first == 2
    assert archlab.largest_batch(graph, 10, "training").batch == 0


def test_a_model_is_traced_for_each_batch() -> None:
    found = archlab.largest_batch("torchvision:squeezenet1_1", "100MB", inputs=["1x3x64x64"])
    for batch, fits in ((found.batch, True), (found.batch + 1, False)):
        graph = archlab.load("torchvision:squeezenet1_1", inputs=[f"{batch}x3x64x64"])
        weights = sum(param.spec.bytes for param in graph.params.values())
        assert (archlab.peak_memory(graph).bytes + weights <= 100_000_000) == fits


def test_ablations_are_made_of_each_batch() -> None:
    whole, bare = (archlab.largest_batch(f"googlenet{end}", "1GB", "training") for end in ("", "+no_aux"))
    assert bare.batch > whole.batch
    target = "torchvision:googlenet+no_pool_proj@64"
    graph = archlab.load(target)
    params = [param for param in graph.params.values() if not param.buffer]
    assert archlab.largest_batch(target, "200MB").parts["weights"] == sum(param.spec.bytes for param in params)


class Literal(nn.Module):
    """A model whose trace holds for the batch that it saw."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.cumsum(1)[:, :3].repeat(1, 2)


def two(first: tuple[int, ...], second: tuple[int, ...]) -> Graph:
    b = Builder("two")
    x, y = b.add("x", Input(first)), b.add("y", Input(second))
    return b.build(b.add("sum", Add(), x, y))


@pytest.mark.parametrize(
    ("subject", "message"),
    [
        (lambda: archlab.trace(Literal(), TensorSpec((2, 5))), "its batch cannot be changed: .* is literal"),
        (lambda: two((2, 3), (1, 3)), "two reads 2x3, 1x3: its inputs have no first dimension in common"),
        (lambda: two((), ()), "two reads scalar, scalar: its inputs have no first dimension in common"),
        (lambda: chain(ReLU(), shape=(1, 0)), "chain: its memory does not grow with its batch"),
        (lambda: "torchvision:fasterrcnn_resnet50_fpn", "its batch cannot be changed: it reads more than plain tens"),
        (lambda: 5, "expected a target or a Graph, got int"),
    ],
)
def test_what_has_no_batch_is_refused(subject: Callable[[], Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        archlab.largest_batch(subject(), "8GB")


def test_an_optimiser_is_no_part_of_inference() -> None:
    with pytest.raises(UsageError, match="adam keeps a state in training alone, not in inference"):
        archlab.largest_batch("naive", "8GB", "inference", "adam")


def test_two_inputs_of_one_batch_change_together() -> None:
    found = archlab.largest_batch(two((3, 5), (3, 5)), ITEM * 7 * 3 * 5)
    assert (found.batch, found.bytes) == (7, ITEM * 7 * 3 * 5)


def test_the_command_line_says_the_batch_and_what_takes_the_memory(run: Any) -> None:
    out = run("profile", "naive", "--fits", "8GB")
    # 14·14·(480 + 48) numbers a sample, the weights 48·480·25 and a bias of 48.
    each, weights = ITEM * 14 * 14 * 528, ITEM * (48 * 480 * 25 + 48)
    batch = (8 * 10**9 - weights) // each
    text = f"Largest batch that fits in 8.000 GB (inference): {batch:,}. It takes {batch * each + weights:,} B"
    assert text in out.out
    data = json.loads(run("profile", "naive", "--fits", "8GB", "--json").out)
    assert (data["fits"]["batch"], data["fits"]["limit"]) == (batch, 8 * 10**9)


def test_the_command_line_says_that_none_fits(run: Any) -> None:
    out = run("profile", "vgg19", "--fits", "500MB", "--depth", "1").out
    assert "No batch fits in 500.0 MB (inference): 1 takes 600," in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--fits", "8XB"], "error: --fits 8XB: no size; write 8GB, 512MiB or 8000000000\n"),
        (["--optimiser", "adam"], "error: --optimiser adam: it goes with --fits and --mode training\n"),
        (
            ["--fits", "8GB", "--optimiser", "adam"],
            "error: --optimiser adam: it goes with --fits and --mode training\n",
        ),
        (
            ["--fits", "8GB", "--optimiser", "adamw", "--mode", "training"],
            "error: unknown optimiser 'adamw'; did you mean 'adam'? (known: none, sgd, momentum, adam)\n",
        ),
    ],
)
def test_the_command_line_refuses_what_makes_no_sense(run: Any, words: list[str], message: str) -> None:
    ended = run("profile", "naive", *words)
    assert (ended.code, ended.out, ended.err) == (2, "", message)


def test_memory_shows_what_is_alive_at_the_peak(run: Any) -> None:
    out = run("profile", "googlenet", "--memory", "--depth", "1").out
    assert "predicted peak  7.0 MB  live storages, at conv1/7x7_s2_relu" in out
    assert "conv1/7x7_s2         3.2 MB   45.7 %" in out
    data = json.loads(run("profile", "googlenet", "--memory", "--mode", "training", "--json").out)
    step = archlab.training_memory("googlenet")
    assert data["memory"] == json.loads(json.dumps(step.to_dict()))
    assert sum(item["bytes"] for item in data["memory"]["alive"]) == data["memory"]["bytes"] == step.bytes
