"""Documents that show the gradient of each block: medians over seeds with their range, and what all seeds say."""

from __future__ import annotations

from collections.abc import Iterable

from archlab.gradients import ENOUGH, INITIALISATIONS, GradientFlow, Ratio, Spread
from archlab.report.numbers import times
from archlab.report.table import Block, Column, Document, Heading, Table, Text

HOW = (
    "norm: L2 norm of the gradient with respect to a block's parameters; rms: the root mean square of its "
    "elements; output: L2 norm of the gradient with respect to what the block hands on. Figures are medians over "
    "seeds, ranges the lowest and the highest. What no layer of torch draws, such as the positions of a transformer, "
    "is normal with deviation 0.02."
)
PAIRS = (
    "A ratio is other ÷ base, seed by seed: both have the same inputs, labels, dropout and parameters. larger and "
    f"smaller: every seed says so, and there are {ENOUGH} or more. along: the cosine between the two gradients."
)


def gradients_document(flow: GradientFlow, exact: bool = False) -> Document:
    """Return what was measured: a sentence and a table an initialisation, a row a block; then how."""
    blocks: list[Block] = [Text(_incomplete(flow))] if flow.interrupted else []
    blocks += [Text(f"{init}: {sentence(flow, init, other)}") for other in flow.subjects[1:] for init in flow.inits]
    for init in flow.inits:
        seeds = len(flow.seeds(init))
        blocks.append(Heading(f"{init}, {seeds} seed{'s' * (seeds != 1)}"))
        blocks.append(flow_table(flow, init, exact))
    blocks.append(Heading("How to read this"))
    blocks += [Text(f"{init}: {INITIALISATIONS[init]}.") for init in flow.inits]
    blocks.append(Text(f"{HOW} {PAIRS}" if len(flow.subjects) > 1 else HOW))
    blocks.append(Text(setting(flow)))
    return Document(f"gradients after one backward pass · {', '.join(flow.subjects)}", tuple(blocks), _data(flow))


def _incomplete(flow: GradientFlow) -> str:
    done = sum(len(flow.seeds(init)) for init in flow.inits)
    return (
        f"Interrupted: {done} of {flow.setting.seeds * len(flow.setting.inits)} pairs of a seed and an "
        "initialisation were measured."
    )


def sentence(flow: GradientFlow, init: str, other: str) -> str:
    """Return in which blocks the gradient of another subject is larger, smaller or neither, and by how much."""
    ratios = {block: ratio for block in flow.blocks if (ratio := flow.ratio(other, init, block)) is not None}
    if not ratios:
        return f"{other} has no block in common with {flow.subjects[0]}."
    parts = []
    for verdict in ("larger", "smaller", "no difference", "equal", "too few seeds"):
        found = [block for block, ratio in ratios.items() if ratio.verdict == verdict]
        if found:
            medians = [spread.median for block in found if (spread := ratios[block].spread) is not None]
            size = f" ({between(medians)})" if medians and verdict != "equal" else ""
            parts.append(f"{_WORDS[verdict]} {runs_of(found, list(ratios))}{size}")
    return f"The gradient of {other} against {flow.subjects[0]}: {'; '.join(parts)}."


_WORDS = {
    "larger": "larger in",
    "smaller": "smaller in",
    "no difference": "no difference that all seeds show in",
    "equal": "equal to the last digit in",
    "too few seeds": f"too few seeds to say ({ENOUGH} are enough) in",
}


def runs_of(found: Iterable[str], order: list[str]) -> str:
    """Return blocks as a person lists them: neighbours as `first to last`."""
    places = sorted(order.index(block) for block in found)
    spans: list[list[int]] = []
    for place in places:
        if spans and spans[-1][1] == place - 1:
            spans[-1][1] = place
        else:
            spans.append([place, place])
    words = []
    for first, last in spans:
        joint = " to " if last > first + 1 else ", "
        words.append(order[first] if first == last else f"{order[first]}{joint}{order[last]}")
    return ", ".join(words)


def between(ratios: Iterable[float]) -> str:
    """Return the least and the largest of some ratios."""
    low, high = min(values := list(ratios)), max(values)
    return factor(low) if factor(low) == factor(high) else f"{factor(low)} to {factor(high)}"


def factor(ratio: float, exact: bool = False) -> str:
    """Return a ratio with three digits, however small it is."""
    if exact:
        return f"{ratio!r}×"
    return times(ratio) if ratio >= 0.1 else f"{ratio:.3g}×"


