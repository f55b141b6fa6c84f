"""Conventions: how other tools and publications count, each as its differences from our MACs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from archlab.analyses.conventions import modules, operators, patches, published
from archlab.analyses.conventions.seen import Seen
from archlab.analyses.conventions.tally import FLOPS, MACS, Convention, Item, Tally, largest
from archlab.errors import UsageError

if TYPE_CHECKING:
    from archlab.profiles import Profile

_ALL = (
    Convention("fvcore", "fvcore", MACS,
               "MACs of contractions, called flops, and estimates for norms, adaptive pools and resampling; "
               "attention kernels and recurrent layers count nothing",
               operators.by_use(operators.fvcore)),
    Convention("torch", "torch", FLOPS,
               "FlopCounterMode on the CPU: 2 per MAC of convolutions and matrix products; fused attention and "
               "LSTM kernels count nothing",
               operators.by_use(operators.torch)),
    Convention("thop", "thop", MACS,
               "hooks on modules of known classes, with 4 per element of a norm; functions count nothing",
               modules.thop),
    Convention("ptflops", "ptflops", MACS,
               "hooks on known classes with biases, norms, activations and pools, of one sample, and functions "
               "that they call once more",
               patches.ptflops),
    Convention("ptflops-aten", "ptflops", MACS,
               "convolutions and matrix products below autograd, with their biases; attention kernels count nothing",
               operators.by_use(operators.ptflops_aten)),
    Convention("torchinfo", "torchinfo", MACS,
               "the parameters of modules without children, times output positions for convolutions and the "
               "first dimension for all else",
               modules.torchinfo),
    Convention("calflops", "calflops", MACS,
               "linear layers, convolutions and torch.matmul as modules call them; the operator @, einsum and "
               "attention count nothing",
               patches.calflops),
    Convention("torchprofile", "torchprofile", MACS,
               "MACs, attention with them, and 1 per element of norms, products, means and average pools",
               operators.by_use(operators.torchprofile)),
    Convention("netscope", "", MACS,
               "MACs for the whole batch and 5 per element of a local response norm", published.netscope),
    Convention("paper", "", MACS,
               "GoogLeNet's Table 1: an op is a MAC, the first convolution counted as a separable one",
               published.paper),
)  # fmt: skip
CONVENTIONS: Mapping[str, Convention] = {convention.name: convention for convention in _ALL}
"""By name, in the order in which they are shown; ours is ``archlab`` and is not among them."""


def tally(profile: Profile, name: str) -> Tally:
    """Return what a convention counts for a profiled graph.

    Raises `UsageError` for a tool's convention in training mode: tools are emulated as they read a model
    in evaluation mode with gradients enabled.
    """
    convention = CONVENTIONS[name]
    if profile.mode != "inference" and convention.tool:
        raise UsageError(f"the convention {name!r} holds for inference; leave out --mode {profile.mode}")
    return _tally(convention, Seen(profile))


def tallies(profile: Profile) -> tuple[Tally, ...]:
    """Return what every convention counts that holds for the profile's mode."""
    seen = Seen(profile)
    return tuple(_tally(c, seen) for c in _ALL if profile.mode == "inference" or not c.tool)


def _tally(convention: Convention, seen: Seen) -> Tally:
    return Tally(convention, seen.profile.total.macs, (*_complex(convention, seen), *convention.rule(seen)))


def _complex(convention: Convention, seen: Seen) -> Iterator[Item]:
    """What our count of complex products has beside those of others."""
    for use in seen.uses:
        if beside := use.layer.cost.macs - use.macs:
            yield Item(use.layer.name, -convention.per_mac * beside, "a product of complex numbers counts as one")


__all__ = ["CONVENTIONS", "FLOPS", "MACS", "Convention", "Item", "Tally", "largest", "tallies", "tally"]
