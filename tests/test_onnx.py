"""ONNX files: operators against the torch layers that they stand for, shapes, names, parameters, the command line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy
import onnx
import pytest
import torch
from conftest import Outcome
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from torch.nn import functional

import archlab
from archlab.errors import GraphError, ReadError, ShapeError, UsageError
from archlab.profiles import Profile, profile_graph
from archlab.sources.onnx import read_model

Arrays = dict[str, Any]


def model(
    nodes: Sequence[Any],
    inputs: dict[str, Sequence[Any]],
    outputs: Sequence[str],
    weights: Arrays | None = None,
    opset: int = 20,
    **more: Any,
) -> Any:
    """Return a model of nodes over floating inputs; of its outputs only the names are declared."""
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape)) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], **more)


def counted(made: Any) -> Profile:
    return profile_graph(read_model(made.SerializeToString(), "m.onnx"))


def ones(*shape: int) -> Any:
    return numpy.ones(shape, dtype="float32")


def whole(*numbers: int) -> Any:
    return numpy.array(numbers, dtype="int64")


def node(op: str, inputs: str, outputs: str = "y", **attributes: Any) -> Any:
    """Return a node; a dash stands for an input that is left out."""
    names = ["" if name == "-" else name for name in inputs.split()]
    return helper.make_node(op, names, outputs.split(), name=f"the_{op}", **attributes)


X = {"x": (1, 4, 9, 9)}
ROWS: dict[str, tuple[Any, Callable[[], Any], tuple[int, ...]]] = {
    "conv": (
        model(
            [node("Conv", "x w b", strides=[2, 2], pads=[1, 1, 1, 1])],
            X,
            ["y"],
            {"w": ones(6, 4, 3, 3), "b": ones(6)},
        ),
        lambda: nn.Conv2d(4, 6, 3, 2, 1),
        X["x"],
    ),
    "conv, grouped and dilated": (
        model([node("Conv", "x w", group=2, dilations=[2, 2])], X, ["y"], {"w": ones(6, 2, 3, 3)}),
        lambda: nn.Conv2d(4, 6, 3, dilation=2, groups=2, bias=False),
        X["x"],
    ),
    "conv over one axis": (
        model([node("Conv", "x w", auto_pad="SAME_UPPER")], {"x": (2, 4, 9)}, ["y"], {"w": ones(6, 4, 3)}),
        lambda: nn.Conv1d(4, 6, 3, padding="same", bias=False),
        (2, 4, 9),
    ),
    "conv over three axes": (
        model([node("Conv", "x w b")], {"x": (1, 2, 5, 5, 5)}, ["y"], {"w": ones(3, 2, 2, 2, 2), "b": ones(3)}),
        lambda: nn.Conv3d(2, 3, 2),
        (1, 2, 5, 5, 5),
    ),
    "transposed conv": (
        model(
            [node("ConvTranspose", "x w b", strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1], group=2)],
            X,
            ["y"],
            {"w": ones(4, 3, 3, 3), "b": ones(6)},
        ),
        lambda: nn.ConvTranspose2d(4, 6, 3, 2, 1, 1, groups=2),
        X["x"],
    ),
    "gemm": (
        model([node("Gemm", "x w b", transB=1)], {"x": (5, 8)}, ["y"], {"w": ones(3, 8), "b": ones(3)}),
        lambda: nn.Linear(8, 3),
        (5, 8),
    ),
    "gemm, the weight as it multiplies": (
        model([node("Gemm", "x w b")], {"x": (5, 8)}, ["y"], {"w": ones(8, 3), "b": ones(3)}),
        lambda: nn.Linear(8, 3),
        (5, 8),
    ),
    "matmul and add": (
        model(
            [node("MatMul", "x w", "z"), node("Add", "b z")], {"x": (2, 5, 8)}, ["y"], {"w": ones(8, 3), "b": ones(3)}
        ),
        lambda: nn.Linear(8, 3),
        (2, 5, 8),
    ),
    "transpose and matmul": (
        model([node("Transpose", "w", "t"), node("MatMul", "x t")], {"x": (2, 5, 8)}, ["y"], {"w": ones(3, 8)}),
        lambda: nn.Linear(8, 3, bias=False),
        (2, 5, 8),
    ),
    "batch norm": (
        model([node("BatchNormalization", "x s b m v")], X, ["y"], {n: ones(4) for n in ("s", "b", "m", "v")}),
        lambda: nn.BatchNorm2d(4),
        X["x"],
    ),
    "layer norm": (
        model([node("LayerNormalization", "x s b", axis=-1)], X, ["y"], {"s": ones(9), "b": ones(9)}),
        lambda: nn.LayerNorm(9),
        X["x"],
    ),
    "layer norm over two axes": (
        model([node("LayerNormalization", "x s b", axis=2)], X, ["y"], {"s": ones(9, 9), "b": ones(9, 9)}),
        lambda: nn.LayerNorm((9, 9)),
        X["x"],
    ),
    "RMS norm": (
        model([node("RMSNormalization", "x s", axis=-1)], X, ["y"], {"s": ones(9)}, 23),
        lambda: nn.RMSNorm(9),
        X["x"],
    ),
    "group norm": (
        model([node("GroupNormalization", "x s b", num_groups=2)], X, ["y"], {"s": ones(4), "b": ones(4)}, 21),
        lambda: nn.GroupNorm(2, 4),
        X["x"],
    ),
    "instance norm": (
        model([node("InstanceNormalization", "x s b")], X, ["y"], {"s": ones(4), "b": ones(4)}),
        lambda: nn.InstanceNorm2d(4, affine=True),
        X["x"],
    ),
    "local response norm": (
        model([node("LRN", "x", size=5)], X, ["y"]),
        lambda: nn.LocalResponseNorm(5),
        X["x"],
    ),
    "max pool": (
        model([node("MaxPool", "x", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1)], X, ["y"]),
        lambda: nn.MaxPool2d(3, 2, 1, ceil_mode=True),
        X["x"],
    ),
    "max pool over one axis": (
        model([node("MaxPool", "x", kernel_shape=[3], strides=[2])], {"x": (2, 4, 9)}, ["y"]),
        lambda: nn.MaxPool1d(3, 2),
        (2, 4, 9),
    ),
    "average pool": (
        model([node("AveragePool", "x", kernel_shape=[2, 3], strides=[2, 2])], X, ["y"]),
        lambda: nn.AvgPool2d((2, 3), 2),
        X["x"],
    ),
    "average pool over three axes": (
        model([node("AveragePool", "x", kernel_shape=[2, 2, 2])], {"x": (1, 2, 5, 5, 5)}, ["y"]),
        lambda: nn.AvgPool3d(2, 1),
        (1, 2, 5, 5, 5),
    ),
    "global average pool": (
        model([node("GlobalAveragePool", "x")], X, ["y"]),
        lambda: nn.AdaptiveAvgPool2d(1),
        X["x"],
    ),
    "relu": (model([node("Relu", "x")], X, ["y"]), nn.ReLU, X["x"]),
    "sigmoid": (model([node("Sigmoid", "x")], X, ["y"]), nn.Sigmoid, X["x"]),
    "tanh": (model([node("Tanh", "x")], X, ["y"]), nn.Tanh, X["x"]),
    "gelu": (model([node("Gelu", "x")], X, ["y"]), nn.GELU, X["x"]),
    "elu": (model([node("Elu", "x")], X, ["y"]), nn.ELU, X["x"]),
    "selu": (model([node("Selu", "x")], X, ["y"]), nn.SELU, X["x"]),
    "leaky relu": (model([node("LeakyRelu", "x")], X, ["y"]), nn.LeakyReLU, X["x"]),
    "softplus": (model([node("Softplus", "x")], X, ["y"]), nn.Softplus, X["x"]),
    "hard sigmoid": (model([node("HardSigmoid", "x")], X, ["y"]), nn.Hardsigmoid, X["x"]),
    "hard swish": (model([node("HardSwish", "x")], X, ["y"]), nn.Hardswish, X["x"]),
    "mish": (model([node("Mish", "x")], X, ["y"]), nn.Mish, X["x"]),
    "clip": (
        model([node("Clip", "x a b")], X, ["y"], {"a": numpy.float32(0), "b": numpy.float32(6)}),
        nn.ReLU6,
        X["x"],
    ),
    "prelu": (model([node("PRelu", "x s")], X, ["y"], {"s": ones(4, 1, 1)}), lambda: nn.PReLU(4), X["x"]),
    "softmax": (model([node("Softmax", "x", axis=1)], X, ["y"]), lambda: nn.Softmax(1), X["x"]),
    "log softmax": (model([node("LogSoftmax", "x", axis=1)], X, ["y"]), lambda: nn.LogSoftmax(1), X["x"]),
    "a product with a constant": (
        model([node("Mul", "x c")], X, ["y"], {"c": numpy.float32(2)}),
        lambda: lambda x: x * 2.0,
        X["x"],
    ),
    "a difference of tensors": (model([node("Sub", "x x")], X, ["y"]), lambda: lambda x: x - x, X["x"]),
    "a sum of three": (model([node("Sum", "x x x")], X, ["y"]), lambda: lambda x: x + x + x, X["x"]),
    "a mean": (
        model([node("ReduceMean", "x a", keepdims=0)], X, ["y"], {"a": whole(2, 3)}),
        lambda: lambda x: x.mean((2, 3)),
        X["x"],
    ),
    "a maximum": (
        model([node("ReduceMax", "x", axes=[1])], X, ["y"], opset=13),
        lambda: lambda x: x.amax(1, True),
        X["x"],
    ),
    "a norm": (
        model([node("ReduceL2", "x a")], X, ["y"], {"a": whole(1)}),
        lambda: lambda x: x.norm(dim=1, keepdim=True),
        X["x"],
    ),
    "places of maxima": (model([node("ArgMax", "x", axis=1)], X, ["y"]), lambda: lambda x: x.argmax(1, True), X["x"]),
    "a product of matrices": (model([node("MatMul", "x x")], X, ["y"]), lambda: lambda x: x @ x, X["x"]),
    "Einstein's notation": (
        model([node("Einsum", "x x", equation="nchw,nkhw->nck")], X, ["y"]),
        lambda: lambda x: torch.einsum("nchw,nkhw->nck", x, x),
        X["x"],
    ),
    "attention": (
        model([node("Attention", "x x x", is_causal=1)], X, ["y"], opset=23),
        lambda: lambda x: functional.scaled_dot_product_attention(x, x, x, is_causal=True),
        X["x"],
    ),
    "bilinear resampling": (
        model([node("Resize", "x - s", mode="linear")], X, ["y"], {"s": numpy.float32([1, 1, 2, 2])}),
        lambda: nn.Upsample(scale_factor=2, mode="bilinear"),
        X["x"],
    ),
    "nearest resampling": (
        model([node("Resize", "x - - s", mode="nearest")], X, ["y"], {"s": whole(1, 4, 18, 18)}),
        lambda: nn.Upsample(scale_factor=2, mode="nearest"),
        X["x"],
    ),
}
"""A model of one operator, the layer of torch that computes the same, and the shape that both read."""


@pytest.mark.parametrize("name", ROWS)
def test_an_operator_counts_as_the_layer_that_it_is(name: str) -> None:
    made, layer, shape = ROWS[name]
    ours, theirs = counted(made), archlab.profile(layer(), archlab.TensorSpec(shape))
    assert ours.total.operations == theirs.total.operations
    assert (ours.total.macs, ours.total.params) == (theirs.total.macs, theirs.total.params)
    assert ours.total.activations == theirs.total.activations
    assert ours.graph.output_specs == theirs.graph.output_specs
    assert ours.parameters == theirs.parameters
    assert not ours.uncounted


@pytest.mark.parametrize("name", ROWS)
def test_our_shapes_are_those_of_onnx_s_own_inference(name: str) -> None:
    made, _, _ = ROWS[name]
    inferred = onnx.shape_inference.infer_shapes(made, data_prop=True)
    (output,) = inferred.graph.output
    shape = tuple(d.dim_value for d in output.type.tensor_type.shape.dim)
    (ours,) = counted(made).graph.output_specs
    assert shape in (ours.shape, (0,) * len(shape), ()), "onnx leaves what it does not know at 0"


@pytest.mark.parametrize(("kind", "gates", "layer"), [("LSTM", 4, nn.LSTM), ("GRU", 3, nn.GRU), ("RNN", 1, nn.RNN)])
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("biased", [False, True])
def test_a_recurrent_operator_counts_as_the_layer_that_it_is(
    kind: str, gates: int, layer: Any, both: bool, biased: bool
) -> None:
    d = 1 + both
    weights = {"w": ones(d, gates * 6, 4), "r": ones(d, gates * 6, 6)}
    if biased:
        weights["b"] = ones(d, 2 * gates * 6)
    inputs = "x w r b" if biased else "x w r"
    direction = "bidirectional" if both else "forward"
    made = model(
        [node(kind, inputs, "y h", hidden_size=6, direction=direction)], {"x": (7, 3, 4)}, ["y", "h"], weights
    )
    ours = counted(made)
    theirs = archlab.profile(layer(4, 6, bias=biased, bidirectional=both), archlab.TensorSpec((7, 3, 4)))
    assert ours.total.operations == theirs.total.operations
    assert ours.total.params == theirs.total.params
    assert [spec.shape for spec in ours.graph.output_specs] == [(7, d, 3, 6), (d, 3, 6)]


def test_a_layer_in_two_models_files_keeps_the_file_s_parameters() -> None:
    """Read and unread initialisers are parameters; shapes, single constants and indices are none."""
    nodes = [
        node("Gather", "table ids", "z"),
        node("Mul", "z scale", "s"),
        node("Reshape", "s shape", "y"),
        node("Identity", "y", "out"),
    ]
    weights = {
        "table": ones(10, 4),
        "scale": numpy.float32(3),
        "shape": whole(0, -1),
        "unread": ones(5),
        "mask": numpy.ones(4, dtype="bool"),
    }
    made = model(nodes, {"x": (1,)}, ["out"], weights)
    made.graph.input.append(helper.make_tensor_value_info("ids", TensorProto.INT64, [2, 3]))
    profile = counted(made)
    assert profile.parameters["read"] == 10 * 4
    assert profile.parameters["unused"] == 5
    assert profile.graph.output_specs[0].shape == (2, 12)
    # an embedding reads the rows of its indices, not the table
    assert profile.layer("the_Gather").cost.bytes_moved == 6 * 8 + 6 * 4 * 4 + 6 * 4 * 4


def test_a_table_that_is_read_twice_is_tied() -> None:
    nodes = [
        node("Gather", "table ids", "z"),
        node("Transpose", "table", "t", perm=[1, 0]),
        node("MatMul", "z t"),
    ]
    made = model(nodes, {}, ["y"], {"table": ones(10, 4)})
    made.graph.input.append(helper.make_tensor_value_info("ids", TensorProto.INT64, [2, 3]))
    profile = counted(made)
    assert profile.total.params == 10 * 4
    assert profile.total.macs == 2 * 3 * 10 * 4


def test_a_weight_that_is_computed_is_read_as_an_input() -> None:
    nodes = [node("Mul", "w g", "v"), node("Conv", "x v")]
    profile = counted(model(nodes, X, ["y"], {"w": ones(6, 4, 3, 3), "g": ones(6, 1, 1, 1)}))
    assert profile.total.macs == 7 * 7 * 6 * 4 * 9
    assert profile.total.params == 6 * 4 * 9 + 6
    assert profile.total.operations["mul"] == 6 * 4 * 9


def test_shapes_that_the_file_computes_are_followed() -> None:
    """As torch's exporter writes `x.view(x.shape[0], -1)`."""
    nodes = [
        node("Shape", "x", "shape"),
        helper.make_node("Constant", [], ["zero"], value=numpy_helper.from_array(numpy.int64(0))),
        node("Gather", "shape zero", "n"),
        node("Unsqueeze", "n first", "n1"),
        node("Concat", "n1 rest", "both", axis=0),
        node("Reshape", "x both", "flat"),
        node("Gemm", "flat w", transB=1),
    ]
    weights = {"first": whole(0), "rest": whole(-1), "w": ones(3, 324)}
    profile = counted(model(nodes, {"x": ("batch", 4, 9, 9)}, ["y"], weights))
    assert profile.total.macs == 3 * 324
    assert [layer.name for layer in profile.layers if "constant" in layer.name] == []


