"""The peak of a training step, derived by hand at 4 bytes an element. `test_measured_memory.py` measures it."""

from __future__ import annotations

import pytest
import torch
from chains import chain
from torch import Tensor, nn

import archlab
from archlab.analyses.training_memory import Alive, training_memory
from archlab.errors import UsageError
from archlab.ir import Builder, Graph
from archlab.ops import Add, AvgPool2d, BatchNorm, Conv2d, Dropout, Input, Linear, LocalResponseNorm, MaxPool2d, ReLU

ITEM = 4
ONES = 2
"""The sum of the output and its gradient, one number each, held by whoever asks for the backward pass."""


def test_a_step_of_two_layers() -> None:
    # N = 2, 5 → 3 → 2. The forward pass leaves x 10, relu(h) 6 (relu keeps its result, the second layer its
    # input: one tensor) and y 4; h, 6, is gone. Backward, the second layer: weight 6, bias 2, gradient of
    # relu(h) 6. The relu: gradient of h 6; then relu(h) and its gradient go. The first: weight 15, bias 3.
    graph = chain(Linear(3), ReLU(), Linear(2), shape=(2, 5))
    step = training_memory(graph)
    at_second = 10 + 6 + 4 + ONES + (6 + 2) + 6
    at_relu = at_second + 6
    at_first = 10 + 4 + ONES + (6 + 2) + 6 + (15 + 3)
    assert step.bytes == ITEM * max(at_second, at_relu, at_first) == ITEM * at_first
    assert (step.node, step.phase) == ("0", "backward")
    assert step.alive == (
        Alive("gradient of 0.weight", ITEM * 15, "parameter gradient"),
        Alive("input", ITEM * 10, "input"),
        Alive("gradient of 2.weight", ITEM * 6, "parameter gradient"),
        Alive("gradient of 0", ITEM * 6, "gradient"),
        Alive("2", ITEM * 4, "activation"),
        Alive("gradient of 0.bias", ITEM * 3, "parameter gradient"),
        Alive("gradient of 2.bias", ITEM * 2, "parameter gradient"),
        Alive("sum of 2", ITEM, "activation"),
        Alive("gradient of the sum of 2", ITEM, "gradient"),
    )
    assert step.by_kind() == {
        "input": ITEM * 10,
        "activation": ITEM * (4 + 1),
        "gradient": ITEM * (6 + 1),
        "parameter gradient": ITEM * (15 + 3 + 6 + 2),
    }


def test_weights_buffers_and_the_optimisers_state_are_said_beside_the_peak() -> None:
    # 1×1 convolution 2→3 without bias 6, batch norm 2·3 learned, 2·3 running statistics and an int64 count.
    graph = chain(Conv2d(3, 1, bias=False), BatchNorm(), shape=(2, 2, 4, 4))
    step = training_memory(graph)
    assert (step.weights, step.trainable) == (ITEM * (6 + 6), ITEM * (6 + 6))
    assert step.buffers == sum(p.spec.bytes for p in graph.params.values() if p.buffer)
    states = {name: step.state(name) for name in ("none", "sgd", "momentum", "adam")}
    assert states == {"none": 0, "sgd": 0, "momentum": ITEM * 12, "adam": 2 * ITEM * 12}
    assert step.whole("adam") == step.bytes + ITEM * 12 + step.buffers + 2 * ITEM * 12


def test_an_unknown_optimiser_is_refused_with_the_nearest_one() -> None:
    step = training_memory(chain(Linear(1), shape=(1, 1)))
    with pytest.raises(UsageError, match=r"unknown optimiser 'adem'; did you mean 'adam'\? \(known: none, sgd"):
        step.state("adem")


def test_a_norm_keeps_its_statistics_and_a_pool_its_places_and_dropout_its_scale() -> None:
    # 2·3·64 numbers a tensor in front of the pool, 2·3·16 behind it; the places of the maxima are int64. The last
    # two layers are wide enough to hold the peak: the relu's backward pass, when the others have not begun.
    graph = chain(BatchNorm(), MaxPool2d(2), Dropout(), Conv2d(64, 1), ReLU(), shape=(2, 3, 8, 8))
    step = training_memory(graph)
    whole, quarter, wide = ITEM * 2 * 3 * 64, ITEM * 2 * 3 * 16, ITEM * 2 * 64 * 16
    assert {item.name: item.bytes for item in step.alive} == {
        "input": whole,
        "0": whole,
        "mean of 0": ITEM * 3,
        "deviation of 0": ITEM * 3,
        "places of the maxima of 1": 2 * quarter,
        "scale of 2": quarter,
        "2": quarter,
        "4": wide,
        "gradient of 3": wide,
        "sum of 4": ITEM,
        "gradient of the sum of 4": ITEM,
    } | ({"gradient of 3.weight": ITEM * 64 * 3, "gradient of 3.bias": ITEM * 64, "gradient of 2": quarter})
    assert (step.node, step.phase) == ("3", "backward")


