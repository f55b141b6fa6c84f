"""How each counter is called, as its own documentation says, and where it keeps its figures by layer."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from archlab.ir import TensorSpec
from archlab.opinions import Figure
from archlab.pytorch.opinions.runner import FORWARD
from archlab.pytorch.opinions.subject import Subject

Layers = dict[str, Figure]


@dataclass
class Reading:
    """What a tool returned, in its own unit; `layers` by module path, each with all that is below it."""

    total: Figure
    params: int | None = None
    layers: Layers = field(default_factory=dict)
    operators: Mapping[str, Figure] = field(default_factory=dict)
    unsupported: Mapping[str, int] = field(default_factory=dict)
    also: Mapping[str, Figure] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


class Tool(NamedTuple):
    """A counter: how to run it, the unit that it prints, and how many of that it counts for one MAC."""

    run: Callable[[Subject], Reading]
    unit: str
    per_mac: int = 1


def run_fvcore(subject: Subject) -> Reading:
    """fvcore's `FlopCountAnalysis`, which calls one MAC one flop."""
    from fvcore.nn import FlopCountAnalysis

    analysis = FlopCountAnalysis(subject.model, subject.positional())
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
    return Reading(
        _whole(analysis.total()),
        sum(p.numel() for p in subject.model.parameters()),
        {path: _whole(count) for path, count in analysis.by_module().items()},
        {operator: _whole(count) for operator, count in analysis.by_operator().items()},
        dict(analysis.unsupported_ops()),
    )


def run_torch(subject: Subject) -> Reading:
    """torch's own `FlopCounterMode`."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as mode:
        subject.model(*subject.args, **subject.kwargs)
    counts = {path: sum(by_op.values()) for path, by_op in mode.get_flop_counts().items()}
    root = type(subject.model).__name__
    layers = {
        path.removeprefix(root).removeprefix("."): count
        for path, count in counts.items()
        if path == root or path.startswith(f"{root}.")
    }
    operators = {str(op): count for op, count in mode.get_flop_counts().get("Global", {}).items()}
    return Reading(mode.get_total_flops(), layers={**layers, "": mode.get_total_flops()}, operators=operators)


def run_profiler(subject: Subject) -> Reading:
    """`torch.profiler.profile(with_flops=True)`, which has no figures by module."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], with_flops=True) as profiler:
        subject.model(*subject.args, **subject.kwargs)
    operators = {event.key: _whole(event.flops) for event in profiler.key_averages() if event.flops}
    return Reading(sum(operators.values()), operators=operators)


def run_thop(subject: Subject) -> Reading:
    """`thop.profile`, with its own account by layer."""
    import thop

    macs, params, by_layer = thop.profile(subject.model, subject.positional(), verbose=False, ret_layer_info=True)
    layers: Layers = {"": _whole(macs)}

    def collect(children: Mapping[str, Any], prefix: str) -> None:
        for name, (own, _, below) in children.items():
            layers[prefix + name] = _whole(own)
            collect(below, f"{prefix}{name}.")

    collect(by_layer, "")
    return Reading(_whole(macs), int(params), layers)


def run_ptflops(subject: Subject) -> Reading:
    """ptflops with its default backend, which counts modules and patched functions, a sample's share of a batch."""
    from ptflops import pytorch_engine

    layers: Layers = {}

    def keep(model: Any, *_: Any, **__: Any) -> None:
        batch = model.__batch_counter__
        for path, module in model.named_modules():
            if pytorch_engine.is_supported_instance(module):
                layers[path] = _whole(module.__flops__ / batch)

    # Its figures by layer are gone when it returns; it would print them at this point.
    with _instead(pytorch_engine, "print_model_with_flops", keep):
        macs, params = _ptflops(subject, "pytorch", print_per_layer_stat=True)
    return Reading(_whole(macs), int(params), {**layers, "": _whole(macs)})


def run_ptflops_aten(subject: Subject) -> Reading:
    """ptflops with its ATen backend, which knows the model's direct children alone."""
    from ptflops import aten_engine

    counters: list[Any] = []

    class Kept(aten_engine.FlopCounterMode):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            counters.append(self)

    with _instead(aten_engine, "FlopCounterMode", Kept):
        macs, params = _ptflops(subject, "aten", print_per_layer_stat=False)
    counts = dict(counters[-1].flop_counts)
    layers = {name: _whole(sum(by_op.values())) for name, by_op in counts.items() if name != "Global"}
    operators = {str(op): _whole(count) for op, count in counts.get("Global", {}).items()}
    return Reading(_whole(macs), int(params), {**layers, "": _whole(macs)}, operators)


def _ptflops(subject: Subject, backend: str, print_per_layer_stat: bool) -> tuple[Any, Any]:
    from ptflops import get_model_complexity_info

    alone = len(subject.args) == 1 and not subject.kwargs
    batch: Any = subject.args[0] if alone else subject.named()
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        macs, params = get_model_complexity_info(
            subject.model,
            (1,),
            input_constructor=lambda _: batch,
            as_strings=False,
            print_per_layer_stat=print_per_layer_stat,
            backend=backend,
        )
    if macs is None:  # it prints what went wrong and returns nothing
        raise RuntimeError(printed.getvalue().partition("exception:")[2].strip() or printed.getvalue().strip())
    return macs, params


