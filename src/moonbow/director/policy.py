"""Where the clients of a bucket are sent, given health and the operator's word.  Pure; every result has its reason.

Laws: health, drain and down only change what a bucket points to, never the map; an operator's word beats any probe;
an unhealthy, drained or downed site is named only when nothing better is left; a sealed region is never left and
never entered; somebody is always named.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from moonbow.world import World

from .model import (
    SERVICES,
    SLICES,
    Bucket,
    Decision,
    DoorHealth,
    Group,
    Overrides,
    Plan,
    Pool,
    SiteHealth,
    Skipped,
    Verdict,
)

TTL_S = 30
TTL_DEGRADED_S = 10  # while clients are away from their first choice, ask again soon
FAILS_DOWN = 2
PASSES_UP = 3
HANDS_ON = frozenset({"door", "edge"})  # services for which an edge needs a primary behind it


def judge_door(before: DoorHealth, passed: bool, why: str, now_s: float) -> DoorHealth:
    """A door's health after one more probe: down after 2 failures in a row, up after 3 successes; the first decides."""
    fails = 0 if passed else before.fails + 1
    passes = before.passes + 1 if passed else 0
    if before.up is None:
        return DoorHealth(passed, why, fails, passes, now_s)
    up = before.up
    if up and fails >= FAILS_DOWN:
        up = False
    elif not up and passes >= PASSES_UP:
        up = True
    if up is not before.up:
        return DoorHealth(up, why, fails, passes, now_s)
    return DoorHealth(up, before.why if passed is not up else why, fails, passes, before.since_s)


def site_trouble(health: SiteHealth) -> str:
    """Why no door of a site can be used; empty if one can.  A door not probed yet is given the benefit of the doubt."""
    if any(door.up is not False for door in health.doors):
        return ""
    reasons = sorted({door.why for door in health.doors})
    return f"all {len(health.doors)} doors are down: {'; '.join(reasons)}"


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
    for ref in world.sites():
        primaries = world.primaries(ref.region)
        stranded = all(verdicts[primary.site.name].trouble for primary in primaries)
        if stranded and ref.site.kind == "edge" and not verdicts[ref.site.name].trouble:
            why = f"an edge, and no primary site of {ref.region} can serve what it lets in"
            found[ref.site.name] = Verdict(2, why)
    return found


def judge_site(name: str, health: SiteHealth, overrides: Overrides) -> Verdict:
    """One site by itself: the operator's word first, then its doors."""
    if name in overrides.down:
        return Verdict(3, "declared down by the operator")
    trouble = site_trouble(health)
    if name in overrides.drain:
        return Verdict(2, f"drained by the operator; {trouble}") if trouble else Verdict(1, "drained by the operator")
    return Verdict(2, trouble) if trouble else Verdict(0, "healthy")


def plan_services(
    world: World, buckets: Sequence[Bucket], health: Mapping[str, SiteHealth], overrides: Overrides
) -> dict[str, Plan]:
    """The plan of every service."""
    alone = judge_sites(world, health, overrides, "media")
    behind = strand_edges(world, alone)
    plans: dict[str, Plan] = {}
    for service in SERVICES:
        verdicts = behind if service in HANDS_ON else alone
        found = [choose(world, bucket.region, groups_for(bucket, service), verdicts) for bucket in buckets]
        plans[service] = make_plan(service, [(pool,) * SLICES for pool in found])
    return plans


def make_plan(service: str, cells: Iterable[Sequence[Pool]]) -> Plan:
    """The plan in which each bucket's 16 slices have the pools given."""
    numbers: dict[Pool, int] = {}
    return Plan(service, *_numbered(cells, numbers))


def _numbered(cells: Iterable[Sequence[Pool]], numbers: dict[Pool, int]) -> tuple[tuple[Pool, ...], tuple[int, ...]]:
    found = tuple(numbers.setdefault(pool, len(numbers)) for bucket in cells for pool in bucket)
    return tuple(numbers), found


def groups_for(bucket: Bucket, service: str) -> tuple[Group, ...]:
    """The order of groups of a bucket for a service."""
    return bucket.groups if service == "door" else bucket.near


def choose(world: World, region: str, groups: Sequence[Group], verdicts: Mapping[str, Verdict]) -> Pool:
    """The first group with a usable site; the region's own primaries when there is none at all."""
    for number, group in enumerate(groups):
        answer = tuple(name for name in group.sites if not verdicts[name].trouble)
        if answer:
            return Pool(answer, number > 0, _reason(region, groups, number, answer))
    return _fail_open(world, region, groups, verdicts)


def decide(world: World, bucket: Bucket, verdicts: Mapping[str, Verdict], service: str = "door") -> Decision:
    """The choice for a bucket in full: all usable sites in order, and why each of the others is skipped."""
    groups = groups_for(bucket, service)
    names = [name for group in groups for name in group.sites]
    skipped = tuple(Skipped(name, verdicts[name].why) for name in names if verdicts[name].trouble)
    pool = choose(world, bucket.region, groups, verdicts)
    usable = tuple(name for name in names if not verdicts[name].trouble) or pool.sites
    return Decision(pool.sites, usable, skipped, pool.reason, pool.degraded)


def _reason(home: str, groups: Sequence[Group], number: int, answer: tuple[str, ...]) -> str:
    region = groups[number].region
    named = " and ".join(answer)
    if region != home:
        return f"no site of {home} is usable; {named} is nearest in {region}, which it declared resilient"
    if number:
        return f"nearer sites of {region} are not usable; {named} comes next"
    if len(answer) > 1:
        return f"{named} are the nearest sites of {region}, and equally near"
    return f"{named} is the nearest site of {region}"


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
        why = f"no site of {home} is usable, nor any of {' and '.join(region.resilient)}"
    else:
        why = f"no site of {home} is usable, and it declared no resilient region"
    return Pool(answer, True, f"{why}; its own {' and '.join(answer)} named all the same")


def doors_of(health: SiteHealth) -> tuple[int, ...]:
    """The doors of a site worth naming: those not known to be down, or all when all are."""
    return tuple(no for no, door in enumerate(health.doors) if door.up is not False) or tuple(range(len(health.doors)))
