"""The commands `list`, `profile` and `compare`: what architectures cost, counted, and with --device measured."""

from __future__ import annotations

from typing import Annotated

import typer

from archlab.cli.app import app
from archlab.cli.bounding import HardwareOption, RecalibrateOption, bounded
from archlab.cli.measuring import (
    BatchOption,
    ChannelsLastOption,
    CompileOption,
    DeviceOption,
    DtypeOption,
    SecondsOption,
    ThreadsOption,
    finish_measured,
    measured_settings,
)
from archlab.cli.memory import FitsOption, MemoryOption, OptimiserOption, memory_of
from archlab.cli.options import (
    ArgOption,
    BackwardOption,
    ColumnsOption,
    ConventionOption,
    DepthOption,
    ExactOption,
    Format,
    FormatOption,
    InputOption,
    JsonOption,
    Mode,
    ModeOption,
    OutputOption,
    SortOption,
    StrictOption,
    TargetArgument,
    TopOption,
    chosen_format,
    complete_target,
    constructor_arguments,
    load,
    names,
)
from archlab.cli.output import emit, finish, progress
from archlab.errors import UsageError


@app.command("list")
def list_(format: FormatOption = Format.terminal, json: JsonOption = False, output: OutputOption = None) -> None:
    """List every architecture, ablation and machine, with one sentence and its source."""
    from archlab.report.listing import catalog_data, catalog_document
    from archlab.zoo.ablations import ABLATIONS
    from archlab.zoo.catalog import ARCHITECTURES

    architectures = [(name, a.summary, a.source) for name, a in ARCHITECTURES.items()]
    ablations = [(name, a.claim, a.source) for name, a in ABLATIONS.items()]
    emit(
        catalog_document(architectures, ablations),
        chosen_format(format, json),
        output,
        data=lambda: catalog_data(architectures, ablations),
    )


@app.command()
def profile(
    target: TargetArgument,
    input: InputOption = None,
    arg: ArgOption = None,
    mode: ModeOption = Mode.inference,
    backward: BackwardOption = False,
    convention: ConventionOption = "archlab",
    device: DeviceOption = None,
    batch: BatchOption = None,
    dtype: DtypeOption = None,
    channels_last: ChannelsLastOption = False,
    compile: CompileOption = False,
    threads: ThreadsOption = None,
    seconds: SecondsOption = None,
    memory: MemoryOption = False,
    fits: FitsOption = None,
    optimiser: OptimiserOption = "none",
    hardware: HardwareOption = None,
    recalibrate: RecalibrateOption = False,
    columns: ColumnsOption = None,
    depth: DepthOption = None,
    sort: SortOption = None,
    top: TopOption = None,
    strict: StrictOption = False,
    exact: ExactOption = False,
    format: FormatOption = Format.terminal,
    json: JsonOption = False,
    output: OutputOption = None,
) -> None:
    """Count one architecture: a row a layer or a block, and the totals. With --device, also measure it there."""
    from archlab import api
    from archlab.report.columns import Shaping

    mode = Mode.training if backward else mode
    shaping = Shaping(names(columns), depth, sort, top)
    settings = measured_settings(device, backward, batch, dtype, channels_last, compile, threads, seconds)
    if memory and any((batch, dtype, channels_last, compile)):
        raise UsageError(
            "--memory runs the target as it is; leave out --batch, --dtype, --channels-last and --compile, "
            "and give another batch as --input"
        )
    if settings is None:
        from archlab.report.views import profile_document

        result = api.profile(
            load(target, input, arg, mode), mode=mode.value, convention=convention, backward=backward
        )
        bounds = bounded(result, hardware, recalibrate)
        extra = memory_of(result, target, input, arg, memory, fits, optimiser)
        document = profile_document(result, shaping, bounds.figures, bounds.default) + bounds.blocks + extra.blocks
        emit(document, chosen_format(format, json), output, exact, data=lambda: {**bounds.data(), **extra.data})
        finish(strict and bool(result.uncounted or result.assumed))
        return
    from archlab import measuring
    from archlab.analyses.hardware import THIS
    from archlab.report.measuring import measurement_document

    chosen = chosen_format(format, json)
    with progress() as show:
        measurement = measuring.measure(
            target,
            device=str(device),
            mode=mode.value,
            convention=convention,
            inputs=input,
            arguments=constructor_arguments(arg or []),
            told=show,
            settings=settings,
        )
    if measurement.interrupted:  # whoever stopped it waits for nothing else
        hardware, recalibrate, memory, fits, optimiser = None, False, False, None, "none"
    own = hardware is None or hardware.casefold().startswith(THIS)  # no other machine's peak was attained here
    took = {name: each.median for name, each in measurement.layers.items() if each.median} if own else None
    bounds = bounded(measurement.profile, hardware, recalibrate, took, measurement.to_dict, device)
    extra = memory_of(measurement.profile, target, input, arg, memory, fits, optimiser, device if memory else None)
    document = measurement_document(measurement, shaping, bounds.figures) + bounds.blocks + extra.blocks
    emit(document, chosen, output, exact, data=lambda: {**bounds.data(), **extra.data})
    finish_measured(measurement.interrupted)
    finish(strict and bool(measurement.profile.uncounted or measurement.profile.assumed))