def test_a_tensor_that_is_a_weight_and_a_statistic_is_one_of_either() -> None:
    """Exporters join equal tensors: the scale and the variance of a new batch norm are both ones."""
    profile = counted(model([node("BatchNormalization", "x s s s s")], X, ["y"], {"s": ones(4)}))
    assert profile.parameters["read"] == 4
    assert profile.parameters["buffers"] == 4 + 4 + 1


def saved(tmp_path: Path, made: Any, name: str = "m.onnx") -> str:
    path = tmp_path / name
    path.write_bytes(made.SerializeToString())
    return str(path)


def conv_model(shape: Sequence[Any]) -> Any:
    nodes = [node("Conv", "image w", "z", pads=[1, 1, 1, 1]), node("GlobalAveragePool", "z")]
    return model(nodes, {"image": shape}, ["y"], {"w": ones(8, 3, 3, 3)})


def test_a_file_is_read_anew_for_other_inputs(tmp_path: Path, run: Callable[..., Outcome]) -> None:
    path = saved(tmp_path, conv_model(("N", 3, 32, 32)))
    each = 8 * 3 * 9
    assert archlab.profile(path).total.macs == 32 * 32 * each
    assert archlab.profile(f"{path}@64x48").total.macs == 64 * 48 * each
    assert archlab.profile(archlab.load(path, inputs=["image=4x3x8x8"])).total.macs == 4 * 8 * 8 * each
    assert run("profile", path, "--exact").out.count(f"{32 * 32 * each:,}") > 1
    assert "1·32·32·8·3·3·3" in run("explain", path, "the_Conv").out
    assert run("compare", path, f"{path}@64").code == 0


