"""`TracedTensor`: stands for a tensor while a model is traced; it has a shape and a type and no elements."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from archlab.ir import TensorSpec

DTYPES: dict[str, torch.dtype] = {}
NAMES: dict[torch.dtype, str] = {}
for _name in dir(torch):
    if isinstance(_dtype := getattr(torch, _name), torch.dtype):
        NAMES.setdefault(_dtype, str(_dtype).removeprefix("torch."))
        DTYPES[str(_dtype).removeprefix("torch.")] = _dtype


class TracedTensor(Tensor):
    """A tensor without elements.

    `spec` is its shape and type, `ref` the step of the trace that made it and which of its outputs it
    is, `value` its elements where they are known (small integers and booleans steer control flow),
    `guessed` the steps of the trace whose elements were assumed and that those rest on.
    `storage` is the number of the storage that it lies in, `root` the tensor that this was taken for, if
    another one; `strides` is how it lies there, None for densely and in order.
    What asks for its shape or type is answered here, before torch is involved.
    """

    spec: TensorSpec
    ref: tuple[int, int]
    recorder: Any
    guessed: frozenset[int] = frozenset()
    storage: int = -1
    root: TracedTensor | None = None
    strides: tuple[int, ...] | None = None
    known: Tensor | None = None  # its elements, as they were at a version of its storage
    version: int = 0  # how often elements that are not known were written into its storage, if it is the root

    @property
    def home(self) -> TracedTensor:
        """The tensor that its storage was taken for."""
        return self if self.root is None else self.root

    @property
    def value(self) -> Tensor | None:
        """Its elements, unless others that are not known were written into its storage since."""
        if self.known is not None and self.home.version != self._at:
            self.known = None
        return self.known

    @value.setter
    def value(self, known: Tensor | None) -> None:
        self.known = known
        self._at = self.home.version

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        recorder = _recorder_of(args, kwargs or {})
        return recorder.dispatched(func, args, kwargs or {})

    @property
    def shape(self) -> torch.Size:
        return torch.Size(self.spec.shape)

    def size(self, dim: int | None = None) -> Any:
        return torch.Size(self.spec.shape) if dim is None else self.spec.shape[dim]

    def dim(self) -> int:
        return len(self.spec.shape)

    ndimension = dim

    @property
    def ndim(self) -> int:
        return len(self.spec.shape)

    def numel(self) -> int:
        return self.spec.numel

    nelement = numel

    def __len__(self) -> int:
        if not self.spec.shape:
            raise TypeError("len() of a 0-d tensor")
        return self.spec.shape[0]

    @property
    def dtype(self) -> torch.dtype:
        return DTYPES[self.spec.dtype]

    @property
    def device(self) -> torch.device:
        device: torch.device = self.recorder.device
        return device

    def get_device(self) -> int:
        return -1

    is_nested = is_sparse = is_quantized = is_cuda = is_mkldnn = is_mps = is_xpu = requires_grad = False
    is_meta = property(lambda self: self.recorder.device.type == "meta")
    is_leaf = True
    grad_fn = grad = None
    layout = torch.strided
    itemsize = property(lambda self: self.dtype.itemsize)
    is_cpu = property(lambda self: self.recorder.device.type == "cpu")

    def is_floating_point(self) -> bool:
        return self.dtype.is_floating_point

    def is_complex(self) -> bool:
        return self.dtype.is_complex

    def is_contiguous(self, memory_format: torch.memory_format = torch.contiguous_format) -> bool:
        if memory_format is torch.contiguous_format:
            return self.strides is None
        with torch._C.DisableTorchFunction():
            return torch.empty_strided(self.spec.shape, self.stride(), device="meta").is_contiguous(
                memory_format=memory_format
            )

    def stride(self, dim: int | None = None) -> Any:
        if self.strides is not None:
            return self.strides if dim is None else self.strides[dim]
        strides, step = [], 1
        for size in reversed(self.spec.shape):
            strides.append(step)
            step *= max(size, 1)
        strides.reverse()
        return tuple(strides) if dim is None else strides[dim]

    def storage_offset(self) -> int:
        return 0

    def __repr__(self, *_: Any, **__: Any) -> str:
        return f"TracedTensor({self.spec})"


_make: Any = Tensor._make_wrapper_subclass


def traced_tensor(recorder: Any, ref: tuple[int, int], spec: TensorSpec) -> TracedTensor:
    """Return a tensor of that shape and type, whose elements are not known."""
    made: TracedTensor = _make(TracedTensor, spec.shape, dtype=DTYPES[spec.dtype], device=recorder.device)
    made.recorder, made.ref, made.spec = recorder, ref, spec
    return made


def _recorder_of(args: Any, kwargs: Any) -> Any:
    for value in (*args, *kwargs.values()):
        if isinstance(value, TracedTensor):
            return value.recorder
        if isinstance(value, (list, tuple)):
            for item in value:
                if isinstance(item, TracedTensor):
                    return item.recorder
    raise RuntimeError("a traced call without a traced tensor")


def tensors_of(args: Any, kwargs: Any) -> list[Tensor]:
    """Return the tensors among the arguments of a call, those in its lists, too, in order."""
    found = []
    for value in (*args, *kwargs.values()):
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, (list, tuple)):
            found.extend(item for item in value if isinstance(item, Tensor))
    return found
