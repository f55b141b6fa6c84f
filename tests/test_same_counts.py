"""The same network through a trace, an ONNX file, a torch.export archive and our JSON gives the same counts.

Where FLOPs or parameters differ the file holds something else than the module, and the test says what.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import battery
import onnx
import pytest
import torch
from torch import nn

import archlab
from archlab.profiles import Profile

pytestmark = pytest.mark.filterwarnings("ignore")
"""Both of torch's exporters warn of what they will do otherwise one day."""

FLOPS = {
    "block": "its attention is written as products; queries and keys are scaled, not scores; GELU divides",
    "mixed": "its group norm is written as an instance norm and a product and a sum of their own",
}
"""Why an ONNX file of a network does other operations than its module, products left alone."""
TIED = {"block": 50 * 32}
"""Parameters that torch's exporter writes twice: a table, and its transpose that it has computed."""


def as_onnx(model: nn.Module, example: Any, path: Path) -> Profile:
    """Return the profile of a model's ONNX file in which batch norms stay as they are."""
    keep = {"training": torch.onnx.TrainingMode.PRESERVE, "do_constant_folding": False}
    torch.onnx.export(model, (example,), str(path), dynamo=False, opset_version=18, **keep)
    return archlab.profile(str(path))


def as_archive(model: nn.Module, example: Any, path: Path) -> Profile:
    torch.export.save(torch.export.export(model, (example,)), str(path))
    return archlab.profile(str(path))


def figures(profile: Profile) -> dict[str, int]:
    return {name: getattr(profile.total, name) for name in ("macs", "params", "flops", "activations")}


@pytest.mark.parametrize("name", battery.MODELS)
def test_an_archive_gives_what_a_trace_gives(name: str, tmp_path: Path) -> None:
    model, example = battery.made(name)
    traced, read = archlab.profile(model, example), as_archive(model, example, tmp_path / "m.pt2")
    assert figures(read) == figures(traced)
    assert read.total.operations == traced.total.operations
    assert read.parameters == traced.parameters
    assert read.source == "read"
    assert not read.uncounted
    products = [[(layer.name, layer.cost.macs) for layer in p.layers if layer.cost.macs] for p in (read, traced)]
    assert products[0] == products[1]


@pytest.mark.parametrize("name", battery.MODELS)
def test_an_onnx_file_gives_what_a_trace_gives(name: str, tmp_path: Path) -> None:
    model, example = battery.made(name)
    traced, read = archlab.profile(model, example), as_onnx(model, example, tmp_path / "m.onnx")
    assert read.total.macs == traced.total.macs
    assert read.total.params == traced.total.params
    assert read.source == "read"
    assert not read.uncounted
    if name not in FLOPS:
        assert read.total.operations == traced.total.operations


def test_a_tied_table_that_the_exporter_has_turned_is_written_twice(tmp_path: Path) -> None:
    model, example = battery.made("block")
    torch.onnx.export(model, (example,), str(tmp_path / "m.onnx"), dynamo=False, opset_version=18)
    read = archlab.profile(str(tmp_path / "m.onnx"))
    assert read.total.params == archlab.profile(model, example).total.params + TIED["block"]


@pytest.mark.parametrize("name", battery.MODELS)
def test_json_gives_what_a_trace_gives(name: str, tmp_path: Path) -> None:
    model, example = battery.made(name)
    traced = archlab.profile(model, example)
    path = tmp_path / "m.json"
    path.write_text(traced.graph.to_json(), encoding="utf-8")
    read = archlab.profile(str(path))
    assert figures(read) == figures(traced)
    assert read.parameters == traced.parameters


@pytest.mark.parametrize("name", battery.MODELS)
def test_the_parameters_of_an_onnx_file_are_its_initialisers(name: str, tmp_path: Path) -> None:
    model, example = battery.made(name)
    read = as_onnx(model, example, tmp_path / "m.onnx")
    tensors = onnx.load(str(tmp_path / "m.onnx")).graph.initializer
    learned = {t.name: math.prod(t.dims) for t in tensors if t.data_type == onnx.TensorProto.FLOAT and t.dims}
    statistics = sum(size for key, size in learned.items() if "running" in key)
    assert read.parameters["read"] == sum(learned.values()) - statistics
    assert read.parameters["unused"] == 0


PRINTED = {"resnet18": 11_689_512, "mobilenet_v3_large": 5_483_032, "googlenet": 6_624_904, "vit_b_16": 86_567_656}
"""`num_params` of torchvision's weight entries (facts/torchvision_ops.json)."""


def torchvision_model(name: str, device: str) -> tuple[nn.Module, Any]:
    torchvision = pytest.importorskip("torchvision")
    options = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
    with torch.device(device):
        return getattr(torchvision.models, name)(**options).eval(), torch.zeros(1, 3, 224, 224)


@pytest.mark.slow
@pytest.mark.parametrize("name", PRINTED)
def test_torchvision_s_models_are_the_same_as_archives(name: str, tmp_path: Path) -> None:
    """On the meta device, so that the archive holds no weights."""
    model, example = torchvision_model(name, "meta")
    traced, read = archlab.profile(f"torchvision:{name}"), as_archive(model, example, tmp_path / "m.pt2")
    assert read.total.params == PRINTED[name]
    assert figures(read) == figures(traced)
    # torch.export writes out what a module of attention does; the layer keeps the name of the function
    named = [
        [(layer.name.replace("scaled_dot_product_", ""), layer.cost.macs) for layer in p.layers if layer.cost.macs]
        for p in (read, traced)
    ]
    assert named[0] == named[1]


@pytest.mark.slow
@pytest.mark.parametrize("name", PRINTED)
def test_torchvision_s_models_are_the_same_as_onnx(name: str, tmp_path: Path) -> None:
    """With weights that differ, since the exporter joins equal ones; ViT's twelve layers are cut to two."""
    model, example = torchvision_model(name, "cpu")
    if name == "vit_b_16":
        model.encoder.layers = model.encoder.layers[:2]  # type: ignore[index, union-attr]
    for parameter in model.parameters():
        parameter.data.uniform_(0.1, 1.0)
    for key, buffer in model.named_buffers():
        if buffer.is_floating_point():
            buffer.data.uniform_(0.1 + len(key) / 100, 1.0)
    traced, read = archlab.profile(model, example), as_onnx(model, example, tmp_path / "m.onnx")
    assert (read.total.macs, read.total.params) == (traced.total.macs, traced.total.params)
    assert not read.uncounted
    if name != "vit_b_16":
        assert read.total.operations == traced.total.operations
        products = [[(layer.name, layer.cost.macs) for layer in p.layers if layer.cost.macs] for p in (read, traced)]
        assert products[0] == products[1]
