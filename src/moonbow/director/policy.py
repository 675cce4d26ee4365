"""Where the clients of a bucket are sent, given health and the operator's word.  Pure; every result has its reason.

Laws: health, drain and down only change what a bucket points to, never the map; an operator's word beats any probe;
an unhealthy, drained or downed site is named only when nothing better is left; a sealed region is never left and
never entered; somebody is always named; when a site leaves, only slices that it had move.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from moonbow.world import World

from .algebra import UNFIT, doors_of, judge_site
from .model import SLICES, Bucket, Decision, Group, Overrides, Pool, SiteHealth, Skipped, Verdict
from .slices import claim, deal, inherit

__all__ = [
    "HANDS_ON",
    "TTL_DEGRADED_S",
    "TTL_S",
    "cells_of",
    "choose",
    "decide",
    "doors_of",
    "groups_for",
    "judge_sites",
    "rank_usable",
    "strand_edges",
]

TTL_S = 30
TTL_DEGRADED_S = 10  # while clients are away from their first choice, ask again soon
HANDS_ON = frozenset({"door", "edge"})  # services for which an edge needs a primary behind it
WEIGHT = 100  # percent of what nearness gives, where the operator says nothing


def judge_sites(
    world: World, health: Mapping[str, SiteHealth], overrides: Overrides, service: str = "door"
) -> dict[str, Verdict]:
    """Whether each site with doors may be offered for a service, and why not."""
    verdicts = {
        ref.site.name: judge_site(ref.site.name, health[ref.site.name], overrides)
        for ref in world.sites()
        if ref.site.kind != "witness"
    }
    return strand_edges(world, verdicts) if service in HANDS_ON else verdicts


def strand_edges(world: World, verdicts: Mapping[str, Verdict]) -> dict[str, Verdict]:
    """Verdicts for services that an edge hands on: it is of no use without a usable primary of its region."""
    found = dict(verdicts)
    for name, region in world.regions.items():
        if any(site.kind == "primary" and not verdicts[site.name].trouble for site in region.sites):
            continue
        why = f"an edge, and no primary site of {name} can serve what it lets in"
        edges = (site.name for site in region.sites if site.kind == "edge" and not verdicts[site.name].trouble)
        found.update(dict.fromkeys(edges, Verdict(UNFIT, why)))
    return found


def groups_for(bucket: Bucket, service: str) -> tuple[Group, ...]:
    """The order of groups of a bucket for a service."""
    return bucket.groups if service == "door" else bucket.near


def choose(world: World, home: str, groups: Sequence[Group], verdicts: Mapping[str, Verdict]) -> Pool:
    """The first group with a usable site; the own primaries of the region `home` when there is none at all."""
    for number, group in enumerate(groups):
        answer = tuple(name for name in group.sites if not verdicts[name].trouble)
        if answer:
            return Pool(answer, number > 0, _reason(home, groups, number, answer))
    return _fail_open(world, home, groups, verdicts)


def cells_of(
    world: World, home: str, groups: Sequence[Group], verdicts: Mapping[str, Verdict], overrides: Overrides
) -> tuple[Pool, ...]:
    """The pool of each slice.  All 16 are one, unless the operator's weights or canaries concern these groups."""
    said = overrides.weights.keys() | overrides.canary.keys()
    if not said or not any(name in said for group in groups for name in group.sites):
        return (choose(world, home, groups, verdicts),) * SLICES
    canaries = _canaries(home, groups, overrides)
    plain = _without_canaries(groups, overrides) if canaries else tuple(group for group in groups if group.sites)
    owners = _owners(plain, overrides.weights)
    case = _Case(home, plain, tuple(canaries), owners, verdicts, overrides.weights)
    tried = claim(canaries)
    own = {owned: _own(case, owned) for owned in dict.fromkeys(owners)}
    heirs = {owned: _heirs(case, owned) for owned, pool in own.items() if pool is None}
    cells: list[Pool] = []
    for number, owned in enumerate(owners):
        canary = tried.get(number)
        if canary is not None and not verdicts[canary].trouble:
            cells.append(Pool((canary,), False, f"{canary} is a canary, tried on {canaries[canary]} of 16 slices"))
        elif pool := own[owned]:
            cells.append(pool)
        elif heirs[owned]:
            cells.append(_take_over(case, number, heirs[owned]))
        else:
            cells.append(choose(world, home, groups, verdicts)._replace(degraded=True))
    return tuple(cells)


class _Case(NamedTuple):
    """A bucket whose slices are not all alike: `groups` without canaries, and who owns each slice when all are well."""

    home: str
    groups: tuple[Group, ...]
    canaries: tuple[str, ...]
    owners: tuple[tuple[str, ...], ...]
    verdicts: Mapping[str, Verdict]
    weights: Mapping[str, int]

    def group_of(self, owned: tuple[str, ...]) -> int:
        """The number of the group that owners are in."""
        return next(no for no, group in enumerate(self.groups) if owned[0] in group.sites)


def _own(case: _Case, owned: tuple[str, ...]) -> Pool | None:
    """The pool of slices as their owners have it; None if none of them is usable."""
    answer = tuple(name for name in owned if not case.verdicts[name].trouble)
    if not answer:
        return None
    count = case.owners.count(owned)
    if count == SLICES and not case.group_of(owned):
        return Pool(answer, False, _reason(case.home, case.groups, 0, answer))
    return Pool(answer, False, f"by weight, {_named(owned)} has {count} of 16 slices here")


