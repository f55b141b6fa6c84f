"""The calibration of the device in hand: what it holds, and that it is measured once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Outcome

import archlab
from archlab import UsageError
from archlab.analyses.calibration import Calibration, Sustained
from archlab.errors import ArchlabWarning, ReadError
from archlab.pytorch import calibrate, sustained
from archlab.pytorch.calibrate import cache_folder, calibrated

CPU = torch.device("cpu")


def made(device: torch.device = CPU, told: Any = None, float32: float = 100e9) -> Calibration:
    """Return a calibration that nobody measured."""
    return Calibration(
        device="Test CPU",
        kind="CPU",
        threads=2,
        torch="2.0",
        when="2025-01-01",
        memory=16 * 10**9,
        load=0.5,
        cpus=2,
        products={"float32": Sustained(float32, 90e9, 5e9, 4), "bfloat16": Sustained(200e9, 150e9, 50e9, 4)},
        bandwidth={"copy": Sustained(10e9, 9e9, 1e9, 5), "read": Sustained(20e9, 18e9, 2e9, 5)},
        launch=Sustained(1e6, 5e5, 1e4, 9),
        seconds=1.5,
    )


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "archlab" / "calibrations"


def test_a_device_is_measured_once_and_then_read_from_the_cache(cache: Path) -> None:
    calls = []

    def measure(device: torch.device, told: Any) -> Calibration:
        calls.append(device)
        return made()

    first = calibrated("cpu", measure=measure)
    assert calls == [CPU]
    assert len(list(cache.iterdir())) == 1
    assert calibrated("cpu", measure=measure) == first == made()
    assert calls == [CPU], "the second time nothing was measured"
    calibrated("cpu", recalibrate=True, measure=lambda device, told: made(float32=120e9))
    assert calibrated("cpu", measure=measure).products["float32"].best == 120e9
    assert len(list(cache.iterdir())) == 1, "a new one takes the place of the old"


def test_other_threads_are_another_device(cache: Path) -> None:
    before = torch.get_num_threads()
    calibrated("cpu", measure=lambda device, told: made())
    torch.set_num_threads(before + 1)
    try:
        calibrated("cpu", measure=lambda device, told: made(float32=1e9))
    finally:
        torch.set_num_threads(before)
    assert len(list(cache.iterdir())) == 2
    assert calibrated("cpu", measure=lambda device, told: made(float32=2e9)) == made()


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"schema": "archlab.calibration/1"}'])
def test_a_cache_that_cannot_be_read_is_measured_anew(cache: Path, text: str) -> None:
    calibrated("cpu", measure=lambda device, told: made())
    (path,) = cache.iterdir()
    path.write_text(text)
    assert calibrated("cpu", measure=lambda device, told: made(float32=7e9)).products["float32"].best == 7e9
    assert json.loads(path.read_text())["products"]["float32"]["best"] == 7e9


def test_a_cache_that_cannot_be_written_costs_time_at_the_next_run_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.warns(ArchlabWarning, match="the calibration is not kept, the next run measures anew"):
        assert calibrated("cpu", measure=lambda device, told: made()) == made()


def test_the_cache_lies_where_this_users_caches_lie(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "archlab"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # the standard says to ignore it
    monkeypatch.setattr("sys.platform", "linux")
    assert cache_folder() == Path.home() / ".cache" / "archlab"
    monkeypatch.setattr("sys.platform", "darwin")
    assert cache_folder() == Path.home() / "Library" / "Caches" / "archlab"


def test_a_device_that_is_not_there_is_bad_usage() -> None:
    with pytest.raises(UsageError, match="there is no device 'nonsense' here"):
        calibrated("nonsense", measure=lambda device, told: made())


def test_roofs_are_the_best_that_the_device_sustained() -> None:
    machine = made().hardware
    assert machine.rates == {"float32": 100 * 10**9, "bfloat16": 200 * 10**9}
    assert machine.bandwidth == 20 * 10**9, "of all patterns the fastest"
    assert machine.elementwise == 100 * 10**9, "its float32 units do all else"
    assert machine.spread == {"float32": 5 / 90, "bfloat16": 50 / 150, "bandwidth": 2 / 18}
    assert machine.title == "Test CPU, 2 threads"
    assert "a load of 0.5 on 2 CPUs" in machine.source
    assert machine.note == "An operation takes 2 µs to start, which is in no bound"


def test_a_system_that_was_busy_is_said() -> None:
    from dataclasses import replace

    assert "the system was busy" in replace(made(), load=1.5).hardware.note.casefold()
    assert "busy" not in replace(made(), load=None).hardware.note


def test_figures_are_the_best_the_median_and_the_spread() -> None:
    assert Sustained.of([4.0, 1.0, 2.0, 3.0, 5.0]) == Sustained(best=5.0, median=3.0, iqr=2.0, runs=5)
    assert Sustained.of([4.0]) == Sustained(4.0, 4.0, 0.0, 1)


def test_plain_data_comes_back_as_it_was() -> None:
    assert Calibration.from_dict(json.loads(json.dumps(made().to_dict()))) == made()


@pytest.mark.parametrize(
    "change", [{"products": {}}, {"schema": "archlab.calibration/2"}, {"launch": 3}, {"more": 1}, {"bandwidth": {}}]
)
def test_other_data_is_no_calibration(change: dict[str, Any]) -> None:
    with pytest.raises(ReadError, match="this is no calibration"):
        Calibration.from_dict({**made().to_dict(), **change})


def test_this_is_the_device_in_hand(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibrate, "calibrate", made)
    machine = archlab.hardware("This")
    assert (machine.name, machine.title) == ("this", "Test CPU, 2 threads")
    assert archlab.roofline("naive", machine).layers["5x5"].seconds > 0
    for wrong in ("this:fp8", "this:"):
        with pytest.raises(UsageError, match="write this or this:tf32"):
            archlab.hardware(wrong)
    with pytest.raises(UsageError, match="has no rate for TensorFloat-32"):
        archlab.hardware("this:tf32")


def test_a_profile_on_this_device_calibrates_it_once(
    run: Callable[..., Outcome], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[torch.device] = []

    def measure(device: torch.device, told: Callable[[str], None]) -> Calibration:
        calls.append(device)
        told("calibrating")
        return made()

    monkeypatch.setattr(calibrate, "calibrate", measure)
    shown = run("profile", "naive", "--hardware", "this")
    assert shown.code == 0
    assert "Bounds on Test CPU, 2 threads" in shown.out
    assert "calibrating" not in shown.out + shown.err, "progress is for a terminal"
    # 225,801,408 FLOPs at 100 GFLOP/s
    assert "2.26 ms" in shown.out
    run("profile", "naive", "--hardware", "this")
    assert len(calls) == 1
    run("profile", "naive", "--hardware", "this", "--recalibrate")
    assert len(calls) == 2


def test_a_calibration_that_is_interrupted_keeps_nothing_and_ends_with_130(
    run: Callable[..., Outcome], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(device: torch.device, told: object) -> Calibration:
        raise KeyboardInterrupt

    monkeypatch.setattr(calibrate, "calibrate", measure)
    shown = run("profile", "naive", "--hardware", "this")
    assert (shown.code, shown.out, shown.err) == (130, "", "error: interrupted\n")
    assert not cache.exists()


def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make everything so small that it takes no time."""
    monkeypatch.setattr(sustained, "_SMALLEST", 32)
    monkeypatch.setattr(sustained, "_LARGEST", 64)
    monkeypatch.setattr(sustained, "_PASSED", 2**16)


def check(device: torch.device) -> None:
    told: list[str] = []
    found = sustained.calibrate(device, told.append, each=0.01)
    assert "float32" in found.products
    assert {"copy", "triad", "read"} == found.bandwidth.keys()
    assert all(text.startswith(f"calibrating {device}: ") for text in told)
    assert len(told) >= 3 + len(found.products)
    for figure in (*found.products.values(), *found.bandwidth.values(), found.launch):
        assert figure.best >= figure.median > 0
        assert figure.iqr >= 0
        assert figure.runs >= 3
    assert found.memory is None or found.memory > 2**20
    assert Calibration.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    assert found.hardware.rates.keys() == found.products.keys()


def test_the_cpu_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch)
    check(CPU)


@pytest.mark.gpu
def test_an_accelerator_is_measured_by_the_same_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    device = torch.accelerator.current_accelerator(check_available=True)
    if device is None:
        pytest.skip("no accelerator here: torch.accelerator reports none")
    small(monkeypatch)
    check(device)


def test_a_type_without_a_kernel_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch)

    def missing(side: int) -> Any:
        def run() -> None:
            raise NotImplementedError("no kernel")

        return run

    assert sustained._product_rates(CPU, missing, 0.01) == []
