"""What people read of a check: on a terminal, as markdown, as a comment that GitHub takes."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import pytest
from checks import checked, config, entry, grown, widened
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from archlab.guard.config import Model
from archlab.guard.entry import Entry, Row
from archlab.guard.findings import Check, Finding, Verdict
from archlab.report import html, latex, markdown, terminal
from archlab.report.changes import accepting, movers
from archlab.report.checking import check_document, verdict_of
from archlab.report.comment import LONGEST, TRUNCATED, capped, comment, marker
from archlab.report.data import render_csv
from archlab.report.table import Block, Column, Details, Document, Heading, Table, Text

GOLDEN = Path(__file__).parent / "golden"
GITHUB = MarkdownIt("commonmark").enable(["table", "strikethrough"])

WIDER = 14 * 14 * 1 * 528 * 1 * 1
"""MACs of one more filter of 1×1 over 528 channels at 14×14."""
DEEPER = 14 * 14 * 128 * 1 * 5 * 5
"""MACs of 128 filters of 5×5 that read one more channel."""


@pytest.fixture
def fixed_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("archlab.report.checking.installed", {"archlab": "1.2.3", "torch": "4.5.6"}.get)


def costing(macs: int) -> Entry:
    """Return a model of one layer."""
    counts = dict.fromkeys(("macs", "params", "peak_memory"), macs)
    return Entry("x", {}, "inference", "archlab", counts, rows=(Row("layer", "Conv2d", "1x1", {"macs": macs}),))


def verdict(name: str, old: int = 5, new: int = 5, *findings: Finding) -> Verdict:
    return Verdict(name, Model(name, "x"), costing(new), costing(old), findings)


FAILS = Finding("fail", "growth", "MACs 5 → 6, +1", "macs", "archlab lock x", 1)
WARNS = Finding("warn", "growth", "MACs 5 → 6, +1", "macs", "archlab lock x")


# ---- the verdict ----------------------------------------------------------------------------------

SENTENCES = [
    ([verdict("a"), verdict("b"), verdict("c")], "No change: all 3 models cost what the lock says."),
    ([verdict("a")], "No change: a costs what the lock says."),
    ([verdict("a", 5, 6, FAILS), verdict("b"), verdict("c")], "1 of 3 models fails: a."),
    ([verdict("a", 5, 6, FAILS), verdict("b", 5, 6, FAILS)], "2 of 2 models fail: a, b."),
    ([verdict("a", 5, 6, FAILS)], "a fails."),
    ([verdict("a", 5, 6, WARNS), verdict("b", 5, 4)], "1 of 2 models warns: a; 1 improved: b."),
    ([verdict("a", 5, 6), verdict("b", 5, 6)], "2 of 2 models changed: a, b."),
    ([verdict("a", 5, 4), verdict("b")], "1 of 2 models improved: a."),
    ([verdict(name, 5, 6, FAILS) for name in "abcdefgh"], "8 of 8 models fail: a, b, c, d, e and 3 more."),
    ([], "No model was checked."),
]


@pytest.mark.parametrize(("verdicts", "sentence"), SENTENCES)
def test_the_verdict_is_one_sentence_with_counts_and_names(verdicts: list[Verdict], sentence: str) -> None:
    document = check_document(Check(tuple(verdicts)), "archlab check")
    assert verdict_of(Check(tuple(verdicts))) == document.title == sentence
    assert terminal.render(document).splitlines()[0] == sentence


def test_a_long_name_does_not_make_the_verdict_long() -> None:
    assert len(verdict_of(Check((verdict("x" * 10_000, 5, 6, FAILS), verdict("y"))))) < 100


# ---- the whole of it ------------------------------------------------------------------------------


@pytest.mark.usefixtures("fixed_versions")
def test_what_a_terminal_shows_of_a_failing_check() -> None:
    text = terminal.render(check_document(grown(), "archlab check"), width=80)
    assert text == (GOLDEN / "check_fails.txt").read_text(encoding="utf-8")


@pytest.mark.usefixtures("fixed_versions")
def test_what_markdown_shows_of_a_failing_check() -> None:
    text = markdown.render(check_document(grown(), "archlab check"))
    assert text == (GOLDEN / "check_fails.md").read_text(encoding="utf-8")


def test_the_first_layer_that_differs_is_shown_with_both_products_under_each_other() -> None:
    lines = terminal.render(check_document(grown(), "archlab check"), width=80).splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("first layer that differs"))
    assert lines[at] == "first layer that differs: inception_4e/5x5_reduce (Conv2d 1x32x14x14 → 1x33x14x14)"
    assert lines[at + 1] == f"  locked  1·14·14·32·528·1·1 = {14 * 14 * 32 * 528:,} MACs"
    assert lines[at + 2] == f"  now     1·14·14·33·528·1·1 = {14 * 14 * 33 * 528:,} MACs"


def test_the_layers_that_moved_most_come_first_and_sum_to_the_change() -> None:
    (difference,) = [v.difference for v in grown().verdicts if v.name == "googlenet"]
    assert difference is not None
    table = movers(difference, "macs")
    changes = {row[0]: row[-1] for row in table.rows}
    assert changes == {"inception_4e/5x5": DEEPER, "inception_4e/5x5_reduce": WIDER}
    assert list(changes) == ["inception_4e/5x5", "inception_4e/5x5_reduce"]
    assert table.total is not None
    assert table.total[-1] == difference.change("macs") == WIDER + DEEPER


@pytest.mark.parametrize("top", [1, 2, 3, 50])
def test_movers_that_are_not_shown_are_summed_up(top: int) -> None:
    """With the stem two filters wider everything it feeds differs."""
    check = checked(config(), {"googlenet": entry(widened("conv2/3x3", 2))}, {"googlenet": entry("googlenet")})
    difference = check.verdicts[0].difference
    assert difference is not None
    for metric in ("macs", "params", "activations", "bytes_moved"):
        table = movers(difference, metric, top)
        assert table.total is not None
        assert sum(row[-1] for row in table.rows) == table.total[-1] == difference.change(metric)
        assert len(table.rows) <= top + 1


def test_the_layers_that_moved_are_those_of_what_fails() -> None:
    limits = config('[budget.googlenet]\nparams = "<= 7M"\ngrowth = "+1%"\n')
    check = checked(
        limits, {"googlenet": entry(widened("inception_4e/5x5_reduce"))}, {"googlenet": entry("googlenet")}
    )
    text = terminal.render(check_document(check, "archlab check"), width=80)
    assert "fails: params 7,002,281 is 2,281 over the budget of 7,000,000" in text
    assert "params, the largest changes first" in text
    assert re.search(r"^inception_4e/5x5 .* \+3,200$", text, re.MULTILINE)  # 128 filters of 5·5, one channel more
    assert re.search(r"^inception_4e/5x5_reduce .* \+529$", text, re.MULTILINE)  # 528 channels and a bias


def test_a_layer_that_is_new_and_one_that_is_gone_are_said_to_be() -> None:
    plain, bare = entry("googlenet"), entry("googlenet+no_lrn")
    for now, locked, word, absent in ((bare, plain, "gone", "now   "), (plain, bare, "new", "locked")):
        check = checked(config(), {"googlenet": now}, {"googlenet": locked})
        text = terminal.render(check_document(check, "archlab check"))
        assert re.search(rf"first layer that differs: \S+ \({word}: LocalResponseNorm 1x64x56x56\)", text)
        assert f"\n  {absent}  -\n" in text


def test_an_improvement_says_how_far_the_budget_can_be_tightened() -> None:
    check = checked(
        config('[budget.googlenet]\nmacs = "<= 2G"\n'),
        {"googlenet": entry(widened("inception_4e/5x5_reduce", -1))},
        {"googlenet": entry("googlenet")},
    )
    text = terminal.render(check_document(check, "archlab check"))
    assert text.startswith("googlenet improved.\n")
    less = 1_582_671_872 - WIDER - DEEPER
    assert f"note: MACs 1,582,671,872 → {less:,}, -{WIDER + DEEPER:,} (-0.05 %); the budget can be tightened" in text
    assert "from <= 2G to <= 1.582G" in text
    assert "To lock it in:\n\narchlab lock googlenet\n" in text


def test_a_model_that_cannot_be_counted_is_told_and_has_nothing_to_accept() -> None:
    check = checked(config(), {"googlenet": "net.py: Net: conv: 3 channels for 4"}, {"googlenet": entry("googlenet")})
    text = terminal.render(check_document(check, "archlab check"))
    assert "googlenet fails: it cannot be counted\n\nfails: net.py: Net: conv: 3 channels for 4\n" in text
    assert "accept" not in text


def test_what_has_no_exact_count_is_shown_on_a_terminal_too() -> None:
    partial = Entry("x", {}, "inference", "archlab", costing(5).total, {"aten::foo": 3}, {}, costing(5).rows)
    check = Check((Verdict("a", Model("a", "x"), partial, partial),))
    text = terminal.render(check_document(check, "archlab check"))
    assert "1 model is not counted in full" in text
    assert "aten::foo (3×)" in text


def test_how_a_model_was_counted_is_said_in_full() -> None:
    inputs = {"ids": "1x128:int64", "mask": "1x128"}
    way = Entry("m:f", inputs, "training", "fvcore", costing(5).total, arguments={"width": "2"}, backward=True)
    (table, *_) = check_document(Check((Verdict("a", Model("a", "m:f"), way, way),)), "archlab check").tables[1:]
    assert table.rows == [
        ("a", "m:f(width=2)", "ids=1x128:int64, mask=1x128", "training, with the backward pass", "fvcore")
    ]


# ---- the command that accepts ---------------------------------------------------------------------


def test_the_accepting_command_stands_alone_on_its_line() -> None:
    document = check_document(grown(), "archlab check")
    lines = terminal.render(document, width=40).splitlines()
    assert lines.count("archlab lock googlenet") == 1
    assert sum("archlab lock" in line for line in lines) == 1
    assert "```\narchlab lock googlenet\n```" in markdown.render(document)


@pytest.mark.parametrize(
    ("budgets", "command"),
    [
        ("", "archlab lock googlenet"),
        ('[budget.googlenet]\nmacs = "<= 1.5G"\n', "archlab lock --budgets googlenet"),
        ('[budget.googlenet]\nwarn.macs = "<= 1.5G"\n', "archlab lock googlenet"),
    ],
)
def test_one_command_accepts_all_that_fails_of_a_model(budgets: str, command: str) -> None:
    now = {"googlenet": entry(widened("inception_4e/5x5_reduce"))}
    check = checked(config(budgets), now, {"googlenet": entry("googlenet")})
    lines = terminal.render(check_document(check, "archlab check")).splitlines()
    assert [line for line in lines if line.startswith("archlab ")] == [command]


def test_a_budgets_command_serves_both_whichever_is_found_first() -> None:
    lock, budgets = (Finding("fail", kind, "grew", "macs", kind, 1) for kind in ("growth", "budget"))
    for findings in ((lock, budgets), (budgets, lock)):
        assert accepting(verdict("a", 5, 6, *findings)) == "budget"
    assert accepting(verdict("a", 5, 6, lock, Finding("warn", "budget", "over", "params", "budget"))) == "growth"
    assert accepting(verdict("a", 5, 6, Finding("fail", "error", "no"))) == ""


def test_models_that_the_lock_has_not_are_told_together_with_a_command_each() -> None:
    """So is the first check of a project, before there is a lock."""
    same = entry("naive", "naive")
    check = checked(config("", "a", "b", "c"), {"a": same, "b": same, "c": same}, {"c": same})
    text = terminal.render(check_document(check, "archlab check"))
    assert text.startswith("2 of 3 models fail: a, b.\n")
    assert text.count("fail: the lock has no entry") == 1
    assert text.endswith("To accept it:\n\narchlab lock a\narchlab lock b\n")


def test_entries_of_no_model_are_told_together_with_one_command() -> None:
    same = entry("naive", "naive")
    check = checked(config("", "a"), {"a": same}, {"a": same, "old": same, "older": same})
    text = terminal.render(check_document(check, "archlab check"))
    assert "2 models fail: the lock is stale\n\nfails: the lock has 'old'," in text
    assert text.endswith("To accept it:\n\narchlab lock\n")


def test_a_command_longer_than_the_screen_is_not_broken() -> None:
    name = "a-model-with-a-name-" + "x" * 100
    finding = Finding("fail", "growth", "grew", "macs", f"archlab lock {name}", 1)
    check = Check((verdict(name, 5, 6, finding),))
    assert f"archlab lock {name}" in terminal.render(check_document(check, "archlab check"), width=80).splitlines()


# ---- the table ------------------------------------------------------------------------------------


def main_table(check: Check) -> Table | None:
    return next((b for b in check_document(check, "archlab check").blocks if isinstance(b, Table)), None)


def test_unchanged_models_are_one_row_where_there_are_many() -> None:
    verdicts = [verdict("bad", 5, 6, FAILS), *(verdict(f"m{i}") for i in range(12))]
    table = main_table(Check(tuple(verdicts)))
    assert table is not None
    assert [row[:2] for row in table.rows] == [("bad", "fails"), ("… 12 more", "no change")]
    document = check_document(Check(tuple(verdicts)), "archlab check")
    assert "m7" not in terminal.render(document)
    assert "| `m7` | no change |" in markdown.render(document)  # folded


def test_few_models_have_a_row_each_the_gravest_first() -> None:
    verdicts = (verdict("same"), verdict("less", 5, 4), verdict("bad", 5, 6, FAILS), verdict("warned", 5, 6, WARNS))
    table = main_table(Check(verdicts))
    assert table is not None
    assert [row[0] for row in table.rows] == ["bad", "warned", "less", "same"]


def test_many_models_without_a_change_are_one_sentence() -> None:
    document = check_document(Check(tuple(verdict(f"m{i}") for i in range(12))), "archlab check")
    assert terminal.render(document) == "No change: all 12 models cost what the lock says.\n"


def test_counts_are_rounded_for_people_and_exact_where_that_is_asked_for() -> None:
    document = check_document(grown(), "archlab check")
    assert re.search(r"googlenet +fails +1\.583 G +\+730\.7 k ", terminal.render(document))
    assert re.search(
        rf"googlenet +fails +1,583,402,560 +\+{WIDER + DEEPER:,} ", terminal.render(document, exact=True)
    )


def test_a_change_that_is_none_is_a_tilde_and_one_of_an_unlocked_model_a_dash() -> None:
    new = Verdict("new", Model("new", "x"), costing(5), None, (FAILS,))
    text = terminal.render(check_document(Check((verdict("same"), new)), "archlab check"))
    assert re.search(r"^new +fails +5 +- +5 +- +5 B +-$", text, re.MULTILINE)
    assert re.search(r"^same +no change +5 +~ +5 +~ +5 B +~$", text, re.MULTILINE)


def test_csv_has_a_row_for_every_model_with_raw_values() -> None:
    verdicts = [*(verdict(f"m{i}") for i in range(12)), verdict("bad", 5_000_000, 6_000_000, FAILS)]
    rows = list(csv.DictReader(io.StringIO(render_csv(check_document(Check(tuple(verdicts)), "archlab check")))))
    assert len(rows) == 13
    assert (rows[12]["model"], rows[12]["macs"], rows[12]["macs_change"]) == ("bad", "6000000", "1000000")


def test_no_line_but_code_is_wider_than_the_screen() -> None:
    lines = terminal.render(check_document(grown(), "archlab check"), width=80).splitlines()
    assert [line for line in lines if len(line) > 80 and not line.startswith(("first layer", "  "))] == []


# ---- details --------------------------------------------------------------------------------------

INNER = Table((Column("name", code=True), Column("MACs", "count")), [("a|b", 5)])
FOLDED = Document("T", (Details("More <b>", (Text("words"), INNER, Details("Even more", (INNER,)))),))
ASIDE = Document("T", (Text("seen"), Details("Unseen", (INNER,), aside=True)))


def test_details_are_folded_in_markdown_with_the_blank_lines_that_github_needs() -> None:
    text = markdown.render(FOLDED)
    assert "<details>\n<summary>More &lt;b&gt;</summary>\n\nwords\n\n| name | MACs |" in text
    assert "| `a\\|b` | 5 |\n\n</details>\n\n</details>\n" in text
    assert GITHUB.render(text).count("<table>") == 2


def test_details_are_folded_in_html() -> None:
    page = html.render(FOLDED)
    assert "<details>\n<summary>More &lt;b&gt;</summary>\n<p>words</p>\n<table>" in page
    assert page.count("<details>") == page.count("</details>") == 2


def test_details_are_a_heading_and_its_blocks_on_a_terminal_which_leaves_asides_out() -> None:
    assert terminal.render(FOLDED).startswith("T\n\nMore <b>\n\nwords\n\nname  MACs\na|b      5\n\nEven more\n\n")
    assert terminal.render(ASIDE) == "T\n\nseen\n"


def test_tables_in_details_are_tables_of_the_document() -> None:
    assert FOLDED.tables == [INNER, INNER]
    assert latex.render(FOLDED).count(r"\begin{tabular}") == 2
    assert render_csv(ASIDE) == "name,MACs\na|b,5\n"


# ---- markdown that says what it was given ---------------------------------------------------------


class Words(HTMLParser):
    """The words of a page, and whether all its tags are closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)
        self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


