"""Attention counts the same whichever kernel runs it, and a model of any size is traced without its weights."""

from __future__ import annotations

import pytest
import torch

import archlab
from archlab import TensorSpec

IMAGE = TensorSpec((1, 3, 224, 224))
TOKENS, WIDTH, HEADS, DEPTH, HIDDEN = 197, 768, 12, 12, 3072
VIT_B_16 = (
    196 * WIDTH * 3 * 16 * 16  # patches
    + DEPTH
    * (
        TOKENS * WIDTH * 3 * WIDTH  # queries, keys, values
        + 2 * HEADS * TOKENS * TOKENS * (WIDTH // HEADS)  # scores, and their products with the values
        + TOKENS * WIDTH * WIDTH
        + 2 * TOKENS * WIDTH * HIDDEN
    )
    + WIDTH * 1000
)


def test_vit_b_16_takes_17_56_gmacs() -> None:
    pytest.importorskip("torchvision", reason="torchvision is not installed")
    assert archlab.profile("torchvision:vit_b_16").total.macs == VIT_B_16 == 17_563_828_224


@pytest.mark.parametrize("fused", [True, False])
def test_attention_of_timm_counts_the_same_fused_or_not(fused: bool) -> None:
    timm = pytest.importorskip("timm", reason="timm is not installed")
    with torch.device("meta"):
        model = timm.create_model("vit_base_patch16_224")
    for block in model.blocks:
        block.attn.fused_attn = fused
    assert archlab.profile(model, IMAGE).total.macs == VIT_B_16


@pytest.mark.parametrize("kernel", ["eager", "sdpa"])
def test_attention_of_transformers_counts_the_same_by_any_kernel(kernel: str) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    config = transformers.ViTConfig(num_labels=1000, attn_implementation=kernel)
    with torch.device("meta"):
        model = transformers.ViTForImageClassification(config)
    assert archlab.profile(model, pixel_values=IMAGE).total.macs == VIT_B_16


def test_a_llama_of_405_billion_parameters_is_counted_without_them() -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    length, width, layers, heads, shared, hidden, words = 8192, 16384, 126, 128, 8, 53248, 128256
    config = transformers.LlamaConfig(
        hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads, num_key_value_heads=shared,
        intermediate_size=hidden, vocab_size=words, max_position_embeddings=131072,
    )  # fmt: skip
    with torch.device("meta"):
        model = transformers.LlamaForCausalLM(config)
    head = width // heads
    layer = (
        2 * length * width * width  # queries and the output
        + 2 * length * width * shared * head  # keys and values
        + 2 * heads * length * length * head
        + 3 * length * width * hidden
    )
    macs = layers * layer + length * width * words
    profile = archlab.profile(model, input_ids=TensorSpec((1, length), "int64"), use_cache=False)
    assert profile.total.macs == macs == 3_584_579_705_241_600
    assert profile.uncounted == {}
