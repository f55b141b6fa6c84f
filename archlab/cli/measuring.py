"""The options of commands that measure where a model runs, and how such a command ends."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from archlab.cli.output import finish
from archlab.errors import UsageError

DeviceOption = Annotated[
    str | None, typer.Option("--device", metavar="NAME", help="Also measure it there: cpu, cuda, cuda:1, mps, xpu.")
]
BatchOption = Annotated[
    int | None, typer.Option("--batch", min=1, metavar="N", help="With --device: the first dimension of every input.")
]
DtypeOption = Annotated[
    str | None, typer.Option("--dtype", metavar="TYPE", help="With --device: fp32, bf16, fp16 or fp64.")
]
ChannelsLastOption = Annotated[
    bool, typer.Option("--channels-last", help="With --device: keep images with their channels last.")
]
CompileOption = Annotated[bool, typer.Option("--compile", help="With --device: run it through torch.compile.")]
ThreadsOption = Annotated[
    int | None, typer.Option("--threads", min=1, metavar="N", help="With --device: threads of the CPU.")
]
SecondsOption = Annotated[
    float | None,
    typer.Option("--seconds", metavar="S", help="With --device: how long each subject is repeated at most; 10."),
]


def measured_settings(
    device: str | None,
    backward: bool,
    batch: int | None,
    dtype: str | None,
    channels_last: bool,
    compile: bool,
    threads: int | None,
    seconds: float | None,
) -> dict[str, Any] | None:
    """Return the settings of a measurement, None where none is asked for; raise `UsageError` for a wrong one."""
    given = {
        "batch": batch,
        "dtype": dtype,
        "channels_last": channels_last or None,
        "compile": compile or None,
        "threads": threads,
        "seconds": seconds,
    }
    chosen = {name: value for name, value in given.items() if value is not None}
    if device is None:
        if chosen:
            raise UsageError(f"--{next(iter(chosen)).replace('_', '-')} says how to measure; add --device cpu")
        return None
    if backward:
        raise UsageError("--device measures the forward pass; leave out --backward, or count with it alone")
    return chosen


def finish_measured(interrupted: bool) -> None:
    """End the command as interrupted, after it has shown what was measured until then."""
    finish(interrupted, INTERRUPTED)


INTERRUPTED = 130
"""The exit code of a command that someone stopped."""
