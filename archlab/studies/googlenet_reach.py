"""GoogLeNet's depth, receptive field, peak memory and auxiliary heads."""

from __future__ import annotations

from typing import Any

from archlab import api
from archlab.analyses.depth import depth
from archlab.analyses.memory import peak_memory
from archlab.analyses.receptive_field import receptive_field
from archlab.cost import total
from archlab.profiles import Profile
from archlab.report.numbers import human, in_bytes
from archlab.report.table import Block, Column, Heading, Table
from archlab.studies.prose import code, listed, paragraph, percent, shape
from archlab.zoo.googlenet import PLACES

HEADS = {"loss1": "inception_4a/output", "loss2": "inception_4d/output"}
"""The auxiliary heads and what they read."""


def sections(profile: Profile) -> tuple[Block, ...]:
    """Return the sections on depth, receptive field, memory and auxiliary heads."""
    return (*_depth(profile), *_field(profile), *_memory(profile), *_heads(profile))


def _depth(profile: Profile) -> tuple[Block, ...]:
    found, modules = depth(profile.graph), len(PLACES)
    weighted = [layer.name for layer in profile.layers if layer.cost.macs]
    stem = sum(name.startswith("conv") for name in weighted)
    return (
        Heading(f"Depth: {found.weighted}, or {found.with_pooling} with pooling"),
        paragraph(f"""
            The network has {len(weighted)} layers with weights, but the branches of a module run side by side. Depth
            is the longest path: {stem} layers in the stem, two in each of {modules} modules, one classifier, so
            {stem} + 2·{modules} + 1 = {stem + 2 * modules + 1}. Four max pools between the stages and the average
            pool make it {found.with_pooling}.
        """),
    )


def _field(profile: Profile) -> tuple[Block, ...]:
    reach: Any = receptive_field(profile.graph)
    side = profile.layers[0].output_shape[2]
    lines, size, stride = [], 1, 1
    for name in profile.by_block():
        ends = [layer.name for layer in profile.layers if layer.name.split("/")[0] == name]
        field = reach[ends[-1]]
        if field is not None:
            taps = (field.size - size) // stride
            lines.append(f"{name:12}  {size:>3} + {taps}·{stride:<2} = {field.size:>3}")
            size, stride = field.size, field.stride
    sizes = {place: reach[f"inception_{place}/output"].size for place in PLACES}
    outgrown = next(place for place, size in sizes.items() if size > side)
    last = list(PLACES)[-1]
    return (
        Heading(f"Receptive field: {sizes[last]} pixels at {last}"),
        paragraph(f"""
            The receptive field is the side of the square of input pixels that one value can depend on: the longest
            path counts, and nothing is cut off at the border. A window of k×k adds (k − 1) times the stride in front
            of it. In a module the 5×5 branch decides, with k − 1 = 4. The field outgrows the {side}-pixel image in
            module {outgrown}.
        """),
        code("block         before + (k−1)·stride = behind", *lines),
    )


def _memory(profile: Profile) -> tuple[Block, ...]:
    peak, specs = peak_memory(profile.graph), profile.graph.specs
    rows = [(name, shape(specs[name][0]), size) for name, size in peak.alive]
    columns = (Column("alive"), Column("shape"), Column("size", "count", "B", exact=True))
    kept = sum(spec.bytes for x in profile.layers if not x.node.op.is_view for spec in x.outputs)
    return (
        Heading(f"Peak memory: {in_bytes(peak.bytes)} of activations"),
        paragraph(f"""
            A tensor lives from the layer that writes it to the last layer that reads it. Most bytes are alive at once
            at `{peak.node}`, right at the front, where the image is still large:
        """),
        Table(columns, rows, total=("peak", "", peak.bytes)),
        paragraph(f"""
            ReLU is counted as writing a tensor of its own; run in place it would reuse the one it reads. The weights,
            {in_bytes(profile.total.weight_bytes)} in float32, and the workspace of kernels are not in the peak. If no
            tensor were ever freed, the activations would take {in_bytes(kept)}.
        """),
    )


def _heads(profile: Profile) -> tuple[Block, ...]:
    training = api.profile("googlenet", mode="training")
    blocks, inference = training.by_block(), profile.total
    both = total(blocks[name] for name in HEADS)
    columns = [Column("layer")]
    for name in HEADS:
        columns.append(Column(f"{name}, output"))
        columns += [Column(f"{name}, {unit}", "count", exact=True) for unit in ("params", "MACs")]
    by_head = [[x for x in training.layers if x.name.startswith(f"{name}/")] for name in HEADS]
    rows = [
        (
            pair[0].name.rpartition("/")[2],
            *(cell for x in pair for cell in (shape(x.outputs[0]), x.cost.params, x.cost.macs)),
        )
        for pair in zip(*by_head, strict=True)
        if pair[0].cost.params or pair[0].op == "AvgPool2d"
    ]
    linear = sum(x.cost.params for layers in by_head for x in layers if x.op == "Linear")
    ends = [cell for name in HEADS for cell in ("", blocks[name].params, blocks[name].macs)]
    taps = listed(tap.split("/")[0].removeprefix("inception_") for tap in HEADS.values())
    return (
        Heading("The auxiliary heads: many params, little work, training only"),
        paragraph(f"""
            In training two small classifiers read the outputs of {taps}, so that the gradient has a shorter way to
            the front. They add **{human(both.params)} params, {percent(both.params, inference.params)} on top of the
            network's, for {human(both.macs)} MACs, {100 * both.macs / inference.macs:.2f} % of the forward pass**.
            With them it has {training.total.params:,} params and takes {training.total.macs:,} MACs forward.
        """),
        Table(tuple(columns), rows, total=("total", *ends)),
        paragraph(f"""
            {percent(linear, both.params)} of these params are in the linear layers, where every weight is used once.
            In inference the heads do not run. But `parameters()` of a module that holds them still returns theirs.
            That is why both {human(inference.params)} and {human(training.total.params)} params are in print for the
            same network.
        """),
    )
