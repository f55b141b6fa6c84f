"""Caffe's text format: the published networks, its dialects, its layers, and what is said of what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import prototxts
import pytest
from conftest import Outcome
from oracles import ORACLE

import archlab
from archlab.errors import GraphError, ReadError, ShapeError, UsageError
from archlab.ops import AvgPool2d, BatchNorm, LocalResponseNorm, MaxPool2d
from archlab.profiles import Profile, profile_graph
from archlab.sources.prototxt import read_net

PUBLISHED = {
    "googlenet": (prototxts.googlenet(), "googlenet_paper", 1_582_671_872, 6_998_552),
    "googlenet@227": (prototxts.googlenet(227), "googlenet_caffe_227", 1_599_884_032, 6_998_552),
    "alexnet": (prototxts.alexnet(), "alexnet_caffe_227", 724_406_816, 60_965_224),
    "nin": (prototxts.nin(), "nin_imagenet_224", 1_100_188_800, 7_595_176),
    "nin@227": (prototxts.nin(227), "nin_imagenet_227", 1_105_996_320, 7_595_176),
    "vgg16": (prototxts.vgg("vgg16"), "vgg16_D", 15_470_264_320, 138_357_544),
    "vgg19": (prototxts.vgg("vgg19"), "vgg19_E", 19_632_062_464, 143_667_240),
}
"""Facts sections 1 and 5: the text, the oracle's name, MACs and parameters."""


def counted(text: str) -> Profile:
    return profile_graph(read_net(text, "net.prototxt"))


def net(*layers: str, shape: str = "1 3 8 8") -> str:
    """Return the text of layers that read a blob named data."""
    dims = "".join(f" dim: {d}" for d in shape.split())
    return f'layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{{dims} }} }} }}\n' + "\n".join(
        layers
    )


def one(kind: str, part: str = "", shape: str = "1 3 8 8", bottoms: str = "data") -> Profile:
    names = " ".join(f'bottom: "{name}"' for name in bottoms.split())
    return counted(net(f'layer {{ name: "l" type: "{kind}" {names} top: "l" {part} }}', shape=shape))


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_network_has_its_published_figures(name: str) -> None:
    text, _, macs, params = PUBLISHED[name]
    profile = counted(text)
    assert (profile.total.macs, profile.total.params) == (macs, params)
    assert not profile.uncounted


@pytest.mark.parametrize("name", PUBLISHED)
def test_each_layer_has_the_oracle_s_row(name: str) -> None:
    text, oracle, _, _ = PUBLISHED[name]
    profile = counted(text)
    rows = [row for row in ORACLE["models"][oracle]["rows"] if row["macs"]]
    ours = [layer for layer in profile.layers if layer.cost.macs]
    assert len(ours) == len(rows) >= 8
    for layer, row in zip(ours, rows, strict=True):
        assert (layer.cost.macs, layer.cost.params) == (row["macs"], row["weights"] + row["bias"]), layer.name
        assert layer.output_shape[1:] in (tuple(row["out"]), tuple(row["out"][:1]))


def test_flops_are_those_of_the_zoo_s_network() -> None:
    """Design section 2 states 3,192,638,672 for GoogLeNet with its softmax."""
    assert counted(prototxts.googlenet()).total.flops == 3_192_638_672


def test_a_file_is_a_target_with_ablations_and_sizes(tmp_path: Path, run: Callable[..., Outcome]) -> None:
    path = tmp_path / "deploy.prototxt"
    path.write_text(prototxts.googlenet(), encoding="utf-8")
    assert archlab.profile(str(path)).source == "read"
    assert archlab.profile(f"{path}@227").total.macs == 1_599_884_032
    literal = archlab.profile("googlenet+naive").total
    assert archlab.profile(f"{path}+naive").total.macs == literal.macs
    assert archlab.load(path, inputs=["data=4x3x224x224"]).inputs["data"].shape == (4, 3, 224, 224)
    assert "1,582,671,872" in run("profile", str(path), "--exact").out
    compared = run("compare", str(path), "googlenet", "--exact")
    assert compared.code == 0
    assert "1·14·14·48·16·5·5 = 3,763,200" in run("explain", str(path), "inception_4a/5x5").out


