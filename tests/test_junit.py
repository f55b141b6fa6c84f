"""A check as JUnit XML: the right cases, in the right state, and XML whatever anything is called."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest
from checks import checked, config, entry, grown, widened
from hypothesis import given
from hypothesis import strategies as st

import archlab
from archlab.guard.config import Model
from archlab.guard.entry import Entry, Row
from archlab.guard.findings import Check, Finding, Verdict
from archlab.report import junit

LIMITS = """
[budget.googlenet]
macs = "<= 1.5G"
params = "<= 7M"
warn.macs = "<= 1.4G"
warn.params = "<= 7M"
"""


def read(text: str) -> dict[tuple[str, str], ET.Element]:
    """Return the cases by suite and name; every count in the heads is what it says."""
    root = ET.fromstring(text.encode())
    assert root.tag == "testsuites"
    for element in (root, *root.iter("testsuite")):
        cases = list(element.iter("testcase"))
        counts = {"tests": len(cases)}
        for word, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            counts[word] = sum(case.find(tag) is not None for case in cases)
        assert {word: int(element.get(word, "-1")) for word in counts} == counts
    found = {
        (suite.get("name", ""), case.get("name", "")): case
        for suite in root.iter("testsuite")
        for case in suite.iter("testcase")
    }
    assert len(found) == len(list(root.iter("testcase"))), "two cases of a suite have one name"
    assert all(case.get("classname") == suite for (suite, _), case in found.items())
    return found


def states(cases: dict[tuple[str, str], ET.Element]) -> dict[tuple[str, str], str]:
    words = ("failure", "error", "skipped")
    return {key: next((w for w in words if case.find(w) is not None), "passed") for key, case in cases.items()}


def text_of(case: ET.Element, tag: str) -> str:
    return case.findtext(tag) or ""


def test_every_limit_the_lock_and_the_build_are_cases() -> None:
    trained = Entry.of(archlab.profile("googlenet", backward=True).to_dict(), "googlenet")
    same = {"googlenet": entry("googlenet"), "trained": trained}
    other = '[[model]]\nname = "trained"\ntarget = "googlenet"\nbackward = true\n'
    limits = config(f'{other}[budget."*"]\nbackward_macs = "<= 1G"\n{LIMITS}')
    cases = read(junit.render(checked(limits, same, same), limits))
    assert states(cases)["trained", "budget backward_macs <= 1G"] == "failure"
    assert {key: state for key, state in states(cases).items() if key[0] == "googlenet"} == {
        ("googlenet", "build"): "passed",
        ("googlenet", "lock"): "passed",
        ("googlenet", "budget macs <= 1.5G"): "failure",  # 1,582,671,872
        ("googlenet", "budget params <= 7M"): "passed",  # 6,998,552
        ("googlenet", "budget backward_macs <= 1G"): "skipped",  # counted with --backward alone
        ("googlenet", "budget warn macs <= 1.4G"): "passed",
        ("googlenet", "budget warn params <= 7M"): "passed",
    }
    kept = text_of(cases["googlenet", "budget params <= 7M"], "system-out")
    assert kept == "params is 6,998,552, of 7,000,000 allowed"
    warned = text_of(cases["googlenet", "budget warn macs <= 1.4G"], "system-out")
    assert warned == "macs is 1,582,671,872, over the 1,400,000,000 that the budget warns of"


def test_a_limit_that_warns_is_told_and_does_not_fail() -> None:
    same = {"googlenet": entry("googlenet")}
    limits = config('[budget.googlenet]\nwarn.macs = "<= 1.4G"\n')
    cases = read(junit.render(checked(limits, same, same), limits))
    assert "failure" not in states(cases).values()
    over = 1_582_671_872 - 1_400_000_000
    assert f"{over:,} over the budget" in text_of(cases["googlenet", "budget warn macs <= 1.4G"], "system-out")


def test_a_grown_count_fails_the_case_of_the_lock_with_the_layer_and_the_movers() -> None:
    cases = read(junit.render(grown(), config("", "googlenet", "vgg16", "naive")))
    failed = [key for key, state in states(cases).items() if state != "passed"]
    assert failed == [("googlenet", "lock")]
    failure = cases["googlenet", "lock"].find("failure")
    assert failure is not None
    more = 14 * 14 * 528 + 14 * 14 * 128 * 5 * 5  # one more filter, and what reads it
    assert str(failure.get("message")).startswith(f"MACs 1,582,671,872 → 1,583,402,560, +{more:,}")
    lines = (failure.text or "").splitlines()
    assert "first layer that differs: inception_4e/5x5_reduce (Conv2d 1x32x14x14 → 1x33x14x14)" in lines
    assert "  locked  1·14·14·32·528·1·1 = 3,311,616 MACs" in lines
    assert f"+{14 * 14 * 128 * 25:,} MACs  inception_4e/5x5" in lines
    assert lines[-1] == "to accept it: archlab lock googlenet"


def test_a_model_that_cannot_be_counted_is_an_error_and_the_rest_is_skipped() -> None:
    limits = config('[budget.googlenet]\nmacs = "<= 2G"\n')
    check = checked(limits, {"googlenet": "net.py: no"}, {"googlenet": entry("googlenet")})
    cases = read(junit.render(check, limits))
    assert list(states(cases).values()) == ["error", "skipped", "skipped"]
    assert text_of(cases["googlenet", "build"], "error") == "net.py: no"


def test_an_entry_of_no_model_is_a_suite_that_fails() -> None:
    same = entry("naive", "naive")
    check = checked(config("", "naive"), {"naive": same}, {"naive": same, "old": same})
    cases = read(junit.render(check, config("", "naive")))
    assert states(cases)["old", "lock"] == "failure"


def test_an_incomplete_count_fails_the_build_where_it_is_strict_and_is_told_where_not() -> None:
    partial = Entry("x", {}, "inference", "archlab", {"macs": 1}, {"aten::foo": 2})
    now = {"googlenet": partial}
    for strict, state in ((True, "failure"), (False, "passed")):
        cases = read(junit.render(checked(config(), now, now, strict=strict), config()))
        assert states(cases)["googlenet", "build"] == state
        assert text_of(cases["googlenet", "build"], "system-out") == "uncounted: aten::foo (2×)"


def test_an_improvement_passes_and_is_told() -> None:
    now = {"googlenet": entry(widened("inception_4e/5x5_reduce", -1))}
    cases = read(junit.render(checked(config(), now, {"googlenet": entry("googlenet")}), config()))
    assert set(states(cases).values()) == {"passed"}
    assert "note: MACs 1,582,671,872 → 1,581,941,184" in text_of(cases["googlenet", "lock"], "system-out")


@given(st.text(), st.text(), st.text())
def test_whatever_anything_is_called_it_is_well_formed(model: str, layer: str, message: str) -> None:
    old, new = (
        Entry("x", {}, "inference", "archlab", {"macs": n}, {layer: 1}, rows=(Row(layer, model, "1", {"macs": n}),))
        for n in (1, 2)
    )
    findings = (Finding("fail", "growth", message, "macs", message, 1), Finding("warn", "growth", message, "params"))
    check = Check(
        (
            Verdict(model, Model(model, "x"), new, old, findings),
            Verdict(f"{model}2", Model(f"{model}2", "x"), None, None, (Finding("fail", "error", message),)),
        )
    )
    root = ET.fromstring(junit.render(check, config()).encode())
    assert [suite.get("failures") for suite in root] == ["1", "0"]
    assert [suite.get("errors") for suite in root] == ["0", "1"]


@pytest.mark.parametrize(
    ("name", "read_back"),
    [("<a&\"b'>", "<a&\"b'>"), ("\x1b[1mé漢", "\\x1b[1mé漢"), ("a\x00\ud800\uffff\r", "a\\x00\\xd800\\xffff\\x0d")],
)
def test_a_name_is_read_back_as_it_is_and_what_xml_cannot_hold_by_its_number(name: str, read_back: str) -> None:
    check = Check((Verdict(name, Model(name, "x"), None, None, (Finding("fail", "error", name),)),))
    root = ET.fromstring(junit.render(check, config()).encode())
    assert [suite.get("name") for suite in root] == [read_back]
    assert root.findtext(".//error") == read_back
