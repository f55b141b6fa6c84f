"""The columns of what was measured: times that are made up, so that every sum, share and rate is known."""

from __future__ import annotations

import pytest

import archlab
from archlab.machines import Machine
from archlab.measurements import Measurement, Seconds, Shared
from archlab.profiles import Profile
from archlab.report.columns import Shaping, cost_table
from archlab.report.measuring import DEFAULT, SHARED, busy, figures, measurement_document
from archlab.report.table import Table

MS = 1e-3
HERE = Machine("cpu", "a processor", 1, "float32", 1, False, False, "2", "3", "Linux", 0.5)


def exactly(seconds: float) -> Seconds:
    return Seconds(seconds, 0.0, 9, seconds, seconds)


def measurement(profile: Profile, times: dict[str, float], shared: tuple[Shared, ...] = ()) -> Measurement:
    layers = {name: exactly(seconds) for name, seconds in times.items()}
    whole = exactly(sum(times.values()))
    return Measurement(profile, HERE, whole, whole, layers, (whole.median,), (whole.median,), shared=shared)


@pytest.fixture(scope="module")
def profile() -> Profile:
    return archlab.profile("googlenet@64")


@pytest.fixture(scope="module")
def times(profile: Profile) -> dict[str, float]:
    """The first layer takes 1 ms, the second 2 ms, and so on."""
    names = [layer.name for layer in profile.layers if not layer.node.op.is_input]
    return {name: (place + 1) * MS for place, name in enumerate(names)}


def column(table: Table, key: str) -> list[object]:
    place = [each.key for each in table.columns].index(key)
    return [row[place] for row in table.rows] + ([] if table.total is None else [table.total[place]])


def shaped(found: Measurement, **shaping: object) -> Table:
    return cost_table(found.profile, Shaping(**shaping), figures(found), DEFAULT)  # type: ignore[arg-type]


def test_a_row_a_layer_has_its_time_and_the_total_is_their_sum(profile: Profile, times: dict[str, float]) -> None:
    table = shaped(measurement(profile, times))
    whole = len(times) * (len(times) + 1) / 2 * MS
    assert column(table, "seconds") == pytest.approx([*times.values(), whole])
    assert column(table, "time_share") == pytest.approx([*(value / whole for value in times.values()), 1.0])


def test_a_block_takes_what_its_layers_take(profile: Profile, times: dict[str, float]) -> None:
    table = shaped(measurement(profile, times), depth=1)
    blocks: dict[str, float] = {}
    for name, seconds in times.items():
        block = name.split("/")[0]
        blocks[block] = blocks.get(block, 0.0) + seconds
    assert column(table, "seconds") == pytest.approx([*blocks.values(), sum(times.values())])
    macs = [cost.macs for cost in profile.by_block(1).values()]
    for rate, count, seconds in zip(column(table, "rate"), macs, blocks.values(), strict=False):
        assert rate == (pytest.approx(count / seconds / 1e9) if count else None)


def test_the_rest_of_a_cut_table_takes_what_all_of_it_takes(profile: Profile, times: dict[str, float]) -> None:
    last, before = len(times) * MS, (len(times) - 1) * MS
    found = column(shaped(measurement(profile, times), sort="seconds", top=2), "seconds")
    whole = sum(times.values())
    assert found == pytest.approx([last, before, whole - last - before, whole])


def test_a_layer_that_another_carries_has_no_time_of_its_own_and_the_rate_is_that_of_all() -> None:
    reduced = archlab.profile("reduced")
    group = Shared("a call", "5x5", ("5x5_reduce", "5x5"))
    found = measurement(reduced, {"5x5": 2 * MS}, (group,))
    table = shaped(found)
    assert column(table, "seconds") == [SHARED, 2 * MS, 2 * MS]
    assert column(table, "time_share") == [None, 1.0, 1.0]
    # 1,505,280 + 3,763,200 MACs in 2 ms
    assert column(table, "rate") == [None, *[pytest.approx(5_268_480 / 2e-3 / 1e9)] * 2]
    assert "One call (a call) runs 5x5_reduce, 5x5; its time stands at 5x5." in str(found)


def test_a_block_that_holds_part_of_a_shared_call_has_no_rate(profile: Profile) -> None:
    names = [layer.name for layer in profile.layers if layer.name.startswith(("conv1/", "pool1/", "conv2/"))]
    found = measurement(profile, {names[0]: MS}, (Shared("a call", names[0], tuple(names)),))
    table = shaped(found, depth=1)
    seconds, rates = column(table, "seconds"), column(table, "rate")
    assert seconds[:3] == [MS, SHARED, SHARED]
    assert rates[:3] == [None, None, None]


def test_a_document_says_where_it_was_measured_and_how(profile: Profile, times: dict[str, float]) -> None:
    document = measurement_document(measurement(profile, times))
    assert document.title.endswith("measured on cpu, batch 1, float32")
    texts = [block.text for block in document.blocks if hasattr(block, "text")]
    assert "Measured on a processor (cpu), 1 thread, load 0.5, torch 2, Python 3; batch 1, float32." in texts


def test_medians_that_sum_to_much_less_than_a_run_takes_are_explained(
    profile: Profile, times: dict[str, float]
) -> None:
    from dataclasses import replace

    found = measurement(profile, times)
    assert busy(found) == ""
    whole = sum(times.values())
    said = busy(replace(found, layers_seconds=exactly(2 * whole)))
    assert "50 % of what they take run by run" in said
