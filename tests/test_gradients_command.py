"""The command `gradients` as a user meets it: formats, digits, mistakes, an interrupt."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Outcome

from archlab.gradients import GradientFlow
from archlab.report.gradients import factor, runs_of

Run = Callable[..., Outcome]

MODEL = """
from archlab.ir import Builder
from archlab.ops import Flatten, Input, Linear, ReLU

def build(name):
    b = Builder(name)
    x = b.add("stem/relu", ReLU(), b.add("stem/fc", Linear(4), b.add("input", Input((1, 3)))))
    with b.scope("aux", train_only=True):
        auxiliary = b.add("fc", Linear(5), x)
    x = b.add("body/relu", ReLU(), b.add("body/fc", Linear(6), x))
    return b.build(b.add("main/fc", Linear(5), x), auxiliary)
"""
QUICK = ("--seeds", "2", "--init", "kaiming,xavier")


@pytest.fixture
def target(tmp_path: Path) -> str:
    """A small graph with an auxiliary head, as a file."""
    space: dict[str, object] = {}
    exec(MODEL, space)
    path = tmp_path / "small.json"
    path.write_text(space["build"]("small").to_json())  # type: ignore[operator]
    return str(path)


def test_a_row_a_block_and_what_the_seeds_say(run: Run, target: str) -> None:
    shown = run("gradients", f"{target}+no_aux", target, "--seeds", "6", "--init", "kaiming")
    assert (shown.code, shown.err) == (0, "")
    rows = {line.split()[0]: line for line in shown.out.splitlines() if line.strip()}
    assert "equal" in rows["body"]
    assert "equal" in rows["main"]
    assert f"{target} alone" in rows["aux"]
    assert f"kaiming: The gradient of {target} against {target}+no_aux: " in shown.out
    assert "equal to the last digit in body, main." in shown.out
    assert f"(0 in {target}+no_aux and 1 in {target})" in shown.out


def test_json_has_the_schema_and_is_read_back(run: Run, target: str) -> None:
    data = json.loads(run("gradients", target, f"{target}+no_aux", *QUICK, "--json").out)
    assert data["schema"] == "archlab.gradients/1"
    assert (data["base"], data["others"], data["heads"]) == (target, [f"{target}+no_aux"], [1, 0])
    assert {(row["init"], row["block"]) for row in data["blocks"]} == {
        (init, block) for init in ("kaiming", "xavier") for block in ("stem", "aux", "body", "main")
    }
    stem = data["blocks"][0]
    assert stem["subjects"][target].keys() == {"params", "norm", "rms", "output_norm", "along"}
    assert stem["subjects"][target]["norm"].keys() == {"median", "low", "high"}
    assert stem["ratios"][f"{target}+no_aux"]["norm"]["verdict"] == "too few seeds"
    assert GradientFlow.of(data).to_dict() == data


def test_csv_has_a_row_an_initialisation_block_and_subject(run: Run, target: str) -> None:
    text = run("gradients", target, f"{target}+no_aux", *QUICK, "--format", "csv").out
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 2 * (4 + 3)  # two initialisations; the head's block in one of the two alone
    assert [row["params"] for row in rows if row["block"] == "stem"] == ["16"] * 4  # 4·3 + 4
    base = next(row for row in rows if row["block"] == "stem")
    assert float(base["norm_low"]) <= float(base["norm"]) <= float(base["norm_high"])
    assert (base["ratio"], base["verdict"]) == ("", "")


@pytest.mark.parametrize("format", ["markdown", "html", "latex"])
def test_every_format_shows_every_block(run: Run, target: str, format: str) -> None:
    shown = run("gradients", target, *QUICK, "--format", format)
    assert shown.code == 0
    for block in ("stem", "aux", "body", "main"):
        assert block in shown.out


def test_every_digit_is_shown_where_that_is_asked_for(run: Run, target: str) -> None:
    words = ("gradients", target, "--seeds", "1", "--init", "kaiming")
    norm = json.loads(run(*words, "--json").out)["runs"][0]["blocks"]["stem"]["norm"]
    assert f"{norm:.2e}" in run(*words).out
    assert repr(norm) not in run(*words).out
    assert repr(norm) in run(*words, "--exact").out


def test_a_deeper_block_is_a_layer(run: Run, target: str) -> None:
    data = json.loads(run("gradients", target, *QUICK, "--depth", "2", "--json").out)
    assert [row["block"] for row in data["blocks"][:4]] == ["stem/fc", "aux/fc", "body/fc", "main/fc"]


def test_a_batch_and_a_weight_are_those_asked_for(run: Run, target: str) -> None:
    data = json.loads(run("gradients", target, *QUICK, "--batch", "3", "--aux-weight", "0", "--json").out)
    assert data["input"] == {"input": "3x3"}
    assert data["runs"][0]["blocks"]["aux"]["norm"] == 0


def test_a_result_goes_to_a_file(run: Run, target: str, tmp_path: Path) -> None:
    ended = run("gradients", target, *QUICK, "--json", "--output", str(tmp_path / "out.json"))
    assert (ended.code, ended.out) == (0, "")
    assert json.loads((tmp_path / "out.json").read_text())["base"] == target


MISTAKES = [
    (("--init", "kaimin"), "unknown initialisation 'kaimin'; did you mean 'kaiming'"),
    (("--init", ","), "unknown initialisation ''"),
    (("--seeds", "0"), "Invalid value for '--seeds'"),
    (("--aux-weight", "nan"), "the weight of auxiliary heads must be 0 or more, got nan"),
    (("--device", "abacus"), "--device abacus: no such kind of device; there is cpu"),
    (("--json", "--format", "csv"), "--json is short for --format json"),
]


@pytest.mark.parametrize(("words", "said"), MISTAKES)
def test_a_mistake_is_one_line_and_the_exit_code_2(run: Run, target: str, words: tuple[str, ...], said: str) -> None:
    ended = run("gradients", target, *words)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("error: ")
    assert said in ended.err
    assert ended.err.count("\n") == 1


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("googlenet@64", "loss1/ave_pool: a window of 5 does not fit into an input of 4"),
        ("googlenet+no_aux+no_aux", "ablation 'no_aux' matches no layer"),
        ("gogglenet", "did you mean 'googlenet'"),
    ],
)
def test_a_target_that_cannot_be_is_said(run: Run, target: str, said: str) -> None:
    ended = run("gradients", target)
    assert ended.code in (2, 3)
    assert said in ended.err


def test_an_interrupt_shows_what_was_measured_and_ends_with_130(
    run: Run, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from archlab.pytorch import gradients

    calls = iter(range(100))
    initialise = gradients.initialise

    def interrupted(*arguments: object) -> None:
        if next(calls) == 3:
            raise KeyboardInterrupt
        initialise(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(gradients, "initialise", interrupted)
    ended = run("gradients", target, "--seeds", "2", "--init", "kaiming,xavier")
    assert ended.code == 130
    assert "Interrupted: 3 of 4 pairs of a seed and an initialisation were measured." in ended.out
    assert ended.err == "error: interrupted\n"


def test_neighbours_are_listed_as_a_span() -> None:
    order = ["a", "b", "c", "d", "e", "f"]
    assert runs_of(["b", "c", "d", "f"], order) == "b to d, f"
    assert runs_of(["a", "b", "e"], order) == "a, b, e"


def test_factors_have_three_digits_however_small() -> None:
    assert [factor(r) for r in (7669.7, 147.3, 3.142, 0.5, 0.0013042, 1.5e-05)] == [
        "7,670×",
        "147×",
        "3.14×",
        "0.50×",
        "0.0013×",
        "1.5e-05×",
    ]
    assert factor(1 / 3, exact=True) == "0.3333333333333333×"
