"""Module calls while a model is traced: who was called by whom, with what; leaves are answered without being run."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from torch import Tensor, nn

from archlab.ir import TensorSpec
from archlab.pytorch.eager import eagerly
from archlab.pytorch.leaves import LEAVES, Leaf, is_plain
from archlab.pytorch.recorder import Recorder
from archlab.pytorch.spy import TracedTensor
from archlab.pytorch.walk import Place, Walk

_active = threading.local()
_lock = threading.Lock()
_users = 0
_eager = ExitStack()


@contextmanager
def listening(recorder: Recorder, walk: Walk) -> Iterator[None]:
    """Run with the recorder as the torch function mode and with module calls known by path.

    Each module gets a call of its own, in the place where torch keeps a compiled one: nothing that
    other models share is touched.
    """
    global _users  # noqa: PLW0603
    outer = getattr(_active, "recorder", None)
    _active.recorder = recorder
    with _lock:
        if not _users:
            _eager.enter_context(eagerly(lambda: getattr(_active, "recorder", None) is not None))
        _users += 1

    def called_by(module: nn.Module, place: Place) -> Any:
        short = LEAVES.get(type(module))
        if short is None:
            return partial(_call, recorder, module, place)
        return partial(_call_leaf, recorder, module, place, short)

    walk.listen(called_by)
    try:
        with recorder:
            yield
    finally:
        _active.recorder = outer
        with _lock:
            _users -= 1
            if not _users:
                _eager.close()


def _call(recorder: Recorder, module: nn.Module, place: Place, *args: Any, **kwargs: Any) -> Any:
    if getattr(_active, "recorder", None) is not recorder:  # another thread runs the same model
        return module._call_impl(*args, **kwargs)  # type: ignore[no-untyped-call]
    if len(args) == 1 and type(args[0]) is TracedTensor and not kwargs:
        specs: tuple[TensorSpec, ...] = (args[0].spec,)
    else:
        specs = _specs(recorder, (*args, *kwargs.values()))
    outer, calls = recorder.inside, recorder.calls
    called = [place, outer, specs, ()]
    recorder.inside = len(calls)
    calls.append(called)
    try:
        made = module._call_impl(*args, **kwargs)  # type: ignore[no-untyped-call]
    except BaseException as error:
        recorder.fail(error)
        raise
    finally:
        recorder.inside = outer
    called[3] = (made.spec,) if type(made) is TracedTensor else _specs(recorder, (made,))
    return made


def _call_leaf(recorder: Recorder, module: nn.Module, place: Place, short: Leaf, *args: Any, **kwargs: Any) -> Any:
    if (
        kwargs
        or len(args) != 1
        or type(x := args[0]) is not TracedTensor
        or x.strides is not None
        or getattr(_active, "recorder", None) is not recorder
        or not is_plain(module)
    ):
        return _call(recorder, module, place, *args, **kwargs)
    outer, calls = recorder.inside, recorder.calls
    called = [place, outer, (x.spec,), ()]
    recorder.inside, recorder.outermost = len(calls), ""
    calls.append(called)
    try:
        made = short(recorder, module, x)
    except BaseException as error:
        recorder.fail(error)
        raise
    finally:
        recorder.inside = outer
    called[3] = (made.spec,) if type(made) is TracedTensor else _specs(recorder, (made,))
    return made


def _specs(recorder: Recorder, values: Any) -> tuple[TensorSpec, ...]:
    """Return the shapes and types of the tensors in some values, nested ones too, in order."""
    found: list[TensorSpec] = []
    for value in values:
        if type(value) is TracedTensor:
            found.append(value.spec)
        elif isinstance(value, Tensor):
            found.append(recorder.spec(value))
        elif isinstance(value, (list, tuple)):
            found.extend(_specs(recorder, value))
        elif isinstance(value, Mapping):
            found.extend(_specs(recorder, value.values()))
    return tuple(found)
