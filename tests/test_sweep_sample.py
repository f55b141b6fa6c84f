"""A sample of the sweeps in `benchmarks/`, one architecture of each kind, held against what torch itself counts.

The whole sweeps, over every architecture of timm and every causal language model of transformers, are in
`benchmarks/results/`.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from archlab.profiles import profile_graph
from archlab.pytorch.models import timm_model
from archlab.pytorch.trace import trace

pytest.importorskip("timm", reason="the library whose models are traced")
pytest.importorskip("transformers", reason="the library whose models are traced")

pytestmark = pytest.mark.filterwarnings("ignore")

TIMM = [
    "beit_base_patch16_224", "coatnet_0_rw_224", "convmixer_768_32", "convnext_atto", "davit_tiny",
    "deit_tiny_patch16_224",
    "dpn68", "edgenext_xx_small", "efficientnet_b0", "ghostnet_100", "hrnet_w18_small", "levit_128s", "mixer_s32_224",
    "mobilevit_xxs", "mobilevitv2_050", "nfnet_l0", "poolformer_s12", "regnetz_005", "resmlp_12_224", "rexnet_100",
    "swin_tiny_patch4_window7_224", "tresnet_m", "vgg11_bn", "xcit_nano_12_p16_224",
]  # fmt: skip
"""Convolutional, attending, mixing, mobile and normalizer-free, each at its own input."""

FAMILIES = [
    "bert", "bloom", "deepseek_v3", "falcon_h1", "gemma3_text", "gpt2", "gpt_neox", "jamba", "llama", "mamba",
    "mixtral",
    "opt", "qwen3_next", "rwkv", "whisper", "xlnet",
]  # fmt: skip
"""Decoders, state spaces, mixtures of experts, and encoders that decode."""


def benchmark(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parents[1] / "benchmarks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", TIMM)
def test_a_model_of_timm_is_complete_and_has_the_macs_that_torch_counts(name: str) -> None:
    model, (args, _) = timm_model(name, {})
    profile = profile_graph(trace(model, *args))
    assert (profile.uncounted, profile.assumed) == ({}, {})
    counts = profile.parameters
    assert counts["read"] + counts["unused"] == sum(p.numel() for p in model.parameters())
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.eval()(*[torch.empty(x.shape, device="meta") for x in args])
    assert 2 * profile.total.macs == counter.get_total_flops()


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_of_transformers_counts_the_same_on_the_cpu_on_meta_and_when_it_runs(name: str) -> None:
    row = benchmark("sweep_trace").compared(name)
    assert row["status"] == "same", row
