"""--hardware as a user meets it: what it adds to a profile in every format, and what it says of mistakes."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Outcome

import archlab
from archlab.analyses.hardware import Hardware, find
from archlab.analyses.machines import MACHINES
from archlab.analyses.roofline import Roofline
from archlab.cli.bounding import complete_hardware
from archlab.report.bounds import DEFAULT, bound_blocks, bound_figures
from archlab.report.numbers import in_rate, in_seconds
from archlab.report.table import Document
from archlab.report.terminal import render
from archlab.report.views import profile_document

Run = Callable[..., Outcome]


def document(found: Roofline, width: int | None = None) -> str:
    profile = archlab.profile("googlenet")
    made = profile_document(profile, None, bound_figures(found), DEFAULT) + bound_blocks(profile, found)
    return render(made, width=width)


def test_a_profile_says_what_bounds_each_layer_and_for_how_long(run: Run) -> None:
    """The 5x5's 225,801,408 FLOPs at 19.5 TFLOP/s are 11.58 µs; its 2,718,144 B at 2,039 GB/s 1.33 µs."""
    shown = run("profile", "naive", "--hardware", "a100")
    assert shown.code == 0
    (row,) = [line for line in shown.out.splitlines() if line.startswith("5x5")]
    assert row.split()[-5:] == ["compute", "11.6", "µs", "100.0", "%"]
    for text in (
        "Bounds on NVIDIA A100 80 GB SXM",
        "float32 products  19.5 TFLOP/s  balance 9.6 FLOP/B",
        "2.039 TB/s",
        "compute bounds 1 layer, 100.0 %",
        "A bound, not a prediction",
        "Source: NVIDIA A100 Tensor Core GPU, data sheet, June 2021.",
        "a100 is a100-80gb; there is also a100-80gb-pcie, a100-40gb.",
        "--hardware a100-80gb:tf32",
    ):
        assert text in shown.out
    assert "predict" not in shown.out.replace("not a prediction", "")


def test_without_hardware_nothing_is_bounded(run: Run) -> None:
    shown = run("profile", "naive").out
    assert "bound" not in shown
    assert "hardware" not in json.loads(run("profile", "naive", "--json").out)


@pytest.mark.parametrize("form", ["terminal", "markdown", "json", "csv", "html", "latex"])
def test_every_format_has_the_bounds(run: Run, form: str, tmp_path: Path) -> None:
    shown = run("profile", "reduced", "--hardware", "rtx 4090", "--format", form)
    assert shown.code == 0
    # 419,648 B and 127,168 B at 1,008 GB/s
    expected = {"json": "4.1631746031746", "csv": "4.1631746031746"}.get(form, "416 ns")
    assert expected in shown.out
    run("profile", "reduced", "--hardware", "rtx 4090", "--format", form, "--output", str(tmp_path / "out"))
    assert (tmp_path / "out").read_text(encoding="utf-8") == shown.out


def test_json_has_the_machine_and_the_bounds_beside_the_counts(run: Run) -> None:
    data = json.loads(run("profile", "naive", "--hardware", "h100", "--json").out)
    assert data["schema"] == "archlab.profile/1"
    assert data["hardware"]["name"] == "h100-sxm"
    assert data["hardware"]["bandwidth"] == 3_350_000_000_000
    layer = data["layers"][1]
    assert layer["macs"] == 112_896_000
    assert (layer["bound"], layer["bound_seconds"]) == ("compute", 225_801_408 / 67e12)
    assert data["total"]["bound_seconds"] == layer["bound_seconds"]


def test_a_column_sums_to_its_total_for_layers_and_blocks(run: Run) -> None:
    totals = []
    for depth in ([], ["--depth", "1"], ["--top", "3", "--sort", "bound_seconds"]):
        table = run("profile", "googlenet", "--hardware", "t4", *depth, "--format", "csv").out
        rows = list(csv.DictReader(io.StringIO(table)))
        totals.append(sum(float(row["bound_seconds"]) for row in rows))
        assert sum(float(row["bound_share"]) for row in rows) == pytest.approx(1)
    whole = float(archlab.roofline("googlenet", "t4").total)
    assert totals == pytest.approx([whole] * 3)


