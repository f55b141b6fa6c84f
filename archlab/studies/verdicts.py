"""What the numbers say about each ablation's claim: a condition on the counts, and one sentence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from archlab import api
from archlab.comparisons import Comparison
from archlab.profiles import Profile
from archlab.report.numbers import change, human, in_bytes, times
from archlab.studies.prose import decimal, percent
from archlab.zoo.ablations import reductions
from archlab.zoo.googlenet import TABLE_1


@dataclass(frozen=True)
class Verdict:
    """Whether the numbers support a claim, None where it only names what is measured, and why."""

    supported: bool | None
    because: str

    @property
    def word(self) -> str:
        """The verdict in a word or two."""
        return {True: "supported", False: "not supported", None: "a measurement"}[self.supported]


def _naive(c: Comparison) -> Verdict:
    first, *_, last = TABLE_1
    early, late = (_block(c.others[0], place) / _block(c.base, place) for place in (first, last))
    channels = [_channels(profile, last) for profile in c.subjects]
    return Verdict(
        late > early > 1 and channels[1] > channels[0],
        f"""
            Module {first} costs {times(early)} its MACs, module {last} {times(late)}, since the channels behind
            {last} grow from {channels[0]:,} to {channels[1]:,}. The network takes {_ratio(c, "macs")} MACs.
        """,
    )


def _no_reduction(c: Comparison) -> Verdict:
    kept, direct = (_work(profile, "3x3", "5x5") for profile in c.subjects)
    same = all(_channels(c.base, place) == _channels(c.others[0], place) for place in TABLE_1)
    return Verdict(
        same and kept < direct / 2,
        f"""
            The 3×3 and 5×5 branches of the modules take {human(direct)} MACs directly and {human(kept)} behind
            reductions: {percent(direct - kept, direct)} saved{" at the same widths" if same else ""}. The network
            takes {_ratio(c, "macs")} MACs without them.
        """,
    )


def _no_reduction_of(branch: str) -> Callable[[Comparison], Verdict]:
    def judge(c: Comparison) -> Verdict:
        kept, direct = (_work(profile, branch) for profile in c.subjects)
        count = len(reductions(c.base.graph, int(branch[0])))
        return Verdict(
            None,
            f"""
                The {count} reductions in front of the {branch.replace("x", "×")} filters save {human(direct - kept)}
                MACs, {percent(direct - kept, direct)} of that branch; without them the network takes
                {_ratio(c, "macs")} MACs.
            """,
        )

    return judge


def _no_pool_proj(c: Comparison) -> Verdict:
    places = list(TABLE_1)
    grows = all(_channels(c.others[0], place) > _channels(c.base, place) for place in places)
    ends = [_channels(profile, places[-1]) for profile in c.subjects]
    return Verdict(
        grows,
        f"""
            The output of every module is wider, {ends[1]:,} channels behind {places[-1]} instead of {ends[0]:,}. The
            reductions keep the price down to {_ratio(c, "macs")} MACs and {_ratio(c, "params")} params.
        """,
    )


def _fc_head(c: Comparison) -> Verdict:
    macs, params = c.ratio("macs"), c.ratio("params")
    base, other = (profile.layer("linear") for profile in c.subjects)
    return Verdict(
        params > 2 and macs < Fraction(105, 100),
        f"""
            The classifier grows from {human(base.cost.params)} to {human(other.cost.params)} params because it reads
            {other.input_shapes[0][1]:,} values instead of {base.input_shapes[0][1]:,}. The network has
            {_ratio(c, "params")} params and {_ratio(c, "macs")} MACs.
        """,
    )


def _fc4096_head(c: Comparison) -> Verdict:
    added = c.others[0].total.params - c.base.total.params
    return Verdict(
        added > c.base.total.params,
        f"""
            It adds {human(added)} params to a network of {human(c.base.total.params)}, {_ratio(c, "params")}. MACs:
            {_ratio(c, "macs")}.
        """,
    )


def _batch_norm(c: Comparison) -> Verdict:
    added = c.others[0].total.params - c.base.total.params
    biases = sum(x.output_shape[1] for x in c.base.layers if x.op == "Conv2d")
    return Verdict(
        1_000 <= added < 1_000_000,
        f"""
            Two params a channel come and one bias goes: 2·{biases:,} − {biases:,} = {added:,} more. MACs stay equal,
            FLOPs grow by {human(c.others[0].total.flops - c.base.total.flops)}, bytes moved by
            {in_bytes(c.others[0].total.bytes_moved - c.base.total.bytes_moved)} unless the norm is folded into the
            convolution.
        """,
    )


def _factorized(c: Comparison) -> Verdict:
    widths = {place: Fraction(w.n5x5, w.n5x5_reduce) for place, w in TABLE_1.items()}
    bound = Fraction(5 * 5 - 3 * 3, 3 * 3)
    wider = all(ratio > bound for ratio in widths.values())
    place = "4a"
    r, n = TABLE_1[place].n5x5_reduce, TABLE_1[place].n5x5
    return Verdict(
        wider and c.ratio("macs") > 1,
        f"""
            One 5×5 costs 25·r·n a position, the pair 9·r·n + 9·n·n, in {place} 25·{r}·{n} = {25 * r * n:,} against
            {9 * r * n + 9 * n * n:,}. The pair is cheaper only while n/r < 16/9 = {decimal(bound, 2)}; GoogLeNet has
            {decimal(min(widths.values()), 2)} to {decimal(max(widths.values()), 2)}. The network takes
            {_ratio(c, "macs")} MACs. (With equal widths, n = r, the pair takes 18/25 of the work, the 28 % that the
            source names.)
        """,
    )


def _separable_stem(c: Comparison) -> Verdict:
    full, cheap = (profile.by_block()["conv1"].macs for profile in c.subjects)
    printed = (round(full / 10**6), round(cheap / 10**6)) == (118, 34)
    return Verdict(
        printed,
        f"""
            conv1 takes {full:,} MACs in full and {cheap:,} separably. The arithmetic holds; that the authors did so
            is a hypothesis (see [Table 1](paper-table-1.md)).
        """,
    )


def _no_lrn(c: Comparison) -> Verdict:
    base, other = (profile.total for profile in c.subjects)
    untouched = base.macs == other.macs and base.params == other.params
    return Verdict(
        untouched and other.flops < base.flops and other.bytes_moved < base.bytes_moved,
        f"""
            MACs and params do not move. {human(base.flops - other.flops)} FLOPs go
            ({percent(base.flops - other.flops, base.flops)}), and {in_bytes(base.bytes_moved - other.bytes_moved)} of
            memory traffic ({percent(base.bytes_moved - other.bytes_moved, base.bytes_moved)}): normalisation is paid
            for in bandwidth, and a table of MACs cannot show it.
        """,
    )


def _no_aux(c: Comparison) -> Verdict:
    trained = api.compare("googlenet", "googlenet+no_aux", mode="training")
    base, other = (profile.total for profile in trained.subjects)
    params, macs = Fraction(base.params, other.params) - 1, Fraction(base.macs, other.macs) - 1
    nothing = "Nothing changes in inference, where the heads do not run." if c.unchanged else "Inference changes."
    return Verdict(
        c.unchanged and Fraction(4, 5) < params < 1 and Fraction(4, 1000) < macs < Fraction(6, 1000),
        f"""
            {nothing} In training the heads are {human(base.params - other.params)} params ({decimal(100 * params, 0)}
            % on top of {human(other.params)}) and {human(base.macs - other.macs)} MACs of the forward pass
            ({decimal(100 * macs, 2)} %).
        """,
    )


VERDICTS: Mapping[str, Callable[[Comparison], Verdict]] = {
    "naive": _naive,
    "no_reduction": _no_reduction,
    "no_reduction_3x3": _no_reduction_of("3x3"),
    "no_reduction_5x5": _no_reduction_of("5x5"),
    "no_pool_proj": _no_pool_proj,
    "fc_head": _fc_head,
    "fc4096_head": _fc4096_head,
    "batch_norm": _batch_norm,
    "factorized_5x5": _factorized,
    "separable_stem": _separable_stem,
    "no_lrn": _no_lrn,
    "no_aux": _no_aux,
}
"""A judge for every ablation."""


def _ratio(c: Comparison, metric: str) -> str:
    return change(float(c.ratio(metric)))


def _block(profile: Profile, place: str) -> int:
    return profile.by_block()[f"inception_{place}"].macs


def _channels(profile: Profile, place: str) -> int:
    return profile.layer(f"inception_{place}/output").output_shape[1]


def _work(profile: Profile, *branches: str) -> int:
    """Return the MACs of some branches of all modules, their reductions included."""
    modules = [x for x in profile.layers if x.name.startswith("inception_")]
    return sum(x.cost.macs for x in modules if x.name.rpartition("/")[2].startswith(branches))