LINES = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_characters="\x7f\x85\xa0\xad"))
MARKS = st.text("`*_[]()<>|~#+-=.!\\&; 1a\"'@:/")


@given(LINES | MARKS)
def test_plain_text_is_shown_as_it_is(text: str) -> None:
    page = Words(GITHUB.render(markdown.plain(text)))
    assert page.text.split() == text.split()
    assert page.tags <= {"p"}


@pytest.mark.parametrize(
    "text",
    ["# a", "+ 1", "- a", "1. a", "1) a", "> a", "=== ", "a_b_c", "_a_", "**a**", "<!-- a", "&lt;", "~~a~~", "`a`"],
)
def test_what_would_be_a_mark_is_shown_as_it_is(text: str) -> None:
    page = Words(GITHUB.render(markdown.plain(f"{text}\nword\n{text}")))
    assert page.text.split() == [*text.split(), "word", *text.split()]
    assert page.tags <= {"p", "br"}


NAMES = st.text(
    st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_characters="\x7f\\"), min_size=1
) | st.text("`|<>*_~ a", min_size=1)


@given(st.lists(NAMES, min_size=1, max_size=4))
def test_a_table_of_any_names_has_its_rows_and_cells(names: list[str]) -> None:
    table = Table((Column("name", code=True), Column("MACs", "count")), [(name, 5) for name in names])
    page = GITHUB.render(markdown.render(Document("", (table,))))
    assert page.count("<tr>") == 1 + len(names)
    assert page.count("<td") == 2 * len(names)


