"""The correctness battery of `shared/peers.md`: right, or uncounted and listed; never wrong and silent.

Each expected value is a product derived by hand.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import archlab
from archlab.ir import Graph, TensorSpec
from archlab.ops import Unknown
from archlab.profiles import profile_graph
from archlab.pytorch.trace import trace

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


class Case(NamedTuple):
    make: Callable[[], Any]
    inputs: Callable[[], tuple[Any, ...]]
    macs: int
    params: int | None = None
    keywords: Callable[[], dict[str, Any]] = dict


def unknown(graph: Graph) -> Counter[str]:
    return Counter(node.op.function for node in graph.nodes if isinstance(node.op, Unknown))


def r(*shape: int) -> Tensor:
    return torch.zeros(shape)


class Of(nn.Module):
    """A module around a function, with submodules by name."""

    def __init__(self, function: Callable[..., Any], **modules: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(self, *args, **kwargs)


def shared_three_times() -> nn.Module:
    layer = nn.Linear(16, 16)
    return nn.Sequential(layer, layer, layer)


def two_parents() -> nn.Module:
    shared = nn.Linear(16, 16)
    return nn.Sequential(nn.Sequential(shared, nn.ReLU()), nn.Sequential(shared, nn.ReLU()))


def tied() -> nn.Module:
    embedding, head = nn.Embedding(100, 32), nn.Linear(32, 100, bias=False)
    head.weight = embedding.weight
    return nn.Sequential(embedding, head)


class Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        return x @ weight

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return grads


def encoder_layer() -> nn.Module:
    return nn.TransformerEncoderLayer(64, 4, 128, batch_first=True)


def experts() -> nn.Module:
    def run(self: Any, x: Tensor) -> Tensor:
        scores = self.gate(x)
        return self.expert(x) * scores.softmax(-1).amax(-1, keepdim=True)

    return Of(run, gate=nn.Linear(16, 4), expert=nn.Linear(16, 16))


def checkpointed() -> nn.Module:
    from torch.utils.checkpoint import checkpoint

    block = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 16))
    return Of(lambda self, x: checkpoint(self.block, x, use_reentrant=False), block=block)


def looped(self: Any, x: Tensor, n: Tensor) -> Tensor:
    for _ in range(int(n)):
        x = self.layer(x)
    return x


def quantised() -> nn.Module:
    from torch.ao.quantization import quantize_dynamic

    return quantize_dynamic(nn.Sequential(nn.Linear(64, 32)), {nn.Linear}, dtype=torch.qint8)


class Attends(nn.Module):
    def forward(self, q: Tensor) -> Tensor:
        return functional.scaled_dot_product_attention(q, q, q)


def quantised_layers() -> nn.Module:
    """A convolution and a linear layer that read and make 8 bits."""
    from torch.ao.nn.quantized import Conv2d, DeQuantize, Linear, Quantize

    ends = Quantize(0.1, 0, torch.quint8), DeQuantize()
    return nn.Sequential(ends[0], Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), Linear(8, 4), ends[1])


class Method(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(16, 8)

    def encode(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.layer.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.encode(x)


def deformable() -> nn.Module:
    torchvision = pytest.importorskip("torchvision")
    return Of(
        lambda self, x, offset: self.conv(x, offset),
        conv=torchvision.ops.DeformConv2d(4, 8, 3, padding=1, bias=False),
    )


def sparse() -> nn.Module:
    module = Of(lambda self, x: torch.sparse.mm(self.matrix, x))
    module.register_buffer("matrix", torch.eye(16).to_sparse())
    return module


def weight_normed() -> nn.Module:
    return nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 8, 3, padding=1))


def old_weight_norm() -> nn.Module:
    return nn.utils.weight_norm(nn.Conv2d(3, 8, 3, padding=1))


def with_cond() -> nn.Module:
    def run(self: Any, x: Tensor, flag: Tensor) -> Any:
        return torch.cond(flag, lambda t: self.a(t).relu(), lambda t: self.b(t).tanh(), (x,))

    return Of(run, a=nn.Linear(16, 8), b=nn.Linear(16, 8))


def flex() -> nn.Module:
    from torch.nn.attention.flex_attention import flex_attention

    return Of(lambda self, q, k, v: flex_attention(q, k, v))


LSTM_MACS = 5 * 2 * (4 * 20 * 10 + 4 * 20 * 20) + 5 * 2 * (4 * 20 * 20 + 4 * 20 * 20)
GRU_MACS = 2 * 5 * 2 * (3 * 20 * 10 + 3 * 20 * 20)
ATTENTION = 2 * 4 * 10 * 10 * 16 * 2  # batch, heads, queries, keys, width, scores and values
MHA_MACS = 3 * (2 * 10 * 64 * 64) + ATTENTION + 2 * 10 * 64 * 64

CASES: dict[str, Case] = {
    "conv": Case(lambda: nn.Conv2d(3, 8, 3), lambda: (r(1, 3, 16, 16),), 14 * 14 * 8 * 3 * 3 * 3, 8 * 3 * 9 + 8),
    "conv_batch_4": Case(lambda: nn.Conv2d(3, 8, 3), lambda: (r(4, 3, 16, 16),), 4 * 14 * 14 * 8 * 3 * 3 * 3),
    "conv_unbatched": Case(lambda: nn.Conv2d(3, 8, 3), lambda: (r(3, 16, 16),), 14 * 14 * 8 * 3 * 3 * 3, 8 * 27 + 8),
    "conv_depthwise_dilated_stride": Case(
        lambda: nn.Conv2d(8, 16, 3, stride=2, dilation=2, padding=2, groups=8), lambda: (r(1, 8, 16, 16),),
        8 * 8 * 16 * 1 * 9),
    "conv_padding_same": Case(
        lambda: nn.Conv2d(3, 8, 5, padding="same"), lambda: (r(1, 3, 16, 16),), 16 * 16 * 8 * 3 * 25),
    "conv_circular": Case(
        lambda: nn.Conv2d(3, 8, 3, padding=1, padding_mode="circular"), lambda: (r(1, 3, 16, 16),),
        16 * 16 * 8 * 3 * 9),
    "conv1d": Case(lambda: nn.Conv1d(3, 8, 3), lambda: (r(2, 3, 16),), 2 * 14 * 8 * 3 * 3),
    "conv3d": Case(lambda: nn.Conv3d(3, 8, 3), lambda: (r(1, 3, 8, 8, 8),), 6 * 6 * 6 * 8 * 3 * 27),
    "conv_transposed": Case(
        lambda: nn.ConvTranspose2d(8, 4, 4, stride=2, padding=1), lambda: (r(1, 8, 8, 8),), 8 * 8 * 8 * 4 * 16),
    "functional_conv": Case(
        lambda: functional.conv2d, lambda: (r(1, 3, 16, 16), r(8, 3, 3, 3)), 14 * 14 * 8 * 27),
    "functional_linear": Case(lambda: functional.linear, lambda: (r(4, 16), r(8, 16)), 4 * 8 * 16),
    "matmul_operator": Case(lambda: lambda a, b: a @ b, lambda: (r(2, 4, 8), r(8, 16)), 2 * 4 * 16 * 8),
    "bmm": Case(lambda: torch.bmm, lambda: (r(2, 4, 8), r(2, 8, 16)), 2 * 4 * 16 * 8),
    "mv_dot": Case(lambda: lambda a, b: (a @ b).dot(r(4)), lambda: (r(4, 8), r(8)), 4 * 8 + 4),
    "einsum": Case(
        lambda: lambda a, b: torch.einsum("bhid,bhjd->bhij", a, b), lambda: (r(2, 3, 4, 8), r(2, 3, 5, 8)),
        2 * 3 * 4 * 5 * 8),
    "einsum_ellipsis": Case(
        lambda: lambda a, b: torch.einsum("...ij,jk->...ik", a, b), lambda: (r(2, 3, 4), r(4, 5)), 2 * 3 * 5 * 4),
    "einsum_three": Case(
        lambda: lambda a, b, c: torch.einsum("ij,jk,kl->il", a, b, c), lambda: (r(2, 3), r(3, 4), r(4, 5)),
        2 * 4 * 3 + 2 * 5 * 4),
    "einsum_own_weight": Case(
        lambda: Of(lambda self, x: torch.einsum("...i,oi->...o", x, self.layer.weight), layer=nn.Linear(8, 4, False)),
        lambda: (r(2, 3, 8),), 2 * 3 * 4 * 8, 4 * 8),
    "tensordot": Case(lambda: lambda a, b: torch.tensordot(a, b, 1), lambda: (r(2, 3, 4), r(4, 5)), 2 * 3 * 5 * 4),
    "inner": Case(lambda: torch.inner, lambda: (r(3, 4), r(5, 4)), 3 * 5 * 4),
    "chain": Case(
        lambda: lambda a, b, c: torch.linalg.multi_dot((a, b, c)), lambda: (r(2, 3), r(3, 4), r(4, 5)),
        2 * 4 * 3 + 2 * 5 * 4),
    "sdpa": Case(
        lambda: functional.scaled_dot_product_attention, lambda: (r(2, 4, 10, 16),) * 3, ATTENTION),
    "sdpa_cross": Case(
        lambda: functional.scaled_dot_product_attention, lambda: (r(2, 4, 10, 16), r(2, 4, 7, 16), r(2, 4, 7, 16)),
        2 * 4 * 10 * 7 * 16 * 2),
    "sdpa_gqa": Case(
        lambda: lambda q, k, v: functional.scaled_dot_product_attention(q, k, v, enable_gqa=True),
        lambda: (r(2, 4, 10, 16), r(2, 2, 10, 16), r(2, 2, 10, 16)), ATTENTION),
    "sdpa_causal": Case(
        lambda: lambda q: functional.scaled_dot_product_attention(q, q, q, is_causal=True),
        lambda: (r(2, 4, 10, 16),), ATTENTION),
    "mha": Case(
        lambda: Of(lambda self, x: self.mha(x, x, x), mha=nn.MultiheadAttention(64, 4, batch_first=True)),
        lambda: (r(2, 10, 64),), MHA_MACS, 3 * 64 * 64 + 3 * 64 + 64 * 64 + 64),
    "mha_cross_bias_kv": Case(
        lambda: Of(lambda self, x, y: self.mha(x, y, y)[0], mha=nn.MultiheadAttention(64, 4, add_bias_kv=True)),
        lambda: (r(10, 2, 64), r(6, 2, 64)),
        2 * 10 * 64 * 64 * 2 + 2 * (2 * 6 * 64 * 64) + 2 * 4 * 10 * 7 * 16 * 2),
    "encoder_layer": Case(
        encoder_layer, lambda: (r(2, 10, 64),), MHA_MACS + 2 * (2 * 10 * 64 * 128)),
    "encoder": Case(
        lambda: nn.TransformerEncoder(encoder_layer(), 2), lambda: (r(2, 10, 64),),
        2 * (MHA_MACS + 2 * (2 * 10 * 64 * 128))),
    "transformer": Case(
        lambda: nn.Transformer(64, 4, 1, 1, 128, batch_first=True), lambda: (r(2, 10, 64), r(2, 10, 64)),
        3 * MHA_MACS + 2 * 2 * (2 * 10 * 64 * 128)),
    "lstm": Case(
        lambda: nn.LSTM(10, 20, 2), lambda: (r(5, 2, 10),), LSTM_MACS,
        4 * 20 * (10 + 20) + 4 * 20 * (20 + 20) + 2 * 2 * 4 * 20),
    "lstm_unbatched": Case(lambda: nn.LSTM(10, 20, 2), lambda: (r(5, 10),), LSTM_MACS // 2),
    "lstm_projection": Case(
        lambda: nn.LSTM(10, 20, proj_size=6), lambda: (r(5, 2, 10),), 5 * 2 * (80 * 10 + 80 * 6 + 20 * 6)),
    "gru_bidirectional": Case(
        lambda: nn.GRU(10, 20, bidirectional=True, batch_first=True), lambda: (r(2, 5, 10),), GRU_MACS,
        2 * (60 * (10 + 20) + 2 * 60)),
    "rnn": Case(lambda: nn.RNN(10, 20), lambda: (r(5, 2, 10),), 5 * 2 * (20 * 10 + 20 * 20)),
    "lstm_cell": Case(lambda: nn.LSTMCell(10, 20), lambda: (r(2, 10),), 2 * (80 * 10 + 80 * 20), 80 * 30 + 160),
    "gru_cell": Case(lambda: nn.GRUCell(10, 20), lambda: (r(2, 10),), 2 * (60 * 10 + 60 * 20), 60 * 30 + 120),
    "shared_three_times": Case(shared_three_times, lambda: (r(4, 16),), 3 * 4 * 16 * 16, 16 * 16 + 16),
    "shared_by_two_parents": Case(two_parents, lambda: (r(4, 16),), 2 * 4 * 16 * 16, 16 * 16 + 16),
    "tied_embedding_and_head": Case(
        tied, lambda: (torch.zeros(2, 8, dtype=torch.int64),), 2 * 8 * 32 * 100, 100 * 32),
    "keywords_only": Case(
        lambda: Of(lambda self, *, x, scale: self.layer(x) * scale, layer=nn.Linear(16, 8)), lambda: (),
        4 * 8 * 16, 8 * 16 + 8, lambda: {"x": r(4, 16), "scale": 2.0}),
    "dict_in_dict_out": Case(
        lambda: Of(lambda self, d: {"y": self.layer(d["x"])}, layer=nn.Linear(16, 8)), lambda: ({"x": r(4, 16)},),
        4 * 8 * 16),
    "data_dependent_loop": Case(
        lambda: Of(looped, layer=nn.Linear(16, 16)), lambda: (r(4, 16), torch.tensor(3)), 3 * 4 * 16 * 16),
    "autograd_function": Case(
        lambda: Of(lambda self, x: Square.apply(x, self.layer.weight), layer=nn.Linear(16, 16, False)),
        lambda: (r(4, 16),), 4 * 16 * 16, 16 * 16),
    "deform_conv": Case(
        deformable, lambda: (r(1, 4, 16, 16), r(1, 18, 16, 16)), 16 * 16 * 8 * 4 * 9, 8 * 4 * 9),
    "unfold_matmul": Case(
        lambda: lambda x, w: w @ functional.unfold(x, 3), lambda: (r(1, 3, 16, 16), r(8, 27)), 14 * 14 * 8 * 27),
    "bilinear": Case(  # A·x₂ of every output feature, and its product with x₁
        lambda: nn.Bilinear(16, 16, 8), lambda: (r(4, 16), r(4, 16)), 4 * 8 * 16 * 16 + 4 * 8 * 16, 8 * 256 + 8),
    "weight_norm": Case(weight_normed, lambda: (r(1, 3, 16, 16),), 16 * 16 * 8 * 27, 8 * 27 + 8 + 8),
    "old_weight_norm": Case(old_weight_norm, lambda: (r(1, 3, 16, 16),), 16 * 16 * 8 * 27, 8 * 27 + 8 + 8),
    "spectral_norm": Case(  # in evaluation: σ = uᵀ·(W·v)
        lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(16, 8)), lambda: (r(4, 16),),
        4 * 16 * 8 + 8 * 16 + 8, 8 * 16 + 8),
    "experts": Case(experts, lambda: (r(4, 16),), 4 * 4 * 16 + 4 * 16 * 16),
    "addmm": Case(lambda: torch.addmm, lambda: (r(4, 8), r(4, 16), r(16, 8)), 4 * 8 * 16),
    "baddbmm": Case(lambda: torch.baddbmm, lambda: (r(2, 4, 8), r(2, 4, 16), r(2, 16, 8)), 2 * 4 * 8 * 16),
    "addbmm": Case(lambda: torch.addbmm, lambda: (r(4, 8), r(2, 4, 16), r(2, 16, 8)), 2 * 4 * 8 * 16),
    "addmv": Case(lambda: torch.addmv, lambda: (r(4), r(4, 16), r(16)), 4 * 16),
    "bf16_linear": Case(
        lambda: nn.Linear(16, 8).bfloat16(), lambda: (torch.zeros(4, 16, dtype=torch.bfloat16),), 4 * 8 * 16),
    "quantised": Case(quantised, lambda: (r(4, 64),), 4 * 32 * 64),
    "scripted": Case(
        lambda: torch.jit.script(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 4))),
        lambda: (r(1, 3, 8, 8),), 36 * 8 * 27 + 4 * 8 * 36, 8 * 27 + 8 + 4 * 288 + 4),
    "script_traced": Case(
        lambda: torch.jit.trace(nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(288, 4)), r(1, 3, 8, 8)),
        lambda: (r(1, 3, 8, 8),), 36 * 8 * 27 + 4 * 8 * 36, 8 * 27 + 8 + 4 * 288 + 4),
    "scripted_attention": Case(
        lambda: torch.jit.script(Attends()), lambda: (r(2, 4, 10, 16),), ATTENTION),
    "scripted_encoder_layer": Case(
        lambda: torch.jit.script(encoder_layer().eval()), lambda: (r(2, 10, 64),), MHA_MACS + 2 * (2 * 10 * 64 * 128),
        4 * 64 * 64 + 4 * 64 + 2 * 64 * 128 + 128 + 64 + 4 * 64),
    "embedding_bag": Case(lambda: nn.EmbeddingBag(10, 4), lambda: (torch.zeros(3, 5, dtype=torch.int64),), 0, 40),
    "quantised_layers": Case(
        quantised_layers, lambda: (r(1, 3, 16, 16),), 14 * 14 * 8 * 27 + 4 * 8, 0),
    "checkpointed": Case(checkpointed, lambda: (r(4, 16),), 2 * 4 * 16 * 32),
    "vmap": Case(
        lambda: Of(lambda self, x: torch.vmap(self.layer)(x), layer=nn.Linear(16, 8)), lambda: (r(8, 4, 16),),
        8 * 4 * 8 * 16, 8 * 16 + 8),
    "method": Case(Method, lambda: (r(4, 16),), 4 * 8 * 16, 8 * 16),
    "compiled": Case(
        lambda: torch.compile(nn.Sequential(nn.Linear(16, 8), nn.ReLU()), backend="eager"), lambda: (r(4, 16),),
        4 * 8 * 16, 8 * 16 + 8),
    "compiled_inside": Case(
        lambda: nn.Sequential(torch.compile(nn.Linear(16, 8), backend="eager"), nn.Linear(8, 4)), lambda: (r(4, 16),),
        4 * 8 * 16 + 4 * 4 * 8),
    "sparse": Case(sparse, lambda: (r(16, 8),), 16 * 8),  # 16 kept elements meet 8 columns
    "cond": Case(with_cond, lambda: (r(4, 16), torch.tensor(True)), 4 * 8 * 16),
    "flex_attention": Case(flex, lambda: (r(2, 4, 10, 16),) * 3, ATTENTION),
    "cdist": Case(lambda: torch.cdist, lambda: (r(4, 8), r(5, 8)), 0),
}  # fmt: skip


def traced(case: Case) -> Graph:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return trace(case.make(), *case.inputs(), **case.keywords())


@pytest.mark.parametrize("name", CASES)
def test_counts_are_right_or_listed(name: str) -> None:
    case = CASES[name]
    graph = traced(case)
    profile = profile_graph(graph)
    assert not unknown(graph)
    assert profile.total.macs == case.macs
    if case.params is not None:
        assert profile.parameters["read"] == case.params


def test_an_unknown_op_is_listed() -> None:
    @torch.library.custom_op("archlab_test::scan", mutates_args=())
    def scan(x: Tensor) -> Tensor:
        return x.clone()

    @scan.register_fake
    def _(x: Tensor) -> Tensor:
        return torch.empty_like(x)

    graph = trace(Of(lambda self, x: scan(self.layer(x)), layer=nn.Linear(16, 8)), r(4, 16))
    assert unknown(graph) == {"archlab_test::scan": 1}
    assert profile_graph(graph).total.macs == 4 * 8 * 16


def test_a_packed_sequence_counts_its_real_steps() -> None:
    def run(self: Any, x: Tensor, lengths: Tensor) -> Any:
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True)
        return nn.utils.rnn.pad_packed_sequence(self.lstm(packed)[0], batch_first=True)[0]

    graph = trace(Of(run, lstm=nn.LSTM(10, 20)), r(3, 7, 10), torch.tensor([7, 4, 2]))
    assert profile_graph(graph).total.macs == (7 + 4 + 2) * (80 * 10 + 80 * 20)
    assert graph.specs[graph.outputs[0][0]][0].shape == (3, 7, 20)


def test_experts_without_a_known_assignment_share_the_tokens_and_the_result_says_so() -> None:
    def run(self: Any, x: Tensor) -> Tensor:
        chosen = self.gate(x).argmax(-1)
        return torch.stack([self.a(x[chosen == 0]).sum(), self.b(x[chosen == 1]).sum()])

    module = Of(run, gate=nn.Linear(16, 2), a=nn.Linear(16, 16), b=nn.Linear(16, 16, bias=False))
    graph = trace(module, r(5, 16))
    profile = profile_graph(graph)
    assert profile.total.macs == 5 * 2 * 16 + 3 * 16 * 16 + 2 * 16 * 16  # rows 0, 2, 4 and rows 1, 3
    assert profile.assumed == {"each token goes to 1 of 2 experts, evenly, whatever the router says": 1}


def test_known_masks_decide_shapes() -> None:
    def run(x: Tensor, mask: Tensor) -> Tensor:
        rows, columns = torch.where(mask)
        return x[mask] @ r(len(rows), 3) + x.masked_select(mask) @ r(len(columns), 3) + mask.nonzero()[0, 0]

    graph = trace(run, r(4, 4), torch.eye(4, dtype=torch.bool))
    assert profile_graph(graph).total.macs == 2 * 4 * 3


def test_writes_into_views_reach_what_they_are_views_of() -> None:
    def run(self: Any, x: Tensor) -> Tensor:
        steps = torch.zeros(4, dtype=torch.int64)
        steps[1:3].fill_(2)
        steps.narrow(0, 3, 1).add_(1)
        for _ in range(int(steps.sum())):
            x = self.layer(x)
        return x

    graph = trace(Of(run, layer=nn.Linear(16, 16)), r(4, 16))
    assert profile_graph(graph).total.macs == 5 * 4 * 16 * 16


def test_on_meta_it_counts_the_same() -> None:
    with torch.device("meta"):
        model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8 * 36, 4))
        x = torch.zeros(1, 3, 8, 8)
    profile = profile_graph(trace(model, x))
    assert profile.total.macs == 36 * 8 * 27 + 4 * 8 * 36
    assert profile.parameters["read"] == 8 * 27 + 8 + 16 + 4 * 288 + 4


def test_a_gated_linear_unit_halves_the_channels() -> None:
    profile = profile_graph(trace(nn.GLU(), torch.zeros(4, 16)))
    assert profile.layers[-1].output_shape == (4, 8)
    # a sigmoid (exp, add, div) and a product for each of 4·8 elements
    assert {k: n for k, n in profile.total.operations.items() if n} == dict.fromkeys(("add", "mul", "div", "exp"), 32)


class Counts(nn.Module):
    """Runs its layer as often as the input says."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)

    def forward(self, x: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        for _ in range(int((times + 1).sum())):
            x = self.layer(x)
        return x


def test_elements_that_nobody_gave_are_assumed_aloud_where_control_flow_reads_them() -> None:
    x = TensorSpec((4, 8))
    given = profile_graph(trace(Counts(), x, torch.tensor([1, 0])))
    assert (given.total.macs, given.assumed) == (4 * 4 * 8 * 8 - 4 * 8 * 8, {})  # 1 + 0 + 2 runs
    guessed = profile_graph(trace(Counts(), x, TensorSpec((2,), "int64")))
    assert guessed.total.macs == 2 * 4 * 8 * 8
    assert guessed.assumed == {"integer inputs given by shape hold zeros": 1}
    unread = profile_graph(trace(nn.Embedding(9, 8), TensorSpec((2,), "int64")))
    assert unread.assumed == {}


COMPLEX_CASES = {
    # a product of complex numbers is four of real ones
    "matmul": (lambda a, b: a @ b, [(4, 5), (5, 6)], 4 * 4 * 6 * 5),
    "einsum": (lambda a, b: torch.einsum("ij,jk->ik", a, b), [(4, 5), (5, 6)], 4 * 4 * 6 * 5),
    "linear": (nn.Linear(5, 6, dtype=torch.complex64), [(4, 5)], 4 * 4 * 6 * 5),
    "conv": (nn.Conv2d(3, 4, 3, dtype=torch.complex64), [(1, 3, 8, 8)], 4 * 4 * 6 * 6 * 3 * 3 * 3),
}


@pytest.mark.parametrize("case", COMPLEX_CASES)
def test_a_multiply_accumulate_of_complex_numbers_is_four(case: str) -> None:
    function, shapes, macs = COMPLEX_CASES[case]
    inputs = [torch.zeros(shape, dtype=torch.complex64) for shape in shapes]
    profile = archlab.profile(function, *inputs)
    assert profile.total.macs == macs
    assert profile.layers[-1].formula.value == macs
    assert profile.total.flops >= 2 * macs
    for name in ("torch", "fvcore"):  # others take it for one
        figure = archlab.profile(function, *inputs, convention=name).total
        assert figure.reported * (1 if figure.unit == "FLOPs" else 2) == 2 * macs // 4


def test_a_gradient_of_complex_numbers_is_four_products_too() -> None:
    linear = nn.Linear(5, 6, dtype=torch.complex64)
    profile = archlab.profile(linear, torch.zeros(4, 5, dtype=torch.complex64), backward=True)
    assert profile.total.macs == 2 * 4 * (4 * 6 * 5)  # forward, and the weight's gradient
