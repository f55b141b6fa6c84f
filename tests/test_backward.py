"""The backward pass: which operands need a gradient, what each costs, and how results show it.

Counts are derived by hand and written as products.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from conftest import Outcome
from rows import Shape, spec_of
from test_conformance import ROWS
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from traced_rows import TRACED

import archlab
from archlab.analyses.backward import backward
from archlab.errors import UsageError
from archlab.ir import Builder, Graph, Node, Op, Param
from archlab.ops import (
    Attention,
    Concat,
    Conv2d,
    ConvTranspose2d,
    Counted,
    Flatten,
    Input,
    Kept,
    Linear,
    MatMul,
    Recurrent,
    Reduce,
    ReLU,
)
from archlab.profiles import Profile

Run = Callable[..., Outcome]
X = (2, 6, 9, 7)
ATTENDED: list[Shape] = [(2, 4, 3, 8), (2, 4, 5, 8), (2, 4, 5, 6)]

PRODUCTS: list[tuple[Op, list[Shape], dict[str, int]]] = [
    # 2·4·5·4 outputs of 6·3·3 products: the input's gradient spreads them back, the weight's sums them up.
    (
        Conv2d(4, 3, stride=2, padding=1),
        [X],
        {"input": 2 * 4 * 5 * 4 * (6 * 3 * 3), "weight": 2 * 4 * 5 * 4 * (6 * 3 * 3)},
    ),
    # In 3 groups each output meets 6/3 channels, in both directions.
    (
        Conv2d(3, (3, 3), dilation=(1, 2), groups=3, bias=False),
        [X],
        {"input": 2 * 3 * 7 * 3 * (2 * 3 * 3), "weight": 2 * 3 * 7 * 3 * (2 * 3 * 3)},
    ),
    # Each of the 2·6·9·7 inputs meets 4/2 channels of 3·3.
    (
        ConvTranspose2d(4, 3, stride=2, padding=1, output_padding=1, groups=2),
        [X],
        {"input": 2 * 6 * 9 * 7 * (2 * 3 * 3), "weight": 2 * 6 * 9 * 7 * (2 * 3 * 3)},
    ),
    (Linear(5), [(2, 3, 4)], {"input": 2 * 3 * 5 * 4, "weight": 2 * 3 * 5 * 4}),
    # The 3·5 pairs of matrices that broadcasting makes are multiplied one by one, and their gradients summed.
    (MatMul(), [(3, 1, 2, 4), (5, 4, 6)], {"left": 3 * 5 * 2 * 6 * 4, "right": 3 * 5 * 2 * 6 * 4}),
    # Scores and values come from the output's gradient, queries and keys from that of the 2·4·3·5 scores.
    (
        Attention(),
        ATTENDED,
        {
            "scores": 2 * 4 * 3 * 5 * 6,
            "values": 2 * 4 * 3 * 5 * 6,
            "queries": 2 * 4 * 3 * 5 * 8,
            "keys": 2 * 4 * 3 * 5 * 8,
        },
    ),
    # 5 steps of 2 sequences, 3 gates of 3 units that read 4 inputs and 3 states; one step reads a first state.
    (
        Recurrent("gru", 3),
        [(5, 2, 4), (1, 2, 3)],
        {
            "input of l0": 5 * 2 * (3 * 3) * 4,
            "weight_ih_l0": 5 * 2 * (3 * 3) * 4,
            "weight_hh_l0": 5 * 2 * (3 * 3) * 3,
            "states of l0": (5 - 1) * 2 * (3 * 3) * 3,
            "first state of l0": 2 * (3 * 3) * 3,
        },
    ),
    # Without a batch; each of the 5 steps is projected from 3 units to a state of 2.
    (
        Recurrent("lstm", 3, projection=2),
        [(5, 4), (1, 2), (1, 3)],
        {
            "input of l0": 5 * (4 * 3) * 4,
            "weight_ih_l0": 5 * (4 * 3) * 4,
            "weight_hh_l0": 5 * (4 * 3) * 2,
            "states of l0": (5 - 1) * (4 * 3) * 2,
            "first state of l0": (4 * 3) * 2,
            "weight_hr_l0": 5 * 3 * 2,
            "projected of l0": 5 * 3 * 2,
        },
    ),
    # For each of 7·3 outputs x₁ᵀ·A takes 4·5 products and gives 5, which x₂ multiplies: two gradients of each.
    (
        Counted("bilinear", ((7, 3),), ((7, 4), (7, 5), (3, 4, 5)), (("mac", 4 * 5 + 5),)),
        [(7, 4), (7, 5), (3, 4, 5)],
        {"input 1": 7 * 3 * 4 * 5, "weight": 7 * 3 * 4 * 5, "input 1 · weight": 7 * 3 * 5, "input 2": 7 * 3 * 5},
    ),
    # Substitution takes 4·3/2 products for each of 3 sides; the matrix's gradient is a product of 4×3 and 3×4.
    (
        Counted("solve_triangular", ((4, 3),), ((4, 4), (4, 3)), whole=(("mac", 4 * 3 // 2 * 3),)),
        [(4, 4), (4, 3)],
        {"right side": 4 * 3 // 2 * 3, "matrix": 4 * 3 * 4},
    ),
    # 9 elements that are kept meet 5 columns.
    (
        Counted("sparse_mm", ((6, 5),), ((6, 8), (8, 5)), whole=(("mac", 9 * 5),)),
        [(6, 8), (8, 5)],
        {"left": 9 * 5, "right": 9 * 5},
    ),
    # A function that nobody told the gradient of: the forward's product for each operand.
    (
        Counted("mylib::scan", ((6,),), ((6, 8), (8,)), (("mac", 10),)),
        [(6, 8), (8,)],
        {"input 0": 6 * 10, "input 1": 6 * 10},
    ),
]


@pytest.mark.parametrize(("op", "shapes", "expected"), PRODUCTS, ids=lambda value: str(value)[:60])
def test_an_op_says_what_its_backward_pass_multiplies(op: Op, shapes: list[Shape], expected: dict[str, int]) -> None:
    inputs = [spec_of(shape) for shape in shapes]
    products = op.gradients(op.outputs(*inputs), *inputs)
    assert {product.operand: product.macs.value for product in products} == expected


@pytest.mark.parametrize("row", [row for row in (*ROWS, *TRACED) if "mac" in row.counts], ids=repr)
def test_every_op_that_multiplies_has_a_gradient_for_each_of_its_weights(row: Any) -> None:
    inputs = [spec_of(given) for given in row.inputs]
    products = row.op.gradients(row.op.outputs(*inputs), *inputs)
    named = {source for product in products for source in product.of}
    assert named >= {role for role in row.weights if "weight" in role}
    assert 0 in named
    assert all(type(source) is str or source < len(inputs) for source in named)


def test_computed_weights_are_operands_by_their_place() -> None:
    conv = Conv2d(4, 3, computed=("bias", "weight"))
    inputs = (spec_of(X), spec_of((4,)), spec_of((4, 6, 3, 3)))
    assert [product.of for product in conv.gradients(conv.outputs(*inputs), *inputs)] == [(0,), (2,)]


def test_grouped_queries_and_a_mask_that_is_learned_need_the_gradient_of_the_scores() -> None:
    inputs = [spec_of(s) for s in ((2, 4, 3, 8), (2, 2, 5, 8), (2, 2, 5, 8), (3, 5))]
    op = Attention(masked=True)
    scores = op.gradients(op.outputs(*inputs), *inputs)[0]
    assert scores.of == (0, 1, 3)
    assert scores.macs.value == 2 * 4 * 3 * 5 * 8


# -- the sweep ------------------------------------------------------------------------------------


def operands(graph: Graph) -> dict[str, list[str]]:
    """Return which gradients each node computes, those that compute none left out."""
    return {name: sorted(products) for name, products in backward(graph).items() if products}


def chain(*ops: Op, frozen: tuple[str, ...] = ()) -> Graph:
    """Return an input of 2×8 and these ops in a row, named a, b, c, …; the parameters of some do not train."""
    b = Builder("chain")
    x = b.add("input", Input((2, 8)))
    for name, op in zip("abcdef", ops, strict=False):
        x = b.add(name, op, x)
    graph = b.build(x)
    params = {k: replace(p, trainable=k.partition(".")[0] not in frozen) for k, p in graph.params.items()}
    return replace(graph, params=params, like=None)


def test_the_first_layer_hands_nothing_to_the_input() -> None:
    assert operands(chain(Linear(8), ReLU(), Linear(8))) == {"a": ["weight"], "c": ["input", "weight"]}


def test_nothing_upstream_of_frozen_layers_alone_needs_a_gradient() -> None:
    assert operands(chain(Linear(8), Linear(8), Linear(8), frozen=("a",))) == {
        "b": ["weight"],
        "c": ["input", "weight"],
    }


def test_a_frozen_layer_hands_the_gradient_through() -> None:
    assert operands(chain(Linear(8), Linear(8), Linear(8), frozen=("b",))) == {
        "a": ["weight"],
        "b": ["input"],
        "c": ["input", "weight"],
    }


def test_without_trainable_parameters_there_is_no_backward_pass() -> None:
    assert operands(chain(Linear(8), Linear(8), frozen=("a", "b"))) == {}


def test_a_bias_alone_asks_for_the_gradients_above_it() -> None:
    graph = chain(Linear(8), Linear(8), frozen=("a", "b"))
    params = {**graph.params, "a.bias": Param((8,))}
    assert operands(replace(graph, params=params, like=None)) == {"b": ["input"]}


def test_no_gradient_flows_through_integers() -> None:
    b = Builder("found")
    x = b.add("input", Input((2, 8)))
    first = b.add("first", Linear(8), x)
    found = b.add("argmax", Reduce("argmax", (1,), dtype="int64"), first)
    other = b.add("other", Linear(3), x)
    assert operands(b.build(other, found)) == {"other": ["weight"]}


def test_what_leads_to_no_output_gets_no_gradient() -> None:
    b = Builder("unread")
    x = b.add("input", Input((2, 8)))
    shared = b.add("shared", Linear(8), x)
    b.add("unread", Linear(8), shared)
    assert operands(b.build(b.add("read", Linear(8), shared))) == {"read": ["input", "weight"], "shared": ["weight"]}


def test_both_branches_hand_their_gradients_to_what_they_share() -> None:
    b = Builder("branches")
    x = b.add("input", Input((2, 8)))
    shared = b.add("shared", Linear(8), x)
    ends = [b.add(name, Linear(4), shared) for name in ("left", "right")]
    found = operands(b.build(b.add("join", Concat(1), *ends)))
    assert found == {"left": ["input", "weight"], "right": ["input", "weight"], "shared": ["weight"]}


def test_a_product_of_a_learned_tensor_with_an_input_needs_one_side() -> None:
    b = Builder("sides")
    x = b.add("input", Input((2, 8)))
    learned = b.add("learned", Kept((8, 3)))
    kept = b.add("kept", Kept((3, 5), learned=False))
    first = b.add("first", MatMul(), x, learned)
    assert operands(b.build(b.add("second", MatMul(), first, kept))) == {"first": ["right"], "second": ["left"]}


def test_a_tied_weight_takes_a_product_at_each_use() -> None:
    nodes = (
        Node("input", Input((2, 8))),
        Node("a", Linear(8, bias=False), (("input", 0),)),
        Node("b", Linear(8, bias=False), (("a", 0),), {"weight": "a.weight"}),
    )
    profile = archlab.profile(Graph("tied", nodes, (("b", 0),)), backward=True)
    assert profile.total.backward_macs == 3 * (2 * 8 * 8)
    assert profile.total.params == 8 * 8


# -- traced models --------------------------------------------------------------------------------


class Of(nn.Module):
    """Three linear layers of 8 units a, b, c and a function of them and the input."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function
        self.a, self.b, self.c = (nn.Linear(8, 8) for _ in range(3))

    def forward(self, x: Tensor) -> Any:
        return self.function(self, x)


