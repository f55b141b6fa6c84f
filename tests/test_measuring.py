"""`--device` on the command line: what `profile` and `compare` add, what they refuse, and how an interrupt ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import archlab
from archlab.errors import ArchlabWarning
from archlab.measured_comparisons import compare_measurements
from archlab.report.measured_comparing import verdict_sentence
from archlab.report.numbers import in_seconds
from archlab.samples import verdict
from tests.conftest import Outcome

Run = Callable[..., Outcome]
ROOT = Path(archlab.__file__).parent.parent
SHORT = ("--seconds", "0.01")


def test_a_measured_profile_shows_latency_share_and_rate_beside_the_counts(run: Run) -> None:
    done = run("profile", "reduced", "--device", "cpu", *SHORT)
    assert (done.code, done.err) == (0, "")
    head = next(line for line in done.out.splitlines() if line.startswith("layer"))
    assert re.split(r"\s{2,}", head) == [
        "layer", "op", "output", "params", "MACs", "latency", "iqr", "share", "rate [GMAC/s]", "memory",
    ]  # fmt: skip
    for words in ("whole model", "sum of layers", "Measured on ", f"torch {torch.__version__}"):
        assert words in done.out
    assert (
        "Counted on cpu: torch's own counter saw 5,268,480 MACs there, as many as we count, layer by layer."
        in done.out
    )
    assert "5,268,480" in done.out.split("total", 2)[2]


def test_a_measured_profile_is_the_counted_one_as_json_with_times(run: Run) -> None:
    counted = json.loads(run("profile", "reduced", "--json").out)
    data = json.loads(run("profile", "reduced", "--device", "cpu", *SHORT, "--json").out)
    for key, value in counted.items():
        if key not in ("source", "layers"):
            assert data[key] == value
    for row, measured in zip(counted["layers"], data["layers"], strict=True):
        assert {key: measured[key] for key in row} == row
        assert {"median", "iqr"} <= measured["seconds"].keys()
        assert measured["measured_macs"] == row["macs"]
    for key in ("whole_seconds", "layers_seconds"):
        assert data[key]["median"] > 0
        assert data[key]["iqr"] >= 0
    machine = data["machine"]
    assert machine["torch"] == torch.__version__
    assert machine["threads"] == torch.get_num_threads()
    assert machine["device"] == "cpu"
    assert {"kind", "dtype", "load", "python", "batch", "channels_last", "compiled"} <= machine.keys()


def test_measured_columns_can_be_chosen_sorted_and_summed_up(run: Run) -> None:
    shaped = ("--columns", "macs,seconds", "--sort", "seconds", "--top", "2", "--format", "csv")
    lines = run("profile", "googlenet@64", "--device", "cpu", *SHORT, *shaped).out.splitlines()
    assert lines[0] == "layer,op,output,macs,seconds"
    rows = [line.rsplit(",", 2) for line in lines[1:]]
    assert len(rows) == 3
    first, second = float(rows[0][2]), float(rows[1][2])
    assert first >= second > 0
    assert rows[2][0].startswith("… ")
    assert sum(int(row[1]) for row in rows) == archlab.profile("googlenet@64").total.macs


def test_blocks_have_the_time_of_their_layers(run: Run) -> None:
    done = run("profile", "googlenet@64", "--device", "cpu", *SHORT, "--depth", "1", "--format", "csv")
    blocks = [line.split(",")[0] for line in done.out.splitlines()[1:]]
    assert blocks == list(archlab.profile("googlenet@64").by_block(1))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("profile", "naive", "--device", "gpu0"), "--device gpu0: no such kind of device; there is cpu"),
        (("profile", "naive", "--batch", "2"), "--batch says how to measure; add --device cpu"),
        (("profile", "naive", "--channels-last"), "--channels-last says how to measure; add --device cpu"),
        (("compare", "naive", "reduced", "--compile"), "--compile says how to measure; add --device cpu"),
        (("profile", "naive", "--columns", "seconds"), "the column 'seconds' is measured, and nothing was"),
        (("profile", "naive", "--sort", "rate"), "the column 'rate' is measured, and nothing was"),
        (("profile", "naive", "--device", "cpu", "--backward"), "--device measures the forward pass"),
        (("profile", "naive", "--device", "cpu", "--dtype", "f8"), "--dtype f8: no floating type"),
        (("profile", "nothing", "--device", "cpu"), "nothing"),
    ],
)
def test_what_cannot_be_measured_is_one_line_and_2(run: Run, words: tuple[str, ...], said: str) -> None:
    done = run(*words)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    assert said in done.err


@pytest.mark.skipif(torch.accelerator.is_available(), reason="this machine has an accelerator")
def test_a_missing_gpu_is_one_line_that_says_what_there_is_and_2(run: Run) -> None:
    done = run("profile", "naive", "--device", "cuda")
    assert (done.code, done.out) == (2, "")
    assert re.fullmatch(r"error: --device cuda: torch \S+ finds no cuda on this machine; there is cpu\n", done.err)


def test_a_measured_comparison_gives_a_verdict_with_its_interval(run: Run) -> None:
    done = run("compare", "naive", "reduced", "--device", "cpu", "--seconds", "0.5")
    assert (done.code, done.err) == (0, "")
    verdict = r"reduced against naive: (faster|slower|no difference)"
    seen = r" \([\d.]+ times the time, 99 % interval [\d.]+ to [\d.]+; \d+ rounds run in turn\)\."
    unsure = r"; \d+ rounds (are too few|differ too much among themselves) for a verdict, raise --seconds"
    assert re.search(f"{verdict}({seen}|{unsure})", done.out)
    assert "21.4× fewer" in done.out


def test_a_measured_comparison_as_json_has_verdicts_and_what_each_took(run: Run) -> None:
    counted = json.loads(run("compare", "naive", "reduced", "naive", "--json").out)
    data = json.loads(
        run("compare", "naive", "reduced", "naive", "--device", "cpu", "--seconds", "0.2", "--json").out
    )
    assert data["ratios"] == counted["ratios"]
    assert [each["subject"] for each in data["verdicts"]] == ["reduced", "naive"]
    for found in data["verdicts"]:
        assert found["verdict"] in ("faster", "slower", "no difference")
        assert found["low"] <= found["ratio"] <= found["high"]
    for each in (data["base"], *data["others"]):
        assert each["source"] == "measured"
        assert each["whole_seconds"]["median"] > 0
        assert all("seconds" in row for row in each["layers"])


def measured(**machine: Any) -> archlab.Measurement:
    from dataclasses import replace

    found = archlab.measure("reduced", settings={"seconds": 0.01})
    return replace(found, machine=replace(found.machine, **machine))


def test_results_of_different_machines_are_compared_with_a_warning_and_without_a_verdict() -> None:
    here, there = measured(), measured(kind="another", threads=64, load=9.0)
    with pytest.warns(
        ArchlabWarning, match=r"measured differently \(kind .* against another; threads \d+ against 64\)"
    ):
        found = compare_measurements(here, there)
    assert found.verdicts == ()
    assert found.to_dict()["verdicts"] == []


def test_results_of_one_machine_are_compared_without_a_warning() -> None:
    compare_measurements(measured(load=1.0), measured(load=5.0))


def saved(folder: Path, name: str, **machine: Any) -> str:
    path = folder / name
    path.write_text(measured(**machine).to_json(), encoding="utf-8")
    return str(path)


@pytest.mark.filterwarnings("default::archlab.errors.ArchlabWarning")
def test_files_measured_on_different_machines_are_held_against_each_other_with_a_warning(
    run: Run, tmp_path: Path
) -> None:
    here, there = saved(tmp_path, "a.json"), saved(tmp_path, "b.json", kind="another")
    done = run("diff", here, there)
    assert done.code == 0
    assert re.fullmatch(r"warning: \S+a.json and \S+b.json were measured differently \(kind .*\n", done.err)
    assert "no change, reduced costs the same." in done.out
    assert "another (cpu)" in done.out
    assert "no verdict" in done.out


def test_files_measured_on_one_machine_are_held_against_each_other_in_silence(run: Run, tmp_path: Path) -> None:
    here, there = saved(tmp_path, "a.json"), saved(tmp_path, "b.json")
    done = run("diff", here, there, "--json")
    assert (done.code, done.err) == (0, "")
    assert [each["subject"] for each in json.loads(done.out)["measured"]] == ["reduced", "reduced"]


def test_a_file_that_says_something_else_of_a_measurement_is_no_profile(run: Run, tmp_path: Path) -> None:
    path = Path(saved(tmp_path, "a.json"))
    data = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**data, "machine": 3}), encoding="utf-8")
    done = run("diff", str(path), str(path))
    assert (done.code, done.out) == (3, "")
    assert "this is no measured profile" in done.err


def test_what_was_measured_is_no_part_of_what_a_lock_keeps() -> None:
    from archlab.guard.entry import Entry

    assert Entry.of(measured().to_dict()) == Entry.of(archlab.profile("reduced").to_dict())


SCRIPT = """
import random, time
import torch
from torch import nn

