"""The params column of the paper's Table 1: against our counts, and against the ops beside it."""

from __future__ import annotations

from fractions import Fraction

from archlab.report.table import Block, Column, Heading, Table
from archlab.studies.printed import TABLE_1, number
from archlab.studies.prose import decimal, paragraph
from archlab.studies.recount import (
    FAILS,
    KILO,
    RULES,
    Recount,
    contradicts,
    implied,
    named,
    params_verdict,
    reproducing,
)


def sections(paper: Recount, released: Recount, name: str) -> tuple[Block, ...]:
    """Return the sections on params, for the printed filters and for the network of that name."""
    unexplained = [row for row in TABLE_1 if params_verdict(row, released[row.block]) == FAILS]
    most = max(len(_hits(rule, paper)) for rule in RULES)
    hits = sum(params_verdict(row, paper[row.block]) != FAILS for row in TABLE_1)
    return (
        Heading("Params"),
        paragraph("""
            *Rule:* a figure holds if at least one way of printing it gives the same: K is 1024 or 1000, biases are in
            or out, the last digit is rounded or cut off.
        """),
        _figures(paper, released, name),
        _rules(paper),
        paragraph(f"""
            K is 1024: conv2 has exactly 112·1024 weights and the classifier 1000·1024, and K = 1000 prints no row.
            But no single way fits: the best prints {most} of the {hits} rows that hold. {named(unexplained)} stay
            unexplained on either network.
        """),
        *_within(paper),
    )


def _figures(paper: Recount, released: Recount, name: str) -> Table:
    rows = []
    for row in TABLE_1:
        cells: list[object] = [row.type, row.params, paper[row.block].weights, paper[row.block].biases]
        for found in (paper[row.block], released[row.block]):
            cells += [decimal(Fraction(n, KILO), 2) for n in (found.weights, found.params)]
            cells.append(params_verdict(row, found))
        rows.append(cells)
    columns = (
        Column("row"),
        Column("printed params", "decimal"),
        Column("exact weights, printed filters", "count", exact=True),
        Column("exact biases", "count", exact=True),
        Column("weights ÷ 1024", "decimal"),
        Column("both ÷ 1024", "decimal"),
        Column("verdict"),
        Column(f"weights ÷ 1024, `{name}`", "decimal"),
        Column("both ÷ 1024", "decimal"),
        Column("verdict"),
    )
    ours, theirs = (
        (sum(c.weights for c in side.values()), sum(c.params for c in side.values())) for side in (paper, released)
    )
    in_kilo = [decimal(Fraction(n, KILO), 2) for n in (*ours, *theirs)]
    printed = f"{float(sum(number(row.params) for row in TABLE_1)):,.1f}K"
    ends = ("sum", printed, ours[0], ours[1] - ours[0], *in_kilo[:2], "", *in_kilo[2:], "")
    return Table(columns, rows, total=ends)


def _hits(rule: str, side: Recount) -> list[str]:
    return [row.short for row in TABLE_1 if rule in reproducing(row, side[row.block])]


def _rules(paper: Recount) -> Table:
    rows = [(rule, str(len(hits)), ", ".join(hits) or "none") for rule in RULES for hits in [_hits(rule, paper)]]
    columns = (Column("way of printing"), Column("rows", "decimal"), Column("which"))
    return Table(columns, rows, title="Which way prints which params, from the printed filters")


def _within(paper: Recount) -> tuple[Block, ...]:
    """Return the section that holds the params against the ops of the same row."""
    rows, torn = [], []
    for row in TABLE_1:
        biases = paper[row.block].biases
        if contradicts(row, biases):
            torn.append(row)
        ops = number(row.ops)
        least, most = implied(row, ops - Fraction(1, 2)), implied(row, ops + 1) + Fraction(biases, KILO)
        verdict = "**contradict**" if row in torn else "agree"
        between = f"{decimal(least, 1)}K to {decimal(most, 1)}K"
        rows.append((row.type, row.ops, f"{row.side}·{row.side}", between, row.params, verdict))
    columns = (
        Column("row"),
        Column("printed ops", "decimal"),
        Column("positions", "decimal"),
        Column("params that these ops imply", "decimal"),
        Column("printed params", "decimal"),
        Column("the two figures"),
    )
    return (
        Heading("The print against itself", 3),
        paragraph("""
            In a convolution every weight is used once at every position, so ops ÷ positions gives the weights without
            any filter being known. The range allows for rounding or truncation of both figures, and for biases:
        """),
        Table(columns, rows),
        paragraph(f"""
            {len(torn)} rows contradict themselves: {named(torn)}. No choice of filters could give both of their
            figures. The columns were not counted on one and the same network.
        """),
    )
