"""The lock file: sorted, integers only, a line a layer, the same by every version, and never half of one."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import archlab
from archlab.errors import ReadError
from archlab.guard.entry import Entry
from archlab.guard.lock import Lock


def entry(target: str, **how: Any) -> Entry:
    return Entry.of(archlab.profile(target, **how).to_dict(), target, {"num_classes": 10} if how else {})


@pytest.fixture(scope="module")
def lock() -> Lock:
    others = {"r": entry("reduced", convention="fvcore"), "b": entry("googlenet", backward=True)}
    return Lock({"naive": entry("naive"), 'a/b "c"': entry("nin"), **others})


def values(data: Any) -> Iterator[Any]:
    if isinstance(data, dict):
        for value in data.values():
            yield from values(value)
    elif isinstance(data, list):
        for value in data:
            yield from values(value)
    else:
        yield data


def dicts(data: Any) -> Iterator[dict[str, Any]]:
    if isinstance(data, dict):
        yield data
    for value in data.values() if isinstance(data, dict) else data if isinstance(data, list) else ():
        yield from dicts(value)


def test_what_is_written_is_read(lock: Lock) -> None:
    again = Lock.of(lock.text(), "here")
    assert again == lock
    assert again.text() == lock.text()
    assert [row.formulas for row in again.models["naive"].rows] == [r.formulas for r in lock.models["naive"].rows]


def test_numbers_are_integers_and_keys_are_sorted(lock: Lock) -> None:
    data = json.loads(lock.text())
    assert {type(value) for value in values(data)} <= {int, str, bool}
    assert all(list(found) == sorted(found) for found in dicts(data))


def test_a_layer_is_a_line_with_its_counts_and_its_products(lock: Lock) -> None:
    (line,) = [line for line in lock.text().splitlines() if '["5x5", ' in line and "112896000" in line]
    name, row = json.loads(line.strip().rstrip(","))
    assert name == "5x5"
    assert row["formulas"]["mac"] == "1·14·14·48·480·5·5 = 112,896,000"
    # 48 filters of 480·5·5 with a bias each; 4 bytes each; 48·14·14 outputs
    assert row["params"] == 48 * 480 * 5 * 5 + 48
    assert row["weight_bytes"] == 4 * row["params"]
    assert row["activations"] == 48 * 14 * 14
    assert row["flops"] == 2 * 112_896_000 + 48 * 14 * 14


def test_it_holds_no_version_no_time_and_no_path(lock: Lock) -> None:
    text = lock.text()
    assert archlab.__version__ not in text
    assert str(Path.cwd()) not in text
    assert "torch" not in text


def test_layers_that_cost_nothing_are_left_out() -> None:
    assert [row.name for row in entry("naive").rows] == ["5x5"]  # not the input


def test_a_change_of_one_layer_changes_its_line_and_the_totals_alone() -> None:
    plain = archlab.profile("googlenet").to_dict()
    old = Lock({"g": Entry.of(plain)}).text().splitlines()
    changed = json.loads(json.dumps(plain))
    row = next(layer for layer in changed["layers"] if layer["name"] == "inception_3a/5x5")
    row["macs"] += 1
    changed["total"]["macs"] += 1
    new = Lock({"g": Entry.of(changed)}).text().splitlines()
    differing = [line for before, line in zip(old, new, strict=True) if before != line]
    assert len(differing) == 2
    assert '["inception_3a/5x5"' in differing[0]
    assert '"macs": 1582671873' in differing[1]


WRONG = [
    "",
    "{",
    "[]",
    "3",
    "{}",
    '{"schema": "archlab.lock/2", "models": {}}',
    '{"schema": "archlab.lock/1"}',
    '{"schema": "archlab.lock/1", "models": {"x": {}}}',
    '{"schema": "archlab.lock/1", "models": {"x": {"target": "x", "mode": "inference", "convention": "archlab", '
    '"total": {"macs": 1.5}, "layers": []}}}',
    '{"schema": "archlab.lock/1", "models": {"x": {"target": "x", "mode": "inference", "convention": "archlab", '
    '"total": {"macs": true}, "layers": []}}}',
    '{"schema": "archlab.lock/1", "models": {"x": {"target": "x", "mode": "inference", "convention": "archlab", '
    '"total": {}, "layers": [["a"]]}}}',
    "[" * 100_000,
]


@pytest.mark.parametrize("text", WRONG)
def test_what_is_no_lock_is_said_with_what_to_do(text: str) -> None:
    with pytest.raises(ReadError, match=r"here: is no lock file .*write it anew: archlab lock"):
        Lock.of(text, "here")


def test_a_merge_that_is_not_settled_is_said() -> None:
    text = "{\n<<<<<<< HEAD\n1\n=======\n2\n>>>>>>> x\n}"
    with pytest.raises(ReadError, match="here: has the marks of a merge that is not settled; take one side"):
        Lock.of(text, "here")


TAMPERED: list[tuple[str, str, str]] = [
    ('"macs": 112896000,', '"macs": 1,', "its macs are 1, those of its layers 112,896,000"),
    ('    "macs": 112896000,\n', "", "its total has no macs"),
    ('"uncounted": 0', '"uncounted": 1', "its uncounted are 1, those of its layers 0"),
    ('"params": 576048,\n', '"params": 576048.0,\n', "params is 576048.0, no whole number"),
    ('"total": {', '"backward": true, "total": {', "its total has no backward_macs"),
]


@pytest.mark.parametrize(("old", "new", "said"), TAMPERED)
def test_a_lock_whose_totals_are_not_those_of_its_layers_is_no_baseline(old: str, new: str, said: str) -> None:
    text = Lock({"naive": entry("naive")}).text()
    place = text.index('"total"')
    changed = text[:place] + text[place:].replace(old, new, 1)
    assert changed != text
    with pytest.raises(ReadError) as error:
        Lock.of(changed, "here")
    assert f"its entry 'naive': {said}" in str(error.value)


def test_other_data_is_no_profile() -> None:
    for data in ({}, {"schema": "archlab.check/1"}, {"schema": "archlab.profile/1"}, {"schema": []}):
        with pytest.raises(ReadError, match="no profile"):
            Entry.of(data)


def test_no_lock_is_none(tmp_path: Path) -> None:
    assert Lock.read(tmp_path / "archlab.lock.json") is None


def test_a_folder_or_bytes_are_no_lock(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path, tmp_path / "binary"):
        with pytest.raises(ReadError, match="cannot be read"):
            Lock.read(path)


CONFIGS = {
    "old": "".join(f'[[model]]\nname = "m{i}"\ntarget = "googlenet"\n' for i in range(12)),
    "new": "".join(f'[[model]]\nname = "m{i}"\ntarget = "vgg16"\n' for i in range(12)),
}


def run_lock(folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "archlab", "lock", "--force"]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


IN_THE_MIDDLE = """
import os, sys, time
from archlab.cli import main

