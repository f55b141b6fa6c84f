"""Functions of torch beside layers: each count derived by hand, each shape and type as torch makes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from archlab.ir import TensorSpec
from archlab.profiles import profile_graph
from archlab.pytorch.spy import NAMES
from archlab.pytorch.trace import trace


class Case(NamedTuple):
    run: Callable[..., Any]
    given: tuple[Tensor, ...]
    counts: dict[str, int]


def f(*shape: int) -> Tensor:
    return torch.rand(shape) * 0.8 + 0.1


def i(*values: int) -> Tensor:
    return torch.tensor(values)


X = f(4, 6)  # 24 elements
LOG_SOFTMAX = {"cmp": 24, "add": 3 * 24, "exp": 24 + 4}  # a logarithm for each of 4 rows

CASES: dict[str, Case] = {
    # -- into places: one operation for each element that is brought
    "index_add": Case(lambda x, s: x.index_add(0, i(0, 2, 2), s), (X, f(3, 6)), {"add": 18}),
    "index_add_alpha": Case(lambda x, s: x.index_add(0, i(0, 2), s, alpha=2), (X, f(2, 6)), {"add": 12, "mul": 12}),
    "index_add_": Case(lambda x, s: (x * 1).index_add_(0, i(0, 2), s), (X, f(2, 6)), {"mul": 24, "add": 12}),
    "scatter_add": Case(lambda x, s: x.scatter_add(0, i(1, 2).reshape(1, 2), s), (X, f(1, 2)), {"add": 2}),
    "scatter_reduce": Case(
        lambda x, s: x.scatter_reduce(0, i(1, 2).reshape(1, 2), s, "amax"), (X, f(1, 2)), {"cmp": 2}),
    "scatter_mean": Case(
        lambda x, s: x.scatter_reduce(0, i(1, 2).reshape(1, 2), s, reduce="mean"), (X, f(1, 2)),
        {"add": 2, "div": 24}),
    "index_reduce": Case(lambda x, s: x.index_reduce(0, i(0, 2), s, "prod"), (X, f(2, 6)), {"mul": 12}),
    "index_put": Case(lambda x, s: x.index_put((i(0, 2),), s), (X, f(2, 6)), {}),
    "index_put_accumulate": Case(
        lambda x, s: x.index_put((i(0, 2),), s, accumulate=True), (X, f(2, 6)), {"add": 12}),
    # -- running and joint extremes, spread and mean together
    "cummax": Case(lambda x: torch.cummax(x, 1), (X,), {"cmp": 24}),
    "aminmax": Case(lambda x: torch.aminmax(x, dim=1), (X,), {"cmp": 2 * 24}),
    "var_mean": Case(lambda x: torch.var_mean(x, 1), (X,), {"add": 3 * 24, "mul": 24, "div": 2 * 4}),
    "std_mean": Case(
        lambda x: torch.std_mean(x, dim=1, keepdim=True), (X,), {"add": 3 * 24, "mul": 24, "div": 2 * 4, "exp": 4}),
    # -- softmax: the quotient of its logarithm is a difference
    "log_softmax": Case(lambda x: x.log_softmax(-1), (X,), LOG_SOFTMAX),
    "log_softmax_scalar": Case(lambda x: x.log_softmax(0), (f(),), {"cmp": 1, "add": 3, "exp": 1 + 1}),
    "log_softmax_cast": Case(lambda x: functional.log_softmax(x, 1, dtype=torch.float64), (X,), LOG_SOFTMAX),
    "special_expit": Case(torch.special.expit, (X,), {"exp": 24, "add": 24, "div": 24}),
    "hypot": Case(torch.hypot, (X, X), {"mul": 48, "add": 24, "exp": 24}),
    "logit": Case(torch.logit, (X,), {"add": 24, "div": 24, "exp": 24}),
    # -- Fourier: n/2·log₂ n butterflies of mul 4, add 6; of real numbers half
    "fft": Case(
        torch.fft.fft, (torch.rand(3, 8, dtype=torch.complex64),), {"mul": 4 * 3 * 4 * 3, "add": 6 * 3 * 4 * 3}),
    "fft_other_length": Case(  # log₂ 10 rounded up
        lambda x: torch.fft.fft(x, n=10), (torch.rand(3, 8, dtype=torch.complex64),),
        {"mul": 4 * 3 * 5 * 4, "add": 6 * 3 * 5 * 4}),
    "fft2": Case(  # 8 columns of 4, 4 rows of 8
        torch.fft.fft2, (torch.rand(2, 4, 8, dtype=torch.complex64),),
        {"mul": 4 * 2 * (8 * 2 * 2 + 4 * 4 * 3), "add": 6 * 2 * (8 * 2 * 2 + 4 * 4 * 3)}),
    "fftn": Case(
        torch.fft.fftn, (torch.rand(4, 8, dtype=torch.complex64),),
        {"mul": 4 * (8 * 2 * 2 + 4 * 4 * 3), "add": 6 * (8 * 2 * 2 + 4 * 4 * 3)}),
    "fft_dim": Case(
        lambda x: torch.fft.fftn(x, dim=(0,)), (torch.rand(4, 8, dtype=torch.complex64),),
        {"mul": 4 * 8 * 2 * 2, "add": 6 * 8 * 2 * 2}),
    "rfft": Case(torch.fft.rfft, (f(3, 8),), {"mul": 4 * 3 * 4 * 3 // 2, "add": 6 * 3 * 4 * 3 // 2}),
    "irfft": Case(
        lambda x: torch.fft.irfft(x, n=8), (torch.rand(3, 5, dtype=torch.complex64),),
        {"mul": 4 * 3 * 4 * 3 // 2, "add": 6 * 3 * 4 * 3 // 2}),
    "rfft2": Case(
        lambda x: torch.fft.rfft2(x, norm="ortho"), (f(2, 4, 8),),
        {"mul": 4 * 2 * (8 * 2 * 2 + 4 * 4 * 3) // 2, "add": 6 * 2 * (8 * 2 * 2 + 4 * 4 * 3) // 2}),
    "stft": Case(  # 17 frames of 16: the window's products, then transforms of real numbers, 8·4 butterflies halved
        lambda x, w: torch.stft(x, 16, 4, window=w, return_complex=True), (f(64), f(16)),
        {"mul": 17 * 16 + 4 * 17 * 8 * 4 // 2, "add": 6 * 17 * 8 * 4 // 2}),
    # -- losses: of each element, then their mean
    "mse": Case(functional.mse_loss, (X, X), {"add": 24 + 24, "mul": 24, "div": 1}),
    "l1_sum": Case(lambda a, b: functional.l1_loss(a, b, reduction="sum"), (X, X), {"add": 24 + 24, "cmp": 24}),
    "bce_none": Case(
        lambda a, b: functional.binary_cross_entropy(a, b, reduction="none"), (X, X),
        {"exp": 2 * 24, "add": 3 * 24, "mul": 2 * 24}),
    "bce_logits": Case(
        functional.binary_cross_entropy_with_logits, (X, X),
        {"exp": 2 * 24, "add": 4 * 24 + 24, "mul": 24, "cmp": 2 * 24, "div": 1}),
    "huber": Case(functional.huber_loss, (X, X), {"add": 2 * 24 + 24, "cmp": 48, "mul": 3 * 24, "div": 1}),
    "cross_entropy": Case(
        functional.cross_entropy, (X, i(0, 1, 2, 3)),
        {**LOG_SOFTMAX, "add": 3 * 24 + 4, "mul": 4, "div": 1}),  # picked and negated, then the mean of 4
    "cross_entropy_weighed": Case(
        lambda a, t, w: functional.cross_entropy(a, t, w, reduction="sum"), (X, i(0, 1, 2, 3), f(6)),
        {**LOG_SOFTMAX, "add": 3 * 24 + 4, "mul": 2 * 4}),
    "nll": Case(functional.nll_loss, (X, i(0, 1, 2, 3)), {"mul": 4, "add": 4, "div": 1}),
    # -- adaptive pools: the windows of 5 positions for 3 outputs are [0, 2), [1, 4), [3, 5), 7 positions
    "adaptive_avg_1d": Case(lambda x: functional.adaptive_avg_pool1d(x, 3), (f(2, 3, 5),), {"add": 6 * 7, "div": 18}),
    "adaptive_max_1d": Case(lambda x: functional.adaptive_max_pool1d(x, 3), (f(2, 3, 5),), {"cmp": 6 * 7}),
    "adaptive_max_2d": Case(lambda x: functional.adaptive_max_pool2d(x, (3, 2)), (f(2, 5, 4),), {"cmp": 2 * 7 * 4}),
    "adaptive_avg_3d": Case(
        lambda x: functional.adaptive_avg_pool3d(x, (3, 1, 2)), (f(1, 2, 5, 3, 4),),
        {"add": 2 * 7 * 3 * 4, "div": 2 * 3 * 1 * 2}),
    "adaptive_max_3d_indices": Case(
        lambda x: functional.adaptive_max_pool3d(x, 1, return_indices=True), (f(1, 2, 5, 3, 4),), {"cmp": 2 * 60}),
}  # fmt: skip

pytestmark = pytest.mark.filterwarnings(r"ignore:index_reduce\(\) is in beta:UserWarning")


def flat(made: Any) -> list[Tensor]:
    return [x for item in made for x in flat(item)] if isinstance(made, (tuple, list)) else [made]


@pytest.mark.parametrize("name", CASES)
def test_a_function_counts_what_it_computes_and_makes_what_torch_makes(name: str) -> None:
    case = CASES[name]
    graph = trace(case.run, *case.given)
    profile = profile_graph(graph)
    assert profile.uncounted == {}
    assert {kind: n for kind, n in profile.total.operations.items() if n} == case.counts
    wanted = [TensorSpec(tuple(t.shape), NAMES[t.dtype]) for t in flat(case.run(*case.given))]
    assert [graph.specs[node][k] for node, k in graph.outputs] == wanted
