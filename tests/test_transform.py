"""Edits of graphs: the five rules of `transform`, and what they must not do."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import archlab
from archlab.errors import AblationError, GraphError, ShapeError
from archlab.ir import Builder, Graph, Node, Param
from archlab.ops import Add, BatchNorm, Concat, Conv2d, Flatten, Input, Linear, MaxPool2d, ReLU
from archlab.profiles import profile_graph
from archlab.transform import only_reader, select, trailing


def chain() -> Graph:
    """Return input -> conv -> norm -> relu -> (left, right) -> join, and a second output at relu."""
    b = Builder("chain")
    x = b.add("input", Input((1, 4, 8, 8)))
    x = b.add("relu", ReLU(), b.add("norm", BatchNorm(), b.add("conv", Conv2d(4, 3, padding=1), x)))
    left, right = b.add("left", Conv2d(4, 1), x), b.add("right", MaxPool2d(3, 1, 1), x)
    return b.build(b.add("join", Concat(), left, right), x)


def named(*names: str):  # type: ignore[no-untyped-def]
    return lambda _, node: node.name in names


def wiring(graph: Graph) -> dict[str, list[str]]:
    return {node.name: [name for name, _ in node.inputs] for node in graph.nodes}


def test_a_selection_holds_the_nodes_of_some_ops_where_a_condition_holds() -> None:
    graph = chain()
    assert [n.name for n in select(graph, Conv2d).nodes] == ["conv", "left"]
    assert [n.name for n in select(graph, Conv2d, MaxPool2d).nodes] == ["conv", "left", "right"]
    assert [n.name for n in select(graph, Conv2d, where=named("left", "right")).nodes] == ["left"]
    assert len(select(graph)) == len(graph.nodes)


def test_a_selection_says_how_many_it_holds_when_that_was_not_expected() -> None:
    selection = select(chain(), Conv2d)
    assert selection.expect() is selection
    assert selection.expect(2) is selection
    with pytest.raises(AblationError, match="chain: expected 3 matching layers, found 2"):
        selection.expect(3)


@pytest.mark.parametrize("edit", ["remove", "drop", "swap", "insert_after"])
def test_an_edit_of_nothing_is_an_error_not_a_silent_zero(edit: str) -> None:
    arguments = {"swap": [lambda *_: ReLU()], "insert_after": [lambda *_: []]}.get(edit, [])
    with pytest.raises(AblationError, match="chain: expected at least one matching layers, found 0"):
        getattr(select(chain(), Linear), edit)(*arguments)


def test_remove_joins_readers_and_outputs_to_what_the_removed_nodes_read() -> None:
    graph = select(chain(), Conv2d, BatchNorm, ReLU, where=named("conv", "norm", "relu")).remove()
    assert wiring(graph) == {"input": [], "left": ["input"], "right": ["input"], "join": ["left", "right"]}
    assert graph.outputs == (("join", 0), ("input", 0))


def test_remove_takes_along_the_norm_and_activation_that_only_the_removed_node_feeds() -> None:
    graph = select(chain(), where=named("conv")).remove(with_trailing=(BatchNorm, ReLU))
    assert wiring(graph) == {"input": [], "left": ["input"], "right": ["input"], "join": ["left", "right"]}
    kept = select(chain(), where=named("conv")).remove(with_trailing=(ReLU,))
    assert wiring(kept)["norm"] == ["input"]


def test_remove_leaves_an_activation_that_others_read_as_well() -> None:
    b = Builder("shared")
    x = b.add("input", Input((1, 4, 8, 8)))
    x = b.add("conv", Conv2d(4, 1), x)
    graph = b.build(b.add("join", Add(), b.add("relu", ReLU(), x), x))
    assert wiring(select(graph, Conv2d).remove(with_trailing=(ReLU,))) == {
        "input": [],
        "relu": ["input"],
        "join": ["relu", "input"],
    }


def test_an_output_is_never_taken_along() -> None:
    """`relu` is returned by the graph, so it is more than `conv`'s activation."""
    graph = chain()
    assert only_reader(graph, graph.node("norm")) == graph.node("relu")
    assert only_reader(graph, graph.node("relu")) is None
    assert only_reader(graph, graph.node("join")) is None
    assert [n.name for n in trailing(graph, graph.node("conv"), (BatchNorm, ReLU))] == ["norm", "relu"]
    assert trailing(graph, graph.node("conv"), (ReLU,)) == []


def test_an_activation_is_not_its_layers_alone_where_the_graph_returns_that_layer() -> None:
    b = Builder("returned")
    x = b.add("conv", Conv2d(4, 1), b.add("input", Input((1, 4, 8, 8))))
    graph = b.build(b.add("relu", ReLU(), x), x)
    assert only_reader(graph, graph.node("conv")) is None
    assert wiring(select(graph, Conv2d).remove(with_trailing=(ReLU,))) == {"input": [], "relu": ["input"]}


def test_a_node_that_reads_several_tensors_has_no_bypass() -> None:
    with pytest.raises(AblationError, match="chain: join reads 2 tensors and has no bypass"):
        select(chain(), Concat).remove()
    with pytest.raises(AblationError, match="chain: input reads 0 tensors and has no bypass"):
        select(chain(), Input).remove()