def test_an_open_size_is_asked_for_by_its_name(tmp_path: Path, run: Callable[..., Outcome]) -> None:
    path = saved(tmp_path, conv_model(("N", 3, "height", "width")))
    outcome = run("profile", path)
    assert outcome.code == 2
    assert outcome.err.strip().endswith(
        "m.onnx: the input 'image' is Nx3xheightxwidth, which leaves height, width open; "
        "say it: --input image=1x3x224x224"
    )
    assert run("profile", f"{path}@16").code == 0
    fixed = saved(
        tmp_path, model([node("Reshape", "x s")], {"x": (1, 3, 8, 8)}, ["y"], {"s": whole(1, 192)}), "f.onnx"
    )
    outcome = run("profile", f"{fixed}@16")
    assert outcome.code == 3
    assert "(for @16; what the file fixes may hold for its own input alone)" in outcome.err
    assert "has 4 dimensions" in run("profile", path, "--input", "3x16x16").err
    assert "has no input 'img'" in run("profile", path, "--input", "img=1x3x8x8").err


def test_ablations_work_on_a_file(tmp_path: Path) -> None:
    weights = {"w": ones(8, 3, 5, 5), "b": ones(8)}
    path = saved(
        tmp_path,
        model([node("Conv", "x w b", "z", pads=[2] * 4), node("Relu", "z")], {"x": (1, 3, 8, 8)}, ["y"], weights),
    )
    # the ablation takes the convolution's bias away: the norm has one
    assert archlab.profile(f"{path}+batch_norm").total.params == 8 * 3 * 25 + 2 * 8


