"""Models as targets: where they come from, what they read, and what is said when they cannot be."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import Outcome

import archlab
from archlab.errors import ReadError, TraceError, UsageError
from archlab.zoo.catalog import ARCHITECTURES

torchvision = pytest.importorskip("torchvision", reason="no torchvision belongs to this build of torch")
Run = Callable[..., Outcome]

SOURCE = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3)
    def forward(self, x):
        return self.conv(x)

def factory(width=4):
    return Net(width)

instance = Net()
number = 3

class Fails(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3), nn.Linear(7, 2)
    def forward(self, x):
        return self.second(self.first(x))
"""


@pytest.fixture
def source(tmp_path: Path) -> str:
    path = tmp_path / "net.py"
    path.write_text(SOURCE, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("mode", ["inference", "training"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_lowered_architecture_traces_back_to_the_same_counts(name: str, mode: str) -> None:
    graph = archlab.load(name)
    model = archlab.lower(graph, "meta")
    traced, built = archlab.profile(model, *graph.inputs.values(), mode=mode), archlab.profile(graph, mode=mode)
    assert traced == built
    assert traced.parameters == built.parameters
    assert traced.peak_memory == built.peak_memory


def test_a_trace_is_the_graph_that_the_constructor_would_build() -> None:
    # a trace is assembled without inferring again; the constructor must come to the same
    for target in ("torchvision:resnet18", "torchvision:vit_b_16", "torchvision:mobilenet_v3_small"):
        graph = archlab.load(target)
        whole = archlab.Graph(graph.name, graph.nodes, graph.outputs, graph.params)
        assert whole == graph
        assert whole.specs == graph.specs


def test_torchvision_models_count_what_torchvision_says() -> None:
    # torchvision 0.29 metadata: 11,689,512 params, 1.814 GMACs
    total = archlab.profile("torchvision:resnet18").total
    assert (total.params, round(total.macs / 1e9, 3)) == (11_689_512, 1.814)
    assert archlab.load("torchvision:resnet18").origin == "traced"


def test_an_entry_of_weights_brings_its_own_arguments() -> None:
    # the SWAG entry of vit_b_16 was made at 384: 55.484 GMACs, 86,859,496 params (torchvision metadata)
    total = archlab.profile("torchvision:vit_b_16:IMAGENET1K_SWAG_E2E_V1").total
    assert (total.params, round(total.macs / 1e9, 3)) == (86_859_496, 55.484)


def test_ablations_and_sizes_apply_to_traced_models() -> None:
    # the zoo's twin of torchvision's network gives the same under the same edit
    for ablation in ("naive", "no_reduction", "fc_head", "batch_norm"):
        twin = "googlenet-torchvision" if ablation != "batch_norm" else "alexnet-torchvision"
        model = "googlenet" if ablation != "batch_norm" else "alexnet"
        ours, traced = archlab.profile(f"{twin}+{ablation}"), archlab.profile(f"torchvision:{model}+{ablation}")
        assert (traced.total.macs, traced.total.params) == (ours.total.macs, ours.total.params)
    assert archlab.load("torchvision:resnet18@256").inputs["input"].shape == (1, 3, 256, 256)
    assert archlab.load("torchvision:resnet18@2x3x96x128").inputs["input"].shape == (2, 3, 96, 128)


def test_timm_models_read_their_own_input() -> None:
    timm = pytest.importorskip("timm", reason="timm is not installed")
    profile = archlab.profile("timm:convnext_atto")
    with torch.device("meta"):
        model = timm.create_model("convnext_atto")
    assert profile.total.params == sum(p.numel() for p in model.parameters())
    assert profile.input["input"].shape == (1, 3, 224, 224)
    assert not profile.uncounted


def test_llama_7b_at_128_tokens_takes_850_gmacs() -> None:
    pytest.importorskip("transformers", reason="transformers is not installed")
    # by hand: 32 layers of 4·4096² + 3·4096·11008 and the head 4096·32000 for 128 tokens, and for
    # attention 32 layers of 2·128²·4096
    layers = 32 * (4 * 4096**2 + 3 * 4096 * 11008) * 128
    attention = 32 * 2 * 128 * 128 * 4096
    profile = archlab.profile("hf:llama")
    assert profile.total.macs == layers + attention + 128 * 4096 * 32000
    assert not profile.uncounted


def test_a_configuration_file_of_transformers_is_a_target(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="transformers is not installed")
    path = tmp_path / "config.json"
    small = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1, "num_attention_heads": 4}
    path.write_text(json.dumps({"model_type": "llama", "vocab_size": 100, **small, "num_key_value_heads": 4}))
    profile = archlab.profile(f"hf:{path}")
    params = 100 * 64 * 2 + 4 * 64 * 64 + 3 * 64 * 128 + 3 * 64
    assert profile.total.params == params
    path.write_text("[1]")
    with pytest.raises(ReadError, match="is no configuration of transformers"):
        archlab.load(f"hf:{path}")


def test_classes_factories_and_instances_of_a_file_are_targets(source: str) -> None:
    for name, width in (("Net", 8), ("factory", 4), ("instance", 8)):
        total = archlab.profile(archlab.load(f"{source}:{name}@1x3x10x10")).total
        assert (total.params, total.macs) == (width * 27 + width, 64 * width * 27)
    wide = archlab.load(f"{source}:Net", inputs=["1x3x10x10"], arguments={"width": 16})
    assert archlab.profile(wide).total.params == 16 * 27 + 16
    by_name = archlab.load(f"{source}:Net", inputs=["x=2x3x10x10"])
    assert by_name.inputs["x"].shape == (2, 3, 10, 10)


def test_a_module_of_an_importable_package_is_a_target() -> None:
    assert archlab.profile("torch.nn:ReLU@1x3x8x8").total.operations["cmp"] == 3 * 8 * 8


@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        ("torchvision:resnet19", UsageError, r"torchvision has no model 'resnet19'; did you mean 'resnet18'\?"),
        ("torchvision:resnet18:V9", UsageError, r"torchvision:resnet18 has no weights 'V9'"),
        ("torch.nn:Identity", UsageError, r"what does it read\? give its input, such as --input 1x3x224x224"),
        ("nowhere.at.all:thing@1x3x8x8", UsageError, r"there is no module 'nowhere.at.all'"),
        ("torch.nn:Conv9d@1x3x8x8", UsageError, r"torch\.nn has no 'Conv9d'; did you mean 'Conv"),
        ("torch:pi@1x3x8x8", UsageError, r"torch:pi is float; name a module, a class or a function"),
        ("torch.nn:ReLU", UsageError, r"torch\.nn:ReLU: what does it read\?"),
        ("absent.py:Net@1x3x8x8", ReadError, r"absent\.py: no such file"),
        ("torch.nn:Linear@1x3x8x8", UsageError, r"torch\.nn:Linear: the constructor failed: TypeError"),
    ],
)
def test_a_model_that_cannot_be_says_where_and_what(target: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        archlab.load(target)


def test_a_forward_that_fails_names_the_module_and_keeps_what_ran(source: str, run: Run) -> None:
    with pytest.raises(TraceError, match="Fails: the forward failed in second") as failed:
        archlab.load(f"{source}:Fails@1x3x10x10")
    assert isinstance(failed.value.partial, archlab.Graph)
    assert archlab.profile(failed.value.partial).total.macs == 64 * 8 * 27
    ended = run("profile", f"{source}:Fails@1x3x10x10")
    assert ended.code == 3
    assert "first" in ended.out
    assert ended.err.startswith("error: Fails: the forward failed in second")


def test_a_model_is_profiled_with_its_inputs() -> None:
    model = torch.nn.Linear(16, 8)
    assert archlab.profile(model, torch.zeros(4, 16)).total.macs == 4 * 16 * 8
    assert archlab.profile(model, archlab.TensorSpec((4, 16))).total.macs == 4 * 16 * 8
    assert archlab.profile(model, inputs=((torch.zeros(4, 16),), {})).total.macs == 4 * 16 * 8
    assert archlab.profile(lambda x: x @ x.T, torch.zeros(4, 16)).total.macs == 4 * 16 * 4
    with pytest.raises(UsageError, match="only a model takes inputs"):
        archlab.profile("naive", torch.zeros(1))
