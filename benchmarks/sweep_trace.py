"""Trace whole model libraries without weights, and say of each architecture how it went.

python benchmarks/sweep_trace.py timm [NAMES] [--part I/N]          every architecture of timm
python benchmarks/sweep_trace.py transformers [NAMES] [--part I/N]  every causal language model, as it is configured
python benchmarks/sweep_trace.py tiny [NAMES] [--part I/N]          the same, small: on meta, on the CPU, run for real

Each writes a JSON line a model; `render_sweep.py` makes a report of them.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from archlab.ir import TensorSpec
from archlab.profiles import Profile, profile_graph
from archlab.pytorch.models import _built, transformers_model
from archlab.pytorch.trace import trace

Row = dict[str, Any]
TOKENS = 16
LARGEST = 200_000_000
"""A model with more parameters is not run for real."""
FEW_LAYERS = {
    "num_hidden_layers": 2, "n_layer": 2, "num_layers": 2, "n_layers": 2, "encoder_layers": 2, "decoder_layers": 2,
    "num_decoder_layers": 2, "num_encoder_layers": 2, "num_experts": 8, "num_local_experts": 8, "n_routed_experts": 8,
    "moe_intermediate_size": 64, "num_blocks": 2,
}  # fmt: skip
FEW_WORDS = {"vocab_size": 200, "max_position_embeddings": 512, "n_positions": 512}
NARROW = {
    "hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 128, "n_embd": 64,
    "n_head": 4, "d_model": 64, "num_heads": 4, "head_dim": 16, "n_heads": 4, "encoder_ffn_dim": 128,
    "decoder_ffn_dim": 128, "encoder_attention_heads": 4, "decoder_attention_heads": 4, "ffn_dim": 128,
    "num_experts_per_tok": 2,
}  # fmt: skip
MIDDLE = {
    "hidden_size": 512, "intermediate_size": 256, "n_embd": 1024, "num_heads": 16, "mamba_n_heads": 16,
    "n_mamba_heads": 16, "ffn_hidden_size": 256, "expert_ffn_hidden_size": 64, "n_inner": 256, "embedding_dim": 512,
    "vocab_size_per_layer_input": 200, "mamba_expand": 2, "encoder_hash_byte_group_vocab": 200,
}  # fmt: skip
SIZES = (*(FEW_LAYERS | FEW_WORDS | more for more in (NARROW, MIDDLE, {})), FEW_LAYERS)
"""What makes a configuration small, of the entries that it has; the first that torch can run is taken."""


def timm_models() -> Iterator[tuple[str, Callable[[], Row]]]:
    import timm

    for name in timm.list_models():
        yield name, lambda name=name: traced(*of_timm(name))


def of_timm(name: str) -> tuple[Callable[[], nn.Module], tuple[Any, ...], dict[str, Any]]:
    import timm

    config = timm.models.get_pretrained_cfg(name)
    size = config.input_size if config is not None else (3, 224, 224)
    return (lambda: timm.create_model(name, pretrained=False)), (TensorSpec((1, *size)),), {}


UNKNOWN = ("grouped_mm", "solve_triangular")
"""What torch's counter has no formula for."""


def families() -> list[str]:
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    return list(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)


def default_models() -> Iterator[tuple[str, Callable[[], Row]]]:
    for name in families():
        yield name, lambda name=name: traced(lambda: transformers_model(name, {})[0], (), tokens())


def tokens() -> dict[str, Any]:
    return {"input_ids": torch.arange(TOKENS).reshape(1, TOKENS) + 3, "use_cache": False}


def tiny_models() -> Iterator[tuple[str, Callable[[], Row]]]:
    for name in families():
        yield name, lambda name=name: compared(name)


def small(name: str, sizes: dict[str, int]) -> Any:
    """Return a family's configuration with some of its sizes changed; raise what transformers does."""
    from transformers import AutoConfig

    config = AutoConfig.for_model(name)
    shrink(config, sizes)
    return config


def shrink(config: Any, sizes: dict[str, int]) -> None:
    """Make a configuration small, and the configurations inside it."""
    for key, value in dict(vars(config)).items():
        if hasattr(value, "to_dict"):
            shrink(value, sizes)
        elif key in sizes and type(value) is int:
            setattr(config, key, sizes[key])
    kinds = getattr(config, "layer_types", None)
    if isinstance(kinds, list) and len(kinds) > 2:
        config.layer_types = [kinds[0], kinds[-1]]
    padding, words = getattr(config, "pad_token_id", None), getattr(config, "vocab_size", None)
    if type(padding) is int and type(words) is int and padding >= words:
        config.pad_token_id = 0


