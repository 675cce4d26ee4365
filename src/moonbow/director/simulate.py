"""What if: the same decision with sites or regions down, drained or weighed otherwise, and nothing applied.  Pure.

Laws: nothing is decided here in another way than in earnest; the clients of all cells are somewhere before and after;
a wish that leaves a site fuller than it may be, and fuller than it was, is reported, so that it can be refused.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from moonbow.base.errors import Refused
from moonbow.world import World

from .model import SLICES, Demand, DoorHealth, Overrides, Plan, SiteHealth, Spill
from .orders import sites_of
from .snapshot import Snapshot, take_snapshot
from .spill import NOTHING, expected_loads

SETTLE_MAX = 64  # steps of spill-over that are looked ahead
SETTLE_S = 10.0


class Forecast(NamedTuple):
    """What a site or region carries now and would carry then, in clients, and how many it can."""

    name: str
    region: str
    now: float
    then: float
    capacity: float
    usable: bool

    @property
    def is_overloaded(self) -> bool:
        """Whether the wish would put more on it than it can carry, and more than is on it now."""
        return self.then > self.capacity + 1e-6 and self.then > self.now + 1e-6


class Outcome(NamedTuple):
    """Loads of every site and every region, before and after; `moved` is the part (0..1) of clients that move.

    `stranded` are the regions whose clients are then only sent to sites that are not usable, and are not so now.
    """

    sites: tuple[Forecast, ...]
    regions: tuple[Forecast, ...]
    moved: float
    stranded: tuple[str, ...]
    after: Snapshot

    @property
    def overloaded(self) -> tuple[Forecast, ...]:
        """The sites that would be."""
        return tuple(found for found in self.sites if found.is_overloaded)

    @property
    def problems(self) -> tuple[str, ...]:
        """Why this should not be done, in words; empty if it may."""
        full = (
            f"{found.name} would carry {found.then:.0f} clients, and can carry {found.capacity:.0f}"
            for found in self.overloaded
        )
        return (*full, *(f"clients of {region} would have no usable site" for region in self.stranded))


def simulate(
    snapshot: Snapshot,
    demand: Demand | None = None,
    *,
    down: Collection[str] = (),
    drain: Collection[str] = (),
    overrides: Overrides | None = None,
) -> Outcome:
    """What follows if sites or regions die (`down`) or are drained, beside `overrides` in place of those in force.

    Without `demand` the snapshot's own is taken; without any, nobody is anywhere.  `Refused` for an unknown name.
    """
    demand = demand or snapshot.demand or nobody(snapshot)
    wishes = overrides or snapshot.overrides
    wishes = wishes._replace(drain=wishes.drain | _all_sites(snapshot.world, drain))
    health = kill(snapshot.health, _all_sites(snapshot.world, down))
    before = snapshot if snapshot.demand is demand else _again(snapshot, snapshot.health, snapshot.overrides, demand)
    return _compare(before, _again(snapshot, health, wishes, demand), demand)


def nobody(snapshot: Snapshot) -> Demand:
    """No clients at all, and the capacities of the world file."""
    sites = [ref.site for ref in snapshot.world.sites() if ref.site.kind != "witness"]
    return Demand((0.0,) * (SLICES * len(snapshot.map.buckets)), {site.name: float(site.capacity) for site in sites})


def kill(health: Mapping[str, SiteHealth], names: Collection[str]) -> dict[str, SiteHealth]:
    """The health of all sites with every door of some of them down."""
    dead = DoorHealth(False, "taken to be down")
    return {
        name: SiteHealth((dead,) * len(site.doors), site.trouble) if name in names else site
        for name, site in health.items()
    }


def _all_sites(world: World, targets: Collection[str]) -> frozenset[str]:
    found: set[str] = set()
    for target in targets:
        names = sites_of(world, target)
        if not names:
            raise Refused("site_unknown", f"there is no site or region {target!r} with doors", place="site")
        found.update(names)
    return frozenset(found)


def _again(snapshot: Snapshot, health: Mapping[str, SiteHealth], wishes: Overrides, demand: Demand) -> Snapshot:
    """The snapshot with other inputs, when spill-over has come to rest."""
    spilled: Spill = snapshot.spill or NOTHING
    found, now_s = snapshot, snapshot.changed_at_s
    for _ in range(SETTLE_MAX):
        found = take_snapshot(
            snapshot.world,
            snapshot.ranges,
            snapshot.map,
            health,
            wishes,
            snapshot.number,
            now_s,
            demand=demand,
            spilled=spilled,
        )
        if found.spill.moved == spilled.moved and found.spill.stepped_at_s < now_s:
            break
        spilled, now_s = found.spill, now_s + SETTLE_S
    return found


def _compare(before: Snapshot, after: Snapshot, demand: Demand) -> Outcome:
    world = after.world
    now, then = (expected_loads(snapshot.plans["door"], demand) for snapshot in (before, after))
    refs = [ref for ref in world.sites() if ref.site.kind != "witness"]
    sites = tuple(
        Forecast(
            ref.site.name,
            ref.region,
            now[ref.site.name],
            then[ref.site.name],
            demand.capacities[ref.site.name],
            not after.verdicts[ref.site.name].trouble,
        )
        for ref in refs
    )
    regions = tuple(_region(name, [site for site in sites if site.region == name]) for name in world.regions)
    moved = moved_part(before.plans["door"], after.plans["door"], demand)
    already = _stranded(before)
    return Outcome(sites, regions, moved, tuple(name for name in _stranded(after) if name not in already), after)


def _region(name: str, sites: list[Forecast]) -> Forecast:
    usable = [site for site in sites if site.usable]
    now, then = sum(site.now for site in sites), sum(site.then for site in sites)
    return Forecast(name, name, now, then, sum(site.capacity for site in usable), bool(usable))


def moved_part(before: Plan, after: Plan, demand: Demand) -> float:
    """The part (0..1) of all clients whose answer changes."""
    total = sum(demand.cells)
    moved = sum(
        clients
        for clients, was, now in zip(demand.cells, before.cells, after.cells, strict=True)
        if before.pools[was].sites != after.pools[now].sites
    )
    return moved / total if total else 0.0


def _stranded(after: Snapshot) -> tuple[str, ...]:
    """Regions with networks that are only sent to sites that are not usable."""
    plan = after.plans["door"]
    found: dict[str, None] = {}
    for at, number in enumerate(plan.cells):
        if all(after.verdicts[name].trouble for name in plan.pools[number].sites):
            found[after.map.buckets[at // SLICES].region] = None
    return tuple(found)