@pytest.mark.parametrize("name", ["`a`", "a`", "``", "a``b`c", "*a*", "<b>", "a|b"])
def test_a_name_is_shown_as_code(name: str) -> None:
    page = Words(GITHUB.render(markdown.render(Document("", (Table((Column("x", code=True),), [(name,)]),)))))
    assert page.text.split() == ["x", name]
    assert "code" in page.tags


def test_names_of_models_and_layers_are_no_markdown() -> None:
    name = "<img src=x>|`*_a_*`\n# b"
    rows = (Row(f"{name}/conv", "Conv2d", "1x1", {"macs": 6}),)
    now = Entry(name, {name: "1x3"}, "inference", "archlab", costing(6).total, {name: 1}, {}, rows)
    finding = Finding("fail", "growth", f"the lock has no {name}", "macs", "archlab lock x", 1)
    missing = Finding("fail", "missing", f"the lock has no {name}", accept="archlab lock x")
    unlocked = [Verdict(f"{name}{i}", Model(f"{name}{i}", name), now, None, (missing,)) for i in range(2)]
    check = Check((Verdict(name, Model(name, name), now, costing(5), (finding,)), *unlocked))
    page = Words(GITHUB.render(markdown.render(check_document(check, "archlab check"))))
    assert page.open == []
    assert "img" not in page.tags
    assert page.tags <= {
        *("h1", "p", "br", "code", "pre", "details", "summary", "table", "thead", "tbody", "tr", "th", "td", "strong")
    }


