"""Reductions where they stand: in each inception module alone, and in the network, where channels grow."""

from __future__ import annotations

from collections.abc import Iterable

from archlab import api
from archlab.cost import Cost, total
from archlab.profiles import Profile
from archlab.report.numbers import human, times
from archlab.report.table import Block, Column, Heading, Table
from archlab.studies.prose import code, paragraph, points, sum_of
from archlab.zoo.googlenet import PLACES, TABLE_1

BRANCHES = {"1x1": "1×1", "3x3": "3×3", "5x5": "5×5", "pool": "pool"}
PLACE = "4a"
LAST = list(PLACES)[-1]


def sections() -> tuple[Block, ...]:
    """Return the sections on one module and on the whole network."""
    return (*_module(), *_network())


def _module() -> tuple[Block, ...]:
    kept, controlled, literal = (api.profile(f"inception-{PLACE}{edit}") for edit in ("", "+no_reduction", "+naive"))
    costs = [_by_branch(profile) for profile in (kept, controlled, literal)]
    rows = [(title, *(cost[key].macs for cost in costs)) for key, title in BRANCHES.items()]
    columns = (
        Column("branch"),
        Column("MACs with reductions", "count"),
        Column("MACs, controlled", "count"),
        Column("MACs, literal", "count"),
    )
    unreduced = costs[0]["1x1"].macs + costs[0]["pool"].macs
    gains = {branch: times(costs[1][branch].macs / costs[0][branch].macs) for branch in ("3x3", "5x5")}
    alone, cheaper = _modules_alone()
    return (
        Heading("One module"),
        paragraph("""
            An inception module has four branches: 1×1, 3×3, 5×5, and a max pool with a 1×1 projection behind it.
            “Without reductions” can mean two things:
        """),
        points(
            f"""**controlled** (`+no_reduction`): the 1×1 filters in front of 3×3 and 5×5 go, and nothing else. The
            output of {PLACE} keeps its {_channels(controlled):,} channels.""",
            f"""**literal** (`+naive`): Figure 2a of the paper. The projection goes as well, so the pool hands on all
            that it reads. The output of {PLACE} grows to {_channels(literal):,} channels.""",
        ),
        Table(
            columns,
            rows,
            title=f"Module {PLACE} alone: MACs by branch",
            total=("total", *(p.total.macs for p in (kept, controlled, literal))),
        ),
        paragraph(f"""
            Two of the four branches have something to gain: {gains["3x3"]} for 3×3, {gains["5x5"]} for 5×5. The other
            two cost {human(unreduced)} MACs either way, {100 * unreduced / kept.total.macs:.0f} % of the reduced
            module. That is why the module as a whole gains {times(controlled.total.macs / kept.total.macs)}.
        """),
        alone,
        paragraph(f"""
            **Taken alone, the literal module is the cheaper of the two in {cheaper} of {len(PLACES)} cases**, 3a
            included. Dropping the projection saves its MACs, and nobody has read the longer output yet. The price of
            the literal form is not in the module. It is in the next one.
        """),
    )


def _modules_alone() -> tuple[Table, int]:
    """Return the costs of each module fed as in the network, and how often the literal one is cheaper."""
    rows, cheaper = [], 0
    for place, (channels, side) in PLACES.items():
        name = f"inception-{place}"
        comparison = api.compare(name, f"{name}+no_reduction", f"{name}+naive")
        kept, controlled, literal = (p.total.macs for p in comparison.subjects)
        cheaper += literal < controlled
        ends = f"{_channels(comparison.base):,} → {_channels(comparison.others[1]):,}"
        factors = times(controlled / kept), times(literal / kept)
        rows.append((place, f"{channels}×{side}×{side}", kept, controlled, factors[0], literal, factors[1], ends))
    columns = (
        Column("module"),
        Column("input"),
        Column("MACs with reductions", "count"),
        Column("MACs, controlled", "count"),
        Column("factor", "decimal"),
        Column("MACs, literal", "count"),
        Column("factor", "decimal"),
        Column("output channels, with → literal"),
    )
    return Table(columns, rows, title="Every module alone, fed as in the network"), cheaper