def test_windows_of_pools_round_up_and_those_of_convolutions_down() -> None:
    # 8 - 3 = 5 in steps of 2: pools start 4 windows, the last hanging over; convolutions 3
    assert one("Pooling", "pooling_param { pool: MAX kernel_size: 3 stride: 2 }").layers[-1].output_shape == (
        1,
        3,
        4,
        4,
    )
    part = "convolution_param { num_output: 2 kernel_size: 3 stride: 2 }"
    assert one("Convolution", part).layers[-1].output_shape == (1, 2, 3, 3)
    floor = "pooling_param { pool: AVE kernel_size: 3 stride: 2 round_mode: FLOOR }"
    assert one("Pooling", floor).layers[-1].output_shape == (1, 3, 3, 3)


def test_a_global_pool_sees_every_position() -> None:
    # 3 channels of 8·8 positions: an addition each, a division a channel; or a comparison each
    average = one("Pooling", "pooling_param { pool: AVE global_pooling: true }")
    assert (average.total.operations["add"], average.total.operations["div"]) == (3 * 8 * 8, 3)
    assert one("Pooling", "pooling_param { pool: MAX global_pooling: true }").total.operations["cmp"] == 3 * 8 * 8


@pytest.mark.parametrize(
    ("kind", "part", "shape", "counts"),
    [
        # 2·5·5·3 outputs·taps·channels with 2 groups of 1: 4 outputs of 1 channel of 3·3 taps, 8 wide with padding 1
        (
            "Convolution",
            "convolution_param { num_output: 4 kernel_h: 3 kernel_w: 1 pad_h: 1 pad_w: 0 group: 2 bias_term: false }",
            "1 2 8 8",
            {"mac": 8 * 8 * 4 * 1 * 3 * 1},
        ),
        # dilation 2 spreads 3 taps over 5: 8 - 4 = 4 positions
        (
            "Convolution",
            "convolution_param { num_output: 2 kernel_size: 3 dilation: 2 }",
            "1 3 8 8",
            {"mac": 4 * 4 * 2 * 3 * 9, "add": 2 * 4 * 4},
        ),
        # each of 8·8·3 inputs is spread over 2 channels of 4·4 taps; the output is (8 - 1)·2 - 2 + 4 = 16 wide
        (
            "Deconvolution",
            "convolution_param { num_output: 2 kernel_size: 4 stride: 2 pad: 1 }",
            "1 3 8 8",
            {"mac": 8 * 8 * 3 * 2 * 16, "add": 2 * 16 * 16},
        ),
        ("InnerProduct", "inner_product_param { num_output: 10 }", "2 3 8 8", {"mac": 2 * 10 * 192, "add": 20}),
        ("ReLU", "relu_param { negative_slope: 0.1 }", "1 3 8 8", {"cmp": 192, "mul": 192}),
        ("PReLU", "", "1 3 8 8", {"cmp": 192, "mul": 192}),
        ("Power", "power_param { power: 2 scale: 0.5 shift: 1 }", "1 3 8 8", {"exp": 192, "mul": 192, "add": 192}),
        ("Power", "power_param { scale: 2 }", "1 3 8 8", {"mul": 192}),
        # LRN within a channel sums 3·3 squares: size·size + 1 additions
        (
            "LRN",
            "lrn_param { local_size: 3 norm_region: WITHIN_CHANNEL }",
            "1 3 8 8",
            {"mul": 2 * 192, "add": 10 * 192, "exp": 192, "div": 192},
        ),
        ("LRN", "lrn_param { local_size: 5 }", "1 3 8 8", {"mul": 2 * 192, "add": 6 * 192, "exp": 192, "div": 192}),
        ("Scale", "scale_param { bias_term: true }", "1 3 8 8", {"mul": 192, "add": 192}),
        ("Bias", "", "1 3 8 8", {"add": 192}),
        ("Reduction", "reduction_param { operation: MEAN axis: 1 }", "1 3 8 8", {"add": 192, "div": 1}),
        ("MVN", "", "1 3 8 8", {"add": 4 * 192, "mul": 3 * 192, "div": 2 * 3, "exp": 3}),
        ("Softmax", "", "1 3 8 8", {"cmp": 192, "add": 2 * 192, "exp": 192, "div": 192}),
        ("TanH", "", "1 3 8 8", {"exp": 192}),
        ("Dropout", "", "1 3 8 8", {}),
        ("Flatten", "", "1 3 8 8", {}),
        ("Embed", "embed_param { input_dim: 9 num_output: 4 bias_term: false }", "2 5", {}),
    ],
)
def test_a_layer_counts_as_its_op_does(kind: str, part: str, shape: str, counts: dict[str, int]) -> None:
    profile = one(kind, part, shape)
    assert {name: times for name, times in profile.total.operations.items() if times} == counts
    assert not profile.uncounted


