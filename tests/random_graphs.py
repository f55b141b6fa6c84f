"""Random graphs: convolutions, pools, norms, sums and concatenations, some tied, some in training alone."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from archlab.errors import ShapeError
from archlab.ir import Graph, Node, Op, Ref, TensorSpec
from archlab.ops import Add, AvgPool2d, BatchNorm, Concat, Conv2d, Dropout, Input, MaxPool2d, ReLU

NAMES = ("conv", "double", "weight", "pool", "forward", "a b")
"""Parts of paths, among them names that attributes of a module already have."""


@st.composite
def windows(draw: Any) -> Op:
    """A convolution or a pool, with different axes."""
    kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    stride = draw(st.sampled_from([1, 1, 1, 2, (1, 2)]))
    dilation = draw(st.sampled_from([1, 1, 2]))
    padding: Any = draw(st.sampled_from(["same_upper", 0, (kernel[0] // 2, kernel[1] // 2)]))
    kind = draw(st.sampled_from([Conv2d, Conv2d, MaxPool2d, AvgPool2d]))
    if kind is Conv2d:
        return Conv2d(draw(st.sampled_from([2, 4])), kernel, stride, padding, dilation, bias=draw(st.booleans()))
    if kind is MaxPool2d:
        return MaxPool2d(kernel, stride, padding, draw(st.booleans()), dilation)
    return AvgPool2d(kernel, stride, 0 if padding == "same_upper" else padding)


@st.composite
def graphs(draw: Any, batch: int = 2) -> Graph:
    """Graphs of up to a dozen nodes over one or two images; of the layers that nothing reads some are outputs."""
    shape = (batch, 2, draw(st.integers(8, 14)), draw(st.integers(8, 14)))
    nodes = [Node(f"image{i}", Input(shape)) for i in range(draw(st.integers(1, 2)))]
    made: dict[Ref, TensorSpec] = {(node.name, 0): TensorSpec(shape) for node in nodes}
    for _ in range(draw(st.integers(1, 10))):
        a = draw(st.sampled_from(list(made)))
        kind = draw(st.sampled_from(["window", "window", "window", "point", "add", "concat", "again"]))
        inputs, weights = [a], {}
        op: Op = draw(windows())
        if kind == "point":
            op = draw(st.sampled_from([ReLU(), BatchNorm(), BatchNorm(scale=False), Dropout()]))
        elif kind in ("add", "concat"):
            joins = [b for b, spec in made.items() if _fit(kind, spec.shape, made[a].shape)]
            inputs, op = [a, draw(st.sampled_from(joins))], Add() if kind == "add" else Concat()
        elif kind == "again":
            twins = [n for n in nodes if isinstance(n.op, Conv2d) and made[n.inputs[0]].shape[1] == made[a].shape[1]]
            if twins:
                twin = draw(st.sampled_from(twins))
                op, weights = twin.op, {"weight": twin.key("weight")}
        try:
            spec = op.infer(*(made[ref] for ref in inputs))
        except ShapeError:
            continue
        node = Node(draw(_paths([n.name for n in nodes])), op, tuple(inputs), weights)
        assert isinstance(spec, TensorSpec)
        nodes.append(node)
        made[node.name, 0] = spec
    read = {ref for node in nodes for ref in node.inputs}
    unread = [ref for ref in made if ref not in read]
    ends = unread[draw(st.integers(0, len(unread) - 1)) :]
    if draw(st.booleans()):
        tap = draw(st.sampled_from(list(made)))
        nodes.append(Node("head/conv", Conv2d(3, 1), (tap,), train_only=True))
        ends.append(("head/conv", 0))
    return Graph("random", tuple(nodes), tuple(ends))


def _fit(kind: str, a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    return a == b if kind == "add" else a[2:] == b[2:]


def _paths(taken: list[str]) -> st.SearchStrategy[str]:
    """Paths that are new, some of them below another node's own."""
    parents = st.sampled_from(["", *taken])
    paths = st.tuples(parents, st.sampled_from(NAMES)).map(lambda parts: "/".join(filter(None, parts)))
    return paths.map(lambda path: path if path not in taken else f"{path}#{len(taken)}")
