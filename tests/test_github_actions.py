"""The composite action, the workflows of docs/github-actions.md, and their scripts, run with a stub of `gh`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ruamel.yaml import YAML

import archlab

ROOT = Path(archlab.__file__).parent.parent
SCHEMAS = Path(__file__).parent / "oracles" / "schemas"
WORKFLOWS = sorted((ROOT / "docs" / "workflows").glob("*.yml"))
MARKER = "<!-- archlab:check -->"
NAIVE, REDUCED = 112_896_000, 5_268_480
"""MACs of 5x5 filters alone, 14·14·48·480·5·5, and behind a reduction, 14·14·16·480 + 14·14·48·16·5·5."""


def read(path: Path) -> Any:
    """Return a YAML file as plain data; in YAML 1.2 the key `on` is a text."""
    return YAML(typ="safe").load(path)


def scripts(path: Path) -> dict[str, tuple[str, dict[str, str]]]:
    """Return the scripts in an action or a workflow by their step, each with its environment."""
    data = read(path)
    steps = data["runs"]["steps"] if "runs" in data else [s for job in data["jobs"].values() for s in job["steps"]]
    named = ((step.get("name", step.get("id", str(i))), step) for i, step in enumerate(steps))
    return {name: (step["run"], step.get("env", {})) for name, step in named if "run" in step}


# -- texts ---------------------------------------------------------------------------------------------


def test_there_are_workflows() -> None:
    assert [path.stem for path in WORKFLOWS] == ["check", "fork-check", "fork-comment", "sarif"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_the_document_shows_a_workflow_as_it_is(path: Path) -> None:
    text = (ROOT / "docs" / "github-actions.md").read_text(encoding="utf-8")
    assert f"```yaml\n{path.read_text(encoding='utf-8')}```\n" in text


def test_the_document_shows_no_other_workflow() -> None:
    text = (ROOT / "docs" / "github-actions.md").read_text(encoding="utf-8")
    assert text.count("```yaml") == len(WORKFLOWS)


@pytest.mark.parametrize("path", [ROOT / "action.yml", *WORKFLOWS], ids=lambda path: path.stem)
def test_it_is_what_github_reads(path: Path) -> None:
    name = "github-action.json" if path.name == "action.yml" else "github-workflow.json"
    schema = json.loads((SCHEMAS / name).read_text(encoding="utf-8"))
    check = jsonschema.validators.validator_for(schema)(schema)
    assert list(check.iter_errors(read(path))) == []
    assert list(check.iter_errors({**read(path), "runs": {"using": "perl"}, "jobs": 1})), "the schema can refuse"


@pytest.mark.parametrize("path", [ROOT / "action.yml", *WORKFLOWS], ids=lambda path: path.stem)
def test_scripts_are_bash_and_hold_no_expression(path: Path) -> None:
    """An expression in a script is replaced before a shell reads it: a branch's name would be code."""
    for script, _ in scripts(path).values():
        assert "${{" not in script
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)