def flow_table(flow: GradientFlow, init: str, exact: bool = False) -> Table:
    """Return a row a block: each subject's norm, and for each other subject its ratio to the base."""
    others = flow.subjects[1:]
    columns = [Column("block"), Column("params", "count", importance=2)]
    for subject in flow.subjects:
        columns.append(Column(f"norm\n{subject}" if others else "norm", "decimal", importance=8))
        columns.append(Column("range", "decimal", importance=3))
    for other in others:
        columns.append(Column("ratio" if len(others) == 1 else f"ratio\n{other}", "decimal"))
        columns.append(Column("range", "decimal", importance=7))
        columns.append(Column(""))
        columns.append(Column("along", "decimal", importance=6))
        columns.append(Column("ratio of\noutputs", "decimal", importance=4))
    for subject in flow.subjects:
        columns.append(Column(f"rms\n{subject}" if others else "rms", "decimal", importance=1 if others else 5))
        columns.append(Column(f"output\n{subject}" if others else "output", "decimal", importance=1 if others else 5))
    rows = []
    for block in flow.blocks:
        row: list[object] = [block, max(flow.params(block).values())]
        for subject in flow.subjects:
            row += _with_range(flow.spread(subject, init, block), exact)
        for other in others:
            row += _compared(flow, init, other, block, exact)
        for subject in flow.subjects:
            for quantity in ("rms", "output_norm"):
                spread = flow.spread(subject, init, block, quantity)
                row.append(None if spread is None else number(spread.median, exact))
        rows.append(row)
    return Table(tuple(columns), rows)


def _with_range(spread: Spread | None, exact: bool) -> tuple[str | None, str | None]:
    if spread is None:
        return None, None
    return number(spread.median, exact), f"{number(spread.low, exact)} … {number(spread.high, exact)}"


def _compared(flow: GradientFlow, init: str, other: str, block: str, exact: bool) -> list[object]:
    ratio = flow.ratio(other, init, block)
    if ratio is None:
        there = next(iter(flow.params(block)))
        return [None, None, f"{there} alone", None, None]
    along = flow.spread(other, init, block, "along")
    outputs = flow.ratio(other, init, block, "output_norm")
    return [
        *_ratio(ratio, exact),
        ratio.verdict,
        None if along is None else along.median,
        _ratio(outputs, exact)[0] if outputs else None,
    ]


def _ratio(ratio: Ratio, exact: bool) -> tuple[str | None, str | None]:
    if ratio.spread is None:
        return None, None
    low, high = (factor(value, exact) for value in (ratio.spread.low, ratio.spread.high))
    return factor(ratio.spread.median, exact), f"{low} … {high}"


def number(value: float, exact: bool = False) -> str:
    """Return a norm: three digits and the power of ten, or every digit."""
    return repr(value) if exact else f"{value:.2e}"


def setting(flow: GradientFlow) -> str:
    """Return what was run, and where."""
    asked, machine = flow.setting, flow.machine
    inputs = ", ".join(f"{name} {spec}" for name, spec in flow.input.items())
    heads = " and ".join(f"{count} in {subject}" for subject, count in zip(flow.subjects, flow.heads, strict=True))
    odd = zip(flow.subjects, flow.left_out, strict=False)
    left_out = [f"{count} of {subject}" for subject, count in odd if count]
    others = f" Outputs of another shape are in no loss: {', '.join(left_out)}." if left_out else ""
    threads = f"{machine['threads']} thread{'s' * (machine['threads'] != '1')}"
    return (
        f"Inputs ({inputs}) are normal numbers, labels are uniform. The loss is the cross-entropy of the main output "
        f"plus {asked.aux_weight:g} times that of each auxiliary one ({heads}).{others} Training mode, on "
        f"{machine['device']}, {threads}, torch {machine['torch']}, Python {machine['python']}, {machine['date']}."
    )


def _data(flow: GradientFlow) -> Table:
    """Return a row an initialisation, block and subject, every figure raw."""
    others = flow.subjects[1:]
    quantities = ("norm", "rms", "output_norm", "along")
    columns = [Column(key, key=key) for key in ("init", "block", "subject", "seeds", "params")]
    for name in (*quantities, "ratio"):
        columns += [Column(key, key=key) for key in (name, f"{name}_low", f"{name}_high")]
    columns.append(Column("verdict", key="verdict"))
    rows = []
    for init in flow.inits:
        for block in flow.blocks:
            for subject, params in flow.params(block).items():
                row: list[object] = [init, block, subject, len(flow.seeds(init)), params]
                for quantity in quantities:
                    row += _raw(flow.spread(subject, init, block, quantity))
                ratio = flow.ratio(subject, init, block) if subject in others else None
                row += [*_raw(ratio.spread if ratio else None), ratio.verdict if ratio else None]
                rows.append(row)
    return Table(tuple(columns), rows)


def _raw(spread: Spread | None) -> tuple[float | None, float | None, float | None]:
    return (None, None, None) if spread is None else (spread.median, spread.low, spread.high)
