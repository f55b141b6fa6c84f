"""`GradientFlow`: how large the gradient of each block is after one backward pass, seed by seed."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Literal, Self

from archlab.errors import ReadError, UsageError, nearest

SCHEMA = "archlab.gradients/1"
ENOUGH = 6
"""So many seeds must agree before a difference is called one: by chance all do in 1 of 32 cases (2 · 2⁻⁶)."""

BATCH = 2
"""What becomes of a batch of one: batch norm in training needs more."""

INITIALISATIONS: Mapping[str, str] = {
    "default": "torch's own of each layer; for a convolution or a linear layer uniform, variance 1 ÷ (3 · fan-in)",
    "kaiming": "normal, variance 2 ÷ fan-in, biases 0 (He et al. 2015, arXiv 1502.01852)",
    "xavier": "uniform, variance 2 ÷ (fan-in + fan-out), biases 0 (Glorot & Bengio 2010)",
    "gaussian": "normal, deviation 0.01, biases 0 (as Krizhevsky et al. 2012 drew their weights)",
}
"""Every initialisation by name, with what it draws."""

Quantity = Literal["norm", "rms", "output_norm"]
Verdict = Literal["larger", "smaller", "equal", "no difference", "too few seeds"]


@dataclass(frozen=True)
class Setting:
    """How gradients are measured; raise `UsageError` for what cannot be.

    `batch` None keeps what a target was asked for, and makes `BATCH` of a single image. The loss is the
    cross-entropy of the main output plus `aux_weight` times that of each other one. A block is the first
    `depth` parts of a layer's name.
    """

    seeds: int = ENOUGH
    inits: tuple[str, ...] = tuple(INITIALISATIONS)
    batch: int | None = None
    aux_weight: float = 0.3
    depth: int = 1
    device: str = "cpu"

    def __post_init__(self) -> None:
        for name, value in (("seeds", self.seeds), ("batch", self.batch), ("depth", self.depth)):
            if value is not None and value < 1:
                raise UsageError(f"{name} must be at least 1, got {value}")
        if not (math.isfinite(self.aux_weight) and self.aux_weight >= 0):
            raise UsageError(f"the weight of auxiliary heads must be 0 or more, got {self.aux_weight}")
        if not self.inits:
            raise UsageError(f"name an initialisation: {', '.join(INITIALISATIONS)}")
        for name in self.inits:
            if name not in INITIALISATIONS:
                known = ", ".join(INITIALISATIONS)
                raise UsageError(f"unknown initialisation {name!r}{nearest(name, INITIALISATIONS)} (known: {known})")
        object.__setattr__(self, "inits", tuple(dict.fromkeys(self.inits)))


@dataclass(frozen=True)
class BlockGradient:
    """The gradient of one block in one run.

    `norm` is the L2 norm over its `params` parameters, `output_norm` that of the gradient of what it hands
    on; None where none arrives there, or no module of a model is the block. `along` is the cosine between this
    gradient and the base's for the parameters of the block that both have; None for the base itself, and
    where a gradient is 0.
    """

    params: int
    norm: float
    output_norm: float | None
    along: float | None = None

    @property
    def rms(self) -> float:
        """The root mean square of the gradient's elements."""
        return self.norm / math.sqrt(self.params)


@dataclass(frozen=True)
class Run:
    """One forward and backward pass of one subject: its loss, and the gradient of each block in order."""

    subject: str
    init: str
    seed: int
    loss: float
    blocks: Mapping[str, BlockGradient]


