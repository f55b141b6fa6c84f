"""Gradient flow measured: one forward and backward pass of each subject, for each seed and initialisation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from archlab.errors import TraceError, UsageError
from archlab.gradients import BlockGradient, GradientFlow, Run, Setting
from archlab.ir import Graph
from archlab.pytorch.initialise import initialise, seed_of
from archlab.pytorch.measure.device import chosen, machine
from archlab.pytorch.measure.failures import is_out_of_memory
from archlab.pytorch.trainable import Live, Trainable, trainable

Told = Callable[[str, str, int, int, int], None]
"""Is told what runs: the subject, the initialisation, the seed, how many passes are done, and of how many."""


def gradient_flow(
    learners: Sequence[Graph | Live], setting: Setting | None = None, told: Told | None = None
) -> GradientFlow:
    """Return the gradients of graphs and models after one backward pass each; the first is the base.

    A layer that several have gets the same parameters and the same dropout in all of them, and all get
    the same inputs (normal) and labels (uniform): what differs is the networks alone. An interrupt ends the
    measurement with the seeds that every one has been measured for, if there are any. Raises `UsageError`
    for a device that is not there or what is no classifier, `TraceError` where a pass fails.
    """
    setting = setting or Setting()
    device = chosen(setting.device)
    with _repeatable(device):
        return _measured(learners, setting, device, told)


@contextmanager
def _repeatable(device: torch.device) -> Iterator[None]:
    """Keep to kernels that give the same twice, and put torch's generators back as they were."""
    if device.type == "cpu":
        with torch.random.fork_rng([]):
            yield
        return
    chosen = torch.backends.cudnn.deterministic
    with torch.random.fork_rng([device.index or 0], device_type=device.type):
        torch.backends.cudnn.deterministic = True
        try:
            yield
        finally:
            torch.backends.cudnn.deterministic = chosen


def _measured(
    learners: Sequence[Graph | Live], setting: Setting, device: torch.device, told: Told | None
) -> GradientFlow:
    subjects = [_Subject(trainable(learner, setting.batch), setting, device) for learner in learners]
    _check_alike(subjects)
    asked = [(init, seed) for seed in range(setting.seeds) for init in setting.inits]
    runs: list[Run] = []
    interrupted = False
    try:
        for done, (init, seed) in enumerate(asked):
            base: Mapping[str, Tensor] = {}
            group = []
            for place, subject in enumerate(subjects):
                if told is not None:
                    told(subject.name, init, seed, done * len(subjects) + place, len(asked) * len(subjects))
                run, gradients = subject.run(init, seed, base)
                base = base or gradients
                group.append(run)
            runs += group
    except KeyboardInterrupt:
        if not runs:
            raise
        interrupted = True
    names = tuple(subject.name for subject in subjects)
    heads = tuple(len(subject.network.auxiliary) for subject in subjects)
    inputs = {name: str(spec) for name, spec in subjects[0].network.graph.inputs.items()}
    here = machine(device, "float32", setting.batch, channels_last=False, compiled=False)
    where = {"device": here.kind, "threads": str(here.threads), "torch": here.torch, "python": here.python}
    where["date"] = date.today().isoformat()
    left_out = tuple(subject.network.left_out for subject in subjects)
    return GradientFlow(names, heads, inputs, setting, where, tuple(runs), interrupted, left_out)


def _check_alike(subjects: Sequence[_Subject]) -> None:
    """Refuse names that stand for two subjects, and subjects that cannot be given the same batch."""
    first = subjects[0]
    for place, other in enumerate(subjects[1:], 1):
        if any(other.name == earlier.name for earlier in subjects[:place]):
            raise UsageError(f"{other.name} is named twice; compare it with another target")
        mine, theirs = (s.network.graph.inputs for s in (first, other))
        if list(mine.values()) != list(theirs.values()):
            shown = [", ".join(map(str, inputs.values())) for inputs in (mine, theirs)]
            raise UsageError(
                f"{first.name} reads {shown[0]}, {other.name} reads {shown[1]}; give both the same with --input"
            )
        if first.network.classes != other.network.classes:
            raise UsageError(
                f"{first.name} has {first.network.classes} classes, {other.name} has {other.network.classes}; "
                "the same labels must fit both"
            )


