"""Profile, compare, explain, reconcile and verify take every form of a target."""

from __future__ import annotations

import json
import warnings
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import archlab
from archlab.cli.commands import app

MACS = 8 * 8 * 4 * 3 * 9 + 4 * 8 * 8 * 5
"""Of the network in each file: 8·8 positions of 4 filters 3·3·3, then 5 sums of 4·8·8 products."""

NET = """
from torch import nn

def make():
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 5))
"""
DEPLOY = """
name: "small"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 4 kernel_size: 3 pad: 1 } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "fc" type: "InnerProduct" bottom: "conv" top: "fc" inner_product_param { num_output: 5 } }
"""
LLAMA = {
    "model_type": "llama", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
    "num_key_value_heads": 2, "intermediate_size": 32, "vocab_size": 50,
}  # fmt: skip


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 5)).eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("targets")
    (made / "net.py").write_text(NET)
    (made / "deploy.prototxt").write_text(DEPLOY)
    (made / "config.json").write_text(json.dumps(LLAMA))
    (made / "graph.json").write_text(archlab.trace(network(), torch.zeros(1, 3, 8, 8)).to_json())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        example = (torch.zeros(1, 3, 8, 8),)
        torch.onnx.export(network(), example, str(made / "model.onnx"), dynamo=False, input_names=["image"])
        torch.export.save(torch.export.export(network(), example), str(made / "exported.pt2"))
    return made


TARGETS: dict[str, tuple[list[str], int | None]] = {
    # a form: the words of a command line, and its MACs where they are the network's above
    "zoo": (["naive"], 48 * 14 * 14 * 480 * 25),
    "zoo with an ablation and a size": (["googlenet+fc_head@64"], None),
    "torchvision": (["torchvision:squeezenet1_1@64"], None),
    "torchvision's weights": (["torchvision:squeezenet1_1:IMAGENET1K_V1@64"], None),
    "timm": (["timm:resnet10t@64"], None),
    "transformers": (["hf:{}/config.json", "--input", "1x8"], None),
    "a file of Python": (["{}/net.py:make", "--input", "1x3x8x8"], MACS),
    "a module": (["torch.nn:ReLU", "--input", "1x3x8x8"], 0),
    "onnx": (["{}/model.onnx"], MACS),
    "torch.export": (["{}/exported.pt2"], MACS),
    "caffe": (["{}/deploy.prototxt"], MACS),
    "json": (["{}/graph.json"], MACS),
}


NEEDS = {"torchvision": "torchvision", "torchvision's weights": "torchvision", "timm": "timm"}
"""The library that a form needs."""


def form_of(form: str) -> tuple[list[str], int | None]:
    if form in NEEDS and find_spec(NEEDS[form]) is None:
        pytest.skip(f"{NEEDS[form]} is not installed")
    return TARGETS[form]


def run(folder: Path, command: str, words: list[str], *more: str) -> dict[str, object]:
    given = [word.format(folder) for word in words]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shown = CliRunner().invoke(app, [command, *given, *more, "--json"], catch_exceptions=False)
    assert shown.exit_code == 0, shown.output
    found: dict[str, object] = json.loads(shown.stdout)
    return found


@pytest.mark.parametrize("form", TARGETS)
def test_every_form_is_profiled_and_reconciled_alike(form: str, folder: Path) -> None:
    words, macs = form_of(form)
    profiled, reconciled = (run(folder, command, words) for command in ("profile", "reconcile"))
    total = profiled["total"]
    assert isinstance(total, dict)
    assert total["macs"] == reconciled["macs"]
    assert macs is None or total["macs"] == macs


@pytest.mark.parametrize("form", TARGETS)
def test_every_form_is_compared_and_explained(form: str, folder: Path) -> None:
    words, _ = form_of(form)
    compared = run(folder, "compare", [words[0], *words])
    assert compared["unchanged"] is True
    assert run(folder, "explain", words)


@pytest.mark.slow
@pytest.mark.parametrize("form", TARGETS)
def test_every_form_is_verified(form: str, folder: Path) -> None:
    words, macs = form_of(form)
    verified = run(folder, "verify", words, "--counters", "torch")
    assert verified["ok"] is True
    assert macs is None or verified["macs"] == macs