def test_names_are_paths_of_modules_where_an_exporter_wrote_them_down() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["/layer1/layer1.0/relu/Relu_output_0"], name="/layer1/layer1.0/relu/Relu"),
        helper.make_node("Relu", ["/layer1/layer1.0/relu/Relu_output_0"], ["b"], name="/layer1/layer1.0/relu_1/Relu"),
        helper.make_node("Exp", ["b"], ["c"], name="/head/Exp"),
        helper.make_node("Log", ["c"], ["d.e"], name="/head/Log"),
        helper.make_node("Relu", ["d.e"], ["y"]),
    ]
    for entry in nodes[4:]:
        entry.metadata_props.add(key="pkg.torch.onnx.name_scopes", value="['', 'tail', 'tail.3', 'relu_7']")
    names = list(counted(model(nodes, X, ["y"])).graph.readers)
    assert names == ["x", "layer1/0/relu", "layer1/0/relu#2", "head/exp", "head/log", "tail/3"]


def test_a_function_of_the_model_is_written_out() -> None:
    inner = helper.make_function(
        "my", "Twice", ["a"], ["c"], [helper.make_node("Relu", ["a"], ["b"]), helper.make_node("Relu", ["b"], ["c"])],
        [helper.make_opsetid("", 20)],
    )  # fmt: skip
    call = helper.make_node("Twice", ["x"], ["y"], domain="my", name="twice")
    made = model([call], X, ["y"], functions=[inner])
    made.opset_import.append(helper.make_opsetid("my", 1))
    assert counted(made).total.operations["cmp"] == 2 * 4 * 81


