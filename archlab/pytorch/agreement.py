"""How far a counter's opinion agrees with our counts: in total, module by module, and where it first does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from archlab.analyses.conventions import Tally
from archlab.ir import Graph
from archlab.opinions import Figure, Opinion
from archlab.profiles import Layer, Profile
from archlab.pytorch.counters import FVCORE, TORCH
from archlab.pytorch.reasons import explain_together
from archlab.verifications import UNEXPLAINED, Agreement, Disagreement, Reading, Row, Verdict

SAME_CLAIM = (TORCH, FVCORE)
"""The counters that claim to count what we count, so that each difference needs a reason."""

WHOLE, FUNCTIONS = "(the model itself)", "(functions, in whichever module)"
"""How a report names what a counter counts for no module, or for none in particular."""


@dataclass(frozen=True)
class Part:
    """What one module computes by itself, all that a counter knows below it left out: our MACs and its figure."""

    path: str
    name: str
    layers: tuple[Layer, ...]
    ours: Figure
    theirs: Figure


def agreement(
    opinion: Opinion, profile: Profile, expected: Tally | None = None, *, lowered: bool = False
) -> Agreement:
    """Return what comes of comparing an opinion with our counts.

    `expected` is what the counter's convention makes of the profile. `lowered` says that the counter read
    the lowered graph, whose modules are named as our layers are.
    """
    if opinion.status != "counted" or opinion.total is None or opinion.macs is None:
        return Agreement(opinion, "crashed" if opinion.status == "counted" else opinion.status)
    difference = _whole(opinion.macs - profile.total.macs)
    found = parts(opinion, profile, lowered)
    differing = [part for part in found if part.ours != part.theirs]
    reasons = {part.path: reason(part, opinion, profile.graph) for part in differing}
    agrees = not difference and not (opinion.counter in SAME_CLAIM and differing)
    verdict: Verdict
    foreseen = False
    if agrees:
        verdict = "agrees"
    elif differing and all(reasons.values()) and opinion.counter in SAME_CLAIM:
        verdict = "explained"
    elif expected is not None and expected.reported == opinion.total:
        foreseen = True
        verdict = "as its convention says"
    else:
        verdict = "UNEXPLAINED" if opinion.counter in SAME_CLAIM else "differs"
    unclear = [part for part in differing if not reasons[part.path]] or differing
    first = None
    if unclear and not agrees:
        part = unclear[0]
        why = reasons[part.path] or (_said(expected, part) if foreseen else "")
        first = Disagreement(part.name, part.ours, part.theirs, why)
    return Agreement(opinion, verdict, difference, first)


def rows(opinions: Sequence[Opinion], profile: Profile) -> tuple[Row, ...]:
    """Return a row for each module that we or a counter count something for, in the order they run."""
    by_counter = [{part.path: part for part in parts(opinion, profile, False)} for opinion in opinions]
    made = []
    for path in dict.fromkeys(path for found in by_counter for path in found):
        readings = []
        ours: Figure = 0
        for opinion, found in zip(opinions, by_counter, strict=True):
            part = found.get(path) or Part(path, path, (), 0, 0)
            ours = part.ours or ours
            difference = _whole(part.theirs - part.ours)
            why = (reason(part, opinion, profile.graph) or UNEXPLAINED) if difference else ""
            readings.append(Reading(opinion.counter, int(part.theirs), int(difference), why))
        known = next(found[path] for found in by_counter if path in found)
        if ours or any(reading.count for reading in readings):
            made.append(Row(known.name, _kind(known), int(ours), tuple(readings)))
    return tuple(made)


def parts(opinion: Opinion, profile: Profile, lowered: bool) -> list[Part]:
    """Return the modules that a counter has figures for, in the order they run, each without what is below it.

    Empty for a counter without figures by layer. Differences, not figures, are taken apart: a module that is
    called from elsewhere than its parent would be taken off the wrong one.
    """
    if not opinion.layers:
        return []
    layers = [layer for layer in profile.layers if not layer.node.op.is_input]
    paths = {layer.name: _path(layer, lowered) for layer in layers}
    known = {"", *opinion.layers}
    # What a counter does not name it counts nothing for, unless a module that it names holds it.
    known |= {path for path in paths.values() if opinion.counter == TORCH or not _nearest(path, known)}
    ours: dict[str, int] = dict.fromkeys(known, 0)
    own: dict[str, list[Layer]] = {path: [] for path in known}
    for layer in layers:
        path = paths[layer.name]
        own[_nearest(path, known)].append(layer)
        for above in _above(layer, path, profile.graph, opinion.counter, lowered) & known:
            ours[above] += layer.cost.macs
    per_mac = 2 if opinion.counter in (TORCH, "profiler") else 1
    theirs = {path: _per_mac(opinion.layers.get(path, 0), per_mac) for path in known}
    theirs[""] = _per_mac(opinion.layers.get("", opinion.total or 0), per_mac)
    difference = {path: theirs[path] - ours[path] for path in known}
    alone = dict(difference)
    for path in known - {""}:
        alone[_nearest(path.rpartition(".")[0], known)] -= difference[path]
    order = {layer.name: place for place, layer in enumerate(layers)}
    ranked = sorted(known, key=lambda path: (order[own[path][0].name] if own[path] else len(order), path))
    made = []
    for path in ranked:
        macs = sum(layer.cost.macs for layer in own[path])
        if own[path] or alone[path]:
            name = path.replace(".", "/") or (FUNCTIONS if opinion.counter == "ptflops" else WHOLE)
            made.append(Part(path, name, tuple(own[path]), macs, _whole(macs + alone[path])))
    return made


def reason(part: Part, opinion: Opinion, graph: Graph) -> str:
    """Return why a counter's figure for a part is not ours, or an empty string if no rule gives that very figure."""
    if opinion.counter not in SAME_CLAIM or not isinstance(part.theirs, int):
        return ""
    return explain_together(part.layers, opinion.counter, part.theirs, opinion.unsupported, graph)