def test_the_document_lists_the_inputs_and_outputs_of_the_action() -> None:
    text = (ROOT / "docs" / "github-actions.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    action = read(ROOT / "action.yml")
    assert [word.strip(" `") for row in rows for word in row.split(",")] == [
        *("status", "exit_code", "macs", "params", "macs_delta", "params_delta", "reports"),
        *("report_json", "report_html", "models", "args", "command", "working-directory", "formats", "reports"),
        "marker",
    ]
    assert set(action["outputs"]) | set(action["inputs"]) == {w.strip(" `") for row in rows for w in row.split(",")}


# -- the action ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scratch:
    """A project whose model is a graph in a file, and the environment of a runner."""

    folder: Path

    @classmethod
    def made(cls, folder: Path) -> Scratch:
        scratch = cls(folder)
        (folder / "project").mkdir()
        scratch.put("naive")
        (folder / "project" / "archlab.toml").write_text('[[model]]\nname = "net"\ntarget = "net.json"\n')
        scratch.program("archlab", f'#!/bin/sh\nexec "{sys.executable}" -m archlab "$@"\n')
        return scratch

    def program(self, name: str, text: str) -> None:
        (self.folder / "bin").mkdir(exist_ok=True)
        (self.folder / "bin" / name).write_text(text, encoding="utf-8")
        (self.folder / "bin" / name).chmod(0o755)

    def put(self, target: str) -> None:
        (self.folder / "project" / "net.json").write_text(archlab.load(target).to_json(), encoding="utf-8")

    def lock(self) -> None:
        self.bash("archlab lock", CI="").check_returncode()

    def bash(self, script: str, where: str = "project", **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a script as a runner does."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("GITHUB_", "ARCHLAB_"))}
        given = {
            **kept,
            "PATH": f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "CI": "true",
            "RUNNER_TEMP": str(self.folder),
            "GITHUB_OUTPUT": str(self.folder / "output"),
            "GITHUB_STEP_SUMMARY": str(self.folder / "summary"),
            **environment,
        }
        path = self.folder / "script.sh"
        path.write_text(script, encoding="utf-8")
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(path)]
        return subprocess.run(
            command, cwd=self.folder / where, env=given, capture_output=True, text=True, check=False, timeout=120
        )

    def act(self, **inputs: str) -> subprocess.CompletedProcess[str]:
        """Run the action's step with its inputs; the others are as by default."""
        ((script, environment),) = scripts(ROOT / "action.yml").values()
        defaults = {name: given["default"] for name, given in read(ROOT / "action.yml")["inputs"].items()}
        given = {**defaults, **inputs}
        values = {
            key: given[text.removeprefix("${{ inputs.").removesuffix(" }}")] for key, text in environment.items()
        }
        return self.bash(script, GITHUB_ACTIONS="true", **values)

    @property
    def outputs(self) -> dict[str, str]:
        lines = (self.folder / "output").read_text(encoding="utf-8").splitlines()
        return dict(line.split("=", 1) for line in lines)


@pytest.fixture
def scratch(tmp_path: Path) -> Scratch:
    return Scratch.made(tmp_path)


def test_the_action_checks_and_leaves_reports_and_outputs(scratch: Scratch) -> None:
    scratch.lock()
    ended = scratch.act()
    assert ended.returncode == 0, ended.stderr
    assert "No change: net costs what the lock says." in ended.stdout
    reports = scratch.folder / "archlab"
    assert scratch.outputs == {
        "status": "no change",
        "exit_code": "0",
        "macs": str(NAIVE),
        "macs_delta": "0",
        "params": str(480 * 48 * 25 + 48),
        "params_delta": "0",
        "reports": str(reports),
        "report_json": str(reports / "check.json"),
        "report_html": str(reports / "check.html"),
    }
    assert set(scratch.outputs) == set(read(ROOT / "action.yml")["outputs"])
    assert sorted(path.name for path in reports.iterdir()) == ["check.html", "check.json", "check.md"]
    assert (reports / "check.md").read_text(encoding="utf-8").startswith(MARKER + "\n")
    assert "No change" in (scratch.folder / "summary").read_text(encoding="utf-8")


def test_a_regression_fails_the_action_after_all_is_written(scratch: Scratch) -> None:
    scratch.put("reduced")
    scratch.lock()
    scratch.put("naive")
    ended = scratch.act(formats="junit sarif\ncsv", args="--strict", marker="two words", reports="out")
    assert ended.returncode == 1
    assert "::error " in ended.stdout
    assert (scratch.outputs["status"], scratch.outputs["exit_code"]) == ("fails", "1")
    assert scratch.outputs["macs_delta"] == str(NAIVE - REDUCED)
    reports = scratch.folder / "project" / "out"
    assert scratch.outputs["reports"] == str(reports)
    assert sorted(path.suffix for path in reports.iterdir()) == [".csv", ".html", ".json", ".md", ".sarif", ".xml"]
    assert (reports / "check.md").read_text(encoding="utf-8").startswith("<!-- archlab:two-words -->\n")


def test_models_are_chosen_a_line_each(scratch: Scratch) -> None:
    config = scratch.folder / "project" / "archlab.toml"
    config.write_text(config.read_text() + '[[model]]\nname = "a b"\ntarget = "reduced"\n')
    scratch.lock()
    assert scratch.act(models="a b\n").returncode == 0
    assert scratch.outputs["macs"] == str(REDUCED)
    assert scratch.act(models="a b\nnet\n").returncode == 0
    assert scratch.outputs["macs"] == str(REDUCED + NAIVE)


HOSTILE = "$(touch pwned)`touch pwned`; touch pwned && \"; touch pwned; ' | touch pwned #"


@pytest.mark.parametrize("name", ["models", "args", "marker", "formats", "reports"])
def test_a_hostile_input_is_a_word_and_no_code(scratch: Scratch, name: str) -> None:
    scratch.lock()
    ended = scratch.act(**{name: HOSTILE})
    assert ended.returncode == (0 if name in ("marker", "reports") else 2), ended.stderr
    assert not list(scratch.folder.rglob("pwned"))


def test_a_hostile_name_of_a_model_is_checked_as_any_other(scratch: Scratch) -> None:
    name = f"{HOSTILE} --output=pwned %0A::error::x"
    config = scratch.folder / "project" / "archlab.toml"
    config.write_text(f"[[model]]\nname = {json.dumps(name)}\ntarget = 'net.json'\n")
    scratch.lock()
    assert scratch.act(models=name).returncode == 0
    assert scratch.outputs["macs"] == str(NAIVE)
    scratch.put("googlenet")
    assert scratch.act(models=name).returncode in (1, 5)
    assert scratch.act(models="--output=pwned").returncode == 2
    assert not list(scratch.folder.rglob("pwned"))


def test_a_folder_of_two_lines_is_refused_since_it_could_set_outputs(scratch: Scratch) -> None:
    scratch.lock()
    ended = scratch.act(reports="a\nstatus=no change")
    assert ended.returncode == 2
    assert "a folder is named in one line" in ended.stdout
    assert not (scratch.folder / "output").exists()


def test_an_unknown_format_and_a_missing_program_are_said(scratch: Scratch) -> None:
    ended = scratch.act(formats="pdf")
    assert ended.returncode == 2
    assert "formats: junit, sarif and csv are known" in ended.stdout
    ended = scratch.act(command="no-such-archlab -m archlab")
    assert ended.returncode == 2
    assert "add a step before this one: pip install archlab" in ended.stdout


def test_the_command_may_be_several_words(scratch: Scratch) -> None:
    scratch.lock()
    (scratch.folder / "bin" / "archlab").unlink()
    scratch.program("py", f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    assert scratch.act(command="py -m archlab").returncode == 0


# -- comments ------------------------------------------------------------------------------------------

GH = f"""#!{sys.executable}
import json, os, shutil, subprocess, sys
from pathlib import Path

state = Path(os.environ["GH_STATE"])
data = json.loads(state.read_text())
words = sys.argv[1:]
assert words.pop(0) == "api" and os.environ["GH_TOKEN"]
given = {{}}
while words:
    word = words.pop(0)
    if word in ("--silent", "--paginate"):
        given[word] = True
    elif word in ("--jq", "--method", "-F"):
        given[word] = words.pop(0)
    else:
        assert "path" not in given, word
        given["path"] = word
path, method = given["path"], given.get("--method", "GET")
data["calls"].append(f"{{method}} {{path}}")
if method != "GET" and data["error"]:
    state.write_text(json.dumps(data))
    sys.exit(f"gh: {{data['error']}}")
if method != "GET":
    name, _, file = given["-F"].partition("=@")
    assert name == "body"
    body = Path(file).read_text()
    if method == "POST":
        data["comments"].append({{"id": 99, "user": {{"login": "github-actions[bot]"}}, "body": body}})
    else:
        comment, = (c for c in data["comments"] if c["id"] == int(path.split("/")[-1]))
        comment["body"] = body
    state.write_text(json.dumps(data))
    sys.exit()
state.write_text(json.dumps(data))
if path.endswith("/zip"):
    sys.stdout.buffer.write(Path(data["zip"]).read_bytes())
    sys.exit()
answer = {{"comments": data["comments"], "artifacts": {{"artifacts": data.get("artifacts", [])}}}}
answer = data["pull"] if "/pulls/" in path else answer[path.split("/")[-1]]
if answer is None:
    sys.exit("gh: Not Found (HTTP 404)")
sys.exit(subprocess.run(["jq", "-r", given["--jq"]], input=json.dumps(answer), text=True).returncode)
"""
"""Answers as `gh api` does from a file of comments, artifacts and a pull request, and notes what it was asked."""

REPOSITORY = {"GITHUB_REPOSITORY": "some/where", "GH_TOKEN": "t"}
BOT = {"login": "github-actions[bot]"}


@dataclass(frozen=True)
class Hub:
    """GitHub as `gh` shows it, in a file."""

    scratch: Scratch

    @property
    def state(self) -> dict[str, Any]:
        data = json.loads((self.scratch.folder / "gh.json").read_text(encoding="utf-8"))
        assert isinstance(data, dict)
        return data

    def set(self, **data: Any) -> None:
        whole = {"comments": [], "calls": [], "error": "", "pull": None, **data}
        (self.scratch.folder / "gh.json").write_text(json.dumps(whole), encoding="utf-8")

    def run(self, script: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return self.scratch.bash(script, **REPOSITORY, GH_STATE=str(self.scratch.folder / "gh.json"), **environment)

    @property
    def bodies(self) -> list[str]:
        return [comment["body"] for comment in self.state["comments"]]

    @property
    def writes(self) -> list[str]:
        return [call for call in self.state["calls"] if not call.startswith("GET ")]


@pytest.fixture
def hub(scratch: Scratch) -> Hub:
    if not (shutil.which("jq") and shutil.which("unzip")):
        pytest.skip("the scripts use jq and unzip, which GitHub's runners have")
    scratch.program("gh", GH)
    made = Hub(scratch)
    made.set()
    return made


def comment(hub: Hub, text: str = f"{MARKER}\nnew") -> subprocess.CompletedProcess[str]:
    """Run the step that comments in the same workflow."""
    script, environment = scripts(ROOT / "docs/workflows/check.yml")["Comment on the pull request"]
    assert set(environment) == {"GH_TOKEN", "NUMBER", "REPORT"}
    report = hub.scratch.folder / "check.md"
    report.write_text(text, encoding="utf-8")
    return hub.run(script, NUMBER="7", REPORT=str(report))


def test_the_first_comment_is_made_and_later_ones_write_it_over(hub: Hub) -> None:
    assert comment(hub, f"{MARKER}\nold").returncode == 0
    assert hub.writes == ["POST repos/some/where/issues/7/comments"]
    assert comment(hub).returncode == 0
    assert hub.writes[1:] == ["PATCH repos/some/where/issues/comments/99"]
    assert hub.bodies == [f"{MARKER}\nnew"]


def test_of_several_comments_only_the_bots_own_with_the_marker_is_written_over(hub: Hub) -> None:
    others = [
        {"id": 1, "user": {"login": "mallory"}, "body": MARKER},
        {"id": 2, "user": BOT, "body": f"not at its beginning: {MARKER}"},
        {"id": 3, "user": BOT, "body": "<!-- archlab:other -->"},
    ]
    mine = [{"id": number, "user": BOT, "body": f"{MARKER}\n"} for number in (4, 5)]
    hub.set(comments=others + mine)
    assert comment(hub).returncode == 0
    assert hub.writes == ["PATCH repos/some/where/issues/comments/4"]


def test_a_token_that_may_not_comment_is_a_warning(hub: Hub) -> None:
    hub.set(error="Resource not accessible by integration (HTTP 403)")
    ended = comment(hub)
    assert ended.returncode == 0
    assert "::warning title=archlab::this token may not comment" in ended.stdout


def test_any_other_error_of_github_fails_the_step(hub: Hub) -> None:
    hub.set(error="Server Error (HTTP 502)")
    ended = comment(hub)
    assert ended.returncode == 1
    assert "HTTP 502" in ended.stderr


# -- comments of forks ---------------------------------------------------------------------------------

HEAD = {"sha": "c0ffee", "repo": {"full_name": "fork/where"}}


def artifact(hub: Hub, number: str = "7\n", text: str = f"{MARKER}\nnew", **changes: Any) -> None:
    """Put an artifact of the first workflow where `gh` finds it."""
    path = hub.scratch.folder / "artifact.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("number", number)
        file.writestr("check.md", text)
        file.writestr("../escaped", "x")
    kept = {"id": 5, "name": "archlab", "expired": False, "size_in_bytes": path.stat().st_size}
    given = {
        "artifacts": [{"id": 4, "name": "other", "expired": False, "size_in_bytes": 1}, kept],
        "pull": {"head": HEAD},
    }
    kept.update({key: changes.pop(key) for key in list(changes) if key in kept})
    hub.set(zip=str(path), **{**given, **changes})


def answer(hub: Hub) -> subprocess.CompletedProcess[str]:
    """Run the second workflow's step."""
    ((script, environment),) = scripts(ROOT / "docs/workflows/fork-comment.yml").values()
    assert set(environment) == {"GH_TOKEN", "RUN", "RAN"}
    return hub.run(script, RUN="3", RAN="fork/where c0ffee")


def test_a_report_of_a_fork_becomes_its_comment(hub: Hub) -> None:
    artifact(hub)
    ended = answer(hub)
    assert ended.returncode == 0, ended.stderr
    assert hub.bodies == [f"{MARKER}\nnew"]
    assert hub.state["calls"][0] == "GET repos/some/where/actions/runs/3/artifacts"
    assert hub.state["calls"][1] == "GET repos/some/where/actions/artifacts/5/zip"
    artifact(hub, comments=hub.state["comments"], text=f"{MARKER}\n" + "×" * 60_000)
    assert answer(hub).returncode == 0
    assert hub.writes == ["PATCH repos/some/where/issues/comments/99"]
    assert hub.bodies == [f"{MARKER}\n" + "×" * 60_000]
    assert not list(hub.scratch.folder.rglob("escaped"))


@pytest.mark.parametrize(
    "number", ["", "0", "-1", "7; touch pwned", "../../x", "7/../8", "7\n8", "$(touch pwned)", "7" * 11, "７"]
)
def test_a_number_that_is_none_is_refused(hub: Hub, number: str) -> None:
    artifact(hub, number)
    ended = answer(hub)
    assert ended.returncode == 1
    assert "the number of the pull request is none" in ended.stdout
    assert not hub.writes
    assert not any("/pulls/" in call for call in hub.state["calls"])
    assert not list(hub.scratch.folder.rglob("pwned"))


@pytest.mark.parametrize(
    "head", [{**HEAD, "sha": "other"}, {**HEAD, "repo": {"full_name": "mallory/where"}}], ids=["commit", "repository"]
)
def test_a_pull_request_of_another_head_is_not_commented(hub: Hub, head: dict[str, Any]) -> None:
    artifact(hub, pull={"head": head})
    ended = answer(hub)
    assert ended.returncode == 0
    assert "is not the one that ran" in ended.stdout
    assert not hub.writes


@pytest.mark.parametrize(
    "changes", [{"size_in_bytes": 1_000_001}, {"expired": True}, {"name": "archlab2"}, {"artifacts": []}]
)
def test_without_a_small_report_nothing_is_loaded(hub: Hub, changes: dict[str, Any]) -> None:
    artifact(hub, **changes)
    ended = answer(hub)
    assert ended.returncode == 0
    assert "no report of a size to be read" in ended.stdout
    assert len(hub.state["calls"]) == 1


def test_a_report_that_unpacks_to_more_than_a_comment_is_refused(hub: Hub) -> None:
    artifact(hub, text=MARKER + "\n" + "a" * 100_000_000)
    assert (hub.scratch.folder / "artifact.zip").stat().st_size < 1_000_000
    ended = answer(hub)
    assert ended.returncode == 1
    assert "longer than any comment" in ended.stdout
    assert not hub.writes


@pytest.mark.parametrize("text", ["", "no marker", f"\n{MARKER}", f"{MARKER} and more"])
def test_a_report_without_its_marker_is_refused(hub: Hub, text: str) -> None:
    artifact(hub, text=text)
    ended = answer(hub)
    assert ended.returncode == 1
    assert not hub.writes


def test_what_is_no_archive_is_refused(hub: Hub) -> None:
    artifact(hub)
    (hub.scratch.folder / "artifact.zip").write_bytes(b"PK not a zip")
    assert answer(hub).returncode == 1
    assert not hub.writes