def test_a_branch_whose_condition_is_known_is_written_out() -> None:
    def branch(op: str) -> Any:
        info = helper.make_tensor_value_info("o", TensorProto.FLOAT, None)
        return helper.make_graph([helper.make_node(op, ["x"], ["o"])], "branch", [], [info])

    for chosen, kind in ((True, "cmp"), (False, "exp")):
        nodes = [helper.make_node("If", ["c"], ["y"], then_branch=branch("Relu"), else_branch=branch("Exp"))]
        profile = counted(model(nodes, X, ["y"], {"c": numpy.array(chosen)}))
        assert {k: v for k, v in profile.total.operations.items() if v} == {kind: 4 * 81}


def test_an_operator_without_a_rule_is_uncounted_in_the_shape_that_onnx_infers() -> None:
    profile = counted(model([node("Hardmax", "x")], X, ["y"]))
    assert profile.uncounted == {"Hardmax": 1}
    assert profile.graph.output_specs[0].shape == X["x"]
    foreign = helper.make_node("Mystery", ["x"], ["y"], domain="somebody")
    made = model([foreign], X, ["y"])
    with pytest.raises(ReadError, match=r"m\.onnx: node 'y' \(Mystery\): has no rule, and neither onnx nor the file"):
        counted(made)
    made.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 7]))
    told = counted(made)
    assert told.uncounted == {"somebody.Mystery": 1}
    assert told.graph.output_specs[0].shape == (1, 7)


