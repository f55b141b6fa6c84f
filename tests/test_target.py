"""Targets: what a text names, and what is said about texts that name nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

import archlab
from archlab.errors import AblationError, ReadError, ShapeError, UsageError
from archlab.sources.target import Target, parse


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("googlenet", Target("googlenet")),
        ("googlenet+naive", Target("googlenet", ("naive",))),
        ("googlenet+fc_head+no_lrn", Target("googlenet", ("fc_head", "no_lrn"))),
        ("googlenet+naive@256", Target("googlenet", ("naive",), "256")),
        ("googlenet@256x192", Target("googlenet", (), "256x192")),
        ("googlenet@2x3x256x192", Target("googlenet", (), "2x3x256x192")),
    ],
)
def test_a_target_is_a_source_ablations_and_an_input(text: str, parts: Target) -> None:
    assert parse(text) == parts


@pytest.mark.parametrize("text", ["", "+naive", "googlenet+", "googlenet++naive", "@256"])
def test_a_target_with_an_empty_part_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match=r"SOURCE\[\+ABLATION"):
        parse(text)


@pytest.mark.parametrize("size", ["", "0", "256x", "x256", "256x0", "-1", "abc", "3.5", "1e3", "9" * 30])
def test_an_input_that_is_no_size_is_refused_with_the_forms(size: str) -> None:
    with pytest.raises(UsageError, match="1x3x256x256"):
        parse(f"googlenet@{size}")


def test_an_existing_file_wins_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a+b@3.json").write_text(archlab.load("reduced").to_json(), encoding="utf-8")
    assert parse("a+b@3.json") == Target("a+b@3.json")
    assert parse("a+b@3.json+batch_norm@20") == Target("a+b@3.json", ("batch_norm",), "20")
    assert archlab.load("a+b@3.json").output_specs == archlab.load("reduced").output_specs


def test_one_side_or_two_resize_an_image_and_keep_batch_and_channels() -> None:
    assert archlab.load("googlenet@256").inputs["input"].shape == (1, 3, 256, 256)
    assert archlab.load("googlenet@256x192").inputs["input"].shape == (1, 3, 256, 192)
    assert archlab.load("googlenet", inputs=["256x192"]).inputs["input"].shape == (1, 3, 256, 192)


def test_an_input_too_small_for_the_auxiliary_heads_still_counts_in_inference() -> None:
    # at 64 the heads read 4×4, their pool needs 5×5; in inference they do not run
    with pytest.raises(ShapeError, match="loss1/ave_pool"):
        archlab.load("googlenet@64")
    with pytest.raises(ShapeError, match="loss1/ave_pool"):
        archlab.profile("googlenet@64", mode="training")
    conv1 = 32 * 32 * 64 * 3 * 7 * 7
    assert archlab.profile("googlenet@64").layer("conv1/7x7_s2").cost.macs == conv1


def test_resizing_counts_for_the_new_size() -> None:
    # googlenet at 227: conv1 makes 114x114 (facts section 6: 1,599,884,032 MACs); params do not move.
    total = archlab.profile("googlenet@227").total
    assert (total.params, total.macs) == (6_998_552, 1_599_884_032)


def test_an_input_option_names_shape_and_type() -> None:
    spec = archlab.load("naive", inputs=["input=2x480x14x14:float16"]).inputs["input"]
    assert (spec.shape, spec.dtype) == ((2, 480, 14, 14), "float16")
    half = archlab.profile(archlab.load("naive", inputs=["1x480x14x14:float16"])).total
    assert half.bytes_moved == archlab.profile("naive").total.bytes_moved // 2


def test_a_graph_is_named_by_the_target_that_was_typed(tmp_path: Path) -> None:
    path = tmp_path / "v.json"
    path.write_text(archlab.load("reduced").to_json(), encoding="utf-8")
    assert archlab.load(f"{path}@20").name == f"{path}@20"
    assert archlab.load(path).name == str(path)
    with pytest.raises(UsageError, match="expected a target, got NoneType"):
        archlab.load(None)  # type: ignore[arg-type]


def test_constructor_arguments_reach_the_architecture() -> None:
    ten = archlab.profile(archlab.load("googlenet", arguments={"num_classes": 10})).total
    assert ten.params == 6_998_552 - 990 * (1024 + 1)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("gogglenet", UsageError, r"unknown architecture 'gogglenet'; did you mean 'googlenet'\?"),
        ("googlenet+naiv", UsageError, r"unknown ablation 'naiv'; did you mean 'naive'\?"),
        ("alexnet+naive", AblationError, r"alexnet: ablation 'naive' matches no layer"),
        (
            "googlenet+naive+no_pool_proj",
            AblationError,
            r"googlenet\+naive: ablation 'no_pool_proj' matches no layer",
        ),
        ("absent.json", ReadError, r"absent\.json: "),
        ("model.onnx", ReadError, r"model\.onnx: no such file, nor an architecture of the zoo"),
        ("folder/model", ReadError, r"folder/model: no such file"),
        ("googlenet@1x4x224", ShapeError, r"googlenet: conv1/7x7_s2: needs a 4-D input"),
        ("googlenet@8", ShapeError, r"googlenet: inception_|googlenet: pool|googlenet: conv"),
    ],
)
def test_a_target_that_cannot_be_says_where_what_and_what_now(
    text: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        archlab.load(text)


def test_an_unknown_argument_input_or_dtype_is_named() -> None:
    with pytest.raises(UsageError, match=r"googlenet takes no argument 'classes'; did you mean 'num_classes'\?"):
        archlab.load("googlenet", arguments={"classes": 10})
    with pytest.raises(UsageError, match=r"has no input 'image'.*its inputs: input"):
        archlab.load("googlenet", inputs=["image=1x3x224x224"])
    with pytest.raises(archlab.ArchlabError, match=r"unknown dtype 'float23'; did you mean 'float32'\?"):
        archlab.load("googlenet", inputs=["1x3x224x224:float23"])
    with pytest.raises(UsageError, match=r"googlenet with num_classes=ten: out_features must be"):
        archlab.load("googlenet", arguments={"num_classes": "ten"})


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(b"TFL3")
    with pytest.raises(
        ReadError, match=r"not a kind of file that archlab reads \(\.json, \.onnx, \.pt2, \.prototxt\)"
    ):
        archlab.load(str(path))
