"""The commands `diff` and `bisect` in scratch repositories, as a user sees them."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Outcome
from repositories import ENVIRONMENT, TINY, Scratch, linear_graph

Run = Callable[..., Outcome]


def config(*targets: str) -> str:
    """Return an archlab.toml of models that are called as their files."""
    return "".join(f'[[model]]\nname = "{Path(target).stem}"\ntarget = "{target}"\n' for target in targets)


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scratch:
    """Give a repository with one model, of 8·16 MACs and then 8·32."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    made = Scratch(tmp_path / "project")
    made.commit("Narrow", {"archlab.toml": config("net.json"), "net.json": linear_graph(16)})
    made.git("tag", "narrow")
    made.commit("Wide", {"net.json": linear_graph(32)})
    monkeypatch.chdir(made.folder)
    return made


def lines(outcome: Outcome) -> list[str]:
    return [" ".join(line.split()) for line in outcome.out.splitlines() if line.strip()]


# diff


def test_a_range_says_the_totals_the_first_layer_and_both_products(scratch: Scratch, run: Run) -> None:
    old, new = (scratch.git("rev-parse", "--short=9", name) for name in ("narrow", "HEAD"))
    found = run("diff", "narrow..")
    assert (found.code, found.err) == (0, "")
    said = lines(found)
    assert said[0] == f"narrow ({old}) → HEAD ({new}): net changed."
    # 8 numbers to 16 and to 32: 8·16 and 8·32 MACs, and a bias each besides.
    assert any(line.startswith(f"net changed {8 * 32} +{8 * 16} {8 * 32 + 32} +{8 * 16 + 16}") for line in said)
    assert f"MACs {8 * 16} {8 * 32} +{8 * 16} +100.00 %" in said
    assert f"params {8 * 16 + 16} {8 * 32 + 32} +{8 * 16 + 16} +100.00 %" in said
    assert "first layer that differs: fc (Linear 1x16 → 1x32)" in said
    assert f"old 1·16·8 = {8 * 16} MACs" in said
    assert f"new 1·32·8 = {8 * 32} MACs" in said
    assert "No other layer differs." in said


def test_no_change_is_said_aloud(scratch: Scratch, run: Run) -> None:
    commit = scratch.git("rev-parse", "--short=9", "HEAD")
    found = run("diff", "HEAD..HEAD")
    assert (found.code, lines(found)[0]) == (
        0,
        f"HEAD ({commit}) → HEAD ({commit}): no change, net costs the same.",
    )


def test_one_revision_is_held_against_the_working_tree(scratch: Scratch, run: Run) -> None:
    scratch.write({"net.json": linear_graph(64)})
    for words in (["diff"], ["diff", "HEAD"]):
        found = run(*words)
        assert "→ working tree: net changed." in found.out
        assert f"MACs {8 * 32} {8 * 64} +{8 * 32} +100.00 %" in lines(found)


def test_models_are_those_of_each_revision_and_new_and_removed_ones_are_said(scratch: Scratch, run: Run) -> None:
    scratch.commit("Another", {"archlab.toml": config("other.json"), "other.json": linear_graph(4)})
    found = run("diff", "narrow..", "--json")
    data = json.loads(found.out)
    assert (found.code, data["schema"], data["unchanged"]) == (0, "archlab.diff/1", False)
    assert [(model["name"], model["status"]) for model in data["models"]] == [("other", "new"), ("net", "removed")]
    assert data["models"][0]["new"]["total"]["macs"] == 8 * 4
    assert data["models"][1]["old"]["total"]["macs"] == 8 * 16
    assert "of 2 models 1 new (other), 1 removed (net)." in run("diff", "narrow..").out


def test_a_revision_without_a_config_is_counted_by_the_present_one(scratch: Scratch, run: Run) -> None:
    scratch.commit("Without", {"archlab.toml": None})
    scratch.commit("With", {"pyproject.toml": "[tool.archlab]\nmodel = [{name = 'net', target = 'net.json'}]\n"})
    assert "no change, net costs the same" in run("diff", "HEAD~1..HEAD").out


