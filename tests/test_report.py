"""Tables and documents in every format."""

from __future__ import annotations

import csv
import io
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

import archlab
from archlab.errors import UsageError
from archlab.report import html, latex, markdown, terminal
from archlab.report.columns import COSTS, Shaping, cost_table
from archlab.report.comparing import comparison_document
from archlab.report.data import profile_frame, render_csv
from archlab.report.numbers import cells, change, human, in_bytes, times
from archlab.report.table import Column, Document, Heading, Table, Text
from archlab.report.views import profile_document

COUNTS = (Column("layer"), Column("MACs", "count"))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (9_999, "9,999"),
        (26_944, "26.9 k"),
        (112_896_000, "112.9 M"),
        (5_268_480, "5.3 M"),
        (1_582_671_872, "1.583 G"),
        (999_960, "1.0 M"),
        (3_584_579_705_241_600, "3.585 P"),
        (-112_896_000, "-112.9 M"),
    ],
)
def test_counts_are_printed_in_si_units(value: int, text: str) -> None:
    assert human(value) == text


def test_sizes_carry_bytes_and_factors_three_digits() -> None:
    assert [in_bytes(n) for n in (12, 546_816, 2_718_144)] == ["12 B", "546.8 kB", "2.7 MB"]
    assert [times(r) for r in (1.0319, 21.428, 112.4, 12_345.6)] == ["1.03×", "21.4×", "112×", "12,346×"]
    assert [change(r) for r in (1, 7.94, 1 / 21.4, 0, 1.0003)] == [
        "equal",
        "7.94× more",
        "21.4× fewer",
        "none",
        "0.03 % more",
    ]


@given(st.integers(0, 10**19))
def test_a_rounded_count_is_within_half_of_its_last_digit(value: int) -> None:
    shown = human(value)
    number, _, unit = shown.partition(" ")
    scale = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15}[unit]
    digits = len(number.partition(".")[2])
    assert abs(float(number.replace(",", "")) * scale - value) <= 0.5 * scale * 10**-digits * (1 + 1e-9)


def test_values_that_print_equal_but_differ_are_printed_exactly() -> None:
    table = Table(COUNTS, [("a", 1_000_100), ("b", 1_000_200), ("c", 2_000_000)])
    assert [row[1] for row in cells(table)] == ["1,000,100", "1,000,200", "2.0 M"]
    assert [row[1] for row in cells(table, exact=True)] == ["1,000,100", "1,000,200", "2,000,000"]


def test_values_of_one_row_that_print_equal_but_differ_are_printed_exactly() -> None:
    table = Table((*COUNTS, Column("MACs other", "count")), [("a", 1_000_100, 1_000_200)])
    assert cells(table)[0] == ["a", "1,000,100", "1,000,200"]


def test_a_row_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="a row of 1 values for 2 columns"):
        Table(COUNTS, [("a",)])


@pytest.mark.parametrize(
    "options", [{}, {"depth": 1}, {"sort": "macs", "top": 5}, {"depth": 1, "top": 2}, {"top": 1000}]
)
def test_every_count_column_sums_to_its_printed_total(options: dict[str, object]) -> None:
    names = tuple(name for name in COSTS if name != "intensity")
    table = cost_table(archlab.profile("googlenet"), Shaping(names, **options))  # type: ignore[arg-type]
    assert table.total is not None
    for i, column in enumerate(table.columns):
        if column.kind in ("count", "bytes"):
            assert sum(row[i] for row in table.rows) == table.total[i]


def test_sort_and_top_keep_the_largest_and_sum_up_the_rest() -> None:
    table = cost_table(archlab.profile("googlenet"), Shaping(("macs",), sort="macs", top=2))
    assert [row[0] for row in table.rows[:2]] == ["conv2/3x3", "inception_3b/3x3"]  # 346.8 M, 173.4 M
    assert re.fullmatch(r"… \d+ more layers", table.rows[2][0])


def test_an_unknown_column_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"unknown column 'mac_s'; did you mean 'mac'|'macs'"):
        Shaping(("mac_s",))


