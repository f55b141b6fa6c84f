"""The functions of the package that measure: what a target, a graph or a model costs where it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from archlab.api import Subject, rebuildable
from archlab.errors import UsageError
from archlab.ir import Graph

if TYPE_CHECKING:
    from archlab.measured_comparisons import MeasuredComparison
    from archlab.measurements import Measurement


def measure(
    subject: Any,
    *args: Any,
    device: str = "cpu",
    mode: str = "inference",
    convention: str = "archlab",
    inputs: Any = None,
    arguments: Mapping[str, Any] | None = None,
    told: Callable[[str], None] | None = None,
    settings: Mapping[str, Any] | None = None,
    **kwargs: Any,
) -> Measurement:
    """Return what a target, a graph, or a model with its inputs takes on a device, layer by layer and as a whole.

    Weights and inputs are drawn, and a model that is given is copied first. `settings` are those of
    `archlab.pytorch.measure.Settings`: batch, dtype, channels_last, compile, threads, seconds. `inputs` and
    `arguments` are for a target as `load` takes them; of a model `inputs` is (args, kwargs). `told` hears
    what is under way. Raises `UsageError` for a device that is not there, and as `load` and `trace` do.
    """
    from archlab.pytorch.measure import Settings, measured, running_live, undisturbed

    chosen = Settings(device=device, **(settings or {}))
    say = told or (lambda _: None)
    with undisturbed(chosen.threads):
        if callable(subject) and not isinstance(subject, Graph):
            positional, named = (args, kwargs) if inputs is None else inputs
            name = getattr(subject, "__name__", type(subject).__name__)
            found = running_live(subject, positional, named, mode, name, chosen, convention)
        elif args or kwargs:
            raise UsageError("only a model takes inputs here; resize a target with @ or inputs=")
        else:
            found = _running(subject, inputs or (), arguments, mode, chosen, convention)
        return measured([found], chosen, say)[0]


def compare_measured(
    *subjects: Subject,
    device: str = "cpu",
    mode: str = "inference",
    convention: str = "archlab",
    inputs: Iterable[str] = (),
    arguments: Mapping[str, Any] | None = None,
    told: Callable[[str], None] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> MeasuredComparison:
    """Return targets or graphs compared where they run, the first as the base: faster, slower or no difference.

    They run in turn, round by round. The arguments are those of `measure`.
    """
    from archlab.measured_comparisons import compare_measurements
    from archlab.pytorch.measure import Settings, measured, undisturbed

    if len(subjects) < 2:
        raise UsageError("compare needs a base and at least one other")
    chosen = Settings(device=device, **(settings or {}))
    with undisturbed(chosen.threads):
        found = [_running(each, inputs, arguments, mode, chosen, convention) for each in subjects]
        return compare_measurements(*measured(found, chosen, told or (lambda _: None)), paired=True)


def _running(
    subject: Any,
    inputs: Iterable[str],
    arguments: Mapping[str, Any] | None,
    mode: str,
    settings: Any,
    convention: str,
) -> Any:
    """Return a target or a graph ready to run."""
    from archlab.pytorch.measure import running
    from archlab.pytorch.opinions import Job

    graph, job = rebuildable(subject, inputs, arguments, mode)
    return running(job or Job(graph=graph, mode=mode), graph, settings, convention)