def test_targets_behind_the_range_choose_what_to_count(scratch: Scratch, run: Run) -> None:
    found = run("diff", "narrow..HEAD", "net.json", "naive", "--format", "csv")
    rows = list(csv.DictReader(found.out.splitlines()))
    assert [(row["model"], row["status"], row["macs"]) for row in rows] == [
        ("net.json", "changed", str(8 * 32)),
        ("naive", "no change", "112896000"),
    ]
    assert [
        row["model"] for row in csv.DictReader(run("diff", "narrow..", "net", "--format", "csv").out.splitlines())
    ]


def test_a_target_and_a_revision_are_the_target_now_and_then(scratch: Scratch, run: Run) -> None:
    scratch.write({"net.json": linear_graph(64)})
    data = json.loads(run("diff", "narrow", "net.json", "--json").out)
    (model,) = data["models"]
    assert (data["new"]["name"], model["old"]["total"]["macs"], model["new"]["total"]["macs"]) == (
        "working tree",
        8 * 16,
        8 * 64,
    )


def test_two_targets_need_no_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.json").write_text(linear_graph(16))
    (tmp_path / "b.json").write_text(linear_graph(32))
    found = run("diff", "a.json", "b.json")
    assert lines(found)[0] == "a.json → b.json: changed."
    assert "counted otherwise" not in found.out
    assert f"MACs {8 * 16} {8 * 32} +{8 * 16} +100.00 %" in lines(found)


def test_lock_files_and_profiles_are_sides_too(scratch: Scratch, run: Run) -> None:
    assert run("lock", "--force").code == 0
    assert run("profile", "net.json", "--json", "--output", "before.json").code == 0
    scratch.write({"net.json": linear_graph(64)})
    for words in (
        ["archlab.lock.json"],
        ["archlab.lock.json", "net.json"],
        ["before.json", "net.json"],
        ["before.json", "archlab.lock.json"],
        ["HEAD", "archlab.lock.json"],
    ):
        (model,) = json.loads(run("diff", *words, "--json").out)["models"]
        changes = words[-1] != "archlab.lock.json" or len(words) == 1
        assert model["old"]["total"]["macs"] == 8 * 32, words
        assert model["new"]["total"]["macs"] == (8 * 64 if changes else 8 * 32), words


def test_a_lock_without_the_model_asked_for_names_those_it_has(scratch: Scratch, run: Run) -> None:
    scratch.write({"archlab.toml": config("net.json", "other.json"), "other.json": linear_graph(4)})
    assert run("lock", "--force").code == 0
    found = run("diff", "archlab.lock.json", "naive")
    assert (found.code, found.err) == (2, "error: archlab.lock.json has no model 'naive' (models: net, other)\n")


def test_what_cannot_be_counted_is_said_and_the_rest_is_shown(scratch: Scratch, run: Run) -> None:
    both = config("net.json", "other.json")
    scratch.commit("Broken", {"archlab.toml": both, "other.json": "{", "net.json": linear_graph(64)})
    found = run("diff", "narrow..HEAD")
    assert found.code == 3
    assert "of 2 models 1 not counted (other), 1 changed (net)." in found.out
    assert f"MACs {8 * 16} {8 * 64} +{8 * 48} +300.00 %" in lines(found)
    assert any(line.startswith("HEAD (") and "): other.json: " in line for line in lines(found))


def test_a_profile_that_says_too_little_does_not_stop_the_rest(scratch: Scratch, run: Run) -> None:
    """A project that has archlab itself may have had one that said less."""
    scratch.commit("Long ago", {**TINY, "net.py": "macs = 1", "net.json": None})
    scratch.commit("Now", {"archlab/__init__.py": None, "net.json": linear_graph(16)})
    found = run("diff", "HEAD~1..HEAD", "net.py:macs", "net.json")
    assert found.code == 3
    assert "this is no profile of schema archlab.profile/1" in found.out
    assert f"HEAD ({scratch.git('rev-parse', '--short=9', 'HEAD')}): {8 * 16} MACs, {8 * 16 + 16} params" in found.out


def test_many_unchanged_models_are_one_row_but_not_for_a_program(scratch: Scratch, run: Run) -> None:
    names = [f"net{number}.json" for number in range(9)]
    scratch.commit("Many", {"archlab.toml": config(*names), **{name: linear_graph(4) for name in names}})
    scratch.commit("Wider", {"net8.json": linear_graph(5)})
    found = run("diff", "HEAD~1..HEAD")
    assert [line.split(" no change")[0] for line in lines(found) if "no change" in line] == ["… 8 more"]
    assert len(run("diff", "HEAD~1..HEAD", "--format", "csv").out.splitlines()) == 1 + 9


