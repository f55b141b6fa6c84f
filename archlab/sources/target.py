"""Targets: `SOURCE[+ABLATION…][@INPUT]` texts, and the graphs they name."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archlab.errors import ReadError, ShapeError, UsageError, nearest
from archlab.ir import ITEM_BYTES, Graph, TensorSpec
from archlab.transform import select
from archlab.zoo import ablations, catalog

_SIZES = re.compile(r"[1-9][0-9]{0,17}(x[1-9][0-9]{0,17})*")
_SHAPE_HELP = "write 1x3x256x256, or 256x192 or 256 for an image's sides"
_READABLE = (".json",)


@dataclass(frozen=True)
class Target:
    """A target's parts: where the graph comes from, the ablations in order, the input text if any."""

    source: str
    ablations: tuple[str, ...] = ()
    input: str = ""


def parse(text: str) -> Target:
    """Return a target's parts; an existing file wins whole. Raise `UsageError` for a malformed text."""
    if os.path.isfile(text):
        return Target(text)
    body, at, size = text.rpartition("@")
    if not at:
        body, size = text, ""
    elif not _SIZES.fullmatch(size):
        raise UsageError(f"target {text!r}: {size!r} is no input size; {_SHAPE_HELP}")
    parts = body.split("+")
    for end in range(len(parts), 1, -1):
        if os.path.isfile(joined := "+".join(parts[:end])):
            parts[:end] = [joined]
            break
    if not all(parts):
        raise UsageError(f"target {text!r}: a target is SOURCE[+ABLATION…][@INPUT], such as googlenet+naive@256")
    return Target(parts[0], tuple(parts[1:]), size)


def load(
    text: str, inputs: Iterable[str] = (), arguments: Mapping[str, Any] | None = None, mode: str = "training"
) -> Graph:
    """Return the graph that a target names, its ablations applied, for the inputs asked for.

    `inputs` are texts ``[name=]SHAPE[:dtype]``; `arguments` go to the architecture's constructor. For
    inference, an input that is too small for the train-only heads alone leaves them out. Raises
    `UsageError` for what cannot be asked, `ReadError`, `GraphError` or `ShapeError` for what cannot
    be read or built.
    """
    target = parse(text)
    graph = _source(target.source, arguments or {})
    for name in target.ablations:
        graph = ablations.apply(graph, name)
    given = [("@", target.input)] if target.input else []
    for option, size in [*given, *(("--input ", size) for size in inputs)]:
        graph = _resize(graph, _resized(graph, size, option), mode)
    return graph.named(text)


def _resize(graph: Graph, inputs: Mapping[str, TensorSpec], mode: str) -> Graph:
    try:
        return graph.with_inputs(inputs)
    except ShapeError:
        heads = select(graph, where=lambda _, node: node.train_only)
        if mode == "training" or not heads:
            raise
        return heads.drop().with_inputs(inputs)


def _source(source: str, arguments: Mapping[str, Any]) -> Graph:
    path = Path(source)
    if not path.is_file() and path.suffix not in _READABLE:
        if source not in catalog.ARCHITECTURES and ("/" in source or path.suffix):
            raise ReadError(f"{source}: no such file, nor an architecture of the zoo (see: archlab list)")
        return catalog.build(source, arguments)
    if arguments:
        raise UsageError(f"{source}: a graph file takes no constructor arguments")
    if path.suffix not in _READABLE:
        raise ReadError(f"{source}: not a kind of file that archlab reads ({', '.join(_READABLE)})")
    from archlab.sources.json import read_file

    return read_file(path)


def _resized(graph: Graph, given: str, option: str) -> Mapping[str, TensorSpec]:
    """Return the input that a text ``[name=]SHAPE[:dtype]`` asks for."""
    name, named, rest = given.rpartition("=")
    size, _, dtype = rest.partition(":")
    if not _SIZES.fullmatch(size):
        raise UsageError(f"{option}{given}: {size!r} is no shape; {_SHAPE_HELP}")
    if dtype and dtype not in ITEM_BYTES:
        raise UsageError(f"{option}{given}: unknown dtype {dtype!r}{nearest(dtype, ITEM_BYTES)}")
    if not named:
        if len(graph.inputs) != 1:
            raise UsageError(
                f"{option}{given}: {graph.name} has the inputs {', '.join(graph.inputs)}; name one: NAME={rest}"
            )
        name = next(iter(graph.inputs))
    old = graph.inputs.get(name)
    shape = tuple(map(int, size.split("x")))
    if old is not None and len(old.shape) == 4 and len(shape) < 3:
        shape = (*old.shape[:2], shape[0], shape[-1])
    elif option == "@" and len(shape) < 3:
        raise UsageError(f"{option}{given}: {graph.name} does not read an image; give the whole shape")
    return {name: TensorSpec(shape, dtype or (old.dtype if old else "float32"))}