def test_receptive_fields_are_columns_of_layers() -> None:
    table = cost_table(archlab.profile("googlenet"), Shaping(("receptive_field", "effective_stride")))
    rows = {row[0]: tuple(row[3:]) for row in table.rows}
    assert rows["inception_5b/output"] == (715, 32)  # facts section 7
    assert rows["linear"] == (None, None)


def test_a_comparison_refuses_columns_that_only_a_profile_has() -> None:
    with pytest.raises(UsageError, match="a comparison has no column 'share'"):
        comparison_document(archlab.compare("naive", "reduced"), Shaping(("share",)))


def sample() -> Document:
    table = Table(COUNTS, [("a|b<c>&", 112_896_000)], title="A table", total=("total", 112_896_000))
    return Document("Title & more", (Heading("Part"), Text("Words."), Text("a  b\nc", code=True), table))


def test_markdown_has_the_same_number_of_cells_in_every_row() -> None:
    text = markdown.render(sample())
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {3}
    assert "a\\|b&lt;c>&" in text
    assert "```\na  b\nc\n```" in text
    assert "| **total** | **112.9 M** |" in text


def test_html_is_one_page_with_balanced_tags_and_escaped_text() -> None:
    class Balance(HTMLParser):
        open: list[str]

        def handle_starttag(self, tag: str, attrs: object) -> None:
            if tag != "meta":
                self.open.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert self.open.pop() == tag

    parser = Balance()
    parser.open = []
    page = html.render(sample())
    parser.feed(page)
    assert parser.open == []
    assert "a|b&lt;c&gt;&amp;" in page
    assert "http" not in page


def test_latex_escapes_what_latex_would_read() -> None:
    text = latex.render(sample())
    assert r"a|b<c>\& & 112.9 M \\" in text
    assert text.count(r"\begin{tabular}{lr}") == text.count(r"\end{tabular}") == 1


def test_csv_and_frames_hold_raw_values() -> None:
    profile = archlab.profile("reduced")
    rows = list(csv.DictReader(io.StringIO(render_csv(profile_document(profile)))))
    assert [int(row["macs"]) for row in rows] == [1_505_280, 3_763_200]
    frame = profile_frame(profile)
    assert frame["macs"].sum() == 5_268_480
    assert list(frame["name"]) == ["input", "5x5_reduce", "5x5"]


@pytest.mark.parametrize("width", [40, 80, 120, 200])
def test_no_line_of_a_terminal_is_wider_than_it(width: int) -> None:
    for subject in (archlab.profile("googlenet"), archlab.profile("googlenet-torchvision")):
        text = terminal.render(profile_document(subject), width=width)
        assert max(map(len, text.splitlines())) <= width


def test_a_table_that_is_still_too_wide_wraps_its_words_and_its_rule_fits() -> None:
    table = Table(
        (Column("layer"), Column("MACs", "count", exact=True)), [("x" * 100, 10**9)], total=("total", 10**9)
    )
    lines = terminal.render(Document("", (table,)), width=60).splitlines()
    assert max(map(len, lines)) <= 60
    assert sum("─" in line for line in lines) == 1
    assert "".join(word for line in lines for word in re.findall("x+", line)) == "x" * 100


def test_a_narrow_terminal_says_which_columns_it_leaves_out() -> None:
    text = terminal.render(profile_document(archlab.profile("naive")), width=50)
    assert re.search(r"(?s)not shown at this width: .*intensity \[FLOP/B\]", text)
    assert "MACs" in text


def test_without_a_width_nothing_is_cut_or_left_out() -> None:
    long = "x" * 500
    text = terminal.render(Document("", (Table((Column("a"), Column("b", importance=1)), [(long, long)]),)))
    assert text.count(long) == 2
    assert "not shown" not in text


def test_colour_is_used_only_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[" not in terminal.render(sample(), width=80)
    assert "\x1b[" in terminal.render(sample(), width=80, colour=True)