def test_drop_takes_out_everything_that_is_computed_from_a_node_and_its_outputs() -> None:
    graph = select(chain(), where=named("left")).drop()
    assert set(wiring(graph)) == {"input", "conv", "norm", "relu", "right"}
    assert graph.outputs == (("relu", 0),)
    with pytest.raises(GraphError, match="a graph needs at least one output"):
        select(chain(), where=named("conv")).drop()


def test_swap_puts_one_op_in_place_and_infers_every_shape_anew() -> None:
    graph = select(chain(), where=named("conv")).swap(lambda _, node: replace(node.op, out_channels=6, bias=False))  # type: ignore[call-arg,type-var]
    assert graph.specs["relu"][0].shape == (1, 6, 8, 8)
    assert graph.params["left.weight"].shape == (4, 6, 1, 1)
    assert "conv.bias" not in graph.params


def test_swap_puts_a_chain_in_place_whose_end_is_what_readers_and_outputs_read() -> None:
    graph = select(chain(), where=named("relu")).swap(
        lambda _, node: [("first", Conv2d(4, 1)), ("second", Conv2d(4, 1))]
    )
    assert wiring(graph)["first"] == ["norm"]
    assert wiring(graph)["second"] == ["first"]
    assert wiring(graph)["left"] == wiring(graph)["right"] == ["second"]
    assert graph.outputs == (("join", 0), ("second", 0))


def test_insert_after_puts_a_chain_in_front_of_all_readers_and_outputs() -> None:
    graph = select(chain(), where=named("relu")).insert_after(lambda _, n: [(f"{n.name}_more", ReLU())])
    assert wiring(graph)["relu_more"] == ["relu"]
    assert wiring(graph)["left"] == wiring(graph)["right"] == ["relu_more"]
    assert graph.outputs == (("join", 0), ("relu_more", 0))


def test_edits_of_neighbours_are_made_together() -> None:
    graph = select(chain(), Conv2d, BatchNorm).insert_after(lambda _, n: [(f"{n.name}_r", ReLU())])
    assert wiring(graph)["norm"] == ["conv_r"]
    assert wiring(graph)["relu"] == ["norm_r"]


def test_new_nodes_exist_in_training_alone_where_the_replaced_one_did() -> None:
    graph = select(archlab.load("googlenet"), where=named("loss1/conv")).swap(
        lambda _, node: [("loss1/a", node.op), ("loss1/b", node.op)]
    )
    assert graph.node("loss1/a").train_only
    assert graph.node("loss1/b").train_only


def test_an_edit_leaves_the_old_graph_as_it_was() -> None:
    graph, untouched = chain(), chain()
    select(graph, Conv2d).remove()
    select(graph, Conv2d).swap(lambda *_: Conv2d(4, 1))
    assert graph == untouched


def test_parameters_keep_dtype_and_trainability_by_key_when_their_shape_changes() -> None:
    graph = replace(chain(), params={"left.weight": Param((4, 4, 1, 1), "float16", trainable=False)})
    wider = select(graph, where=named("conv")).swap(lambda *_: Conv2d(6, 3, padding=1))
    assert wider.params["left.weight"] == Param((4, 6, 1, 1), "float16", trainable=False)


def test_an_edit_that_makes_shapes_misfit_says_at_which_node() -> None:
    message = r"chain: join: cannot join \(1, 4, 4, 4\) and \(1, 4, 8, 8\): dimension 2 differs"
    with pytest.raises(ShapeError, match=message):
        select(chain(), where=named("left")).swap(lambda *_: Conv2d(4, 1, stride=2))


def test_a_new_name_that_exists_already_is_refused() -> None:
    with pytest.raises(GraphError, match="two nodes are named 'left'"):
        select(chain(), where=named("conv")).insert_after(lambda *_: [("left", ReLU())])


@settings(deadline=None, max_examples=50)
@given(
    st.sets(st.sampled_from([n.name for n in archlab.load("googlenet").nodes if n.name.endswith("relu")]), min_size=1)
)
def test_removing_activations_changes_their_operations_and_nothing_else(chosen: set[str]) -> None:
    graph = archlab.load("googlenet")
    less = select(graph, where=lambda _, node: node.name in chosen).expect(len(chosen)).remove()
    before, after = profile_graph(graph, "training"), profile_graph(less, "training")
    removed = [before.layer(name).cost for name in chosen]
    assert before.total.macs == after.total.macs
    assert before.total.params == after.total.params
    assert before.total.flops - after.total.flops == sum(cost.flops for cost in removed)
    assert before.total.activations - after.total.activations == sum(cost.activations for cost in removed)


def test_concatenations_grow_with_what_they_read() -> None:
    graph = archlab.load("inception-3a")
    concat = next(node for node in graph.nodes if isinstance(node.op, Concat))
    wider = select(graph, where=named("inception_3a/1x1")).swap(lambda *_: Conv2d(100, 1))
    assert wider.specs[concat.name][0].shape[1] == graph.specs[concat.name][0].shape[1] - 64 + 100


def test_a_flatten_infers_its_size_from_what_it_reads() -> None:
    """192 = 3·8·8, 300 = 3·10·10: nothing of the old size is stored."""
    b = Builder("flat")
    x = b.add("input", Input((1, 3, 8, 8)))
    graph = b.build(b.add("fc", Linear(5), b.add("flatten", Flatten(), x)))
    bigger = graph.edit([Node("input", Input((1, 3, 10, 10))), *graph.nodes[1:]])
    assert (graph.params["fc.weight"].shape, bigger.params["fc.weight"].shape) == ((5, 192), (5, 300))
