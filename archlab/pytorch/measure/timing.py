"""`measured`: subjects run round by round, whole and layer by layer, until what they take is known narrowly."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from archlab.machines import Machine
from archlab.measurements import NO_TIME, Counts, Measurement, Seconds, Shared
from archlab.pytorch.counters import quiet
from archlab.pytorch.measure.counting import counts
from archlab.pytorch.measure.device import Clock, clock, machine
from archlab.pytorch.measure.failures import explained
from archlab.pytorch.measure.listening import Alignment, Listening, aligned, same
from archlab.pytorch.measure.plan import runs
from archlab.pytorch.measure.settings import Settings
from archlab.pytorch.measure.subject import Running
from archlab.samples import ratio_interval

Told = Callable[[str], None]
"""Hears in words what is being measured now."""

MARGIN = 0.02
"""How far from the median its interval may reach at the end, as a share."""
NARROW = 0.01
"""How wide the interval of a ratio may be at the end, to either side."""
LEAST, MOST = 10, 1000
"""How many rounds there are, unless the time is up."""
FEWEST = 3
"""How many rounds there are even then."""
_UNHURRIED = 20
"""What takes less than so small a part of the time limit warms up a second time."""
SHORTEST = 2e-3
"""Seconds that a sample takes at least: what runs faster runs several times for one."""


@dataclass
class _Clocked:
    """A subject while it is measured: what its rounds gave so far."""

    running: Running
    clock: Clock
    loops: int = 1
    whole: list[float] = field(default_factory=list)
    layered: list[list[float]] = field(default_factory=list)
    alignment: Alignment = field(default_factory=lambda: Alignment((), (), ()))
    listening: Listening | None = None
    counts: Counts | None = None
    first: Any = ()


def measured(subjects: Sequence[Running], settings: Settings, told: Told = lambda _: None) -> list[Measurement]:
    """Return what each subject took, all of them run in turn, so that a slow moment hits all alike.

    An interrupt ends it with what was measured so far, if every subject has run. Raises `TraceError`, with
    the layer and the batch, for a model that fails or that does not fit into memory.
    """
    machines = [machine(s.device, s.dtype, s.batch, settings.channels_last, settings.compile) for s in subjects]
    interrupted = False
    with _steady():
        found = [_prepared(subject, settings.seconds, told) for subject in subjects]
        try:
            _rounds(found, settings.seconds, told)
        except KeyboardInterrupt:
            if not all(each.whole for each in found):
                raise
            interrupted = True
    fewest = min(len(each.whole) for each in found)
    return [_result(each, where, fewest, interrupted) for each, where in zip(found, machines, strict=True)]


@contextmanager
def undisturbed(threads: int | None) -> Iterator[None]:
    """Let torch use so many threads on the CPU (None leaves their number) and draw what it likes; undo both after."""
    before, state = torch.get_num_threads(), torch.random.get_rng_state()
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        torch.random.set_rng_state(state)


@contextmanager
def _steady() -> Iterator[None]:
    """Keep the garbage collector from running in the middle of a sample."""
    collecting = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _prepared(running: Running, seconds: float, told: Told) -> _Clocked:
    """Return a subject that has run: warm, with the calls that were heard aligned with its graph."""
    told(f"{running.name}: first run")
    found = _Clocked(running, clock(running.device))
    listening = Listening(running.model, running.plan, found.clock.mark)
    with explained(running, listening), _as_it_runs(running):
        listening.run(running.args, running.kwargs)  # what a model keeps from its first run is there in all others
        found.first, _ = listening.run(running.args, running.kwargs)
    cost = {layer.name: layer.cost.macs for layer in running.profile.layers}
    if running.eager:
        found.listening = listening
        found.alignment = aligned(running.plan, found.first, lambda name: cost.get(name, 0))
    else:
        names = tuple(layer.name for layer in running.profile.layers if runs(layer.node))
        most = max(names, key=lambda name: cost.get(name, 0))
        found.alignment = Alignment((), (Shared("the compiled model", most, names),), ())
    told(f"{running.name}: counting on {running.device.type}")
    with explained(running, listening), _as_it_runs(running):
        found.counts = counts(running)
    told(f"{running.name}: {'warming up' if running.eager else 'compiling'}")
    with explained(running, None):
        took = _whole(found)
        if took < seconds / _UNHURRIED:
            took = min(took, _whole(found))
        found.loops = max(1, min(100, round(SHORTEST / max(took, 1e-6))))
        if running.eager and not _layered(found):
            found.listening = None
    found.whole.clear()
    found.layered.clear()
    return found


def _rounds(subjects: Sequence[_Clocked], seconds: float, told: Told) -> None:
    """Run all subjects in turn, every second round the other way round, until each is known narrowly."""
    start = last = time.monotonic()
    limit = seconds * len(subjects)
    for number in range(MOST):
        turn = subjects if number % 2 == 0 else list(reversed(subjects))
        for each in turn:
            with explained(each.running, None):
                each.whole.append(_whole(each))
        for each in turn:
            if each.listening is not None:
                with explained(each.running, each.listening):
                    each.layered.append(_layered(each))
            if each.layered and not each.layered[-1]:
                each.listening = None
                each.layered.clear()
        now = time.monotonic()
        rounds = number + 1
        if rounds >= FEWEST and now - start > limit:
            return
        if rounds >= LEAST and rounds % 5 == 0 and _is_narrow(subjects):
            return
        if now - start > 1 and now - last > 0.2:
            last = now
            names = " and ".join(each.running.name for each in subjects)
            told(f"{names}: round {rounds}, {now - start:.0f} of at most {limit:.0f} s")


def _is_narrow(subjects: Sequence[_Clocked]) -> bool:
    for each in subjects:
        if Seconds.of(each.whole).margin > MARGIN:
            return False
        if each.layered and Seconds.of([sum(row) for row in each.layered]).margin > MARGIN:
            return False
    base = subjects[0]
    for other in subjects[1:]:
        found = ratio_interval([b / a for a, b in zip(base.whole, other.whole, strict=True)])
        if found is None or found.high - found.low > 2 * NARROW * found.high:
            return False
    return True


def _whole(subject: _Clocked) -> float:
    """Return the seconds of one run with nobody listening, a mean over the loops of a sample."""
    running, watch = subject.running, subject.clock
    with _as_it_runs(running):
        watch.wait()
        start = watch.mark()
        for _ in range(subject.loops):
            running.run()
        end = watch.mark()
        watch.wait()
    return watch.seconds(start, end) / subject.loops


def _layered(subject: _Clocked) -> list[float]:
    """Return the seconds of each unit in one run, a mean over the loops of a sample.

    Empty for a model that calls other functions from run to run: none of its layers has a time of its own.
    """
    running, watch, listening = subject.running, subject.clock, subject.listening
    assert listening is not None
    runs_heard = []
    with _as_it_runs(running):
        watch.wait()
        for _ in range(subject.loops):
            heard, made = listening.run(running.args, running.kwargs)
            runs_heard.append(heard)
            del made
        watch.wait()
    totals = [0.0] * len(subject.alignment.units)
    for heard in runs_heard:
        if not same(heard, subject.first):
            return []
        for place, value in enumerate(subject.alignment.totals(heard, watch.seconds)):
            totals[place] += value / subject.loops
    return totals


@contextmanager
def _as_it_runs(running: Running) -> Iterator[None]:
    """Run as the mode says: in inference without gradients, as one does there."""
    with quiet(), torch.set_grad_enabled(running.mode == "training"):
        yield


def _result(subject: _Clocked, where: Machine, rounds: int, interrupted: bool) -> Measurement:
    running, alignment = subject.running, subject.alignment
    whole = Seconds.of(subject.whole[:rounds])
    shared, unplaced = alignment.shared, alignment.unplaced
    seconds, together, note = {}, NO_TIME, ""
    sums: tuple[float, ...] = ()
    if not running.eager:
        seconds, together = {shared[0].carrier: whole}, whole
    elif subject.listening is None:
        shared, unplaced = (), tuple(layer.name for layer in running.profile.layers if runs(layer.node))
        note = "It calls other functions from run to run, so no layer has a time of its own."
    elif subject.layered:
        carriers = {group.layers: group.carrier for group in shared}
        rows = subject.layered[:rounds]
        for place, (unit, _) in enumerate(alignment.units):
            name = carriers.get(unit.nodes, unit.nodes[0])
            seconds[name] = Seconds.of([row[place] for row in rows])
        sums = tuple(sum(row) for row in rows)
        together = Seconds.of(sums)
    return Measurement(
        running.profile,
        where,
        whole,
        together,
        seconds,
        tuple(subject.whole[:rounds]),
        sums,
        subject.counts,
        shared,
        unplaced,
        note,
        interrupted,
    )