@dataclass(frozen=True)
class Spread:
    """A quantity over seeds: its median, and the lowest and the highest."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Self:
        """Return the spread of one value or more."""
        values = list(values)
        return cls(median(values), min(values), max(values))


@dataclass(frozen=True)
class Ratio:
    """Other ÷ base, seed by seed, and what all seeds together say; `spread` is None where the base has a 0."""

    spread: Spread | None
    verdict: Verdict
    larger: int
    seeds: int


@dataclass(frozen=True)
class GradientFlow:
    """Gradients after one backward pass: subjects by initialisation by seed, the first subject as the base.

    Every subject has the same batch, the same dropout and, layer by layer, the same parameters for a seed,
    so seeds are pairs. `heads` is how many auxiliary outputs each subject has, `left_out` how many
    outputs of each are in no loss; `interrupted` says that fewer runs were made than asked for.
    """

    subjects: tuple[str, ...]
    heads: tuple[int, ...]
    input: Mapping[str, str]
    setting: Setting
    machine: Mapping[str, str]
    runs: tuple[Run, ...] = field(repr=False)
    interrupted: bool = False
    left_out: tuple[int, ...] = ()

    @property
    def inits(self) -> tuple[str, ...]:
        """The initialisations that were measured."""
        return tuple(dict.fromkeys(run.init for run in self.runs))

    def seeds(self, init: str) -> tuple[int, ...]:
        """Return the seeds that every subject was measured with."""
        by_subject = [{r.seed for r in self.runs if (r.subject, r.init) == (s, init)} for s in self.subjects]
        return tuple(sorted(set.intersection(*by_subject)))

    @property
    def blocks(self) -> tuple[str, ...]:
        """Every block that has parameters in any subject, in order."""
        orders = {run.subject: list(run.blocks) for run in self.runs}
        found: list[str] = []
        for names in orders.values():
            place = 0
            for name in names:
                if name not in found:
                    found.insert(place, name)
                place = found.index(name) + 1
        return tuple(found)

    def params(self, block: str) -> dict[str, int]:
        """Return how many parameters a block has, by subject that has it."""
        return {run.subject: run.blocks[block].params for run in self.runs if block in run.blocks}

    def values(self, subject: str, init: str, block: str, quantity: str = "norm") -> list[float]:
        """Return a quantity, seed by seed; empty where the subject has no such block."""
        by_seed = {run.seed: run for run in self.runs if (run.subject, run.init) == (subject, init)}
        held = [by_seed[seed].blocks.get(block) for seed in self.seeds(init)]
        found = [getattr(each, quantity) for each in held if each is not None]
        return [value for value in found if value is not None]

    def spread(self, subject: str, init: str, block: str, quantity: str = "norm") -> Spread | None:
        """Return a quantity's median and range over the seeds; None where there is none."""
        values = self.values(subject, init, block, quantity)
        return Spread.of(values) if values else None

    def ratio(self, other: str, init: str, block: str, quantity: Quantity = "norm") -> Ratio | None:
        """Return other ÷ base over the pairs of one seed each; None for a block that one of them lacks.

        The verdict is ``larger`` or ``smaller`` where every seed says so and there are at least `ENOUGH`,
        ``equal`` where every pair is, to the last digit.
        """
        base, others = (self.values(subject, init, block, quantity) for subject in (self.subjects[0], other))
        if not base or not others:
            return None
        pairs = list(zip(base, others, strict=True))
        spread = None if any(a == 0 for a, _ in pairs) else Spread.of(b / a for a, b in pairs)
        larger, smaller = sum(b > a for a, b in pairs), sum(b < a for a, b in pairs)
        return Ratio(spread, _verdict(larger, smaller, len(pairs)), larger, len(pairs))

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain data, schema ``archlab.gradients/1``: what to read, and every run."""
        return {
            "schema": SCHEMA,
            "base": self.subjects[0],
            "others": list(self.subjects[1:]),
            "heads": list(self.heads),
            "left_out": list(self.left_out),
            "input": dict(self.input),
            "setting": {**dataclasses.asdict(self.setting), "inits": list(self.setting.inits)},
            "machine": dict(self.machine),
            "interrupted": self.interrupted,
            "blocks": [self._row(init, block) for init in self.inits for block in self.blocks],
            "runs": [dataclasses.asdict(run) for run in self.runs],
        }

    def _row(self, init: str, block: str) -> dict[str, Any]:
        """Return what one initialisation says of one block: medians with their range, and the ratios."""

        def plain(found: Any) -> Any:
            return None if found is None else dataclasses.asdict(found)

        by_subject = {
            subject: {
                "params": params,
                **{q: plain(self.spread(subject, init, block, q)) for q in ("norm", "rms", "output_norm", "along")},
            }
            for subject, params in self.params(block).items()
        }
        ratios = {
            other: {q: plain(self.ratio(other, init, block, q)) for q in ("norm", "output_norm")}
            for other in self.subjects[1:]
        }
        return {"init": init, "block": block, "subjects": by_subject, "ratios": ratios}

    @classmethod
    def of(cls, data: Any, where: str = "gradients") -> Self:
        """Return the result that `to_dict` made these data of; raise `ReadError` for other data."""
        try:
            if data["schema"] != SCHEMA:
                raise ReadError(f"{where}: expected the schema {SCHEMA}, found {data['schema']!r}")
            runs = tuple(
                Run(**{**run, "blocks": {name: BlockGradient(**block) for name, block in run["blocks"].items()}})
                for run in data["runs"]
            )
            setting = Setting(**{**data["setting"], "inits": tuple(data["setting"]["inits"])})
            subjects, heads = (data["base"], *data["others"]), tuple(data["heads"])
            left_out = tuple(data.get("left_out", ()))
            what = (subjects, heads, data["input"], setting, data["machine"])
            return cls(*what, runs, data["interrupted"], left_out)
        except (KeyError, TypeError, AttributeError) as error:
            raise ReadError(f"{where}: is no result of archlab gradients: {type(error).__name__}: {error}") from None

    def to_json(self) -> str:
        """Return `to_dict` as JSON text."""
        import json

        return json.dumps(self.to_dict(), indent=1, ensure_ascii=False) + "\n"

    def to_markdown(self) -> str:
        """Return the result as markdown."""
        from archlab.report.gradients import gradients_document
        from archlab.report.markdown import render

        return render(gradients_document(self))

    def __str__(self) -> str:
        from archlab.report.gradients import gradients_document
        from archlab.report.terminal import render

        return render(gradients_document(self))


def _verdict(larger: int, smaller: int, seeds: int) -> Verdict:
    if not larger and not smaller:
        return "equal"
    if seeds < ENOUGH:
        return "too few seeds"
    if larger == seeds:
        return "larger"
    return "smaller" if smaller == seeds else "no difference"
