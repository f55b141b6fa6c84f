"""The command line as a user meets it: what it prints, how it ends, what it says of mistakes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Outcome

import archlab
from archlab import __version__
from archlab.zoo.ablations import ABLATIONS
from archlab.zoo.catalog import ARCHITECTURES

Run = Callable[..., Outcome]
COMMAND = [sys.executable, "-m", "archlab"]


def test_compare_naive_reduced_shows_the_worked_example(run: Run) -> None:
    shown = run("compare", "naive", "reduced")
    assert shown.code == 0
    for text in (
        "112.9 M against 5.3 M MACs, 21.4× fewer",
        "112,896,000",
        "= 1·14·14·16·480·1·1 = 1,505,280 MACs",
        "= 1·14·14·48·16·5·5 = 3,763,200 MACs",
        "1,505,280 + 3,763,200 = 5,268,480",
        "576,048",
        "26,944",
        "576,000",
        "26,880",
        "2,718,144",
        "546,816",
        "The output is identical: 1x48x14x14.",
    ):
        assert text in shown.out
    assert shown.out.rstrip().splitlines()[-1] == "The whole network: archlab compare googlenet googlenet+naive"


def test_the_first_name_typed_is_the_base(run: Run) -> None:
    assert "5.3 M against 112.9 M MACs, 21.4× more" in run("compare", "reduced", "naive").out


def test_list_names_everything_with_its_sentence_and_source(run: Run) -> None:
    shown = run("list").out
    for name, entry in ARCHITECTURES.items():
        assert any(name in line and entry.summary in line and entry.source in line for line in shown.splitlines())
    for name, ablation in ABLATIONS.items():
        assert any(name in line and ablation.claim in line and ablation.source in line for line in shown.splitlines())


def test_profile_shows_layers_totals_and_completeness(run: Run) -> None:
    shown = run("profile", "googlenet").out
    assert "inception_4a/5x5_reduce" in shown
    assert "1,582,671,872" in shown
    assert "Uncounted: nothing; every operation has a rule." in shown


def test_profile_tables_are_shaped_by_options(run: Run) -> None:
    blocks = run(
        "profile", "googlenet", "--depth", "1", "--sort", "macs", "--top", "2", "--columns", "macs", "--exact"
    ).out
    lines = blocks.splitlines()
    assert lines[2].split() == ["block", "MACs"]
    assert [line.split()[0] for line in lines[3:5]] == ["conv2", "inception_3b"]  # facts section 1.2
    assert lines[3].split()[1] == "359,661,568"
    assert lines[5].startswith("… ")


def test_profile_in_training_keeps_the_auxiliary_heads(run: Run) -> None:
    data = json.loads(run("profile", "googlenet", "--mode", "training", "--json").out)
    assert data["total"]["params"] == 13_378_280
    assert data["mode"] == "training"


def test_json_follows_the_schema(run: Run) -> None:
    data = json.loads(run("profile", "naive", "--json").out)
    assert data["schema"] == "archlab.profile/1"
    assert {
        "subject",
        "source",
        "mode",
        "convention",
        "input",
        "total",
        "layers",
        "uncounted",
        "assumed",
    } <= data.keys()
    assert (data["subject"], data["source"], data["convention"]) == ("naive", "built", "archlab")
    assert data["total"]["macs"] == 112_896_000
    assert data == archlab.profile("naive").to_dict()


@pytest.mark.parametrize(
    "command", [["list"], ["profile", "reduced"], ["compare", "naive", "reduced"], ["explain", "reduced", "5x5"]]
)
@pytest.mark.parametrize("form", ["terminal", "markdown", "json", "csv", "html", "latex"])
def test_every_command_writes_every_format_to_screen_and_file(
    run: Run, command: list[str], form: str, tmp_path: Path
) -> None:
    on_screen = run(*command, "--format", form)
    assert on_screen.code == 0
    written = run(*command, "--format", form, "--output", str(tmp_path / "out"))
    assert (written.code, written.out) == (0, "")
    assert (tmp_path / "out").read_text(encoding="utf-8") == on_screen.out
    assert len(on_screen.out) > 50


def test_explain_gives_the_rule_the_symbols_and_the_numbers(run: Run) -> None:
    shown = run("explain", "googlenet", "inception_4a/5x5").out
    for text in (
        "N·H_out·W_out·C_out·C_in·k_h·k_w",
        "= 1·14·14·48·16·5·5 = 3,763,200",
        "each output element sums C_in/g·k_h·k_w products",
        "2·3,763,200 + 9,408 = 7,535,808",
        "48·16·5·5 = 19,200",
    ):
        assert text in shown


def test_explain_without_a_layer_gives_every_product_and_their_sum(run: Run) -> None:
    shown = run("explain", "reduced").out
    assert "1·14·14·16·480·1·1" in shown
    assert "5,268,480" in shown


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["profile", "gogglenet"], 2, "unknown architecture 'gogglenet'; did you mean 'googlenet'?"),
        (["profile", "googlenet+nave"], 2, "unknown ablation 'nave'; did you mean 'naive'?"),
        (["profile", "alexnet+naive"], 2, "ablation 'naive' matches no layer"),
        (["profile", "googlenet@12y"], 2, "'12y' is no input size"),
        (["profile", "googlenet@4"], 3, "googlenet: "),
        (["profile", "absent.json"], 3, "absent.json"),
        (["profile", "naive", "--input", "1x2x"], 2, "--input 1x2x: '1x2x' is no shape"),
        (["profile", "naive", "--arg", "x"], 2, "--arg x: write NAME=VALUE"),
        (["profile", "naive", "--input", "1x480x14x14:float99"], 2, "unknown dtype 'float99'"),
        (["profile", "googlenet", "--arg", "num_classes=abc"], 2, "googlenet with num_classes=abc: out_features"),
        (["profile", "googlenet", "--input", "1x3x224x224:int64"], 3, "conv1/7x7_s2: needs floating-point elements"),
        (["profile", "naive", "--sort", ""], 2, "unknown column ''"),
        (["profile", "naive", "--columns", "MAC"], 2, "did you mean 'mac'?"),
        (["profile", "naive", "--json", "--format", "csv"], 2, "leave out one of --json and --format csv"),
        (["explain", "googlenet", "loss1/fc"], 2, "no layer 'loss1/fc'; it runs in training alone: --mode training"),
        (["profile", "naive", "--columns", "mcas"], 2, "unknown column 'mcas'; did you mean 'macs'?"),
        (["profile", "naive", "--sort", "mcas"], 2, "unknown column 'mcas'"),
        (["profile", "naive", "--top", "0"], 2, "--top"),
        (["profile", "naive", "--convention", "fvcor"], 2, "unknown convention 'fvcor'"),
        (["profile", "naive", "--format", "yaml"], 2, "yaml"),
        (["profile", "naive", "--output", "/proc/nothing/here"], 2, "cannot write '/proc/nothing/here'"),
        (["explain", "googlenet", "inception_4a/5x6"], 2, "has no layer 'inception_4a/5x6'; did you mean"),
        (["compare", "naive"], 2, "OTHER"),
        (["profle"], 2, "profle"),
        (["profile"], 2, "TARGET"),
    ],
)
def test_a_mistake_is_one_error_line_with_the_right_exit_code(
    run: Run, words: list[str], code: int, message: str
) -> None:
    ended = run(*words)
    assert ended.out == ""
    lines = ended.err.splitlines()
    assert (ended.code, len(lines)) == (code, 1), ended.err
    assert lines[0].startswith("error: ")
    assert message in lines[0]


def test_an_unexpected_failure_is_an_internal_error_and_debug_shows_it(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr("archlab.api.load", broken)
    ended = run("profile", "naive")
    assert (ended.code, ended.err) == (70, "error: internal error, RuntimeError: boom (see it with --debug)\n")
    from archlab.cli import main

    with pytest.raises(RuntimeError, match="boom"):
        main(["profile", "naive", "--debug"])


def test_version_and_help(run: Run) -> None:
    assert run("--version").out == f"archlab {__version__}\n"
    shown = run("--help")
    assert shown.code == 0
    for command in ("list", "profile", "compare", "explain", "verify", "report"):
        assert command in shown.out
        assert run(command, "--help").code == 0


def test_the_launcher_the_module_and_the_script_are_the_same(tmp_path: Path) -> None:
    root = Path(archlab.__file__).parents[1]
    outputs = {
        subprocess.run(
            [sys.executable, *words, "compare", "naive", "reduced"],
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for words in (["cli.py"], ["-m", "archlab"])
    }
    assert len(outputs) == 1
    assert len((root / "cli.py").read_text().splitlines()) == 3


def test_a_closed_pipe_is_quiet() -> None:
    process = subprocess.Popen([*COMMAND, "profile", "googlenet"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 0


def test_piped_output_is_whole_and_without_colour() -> None:
    environment = {**os.environ, "COLUMNS": "40", "TERM": "xterm-256color"}
    shown = subprocess.run([*COMMAND, "list"], capture_output=True, text=True, check=True, env=environment).stdout
    assert max(map(len, shown.splitlines())) > 120
    assert "\x1b" not in shown
    assert "…" not in shown.replace("+ABLATION…", "")


SLOW = """if True:
    import time, archlab.api
    def slow(*a, **k):
        print("ready", flush=True)
        {wait}
    archlab.api.load = slow
    import sys
    sys.argv[1:] = ["profile", "naive"]
    from archlab.__main__ import main
    main()