class _Subject:
    """A network that runs, with what is listened to while it does."""

    def __init__(self, network: Trainable, setting: Setting, device: torch.device) -> None:
        self.network, self.setting, self.device = network, setting, device
        self.name = network.graph.name
        self.seed = 0
        self.layer = ""
        self.output_norms: dict[str, float] = {}
        self.blocks = network.blocks(setting.depth)
        for name, layer in network.layers().items():
            layer.register_forward_pre_hook(self._before(name))
        for block, layer in network.exits(setting.depth).items():
            if block in self.blocks:
                layer.register_forward_hook(self._after(block))

    def _before(self, layer: str) -> Callable[[nn.Module, object], None]:
        """Note which layer runs, and let what it draws depend on nothing but the seed and its name."""

        def before(module: nn.Module, inputs: object) -> None:
            self.layer = layer
            torch.manual_seed(seed_of(self.seed, f"run {layer}"))

        return before

    def _after(self, block: str) -> Callable[[nn.Module, object, object], None]:
        """Note the gradient of what a block hands on, once there is one."""

        def note(gradient: Tensor) -> None:
            self.output_norms[block] = _norm([gradient])

        def after(module: nn.Module, inputs: object, output: object) -> None:
            made = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
            if made and made[0].requires_grad:
                made[0].register_hook(note)  # type: ignore[no-untyped-call]

        return after

    def run(self, init: str, seed: int, base: Mapping[str, Tensor]) -> tuple[Run, dict[str, Tensor]]:
        """Return one pass, and its gradients by key; raise `TraceError` where it fails or is not finite."""
        try:
            loss = self._pass(init, seed)
        except (RuntimeError, ValueError, MemoryError) as error:
            raise self._failed(error) from error
        tensors = {key: p for key, p in self.network.module.named_parameters() if p.requires_grad}
        gradients = {key: torch.zeros_like(p) if p.grad is None else p.grad for key, p in tensors.items()}
        for tensor in tensors.values():
            tensor.grad = None
        blocks = {}
        for block, keys in self.blocks.items():
            mine = {key: gradients[key] for key in keys}
            output = self.output_norms.get(block)
            params = sum(gradient.numel() for gradient in mine.values())
            blocks[block] = BlockGradient(params, _norm(mine.values()), output, _cosine(mine, base))
        for block, found in blocks.items():
            if not (math.isfinite(found.norm) and math.isfinite(found.output_norm or 0.0)):
                raise TraceError(
                    f"{self.name}: {init}, seed {seed}: the gradient of {block} is not finite (loss {loss:g}); "
                    "leave this initialisation out with --init"
                )
        return Run(self.name, init, seed, loss, blocks), gradients

    def _pass(self, init: str, seed: int) -> float:
        network, self.seed, self.layer, self.output_norms = self.network, seed, "", {}
        module = network.module.to("cpu").train()
        initialise(module, init, seed, network.tables)  # on the CPU, so that it is the same on every device
        module.to(self.device)
        torch.manual_seed(seed_of(seed, "inputs"))
        drawn = network.drawn()
        labels = torch.randint(network.classes, network.label_shape).to(self.device)
        args, kwargs = tree_map(lambda x: x.to(self.device) if isinstance(x, Tensor) else x, drawn)
        made = module(*args, **kwargs)
        self.layer = "the loss"
        loss = network.loss(made, labels, self.setting.aux_weight)
        self.layer = "the backward pass"
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())

    def _failed(self, error: Exception) -> TraceError:
        batch = next(iter(self.network.graph.inputs.values())).shape[0]
        if is_out_of_memory(error):
            less = f"try --batch {batch // 2}" if batch > 1 else "try a smaller --input"
            return TraceError(f"{self.name}: out of memory in {self.layer} at batch {batch}; {less}")
        return TraceError(f"{self.name}: the pass failed in {self.layer}: {error}")


def _norm(tensors: Iterable[Tensor]) -> float:
    """Return the L2 norm over all elements, in double precision: the squares of small gradients are no floats."""
    return math.sqrt(sum(float(tensor.detach().double().pow(2).sum()) for tensor in tensors))


def _cosine(mine: Mapping[str, Tensor], base: Mapping[str, Tensor]) -> float | None:
    """Return the cosine between the gradients of the parameters that both have; None where that is undefined."""
    both = [key for key, tensor in mine.items() if key in base and base[key].shape == tensor.shape]
    size = _norm([mine[key] for key in both]) * _norm([base[key] for key in both])
    if not size:
        return None
    product = sum(float((mine[key].double() * base[key].double()).sum()) for key in both)
    return max(-1.0, min(1.0, product / size))
