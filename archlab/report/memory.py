"""Blocks that show what memory an architecture takes: predicted, measured, and the batch that fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from archlab.analyses.largest_batch import ALONE, LargestBatch
from archlab.analyses.memory import MeasuredMemory, PeakMemory
from archlab.analyses.training_memory import TrainingMemory
from archlab.report.numbers import in_bytes
from archlab.report.table import Block, Column, Heading, Table, Text

Predicted = PeakMemory | TrainingMemory

MOST = 12
"""How many tensors are shown of those alive at the peak."""


def memory_blocks(
    predicted: PeakMemory | TrainingMemory, measured: MeasuredMemory | None = None
) -> tuple[Block, ...]:
    """Return the predicted peak beside the measured one, and the tensors alive there, largest first."""
    training = isinstance(predicted, TrainingMemory)
    where = f"{predicted.node}, {predicted.phase}" if isinstance(predicted, TrainingMemory) else predicted.node
    rows: list[tuple[object, ...]] = [("predicted peak", predicted.bytes, f"live storages, at {where}")]
    if measured is not None:
        rows += _measured(predicted.bytes, measured)
    if isinstance(predicted, TrainingMemory):
        rows += [
            ("weights", predicted.weights, "beside the peak"),
            ("buffers", predicted.buffers, "beside the peak"),
            *(
                (f"state of {name}", predicted.state(name), "if that is the optimiser")
                for name in ("momentum", "adam")
            ),
        ]
    heads = (Column("memory", key="memory"), Column("", "bytes", exact=False, key="bytes"), Column("", key="note"))
    step = " of a training step (forward, backward, from the sum of the outputs)" if training else ""
    blocks: list[Block] = [Heading(f"Memory{step}"), Table(heads, rows), alive_table(predicted)]
    if isinstance(predicted, TrainingMemory) and predicted.assumed:
        blocks.append(Text(_assumed(predicted.assumed)))
    return tuple(blocks)


def _measured(predicted: int, measured: MeasuredMemory) -> Sequence[tuple[object, ...]]:
    difference = measured.live - predicted
    own = ", ".join(f"{name} {in_bytes(size)}" for name, size in measured.own[:4])
    words = "equal to the prediction" if not difference else f"{difference:+,} B against the prediction"
    return (
        ("measured peak", measured.live, f"live storages on {measured.device}, as {measured.at} returned; {words}"),
        ("allocated", measured.allocated, f"by the allocator at most, within {measured.within}"),
        ("workspace", measured.workspace, f"allocated beyond live storages; one call takes at most: {own or 'none'}"),
    )


def alive_table(predicted: Predicted) -> Table:
    """Return the tensors alive at the predicted peak, largest first, the rest in one row."""
    training = isinstance(predicted, TrainingMemory)
    alive = [(item[0], item[1], item[2] if len(item) > 2 else "") for item in predicted.alive]
    shown, rest = (alive, []) if len(alive) <= MOST + 1 else (alive[:MOST], alive[MOST:])
    rows = [_row(name, size, kind, predicted.bytes, training) for name, size, kind in shown]
    if rest:
        rows.append(_row(f"… {len(rest)} more", sum(size for _, size, _ in rest), "", predicted.bytes, training))
    heads = (
        Column("alive at the peak", key="tensor"),
        *((Column("what", key="kind"),) if training else ()),
        Column("bytes", "bytes", key="bytes"),
        Column("share", "share", key="share"),
    )
    total = _row("total", predicted.bytes, "", predicted.bytes, training)
    return Table(heads, rows, total=total)


def _row(name: str, size: int, kind: str, whole: int, training: bool) -> tuple[object, ...]:
    return (name, *((kind,) if training else ()), size, size / whole if whole else 0.0)


def fits_blocks(found: LargestBatch) -> tuple[Block, ...]:
    """Return in one sentence the largest batch that fits, and what takes the memory."""
    how = found.mode if found.optimiser == "none" else f"{found.mode} with {found.optimiser}"
    limit = in_bytes(found.limit)
    if not found.batch:
        text = f"No batch fits in {limit} ({how}): {found.first} takes {_split(found.parts)}."
    else:
        text = (
            f"Largest batch that fits in {limit} ({how}): {found.batch:,}. It takes {_split(found.parts)}; "
            f"{found.batch + 1:,} would take {found.more:,} B. Workspace and the framework come on top."
        )
    if found.assumed:
        text += f" {_assumed(found.assumed)}"
    return (Text(text),)


def _assumed(names: Sequence[str]) -> str:
    return f"Assumed to keep for the backward pass all that they read and make: {', '.join(names)}."


def _split(parts: Mapping[str, int]) -> str:
    whole = sum(parts.values())
    names = {ALONE: "tensors alive at the peak"}
    each = [f"{in_bytes(size)} {names.get(name, name)}" for name, size in parts.items() if size]
    return f"{whole:,} B ({', '.join(each)})"