"""


@pytest.mark.parametrize(
    "wait",
    [
        "time.sleep(60)",
        "exec('time.sleep(60)')",  # Python notes an interrupt that passes through an exec() and would end itself
        "\n        try: time.sleep(60)\n        except BaseException: raise SystemExit(0)",  # somebody swallows it
    ],
)
def test_an_interrupt_ends_with_130_and_one_line(wait: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW.format(wait=wait)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, "error: interrupted\n")


def test_a_full_disk_or_a_closed_output_is_one_error_line() -> None:
    with open("/dev/full", "w") as full:
        ended = subprocess.run([*COMMAND, "list"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (
        2,
        "error: cannot write to standard output: No space left on device\n",
    )
    shell = f"{sys.executable} -m archlab profile naive >&-"
    ended = subprocess.run(["sh", "-c", shell], stderr=subprocess.PIPE, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (2, "error: cannot write to standard output: it is closed\n")


def test_a_terminal_without_our_signs_still_gets_the_rest() -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    ended = subprocess.run(
        [*COMMAND, "compare", "naive", "reduced"], capture_output=True, env=environment, check=True
    )
    assert b"112,896,000" in ended.stdout


def test_without_a_command_the_help_is_shown(run: Run) -> None:
    assert run().out == run("--help").out


def test_explain_takes_a_block_and_gives_data(run: Run) -> None:
    # facts section 1.2: inception_4a takes 73,608,192 MACs
    assert "73,608,192" in run("explain", "googlenet", "inception_4a").out
    data = json.loads(run("explain", "reduced", "5x5", "--json").out)
    (layer,) = data["layers"]
    assert data["schema"] == "archlab.explanation/1"
    assert layer["formulas"]["mac"]["value"] == 14 * 14 * 48 * 16 * 5 * 5
    assert layer["weights"]["weight"]["shape"] == [48, 16, 5, 5]


def test_a_graph_file_is_a_target(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(archlab.load("reduced").to_json(), encoding="utf-8")
    data = json.loads(run("profile", str(path), "--json").out)
    assert (data["source"], data["total"]["macs"]) == ("read", 5_268_480)
    ended = run("profile", f"{path}+batch_norm@28", "--json")
    assert json.loads(ended.out)["total"]["macs"] == 4 * 5_268_480


def test_a_shell_completes_targets_and_ablations(run: Run) -> None:
    from archlab.cli.options import complete_target

    assert complete_target("googlenet-t") == ["googlenet-torchvision", "googlenet-tfslim"]
    assert complete_target("googlenet+no_a") == ["googlenet+no_aux"]
    environment = {
        **os.environ,
        "_ARCHLAB_COMPLETE": "complete_bash",
        "COMP_WORDS": "archlab profile vgg1",
        "COMP_CWORD": "2",
    }
    shown = subprocess.run(COMMAND, capture_output=True, text=True, env=environment, check=False).stdout
    assert shown.split() == ["vgg11", "vgg13", "vgg16", "vgg19"]
