"""The config: archlab.toml or [tool.archlab], written for a new project and edited in place."""

from __future__ import annotations

import tomllib
from itertools import permutations
from pathlib import Path

import pytest

import archlab
from archlab.errors import UsageError
from archlab.guard.budgets import growth
from archlab.guard.config import Config, Model, config_of, find_config
from archlab.guard.entry import Entry
from archlab.guard.writing import named, new_config, raised, room_of

WHOLE = """\
[[model]]
target = "googlenet"

[[model]]
name = "training"
target = "googlenet"
input = ["input=8x3x224x224"]
mode = "training"

  [[ model ]]
name = "bert"
target = "hf:bert"
input = "1x64"
convention = "fvcore"
arguments = { num_labels = 3 }

[budget.googlenet]
macs = "<= 1.6G"
growth.macs = "+2%"
warn.macs = "<= 1.5G"

[budget."*"]
uncounted = 0
macs = "<= 9G"
"""


def test_a_config_names_models_and_budgets() -> None:
    config = config_of(WHOLE, Path("archlab.toml"))
    assert config is not None
    assert config.models == (
        Model("googlenet", "googlenet"),
        Model("training", "googlenet", ("input=8x3x224x224",), "training"),
        Model("bert", "hf:bert", ("1x64",), convention="fvcore", arguments={"num_labels": 3}),
    )
    assert [model.line for model in config.models] == [1, 4, 10]
    assert config.budget("googlenet").fail.limits["macs"].most == 1_600_000_000
    assert config.budget("googlenet").warn.limits["macs"].most == 1_500_000_000
    assert config.budget("googlenet").fail.limits["uncounted"].most == 0
    assert config.budget("bert").fail.limits["macs"].most == 9_000_000_000


def test_pyproject_has_the_same_below_tool() -> None:
    text = WHOLE.replace("[[model]]", "[[tool.archlab.model]]").replace("[[ model ]]", "[[ tool.archlab.model ]]")
    text = '[project]\nname = "x"\n' + text.replace("[budget", "[tool.archlab.budget")
    config = config_of(text, Path("pyproject.toml"))
    plain = config_of(WHOLE, Path("archlab.toml"))
    assert config is not None
    assert plain is not None
    assert (config.models, config.budgets) == (plain.models, plain.budgets)
    assert [model.line for model in config.models] == [3, 6, 12]


def test_the_nearest_config_above_counts(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "archlab.toml").write_text('[[model]]\ntarget = "naive"\n')
    (tmp_path / "a" / "pyproject.toml").write_text('[project]\nname = "no config of ours"\n')
    assert find_config(tmp_path / "a" / "b").path == tmp_path / "archlab.toml"
    (tmp_path / "a" / "pyproject.toml").write_text('[[tool.archlab.model]]\ntarget = "reduced"\n')
    assert find_config(tmp_path / "a" / "b").models[0].target == "reduced"
    (tmp_path / "a" / "archlab.toml").write_text('[[model]]\ntarget = "nin"\n')
    assert find_config(tmp_path / "a" / "b").models[0].target == "nin"
    assert find_config(tmp_path / "a" / "b").lock_path == tmp_path / "a" / "archlab.lock.json"


def test_no_config_names_the_command_that_begins(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="archlab init TARGET"):
        find_config(tmp_path)
    with pytest.raises(UsageError, match="no such file"):
        find_config(tmp_path, str(tmp_path / "none.toml"))


WRONG = [
    ("[[model]\n", "is no TOML"),
    ("[models]\n", r"unknown table \[models\]; did you mean 'model'\?"),
    ("[model]\ntarget = 'x'\n", r"write a model as \[\[model\]\]"),
    ("[[model]]\nname = 'x'\n", "needs a target"),
    ("[[model]]\ntarget = 3\n", "needs a target"),
    ("[[model]]\ntarget = 'x'\ninputs = 'y'\n", "unknown key 'inputs'; did you mean 'input'"),
    ("[[model]]\ntarget = 'x'\ninput = 3\n", "is no input"),
    ("[[model]]\ntarget = 'x'\nmode = 'train'\n", "unknown mode 'train'; did you mean 'training'"),
    ("[[model]]\ntarget = 'x'\nbackward = 'yes'\n", "backward is true or false"),
    ("[[model]]\ntarget = 'x'\narguments = 3\n", "arguments is no table"),
    ("[[model]]\ntarget = 'x'\n[[model]]\ntarget = 'x'\n", "two models are named 'x'"),
    ("[[model]]\ntarget = 'net'\n[budget.nte]\nmacs = 1\n", r"\[budget.nte\] is for no model; did you mean 'net'\?"),
    ("[[model]]\ntarget = 'x'\n[budget]\nx = 3\n", "budget.x is no table"),
    ("budget = 3\n", r"write a budget as \[budget.NAME\]"),
    ("[[model]]\ntarget = 'x'\n[budget.x]\nmac = 1\n", r"archlab.toml: \[budget.x\]: unknown metric 'mac'"),
]