def test_parameters_are_the_layer_s_blobs() -> None:
    assert one("Convolution", "convolution_param { num_output: 4 kernel_size: 3 }").total.params == 4 * 3 * 9 + 4
    assert one("PReLU").total.params == 3
    assert one("PReLU", "prelu_param { channel_shared: true }").total.params == 1
    assert one("Scale", "scale_param { bias_term: true }").total.params == 3 + 3
    assert one("Embed", "embed_param { input_dim: 9 num_output: 4 }", "2 5").total.params == 9 * 4 + 4


def test_a_batch_norm_and_the_scale_behind_it_are_one() -> None:
    layers = (
        'layer { name: "bn" type: "BatchNorm" bottom: "data" top: "bn" }',
        'layer { name: "scale" type: "Scale" bottom: "bn" top: "bn" scale_param { bias_term: true } }',
        'layer { name: "relu" type: "ReLU" bottom: "bn" top: "bn" }',
    )
    profile = counted(net(*layers))
    graph = read_net(net(*layers), "n")
    norms = [node.op for node in graph.nodes if isinstance(node.op, BatchNorm)]
    assert [(norm.scale, norm.shift) for norm in norms] == [(True, True)]
    assert (profile.total.params, profile.total.operations["mul"], profile.parameters["buffers"]) == (
        6,
        192,
        3 + 3 + 1,
    )


def test_a_scale_stays_apart_where_others_read_the_norm() -> None:
    layers = (
        'layer { name: "bn" type: "BatchNorm" bottom: "data" top: "bn" }',
        'layer { name: "scale" type: "Scale" bottom: "bn" top: "scale" }',
        'layer { name: "sum" type: "Eltwise" bottom: "bn" bottom: "scale" top: "sum" }',
    )
    assert counted(net(*layers)).total.operations["mul"] == 192 + 192


def test_coefficients_of_a_sum_cost_a_product_unless_they_are_signs() -> None:
    # three blobs: two additions; 0.5 a product, -1 makes an addition a subtraction
    part = "eltwise_param { operation: SUM coeff: 1 coeff: -1 coeff: 0.5 }"
    profile = one("Eltwise", part, bottoms="data data data")
    assert (profile.total.operations["add"], profile.total.operations["mul"]) == (2 * 192, 192)


def test_blobs_are_split_joined_cut_and_reshaped() -> None:
    layers = (
        'layer { name: "s" type: "Slice" bottom: "data" top: "a" top: "b" slice_param { axis: 1 slice_point: 1 } }',
        'layer { name: "c" type: "Concat" bottom: "b" bottom: "a" top: "c" concat_param { axis: 2 } }',
    )
    with pytest.raises(ShapeError, match=r"layer 'c': cannot join \(1, 2, 8, 8\) and \(1, 1, 8, 8\)"):
        counted(net(*layers))
    joined = counted(net(layers[0], layers[1].replace("axis: 2", "axis: 1")))
    assert joined.layers[-1].output_shape == (1, 3, 8, 8)
    shaped = one("Reshape", "reshape_param { shape { dim: 0 dim: -1 dim: 4 } }", "2 3 8 8")
    assert shaped.layers[-1].output_shape == (2, 48, 4)


def test_a_shared_name_ties_weights_and_a_rate_of_zero_freezes_them() -> None:
    part = 'param { name: "w" } param { name: "b" lr_mult: 0 } inner_product_param { num_output: 192 }'
    layers = [
        f'layer {{ name: "{name}" type: "InnerProduct" bottom: "{bottom}" top: "{name}" {part} }}'
        for name, bottom in (("one", "data"), ("two", "one"))
    ]
    profile = counted(net(*layers))
    assert profile.parameters["read"] == 192 * 192 + 192
    assert (profile.parameters["trainable"], profile.parameters["frozen"]) == (192 * 192, 192)
    assert set(read_net(net(*layers), "n").params) == {"w", "b"}