def _heirs(case: _Case, owned: tuple[str, ...]) -> tuple[str, ...]:
    """Who takes over from owners that are not usable: their equals, then farther sites, the own region's first.

    Canaries come last at home.  Nobody, if nobody is left to whom the operator gives any weight.
    """
    at = case.group_of(owned)
    own = [no for no, group in enumerate(case.groups) if group.region == case.home]
    turned = [no for no in own if no >= at] + [no for no in own if no < at] if at in own else own
    near = [case.groups[no].sites for no in turned]
    far = [group.sites for group in case.groups if group.region != case.home]
    for names in (*near, case.canaries, *far):
        usable = tuple(name for name in names if not case.verdicts[name].trouble and case.weights.get(name, WEIGHT) > 0)
        if usable:
            return usable
    return ()


def _take_over(case: _Case, slice_no: int, heirs: tuple[str, ...]) -> Pool:
    """The pool of a slice that heirs take over: all of them if they weigh the same, else one."""
    equal = len({case.weights.get(name, WEIGHT) for name in heirs}) == 1
    answer = heirs if equal else (inherit(slice_no, heirs, case.weights),)
    owned = _named(case.owners[slice_no])
    return Pool(answer, True, f"{owned} is not usable; {_named(answer)} takes its slices over")


def _canaries(home: str, groups: Sequence[Group], overrides: Overrides) -> dict[str, int]:
    """The canaries of the own region, in their order; none if nobody else would be left to serve it."""
    own = [name for group in groups if group.region == home for name in group.sites]
    if all(name in overrides.canary for name in own):
        return {}
    return {name: overrides.canary[name] for name in own if name in overrides.canary}


def _without_canaries(groups: Sequence[Group], overrides: Overrides) -> tuple[Group, ...]:
    found = (Group(region, tuple(name for name in sites if name not in overrides.canary)) for region, sites in groups)
    return tuple(group for group in found if group.sites)


def _owners(groups: Sequence[Group], weights: Mapping[str, int]) -> tuple[tuple[str, ...], ...]:
    """Who has each slice when all are well: a group takes its weights in percent, the next ones what it leaves.

    Sites of one group with equal weights share all of their slices.
    """
    shares: dict[str, float] = {}
    left = float(WEIGHT)
    for group in groups:
        total = sum(weights.get(name, WEIGHT) for name in group.sites)
        taken = min(left, total)
        if taken > 0:
            shares |= {name: taken * weights.get(name, WEIGHT) / total for name in group.sites}
            left -= taken
    alone = next((group.sites for group in groups if group.sites and shares.keys() <= set(group.sites)), ())
    if alone and len({shares.get(name, 0.0) for name in alone}) == 1:
        return (alone,) * SLICES
    return tuple((name,) for name in deal(shares))


def decide(
    world: World, bucket: Bucket, verdicts: Mapping[str, Verdict], service: str = "door", pool: Pool | None = None
) -> Decision:
    """The choice for a bucket in full: all usable sites in order, and why each of the others is skipped.

    `pool` is what a slice of it is answered, if that is not what nearness says.
    """
    groups = groups_for(bucket, service)
    pool = pool or choose(world, bucket.region, groups, verdicts)
    skipped = tuple(
        Skipped(name, verdicts[name].why) for group in groups for name in group.sites if verdicts[name].trouble
    )
    others = tuple(name for group in rank_usable(groups, verdicts) for name in group.sites if name not in pool.sites)
    return Decision(pool.sites, pool.sites + others, skipped, pool.reason, pool.degraded)


def rank_usable(groups: Iterable[Group], verdicts: Mapping[str, Verdict]) -> tuple[Group, ...]:
    """The groups with only the sites that may be offered, without those that are left empty."""
    found = (Group(group.region, tuple(name for name in group.sites if not verdicts[name].trouble)) for group in groups)
    return tuple(group for group in found if group.sites)


def _named(names: Sequence[str]) -> str:
    return " and ".join(names)


def _reason(home: str, groups: Sequence[Group], number: int, answer: tuple[str, ...]) -> str:
    region = groups[number].region
    if region != home:
        return f"no site of {home} is usable; {_named(answer)} is nearest in {region}, which it declared resilient"
    if number:
        return f"nearer sites of {region} are not usable; {_named(answer)} comes next"
    if len(answer) > 1:
        return f"{_named(answer)} are the nearest sites of {region}, and equally near"
    return f"{_named(answer)} is the nearest site of {region}"


def _fail_open(world: World, home: str, groups: Sequence[Group], verdicts: Mapping[str, Verdict]) -> Pool:
    """Nothing is usable: name own sites all the same, for a wrong "down" here must not become everybody's outage."""
    region = world.regions[home]
    own = {site.name for site in region.sites if site.kind == "primary"}
    primaries = [name for group in groups for name in group.sites if name in own]
    least = min(verdicts[name].trouble for name in primaries)
    answer = tuple(name for name in primaries if verdicts[name].trouble == least)
    if region.sealed:
        why = f"no site of {home} is usable, and a sealed region is never left"
    elif region.resilient:
        why = f"no site of {home} is usable, nor any of {_named(region.resilient)}"
    else:
        why = f"no site of {home} is usable, and it declared no resilient region"
    return Pool(answer, True, f"{why}; its own {_named(answer)} named all the same")
