"""The plans of all services: which pool each cell of the address space is answered.  Pure.

Laws: every cell has a pool; a bucket's decision is taken once and not by slice, unless weights or canaries split it;
equal inputs make equal plans, however they came about.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b

from moonbow.world import World

from .algebra import doors_of
from .model import SERVICES, SLICES, Bucket, Group, Map, Overrides, Plan, Pool, SiteHealth, Verdict
from .policy import HANDS_ON, cells_of, groups_for, judge_sites, strand_edges


def judge_services(
    world: World, health: Mapping[str, SiteHealth], overrides: Overrides
) -> dict[str, dict[str, Verdict]]:
    """The verdicts on all sites, for each service."""
    alone = judge_sites(world, health, overrides, "media")
    behind = strand_edges(world, alone)
    return {service: behind if service in HANDS_ON else alone for service in SERVICES}


def plan_services(
    world: World,
    buckets: Sequence[Bucket],
    verdicts: Mapping[str, Mapping[str, Verdict]],
    overrides: Overrides,
) -> dict[str, Plan]:
    """The plan of every service, by nearness, health and the operator's word.  Services that are alike share one."""
    plans: dict[str, Plan] = {}
    for service in SERVICES:
        alike = next((plans[other] for other in plans if _alike(other, service, verdicts)), None)
        if alike is None:
            alike = plan_service(world, buckets, service, verdicts[service], overrides)
        plans[service] = alike._replace(service=service)
    return plans


def _alike(one: str, other: str, verdicts: Mapping[str, Mapping[str, Verdict]]) -> bool:
    """Whether two services have the same order of sites and the same verdicts."""
    return "door" not in (one, other) and verdicts[one] == verdicts[other]


def plan_service(
    world: World, buckets: Sequence[Bucket], service: str, verdicts: Mapping[str, Verdict], overrides: Overrides
) -> Plan:
    """The plan of one service."""
    known: dict[tuple[str, tuple[Group, ...]], tuple[Pool, ...]] = {}
    for bucket in buckets:
        key = (bucket.region, groups_for(bucket, service))
        if key not in known:
            known[key] = cells_of(world, *key, verdicts, overrides)
    return make_plan(service, (known[bucket.region, groups_for(bucket, service)] for bucket in buckets))


def make_plan(service: str, buckets: Iterable[Sequence[Pool]]) -> Plan:
    """The plan in which each bucket's 16 slices have the pools given."""
    numbers: dict[Pool, int] = {}
    cells: list[int] = []
    for slices in buckets:
        if slices.count(slices[0]) == SLICES:
            cells += [numbers.setdefault(slices[0], len(numbers))] * SLICES
        else:
            cells += [numbers.setdefault(pool, len(numbers)) for pool in slices]
    return Plan(service, tuple(numbers), tuple(cells))


def change_cells(plan: Plan, moved: Mapping[int, Pool]) -> Plan:
    """The plan with other pools for some cells."""
    if not moved:
        return plan
    pools = [plan.pools[number] for number in plan.cells]
    for cell, pool in moved.items():
        pools[cell] = pool
    return make_plan(plan.service, (pools[at : at + SLICES] for at in range(0, len(pools), SLICES)))


def digest_of(compiled: Map, plans: Mapping[str, Plan], health: Mapping[str, SiteHealth]) -> str:
    """A hash of what is answered: the map, each service's sites by cell, and the doors named of each site."""
    found = blake2b(compiled.digest.encode(), digest_size=8)
    for service in SERVICES:
        plan = plans[service]
        numbers: dict[tuple[tuple[str, ...], bool], int] = {}
        alike = [numbers.setdefault((pool.sites, pool.degraded), len(numbers)) for pool in plan.pools]
        found.update(repr((service, list(numbers))).encode())
        found.update(array("I", [alike[number] for number in plan.cells]).tobytes())
    found.update(repr([(name, doors_of(site)) for name, site in sorted(health.items())]).encode())
    return found.hexdigest()
