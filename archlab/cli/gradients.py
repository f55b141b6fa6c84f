"""The command `gradients`: how large the gradient of each block is after one backward pass."""

from __future__ import annotations

from typing import Annotated

import typer

from archlab.cli.app import app
from archlab.cli.options import (
    ArgOption,
    DepthOption,
    ExactOption,
    Format,
    FormatOption,
    InputOption,
    JsonOption,
    OutputOption,
    chosen_format,
    complete_target,
    constructor_arguments,
    names,
)
from archlab.cli.output import emit, finish, progress


@app.command()
def gradients(
    base: Annotated[str, typer.Argument(metavar="BASE", autocompletion=complete_target, show_default=False)],
    others: Annotated[
        list[str] | None, typer.Argument(metavar="[OTHER...]", autocompletion=complete_target, show_default=False)
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="How many seeds; 6 are enough for a verdict.")] = 6,
    init: Annotated[
        str | None,
        typer.Option("--init", metavar="NAMES", help="Some of default,kaiming,xavier,gaussian; all without it."),
    ] = None,
    batch: Annotated[
        int | None, typer.Option("--batch", min=1, help="Images or sequences a pass; 2 for a target of a single one.")
    ] = None,
    aux_weight: Annotated[
        float, typer.Option("--aux-weight", min=0, help="What the loss of an auxiliary output is multiplied by.")
    ] = 0.3,
    depth: DepthOption = 1,
    device: Annotated[str, typer.Option("--device", help="Where it runs, such as cpu or cuda.")] = "cpu",
    input: InputOption = None,
    arg: ArgOption = None,
    exact: ExactOption = False,
    format: FormatOption = Format.terminal,
    json: JsonOption = False,
    output: OutputOption = None,
) -> None:
    """Measure the gradient of each block after one backward pass, over seeds and initialisations.

    With several targets each ratio is OTHER ÷ BASE, seed by seed. An interrupt shows what was measured so far.
    """
    from archlab import api
    from archlab.gradients import Setting
    from archlab.report.gradients import gradients_document

    chosen = {} if init is None else {"inits": names(init)}
    setting = Setting(seeds, batch=batch, aux_weight=aux_weight, depth=depth or 1, device=device, **chosen)
    format = chosen_format(format, json)
    with progress() as show:
        result = api.gradient_flow(
            base,
            *(others or ()),
            inputs=input or (),
            arguments=constructor_arguments(arg or []),
            setting=setting,
            told=lambda subject, init, seed, done, all: show(
                f"{subject}: {init}, seed {seed} ({done} of {all} passes done)"
            ),
        )
    emit(gradients_document(result, exact), format, output, exact, data=result.to_dict)
    finish(result.interrupted, 130)
