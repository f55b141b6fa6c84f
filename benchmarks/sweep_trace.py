"""Trace many architectures without weights and say which are complete, uncounted or failed.

python benchmarks/sweep_trace.py timm [EVERY]           every EVERY-th architecture of timm (default 40)
python benchmarks/sweep_trace.py transformers [NAMES]   causal language models, configured small
"""

from __future__ import annotations

import logging
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from archlab.errors import TraceError
from archlab.ir import TensorSpec
from archlab.ops import Unknown
from archlab.profiles import profile_graph
from archlab.pytorch.trace import trace

Build = Callable[[], tuple[nn.Module, tuple[Any, ...], dict[str, Any]]]

SMALL = {
    "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "intermediate_size": 128,
    "vocab_size": 200, "max_position_embeddings": 64, "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 64,
    "d_model": 64, "num_layers": 2, "num_heads": 4, "head_dim": 16, "n_layers": 2, "n_heads": 4,
}  # fmt: skip


def on_meta(make: Callable[[], nn.Module]) -> nn.Module:
    try:
        with torch.device("meta"):
            return make().eval()
    except (RuntimeError, NotImplementedError, ValueError, TypeError):
        return make().to("meta").eval()


def of_timm(every: int) -> Iterator[tuple[str, Build]]:
    import timm

    for name in timm.list_models()[::every]:

        def build(name: str = name) -> Any:
            model = on_meta(lambda: timm.create_model(name, pretrained=False))
            size = model.pretrained_cfg.get("input_size", (3, 224, 224))
            return model, (TensorSpec((1, *size)),), {}

        yield name, build


def of_transformers(names: list[str]) -> Iterator[tuple[str, Build]]:
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    for name in names or list(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES):

        def build(name: str = name) -> Any:
            config = AutoConfig.for_model(name)
            for key, value in SMALL.items():
                if key in config.to_dict():
                    setattr(config, key, value)
            model = on_meta(lambda: AutoModelForCausalLM.from_config(config))
            return model, (), {"input_ids": torch.zeros(1, 16, dtype=torch.int64), "use_cache": False}

        def default(name: str = name) -> Any:
            config = AutoConfig.for_model(name)
            model = on_meta(lambda: AutoModelForCausalLM.from_config(config))
            return model, (), {"input_ids": torch.zeros(1, 16, dtype=torch.int64), "use_cache": False}

        yield name, default if "--default" in sys.argv else build


def sweep(models: Iterator[tuple[str, Build]]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for name, build in models:
        start = time.perf_counter()
        try:
            model, args, kwargs = build()
        except Exception as error:
            counts["not built"] += 1
            print(f"NOT BUILT {name}: {type(error).__name__}: {str(error)[:160]!r}", flush=True)
            continue
        middle = time.perf_counter()
        try:
            graph = trace(model, *args, **kwargs)
            profile = profile_graph(graph)
        except TraceError as error:
            try:  # does it run in torch itself?
                tensors = [torch.zeros(a.shape, device="meta") for a in args]
                with torch.no_grad():
                    model(
                        *tensors, **{k: v.to("meta") if isinstance(v, torch.Tensor) else v for k, v in kwargs.items()}
                    )
                ran = "runs on meta"
            except Exception as other:
                ran = f"torch on meta: {type(other).__name__}"
            counts["failed"] += 1
            print(f"FAILED {name}: {str(error)[:300]!r} [{ran}]", flush=True)
            continue
        except Exception as error:
            counts["broken"] += 1
            print(f"BROKEN {name}: {type(error).__name__}: {str(error)[:300]!r}", flush=True)
            continue
        listed = Counter(node.op.function for node in graph.nodes if isinstance(node.op, Unknown))
        counts["uncounted" if listed else "complete"] += 1
        if listed:
            print(f"UNCOUNTED {name}: {dict(listed)}", flush=True)
        elif "-v" in sys.argv:
            took = time.perf_counter() - middle
            print(
                f"{name}: {profile.total.macs:,} MACs, built {middle - start:.2f} s, traced {took:.2f} s", flush=True
            )
    return counts


def main() -> None:
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    if words[:1] == ["timm"]:
        print(dict(sweep(of_timm(int(words[1]) if len(words) > 1 else 40))))
    elif words[:1] == ["transformers"]:
        print(dict(sweep(of_transformers(words[1:]))))
    else:
        raise SystemExit(__doc__)


if __name__ == "__main__":
    main()