def _said(tally: Tally | None, part: Part) -> str:
    """Return the reason that a convention gives for a part's layers, or for the module itself."""
    names = {part.name, *(layer.name for layer in part.layers)}
    return next((item.reason for item in tally.items if item.layer in names), "") if tally is not None else ""


def _path(layer: Layer, lowered: bool) -> str:
    """Return the path of the module that a layer runs in."""
    source = layer.node.source
    if lowered or source is None:
        return layer.name.replace("/", ".")
    return source.module


def _above(layer: Layer, path: str, graph: Graph, counter: str, lowered: bool) -> set[str]:
    """Return the modules that a counter counts a layer for: by path, or (torch's) those that were being called."""
    if counter == TORCH and lowered:
        return {"", path}  # the root calls each of its modules by itself
    source = layer.node.source
    if counter == TORCH and source is not None and source.call >= 0:
        found, call = {""}, source.call
        while call >= 0:
            found.add(graph.calls[call].path)
            call = graph.calls[call].parent
        return found
    words = path.split(".")
    return {"", *(".".join(words[:n]) for n in range(1, len(words) + 1))}


def _nearest(path: str, known: Mapping[str, object] | set[str]) -> str:
    """Return the longest known path that is this one or lies above it."""
    while path and path not in known:
        path = path.rpartition(".")[0]
    return path


def _kind(part: Part) -> str:
    source = part.layers[0].node.source if part.layers else None
    kinds = dict.fromkeys(layer.op for layer in part.layers if layer.cost.macs)
    return source.module_class.rpartition(".")[2] if source and source.module_class else " + ".join(kinds)


def _per_mac(count: Figure, per_mac: int) -> Figure:
    return count / per_mac if count % per_mac else _whole(count // per_mac)


def _whole(count: Figure) -> Figure:
    return int(count) if count == int(count) else count