def traced(function: Callable[..., Any]) -> dict[str, list[str]]:
    return operands(archlab.profile(Of(function), torch.zeros(2, 8), backward=True).graph)


BOTH = ["input", "weight"]


@pytest.mark.parametrize("cut", [lambda y: y.detach(), lambda y: y.data, torch.zeros_like])
def test_a_model_may_cut_its_graph(cut: Callable[[Tensor], Tensor]) -> None:
    assert traced(lambda m, x: m.b(cut(m.a(x)))) == {"b": ["weight"]}


def test_a_detached_view_leaves_the_other_way_open() -> None:
    assert traced(lambda m, x: m.b(y := m.a(x)) + m.c(y.detach())) == {"a": ["weight"], "b": BOTH, "c": ["weight"]}


def test_a_tensor_read_for_its_shape_gets_no_gradient() -> None:
    assert traced(lambda m, x: m.b(x).expand_as(m.a(x))) == {"b": ["weight"]}


def without_gradients(m: Of, x: Tensor) -> Tensor:
    with torch.no_grad():
        y = m.a(x)
        with torch.enable_grad():
            z = m.b(y)
    return m.c(y) + z


def test_what_a_model_runs_without_gradients_has_no_backward_pass() -> None:
    assert traced(without_gradients) == {"b": ["weight"], "c": ["weight"]}
    assert torch.is_grad_enabled()


