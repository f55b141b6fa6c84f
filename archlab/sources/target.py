"""Targets: `SOURCE[+ABLATION…][@INPUT]` texts, and the graphs they name."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archlab.errors import ReadError, ShapeError, UsageError, nearest
from archlab.ir import ITEM_BYTES, Graph, TensorSpec
from archlab.ir.batch import rebatched, with_batch
from archlab.transform import select
from archlab.zoo import ablations, catalog

_SIZES = re.compile(r"[1-9][0-9]{0,17}(x[1-9][0-9]{0,17})*")
_SHAPE_HELP = "write 1x3x256x256, or 256x192 or 256 for an image's sides"


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
    text: str, inputs: Iterable[str] = (), arguments: Mapping[str, Any] | None = None, mode: str | None = None
) -> Graph:
    """Return the graph that a target names, its ablations applied, for the inputs asked for.

    `inputs` are texts ``[name=]SHAPE[:dtype]``; `arguments` go to the constructor. A model is traced as
    it runs in `mode` (inference if None); an architecture keeps its train-only heads, unless the mode
    is inference and an input is too small for them. Raises `UsageError` for what cannot be asked,
    `ReadError`, `GraphError`, `ShapeError` or `TraceError` for what cannot be read, built or traced.
    """
    target = parse(text)
    asked: Sequence[Asked] = [_asked("@", target.input)] if target.input else []
    asked = [*asked, *(_asked("--input ", given) for given in inputs)]
    if names_model(target.source):
        from archlab.sources.models import load_model

        graph = load_model(target.source, asked, arguments or {}, mode or "inference")
        asked = ()
    else:
        graph, asked = _source(target.source, asked, arguments or {}, mode)
    for name in target.ablations:
        graph = ablations.apply(graph, name)
    for each in asked:
        graph = _resize(graph, each.resolved(graph.inputs, graph.name), mode)
    return graph.named(text)


@dataclass(frozen=True)
class Model:
    """A model that can be built once more: its source and constructor arguments, and what it was traced with."""

    source: str
    arguments: Mapping[str, Any]
    args: tuple[TensorSpec, ...]
    kwargs: Mapping[str, TensorSpec]


def load_model(
    text: str, inputs: Iterable[str] = (), arguments: Mapping[str, Any] | None = None, mode: str = "inference"
) -> tuple[Graph, Model] | None:
    """Return the trace of a model as it is, and the model itself; None where a target names anything else.

    The arguments, and what is raised, are those of `load`.
    """
    target = parse(text)
    if not names_model(target.source) or target.ablations:
        return None
    from archlab.pytorch.trace import trace
    from archlab.sources.models import built

    asked = [_asked("@", target.input)] if target.input else []
    asked += [_asked("--input ", given) for given in inputs]
    model, args, kwargs = built(target.source, asked, arguments or {})
    graph = trace(model, mode=mode, inputs=(args, kwargs)).named(text)
    return graph, Model(target.source, arguments or {}, args, kwargs)


def rebatching(
    text: str, inputs: Iterable[str] = (), arguments: Mapping[str, Any] | None = None, mode: str = "inference"
) -> Callable[[int], Graph]:
    """Return what makes the graph of a target for another batch: a model is traced anew, any other graph resized.

    The arguments, and what is raised, are those of `load`; a batch is the first dimension of all inputs.
    """
    given, target = tuple(inputs), parse(text)
    if not names_model(target.source):
        return rebatched(load(text, given, arguments, mode))

    from archlab.pytorch.trace import trace
    from archlab.sources.models import built

    asked = [_asked("@", target.input)] if target.input else []
    asked += [_asked("--input ", each) for each in given]
    model, args, kwargs = built(target.source, asked, arguments or {})
    if not all(isinstance(spec, TensorSpec) for spec in (*args, *kwargs.values())):
        raise UsageError(f"{text}: its batch cannot be changed: it reads more than plain tensors")

    def make(batch: int) -> Graph:
        several = with_batch((*args, *kwargs.values()), batch, text)
        named = dict(zip(kwargs, several[len(args) :], strict=True))
        traced = trace(model, mode=mode, inputs=(tuple(several[: len(args)]), named))
        for name in target.ablations:
            traced = ablations.apply(traced, name)
        return traced.named(text)

    return make


def names_model(source: str) -> bool:
    """Return whether a source names a model, which is built and traced, rather than a file or the zoo."""
    return ":" in source and not os.path.isfile(source)


def _resize(graph: Graph, inputs: Mapping[str, TensorSpec], mode: str | None) -> Graph:
    try:
        return graph.with_inputs(inputs)
    except ShapeError:
        heads = select(graph, where=lambda _, node: node.train_only)
        if mode != "inference" or not heads:
            raise
        return heads.drop().with_inputs(inputs)


def _source(
    source: str, asked: Sequence[Asked], arguments: Mapping[str, Any], mode: str | None
) -> tuple[Graph, Sequence[Asked]]:
    """Return the graph of a file or of the zoo, and the inputs asked for that it is still to be given."""
    path = Path(source)
    if not path.is_file():
        if source not in catalog.ARCHITECTURES and ("/" in source or path.suffix):
            raise ReadError(f"{source}: no such file, nor an architecture of the zoo (see: archlab list)")
        return catalog.build(source, arguments), asked
    if arguments:
        raise UsageError(f"{source}: a graph file takes no constructor arguments")
    from archlab.sources.readers import read

    return read(path, asked, mode)


@dataclass(frozen=True)
class Asked:
    """An input that was asked for: the option it came by, its text, and the text's parts."""

    option: str
    text: str
    name: str
    shape: tuple[int, ...]
    dtype: str

    def spec(self, old: TensorSpec | None, where: str, rank: int = 4) -> TensorSpec:
        """Return it as a tensor in place of `old`: one side or two resize an image, which has that `rank`."""
        shape = self.shape
        if old is not None and len(old.shape) == rank and len(shape) < 3:
            shape = (*old.shape[:-2], shape[0], shape[-1])
        elif self.option == "@" and len(shape) < 3:
            raise UsageError(f"{self.option}{self.text}: {where} does not read an image; give the whole shape")
        return TensorSpec(shape, self.dtype or (old.dtype if old else "float32"))

    def resolved(self, known: Mapping[str, TensorSpec], where: str) -> Mapping[str, TensorSpec]:
        """Return it by the name of an input of a graph; without a name it is the only one."""
        name = self.name
        if not name:
            if len(known) != 1:
                inputs = ", ".join(known)
                raise UsageError(
                    f"{self.option}{self.text}: {where} has the inputs {inputs}; name one: NAME={self.text}"
                )
            name = next(iter(known))
        return {name: self.spec(known.get(name), where)}


def _asked(option: str, text: str) -> Asked:
    """Return the parts of a text ``[name=]SHAPE[:dtype]``."""
    name, _, rest = text.rpartition("=")
    size, _, dtype = rest.partition(":")
    if not _SIZES.fullmatch(size):
        raise UsageError(f"{option}{text}: {size!r} is no shape; {_SHAPE_HELP}")
    if dtype and dtype not in ITEM_BYTES:
        raise UsageError(f"{option}{text}: unknown dtype {dtype!r}{nearest(dtype, ITEM_BYTES)}")
    return Asked(option, text, name, tuple(map(int, size.split("x"))), dtype)
