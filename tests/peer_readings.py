"""`python -m tests.peer_readings TOOL SET`: what one counter prints for each model of a set, as JSON, each in a fork.

A model that the counter cannot count reads as the name of its error.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import warnings
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn, zeros

Read = Callable[[nn.Module, tuple[Tensor, ...]], Any]


def fvcore(model: nn.Module, inputs: tuple[Tensor, ...]) -> Any:
    from fvcore.nn import FlopCountAnalysis

    analysis = FlopCountAnalysis(model, inputs)
    return analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).total()


def torch(model: nn.Module, inputs: tuple[Tensor, ...]) -> Any:
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        model(*inputs)
    return counter.get_total_flops()


def thop(model: nn.Module, inputs: tuple[Tensor, ...]) -> Any:
    from thop import profile

    return profile(model, inputs, verbose=False)[0]


def ptflops(model: nn.Module, inputs: tuple[Tensor, ...], backend: str = "pytorch") -> Any:
    from ptflops import get_model_complexity_info

    (only,) = inputs  # it gives a model one tensor, or keywords
    given = {"input_constructor": lambda _: only, "as_strings": False, "print_per_layer_stat": False}
    return get_model_complexity_info(model, (1,), backend=backend, **given)[0]


def torchinfo(model: nn.Module, inputs: tuple[Tensor, ...]) -> Any:
    from torchinfo import summary

    return summary(model, input_data=inputs, verbose=0).total_mult_adds


def calflops(model: nn.Module, inputs: tuple[Tensor, ...]) -> Any:
    from calflops import calculate_flops

    return calculate_flops(model, args=list(inputs), output_as_string=False, print_results=False)[1]


def torchprofile(model: nn.Module, inputs: tuple[Tensor, ...]) -> Any:
    from torchprofile import profile_macs

    return profile_macs(model, inputs)


TOOLS: dict[str, Read] = {
    "fvcore": fvcore,
    "torch": torch,
    "thop": thop,
    "ptflops": ptflops,
    "ptflops-aten": lambda model, inputs: ptflops(model, inputs, "aten"),
    "torchinfo": torchinfo,
    "calflops": calflops,
    "torchprofile": torchprofile,
}


def reading(read: Read, make: Callable[[], tuple[nn.Module, tuple[Tensor, ...]]]) -> int | str:
    """Return what a counter prints, from a process that ends with it."""
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(out)
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            try:
                model, inputs = make()
                found: Any = read(model.eval(), inputs)
                text = json.dumps(type(found).__name__ if found is None else int(found))
            except Exception as error:
                text = json.dumps(type(error).__name__)
        os.write(into, text.encode())
        os._exit(0)
    os.close(into)
    with os.fdopen(out) as answer:
        text = answer.read()
    os.waitpid(child, 0)
    found_back: int | str = json.loads(text)
    return found_back


def main() -> None:
    warnings.simplefilter("ignore")
    from tests.small_models import SETS

    tool, models = TOOLS[sys.argv[1]], SETS[sys.argv[2]]
    with contextlib.redirect_stdout(io.StringIO()):
        tool(nn.Linear(1, 1), (zeros(1, 1),))  # what it imports, it imports once, and not in every fork
    print(json.dumps({name: reading(tool, make) for name, make in models.items()}))


if __name__ == "__main__":
    main()