TRAIN_VAL = """
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TRAIN }
        transform_param { crop_size: 27 mirror: true } data_param { batch_size: 256 backend: LMDB } }
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TEST }
        transform_param { crop_size: 27 } data_param { batch_size: 50 } }
layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc" inner_product_param { num_output: 10 } }
layer { name: "accuracy" type: "Accuracy" bottom: "fc" bottom: "label" top: "accuracy" include { phase: TEST } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }
layer { name: "aux" type: "InnerProduct" bottom: "fc" top: "aux" inner_product_param { num_output: 3 }
        exclude { phase: TEST } }
"""


def test_a_network_fed_by_a_data_layer_says_which_input_to_give(tmp_path: Path, run: Callable[..., Outcome]) -> None:
    path = tmp_path / "train_val.prototxt"
    path.write_text(TRAIN_VAL, encoding="utf-8")
    outcome = run("profile", str(path))
    assert outcome.code == 2
    assert "--input data=1x3x27x27" in outcome.err
    assert run("profile", str(path), "--input", "data=1x3x27x27").code == 0


def test_the_phase_of_the_mode_runs(tmp_path: Path) -> None:
    path = tmp_path / "train_val.prototxt"
    path.write_text(TRAIN_VAL, encoding="utf-8")
    tested = archlab.load(path, inputs=["data=2x3x27x27"])
    trained = archlab.load(path, inputs=["data=2x3x27x27"], mode="training")
    assert "accuracy" in tested.readers
    assert "aux" not in tested.readers
    assert "accuracy" not in trained.readers
    assert "aux" in trained.readers


def test_layers_of_the_second_format_keep_their_learning_rates() -> None:
    text = """
    input: "data" input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 8
    layers { name: "conv" type: CONVOLUTION bottom: "data" top: "conv" blobs_lr: 0 blobs_lr: 2
             convolution_param { num_output: 4 kernel_size: 3 } }
    layers { name: "relu" type: RELU bottom: "conv" top: "conv" }
    """
    profile = counted(text)
    assert profile.parameters["frozen"] == 4 * 3 * 9
    assert profile.parameters["trainable"] == 4


def test_names_become_names_of_nodes() -> None:
    layers = (
        'layer { name: "conv.1" type: "ReLU" bottom: "data" top: "a" }',
        'layer { name: "conv.1" type: "ReLU" bottom: "a" top: "b" }',
        'layer { name: "/x//y" type: "ReLU" bottom: "b" top: "c" }',
        'layer { type: "ReLU" bottom: "c" top: "d" }',
    )
    assert list(read_net(net(*layers), "n").readers)[1:] == ["conv_1", "conv_1#2", "x/y", "ReLU5"]


def test_layers_of_the_same_name_have_weights_of_their_own() -> None:
    part = "inner_product_param { num_output: 192 }"
    layers = [
        f'layer {{ name: "fc" type: "InnerProduct" bottom: "{a}" top: "{b}" {part} }}'
        for a, b in (("data", "x"), ("x", "y"))
    ]
    assert counted(net(*layers)).total.params == 2 * (192 * 192 + 192)


def test_a_layer_whose_rule_is_unknown_is_uncounted() -> None:
    profile = one("Normalize")
    assert profile.uncounted == {"Normalize": 1}
    assert one("Pooling", "pooling_param { pool: STOCHASTIC kernel_size: 2 stride: 2 }").uncounted == {
        "Pooling STOCHASTIC": 1
    }


