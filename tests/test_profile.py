"""Profiles: totals are sums of rows, rows are prices, and nothing is counted twice or not at all."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import archlab
from archlab.cost import METRICS, Cost, total
from archlab.errors import UsageError
from archlab.ir import OPERATION_CLASSES, Builder, Graph, TensorSpec
from archlab.ops import BatchNorm, Dropout, Flatten, Input, Linear, ReLU, Reshape
from archlab.profiles import Profile, profile_graph
from archlab.zoo.catalog import ARCHITECTURES

COSTS = st.builds(
    Cost,
    *[st.integers(0, 2**70)] * len(METRICS),
    st.fixed_dictionaries({kind: st.integers(0, 2**70) for kind in OPERATION_CLASSES}),
)


def sums(costs: list[Cost]) -> dict[str, int]:
    return {metric: sum(getattr(cost, metric) for cost in costs) for metric in METRICS}


def metrics(cost: Cost) -> dict[str, int]:
    return {metric: getattr(cost, metric) for metric in METRICS}


@settings(deadline=None)
@given(st.lists(COSTS, max_size=5))
def test_costs_add_field_by_field(costs: list[Cost]) -> None:
    found = total(costs)
    assert metrics(found) == sums(costs)
    assert found.operations == {kind: sum(cost.operations[kind] for cost in costs) for kind in OPERATION_CLASSES}


@settings(deadline=None)
@given(COSTS, COSTS, COSTS)
def test_adding_costs_is_associative_and_costs_hash_as_they_compare(a: Cost, b: Cost, c: Cost) -> None:
    assert (a + b) + c == a + (b + c)
    assert a + b == b + a
    assert hash((a + b) + c) == hash(a + (b + c))
    assert a + Cost() == a


def test_intensity_is_flops_a_byte_and_zero_where_nothing_moves() -> None:
    assert Cost(flops=10, bytes_moved=4).intensity == 2.5
    assert Cost().intensity == 0.0


@pytest.mark.parametrize("mode", ["inference", "training"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_rows_blocks_and_ops_sum_to_the_total(name: str, mode: str) -> None:
    profile = archlab.profile(name, mode=mode)
    assert total(row.cost for row in profile.layers) == profile.total
    for grouped in (profile.by_block(), profile.by_block(depth=2), profile.by_op()):
        assert total(grouped.values()) == profile.total
    assert profile.total.flops == profile.total.macs + sum(profile.total.operations.values())
    assert profile.total.operations["mac"] == profile.total.macs


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_number_of_a_row_is_the_value_of_its_formulas(name: str) -> None:
    for row in archlab.profile(name).layers:
        counts = {kind: formula.value for kind, formula in row.formulas.items()}
        assert row.cost.operations == dict.fromkeys(OPERATION_CLASSES, 0) | counts
        assert row.formula.value == row.cost.macs
        assert all(type(getattr(row.cost, metric)) is int for metric in METRICS)


def test_blocks_are_path_prefixes_in_order_and_leave_inputs_out() -> None:
    profile = archlab.profile("googlenet")
    blocks = list(profile.by_block())
    assert blocks[:5] == ["conv1", "pool1", "conv2", "pool2", "inception_3a"]
    assert "input" not in blocks
    assert list(profile.by_block(depth=2))[:2] == ["conv1/7x7_s2", "conv1/7x7_s2_relu"]
    assert len(profile.by_block(depth=9)) == len(profile.layers) - 1
    with pytest.raises(UsageError, match="depth must be at least 1, got 0"):
        profile.by_block(depth=0)


def test_ops_are_grouped_by_kind() -> None:
    by_op = archlab.profile("vgg16").by_op()
    assert list(by_op) == ["Conv2d", "ReLU", "MaxPool2d", "Flatten", "Linear", "Dropout", "Softmax"]
    assert by_op["Linear"].params == 123_642_856 == 102_764_544 + 16_781_312 + 4_097_000


def small(*, batch: int = 2, dtype: str = "float32") -> Graph:
    b = Builder("small")
    x = b.add("input", Input((batch, 3, 4, 4), dtype))
    x = b.add("relu", ReLU(), x)
    x = b.add("dropout", Dropout(), x)
    x = b.add("norm", BatchNorm(), x)
    x = b.add("flatten", Flatten(), x)
    x = b.add("reshape", Reshape(("=0", -1)), x)
    return b.build(b.add("fc", Linear(5), x))


def test_views_move_nothing_and_are_no_activations() -> None:
    """In inference a dropout hands its input through; in training it writes a tensor of its own."""
    profile = profile_graph(small())
    for name in ("input", "dropout", "flatten", "reshape"):
        assert profile.layer(name).cost == Cost()
    dropped = profile_graph(small(), "training").layer("dropout").cost
    assert (dropped.activations, dropped.bytes_moved) == (2 * 48, 4 * 2 * (2 * 48))
    assert dropped.operations["cmp"] == dropped.operations["mul"] == 2 * 48


def test_activations_are_outputs_of_layers_that_are_neither_views_nor_inputs() -> None:
    assert profile_graph(small()).total.activations == 2 * 48 + 2 * 48 + 2 * 5


def test_bytes_are_those_of_the_dtype() -> None:
    single, half = profile_graph(small()), profile_graph(small(dtype="float16"))
    assert single.total.bytes_moved == 2 * half.total.bytes_moved
    assert single.total.weight_bytes == 2 * half.total.weight_bytes == 4 * single.total.params


def test_batch_norm_counts_more_in_training_and_keeps_its_buffers_out_of_params() -> None:
    """3 channels: 3 + 3 parameters, 3 + 3 running statistics and a counter; 96 elements, 3 groups."""
    inference, training = profile_graph(small()).layer("norm"), profile_graph(small(), "training").layer("norm")
    assert inference.cost.params == 6
    assert profile_graph(small()).parameters["buffers"] == 7
    assert inference.cost.operations == {"mac": 0, "add": 96, "mul": 96, "div": 0, "exp": 0, "cmp": 0}
    assert training.cost.operations == {"mac": 0, "add": 4 * 96, "mul": 3 * 96, "div": 2 * 3, "exp": 3, "cmp": 0}


@settings(deadline=None, max_examples=40)
@given(name=st.sampled_from(list(ARCHITECTURES)), batch=st.integers(1, 10**6))
def test_everything_but_parameters_and_their_reading_grows_with_the_batch(name: str, batch: int) -> None:
    graph = archlab.load(name)
    spec = graph.inputs["input"]
    one, many = (
        profile_graph(graph),
        profile_graph(graph.with_inputs({"input": TensorSpec((batch, *spec.shape[1:]))})),
    )
    for metric in ("macs", "flops", "activations"):
        assert getattr(many.total, metric) == batch * getattr(one.total, metric)
    assert many.total.params == one.total.params
    moved = (profile.total.bytes_moved - profile.total.weight_bytes for profile in (one, many))
    assert batch * next(moved) == next(moved)


def test_profiles_are_equal_when_their_counts_are() -> None:
    profile = archlab.profile("googlenet")
    read = replace(archlab.load("googlenet"), name="other", origin="read")
    assert profile == profile_graph(read)
    assert hash(profile) == hash(archlab.profile("googlenet"))
    assert profile != archlab.profile("googlenet+no_lrn")
    assert profile != archlab.profile("googlenet", mode="training")
    assert profile != "googlenet"


@pytest.mark.parametrize("copy", [lambda p: pickle.loads(pickle.dumps(p))], ids=["pickle"])
def test_a_profile_survives_pickling_with_all_it_knows(copy: Callable[[Profile], Profile]) -> None:
    profile = archlab.profile("googlenet")
    again = copy(profile)
    assert again == profile
    assert (again.subject, again.parameters, again.peak_memory) == (
        profile.subject,
        profile.parameters,
        profile.peak_memory,
    )
    assert str(again.layer("conv2/3x3").formula) == str(profile.layer("conv2/3x3").formula)


def test_parameters_are_read_trainable_frozen_unused_and_buffers() -> None:
    """The heads of training are unused in inference, as they are in a module; 57 convolutions have a batch norm,
    each with two statistics a channel and one counter."""
    expected = {"read": 6_624_904, "trainable": 6_624_904, "frozen": 0, "unused": 6_379_984}
    assert archlab.profile("googlenet-torchvision").parameters == expected | {
        "buffers": 2 * 7280 + 57 + 2 * (256 + 1)
    }


def test_a_layer_is_found_by_name_and_a_misspelt_one_is_not() -> None:
    profile = archlab.profile("googlenet")
    assert profile.layer("conv2/3x3").op == "Conv2d"
    assert profile.layer("inception_3a/output").input_shapes == tuple((1, c, 28, 28) for c in (64, 128, 32, 32))
    with pytest.raises(UsageError, match="did you mean 'conv2/3x3'"):
        profile.layer("conv2/3x3x")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mode": "train"}, "unknown mode 'train'; modes are inference and training"),
        ({"convention": "archlabs"}, "unknown convention 'archlabs'; did you mean 'archlab'"),
    ],
)
def test_an_unknown_mode_or_convention_is_refused(arguments: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        archlab.profile("naive", **arguments)  # type: ignore[arg-type]


def test_json_holds_every_count_and_is_plain_data() -> None:
    profile = archlab.profile("reduced")
    data = json.loads(profile.to_json())
    assert data == json.loads(json.dumps(profile.to_dict()))
    assert data["schema"] == "archlab.profile/1"
    assert data["total"]["macs"] == 5_268_480 == sum(row["macs"] for row in data["layers"])
    assert data["input"] == {"input": {"shape": [1, 480, 14, 14], "dtype": "float32"}}
    assert [row["formula"] for row in data["layers"]][1].endswith("= 1·14·14·16·480·1·1 = 1,505,280")
    assert data["uncounted"] == data["assumed"] == {}


def test_every_public_name_has_a_home_and_loads() -> None:
    assert set(archlab.__all__) == {"__version__", *archlab._HOMES} == set(dir(archlab))
    for name in archlab.__all__:
        assert getattr(archlab, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        archlab.nothing  # noqa: B018
