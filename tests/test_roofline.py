"""The roofline: bounds derived by hand, and that no bound promises more than either roof allows."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import archlab
from archlab import TensorSpec, UsageError
from archlab.analyses.hardware import Hardware, find, machines
from archlab.analyses.machines import MACHINES
from archlab.analyses.roofline import FAR, Bound, roofline
from archlab.ir import Builder, Graph
from archlab.ops import Conv2d, Embedding, Input, ReLU

T, G = 10**12, 10**9

MACS = 14 * 14 * 48 * 480 * 5 * 5
"""Of `naive`: 14·14 positions, 48 filters, 480 channels, 5·5 taps."""
FLOPS = 2 * MACS + 14 * 14 * 48
"""A bias is added to each output."""
BYTES = 4 * (480 * 14 * 14 + 48 * 480 * 5 * 5 + 48 + 48 * 14 * 14)
"""Input, weight, bias and output, each once, in float32."""


def test_naive_on_an_a100_is_bound_by_compute() -> None:
    """225,801,408 FLOPs / 2,718,144 B = 83.07 FLOP/B, more than the machine's balance of 19,500/2,039 = 9.56."""
    profile = archlab.profile("naive")
    layer = profile.layer("5x5")
    assert (layer.cost.flops, layer.cost.bytes_moved) == (FLOPS, BYTES) == (225_801_408, 2_718_144)
    found = archlab.roofline(profile, "a100").layers["5x5"]
    assert Fraction(FLOPS, BYTES) > Fraction(19_500, 2039)
    assert found.roof == found.bound == "compute"
    assert found.seconds == Fraction(FLOPS * 10, 195 * T)
    assert found.memory == Fraction(BYTES, 2039 * G)


def test_products_on_tensor_cores_overlap_with_other_operations() -> None:
    """TF32 multiplies at 156 TFLOP/s while the vectors add 9,408 biases at 19.5: the products take longer."""
    found = archlab.roofline("naive", "a100:tf32").layers["5x5"]
    assert found.compute == Fraction(2 * MACS, 156 * T)
    assert found.seconds == max(Fraction(2 * MACS, 156 * T), Fraction(BYTES, 2039 * G))


def test_reduced_on_an_rtx_4090_is_bound_by_memory() -> None:
    """5x5_reduce: 2·14·14·16·480 + 14·14·16 FLOPs over 4·(480·14·14 + 16·480 + 16 + 16·14·14) B is 7.2 FLOP/B."""
    moved = 4 * (480 * 14 * 14 + 16 * 480 + 16 + 16 * 14 * 14)
    found = archlab.roofline("reduced", "RTX 4090").layers["5x5_reduce"]
    assert (found.roof, found.seconds) == ("memory", Fraction(moved, 1008 * G))


def traced(dtype: torch.dtype, name: str) -> archlab.Profile:
    model = torch.nn.Linear(64, 32, bias=False, device="meta", dtype=dtype)
    return archlab.profile(model, TensorSpec((8, 64), name))


