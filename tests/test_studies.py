"""The rendered reports: fresh, well-formed, and saying what the facts say."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from archlab import api
from archlab.errors import OutputError
from archlab.report.table import Document, Text
from archlab.studies import claims, reduction, worked_examples
from archlab.studies.googlenet import by_stage
from archlab.studies.googlenet_versions import repaired
from archlab.studies.printed import TABLE_1, TABLE_3, agrees, rounds_to, truncates_to
from archlab.studies.prose import TITLES
from archlab.studies.recount import contradicts, ops_verdict, params_verdict, recount, reproducing
from archlab.studies.render import STUDIES, render_all, stale
from archlab.studies.verdicts import VERDICTS
from archlab.zoo.ablations import ABLATIONS

REPORTS = Path(__file__).parent.parent / "reports"
ORACLE = Path(__file__).parent / "oracles" / "oracle.json"


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Every report as it is rendered now."""
    return {path.name: path.read_text() for path in render_all(tmp_path_factory.mktemp("reports"))}


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of two small reports that stand in for the real ones."""
    studies = {name: lambda name=name: Document(name, (Text("1.583 G MACs"),)) for name in ("a.md", "b.md")}
    monkeypatch.setattr("archlab.studies.render.STUDIES", studies)
    return list(studies)


def test_the_committed_reports_are_what_is_rendered_now() -> None:
    assert stale(REPORTS) == [], "render them anew: archlab report"


def test_a_changed_byte_and_a_missing_report_are_stale(tmp_path: Path, two: list[str]) -> None:
    first, second = render_all(tmp_path)
    assert [first.name, second.name] == two
    assert stale(tmp_path) == []
    first.write_bytes(first.read_bytes().replace(b"1.583", b"1.584"))
    assert stale(tmp_path) == ["a.md"]
    second.unlink()
    assert stale(tmp_path) == two


def test_every_report_is_stale_where_there_is_no_folder(tmp_path: Path, two: list[str]) -> None:
    assert stale(tmp_path / "absent") == two


def test_a_report_that_cannot_be_read_says_so(tmp_path: Path, two: list[str]) -> None:
    (tmp_path / two[0]).mkdir()
    with pytest.raises(OutputError, match="cannot read"):
        stale(tmp_path)


def test_a_missing_folder_is_made(tmp_path: Path, two: list[str]) -> None:
    home = tmp_path / "deep" / "reports"
    assert render_all(home) == [home / name for name in two]
    assert sorted(path.name for path in home.iterdir()) == two


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize("name", ["file/reports", "file", "a\0b"])
def test_a_folder_that_cannot_be_made_says_so_and_how_to_choose_another(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match=r"cannot make the folder .*--output"):
        render_all(f"{tmp_path}/{name}")


def test_a_report_that_cannot_be_written_says_so(tmp_path: Path, two: list[str]) -> None:
    (tmp_path / two[0]).mkdir()
    with pytest.raises(OutputError, match="cannot write"):
        render_all(tmp_path)


def test_the_command_line_checks_and_renders(run: Callable[..., Any], tmp_path: Path, two: list[str]) -> None:
    folder = ("--output", str(tmp_path / "reports"))
    checked = run("report", "--check", *folder)
    assert checked.code == 1
    assert [line.split(" (")[0] for line in checked.out.splitlines()] == [*(f"stale: {n}" for n in two), "2 stale"]
    rendered = run("report", *folder)
    assert (rendered.code, rendered.out) == (0, "")
    assert run("report", "--check", *folder).code == 0


# ---- form ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STUDIES)
def test_every_row_of_every_table_has_the_cells_of_its_header(texts: dict[str, str], name: str) -> None:
    tables = re.findall(r"(?:^\|.*\|$\n?)+", texts[name], flags=re.MULTILINE)
    assert tables
    for table in tables:
        widths = {len(re.findall(r"(?<!\\)\|", row)) for row in table.strip().split("\n")}
        assert len(widths) == 1, table.split("\n")[0]


@pytest.mark.parametrize("name", STUDIES)
def test_every_link_leads_to_a_report_and_every_other_report_is_linked(texts: dict[str, str], name: str) -> None:
    links = set(re.findall(r"\]\(([^)]+)\)", texts[name]))
    relative = {link for link in links if not link.startswith("https://")}
    assert relative == set(STUDIES) - {name}


@pytest.mark.parametrize("name", STUDIES)
def test_a_report_has_one_title_whole_code_blocks_and_no_trace_of_python(texts: dict[str, str], name: str) -> None:
    text = texts[name]
    prose = "".join(text.split("```")[::2])
    assert text.count("```") % 2 == 0
    assert re.findall(r"^# (.*)", prose, flags=re.MULTILINE) == [TITLES[name]]
    assert re.findall(r"^## (.*)", prose, flags=re.MULTILINE)[-1] == "Reproduce"
    for leak in ("None", "Fraction(", "{", "}", "<archlab", "  \n"):
        assert leak not in text


def commands() -> list[str]:
    """The commands at the end of the committed reports."""
    found = []
    for name in STUDIES:
        text = (REPORTS / name).read_text() if (REPORTS / name).exists() else ""
        found += text.rpartition("## Reproduce")[2].split("```")[1].strip().split("\n") if text else []
    return list(dict.fromkeys(found))


@pytest.mark.parametrize("command", commands())
def test_the_commands_of_a_report_run(run: Callable[..., Any], command: str) -> None:
    program, *words = command.split()
    assert program == "archlab"
    assert run(*words).code == 0


# ---- the 1×1 reduction: facts/architectures.md, section 4 -----------------------------------------


def test_the_three_scales_are_the_published_ones(texts: dict[str, str]) -> None:
    text = texts["1x1-reduction.md"]
    assert "112,896,000 MACs" in text  # 14·14·48·480·5·5
    assert "1,505,280 + 3,763,200 = 5,268,480" in text
    assert "one 5×5 branch 21.4× cheaper" in text
    for row in (
        "| `+no_reduction` | 4,426,547,200 | 2.80× | 25,305,944 | 3.62× |",
        "| `+naive` | 12,568,061,056 | 7.94× | 97,526,008 | 13.9× |",
        "| `+no_pool_proj` | 2,121,204,608 | 1.34× | 15,764,152 | 2.25× |",
    ):
        assert row in text


def test_the_channels_of_the_literal_network_add_up(texts: dict[str, str]) -> None:
    assert "| 4,048 → 4,944 |" in texts["1x1-reduction.md"]
    assert "= 4,944" in texts["1x1-reduction.md"]


def test_the_literal_module_3a_is_cheaper_than_the_controlled_one() -> None:
    literal, controlled = (api.profile(f"inception-3a+{edit}").total for edit in ("naive", "no_reduction"))
    assert (literal.macs, literal.params) == (303_464_448, 387_296)
    assert (controlled.macs, controlled.params) == (308_281_344, 393_472)


def test_the_branch_of_the_sweep_is_that_of_the_zoo() -> None:
    assert api.profile(reduction.through_reduction(reduction.CHOSEN)).total == api.profile("reduced").total


def test_the_break_even_is_where_the_saving_ends() -> None:
    direct, last = api.profile("naive").total.macs, int(reduction.break_even())
    behind = [api.profile(reduction.through_reduction(width)).total.macs for width in (last, last + 1)]
    assert behind[0] < direct < behind[1]


def test_the_lecture_counted_the_3x3_term_twice() -> None:
    naive, reduced = worked_examples.examples()[2:]
    assert naive.profile.total.macs == 854_196_224  # CS231n 2017, lecture 9, slide 48: 854M
    assert naive.profile.graph.output_specs[0].shape == (1, 672, 28, 28)
    assert reduced.profile.total.macs == 271_351_808  # slide 55: 358M
    assert reduced.profile.graph.output_specs[0].shape == (1, 480, 28, 28)
    assert naive.holds
    assert not reduced.holds
    assert reduced.counted_twice() == ["3x3"]  # 271,351,808 + 86,704,128 = 358,055,936


# ---- GoogLeNet: facts/architectures.md, sections 1.2, 2, 3 and 7 ----------------------------------


def test_the_shares_of_the_stages_are_those_of_the_facts() -> None:
    profile = api.profile("googlenet")
    shares = [round(100 * cost.macs / profile.total.macs, 1) for cost in by_stage(profile).values()]
    assert shares == [30.2, 27.3, 34.7, 7.7, 0.1]
    assert sum(cost.macs for cost in by_stage(profile).values()) == profile.total.macs


@pytest.mark.parametrize(
    ("kind", "macs"),
    [
        ("7×7", "118,013,952"),
        ("5×5", "131,712,000"),
        ("3×3", "962,777,088"),
        ("1×1, projections behind pools", "66,633,728"),
        ("1×1, branches of their own", "146,112,512"),
        ("linear", "1,024,000"),
        ("1×1, reductions in front of 3×3 and 5×5", f"{156_398_592 - 64 * 64 * 56 * 56:,}"),
    ],
)
def test_the_kinds_of_filter_are_those_of_the_facts(texts: dict[str, str], kind: str, macs: str) -> None:
    assert re.search(rf"^\| {re.escape(kind)} \|.* {macs} \|", texts["googlenet.md"], flags=re.MULTILINE)


def test_depth_field_and_heads_are_those_of_the_facts(texts: dict[str, str]) -> None:
    text = texts["googlenet.md"]
    for fact in (
        "## Depth: 22, or 27 with pooling",
        "## Receptive field: 715 pixels at 5b",
        "587 + 4·32 = 715",
        "715 + 6·32 = 907",
        "**3,188,840** | **4,169,728**",
        "**3,190,888** | **4,202,496**",
        "6.4 M params, 91.2 % on top",
        "0.53 % of the forward pass",
        "13,378,280 params and takes 1,591,044,096 MACs",
    ):
        assert fact in text


def test_torchvision_with_5x5_filters_is_the_paper_with_batch_norm() -> None:
    total = api.profile(repaired()).total
    assert (total.macs, total.params) == (1_582_671_872, 7_005_832)


# ---- ablations: facts/architectures.md, section 4 -------------------------------------------------


def test_every_ablation_has_a_judge_and_a_section(texts: dict[str, str]) -> None:
    assert VERDICTS.keys() == ABLATIONS.keys()
    for name in ABLATIONS:
        assert f"### `+{name}`" in texts["googlenet-ablations.md"]


@pytest.mark.parametrize("name", ABLATIONS)
def test_an_ablation_that_changes_nothing_is_not_supported(name: str) -> None:
    verdict = VERDICTS[name](api.compare("googlenet", "googlenet"))
    # in inference the heads are not there: what no_aux claims holds of a network compared with itself
    assert verdict.supported is (None if name.startswith("no_reduction_") else name == "no_aux")


@pytest.mark.parametrize(
    ("name", "macs", "params"),
    [
        ("fc_head", 1_631_823_872, 56_150_552),
        ("fc4096_head", 1_808_041_984, 232_376_856),
        ("no_reduction_3x3", 2_794_422_272, 15_228_760),
        ("no_reduction_5x5", 3_214_796_800, 17_075_736),
    ],
)
def test_the_totals_of_ablations_are_those_of_the_facts(
    texts: dict[str, str], name: str, macs: int, params: int
) -> None:
    assert f"| `+{name}` | {macs:,} | {params:,} |" in texts["googlenet-ablations.md"]


# ---- Table 1: facts/architectures.md, sections 1.1 to 1.3 -----------------------------------------


def test_the_printed_table_is_the_facts() -> None:
    table = json.loads(ORACLE.read_text())["table1"]
    rows = [row for row in table["rows"] if row["paper_ops"]]
    assert [(row.block, row.params, row.ops, row.depth) for row in TABLE_1] == [
        (row["row"], row["paper_params"], row["paper_ops"], row["depth"]) for row in rows
    ]
    assert [row.channels for row in TABLE_1] == [row["out_paper"][0] for row in rows]
    assert [(c.weights, c.biases, c.macs) for c in recount(api.profile("googlenet")).values()] == [
        (row["weights"], row["bias"], row["macs"]) for row in rows
    ]


def test_the_verdicts_on_ops_are_those_of_the_facts() -> None:
    found = recount(api.profile("googlenet"))
    verdicts = {row.short: ops_verdict(row, found[row.block]) for row in TABLE_1}
    assert [name for name, v in verdicts.items() if v == "**does not hold**"] == ["conv1", "5a"]
    assert [name for name, v in verdicts.items() if v == "only truncated"] == ["4a"]


def test_the_verdicts_on_params_are_those_of_the_facts() -> None:
    found = recount(api.profile("googlenet"))
    assert [r.short for r in TABLE_1 if params_verdict(r, found[r.block]) == "holds"] == [
        "conv2",
        "3a",
        "3b",
        "linear",
    ]
    assert all("K = 1024" in rule for row in TABLE_1 for rule in reproducing(row, found[row.block]))


def test_one_network_reproduces_every_figure_of_ops() -> None:
    profile = api.profile("inception5h+separable_stem")
    found = recount(profile)
    assert profile.total.macs == 1_500_878_720
    assert {ops_verdict(row, found[row.block]) for row in TABLE_1} == {"holds"}


def test_a_row_contradicts_itself_where_its_ops_imply_other_weights() -> None:
    torn = [row.short for row in TABLE_1 if contradicts(row, recount(api.profile("googlenet"))[row.block].biases)]
    assert torn == ["4c", "4d", "4e", "5b"]  # 4c: 100M / 14² = 510,204 weights = 498K, printed 463K
    assert not any(contradicts(row._replace(ops="100M", params="498K"), 664) for row in TABLE_1 if row.short == "4c")


@pytest.mark.parametrize(
    ("statement", "counted", "holds"),
    [
        ("12× fewer parameters than Krizhevsky et al.", "8.71", False),
        ("the same, classifier left out of GoogLeNet", "10.21", False),
        ("1.5 billion multiply-adds", "1.58", False),
        ("2× more compute than AlexNet", "2.18", True),
        ("27× fewer parameters than VGG-16", "19.77", False),
        ("22 layers deep", "22", True),
        ("27 with pooling", "27", True),
        ("about 100 building blocks", "97", True),
        ("% less top-5 error with 7 models, 144 crops", "3.40", False),
        ("56.5 % less error than in 2012", "56.41", False),
        ("about 40 % less error than Clarifai", "40.45", True),
    ],
)
def test_a_statement_is_judged_as_in_the_facts(statement: str, counted: str, holds: bool) -> None:
    claim = next(c for c in (*claims.counted(), *claims.arithmetic()) if c.statement == statement)
    assert (claim.shown, claim.holds) == (counted, holds)


def test_the_drops_of_table_3_hold_but_the_last() -> None:
    drops = [c for c in claims.arithmetic() if "top-5" in c.statement]
    assert [c.holds for c in drops] == [True] * (len(TABLE_3) - 2) + [False]


@pytest.mark.parametrize(
    ("count", "unit", "text", "rounded", "truncated"),
    [
        (73_608_192, 10**6, "73M", False, True),
        (73_608_192, 10**6, "74M", True, False),
        (163_328, 1024, "160K", True, False),  # 159.5: halves go up
        (163_328, 1024, "159K", False, True),
        (2_712, 1000, "2.7K", True, True),
        (2_750, 1000, "2.7K", False, True),
    ],
)
def test_a_count_prints_rounded_or_truncated(
    count: int, unit: int, text: str, rounded: bool, truncated: bool
) -> None:
    assert (rounds_to(count, unit, text), truncates_to(count, unit, text)) == (rounded, truncated)


@pytest.mark.parametrize(
    ("value", "text", "same"),
    [
        ("97", "100", True),
        ("85", "100", False),
        ("40.45", "40", True),
        ("1.55", "1.5", False),
        ("1.549", "1.5", True),
        ("9.6", "10", True),
        ("0.915", "0.92", True),
        ("0.0915", "0.92", False),
    ],
)
def test_significant_digits_decide_agreement(value: str, text: str, same: bool) -> None:
    assert agrees(Fraction(value), text) is same