def test_what_a_model_ran_without_gradients_survives_json(tmp_path: Any) -> None:
    graph = archlab.trace(Of(without_gradients), torch.zeros(2, 8), mode="training")
    assert [node.name for node in graph.nodes if node.detached] == ["a"]
    file = tmp_path / "graph.json"
    file.write_text(graph.to_json())
    assert archlab.load(file).named(graph.name) == graph


class Square(torch.autograd.Function):
    """Runs without gradients, as torch runs any such function, and turns them on and off inside."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        with torch.enable_grad():
            y = x @ weight
        with torch.no_grad():
            return y + 1

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return grads


def test_an_autograd_function_is_counted_as_autograd_would_differentiate_it() -> None:
    assert traced(lambda m, x: m.b(Square.apply(m.a(x), m.c.weight))) == {
        "a": ["weight"],
        "matmul": ["left", "right"],
        "b": BOTH,
    }


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("reentrant", [True, False])
def test_a_checkpoint_costs_its_gradients_and_no_second_forward(reentrant: bool) -> None:
    def run(m: Of, x: Tensor) -> Any:
        return m.c(checkpoint(m.b, m.a(x), use_reentrant=reentrant))

    profile = archlab.profile(Of(run), torch.zeros(2, 8), backward=True)
    assert profile.total.backward_macs == (1 + 2 + 2) * (2 * 8 * 8)
    assert profile.total.macs == (3 + 1 + 2 + 2) * (2 * 8 * 8)


def test_frozen_parameters_of_a_model_are_known() -> None:
    model = Of(lambda m, x: m.c(m.b(m.a(x))))
    model.a.requires_grad_(False)
    model.b.requires_grad_(False)
    assert operands(archlab.trace(model, torch.zeros(2, 8), mode="training")) == {"c": ["weight"]}


def test_a_model_is_traced_in_training_and_put_back() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Dropout()).eval()
    profile = archlab.profile(model, torch.zeros(2, 8), backward=True)
    assert profile.mode == "training"
    assert profile.layer("2").cost.operations["mul"] == 2 * 8
    assert not model.training


# -- results --------------------------------------------------------------------------------------

FORWARD = 1 * 14 * 14 * 48 * 480 * 5 * 5


@pytest.fixture(scope="module")
def naive() -> Profile:
    return archlab.profile("naive", backward=True)


def test_the_macs_and_twice_the_flops_are_added_and_nothing_else(naive: Profile) -> None:
    plain = archlab.profile("naive", mode="training")
    assert plain.total.macs == FORWARD
    assert naive.total.macs == 2 * FORWARD
    assert naive.total.flops == plain.total.flops + 2 * FORWARD
    assert naive.total.operations == {**plain.total.operations, "mac": 2 * FORWARD}
    for metric in ("params", "activations", "bytes_moved", "weight_bytes", "intensity"):
        assert getattr(naive.total, metric) == getattr(plain.total, metric)
    assert naive.peak_memory == plain.peak_memory
    assert naive != plain


@pytest.mark.parametrize("name", ["googlenet", "alexnet"])
def test_each_formula_gives_the_number_of_its_row(name: str) -> None:
    profile = archlab.profile(name, backward=True)
    for layer in profile.layers:
        assert layer.gradients is not None
        assert layer.formula.value == layer.cost.macs
        assert layer.forward.value + layer.cost.backward_macs == layer.cost.macs
        assert sum(f.value for f in layer.gradients.values()) == layer.cost.backward_macs
    assert sum(cost.backward_macs for cost in profile.by_block().values()) == profile.total.backward_macs


def test_the_same_product_twice_is_written_once(naive: Profile) -> None:
    assert naive.layer("5x5").formula.symbolic == "2·N·H_out·W_out·C_out·C_in·k_h·k_w"


def test_it_implies_training_with_its_auxiliary_heads() -> None:
    profile = archlab.profile("googlenet", mode="inference", backward=True)
    assert profile.mode == "training"
    assert "loss1/fc" in profile.names
    assert profile.layer("loss1/fc").cost.macs == 3 * 1 * 1024 * 2048


def test_json_says_that_the_backward_pass_is_in_it(naive: Profile) -> None:
    data = json.loads(naive.to_json())
    assert (data["mode"], data["backward"]) == ("training", True)
    assert data["total"]["backward_macs"] == FORWARD
    assert data["layers"][1]["backward_macs"] == FORWARD
    assert list(data["layers"][1]["gradients"]) == ["weight"]
    plain = json.loads(archlab.profile("naive", mode="training").to_json())
    assert plain["backward"] is False
    assert "backward_macs" not in plain["total"]


def test_a_frame_has_the_macs_of_the_backward_pass(naive: Profile) -> None:
    assert naive.to_frame()["backward_macs"].sum() == FORWARD


def test_a_profile_with_its_backward_pass_compares_with_its_like_alone(naive: Profile) -> None:
    plain = archlab.profile("reduced", mode="training")
    with pytest.raises(UsageError, match="counted in training with backward by archlab, reduced in training by"):
        archlab.compare(naive, plain)
    # 1505280 and 3763200: once for a first layer, twice for a second.
    assert archlab.compare("naive", "reduced", backward=True).others[0].total.backward_macs == 1505280 + 2 * 3763200


def test_profile_shows_both_passes(run: Run) -> None:
    shown = run("profile", "naive", "--backward").out
    assert shown.startswith("naive · training with backward · ")
    assert "112.9 M forward + 112.9 M backward" in shown
    assert "225,792,000" in shown
    assert "unfused, forward alone; 83.07 FLOP/B" in shown
    assert "backward" in shown.splitlines()[2]


def test_markdown_shows_both_passes(naive: Profile) -> None:
    assert naive.to_markdown().startswith("# naive · training with backward")


def test_compare_shows_both_passes(run: Run) -> None:
    shown = run("compare", "naive", "reduced", "--backward").out
    assert shown.startswith("naive against reduced · training with backward · ")
    assert "of them backward  112,896,000   9,031,680" in shown
    assert "of them backward" not in run("compare", "naive", "reduced", "--mode", "training").out


def test_explain_shows_the_product_of_each_gradient(run: Run) -> None:
    shown = run("explain", "reduced", "5x5", "--backward").out
    assert "3,763,200 + 3,763,200 + 3,763,200 = 11,289,600" in shown
    for part in ("forward", "gradient of input", "gradient of weight"):
        assert f"  {part}" in shown
    assert shown.count("= 1·14·14·48·16·5·5 = 3,763,200") == 3
    assert "not counted" in shown


def test_explain_says_that_a_layer_without_products_has_none(run: Run) -> None:
    shown = run("explain", "googlenet", "pool1/3x3_s2", "--backward").out
    assert "gradient of" not in shown
    assert "MACs" in shown


def test_explain_as_json_has_the_gradients_as_formulas(run: Run) -> None:
    data = json.loads(run("explain", "reduced", "5x5", "--backward", "--json").out)
    assert data["backward"] is True
    assert data["layers"][0]["gradients"]["input"]["value"] == 3763200


def test_a_model_named_on_the_command_line_is_traced_in_training(run: Run) -> None:
    pytest.importorskip("torchvision", reason="torchvision is not installed")
    shown = run("profile", "torchvision:alexnet", "--backward", "--json").out
    data = json.loads(shown)
    # 224: conv 3·64·11·11·55·55 is the first layer and takes one product more, every other two.
    first = 55 * 55 * 64 * 3 * 11 * 11
    assert data["total"]["macs"] == 3 * data_forward(data) - first
    assert data["total"]["backward_macs"] == 2 * data_forward(data) - first


def data_forward(data: dict[str, Any]) -> int:
    forward: int = data["total"]["macs"] - data["total"]["backward_macs"]
    return forward


def test_flatten_and_other_views_hand_gradients_through() -> None:
    b = Builder("views")
    x = b.add("input", Input((1, 2, 4, 4)))
    x = b.add("flatten", Flatten(), b.add("conv", Conv2d(2, 1), x))
    assert operands(b.build(b.add("fc", Linear(3), x))) == {"conv": ["weight"], "fc": BOTH}


def test_a_parameter_of_integers_needs_no_gradient() -> None:
    graph = chain(Linear(8, bias=False), Linear(8), frozen=("b",))
    params = {**graph.params, "a.weight": Param((8, 8), "int8")}
    assert operands(replace(graph, params=params, like=None)) == {}


def test_the_first_cell_of_an_lstm_alone_does_not_ask_for_its_first_state() -> None:
    # h is hidden·hidden products of every step but the first away from any output that c leads to.
    b = Builder("cells")
    x, h = b.add("input", Input((5, 2, 4))), b.add("h", Kept((1, 2, 3), learned=False))
    graph = b.build(b.add("lstm", Recurrent("lstm", 3), x, h, b.add("c", Kept((1, 2, 3)))))
    params = {key: replace(p, trainable=key.startswith("c.")) for key, p in graph.params.items()}
    found = backward(replace(graph, params=params, like=None))
    assert {name: f.value for name, f in found["lstm"].items()} == {"states of l0": (5 - 1) * 2 * (4 * 3) * 3}