# ---- a comment ------------------------------------------------------------------------------------


def test_a_comment_begins_with_its_hidden_marker_then_the_verdict() -> None:
    lines = comment(check_document(grown(), "archlab check"), "zoo").splitlines()
    assert lines[:2] == ["<!-- archlab:zoo -->", "# 1 of 3 models fails: googlenet."]


def test_a_marker_cannot_be_closed_from_within() -> None:
    assert re.fullmatch(r"<!-- archlab:[a-z-]+ -->", marker("a --> <script>"))
    assert marker("a --> <script>").count("-->") == 1


def failing(models: int, layers: int) -> Check:
    """Return a check of many models of which many layers changed."""
    verdicts = []
    for number in range(models):
        old, new = (
            Entry(
                "x",
                {},
                "inference",
                "archlab",
                dict.fromkeys(("macs", "params", "peak_memory"), k * layers),
                rows=tuple(Row(f"block_{i}/conv", "Conv2d", "1x1", {"macs": k}) for i in range(layers)),
            )
            for k in (5, 6)
        )
        verdicts.append(Verdict(f"model_{number}", Model(f"model_{number}", "x"), new, old, (FAILS,)))
    return Check(tuple(verdicts))


def test_a_long_comment_is_cut_to_what_github_takes_and_says_so() -> None:
    text = comment(check_document(failing(200, 30), "archlab check"), "x")
    assert LONGEST - 500 < len(text) <= LONGEST
    assert text.endswith("**Truncated**: the rest is longer than GitHub takes here; the command prints all of it.\n")
    assert well_formed(text)
    assert "Truncated" not in comment(check_document(failing(2, 30), "archlab check"), "x")