def compared(name: str) -> Row:
    """Return counts of one family on meta and on the CPU, and half of what torch's counter finds when it runs."""
    from transformers import AutoModelForCausalLM

    row: Row = {}
    for sizes in SIZES:

        def build(sizes: dict[str, int] = sizes) -> nn.Module:
            return AutoModelForCausalLM.from_config(small(name, sizes), attn_implementation="eager")

        row = ran(build)
        if "torch" in row:
            break
    else:
        return row
    torch.manual_seed(0)
    on_cpu, on_meta = traced(build, (), tokens(), real=True), traced(build, (), tokens())
    row |= {"cpu": on_cpu, "meta": on_meta}
    if "macs" not in on_cpu or "macs" not in on_meta:
        return {**row, "status": "failed", "error": on_cpu.get("error") or on_meta.get("error")}
    same = all(on_cpu[key] == on_meta[key] for key in ("macs", "flops", "params"))
    row["status"] = (
        "differs"
        if not same
        else "same"
        if row["torch"] == on_cpu["macs"] - on_cpu["beyond"]
        else "torch counts otherwise"
    )
    return row


def ran(build: Callable[[], nn.Module]) -> Row:
    """Return half of what torch's counter finds in a model that runs on the CPU, if it is small and runs."""
    row: Row = {}
    try:
        with torch.device("meta"):
            row["elements"] = sum(p.numel() for p in build().parameters())
        if row["elements"] > LARGEST:
            return {**row, "status": "not small"}
        real = build().eval()
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            real(**tokens())
    except Exception as error:
        return {"status": "torch fails", "error": said(error)}
    return {**row, "torch": counter.get_total_flops() // 2}


def traced(build: Callable[[], nn.Module], args: tuple[Any, ...], kwargs: dict[str, Any], real: bool = False) -> Row:
    """Return how a model is built and traced, and its counts; where that fails, whether torch itself can run it."""
    start = time.perf_counter()
    try:
        model = build().eval() if real else _built(build, "model")
    except Exception as error:
        return {"status": "not built", "error": said(error), "alone": alone(build)}
    middle = time.perf_counter()
    try:
        profile = profile_graph(trace(model, *args, **kwargs))
    except Exception as error:
        return {"status": "failed", "error": said(error), "alone": runs(model, args, kwargs)}
    return {**counts(profile), "built": round(middle - start, 3), "traced": round(time.perf_counter() - middle, 3)}


def counts(profile: Profile) -> Row:
    status = "uncounted" if profile.uncounted else "assumed" if profile.assumed else "complete"
    total = profile.total
    beyond = sum(layer.cost.macs for layer in profile.layers if getattr(layer.node.op, "function", "") in UNKNOWN)
    found: Row = {
        "beyond": beyond,
        "status": status,
        "macs": total.macs,
        "flops": total.flops,
        "params": total.params,
    }
    return found | {"uncounted": dict(profile.uncounted), "assumed": dict(profile.assumed)}


def alone(build: Callable[[], nn.Module]) -> str:
    """Return whether the constructor works by itself, with nothing of ours around it."""
    try:
        build()
    except Exception as error:
        return f"the constructor fails by itself: {said(error)}"
    return "the constructor works by itself"


def runs(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """Return whether torch runs a model on meta."""

    def on_meta(value: Any) -> Any:
        if isinstance(value, TensorSpec):
            return torch.zeros(value.shape, device="meta")
        return value.to("meta") if isinstance(value, Tensor) else value

    try:
        with torch.no_grad():
            model.eval()(*map(on_meta, args), **{k: on_meta(v) for k, v in kwargs.items()})
    except Exception as error:
        return f"torch on meta: {said(error)}"
    return "torch runs it on meta"


def said(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:240]


MODELS = {"timm": timm_models, "transformers": default_models, "tiny": tiny_models}


def main() -> None:
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    words = sys.argv[1:]
    part, parts = 0, 1
    if "--part" in words:
        at = words.index("--part")
        part, parts = map(int, words[at + 1].split("/"))
        del words[at : at + 2]
    if not words or words[0] not in MODELS:
        raise SystemExit(__doc__)
    chosen = [item for item in MODELS[words[0]]() if not words[1:] or item[0] in words[1:]]
    for name, run in chosen[part::parts]:
        print(json.dumps({"name": name, **run()}), flush=True)


if __name__ == "__main__":
    main()