def test_rows_are_sorted_and_columns_chosen_by_bounds(run: Run) -> None:
    words = ["--columns", "bound,bound_seconds", "--sort", "bound_seconds", "--top", "2", "--format", "csv"]
    rows = run("profile", "googlenet", "--hardware", "h100", *words).out.splitlines()
    assert rows[0] == "layer,op,output,bound,bound_seconds"
    # most MACs of all, which are bound by compute
    assert rows[1].startswith("conv2/3x3,Conv2d,1x192x56x56,compute,")
    assert rows[3].startswith("… ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--hardware", "h1000"], "unknown hardware 'h1000'; did you mean 'h100'?"),
        (["--hardware", ""], "unknown hardware ''"),
        (["--hardware", "t4:tf32"], "NVIDIA T4 16 GB has no rate for TensorFloat-32"),
        (["--hardware", "this:fp4"], "unknown hardware 'this:fp4'; write this or this:tf32"),
        (["--recalibrate"], "--recalibrate goes with --hardware this"),
        (["--recalibrate", "--hardware", "h100"], "--recalibrate goes with --hardware this"),
        (["--columns", "bound"], "the column 'bound' is of bounds on a machine; add --hardware NAME"),
        (["--sort", "bound_seconds"], "the column 'bound_seconds' is of bounds on a machine; add --hardware NAME"),
        (["--hardware", "h100", "--columns", "attained"], "the column 'attained' is of bounds on a machine"),
    ],
)
def test_mistakes_end_with_2_and_one_line(run: Run, words: list[str], said: str) -> None:
    shown = run("profile", "naive", *words)
    assert (shown.code, shown.out) == (2, "")
    assert said in shown.err
    assert len(shown.err.splitlines()) == 1


def test_a_terminal_of_80_columns_still_shows_the_bounds() -> None:
    lines = document(archlab.roofline("googlenet", "h100"), width=80).splitlines()
    assert max(map(len, lines)) <= 80
    head = next(line for line in lines if line.startswith("layer"))
    assert head.split() == ["layer", "MACs", "FLOP/B", "bound", "by", "least", "of", "it"]


def notes(target: str, machine: Hardware, backward: bool = False) -> str:
    profile = archlab.profile(target, backward=backward)
    return render(Document("", bound_blocks(profile, archlab.roofline(profile, machine))))


def test_notes_say_what_the_bound_rests_on() -> None:
    tpu = notes("naive", find("tpu-v4"))
    assert "which has no rate: the one of bfloat16 bounds it" in tpu
    assert "no rate of its own: the highest peak bounds it" in tpu
    assert "--hardware" not in notes("naive", find("a100:tf32"))
    assert "not its memory traffic" in notes("naive", find("t4"), backward=True)
    assert "not its memory traffic" not in notes("naive", find("t4"))


def test_a_machine_whose_memory_is_too_small_says_so() -> None:
    """The weights, 2,304,192 B, and the peak of 413,952 B are 2.7 MB."""
    needed = 2_304_192 + 413_952
    small, enough = replace(find("t4"), memory=needed - 1), replace(find("t4"), memory=needed)
    assert "weights and peak memory are 2.7 MB: they do not fit" in notes("naive", small)
    assert "do not fit" not in notes("naive", enough)


def test_measured_roofs_say_how_far_they_varied() -> None:
    machine = replace(find("t4"), spread={"float32": 0.02, "bandwidth": 0.11})
    assert "whose interquartile range is up to 11 %" in notes("naive", machine)


def test_a_measured_profile_has_the_part_that_was_attained() -> None:
    bound = archlab.roofline("googlenet", "h100")
    seconds = {name: 4 * float(layer.seconds) for name, layer in bound.layers.items() if layer.seconds}
    found = archlab.roofline("googlenet", "h100", seconds=seconds)
    column = bound_figures(found)["attained"]
    assert "attained" not in bound_figures(bound)
    assert column.get(list(found.layers), archlab.profile("googlenet").total) == pytest.approx(0.25)


def test_list_has_every_machine_with_its_source(run: Run) -> None:
    shown = run("list").out
    for name, machine in MACHINES.items():
        assert any(line.startswith(f"{name} ") and machine.source in line for line in shown.splitlines())
    data = json.loads(run("list", "--json").out)
    assert [row["name"] for row in data["hardware"]] == list(MACHINES)


def test_help_and_completion_name_machines(run: Run) -> None:
    assert "--hardware" in run("profile", "--help").out
    assert complete_hardware("H10") == ["h100", "h100-sxm", "h100-pcie"]
    assert complete_hardware("th") == ["this"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 s"),
        (1.158e-5, "11.6 µs"),
        (2.39e-9, "2.39 ns"),
        (0.9996, "1.00 s"),
        (0.0009994, "999 µs"),
        (12.3, "12.3 s"),
    ],
)
def test_times_have_three_digits_in_their_unit(value: float, text: str) -> None:
    assert in_seconds(value) == text


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(989.5e12, "FLOP/s", "989.5 TFLOP/s"), (3.35e12, "B/s", "3.35 TB/s"), (2.25e15, "FLOP/s", "2.25 PFLOP/s")],
)
def test_rates_have_their_unit(value: float, unit: str, text: str) -> None:
    assert in_rate(value, unit) == text
