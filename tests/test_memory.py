"""Peak memory, derived by hand at 4 bytes an element. `test_lower.py` measures it."""

from __future__ import annotations

from chains import chain

import archlab
from archlab.analyses.memory import live_memory, peak_memory
from archlab.ir import Builder, Graph, Ref
from archlab.ops import (
    Concat,
    Conv2d,
    Dropout,
    Flatten,
    Input,
    Linear,
)


def test_a_layer_holds_its_input_and_its_output() -> None:
    # input 2·64 is the caller's to the end; 5·64 is freed after conv 1 has read it, 3·64 is the result.
    graph = chain(Conv2d(5, 1), Conv2d(3, 1), shape=(1, 2, 8, 8))
    peak = peak_memory(graph)
    assert (peak.bytes, peak.node) == (4 * 64 * (2 + 5 + 3), "1")
    assert dict(peak.alive) == {"0": 4 * 64 * 5, "1": 4 * 64 * 3, "input": 4 * 64 * 2}


def test_a_tensor_is_freed_after_its_last_reader() -> None:
    # At node 2: the input 1, its input 4 and its output 2; what node 0 made (8) is gone.
    graph = chain(Conv2d(8, 1), Conv2d(4, 1), Conv2d(2, 1), shape=(1, 1, 8, 8))
    assert (peak_memory(graph).bytes, peak_memory(graph).node) == (4 * 64 * (1 + 8 + 4), "1")


def branching(first: str) -> Graph:
    """Two branches off one tensor, the wide one written first or last."""
    b = Builder("branches")
    x = b.add("stem", Conv2d(2, 1), b.add("input", Input((1, 1, 8, 8))))
    ends: dict[str, Ref] = {}
    for name in [first, *({"wide", "narrow"} - {first})]:
        y = b.add(f"{name}/in", Conv2d(16 if name == "wide" else 2, 1), x)
        ends[name] = b.add(f"{name}/out", Conv2d(8 if name == "narrow" else 1, 1), y)
    return b.build(b.add("concat", Concat(), ends["wide"], ends["narrow"]))


def test_the_order_of_branches_changes_the_peak() -> None:
    # Wide first, at wide/out: input 1, stem 2, its input 16, its output 1. Narrow first, there: what the
    # narrow branch made (8) waits, but nobody needs the stem any more.
    assert peak_memory(branching("wide")).bytes == 4 * 64 * (1 + 2 + 16 + 1)
    assert peak_memory(branching("narrow")).bytes == 4 * 64 * max(1 + 2 + 8 + 16, 1 + 8 + 16 + 1)


def test_views_add_nothing_and_keep_their_base_alive() -> None:
    # dropout and flatten hand the convolution's 4·64 on; the linear layer adds its 10.
    graph = chain(Conv2d(4, 1), Dropout(), Flatten(), Linear(10), shape=(1, 2, 8, 8))
    assert peak_memory(graph).bytes == 4 * (64 * (2 + 4) + 10)


def test_outputs_stay_to_the_end() -> None:
    b = Builder("two outputs")
    early = b.add("early", Conv2d(9, 1), b.add("input", Input((1, 1, 8, 8))))
    late = b.add("late", Conv2d(3, 1), b.add("middle", Conv2d(2, 1), early))
    assert peak_memory(b.build(early, late)).bytes == 4 * 64 * (1 + 9 + 2 + 3)


def test_what_is_alive_as_each_layer_returns() -> None:
    """480·14·14 input elements, 16·14·14 behind the reduction and 48·14·14 at the end, 4 bytes each."""
    given, between, end = (4 * channels * 14 * 14 for channels in (480, 16, 48))
    live = live_memory(archlab.load("reduced"))
    assert live == {"input": given, "5x5_reduce": given + between, "5x5": given + between + end}


def test_the_most_that_is_alive_is_the_peak() -> None:
    for name in ("googlenet", "vgg11", "nin"):
        graph = archlab.load(name)
        assert max(live_memory(graph).values()) == peak_memory(graph).bytes
        traced = archlab.trace(archlab.lower(graph), *graph.inputs.values())
        assert max(live_memory(traced).values()) == peak_memory(traced).bytes
