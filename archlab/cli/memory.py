"""The options --memory and --fits: what memory a profile's graph takes, and the largest batch that fits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from archlab.cli.options import constructor_arguments
from archlab.cli.output import progress
from archlab.errors import UsageError

if TYPE_CHECKING:
    from archlab.profiles import Profile
    from archlab.report.table import Block

MemoryOption = Annotated[
    bool, typer.Option("--memory", help="Show the peak of live tensors and what is alive there.")
]
FitsOption = Annotated[
    str | None, typer.Option("--fits", metavar="BYTES", help="Find the largest batch that fits, such as 8GB.")
]
OptimiserOption = Annotated[
    str, typer.Option("--optimiser", metavar="NAME", help="With --fits in training: none, sgd, momentum, adam.")
]


class Extra(NamedTuple):
    """What a profile shows beside its counts: blocks of its document, and entries of its data."""

    blocks: tuple[Block, ...] = ()
    data: dict[str, Any] = {}


def memory_of(
    profile: Profile,
    target: str,
    input: list[str] | None = None,
    arg: list[str] | None = None,
    memory: bool = False,
    fits: str | None = None,
    optimiser: str = "none",
    device: str | None = None,
) -> Extra:
    """Return what --memory and --fits ask for, with a `device` also what was measured there."""
    if optimiser != "none" and (fits is None or profile.mode != "training"):
        raise UsageError(f"--optimiser {optimiser}: it goes with --fits and --mode training")
    blocks: tuple[Block, ...] = ()
    data: dict[str, Any] = {}
    given: dict[str, Any] = {"inputs": input or (), "arguments": constructor_arguments(arg or [])}
    if memory:
        from archlab import api
        from archlab.analyses.memory import peak_memory
        from archlab.analyses.training_memory import training_memory
        from archlab.report.memory import memory_blocks

        training = profile.mode == "training"
        predicted = training_memory(profile.graph) if training else peak_memory(profile.graph)
        measured = None
        if device is not None:
            with progress() as show:
                show(f"running on {device}")
                measured = api.measured_memory(target, mode=profile.mode, device=device, **given)
        blocks = memory_blocks(predicted, measured)
        data["memory"] = predicted.to_dict()
        if measured is not None:
            data["memory"]["measured"] = measured.to_dict()
    if fits is not None:
        from archlab import api
        from archlab.guard.quantities import quantity
        from archlab.report.memory import fits_blocks

        try:
            limit = quantity(fits, "peak_memory")
        except UsageError:
            raise UsageError(f"--fits {fits}: no size; write 8GB, 512MiB or 8000000000") from None
        with progress() as show:
            show(f"looking for the largest batch in {fits}")
            found = api.largest_batch(target, limit, profile.mode, optimiser, **given)
        blocks += fits_blocks(found)
        data["fits"] = found.to_dict()
    return Extra(blocks, data)
