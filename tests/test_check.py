"""A check: budgets and the lock, the first layer that differs, and what each finding means for the exit code."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

import archlab
from archlab.errors import ReadError, UsageError
from archlab.guard.check import Accept, check
from archlab.guard.config import Config, Model, config_of
from archlab.guard.difference import Difference
from archlab.guard.entry import Entry
from archlab.guard.findings import Check, Verdict
from archlab.guard.lock import Lock
from archlab.ir import Graph, Node, Op
from archlab.transform import select

ACCEPT = Accept(
    lambda name: f"archlab lock {name}", lambda name: f"archlab lock --budgets {name}", "archlab lock", "the lock"
)


def entry(graph: Graph | str, **how: Any) -> Entry:
    return Entry.of(archlab.profile(graph, **how).to_dict(), graph.name if isinstance(graph, Graph) else graph)


def config(*names: str, budgets: str = "") -> Config:
    text = "".join(f'[[model]]\nname = "{name}"\ntarget = "naive"\n' for name in names) + budgets
    found = config_of(text, Path("archlab.toml"))
    assert found is not None
    return found


def checked(old: Entry | None, new: Entry, budgets: str = "", **how: Any) -> Check:
    found = config("m", budgets=budgets)
    lock = Lock({} if old is None else {"m": old})
    return check(found, lock, found.models, lambda _: new, ACCEPT, **how)


def only(result: Check) -> Verdict:
    (verdict,) = result.verdicts
    return verdict


def wider(graph: Graph, name: str, by: int = 1) -> Graph:
    """Return a graph in which one layer has so many more output channels."""

    def more(_: Graph, node: Node) -> Op:
        field = "out_channels" if hasattr(node.op, "out_channels") else "out_features"
        return dataclasses.replace(node.op, **{field: getattr(node.op, field) + by})

    return select(graph, where=lambda _, node: node.name == name).expect(1).swap(more)


def layers_with_channels() -> list[str]:
    graph = archlab.load("googlenet")
    return [n.name for n in graph.nodes if hasattr(n.op, "out_channels") or hasattr(n.op, "out_features")]


def test_googlenet_has_64_layers_with_channels() -> None:
    """9 modules of 6 convolutions, 3 in the stem, the classifier, and two heads of a convolution and 2 linears."""
    assert len(layers_with_channels()) == 9 * 6 + 3 + 1 + 2 * 3


@pytest.fixture(scope="module")
def committed() -> Lock:
    found = Lock.read(Path(__file__).parents[1] / "archlab.lock.json")
    assert found is not None
    return found


@pytest.mark.parametrize("name", layers_with_channels())
def test_one_more_channel_in_any_layer_of_googlenet_turns_the_check_red_with_that_layer_named(
    name: str, committed: Lock
) -> None:
    text = (Path(__file__).parents[1] / "archlab.toml").read_text(encoding="utf-8")
    found = config_of(text, Path("archlab.toml"))
    assert found is not None
    (model,) = found.chosen(["googlenet-training"])
    graph = wider(archlab.load("googlenet"), name)
    now = Entry.of(archlab.profile(graph, mode="training").to_dict(), "googlenet")
    result = check(found, committed, [model], lambda _: now, ACCEPT)
    assert result.exit_code == 1
    difference = only(result).difference
    assert difference is not None
    assert difference.first is not None
    assert difference.first.name == name
    before, after = difference.first.products
    op = graph.node(name).op
    channels = getattr(op, "out_channels", None) or getattr(op, "out_features", None)
    assert channels is not None
    assert f"·{channels - 1}·" in before
    assert f"·{channels}·" in after


def test_the_same_counts_are_no_change() -> None:
    result = checked(entry("naive"), entry("naive"))
    assert (result.exit_code, result.status, only(result).findings) == (0, "no change", ())
    assert result.unchanged


def test_growth_fails_for_each_metric_that_grew_and_names_the_command() -> None:
    result = checked(entry("reduced"), dataclasses.replace(entry("naive"), target="reduced"))
    grown = {finding.metric: finding for finding in only(result).findings if finding.level == "fail"}
    assert set(grown) == {"macs", "params", "flops", "bytes_moved", "weight_bytes"}
    # 112,896,000 - 5,268,480 = 107,627,520, which is 2042.86 % of 5,268,480
    assert grown["macs"].text == "MACs 5,268,480 → 112,896,000, +107,627,520 (+2,042.86 %)"
    assert {finding.accept for finding in grown.values()} == {"archlab lock m"}
    assert result.exit_code == 1


def test_an_improvement_never_fails_and_says_how_far_a_budget_can_be_tightened() -> None:
    small, large = entry("reduced"), dataclasses.replace(entry("naive"), target="reduced")
    less = dataclasses.replace(small, total={**small.total, "activations": 0, "peak_memory": 0})
    result = checked(large, less, '[budget.m]\nmacs = "<= 113M"\n')
    assert (result.exit_code, result.status) == (0, "improved")
    (macs,) = [finding for finding in only(result).findings if finding.metric == "macs"]
    assert "112,896,000 → 5,268,480" in macs.text
    assert "the budget can be tightened from <= 113M to <= 5.269M" in macs.text


def test_a_lock_that_could_be_tighter_is_stale_where_that_is_asked_for() -> None:
    small = entry("reduced")
    larger = dataclasses.replace(small, total={**small.total, "macs": small.total["macs"] + 1})
    assert checked(larger, small).exit_code == 0
    assert checked(larger, small, tight=True).exit_code == 5


def test_cost_that_moves_between_layers_is_said_and_does_not_fail() -> None:
    old = entry("reduced")
    first, second = (row for row in old.rows if row.count("macs"))
    moved = [
        dataclasses.replace(first, counts={**first.counts, "macs": first.count("macs") - 5}),
        dataclasses.replace(second, counts={**second.counts, "macs": second.count("macs") + 5}),
    ]
    result = checked(old, dataclasses.replace(old, rows=tuple(moved)))
    assert (result.exit_code, result.status) == (0, "changed")
    assert [f.text for f in only(result).findings] == ["the totals are the same, 2 layers cost something else"]


def plus(old: Entry, **counts: int) -> Entry:
    return dataclasses.replace(
        old, total={**old.total, **{metric: old.total[metric] + n for metric, n in counts.items()}}
    )


@pytest.mark.parametrize(
    ("growth", "more", "code"),
    [
        ('growth.macs = "+2%"', 105_369, 0),  # 2 % of 5,268,480 is 105,369.6
        ('growth.macs = "+2%"', 105_370, 1),
        ('growth.macs = "+10k"', 10_000, 0),
        ('growth.macs = "+10k"', 10_001, 1),
        ('growth = "+2%"', 105_369, 0),
        ('growth.params = "+2%"', 1, 1),
        ("", 1, 1),
    ],
)
def test_a_count_may_grow_as_far_as_its_budget_says(growth: str, more: int, code: int) -> None:
    old = entry("reduced")
    assert checked(old, plus(old, macs=more), f"[budget.m]\n{growth}\n").exit_code == code


def test_a_warning_is_no_failure() -> None:
    old = entry("reduced")
    budgets = '[budget.m]\ngrowth.macs = "+5%"\nwarn.growth.macs = "+1%"\nwarn.params = "<= 10k"\n'
    result = checked(old, plus(old, macs=100_000), budgets)
    assert (result.exit_code, result.status) == (0, "warns")
    assert {(f.level, f.metric) for f in only(result).findings} == {("warn", "macs"), ("warn", "params")}


def test_growth_that_is_allowed_is_said() -> None:
    old = entry("reduced")
    result = checked(old, plus(old, macs=100), '[budget.m]\ngrowth.macs = "+5%"\n')
    assert [f.text for f in only(result).findings] == ["MACs 5,268,480 → 5,268,580, +100 (+0.002 %); +5% allows it"]


def test_a_broken_budget_fails_without_any_change() -> None:
    result = checked(entry("naive"), entry("naive"), '[budget.m]\nmacs = "<= 100M"\n')
    (finding,) = only(result).findings
    assert result.exit_code == 1
    assert finding.text == "MACs 112,896,000 is 12,896,000 over the budget of 100,000,000 (<= 100M)"
    assert finding.accept == "archlab lock --budgets m"


def test_no_entry_in_the_lock_is_a_missing_baseline() -> None:
    result = checked(None, entry("naive"))
    (finding,) = only(result).findings
    assert (result.exit_code, finding.kind, finding.accept) == (5, "missing", "archlab lock m")


def test_an_entry_counted_otherwise_is_stale_and_says_how() -> None:
    result = checked(entry("naive"), entry(archlab.load("naive@28").named("naive")))
    (finding,) = only(result).findings
    assert (result.exit_code, finding.kind) == (5, "stale")
    assert "input input 1x480x14x14, now input 1x480x28x28" in finding.text


def test_an_entry_without_a_model_is_stale() -> None:
    found = config("m")
    lock = Lock({"m": entry("naive"), "gone": entry("naive")})
    result = check(found, lock, found.models, lambda _: entry("naive"), ACCEPT)
    assert [(v.name, v.status) for v in result.verdicts] == [("m", "no change"), ("gone", "fails")]
    assert result.exit_code == 5
    two = config("m", "n")
    chosen = check(two, lock, two.models[:1], lambda _: entry("naive"), ACCEPT)
    assert chosen.exit_code == 0  # only some were asked for


def test_a_model_that_cannot_be_built_is_an_error_and_the_others_are_checked() -> None:
    found = config("broken", "m")

    def count(model: Model) -> Entry:
        if model.name == "broken":
            raise ReadError("net.py: fails\nwhen it is imported")
        return entry("naive")

    lock = Lock({"broken": entry("naive"), "m": entry("naive")})
    result = check(found, lock, found.models, count, ACCEPT)
    assert [v.status for v in result.verdicts] == ["fails", "no change"]
    assert result.verdicts[0].findings[0].text == "net.py: fails when it is imported"
    assert result.exit_code == 3


def test_of_several_failures_a_regression_decides_the_exit_code() -> None:
    found = config("worse", "broken", "missing", "wrong")

    def count(model: Model) -> Entry:
        errors = {"broken": ReadError("x"), "wrong": UsageError("y")}
        if model.name in errors:
            raise errors[model.name]
        return plus(entry("naive"), macs=1)

    lock = Lock({"worse": entry("naive")})
    codes = {}
    for names in (["worse", "broken", "missing", "wrong"], ["broken", "missing", "wrong"], ["missing", "wrong"]):
        codes[len(names)] = check(found, lock, found.chosen(names), count, ACCEPT).exit_code
    assert codes == {4: 1, 3: 3, 2: 2}


def test_an_incomplete_count_fails_where_that_is_asked_for_and_a_new_one_always() -> None:
    old = entry("naive")
    total = {**old.total, "uncounted": 2}
    new = dataclasses.replace(old, total=total, uncounted={"mylib::scan": 2})
    assert checked(new, new).exit_code == 0
    assert checked(new, new, strict=True).exit_code == 4
    result = checked(old, new)
    assert result.exit_code == 1
    assert [f.text for f in only(result).findings] == ["uncounted 0 → 2, +2"]


def test_a_layer_that_is_new_or_gone_is_the_first_that_differs() -> None:
    plain, no_lrn = entry("googlenet"), entry("googlenet+no_lrn")
    gone = Difference(plain, no_lrn)
    assert gone.first is not None
    assert (gone.first.name, gone.first.new) == ("pool1/norm1", None)
    assert gone.first.products[1] == "-"
    back = Difference(no_lrn, plain)
    assert back.first is not None
    assert (back.first.name, back.first.old) == ("pool1/norm1", None)
    assert {pair.name for pair in back.changed} == {"pool1/norm1", "conv2/norm2"}


def test_renamed_layers_are_no_change() -> None:
    old = entry("reduced")
    rows = tuple(dataclasses.replace(row, name=f"body/{row.name}") for row in old.rows)
    assert Difference(old, dataclasses.replace(old, rows=rows)).unchanged


def test_layers_move_a_metric_in_order_of_their_change() -> None:
    moved = Difference(entry("googlenet"), entry("googlenet+naive")).movers("params")
    changes = [abs(pair.change("params")) for pair in moved]
    assert changes == sorted(changes, reverse=True)
    assert sum(pair.change("params") for pair in moved) == 97_526_008 - 6_998_552


def test_a_check_as_plain_data() -> None:
    data = checked(entry("reduced"), dataclasses.replace(entry("naive"), target="reduced")).to_dict()
    assert data["schema"] == "archlab.check/1"
    assert (data["status"], data["exit_code"]) == ("fails", 1)
    (model,) = data["models"]
    assert model["difference"]["totals"]["macs"] == {"old": 5_268_480, "new": 112_896_000, "change": 107_627_520}
    assert model["difference"]["first"]["layer"] == "5x5_reduce"