@app.command()
def compare(
    base: Annotated[str, typer.Argument(metavar="BASE", autocompletion=complete_target, show_default=False)],
    others: Annotated[
        list[str], typer.Argument(metavar="OTHER...", autocompletion=complete_target, show_default=False)
    ],
    input: InputOption = None,
    arg: ArgOption = None,
    mode: ModeOption = Mode.inference,
    backward: BackwardOption = False,
    convention: ConventionOption = "archlab",
    device: DeviceOption = None,
    batch: BatchOption = None,
    dtype: DtypeOption = None,
    channels_last: ChannelsLastOption = False,
    compile: CompileOption = False,
    threads: ThreadsOption = None,
    seconds: SecondsOption = None,
    columns: ColumnsOption = None,
    depth: DepthOption = None,
    sort: SortOption = None,
    top: TopOption = None,
    strict: StrictOption = False,
    exact: ExactOption = False,
    format: FormatOption = Format.terminal,
    json: JsonOption = False,
    output: OutputOption = None,
) -> None:
    """Compare architectures; the first name typed is the base. With --device, also say which is faster there."""
    from archlab import api
    from archlab.report.columns import Shaping
    from archlab.report.comparing import comparison_document
    from archlab.report.table import Text

    mode = Mode.training if backward else mode
    shaping = Shaping(names(columns), depth, sort, top)
    settings = measured_settings(device, backward, batch, dtype, channels_last, compile, threads, seconds)
    chosen = chosen_format(format, json)
    if settings is None:
        graphs = [load(target, input, arg, mode) for target in (base, *others)]
        result = api.compare(*graphs, mode=mode.value, convention=convention, backward=backward)
        document = comparison_document(result, shaping, exact)
        if {base, *others} == {"naive", "reduced"}:
            document += (Text("The whole network: archlab compare googlenet googlenet+naive"),)
        emit(document, chosen, output, exact, data=result.to_dict)
        finish(strict and any(p.uncounted or p.assumed for p in result.subjects))
        return
    from archlab import measuring
    from archlab.report.measured_comparing import measured_comparison_document

    with progress() as show:
        measured = measuring.compare_measured(
            base,
            *others,
            device=str(device),
            mode=mode.value,
            convention=convention,
            inputs=input or (),
            arguments=constructor_arguments(arg or []),
            told=show,
            settings=settings,
        )
    emit(measured_comparison_document(measured, shaping, exact), chosen, output, exact, data=measured.to_dict)
    finish_measured(measured.interrupted)
    finish(strict and any(p.uncounted or p.assumed for p in measured.comparison.subjects))