def test_attention_of_a_runtime_s_own_domain_is_counted() -> None:
    """com.microsoft.Attention over 5 tokens of 8 numbers in 2 heads: projections, scores and their products."""
    fused = helper.make_node("Attention", ["x", "w", "b"], ["y"], domain="com.microsoft", num_heads=2, name="a")
    profile = counted(model([fused], {"x": (1, 5, 8)}, ["y"], {"w": ones(8, 24), "b": ones(24)}))
    assert profile.total.macs == 5 * 24 * 8 + 2 * 5 * 5 * 4 + 2 * 5 * 4 * 5
    assert profile.total.params == 8 * 24 + 24
    assert profile.graph.output_specs[0].shape == (1, 5, 8)


def test_weights_in_constant_nodes_are_parameters_and_other_constants_are_none() -> None:
    def constant(name: str, array: Any) -> Any:
        return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(array))

    nodes = [
        constant("w", ones(6, 4, 3, 3)),
        constant("mean", ones(4, 1, 1)),
        node("Sub", "x mean", "z"),
        node("Conv", "z w"),
    ]
    profile = counted(model(nodes, X, ["y"]))
    assert profile.total.params == 6 * 4 * 9
    assert profile.total.operations["add"] == 4 * 81


def test_an_input_without_a_shape_is_asked_for() -> None:
    made = model([node("Relu", "x")], X, ["y"])
    made.graph.input[0].type.tensor_type.ClearField("shape")
    with pytest.raises(UsageError, match=r"does not say the shape of 'x'; give it, such as --input x=1x3x224x224"):
        counted(made)


def test_places_of_values_have_a_type_of_their_own() -> None:
    nodes = [node("TopK", "x k", "v i"), node("Gather", "table i")]
    profile = counted(model(nodes, X, ["y"], {"k": whole(3), "table": ones(9, 5)}))
    assert profile.graph.output_specs[0].shape == (1, 4, 9, 3, 5)
    assert profile.total.params == 9 * 5
    nodes = [node("MaxPool", "x", "v i", kernel_shape=[3, 3]), node("Gather", "table i")]
    assert counted(model(nodes, X, ["y"], {"table": ones(9, 5)})).graph.output_specs[0].shape == (1, 4, 7, 7, 5)


