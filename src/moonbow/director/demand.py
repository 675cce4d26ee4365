"""What load to expect of each cell, from the questions asked lately and the clients that sites report.  Pure.

Clients stay connected for hours, so moving a cell changes what comes next and not what is there.  Therefore load is
foreseen and not chased: how many clients stand behind a question is learnt for each region while all of its clients
are at home, and kept while some are not.  What is foreseen moves smoothly (30 s), so that a jump decides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import exp

from moonbow.world import World

from .model import SLICES, Demand, Load, Map, Plan

SMOOTH_S = 30.0
CPU_FULL = 0.85  # beyond this a site is full, whatever its capacity in clients
CPU_TELLS = 0.5  # below this the CPU says nothing about how many clients a site can carry


def estimate(
    world: World,
    compiled: Map,
    questions: Mapping[int, float],
    loads: Mapping[str, Load],
    plan: Plan | None = None,
    before: Demand | None = None,
    passed_s: float = SMOOTH_S,
) -> Demand:
    """The demand, given questions by cell, loads by site, and the plan that was in force meanwhile.

    Regions that nobody asked from are taken to ask evenly over their addresses.  Without loads all sites are empty.
    """
    asked = weigh_cells(world, compiled, questions)
    part = 1.0 if before is None else 1.0 - exp(-max(0.0, passed_s) / SMOOTH_S)
    learnt = _scales(world, compiled, asked, loads, plan)
    scales = dict(before.scales) if before else {}
    common = _common_scale(world, compiled, asked, loads)
    for region in world.regions:
        old = scales.get(region)
        if region in learnt:
            scales[region] = learnt[region] if old is None else old + part * (learnt[region] - old)
    cells = [
        clients * scales.get(bucket.region, common)
        for number, bucket in enumerate(compiled.buckets)
        for clients in asked[SLICES * number : SLICES * number + SLICES]
    ]
    if before is not None and len(before.cells) == len(cells):
        cells = [old + part * (new - old) for old, new in zip(before.cells, cells, strict=True)]
    return Demand(tuple(cells), _capacities(world, loads, before, part), scales)


def weigh_cells(world: World, compiled: Map, questions: Mapping[int, float]) -> list[float]:
    """Questions by cell; a region without any is spread over its addresses, as if it had asked once."""
    asked = [0.0] * (SLICES * len(compiled.buckets))
    for cell, count in questions.items():
        if 0 <= cell < len(asked):
            asked[cell] = float(count)
    for region in world.regions:
        mine = [number for number, bucket in enumerate(compiled.buckets) if bucket.region == region]
        if any(asked[SLICES * number + part] for number in mine for part in range(SLICES)):
            continue
        total = sum(compiled.sizes[number] for number in mine)
        for number in mine if total else ():
            share = compiled.sizes[number] / total / SLICES
            asked[SLICES * number : SLICES * number + SLICES] = [share] * SLICES
    return asked


def _scales(
    world: World, compiled: Map, asked: Sequence[float], loads: Mapping[str, Load], plan: Plan | None
) -> dict[str, float]:
    """Clients per question of the regions that are at home: all their cells on own sites, and nobody else's there."""
    away = _away(world, compiled, plan) if plan else frozenset[str]()
    found: dict[str, float] = {}
    for name in world.regions:
        reported = [loads[ref.site.name].connections for ref in world.primaries(name) if ref.site.name in loads]
        questions = _asked_in(compiled, asked, name)
        if name not in away and questions and len(reported) == len(world.primaries(name)):
            found[name] = sum(reported) / questions
    return found


def _away(world: World, compiled: Map, plan: Plan) -> frozenset[str]:
    """Regions with clients elsewhere, and those that have somebody else's."""
    home = {ref.site.name: ref.region for ref in world.sites()}
    found: set[str] = set()
    for number, bucket in enumerate(compiled.buckets):
        for pool in set(plan.cells[SLICES * number : SLICES * number + SLICES]):
            served = {home[name] for name in plan.pools[pool].sites}
            if served != {bucket.region}:
                found |= served | {bucket.region}
    return frozenset(found)


def _asked_in(compiled: Map, asked: Sequence[float], region: str) -> float:
    mine = (number for number, bucket in enumerate(compiled.buckets) if bucket.region == region)
    return sum(sum(asked[SLICES * number : SLICES * number + SLICES]) for number in mine)


def _common_scale(world: World, compiled: Map, asked: Sequence[float], loads: Mapping[str, Load]) -> float:
    """Clients per question over all regions of which anything is reported: for those never seen at home."""
    reporting = {ref.region for ref in world.sites() if ref.site.name in loads}
    questions = sum(_asked_in(compiled, asked, region) for region in reporting)
    return sum(load.connections for load in loads.values()) / questions if questions else 0.0


def _capacities(world: World, loads: Mapping[str, Load], before: Demand | None, part: float) -> dict[str, float]:
    """What each site can carry: as the world file says, or what its CPU shows to be its limit, if that is less."""
    found: dict[str, float] = {}
    for ref in world.sites():
        if ref.site.kind == "witness":
            continue
        name = ref.site.name
        shown = float(ref.site.capacity)
        if name in loads and loads[name].cpu > CPU_TELLS and loads[name].connections > shown / 10:
            shown = min(shown, loads[name].connections * CPU_FULL / loads[name].cpu)
        old = before.capacities.get(name, shown) if before else shown
        found[name] = old + part * (shown - old)
    return found