def run_torchinfo(subject: Subject) -> Reading:
    """`torchinfo.summary`; its mult-adds are elements of weights times outputs."""
    import torchinfo

    data: Any = list(subject.args) or subject.kwargs
    more: dict[str, Any] = subject.kwargs if subject.args else {}
    mode = "train" if subject.model.training else "eval"
    summary = torchinfo.summary(subject.model, input_data=data, mode=mode, device="cpu", verbose=0, **more)
    layers: Layers = {"": summary.total_mult_adds}
    for info in summary.summary_list:
        if info.is_leaf_layer and info.depth:
            path = _torchinfo_path(info)
            layers[path] = layers.get(path, 0) + info.macs
    return Reading(summary.total_mult_adds, summary.total_params, layers)


def _torchinfo_path(info: Any) -> str:
    above = _torchinfo_path(info.parent_info) if info.depth > 1 else ""
    return f"{above}.{info.var_name}" if above else str(info.var_name)


def run_calflops(subject: Subject) -> Reading:
    """`calflops.calculate_flops`: its MACs, and beside them its FLOPs."""
    from calflops import calculate_flops
    from calflops.calculate_pipline import CalFlopsPipline
    from calflops.utils import get_module_macs

    layers: Layers = {}
    end = CalFlopsPipline.end_flops_calculate

    def keep(pipeline: Any) -> None:
        layers.update((path, get_module_macs(module)) for path, module in pipeline.model.named_modules())
        end(pipeline)

    with _instead(CalFlopsPipline, "end_flops_calculate", keep):
        flops, macs, params = calculate_flops(
            subject.model,
            args=list(subject.args),
            kwargs=dict(subject.kwargs),
            output_as_string=False,
            print_results=False,
        )
    return Reading(_whole(macs), int(params), layers, also={"FLOPs": _whole(flops)})


def run_torchprofile(subject: Subject) -> Reading:
    """`torchprofile.profile_macs`, by operator: its trace knows no modules."""
    from torchprofile import profile_macs

    positional = subject.positional()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        counts: Any = profile_macs(subject.model, positional, reduction=None)
    operators: Counter[str] = Counter()
    for node, macs in counts.items():
        operators[node.operator] += macs
    said = (str(warning.message) for warning in caught)
    missing = Counter(text.split('"')[1] for text in said if text.startswith("No handlers found"))
    return Reading(_whole(sum(counts.values())), operators=dict(operators), unsupported=dict(missing))


def run_forward(subject: Subject) -> Reading:
    """No counter: what the model keeps and returns by torch's own account, each tensor once."""
    made = subject.model(*subject.args, **subject.kwargs)
    returned = {id(item): item for item in tree_leaves(made) if isinstance(item, torch.Tensor)}
    facts = {
        "parameters": {key: held(tensor) for key, tensor in subject.model.named_parameters()},
        "buffers": {key: held(tensor) for key, tensor in subject.model.named_buffers()},
        "outputs": [str(spec_of(tensor)) for tensor in returned.values()],
    }
    return Reading(0, facts=facts)


def spec_of(tensor: torch.Tensor) -> TensorSpec:
    """Return a tensor's shape and type."""
    return TensorSpec(tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))


def held(tensor: torch.Tensor) -> str:
    """Return what a model keeps as text: the shape, the type if it is not float32, whether it is frozen."""
    frozen = isinstance(tensor, nn.Parameter) and not tensor.requires_grad
    return f"{spec_of(tensor)} frozen" if frozen else str(spec_of(tensor))


TOOLS: Mapping[str, Tool] = {
    FORWARD: Tool(run_forward, ""),
    "fvcore": Tool(run_fvcore, "FLOPs"),
    "torch": Tool(run_torch, "FLOPs", 2),
    "profiler": Tool(run_profiler, "FLOPs", 2),
    "thop": Tool(run_thop, "MACs"),
    "ptflops": Tool(run_ptflops, "MACs"),
    "ptflops-aten": Tool(run_ptflops_aten, "MACs"),
    "torchinfo": Tool(run_torchinfo, "mult-adds"),
    "calflops": Tool(run_calflops, "MACs"),
    "torchprofile": Tool(run_torchprofile, "MACs"),
}


@contextlib.contextmanager
def _instead(owner: Any, name: str, value: Any) -> Iterator[None]:
    kept = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, kept)


def _whole(count: Any) -> Figure:
    """Return a count as an int where it is one."""
    number = count.item() if isinstance(count, torch.Tensor) or hasattr(count, "item") else count
    return int(number) if int(number) == number else float(number)


def canonical(model: nn.Module, layers: Mapping[str, Figure]) -> Layers:
    """Return the figures under the first path of each module: tools differ in which path a shared one has."""
    paths: dict[int, str] = {}
    first = {path: paths.setdefault(id(m), path) for path, m in model.named_modules(remove_duplicate=False)}
    return {first.get(path, path): count for path, count in layers.items()}
