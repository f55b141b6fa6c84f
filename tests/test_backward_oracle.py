"""Our backward passes equal those that torch counts over real ones; where torch is known to be wrong, by how much.

`FlopCounterMode` multiplies all channels for the weight of a grouped convolution. Every other count is equal.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

import archlab
from archlab.analyses.backward import needing_gradients
from archlab.ops.functions import ELEMENTWISE, REDUCTIONS
from archlab.profiles import Profile
from archlab.pytorch.backward import counted, groups_ignored
from archlab.zoo.catalog import ARCHITECTURES

pytestmark = pytest.mark.filterwarnings("ignore")


def split(profile: Profile) -> tuple[int, int]:
    """Return the MACs of the forward and of the backward pass."""
    return profile.total.macs - profile.total.backward_macs, profile.total.backward_macs


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_of_the_zoo_counts_as_torch_does_but_for_groups(name: str) -> None:
    graph = archlab.load(name)
    inputs = [torch.empty(spec.shape, device="meta") for spec in graph.inputs.values()]
    profile = archlab.profile(graph, backward=True)
    forward, backward = counted(archlab.lower(graph, "meta").train(), *inputs)
    assert split(profile) == (forward, backward - groups_ignored(profile))
    assert bool(groups_ignored(profile)) == (name == "alexnet")  # alone has groups: Krizhevsky's two GPUs


def test_the_groups_of_alexnet_are_right_by_hand() -> None:
    # conv2, 4 and 5 run in two groups. A 5×5 over 48 of 96 channels at 27×27; a 3×3 over 192 of 384 at 13×13.
    products = {"conv2": 256 * 27 * 27 * 48 * 5 * 5, "conv4": 384 * 13 * 13 * 192 * 3 * 3}
    products["conv5"] = 256 * 13 * 13 * 192 * 3 * 3
    profile = archlab.profile("alexnet", backward=True)
    for name, product in products.items():
        assert profile.layer(name).cost.macs == 3 * product
    assert groups_ignored(profile) == (2 - 1) * sum(products.values())


GROUPED = {
    "convnext_tiny", "efficientnet_b0", "maxvit_t", "mnasnet1_0", "mobilenet_v2", "mobilenet_v3_large",
    "regnet_y_400mf", "resnext50_32x4d", "shufflenet_v2_x1_0",
}  # fmt: skip
OTHERS = {
    "alexnet", "densenet121", "googlenet", "inception_v3", "resnet18", "resnet50", "squeezenet1_0", "swin_t",
    "vgg16", "vit_b_16", "wide_resnet50_2",
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(GROUPED | OTHERS))
def test_a_torchvision_model_counts_as_torch_does_but_for_groups(name: str) -> None:
    pytest.importorskip("torchvision")
    from archlab.pytorch.models import torchvision_model

    model, ((image,), _) = torchvision_model(name, {})
    images = torch.empty((2, *image.shape[1:]), device="meta")
    profile = archlab.profile(model, images, backward=True)
    forward, backward = counted(model.train(), images)
    assert split(profile) == (forward, backward - groups_ignored(profile))
    assert (groups_ignored(profile) > 0) == (name in GROUPED)


# -- random chains --------------------------------------------------------------------------------

KINDS = ("conv", "grouped", "transposed", "linear", "matmul", "bmm", "self", "skip", "relu", "einsum", "norm")
LAYERS = st.lists(
    st.tuples(st.sampled_from(KINDS), st.sampled_from(["trains", "trains", "frozen", "no_grad", "detached"])),
    min_size=1,
    max_size=6,
)


class Chain(nn.Module):
    """Layers over (2, 4, 5, 5) that keep the shape; some are frozen, or run without gradients, or are cut off."""

    def __init__(self, layers: list[tuple[str, str]], also: int) -> None:
        super().__init__()
        self.kinds, self.also = layers, also
        made = {"conv": lambda: nn.Conv2d(4, 4, 3, padding=1), "linear": lambda: nn.Linear(5, 5)}
        made["grouped"] = lambda: nn.Conv2d(4, 4, 3, padding=1, groups=2)
        made["transposed"] = lambda: nn.ConvTranspose2d(4, 4, 3, padding=1)
        made["norm"] = lambda: nn.BatchNorm2d(4)
        self.layers = nn.ModuleList(made.get(kind, nn.Identity)() for kind, _ in layers)
        self.matrices = nn.ParameterList(torch.zeros(5, 5) for _ in layers)
        self.batches = nn.ParameterList(torch.zeros(8, 5, 5) for _ in layers)
        for i, (_, how) in enumerate(layers):
            for part in (self.layers[i], self.matrices[i], self.batches[i]):
                part.requires_grad_(how != "frozen")

    def step(self, i: int, kind: str, x: Tensor, first: Tensor) -> Tensor:
        if kind == "matmul":
            return x @ self.matrices[i]
        if kind == "bmm":
            return torch.bmm(x.reshape(8, 5, 5), self.batches[i]).reshape(2, 4, 5, 5)
        if kind == "einsum":
            return torch.einsum("nchw,wk->nchk", x, self.matrices[i])
        if kind == "self":
            return x @ x.transpose(-1, -2)
        if kind == "skip":
            return x + first
        return x.relu() if kind == "relu" else self.layers[i](x)

    def forward(self, x: Tensor) -> Any:
        first, seen = x, []
        for i, (kind, how) in enumerate(self.kinds):
            with torch.set_grad_enabled(how != "no_grad"):
                x = self.step(i, kind, x, first)
            x = x.detach() if how == "detached" else x
            seen.append(x)
        return x, seen[self.also % len(seen)], x.argmax(-1)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(LAYERS, st.integers(0, 5))
def test_random_chains_with_frozen_and_cut_layers_count_as_torch_does(
    layers: list[tuple[str, str]], also: int
) -> None:
    model, x = Chain(layers, also), torch.zeros(2, 4, 5, 5)
    profile = archlab.profile(model, x, backward=True)
    forward, backward = counted(model, x)
    assert split(profile) == (forward, backward - groups_ignored(profile))


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from([nn.GRU, nn.LSTM, nn.RNN]),
    st.integers(1, 3),
    st.booleans(),
    st.booleans(),
    st.sampled_from([0, 2]),
    st.sampled_from([(4, 2, 3), (4, 3), (1, 2, 3)]),
    st.sets(st.integers(0, 30)),
    st.booleans(),
)
def test_random_recurrent_layers_count_as_torch_does(
    kind: Any, layers: int, both: bool, first: bool, projection: int, shape: Any, frozen: set[int], learned: bool
) -> None:
    options = {"proj_size": projection} if kind is nn.LSTM else {}
    layer = kind(3, 5, layers, bidirectional=both, batch_first=first, **options)
    for i, (name, parameter) in enumerate(layer.named_parameters()):
        # At least the last layer trains: torch runs no backward pass for nothing.
        parameter.requires_grad_(i not in frozen or f"_l{layers - 1}" in name)
    width = projection if projection and kind is nn.LSTM else 5
    batch = () if len(shape) == 2 else (shape[0 if first else 1],)
    states = nn.ParameterList(torch.zeros(layers * (1 + both), *batch, size) for size in (width, 5))
    states.requires_grad_(learned)

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.states = layer, states

        def forward(self, x: Tensor) -> Any:
            return self.layer(x, tuple(self.states) if kind is nn.LSTM else self.states[0])

    profile = archlab.profile(Model(), torch.zeros(shape), backward=True)
    assert split(profile) == counted(Model(), torch.zeros(shape))


def test_a_packed_sequence_hands_back_one_state_a_real_step() -> None:
    packed = nn.utils.rnn.pack_padded_sequence
    model = nn.GRU(4, 3)
    whole = nn.Module()
    whole.add_module("layer", model)

    def run(x: Tensor) -> Any:
        outputs, states = model(packed(x, torch.tensor([5, 3])))
        return outputs.data, states

    whole.forward = run  # type: ignore[method-assign]
    profile = archlab.profile(whole, torch.zeros(5, 2, 4), backward=True)
    # 5 + 3 rows; all but the first two read the state of an earlier step.
    assert profile.total.backward_macs == (5 + 3) * 9 * 4 + (5 + 3) * 9 * 3 + (5 + 3 - 2) * 9 * 3
    assert split(profile) == counted(whole, torch.zeros(5, 2, 4))


class Attending(nn.Module):
    """Attention of projections of one input, grouped or not, with a mask that is learned, given or absent."""

    def __init__(self, frozen: set[str], mask: str, shared: int) -> None:
        super().__init__()
        self.q, self.k, self.v = nn.Linear(6, 8), nn.Linear(6, 2 * shared), nn.Linear(6, 2 * shared)
        self.mask, self.bias = mask, nn.Parameter(torch.zeros(3, 3))
        self.shared = shared
        for name in frozen:
            self.get_submodule(name).requires_grad_(False)
        self.bias.requires_grad_(mask == "learned")

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (layer(x).unflatten(-1, (-1, 2)).transpose(1, 2) for layer in (self.q, self.k, self.v))
        mask = None if self.mask == "none" else self.bias
        return functional.scaled_dot_product_attention(q, k, v, mask, enable_gqa=self.shared != 4)


@settings(deadline=None, max_examples=80)
@given(st.sets(st.sampled_from("qkv")), st.sampled_from(["none", "given", "learned"]), st.sampled_from([4, 2, 1]))
def test_attention_counts_as_its_two_products_do_in_torch(frozen: set[str], mask: str, shared: int) -> None:
    model, x = Attending(frozen, mask, shared), torch.zeros(2, 3, 6)
    assert split(archlab.profile(model, x, backward=True)) == counted(model, x)


@pytest.mark.parametrize("cross", [False, True])
def test_multi_head_attention_counts_as_torch_does(cross: bool) -> None:
    layer = nn.MultiheadAttention(8, 2, batch_first=True)

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.before, self.layer = nn.Linear(8, 8), layer

        def forward(self, x: Tensor, y: Tensor) -> Any:
            x = self.before(x)
            return self.layer(x, y if cross else x, y if cross else x, need_weights=False)[0]

    inputs = torch.zeros(2, 5, 8), torch.zeros(2, 5, 8)
    assert split(archlab.profile(Model(), *inputs, backward=True)) == counted(Model(), *inputs)


@pytest.mark.parametrize("kind", [nn.Conv1d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose3d])
@pytest.mark.parametrize("groups", [1, 2])
def test_convolutions_over_other_axes_count_as_torch_does_but_for_groups(kind: Any, groups: int) -> None:
    rank = int(kind.__name__[-2])
    model = nn.Sequential(kind(4, 6, 3, stride=2, padding=1, groups=groups), kind(6, 4, 2, groups=groups))
    x = torch.zeros(2, 4, *(7, 6, 9)[:rank])
    profile = archlab.profile(model, x, backward=True)
    forward, backward = counted(model, x)
    assert split(profile) == (forward, backward - groups_ignored(profile))
    assert (groups_ignored(profile) > 0) == (groups > 1)


# -- where gradients flow ---------------------------------------------------------------------------

LIKE: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "expand_as": Tensor.expand_as,
    "view_as": Tensor.view_as,
    "type_as": Tensor.type_as,
    "zeros_like": lambda w, x: torch.zeros_like(w),
    "new_ones": lambda w, x: w.new_ones(2, 2),
    "full_like": lambda w, x: torch.full_like(w, 2.0),
    "sort": lambda w, x: w.sort(),
    "topk": lambda w, x: w.topk(2),
    "argsort": lambda w, x: w.argsort(),
    "gather": lambda w, x: w.gather(1, w.argsort()),
    "index": lambda w, x: w[torch.tensor([1, 0])],
    "cat": lambda w, x: torch.cat([x, w]),
    "stack": lambda w, x: torch.stack([x, w]),
    "split": lambda w, x: w.split(2),
    "where": lambda w, x: torch.where(w > 0, w, x),
    "one_hot": lambda w, x: functional.one_hot(w.argmax(-1), 4),
    "to half": lambda w, x: w.half(),
    "to long": lambda w, x: w.long(),
    "clone": lambda w, x: w.clone(),
    "setitem": lambda w, x: (y := x.clone(), y.__setitem__(0, w[0]))[0],
    "copy_": lambda w, x: x.clone().copy_(w),
    "add_": lambda w, x: x.clone().add_(w),
    "max": lambda w, x: w.max(1),
    "histc": lambda w, x: w.histc(),
    "searchsorted": torch.searchsorted,
    "pad": lambda w, x: functional.pad(w, (1, 1)),
    "interpolate": lambda w, x: functional.interpolate(w[None, None], scale_factor=2, mode="bilinear"),
    "bernoulli": lambda w, x: torch.bernoulli(w),
    "complex": lambda w, x: torch.view_as_real(torch.view_as_complex(w.reshape(4, 2, 2))),
}


class Learned(nn.Module):
    """A function of a learned tensor and an input, in either order."""

    def __init__(self, function: Callable[..., Any], swapped: bool) -> None:
        super().__init__()
        self.weight, self.function, self.swapped = nn.Parameter(torch.full((4, 4), 0.5)), function, swapped

    def forward(self, x: Tensor) -> Any:
        w = self.weight * 1
        return self.function(x, w) if self.swapped else self.function(w, x)


def needing(model: nn.Module) -> list[bool]:
    graph = archlab.trace(model, torch.ones(4, 4), mode="training")
    found = needing_gradients(graph)
    return [ref in found for ref in graph.outputs]


def needing_in_torch(model: nn.Module) -> list[bool]:
    outputs = torch.utils._pytree.tree_leaves(model(torch.ones(4, 4)))
    return [output.requires_grad for output in outputs]


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("name", LIKE)
def test_a_gradient_flows_where_torch_lets_it(name: str, swapped: bool) -> None:
    def function(a: Tensor, b: Tensor) -> Any:
        return LIKE[name](a, b)

    assert needing(Learned(function, swapped)) == needing_in_torch(Learned(function, swapped))


def callables() -> dict[str, Callable[..., Any]]:
    """Return the functions of one or two tensors among those of `ops.functions` that torch has by their name."""
    found: dict[str, Callable[..., Any]] = {}
    for name in (*ELEMENTWISE, *REDUCTIONS):
        function = getattr(torch, name, None) or getattr(functional, name, None)
        for call in (lambda w, x, f=function: f(w), lambda w, x, f=function: f(w, x)):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    call(torch.rand(4, 4), torch.rand(4, 4))
            except (TypeError, RuntimeError, ValueError):
                continue
            found[name] = call
            break
    for name in ("mode", "where"):  # without a dimension, or with a condition alone, it is another function
        del found[name]
    return found


CALLABLE = callables()


@pytest.mark.parametrize("name", CALLABLE)
def test_a_function_of_elements_hands_a_gradient_on_where_torch_does(name: str) -> None:
    assert needing(Learned(CALLABLE[name], False)) == needing_in_torch(Learned(CALLABLE[name], False))


def test_most_functions_of_elements_are_tried() -> None:
    assert len(CALLABLE) > 100