class Slow(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        if type(x) is torch.Tensor:
            with open("runs", "a") as file:
                file.write(".")
            time.sleep(random.random() / 10)  # so that no interval grows narrow
        return self.layer(x)
"""


@pytest.mark.parametrize("json_asked", [False, True])
@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signal for one process")
def test_an_interrupt_shows_what_was_measured_so_far_and_ends_with_130(tmp_path: Path, json_asked: bool) -> None:
    (tmp_path / "slow.py").write_text(SCRIPT, encoding="utf-8")
    words = ["profile", "slow.py:Slow", "--input", "1x4", "--device", "cpu", "--seconds", "500", "--memory"]
    process = subprocess.Popen(
        [sys.executable, "-m", "archlab", *words, *(["--json"] if json_asked else [])],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not _has_run(tmp_path / "runs", 15) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.endswith("error: interrupted\n")
    if json_asked:
        data = json.loads(out)
        assert data["interrupted"]
        assert data["whole_seconds"]["runs"] > 0
        assert "memory" not in data  # nothing else is begun
    else:
        assert "Interrupted: this is what was measured until then." in out
        assert "whole model" in out


def _has_run(path: Path, times: int) -> bool:
    """Return whether the model ran so often: more than it takes to prepare, so that rounds are under way."""
    return path.exists() and path.stat().st_size >= times


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"),
        (2.5e-9, "2.50 ns"),
        (999.4e-6, "999 µs"),
        (999.6e-6, "1.00 ms"),
        (0.0123456, "12.3 ms"),
        (1.0, "1.00 s"),
        (123.4, "123 s"),
    ],
)
def test_seconds_have_three_digits_and_a_unit(seconds: float, text: str) -> None:
    assert in_seconds(seconds) == text


@pytest.mark.parametrize(
    ("base", "other", "said"),
    [
        (
            [1.0] * 9,
            [2.0] * 9,
            r"slower \(2.000 times the time, 99 % interval 2.000 to 2.000; 9 rounds run in turn\)",
        ),
        ([1.0, 1.0], [2.0, 2.0], "no difference; 2 rounds are too few for a verdict, raise --seconds"),
        ([1.0, 9.0, 2.0], [3.0, 2.0, 9.0], "no difference; 3 rounds differ too much among themselves for a verdict"),
    ],
)
def test_a_verdict_says_what_it_rests_on_or_that_it_rests_on_too_little(
    base: list[float], other: list[float], said: str
) -> None:
    assert re.match(f"b against a: {said}", verdict_sentence("a", "b", verdict(base, other)))


def test_no_other_machines_peak_is_attained_here(run: Run) -> None:
    shown = run("profile", "naive", "--device", "cpu", *SHORT, "--hardware", "h100").out
    assert "bound by" in shown
    assert "attained" not in shown
    assert "overhead" not in shown