def well_formed(text: str) -> bool:
    """Return whether every fold and fence is closed and every row of a table has its cells."""
    page = Words(GITHUB.render(text))
    tables = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    rows = all(len({len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}) == 1 for table in tables)
    heads = all(re.search(r"^\| ---", table, re.MULTILINE) for table in tables)
    folds = len(re.findall("^<summary>", text, re.MULTILINE)) == len(re.findall("^</details>", text, re.MULTILINE))
    return page.open == [] and rows and heads and folds


BLOCKS: st.SearchStrategy[Block] = st.recursive(
    st.builds(Text, st.text("ab `|\n"), st.just(True))
    | st.builds(Text, st.text("ab *<\n", min_size=1), plain=st.just(True))
    | st.builds(Heading, st.text("ab", min_size=1))
    | st.builds(lambda n: Table(INNER.columns, [("name", 5)] * n), st.integers(0, 30)),
    lambda inner: st.builds(lambda blocks: Details("More", tuple(blocks)), st.lists(inner, min_size=1, max_size=4)),
    max_leaves=12,
)


def test_markdown_may_be_cut_anywhere() -> None:
    code = Text("```\ninner\n```\nmore\n<details>", code=True)
    inner = (Text("one: a\ntwo: b\nthree: c", plain=True), Table(INNER.columns, [("n", 5)] * 3), code)
    whole = markdown.render(Document("T", (*inner, Details("More", (*inner, Details("Most", inner))), *inner)))
    assert well_formed(whole)
    for most in range(len(TRUNCATED) + 10, len(whole)):
        text = capped(whole, most)
        assert len(text) <= most
        assert text.endswith(f"\n{TRUNCATED}\n")
        assert well_formed(text), text
        kept = text.removesuffix(f"\n{TRUNCATED}\n")
        page = Words(GITHUB.render(text))
        assert "\\" not in page.text
        assert page.text.count("**") == page.text.count("| ---") == page.text.count("</") == 0
        assert kept.count("<summary>") == len(re.findall("^<details>\n<summary>", kept, re.MULTILINE))


@given(st.lists(BLOCKS, max_size=8), st.integers(300, 900))
def test_cut_markdown_is_no_longer_than_allowed_and_well_formed(blocks: Sequence[Block], most: int) -> None:
    whole = f"{marker('x')}\n{markdown.render(Document('Title', tuple(blocks)))}"
    text = capped(whole, most)
    assert len(text) <= most
    assert text == whole or "**Truncated**" in text
    assert text.startswith("<!-- archlab:x -->\n# Title\n")
    page = Words(GITHUB.render(text))
    assert page.open == []
    assert "details" not in page.text