@pytest.mark.parametrize(
    ("dtype", "name", "rate"),
    [
        (torch.float64, "float64", 67 * T),
        (torch.float32, "float32", 67 * T),
        (torch.float16, "float16", 1979 * T // 2),
        (torch.bfloat16, "bfloat16", 1979 * T // 2),
        (torch.complex64, "complex64", 67 * T),
    ],
)
def test_products_run_at_the_rate_of_their_weights(dtype: torch.dtype, name: str, rate: int) -> None:
    profile = traced(dtype, name)
    (layer,) = [layer for layer in profile.layers if layer.cost.macs]
    real = 4 if dtype.is_complex else 1  # a complex product is four real ones
    assert layer.cost.macs == 8 * 64 * 32 * real
    assert archlab.roofline(profile, "h100").layers[layer.name].compute == Fraction(2 * layer.cost.macs, rate)


def test_a_type_that_the_machine_has_no_rate_for_has_the_bound_of_memory_alone() -> None:
    profile = traced(torch.bfloat16, "bfloat16")
    found = archlab.roofline(profile, "v100")
    (layer,) = [layer for layer in profile.layers if layer.cost.macs]
    assert found.unknown == ("bfloat16",)
    assert found.layers[layer.name].compute is None
    assert found.layers[layer.name].seconds == Fraction(2 * (8 * 64 + 64 * 32 + 8 * 32), 900 * G)
    assert found.layers[layer.name].roof == "memory"


def test_views_and_inputs_take_no_time_and_have_no_bound() -> None:
    found = archlab.roofline("googlenet", "h100")
    for name in ("input", "flatten", "dropout"):
        assert (found.layers[name].seconds, found.layers[name].bound) == (0, None)


def test_the_sum_is_of_layers_in_turn_and_fusion_moves_inputs_weights_and_outputs_alone() -> None:
    """Of `reduced` the 12,544 B between its two convolutions are neither written nor read: at the second's and
    the first's 4·14·14·16 B each."""
    found, profile = archlab.roofline("reduced", "rtx4090"), archlab.profile("reduced")
    between = 4 * 14 * 14 * 16
    assert found.total == Fraction(profile.total.bytes_moved, 1008 * G)
    assert found.fused.seconds == Fraction(profile.total.bytes_moved - 2 * between, 1008 * G)


def test_fusion_fetches_of_an_embedding_the_rows_that_are_read() -> None:
    b = Builder("words")
    x = b.add("words", Input((1, 7), "int64"))
    x = b.add("embedding", Embedding(50_000, 16), x)
    found = roofline(archlab.profile(b.build(b.add("relu", ReLU(), x))), find("t4"))
    assert found.fused.memory == Fraction(8 * 7 + 2 * 4 * 7 * 16, 320 * G)  # ids; 7 rows read, and written at the end


def test_fusion_fetches_a_weight_that_two_layers_read_once() -> None:
    model = torch.nn.Linear(64, 64, bias=False, device="meta")
    found = archlab.roofline(archlab.profile(lambda x: model(model(x)), TensorSpec((8, 64), "float32")), "t4")
    assert found.fused.memory == Fraction(4 * (8 * 64 + 64 * 64 + 8 * 64), 320 * G)


class Scaled(torch.nn.Module):
    """Multiplies by a parameter that it keeps."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.empty(8, 64, device="meta"))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x * self.scale) * self.scale


def test_fusion_fetches_a_parameter_that_is_kept_as_data_once() -> None:
    found = archlab.roofline(archlab.profile(Scaled(), TensorSpec((8, 64), "float32")), "t4")
    assert found.fused.memory == Fraction(3 * 4 * 8 * 64, 320 * G)  # input, scale, output


def test_what_was_measured_says_how_much_of_the_bound_was_attained() -> None:
    bound = float(archlab.roofline("naive", "a100").total)
    half = archlab.roofline("naive", "a100", seconds={"5x5": 2 * bound})
    assert half.layers["5x5"].attained == pytest.approx(0.5)
    assert half.layers["5x5"].bound == "compute"
    assert half.attained(["input", "5x5"]) == pytest.approx(0.5)
    far = archlab.roofline("naive", "a100", seconds={"5x5": 1.01 * bound / float(FAR)})
    assert far.layers["5x5"].bound == "overhead"
    assert far.layers["5x5"].roof == "compute"
    faster = archlab.roofline("naive", "a100", seconds={"5x5": bound / 2})
    assert faster.layers["5x5"].attained == pytest.approx(2)


def test_seconds_of_a_layer_that_there_is_not_are_an_error() -> None:
    with pytest.raises(UsageError, match="naive has no layer '5x6'; did you mean '5x5'"):
        archlab.roofline("naive", "a100", seconds={"5x6": 1.0})


def test_the_gradient_has_its_arithmetic_in_the_bound() -> None:
    """Its weight's gradient takes the forward's product again; the input needs none."""
    profile = archlab.profile("naive", backward=True)
    found = archlab.roofline(profile, "a100").layers["5x5"]
    assert found.compute == Fraction((2 * 2 * MACS + 14 * 14 * 48) * 10, 195 * T)


def test_plain_data_has_the_machine_and_the_bounds_and_leaves_the_rest_as_it_was() -> None:
    profile = archlab.profile("googlenet")
    before, data = profile.to_dict(), archlab.roofline(profile, "h100").into(profile.to_dict())
    assert data["hardware"]["name"] == "h100-sxm"
    assert [
        {key: row[key] for key in old} for row, old in zip(data["layers"], before["layers"], strict=True)
    ] == before["layers"]
    assert sum(row["bound_seconds"] for row in data["layers"]) == pytest.approx(data["total"]["bound_seconds"])
    assert data["total"]["fused_bound_seconds"] < data["total"]["bound_seconds"]
    assert {row["bound"] for row in data["layers"]} == {"compute", "memory", None}


shapes = st.tuples(st.integers(1, 4), st.integers(1, 64), st.integers(5, 32), st.integers(5, 32))
names = st.sampled_from(sorted(MACHINES))


def chain(shape: tuple[int, ...], filters: list[tuple[int, int]]) -> Graph:
    b = Builder("chain")
    x = b.add("input", Input(shape))
    for i, (channels, kernel) in enumerate(filters):
        x = b.add(f"conv{i}", Conv2d(channels, kernel, padding=kernel // 2), x)
        x = b.add(f"relu{i}", ReLU(), x)
    return b.build(x)


chains = st.builds(
    chain, shapes, st.lists(st.tuples(st.integers(1, 64), st.sampled_from([1, 3, 5])), min_size=1, max_size=4)
)


@given(graph=chains, name=names)
def test_a_bound_is_never_above_either_roof_and_touches_one(graph: Graph, name: str) -> None:
    """At the bound a layer runs its FLOPs no faster than the peak and moves its bytes no faster than the memory."""
    profile, machine = archlab.profile(graph), machines()[name]
    found = roofline(profile, machine)
    for layer in profile.layers:
        bound, cost = found.layers[layer.name], layer.cost
        if not bound.seconds:
            assert (cost.flops, cost.bytes_moved) == (0, 0)
            continue
        _, rate = machine.rate("float32") or ("", 0)
        products, others = Fraction(2 * cost.macs, rate), Fraction(cost.flops - 2 * cost.macs, machine.elementwise)
        least = products + others if rate == machine.elementwise else max(products, others)
        traffic = Fraction(cost.bytes_moved, machine.bandwidth)
        assert bound.seconds >= least
        assert bound.seconds >= traffic
        assert bound.seconds in (least, traffic)
        assert (bound.roof == "compute") == (least >= traffic)


@given(graph=chains, name=names)
def test_fusion_is_never_slower_than_layers_in_turn(graph: Graph, name: str) -> None:
    found = roofline(archlab.profile(graph), machines()[name])
    assert found.fused.seconds <= found.total == found.seconds(found.layers)


@given(graph=chains, name=names, factor=st.integers(1, 100))
def test_a_faster_machine_has_no_longer_bound(graph: Graph, name: str, factor: int) -> None:
    profile, machine = archlab.profile(graph), machines()[name]
    for faster in (
        _with(machine, bandwidth=factor * machine.bandwidth),
        _with(machine, rates=_times(machine, factor)),
    ):
        better, worse = roofline(profile, faster), roofline(profile, machine)
        assert all(better.layers[layer].seconds <= worse.layers[layer].seconds for layer in worse.layers)


def _with(machine: Hardware, **changes: Any) -> Hardware:
    from dataclasses import replace

    return replace(machine, **changes)


def _times(machine: Hardware, factor: int) -> dict[str, int]:
    return {dtype: factor * rate for dtype, rate in machine.rates.items()}


@given(compute=st.fractions(0, 10), memory=st.fractions(0, 10), extra=st.floats(1, 1e6))
def test_what_runs_no_faster_than_its_bound_attains_no_more_than_all_of_it(
    compute: Fraction, memory: Fraction, extra: float
) -> None:
    bound = Bound(compute, memory)
    timed = Bound(compute, memory, measured=float(bound.seconds) * extra or None)
    assert timed.attained is None or timed.attained <= 1 + 1e-12
    assert timed.roof == bound.roof