def test_what_onnx_says_against_a_node_is_told_in_one_line() -> None:
    with pytest.raises(ReadError, match=r"node 'the_Hardmax' \(Hardmax\): onnx says: .*Unrecognized attribute: axes"):
        counted(model([node("Hardmax", "x", axes=1)], X, ["y"]))
    odd = helper.make_node("No\nsuch\x00thing", ["x"], ["y"])
    with pytest.raises(ReadError, match=r"\(No such thing\): has no rule") as caught:
        counted(model([odd], X, ["y"]))
    assert str(caught.value).isprintable()


def test_quantised_weights_are_parameters_and_their_products_macs() -> None:
    nodes = [node("DequantizeLinear", "q s", "w"), node("Conv", "x w")]
    weights = {"q": numpy.ones((6, 4, 3, 3), dtype="int8"), "s": numpy.float32(0.1)}
    profile = counted(model(nodes, X, ["y"], weights))
    assert profile.total.params == 6 * 4 * 9
    assert profile.total.macs == 7 * 7 * 6 * 4 * 9
    assert profile.graph.params["q"].dtype == "int8"


def test_elements_of_weights_are_neither_needed_nor_read(tmp_path: Path) -> None:
    """A weight of 4 MB is left out of what is parsed; one whose elements lie in another file is never opened."""
    large = ones(1024, 1024)
    path = tmp_path / "m.onnx"
    made = model([node("Gemm", "x w", transB=1)], {"x": (1, 1024)}, ["y"], {"w": large})
    path.write_bytes(made.SerializeToString())
    from archlab.sources.onnx.slim import slim_file

    assert len(slim_file(path)) < 1000
    assert archlab.profile(path).total.params == 2**20
    tensor = made.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    path.write_bytes(made.SerializeToString())
    assert archlab.profile(path).total.params == 2**20


def test_without_the_onnx_package_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, run: Callable[..., Outcome]
) -> None:
    import sys

    path = saved(tmp_path, conv_model((1, 3, 8, 8)))
    monkeypatch.setitem(sys.modules, "onnx", None)
    outcome = run("profile", path)
    assert outcome.code == 2
    assert "pip install 'archlab[onnx]'" in outcome.err


def test_the_same_tensor_by_two_nodes_an_unknown_name_and_a_wrong_shape_are_told_by_node() -> None:
    relu = node("Relu", "x")
    with pytest.raises(ReadError, match=r"m\.onnx: two nodes make 'y'"):
        counted(model([relu, relu], X, ["y"]))
    with pytest.raises(ReadError, match=r"node 'the_Relu' \(Relu\): reads 'z', which nothing before it makes"):
        counted(model([node("Relu", "z")], X, ["y"]))
    with pytest.raises(
        ReadError, match=r"node 'the_Conv' \(Conv\): a weight 6x2x3x3 in 1 groups does not read 1x4x9x9"
    ):
        counted(model([node("Conv", "x w")], X, ["y"], {"w": ones(6, 2, 3, 3)}))
    with pytest.raises(ShapeError, match=r"node 'the_Conv' \(Conv\): the kernel spans 11, the padded input only 9"):
        counted(model([node("Conv", "x w")], X, ["y"], {"w": ones(6, 4, 11, 11)}))
    with pytest.raises(ReadError, match=r"the output 'q' is made by no node"):
        counted(model([relu], X, ["q"]))
    with pytest.raises(ReadError, match=r"its axis must be an integer"):
        counted(model([node("Softmax", "x", axis=1.5)], X, ["y"]))
    short = model([relu], X, ["y"], {"w": ones(2)})
    short.graph.initializer[0].raw_data = b"1234"
    with pytest.raises(ReadError, match=r"the initialiser 'w' is 2 and takes 8 bytes, the file holds 4"):
        counted(short)
    assert issubclass(ShapeError, GraphError)
    with pytest.raises(UsageError, match="which leaves side open"):
        counted(model([relu], {"x": (1, 3, "side", 4)}, ["y"]))
