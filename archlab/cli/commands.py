"""The commands: each reads what is asked for, calls the library, and hands on what comes back."""

from __future__ import annotations

from typing import Annotated

import typer

from archlab.cli.app import app
from archlab.cli.options import (
    ArgOption,
    BackwardOption,
    ExactOption,
    Format,
    FormatOption,
    InputOption,
    JsonOption,
    Mode,
    ModeOption,
    OutputOption,
    ReportFormat,
    StrictOption,
    TargetArgument,
    chosen_format,
    constructor_arguments,
    load,
    names,
)
from archlab.cli.output import emit, finish, progress


@app.command()
def explain(
    target: TargetArgument,
    layer: Annotated[
        str | None, typer.Argument(show_default=False, help="One layer; without it, every layer's product.")
    ] = None,
    input: InputOption = None,
    arg: ArgOption = None,
    mode: ModeOption = Mode.inference,
    backward: BackwardOption = False,
    exact: ExactOption = False,
    format: FormatOption = Format.terminal,
    json: JsonOption = False,
    output: OutputOption = None,
) -> None:
    """Show where a number comes from: the rule, the symbols, the numbers put in."""
    from archlab import api
    from archlab.report.explaining import explanation, explanation_data, overview

    mode = Mode.training if backward else mode
    result = api.profile(load(target, input, arg, mode), mode=mode.value, backward=backward)
    if layer is None or (layer in result.by_block(layer.count("/") + 1) and layer not in result.names):
        shown = [row for row in result.layers if layer is None or row.name.startswith(f"{layer}/")]
        document, data = overview(result, shown), lambda: explanation_data(result, shown)
    else:
        row = result.layer(layer)
        document, data = explanation(result, row), lambda: explanation_data(result, [row])
    emit(document, chosen_format(format, json), output, exact, data=data)


@app.command()
def verify(
    target: TargetArgument,
    input: InputOption = None,
    arg: ArgOption = None,
    mode: ModeOption = Mode.inference,
    counters: Annotated[
        str | None, typer.Option("--counters", metavar="NAMES", help="Only these counters, such as torch,thop.")
    ] = None,
    seconds: Annotated[float, typer.Option("--seconds", min=1, help="How long each counter may take.")] = 600,
    exact: ExactOption = False,
    format: FormatOption = Format.terminal,
    json: JsonOption = False,
    output: OutputOption = None,
) -> None:
    """Ask every other counter that is installed, too; exit with 1 if a difference has no reason.

    Each runs in a process of its own: one that crashes, hangs or changes the model is reported.
    """
    from archlab import api
    from archlab.report.verifying import verification_document

    with progress() as show:
        result = api.verify(
            target,
            mode=mode.value,
            inputs=input,
            arguments=constructor_arguments(arg or []),
            counters=None if counters is None else names(counters),
            seconds=seconds,
            told=lambda running, done, all: show(f"counting with {' and '.join(running)} ({done} of {all} done)"),
        )
    emit(verification_document(result), chosen_format(format, json), output, exact, data=result.to_dict)
    finish(not result.ok, 1)


@app.command()
def reconcile(
    target: TargetArgument,
    claimed: Annotated[
        str | None,
        typer.Option("--claimed", metavar="NUMBER", help="A published number, such as 1.5G: what gives it?"),
    ] = None,
    layers: Annotated[bool, typer.Option("--layers", help="Show every difference layer by layer, too.")] = False,
    input: InputOption = None,
    arg: ArgOption = None,
    strict: StrictOption = False,
    exact: ExactOption = False,
    format: FormatOption = Format.terminal,
    json: JsonOption = False,
    output: OutputOption = None,
) -> None:
    """Put every convention side by side, and say which gives a published number."""
    from archlab import api
    from archlab.report.reconciling import reconciliation_document

    subject = load(target, input, arg, Mode.inference) if input or arg else target
    result = api.reconcile(subject, claimed=claimed)
    document = reconciliation_document(result, layers)
    emit(document, chosen_format(format, json), output, exact, data=result.to_dict)
    finish(strict and bool(result.profile.uncounted or result.profile.assumed))


@app.command()
def report(
    output: Annotated[str, typer.Option("--output", "-o", metavar="FOLDER", help="Where to.")] = "reports",
    format: Annotated[ReportFormat, typer.Option("--format", help="How to write.")] = ReportFormat.markdown,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit with 1 if a report is stale.")] = False,
) -> None:
    """Render the reports: GoogLeNet, its ablations and auxiliary heads, the 1×1 convolution, the paper's Table 1."""
    from archlab.studies.render import render_all, stale

    if check:
        old = stale(output, format.value)
        for name in old:
            typer.echo(f"stale: {name} (render it: archlab report)")
        typer.echo(f"{len(old)} stale" if old else "every report is fresh")
        finish(bool(old), 1)
        return
    for path in render_all(output, format.value):
        typer.echo(f"wrote {path}", err=True)
