"""Two independent counters, run on a lowered graph: torch's FlopCounterMode and fvcore's FlopCountAnalysis.

Both run on the meta device, where nothing is computed or allocated.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from archlab.pytorch.lower import LoweredGraph
from archlab.verifications import Count

TORCH, FVCORE = "torch", "fvcore"

_FAILED = "failed "


@contextmanager
def quiet() -> Any:
    """Run without warnings and without gradients."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        yield


def count_with_torch(module: LoweredGraph, inputs: tuple[Tensor, ...], layers: Iterable[str]) -> Count:
    """Run the module under `torch.utils.flop_counter.FlopCounterMode`; its FLOPs are 2 for each MAC."""
    with quiet(), FlopCounterMode(display=False) as mode:
        module(*inputs)
    flops = {path: sum(by_op.values()) for path, by_op in mode.get_flop_counts().items()}
    root = type(module).__name__
    counts = {layer: _half(flops.get(f"{root}.{_dotted(layer)}", 0)) for layer in layers}
    return Count(TORCH, torch.__version__, _half(mode.get_total_flops()), counts)


def count_with_fvcore(module: LoweredGraph, inputs: tuple[Tensor, ...], layers: Iterable[str]) -> Count:
    """Run the module under `fvcore.nn.FlopCountAnalysis`, which counts a MAC as one flop.

    It adds work that is no MAC to its count: norms and adaptive pools.
    """
    with quiet():
        from fvcore.nn import FlopCountAnalysis

        analysis = FlopCountAnalysis(module, inputs)
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
        # By owner it would add the count of a/b to a, which may be a layer of its own.
        analysis.ancestor_mode("caller")
        for operator, rule in list(analysis._op_handles.items()):
            analysis.set_op_handle(operator, _guarded(operator, rule))
        with _ConvolutionsByName():
            by_module = analysis.by_module_and_operator()
    dotted = {layer: _dotted(layer) for layer in layers}
    return Count(
        FVCORE,
        version("fvcore"),
        _counted(by_module[""]),
        {layer: _counted(by_module[path]) for layer, path in dotted.items()},
        _present({layer: dict(analysis.unsupported_ops(path)) for layer, path in dotted.items()}),
        _present({layer: _failures(by_module[path]) for layer, path in dotted.items()}),
    )


COUNTERS: Mapping[str, Callable[[LoweredGraph, tuple[Tensor, ...], Iterable[str]], Count]] = {
    TORCH: count_with_torch,
    FVCORE: count_with_fvcore,
}


class _ConvolutionsByName(TorchFunctionMode):
    """Calls a convolution by the operator that fvcore has a rule for.

    fvcore reads a trace of torch.jit, where a convolution is ``aten::_convolution``. On the meta device
    torch answers one before it gets there: it would be missing from the trace, and with it the count.
    Padding by name is left alone: there a trace on the CPU has no such operator, either.
    """

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is torch.conv2d and not isinstance(args[4], str):
            x, weight, bias, stride, padding, dilation, groups = args
            function, tail = torch._convolution, (False, (0, 0), groups)
            args, kwargs = (x, weight, bias, stride, padding, dilation, *tail, *_BACKEND), None
        elif function is torch.conv_transpose2d:
            x, weight, bias, stride, padding, output_padding, groups, dilation = args
            function, tail = torch._convolution, (True, output_padding, groups)
            args, kwargs = (x, weight, bias, stride, padding, dilation, *tail, *_BACKEND), None
        return function(*args, **(kwargs or {}))


_BACKEND = (False, False, False, False)
"""Of `torch._convolution`: benchmark, deterministic, cudnn, tf32; they change no count."""


def _guarded(operator: str, rule: Callable[..., Any]) -> Callable[..., Any]:
    """Return the rule, or one mark where it raises: a shape that a rule cannot take must not end the run."""

    def count(inputs: Any, outputs: Any) -> Any:
        try:
            return rule(inputs, outputs)
        except (AssertionError, IndexError, TypeError, ValueError):
            return Counter({_FAILED + operator: 1})

    return count


def _counted(by_operator: Mapping[str, Any]) -> int:
    return sum(int(count) for operator, count in by_operator.items() if not operator.startswith(_FAILED))


def _failures(by_operator: Mapping[str, Any]) -> dict[str, int]:
    return {op.removeprefix(_FAILED): int(n) for op, n in by_operator.items() if op.startswith(_FAILED)}


def _present(by_layer: Mapping[str, dict[str, int]]) -> dict[str, dict[str, int]]:
    return {layer: found for layer, found in by_layer.items() if found}


def _dotted(name: str) -> str:
    return name.replace("/", ".")


def _half(flops: int) -> int:
    macs, odd = divmod(flops, 2)
    assert not odd, f"torch counts 2 FLOPs for each MAC, but reports {flops}"
    return macs