def test_a_response_norm_keeps_the_squares_their_sum_and_its_power() -> None:
    # Squares of 6 channels padded by 5 - 1; the peak is in its backward pass: x and y 6·64 each, of what it kept
    # all, the sum's gradient pass below.
    graph = chain(Conv2d(6, 1), LocalResponseNorm(5), shape=(1, 1, 8, 8))
    step = training_memory(graph)
    kept = {item.name: item.bytes for item in step.alive if item.kind == "saved"}
    assert kept == {
        "squares of 1": ITEM * (6 + 4) * 64,
        "sum of 1": ITEM * 6 * 64,
        "power of 1": ITEM * 6 * 64,
    }
    # Of the quotient x / w: x / w, that again / w, -g, and their product.
    temporaries = [item.bytes for item in step.alive if item.name == "temporary of 1"]
    assert temporaries == [ITEM * 6 * 64] * 4
    assert step.bytes == sum(kept.values()) + ITEM * (64 + 2 * 6 * 64 + 4 * 6 * 64 + ONES)


def branches(join: bool) -> Graph:
    b = Builder("branches")
    x = b.add("stem", Conv2d(8, 1), b.add("input", Input((1, 1, 8, 8))))
    one, two, three = (b.add(name, Conv2d(1, 1), x) for name in ("one", "two", "three"))
    return b.build(b.add("sum", Add(), b.add("half", Add(), one, two), three)) if join else b.build(one, two)


def test_gradients_of_branches_add_up_in_place() -> None:
    # At "one": the input 64, x 512, the result 64, the sum of x's gradients so far and the last of them, 512 each,
    # and the gradients of 8 weights and a bias of each branch; no tensor is made for a sum.
    step = training_memory(branches(True))
    at_one = 64 + 512 + 64 + 2 * 512 + 3 * (8 + 1) + ONES
    assert step.bytes == ITEM * at_one
    assert (step.node, step.phase) == ("one", "backward")


def test_each_output_is_summed_and_held() -> None:
    # At "one": both results, two gradients of x, a sum and its gradient for each result.
    step = training_memory(branches(False))
    assert step.bytes == ITEM * (64 + 512 + 2 * 64 + 2 * 512 + 2 * (8 + 1) + 2 * ONES)


def test_what_leads_to_no_parameter_keeps_nothing() -> None:
    # The pool and the relu run on what nobody learns: their results go when the next one has read them.
    graph = chain(AvgPool2d(2), ReLU(), Conv2d(1, 1), shape=(1, 4, 8, 8))
    step = training_memory(graph)
    in_front = 4 * 64 + 4 * 16 + 4 * 16
    at_conv = 4 * 64 + 4 * 16 + 16 + ONES + (4 + 1)
    assert step.bytes == ITEM * max(in_front, at_conv)


def test_a_frozen_model_has_no_backward_pass() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)).requires_grad_(False)
    graph = archlab.trace(model, torch.zeros(2, 4), mode="training")
    step = training_memory(graph)
    assert (step.bytes, step.phase) == (ITEM * 3 * 8, "forward")
    assert (step.weights, step.trainable) == (ITEM * 40, 0)


def test_an_operation_without_a_rule_is_said_and_keeps_all() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return torch.special.i0e(self.layer(x))

    step = archlab.training_memory(archlab.trace(Model(), torch.zeros(2, 4), mode="training"))
    assert step.assumed == ("special_i0e",)
    assert step.to_dict()["assumed"] == ["special_i0e"]


def test_a_target_is_traced_in_training() -> None:
    graph = archlab.load("torchvision:squeezenet1_1@64", mode="training")
    assert archlab.training_memory("torchvision:squeezenet1_1@64") == training_memory(graph)


def test_a_dropout_of_probability_zero_is_none() -> None:
    layers = (Linear(8), Dropout(0.0), Linear(2))
    assert (
        training_memory(chain(*layers, shape=(4, 6))).bytes
        == training_memory(chain(layers[0], layers[2], shape=(4, 6))).bytes
    )
    assert archlab.profile(chain(Dropout(0.0), shape=(4, 6)), mode="training").total.flops == 0


def test_gradients_of_one_table_are_both_there_until_their_sum_is() -> None:
    # A linear layer hands its weight's gradient on as a view, which torch adds to in a tensor of its own: three of
    # 50·4 at the table, beside the indices, 2·3 int64, and the head's result, 2·3·50. The rows read are gone by then,
    # and so is their gradient, 2·3·4 each.
    class Language(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.head = nn.Embedding(50, 4), nn.Linear(4, 50, bias=False)
            self.head.weight = self.table.weight

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.table(x))

    step = training_memory(archlab.trace(Language(), torch.zeros(2, 3, dtype=torch.int64), mode="training"))
    table, rows = 50 * 4, 2 * 3 * 4
    at_head = 2 * 6 + rows + 6 * 50 + ONES + rows + table
    at_table = 2 * 6 + 6 * 50 + ONES + 3 * table
    assert step.bytes == ITEM * max(at_head, at_table)
    assert (step.node, step.phase) == ("table", "backward")


def test_train_only_heads_are_part_of_a_step() -> None:
    whole, bare = (archlab.training_memory(name) for name in ("googlenet", "googlenet+no_aux"))
    assert whole.weights - bare.weights == ITEM * (13_378_280 - 6_998_552)  # the heads, in `tests/oracles`
    assert whole.bytes > bare.bytes