@pytest.mark.parametrize("format", ["terminal", "markdown", "html", "csv", "json"])
def test_every_format_is_written_whole_to_a_file(scratch: Scratch, run: Run, tmp_path: Path, format: str) -> None:
    out = tmp_path / "out"
    found = run("diff", "narrow..", "--format", format, "--output", str(out))
    assert (found.code, found.out, found.err) == (0, "", f"wrote {out}\n")
    assert "net" in out.read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["mian..HEAD"], "'mian' is no revision of project; did you mean 'main'?"),
        (
            ["googlenett", "main"],
            "'googlenett' is no revision of project; nor is it a file or a TARGET; did you mean ",
        ),
        (
            ["origin/main..HEAD"],
            "origin/main..HEAD: a range has no path separator; write its ends as two: archlab diff",
        ),
        (["googlenet"], "googlenet: compared with what? name two, or see what it costs: archlab profile googlenet"),
        (["naive", "reduced", "vgg16"], "naive reduced vgg16: what is 'vgg16' for? TARGETs go behind a range"),
        (["narrow..HEAD", "--json", "--format", "csv"], "--json is short for --format json"),
    ],
)
def test_what_cannot_be_asked_is_one_line_and_exit_2(
    scratch: Scratch, run: Run, words: list[str], message: str
) -> None:
    found = run("diff", *words)
    assert (found.code, found.out) == (2, "")
    assert found.err.startswith(f"error: {message}")
    assert found.err.count("\n") == 1


def test_outside_of_a_repository_a_revision_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    found = run("diff", "main", "naive")
    assert found.code == 2
    assert "'main' is no file, nor a TARGET" in found.err
    assert "not a git repository" in found.err


def test_without_a_config_the_error_says_how_to_name_models(scratch: Scratch, run: Run) -> None:
    scratch.commit("Without", {"archlab.toml": None})
    found = run("diff", "HEAD..HEAD")
    assert (found.code, "archlab diff main..HEAD TARGET" in found.err) == (2, True)


def test_a_project_in_a_sub_folder_is_compared_from_within_it(scratch: Scratch, run: Run, monkeypatch: Any) -> None:
    files = {"sub/archlab.toml": config("net.json"), "sub/deep/x": ""}
    scratch.commit("Sub", {**files, "sub/net.json": linear_graph(2), "archlab.toml": None})
    scratch.commit("Wider", {"sub/net.json": linear_graph(3)})
    monkeypatch.chdir(scratch.folder / "sub" / "deep")
    assert f"MACs {8 * 2} {8 * 3} +{8 * 1} +50.00 %" in lines(run("diff", "HEAD~1..HEAD"))


# bisect


@pytest.fixture
def line(scratch: Scratch) -> list[str]:
    """Give the hashes of a history of widths: 32 as it is, then these."""
    widths = [32, 32, None, 32, 40, 40, 64]
    return [
        scratch.commit(
            f"Step {number}", {"net.json": "{" if width is None else linear_graph(width), "n": str(number)}
        )
        for number, width in enumerate(widths, 1)
    ]


def test_the_commit_is_found_with_its_products_and_its_share(line: list[str], run: Run) -> None:
    found = run("bisect", "--metric", "macs", "net", "HEAD~7..HEAD~1")
    assert found.code == 0
    said = lines(found)
    assert said[0] == f"net: MACs +{8 * 8} (+25.00 %) by {line[4][:9]} Step 5"
    assert f"before {line[3][:9]} {8 * 32} ~ Step 4" in said
    assert f"after {line[4][:9]} {8 * 40} +{8 * 8} Step 5" in said
    assert f"That is 100 % of the change in the range, +{8 * 8} (+25.00 %)." in said
    assert f"before 1·32·8 = {8 * 32} MACs" in said
    assert f"after 1·40·8 = {8 * 40} MACs" in said