@pytest.mark.parametrize(("text", "said"), WRONG)
def test_a_wrong_config_says_where_and_what(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        config_of(text, Path("archlab.toml"))


WRONG_COUNTS = [
    ("[[model]]\ntarget = 'x'\nconvention = 'fvcor'\n", "unknown convention 'fvcor'; did you mean 'fvcore'"),
    ("[[model]]\ntarget = 'x'\n[budget.x]\nreported = 1\n", r"\[budget.x\]: reported is not counted"),
    ("[[model]]\ntarget = 'x'\n[budget.x]\ngrowth.macs = '+1MB'\n", r"\[budget.x\].*macs are no bytes"),
]


@pytest.mark.parametrize(("text", "said"), WRONG_COUNTS)
def test_what_cannot_be_counted_is_said_before_anything_is(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        config_of(text, Path("archlab.toml"))


def test_a_budget_for_some_models_bounds_what_any_of_them_has_counted() -> None:
    text = "[[model]]\ntarget = 'x'\n[[model]]\ntarget = 'y'\nbackward = true\n[budget.'*']\nbackward_macs = 1\n"
    assert config_of(text, Path("archlab.toml")) is not None


def test_of_patterns_the_one_that_tells_more_of_a_name_wins_in_any_order() -> None:
    tables = ["[budget.'*']\nmacs = 1\n", "[budget.'n*']\nmacs = 2\n", "[budget.net]\nparams = 3\n"]
    for order in permutations(tables):
        config = config_of("[[model]]\ntarget = 'net'\n" + "".join(order), Path("archlab.toml"))
        assert config is not None
        assert config.patterns("net") == ["net", "n*", "*"]
        limits = config.budget("net").fail.limits
        assert {metric: limit.most for metric, limit in limits.items()} == {"macs": 2, "params": 3}


def test_a_config_of_another_name_has_a_lock_of_that_name() -> None:
    paths = {name: Config(Path(name)).lock_path.name for name in ("archlab.toml", "pyproject.toml", "big.toml")}
    locks = ["archlab.lock.json", "archlab.lock.json", "big.lock.json"]
    assert list(paths.values()) == locks


def entry(target: str) -> Entry:
    return Entry.of(archlab.profile(target).to_dict(), target)


def test_a_new_config_leaves_so_much_room() -> None:
    models = [Model("reduced", "reduced"), Model("n+1", "naive", ("2x480x14x14",), "training")]
    entries = {"reduced": entry("reduced"), "n+1": entry("naive")}
    text = new_config(models, entries, room_of("+5%"))
    config = config_of(text, Path("archlab.toml"))
    assert config is not None
    assert list(config.models) == models
    # 1.05 · 5,268,480 MACs = 5,531,904, and 1.05 · 26,944 params = 28,291.2: four digits, rounded up.
    assert tomllib.loads(text)["budget"]["reduced"]["macs"] == "<= 5.532M"
    assert tomllib.loads(text)["budget"]["reduced"]["params"] == "<= 28.3k"
    assert tomllib.loads(text)["budget"]["n+1"]["uncounted"] == 0


def test_a_new_config_without_budgets_shows_how_one_looks() -> None:
    text = new_config([Model("n+1", "naive")], {}, None)
    shown = text + "".join(line.removeprefix("# ") + "\n" for line in text.splitlines() if "[budget" in line)
    assert tomllib.loads(text) == {"model": [{"name": "n+1", "target": "naive"}]}
    assert "n+1" in tomllib.loads(shown)["budget"]


@pytest.mark.parametrize("text", ["+1M", "5", "+", "lots", "-5%"])
def test_room_that_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="write the room"):
        room_of(text)


def test_room_may_leave_out_its_sign() -> None:
    assert room_of("5%") == growth("+5%", "growth", "")


TIGHT = """\
# ours
[[model]]
target = "naive"   # the costly one

[budget.naive]
macs = "<= 112M"  # a limit that breaks
params = "<= 1M"
uncounted = 0
warn.params = "<= 500k"

[budget."n*"]
flops = 3  # everything's
"""


def test_raising_budgets_keeps_every_comment_and_what_holds() -> None:
    config = config_of(TIGHT, Path("archlab.toml"))
    assert config is not None
    text, said = raised(config, TIGHT, {"naive": entry("naive")})
    # 112,896,000 MACs, 576,048 params, 225,801,408 FLOPs
    expected = TIGHT.replace("<= 112M", "<= 112.9M").replace("<= 500k", "<= 576.1k").replace("= 3 ", "= 225801408 ")
    assert text == expected
    assert len(said) == 3
    again = config_of(text, Path("archlab.toml"))
    assert again is not None
    assert raised(again, text, {"naive": entry("naive")}) == (text, [])


def test_raising_budgets_in_pyproject() -> None:
    text = '[project]\nname = "x" # kept\n[[tool.archlab.model]]\ntarget = "naive"\n'
    text += '[tool.archlab.budget.naive]\nmacs = "<= 1M"\n'
    config = config_of(text, Path("pyproject.toml"))
    assert config is not None
    assert raised(config, text, {"naive": entry("naive")})[0] == text.replace("<= 1M", "<= 112.9M")


def test_targets_are_named_by_what_they_call() -> None:
    targets = ["googlenet+naive", "pkg.net:Net", "a/b.onnx", "torchvision:resnet18@64", "x.py:make"]
    assert named(targets) == ["googlenet+naive", "Net", "b", "resnet18", "make"]
    assert named(["a.py:Net", "b.py:Net"]) == ["a.py:Net", "b.py:Net"]
