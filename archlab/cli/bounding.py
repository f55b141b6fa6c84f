"""The option --hardware: the bounds of a profile on a machine of the table, or on the device in hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from archlab.cli.output import progress
from archlab.errors import UsageError

if TYPE_CHECKING:
    from archlab.profiles import Profile
    from archlab.report.columns import Figure
    from archlab.report.table import Block


class Bounded(NamedTuple):
    """What bounds add to a profile: columns, those shown by default, blocks at its end, and its data with them."""

    figures: Mapping[str, Figure]
    default: tuple[str, ...]
    blocks: tuple[Block, ...]
    data: Callable[[], dict[str, Any]]


def complete_hardware(incomplete: str) -> list[str]:
    """Complete the name of a machine."""
    from archlab.analyses.hardware import THIS
    from archlab.analyses.machines import ALIASES, MACHINES

    return [name for name in (THIS, *ALIASES, *MACHINES) if name.startswith(incomplete.casefold())]


HardwareOption = Annotated[
    str | None,
    typer.Option(
        "--hardware",
        metavar="NAME",
        autocompletion=complete_hardware,
        help="Bound every layer's time by a machine's peaks: a name of archlab list such as h100, rtx4090 or "
        "a100:tf32, or 'this' for the device in hand, which is calibrated once.",
    ),
]
RecalibrateOption = Annotated[
    bool, typer.Option("--recalibrate", help="With --hardware this: measure the device's peaks anew.")
]


def bounded(
    profile: Profile,
    name: str | None,
    recalibrate: bool,
    seconds: Mapping[str, float] | None = None,
    data: Callable[[], dict[str, Any]] | None = None,
    device: str | None = None,
) -> Bounded:
    """Return the bounds of a profile on a machine.

    Without its name there are those of the `device` that it was measured on, if that is calibrated already.
    Of layers whose `seconds` were measured they tell the attained part, too; `data` gives the profile as
    plain data, with what was measured.
    """
    data = data or profile.to_dict
    from archlab.analyses.hardware import THIS
    from archlab.report.table import Text

    if recalibrate and (name or "").split(":")[0].strip().casefold() != THIS:
        raise UsageError(f"--recalibrate goes with --hardware {THIS}, which measures the device in hand")
    if name is None and (device is None or not _is_calibrated(device)):
        return Bounded({}, (), () if device is None else (Text(_HINT),), data)
    from archlab import api
    from archlab.report.bounds import DEFAULT, bound_blocks, bound_figures

    with progress() as show:
        machine = api.hardware(THIS if name is None else name, device=device, recalibrate=recalibrate, told=show)
    result = api.roofline(profile, machine, seconds=seconds)
    blocks = bound_blocks(profile, result)
    return Bounded(bound_figures(result), DEFAULT, blocks, lambda: result.into(data()))


_HINT = (
    "Which part of this device's peaks a layer attains is told once it is calibrated, which takes some 20 s: "
    "add --hardware this."
)


def _is_calibrated(device: str) -> bool:
    from archlab.pytorch.calibrate import kept

    return kept(device) is not None