def _network() -> tuple[Block, ...]:
    profiles = [api.profile(f"googlenet{edit}") for edit in ("", "+no_reduction", "+naive")]
    kept, controlled, literal = profiles
    blocks = [profile.by_block() for profile in profiles]
    rows = []
    for name in blocks[0]:
        macs = [block[name].macs for block in blocks]
        if any(macs):
            ends = (_ends(profile, name) for profile in (kept, literal))
            rows.append((name.removeprefix("inception_"), *ends, *macs, times(macs[2] / macs[0])))
    columns = (
        Column("block"),
        Column("channels in → out"),
        Column("channels in → out, literal"),
        Column("MACs with reductions", "count"),
        Column("MACs, controlled", "count"),
        Column("MACs, literal", "count"),
        Column("literal, factor", "decimal"),
    )
    ratio = times(literal.total.macs / kept.total.macs)
    grown = [PLACES["3a"][0], *(w.n1x1 + w.n3x3 + w.n5x5 for w in TABLE_1.values())]
    return (
        Heading("The whole network"),
        Table(
            columns,
            rows,
            title="GoogLeNet by block",
            total=("total", "", "", *(p.total.macs for p in profiles), ratio),
        ),
        paragraph("""
            Without a projection, a module's output is its 1×1, 3×3 and 5×5 filters plus *everything it has read*. So
            the channels add up from module to module, starting with what the stem hands on:
        """),
        code(f"channels behind {LAST}, literal: {sum_of(grown)}"),
        paragraph(f"""
            With projections they are {_out(kept):,}. The literal network has {_out(literal):,}, and without
            reductions every 3×3 and 5×5 filter reads all the channels in front of it. That is the difference between
            {times(controlled.total.macs / kept.total.macs)} and {ratio}.
        """),
        *_one_at_a_time(kept),
    )


def _one_at_a_time(kept: Profile) -> tuple[Block, ...]:
    removed = {
        "no_reduction_3x3": "reductions in front of 3×3",
        "no_reduction_5x5": "reductions in front of 5×5",
        "no_reduction": "both kinds of reduction (controlled)",
        "no_pool_proj": "pool projections",
        "naive": "all of these (literal)",
    }
    others = {name: api.profile(f"googlenet+{name}").total for name in removed}
    ratio = {name: cost.macs / kept.total.macs for name, cost in others.items()}
    rows = [("nothing", "`googlenet`", kept.total.macs, times(1), kept.total.params, times(1))]
    for name, cost in others.items():
        factor = times(cost.params / kept.total.params)
        rows.append((removed[name], f"`+{name}`", cost.macs, times(ratio[name]), cost.params, factor))
    columns = (
        Column("removed"),
        Column("target"),
        Column("MACs", "count", exact=True),
        Column("factor", "decimal"),
        Column("params", "count", exact=True),
        Column("factor", "decimal"),
    )
    product = ratio["no_reduction"] * ratio["no_pool_proj"]
    return (
        Table(columns, rows, title="One edit at a time: the whole network"),
        paragraph(f"""
            The two edits make each other worse. Alone they cost {times(ratio["no_reduction"])} and
            {times(ratio["no_pool_proj"])}; if they did not interact, both would cost {times(product)}. Together they
            cost {times(ratio["naive"])}. With reductions in place, extra channels reach only cheap 1×1 filters.
            Without them, they reach every tap of the 3×3 and 5×5 filters.
        """),
        paragraph(f"""
            So for the worth of the reductions alone, quote {times(ratio["no_reduction"])}. For reductions and
            projections together, quote {times(ratio["naive"])}, and say that it is Figure 2a taken literally.
        """),
    )


def _by_branch(profile: Profile) -> dict[str, Cost]:
    """Return the cost of each branch of a module; a branch is what the names below the module start with."""

    def belonging(branch: str) -> Iterable[Cost]:
        return (x.cost for x in profile.layers if x.name.rpartition("/")[2].startswith(branch))

    return {branch: total(belonging(branch)) for branch in BRANCHES}


def _channels(profile: Profile) -> int:
    return profile.graph.output_specs[0].shape[1]


def _out(profile: Profile) -> int:
    return profile.layer(f"inception_{LAST}/output").output_shape[1]


def _ends(profile: Profile, block: str) -> str:
    """Return a block's channels in and out."""
    layers = [layer for layer in profile.layers if layer.name.split("/")[0] == block]
    return f"{layers[0].input_shapes[0][1]:,} → {layers[-1].output_shape[1]:,}"
