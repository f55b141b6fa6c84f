"""A check as SARIF: valid by the official schema, findable, and the same result from run to run."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import jsonschema
import pytest
from checks import checked, config, entry, grown, placed, widened
from hypothesis import given
from hypothesis import strategies as st

from archlab.guard.config import Model
from archlab.guard.findings import Check, Finding, Place, Verdict
from archlab.report import sarif

SCHEMA = Path(__file__).parent / "oracles" / "schemas" / "sarif-2.1.0.json"


@cache
def validator() -> jsonschema.Draft7Validator:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    jsonschema.Draft7Validator.check_schema(schema)
    return jsonschema.Draft7Validator(schema, format_checker=jsonschema.Draft7Validator.FORMAT_CHECKER)


def run_of(check: Check) -> dict[str, Any]:
    """Return the one run of a check's log, which is valid, whose results name their rules."""
    log = json.loads(sarif.render(check))
    validator().validate(log)
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
    assert isinstance(run, dict)
    return run


def test_the_schema_refuses_what_is_no_sarif() -> None:
    """Else the tests below could pass whatever is written."""
    log = json.loads(sarif.render(grown()))
    log["runs"][0]["results"][0]["level"] = "fail"
    with pytest.raises(jsonschema.ValidationError, match="'fail' is not one of"):
        validator().validate(log)


def test_a_check_without_a_finding_is_a_run_without_results() -> None:
    same = {"googlenet": entry("googlenet")}
    assert run_of(checked(config(), same, same))["results"] == []


def test_a_result_says_where_what_and_which_layer() -> None:
    results = run_of(placed(grown(), "models/net.py", 7))["results"]
    first = results[0]
    assert (first["ruleId"], first["level"]) == ("growth", "error")
    lines = first["message"]["text"].splitlines()
    assert lines[0].startswith("googlenet: MACs 1,582,671,872 → 1,583,402,560")  # 14·14·528 + 14·14·128·5·5 more
    assert "  now     1·14·14·33·528·1·1 = 3,415,104 MACs" in lines
    assert lines[-1] == "To accept it: archlab lock googlenet"
    (location,) = first["locations"]
    assert location["physicalLocation"] == {
        "artifactLocation": {"uri": "models/net.py", "uriBaseId": "%SRCROOT%"},
        "region": {"startLine": 7},
    }
    (logical,) = location["logicalLocations"]
    assert logical["name"] == "inception_4e/5x5_reduce"
    assert logical["fullyQualifiedName"] == "googlenet/inception_4e/5x5_reduce"


def test_every_level_is_a_level_of_sarif() -> None:
    limits = config('[budget.googlenet]\nparams = "<= 6M"\nwarn.macs = "<= 1.5G"\n')
    now = {"googlenet": entry(widened("inception_4e/5x5_reduce", -1))}
    results = run_of(checked(limits, now, {"googlenet": entry("googlenet")}))["results"]
    found = {(result["ruleId"], result["properties"]["metric"]): result["level"] for result in results}
    assert found["budget", "params"] == "error"
    assert found["budget", "macs"] == "warning"
    assert found["tighten", "macs"] == "note"


def test_every_kind_of_finding_has_a_rule() -> None:
    kinds = {"budget", "growth", "missing", "stale", "error", "incomplete", "tighten", "moved"}  # as `Finding` says
    assert kinds == set(sarif.RULES)
    assert all(kind in (Finding.__doc__ or "") for kind in kinds)
    for kind in kinds:
        check = Check((Verdict("x", Model("x", "x"), None, None, (Finding("fail", kind, "said"),)),))
        (result,) = run_of(check)["results"]
        assert result["ruleId"] == kind


def fingerprints(check: Check) -> dict[tuple[str, str], str]:
    return {
        (result["ruleId"], result["properties"]["metric"]): result["partialFingerprints"]["archlab/v1"]
        for result in run_of(check)["results"]
    }


def test_a_fingerprint_is_of_what_is_wrong_and_not_of_the_numbers() -> None:
    locked = {"googlenet": entry("googlenet")}

    def of(layer: str, more: int) -> dict[tuple[str, str], str]:
        return fingerprints(checked(config(), {"googlenet": entry(widened(layer, more))}, locked))

    one = of("inception_4e/5x5_reduce", 1)
    assert len(set(one.values())) == len(one)
    assert of("inception_4e/5x5_reduce", 2) == one
    other = of("inception_4e/3x3_reduce", 1)
    assert other.keys() == one.keys()
    assert not set(other.values()) & set(one.values())
    # it is the same from run to run, and so from one version of archlab to the next
    assert placed(grown()) is not None
    assert fingerprints(placed(grown(), "a.py", 1)) == fingerprints(placed(grown(), "b.py", 2)) == one


@pytest.mark.parametrize(
    ("file", "uri"),
    [
        ("a/b.py", "a/b.py"),
        ("a b/ü%.py", "a%20b/%C3%BC%25.py"),
        ("c:x#1?.py", "c%3Ax%231%3F.py"),
        ("\udcff.py", "%FF.py"),  # a name that is no UTF-8
    ],
)
def test_a_path_is_percent_encoded(file: str, uri: str) -> None:
    run = run_of(placed(grown(), file))
    (location,) = run["results"][0]["locations"]
    assert location["physicalLocation"]["artifactLocation"]["uri"] == uri
    assert unquote(uri, errors="surrogateescape") == file


def test_a_finding_without_a_place_is_one_of_the_lock_file() -> None:
    """Code scanning refuses a log with a result that has no file."""
    (location,) = run_of(grown())["results"][0]["locations"]
    assert location["physicalLocation"]["artifactLocation"]["uri"] == "archlab.lock.json"


def test_the_driver_has_a_name_and_its_version_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    for version in ("1.2.3", None):
        monkeypatch.setattr(sarif, "installed", {"archlab": version}.get)
        driver = run_of(grown())["tool"]["driver"]
        assert (driver["name"], driver.get("version")) == ("archlab", version)


@given(st.text(min_size=1), st.text(min_size=1), st.integers(0, 10**6))
def test_any_names_make_a_valid_log(name: str, text: str, line: int) -> None:
    finding = Finding("fail", "error", text, "", text, 3, Place("x.py", line))
    (result,) = run_of(Check((Verdict(name, Model(name, "x"), None, None, (finding,)),)))["results"]
    assert result["properties"]["model"] == name
    sarif.render(Check((Verdict(name, None, None, None, (finding,)),))).encode("utf-8")
