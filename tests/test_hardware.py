"""The table of machines: every figure with its source, of a sane size, and found by any spelling of its name."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from archlab.analyses.hardware import DTYPES, Hardware, find, machines
from archlab.analyses.machines import ALIASES, MACHINES
from archlab.errors import UsageError

G, T = 10**9, 10**12


@pytest.mark.parametrize("name", MACHINES)
def test_every_machine_says_what_it_is_and_who_says_so(name: str) -> None:
    machine = machines()[name]
    assert machine.name == name
    assert machine.title
    assert machine.kind in ("GPU", "TPU", "CPU")
    assert any(year in machine.source for year in map(str, range(2015, 2027))), "a source has a date"
    document = (
        "data sheet",
        "white paper",
        "documentation",
        "Brief",
        "newsroom",
        "ARK",
        "product page",
        "product brief",
    )
    assert any(word in machine.source for word in document), "a source is a document of the vendor"


@pytest.mark.parametrize("name", MACHINES)
def test_figures_are_of_a_sane_size(name: str) -> None:
    """A slip of a unit is a factor of a thousand; these ranges span what was built from 2017 to 2025."""
    machine = machines()[name]
    assert machine.memory is not None
    assert 10 * G <= machine.bandwidth <= 10 * T
    assert 4 * G <= machine.memory <= 8 * T
    for rate in machine.rates.values():
        assert 10 * G <= rate <= 10_000 * T
        assert rate > machine.bandwidth / 8, "more than one FLOP for each float64 that arrives"
        assert rate < 2000 * machine.bandwidth, "no machine needs 2000 FLOPs for each byte"
    order = [machine.rates[dtype] for dtype in ("float64", "float32", "float16", "float8") if dtype in machine.rates]
    assert order == sorted(order), "a narrower type is not slower"
    if "tfloat32" in machine.rates:
        assert machine.rates["float32"] <= machine.rates["tfloat32"] <= machine.rates["bfloat16"]


def test_figures_are_those_of_the_data_sheets() -> None:
    """Figures with sparsity are twice these: H100's sheet has 989, 1,979 and 3,958 TFLOP/s."""
    h100 = find("h100")
    assert h100.rates == {
        "float64": 67 * T, "float32": 67 * T, "tfloat32": 989 * T // 2, "float16": 1979 * T // 2,
        "bfloat16": 1979 * T // 2, "float8": 3958 * T // 2, "int8": 3958 * T // 2,
    }  # fmt: skip
    assert (h100.bandwidth, h100.memory) == (3350 * G, 80 * G)
    assert find("a100-40gb").bandwidth == 1555 * G
    # 5120 lines · 3.186 Gbit/s a line are 2039 GB/s
    assert find("a100-80gb").bandwidth == 2039 * G


def test_a_cpu_has_cores_times_clock_times_the_width_of_its_units() -> None:
    ryzen = find("ryzen-7950x")
    # two FMA units of 256 bits: 2 · (256/32) · 2 FLOPs a cycle; two channels of 64 bits at 5200 MT/s
    assert ryzen.rates["float32"] == 16 * 5_700_000_000 * (2 * (256 // 32) * 2)
    assert ryzen.bandwidth == 2 * 8 * 5_200_000_000
    xeon = find("xeon-8480")
    # AMX: 16 rows · 16 columns · 32 bfloat16, each 2 FLOPs, in 16 cycles
    assert xeon.rates["bfloat16"] == 56 * 3_800_000_000 * (16 * 16 * 32 * 2 // 16)


@pytest.mark.parametrize("text", ["h100", "H100", " h100 ", "H100-SXM", "h100 sxm", "h100_sxm"])
def test_case_spaces_and_dashes_make_no_difference(text: str) -> None:
    assert find(text).title == "NVIDIA H100 SXM 80 GB"


def test_names_differ_in_more_than_case_and_dashes_and_aliases_mean_machines() -> None:
    plain = ["".join(c for c in name.casefold() if c.isalnum()) for name in (*MACHINES, *ALIASES)]
    assert len(set(plain)) == len(plain)
    assert set(ALIASES.values()) <= MACHINES.keys()


def test_a_machine_that_comes_in_several_sizes_says_which_one_is_meant() -> None:
    assert find("a100").note == "a100 is a100-80gb; there is also a100-80gb-pcie, a100-40gb"
    assert find("t4").note == ""


@pytest.mark.parametrize(
    ("text", "meant"),
    [("h1000", "h100"), ("RTX 4080", "rtx4090"), ("tpu-v5q", "tpu-v5p"), ("ryzen7950", "ryzen-7950x")],
)
def test_a_name_with_a_slip_is_answered_with_the_nearest(text: str, meant: str) -> None:
    with pytest.raises(UsageError, match=rf"unknown hardware '{text}'; did you mean '{meant}'\?.*archlab list"):
        find(text)


def test_tf32_gives_float32_the_rate_of_tensorfloat32() -> None:
    machine = find("a100:tf32")
    assert machine.rate("float32") == ("float32", 156 * T)
    assert machine.elementwise == int(19.5 * T), "what is no product is as fast as before"
    assert find(" A100:TF32 ") == machine
    with pytest.raises(UsageError, match="NVIDIA T4 16 GB has no rate for TensorFloat-32; leave out :tf32"):
        find("t4:tf32")


def test_the_balance_is_the_peak_over_the_bandwidth() -> None:
    assert find("a100").balance("float32") == Fraction(19_500, 2039)
    assert find("a100").balance("bfloat16") == Fraction(312_000, 2039)
    assert find("t4").balance("bfloat16") is None


def test_a_type_without_a_rate_is_bounded_by_a_narrower_one_and_else_by_nothing() -> None:
    assert find("l4").rate("float64") == ("float32", int(30.3 * T))
    assert find("tpu-v4").rate("float32") == ("bfloat16", 275 * T)
    assert find("v100").rate("bfloat16") is None, "it may be as fast as float16, or as slow as float32"
    assert find("tpu-v4").elementwise == 275 * T


@pytest.mark.parametrize(
    "wrong", [{"rates": {}}, {"rates": {"float31": 1}}, {"rates": {"float32": 0}}, {"bandwidth": -1}, {"vector": 0}]
)
def test_a_machine_with_impossible_figures_cannot_be_made(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=f"rates are positive and of {DTYPES[0]}"):
        replace(find("t4"), **wrong)  # type: ignore[arg-type]


def test_plain_data_has_the_figures_and_the_source() -> None:
    data = find("t4").to_dict()
    assert data["rates"] == {"float32": 8_100 * G, "float16": 65 * T, "int8": 130 * T}
    assert data["source"] == "NVIDIA T4 Tensor Core GPU, data sheet, March 2019"
    assert Hardware(**data).rates == find("t4").rates