CONV = 'layer {{ name: "c" type: "Convolution" bottom: "data" top: "c" convolution_param {{ {} }} }}'


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        (net(shape="1 -3 8 8"), ShapeError, r"n: a dimension cannot be negative"),
        ("", ReadError, r"n: has no layers for the phase TEST; is it a Caffe network\?"),
        ("PK\x03\x04", ReadError, r"n: line 1: cannot read"),
        ("layer {", ReadError, r"n: ends inside of the message that line 1 opens"),
        ('layer { name: "a" } }', ReadError, r"n: line 1: expected the name of a field, got '}'"),
        ("layer", ReadError, r"n: line 1: expected ':' or '{' after 'layer'"),
        ("layer {}", ReadError, r"n: line 1: a layer needs a type"),
        ("layer: 3", ReadError, r"n: line 1: layer must be a message"),
        ("a { " * 100, ReadError, r"n: line 1: messages are nested more than 64 deep"),
        ("layers { layer { name: 'x' } }", ReadError, r"n: line 1: is in Caffe's first format; upgrade_net_proto"),
        (net('layer { name: "x" type: "Relu" bottom: "data" top: "x" }'), ReadError, r"2: .*did you mean 'ReLU'"),
        (net('layer { name: "x" type: "ReLU" bottom: "dat" top: "x" }'), ReadError, r"layer 'x': reads 'dat', which"),
        (net('layer { name: "x" type: "ReLU" top: "x" }'), ReadError, r"layer 'x': reads 1 tensor\(s\), got 0"),
        (
            net('layer { name: "x" type: "ReLU" bottom: "data" top: "x" top: "y" }'),
            ReadError,
            r"layer 'x': makes 1 tensor\(s\), the file names 2",
        ),
        (
            net(*['layer { name: "x" type: "ReLU" bottom: "data" top: "x" }'] * 2),
            ReadError,
            r"line 3: layer 'x': another layer makes 'x' already",
        ),
        (net(), ReadError, r"n: nothing is computed"),
        (net(CONV.format("num_output: 4")), ReadError, r"layer 'c': kernel_size is missing"),
        (net(CONV.format("kernel_size: 3")), ShapeError, r"layer 'c': out_channels must be at least 1, got 0"),
        (net(CONV.format("num_output: 4 kernel_size: 9")), ShapeError, r"spans 9, the padded input only 8"),
        (net(CONV.format("num_output: 4 kernel_size: -1")), ShapeError, r"kernel must be at least 1, got -1"),
        (net(CONV.format("num_output: 1e3 kernel_size: 1")), ReadError, r"num_output must be an integer"),
        (net(CONV.format(f"num_output: {10**30} kernel_size: 1")), ReadError, r"integer of 64 bits, got"),
        (net(CONV.format(f"num_output: 1 pad: {2**62} kernel_size: 1")), GraphError, r"a dimension cannot exceed"),
        ('input: "data" layer { name: "r" type: "ReLU" bottom: "data" top: "r" }', UsageError, r"--input data="),
    ],
)  # fmt: skip
def test_what_is_no_network_is_told_by_file_line_and_layer(text: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        read_net(text, "n")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_too_large_or_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_bytes(b"#" * (8 * 2**20 + 1))
    with pytest.raises(ReadError, match="has more than 8,388,608 bytes"):
        archlab.load(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ReadError, match=r"is not UTF-8 text \(byte 0\)"):
        archlab.load(path)


def test_comments_quotes_lists_and_separators_are_read_as_protobuf_reads_them() -> None:
    text = """
    name: 'two' " words"  # a comment } {
    layer <name: "data"; type: 'In' "put", top: "data" input_param: < shape: { dim: [1, 3, 8, 8] } > >
    layer { name: "conv" type: "Convolution" bottom: ["data"] top: "conv"
            convolution_param { num_output: +4, kernel_size: [3, 1]; bias_term: false } }
    """
    profile = counted(text)
    assert profile.total.macs == 6 * 8 * 4 * 3 * 3
    assert read_net(text, "n").name == "two words"


def test_defaults_are_those_of_caffe_proto() -> None:
    graph = read_net(net('layer { name: "l" type: "LRN" bottom: "data" top: "l" }'), "n")
    assert graph.node("l").op == LocalResponseNorm(5, 1.0, 0.75, 1.0)
    pool = 'layer { name: "p" type: "Pooling" bottom: "data" top: "p" pooling_param { kernel_size: 2 } }'
    assert read_net(net(pool), "n").node("p").op == MaxPool2d(2, 1, 0, True)
    average = pool.replace("kernel_size: 2", "pool: AVE kernel_size: 2 pad: 1")
    assert read_net(net(average), "n").node("p").op == AvgPool2d(2, 1, 1, True)