def stop(handle, sync=os.{function}):
    print("here", flush=True)
    time.sleep(60)

os.{function} = stop if "{function}" == "fsync" else lambda *paths: stop(paths)
main(["lock", "--force"])
"""


@pytest.mark.parametrize("function", ["fsync", "replace", "chmod"])
def test_killed_while_it_writes_it_leaves_the_old_file_and_the_next_run_tidies_up(
    tmp_path: Path, function: str
) -> None:
    (tmp_path / "archlab.toml").write_text('[[model]]\ntarget = "naive"\n')
    assert run_lock(tmp_path).wait() == 0
    old = (tmp_path / "archlab.lock.json").read_text()
    (tmp_path / "archlab.toml").write_text('[[model]]\ntarget = "reduced"\n')
    script = IN_THE_MIDDLE.format(function=function)
    with subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"here\n"
        process.kill()
    assert (tmp_path / "archlab.lock.json").read_text() == old
    assert len(list(tmp_path.iterdir())) == 3  # with what was being written
    assert run_lock(tmp_path).wait() == 0
    assert '"reduced"' in (tmp_path / "archlab.lock.json").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archlab.lock.json", "archlab.toml"]


@pytest.mark.slow
def test_killed_at_any_moment_it_leaves_the_old_or_the_new_file(tmp_path: Path) -> None:
    texts = {}
    for name, config in CONFIGS.items():
        (tmp_path / "archlab.toml").write_text(config)
        started = time.monotonic()
        assert run_lock(tmp_path).wait() == 0
        took = time.monotonic() - started
        texts[(tmp_path / "archlab.lock.json").read_text()] = name
    chance = random.Random(4)
    left = set()
    for attempt in range(24):
        (tmp_path / "archlab.toml").write_text(CONFIGS["old" if attempt % 2 else "new"])
        process = run_lock(tmp_path)
        time.sleep(chance.uniform(0.5, 1.1) * took)
        process.send_signal(signal.SIGKILL)
        process.wait()
        text = (tmp_path / "archlab.lock.json").read_text()
        assert text in texts, f"half a file after attempt {attempt}"
        left.add(texts[text])
    assert run_lock(tmp_path).wait() == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archlab.lock.json", "archlab.toml"]


@pytest.mark.slow
def test_runs_at_the_same_time_leave_one_whole_file(tmp_path: Path) -> None:
    (tmp_path / "archlab.toml").write_text(CONFIGS["old"])
    assert run_lock(tmp_path).wait() == 0
    whole = (tmp_path / "archlab.lock.json").read_text()
    (tmp_path / "archlab.lock.json").unlink()
    processes = [run_lock(tmp_path) for _ in range(4)]
    while any(process.poll() is None for process in processes):
        found = tmp_path / "archlab.lock.json"
        assert not found.exists() or found.read_text() == whole
    assert [process.returncode for process in processes] == [0] * 4
    assert (tmp_path / "archlab.lock.json").read_text() == whole
