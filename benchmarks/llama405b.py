"""A 405-billion-parameter Llama built and traced at 8,192 tokens: `python benchmarks/llama405b.py`.

In a fresh process, prints the seconds of imports, of building it without weights and of tracing it, its
counts, and the largest memory of the process. Bars: built and traced in under 2 s after imports, under
1.2 GB. Seconds of the processor say what the machine would take that does nothing else.
"""

from __future__ import annotations

import argparse
import gc
import resource
import time

MACS = 3_584_579_705_241_600
"""Worked out by hand: see `expected`."""


def expected(tokens: int) -> int:
    """Return the MACs: projections, both products of attention in full, the gated MLP, and the head."""
    hidden, layers, heads, kept, inner, words = 16384, 126, 128, 8, 53248, 128256
    width = hidden // heads
    projections = hidden * hidden * 2 + hidden * kept * width * 2
    attention = 2 * tokens * heads * width
    return tokens * (layers * (projections + attention + 3 * hidden * inner) + hidden * words)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=8192, help="tokens of the one sequence (default 8192)")
    tokens = parser.parse_args().tokens
    start = time.perf_counter()
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    import archlab
    from archlab.pytorch.trace import trace  # what the first trace would import

    imported, worked = time.perf_counter(), time.process_time()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    config = LlamaConfig(
        hidden_size=16384,
        num_hidden_layers=126,
        num_attention_heads=128,
        num_key_value_heads=8,
        intermediate_size=53248,
        vocab_size=128256,
        max_position_embeddings=131072,
    )
    with torch.device("meta"):
        model = LlamaForCausalLM(config).eval()
    built = time.perf_counter()
    graph = trace(model, archlab.TensorSpec((1, tokens), "int64"), use_cache=False)
    traced, worked = time.perf_counter(), time.process_time() - worked
    profile = archlab.profile(graph)
    priced = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    gc.collect()
    right = profile.total.macs == expected(tokens) and (tokens != 8192 or expected(tokens) == MACS)
    print(f"{profile.total.macs:,} MACs ({'as worked out by hand' if right else f'EXPECTED {expected(tokens):,}'})")
    print(f"{profile.total.params:,} parameters, {len(graph.nodes):,} nodes, {len(graph.calls):,} module calls")
    print(
        f"imports {imported - start:.2f} s; built {built - imported:.2f} s, traced {traced - built:.2f} s", end="; "
    )
    print(f"together {traced - imported:.2f} s (bar 2 s), {worked:.2f} s of them the processor's; ", end="")
    print(f"priced {priced - traced:.2f} s")
    print(f"largest memory {peak * 1024 / 1e9:.2f} GB (bar 1.2 GB), {before * 1024 / 1e9:.2f} GB of it after imports")


if __name__ == "__main__":
    main()