def test_the_rest_of_the_change_is_said_with_the_command_that_finds_it(line: list[str], run: Run) -> None:
    found = run("bisect", "HEAD~7..HEAD", "net.json", "--json")
    data = json.loads(found.out)
    assert (data["schema"], data["found"]["commit"]) == ("archlab.bisect/1", line[4])
    # From 32 to 40 of the way from 32 to 64.
    assert (data["step"], data["change"], data["share"]) == (8 * 8, 8 * 32, 8 / 32)
    said = lines(run("bisect", "net.json", "HEAD~7..HEAD"))
    assert "That is 25.00 % of the change in the range, +256 (+100.00 %)." in said
    command = f"archlab bisect --metric macs net.json {line[4][:9]}..{line[6][:9]}"
    assert command in said
    assert lines(run(*command.split()[1:]))[0].endswith("Step 7")


def test_revisions_that_hide_the_answer_are_all_named_and_the_exit_code_is_3(scratch: Scratch, run: Run) -> None:
    broken = scratch.commit("Broken", {"net.json": "{"})
    mended = scratch.commit("Mended", {"net.json": linear_graph(64)})
    found = run("bisect", "net", "HEAD~2..HEAD")
    assert found.code == 3
    assert "by one of 2 commits" in lines(found)[0]
    assert any(line.startswith(f"? {broken[:9]} - - Broken") for line in lines(found))
    assert any(line.startswith(f"{broken[:9]} net.json") for line in lines(found))
    data = json.loads(run("bisect", "net", "HEAD~2..HEAD", "--json").out)
    assert (data["found"], [each["commit"] for each in data["candidates"]]) == (None, [broken, mended])


def test_a_range_without_a_change_says_so(line: list[str], run: Run) -> None:
    found = run("bisect", "net", "HEAD~7..HEAD~6")
    assert found.code == 0
    assert lines(found)[0].startswith(f"No change: net has {8 * 32} MACs in HEAD~7 (")


def test_a_merge_says_how_to_look_within_it(scratch: Scratch, run: Run) -> None:
    scratch.git("checkout", "--quiet", "-b", "topic")
    wider = scratch.commit("Wider", {"net.json": linear_graph(64)})
    scratch.git("checkout", "--quiet", "main")
    scratch.commit("Meanwhile", {"notes": ""})
    scratch.git("merge", "--quiet", "--no-ff", "-m", "Merge wider", "topic")
    said = lines(run("bisect", "net", "HEAD~1..HEAD"))
    assert said[0].endswith("Merge wider")
    command = said[said.index("It is a merge. Within it:") + 1]
    words = [word.strip("'") for word in command.split()[1:]]
    assert lines(run(*words))[0].endswith(f"by {wider[:9]} Wider")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--metric", "mac", "net", "narrow..HEAD"], 2, "--metric mac: unknown metric; did you mean 'macs'?"),
        (["net", "HEAD..narrow"], 2, "HEAD ("),
        (["net", "narrow"], 2, "'narrow' is no range of revisions; write OLD..NEW"),
        (["--metric", "reported", "net", "narrow..HEAD"], 2, "--metric reported: net has none"),
        (["nets.json", "narrow..HEAD"], 3, "narrow ("),
    ],
)
def test_what_bisect_cannot_do_is_one_line(
    scratch: Scratch, run: Run, words: list[str], code: int, message: str
) -> None:
    found = run("bisect", *words)
    assert (found.code, found.out) == (code, "")
    assert found.err.startswith(f"error: {message}")
    assert found.err.count("\n") == 1


def test_a_remotes_branch_is_an_end_as_any_other(scratch: Scratch, run: Run) -> None:
    scratch.git("update-ref", "refs/remotes/origin/main", "narrow")
    assert lines(run("bisect", "net", "origin/main..HEAD"))[0].endswith("Wide")


def test_an_interrupt_ends_with_130_and_leaves_nothing_behind(scratch: Scratch, tmp_path: Path) -> None:
    scratch.commit(
        "Hangs", {**TINY, "net.py": f"import time\nopen({str(tmp_path / 'begun')!r}, 'w')\ntime.sleep(600)\n"}
    )
    path = os.pathsep.join(filter(None, sys.path))
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "archlab", "diff", "HEAD..HEAD", "net.py:Net"],
        env={**os.environ, "PYTHONPATH": path},
        stderr=subprocess.PIPE,
        text=True,
    )
    end = time.monotonic() + 60
    while not (tmp_path / "begun").exists():
        assert time.monotonic() < end
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (130, "error: interrupted\n")
    assert scratch.git("worktree", "list").count("\n") == 0
    assert list((scratch.folder / ".git/archlab/worktrees").iterdir()) == []
