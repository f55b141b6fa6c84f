"""What GitHub reads: workflow commands as its runner takes them apart, the step's outputs, the summary."""

from __future__ import annotations

import re

import pytest
from checks import checked, config, entry, grown, placed, widened
from hypothesis import given
from hypothesis import strategies as st

from archlab.guard.config import Model
from archlab.guard.findings import Check, Finding, Place, Verdict
from archlab.report import github


def taken_apart(line: str) -> tuple[str, dict[str, str], str]:
    """Read a workflow command as actions/runner does (ActionCommand.cs): split, then unescape, per cent last."""
    found = re.fullmatch(r"::(\w+)(?: ([^\n]*?))?::([^\n\r]*)", line)
    assert found is not None, line
    name, given, message = found.groups()
    pairs = dict(pair.split("=", 1) for pair in (given or "").split(",") if pair)

    def unescaped(text: str, marks: str) -> str:
        for code, mark in (("%0D", "\r"), ("%0A", "\n"), *((f"%{ord(m):02X}", m) for m in marks), ("%25", "%")):
            text = text.replace(code, mark)
        return text

    return name, {key: unescaped(value, ":,") for key, value in pairs.items()}, unescaped(message, "")


def alone(text: str, level: str = "fail", place: Place | None = None, name: str = "net") -> Check:
    finding = Finding(level, "growth", text, "macs", place=place)
    return Check((Verdict(name, Model(name, "x"), None, None, (finding,)),))


@pytest.mark.parametrize(("level", "command"), [("fail", "error"), ("warn", "warning"), ("note", "notice")])
def test_each_level_has_its_command(level: str, command: str) -> None:
    (line,) = github.annotations(alone("grew", level)).splitlines()
    assert line.startswith(f"::{command} title=")
    assert line.endswith("::grew")


def test_what_the_toolkit_escapes_is_escaped_as_it_does() -> None:
    # actions/toolkit, packages/core/src/command.ts: escapeData and escapeProperty
    text = github.annotations(alone("5 % more,\r\na: b", place=Place("a,b:c%.py", 3)))
    assert text == "::error file=a%2Cb%3Ac%25.py,line=3,title=archlab%3A net fails::5 %25 more,%0D%0Aa: b\n"


ANY = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(ANY, ANY, ANY, st.integers(1, 10**6))
def test_any_annotation_is_read_back_whole(text: str, file: str, name: str, line: int) -> None:
    said = github.annotations(alone(text, place=Place(file, line), name=name))
    assert said.count("\n") == 1
    command, properties, message = taken_apart(said.removesuffix("\n"))
    assert command == "error"
    assert properties == {"file": file, "line": str(line), "title": f"archlab: {name} fails"}
    assert message == text


def test_a_failing_model_is_one_annotation_with_the_layer_its_products_and_the_command() -> None:
    (line,) = github.annotations(placed(grown(), "models/net.py", 7)).splitlines()
    _, properties, message = taken_apart(line)
    assert properties == {"file": "models/net.py", "line": "7", "title": "archlab: googlenet fails"}
    lines = message.splitlines()
    assert lines[0].startswith("MACs 1,582,671,872 → 1,583,402,560, +730,688")  # 14·14·528 + 14·14·128·5·5 more
    assert "  now     1·14·14·33·528·1·1 = 3,415,104 MACs" in lines
    assert lines[-1] == "accept it: archlab lock googlenet"


def test_no_change_is_no_annotation() -> None:
    same = {"googlenet": entry("googlenet")}
    assert github.annotations(checked(config(), same, same)) == ""


def test_more_models_than_github_shows_are_named_in_the_last_annotation() -> None:
    many = Check(tuple(alone("grew", name=f"m{i}").verdicts[0] for i in range(14)))
    lines = [taken_apart(line) for line in github.annotations(many).splitlines()]
    assert len(lines) == 10
    assert lines[-1][1]["title"] == "archlab: 5 more models"
    assert lines[-1][2] == "m9, m10, m11, m12, m13"
    ten = Check(many.verdicts[:10])
    assert len(github.annotations(ten).splitlines()) == 10


def read_outputs(text: str) -> dict[str, str]:
    """Read outputs as the runner does: name=value, or name<<END, lines, END."""
    found, lines = {}, iter(text.splitlines())
    for line in lines:
        if "<<" in line and ("=" not in line or line.index("<<") < line.index("=")):
            name, end = line.split("<<", 1)
            inner = []
            for part in lines:
                if part == end:
                    break
                inner.append(part)
            found[name] = "\n".join(inner)
        else:
            name, found[name] = line.split("=", 1)
    return found


def test_outputs_are_sums_over_the_models() -> None:
    locked = {name: entry(name, name) for name in ("naive", "reduced")}
    check = checked(config("", "naive", "reduced"), locked, locked)
    # 14·14·48·480·5·5, and 14·14·16·480 + 14·14·48·16·5·5
    macs = 112_896_000 + 1_505_280 + 3_763_200
    # each with a bias a filter
    params = (48 * 480 * 25 + 48) + (16 * 480 + 16) + (48 * 16 * 25 + 48)
    assert read_outputs(github.outputs(check, {"json": "check.json"})) == {
        "status": "no change",
        "exit_code": "0",
        "macs": str(macs),
        "macs_delta": "0",
        "params": str(params),
        "params_delta": "0",
        "report_json": "check.json",
        "report_html": "",
    }


def test_outputs_tell_the_change_and_the_exit_code() -> None:
    found = read_outputs(github.outputs(grown(), {"html": "a b.html"}))
    assert (found["status"], found["exit_code"], found["report_html"]) == ("fails", "1", "a b.html")
    assert found["macs_delta"] == str(14 * 14 * 528 + 14 * 14 * 128 * 5 * 5)
    assert found["params_delta"] == str((528 + 1) + 128 * 5 * 5)  # a filter and its bias; 128 filters read one more


def test_outputs_of_a_check_that_counted_nothing_are_empty() -> None:
    check = checked(config(), {"googlenet": "net.py: no"}, {"googlenet": entry("googlenet")})
    found = read_outputs(github.outputs(check, {}))
    assert (found["exit_code"], found["macs"], found["macs_delta"]) == ("3", "", "")


@pytest.mark.parametrize("file", ["a\nb", "a\nEND\nb", "END\nEND_", "a\rb"])
def test_a_value_of_several_lines_cannot_end_its_own_output(file: str) -> None:
    found = read_outputs(github.outputs(grown(), {"json": file}))
    assert found["report_json"].splitlines() == file.splitlines()
    assert list(found)[-1] == "report_html"


def test_a_summary_is_cut_to_the_bytes_that_github_takes() -> None:
    row = "| · | · |\n"
    text = f"# Title\n\n| a | b |\n| --- | --- |\n{row * 200_000}"
    cut = github.summary(text)
    size = len(cut.encode())
    assert 1024 * 1024 - 200 < size <= 1024 * 1024
    assert "**Truncated**" in cut
    assert github.summary("# Title\n") == "# Title\n"


def test_what_only_warns_beside_what_fails_is_a_warning_of_its_own() -> None:
    check = checked(
        config('[budget.googlenet]\nwarn.macs = "<= 1.5G"\n'),
        {"googlenet": entry(widened("inception_4e/5x5_reduce"))},
        {"googlenet": entry("googlenet")},
    )
    lines = [taken_apart(line) for line in github.annotations(check).splitlines()]
    assert [(name, properties["title"]) for name, properties, _ in lines] == [
        ("error", "archlab: googlenet fails"),
        ("warning", "archlab: googlenet warns"),
    ]
