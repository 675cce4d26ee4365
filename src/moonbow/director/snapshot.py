"""All the director knows at one moment, and what follows from it for every bucket and for one address.  Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from ipaddress import ip_network
from typing import NamedTuple

from moonbow.base.errors import Refused
from moonbow.wire.traffic import Explanation, RankedSite
from moonbow.wire.values import Door
from moonbow.world import Ports, Site, SiteRef, World, distance_km, door_address, place_port

from .addresses import Address, Ranges
from .algebra import doors_of
from .atlas import EDGE_KM, Placed, bucket_for, compile_map, find, find_resolver, place_address
from .geography import CONTINENT_NAMES, country
from .model import (
    SERVICES,
    Decision,
    Demand,
    DoorHealth,
    Group,
    Map,
    Overrides,
    Plan,
    SiteHealth,
    Spill,
    Table,
    Verdict,
)
from .plans import change_cells, digest_of, judge_services, plan_services
from .policy import TTL_DEGRADED_S, TTL_S, cells_of, decide, groups_for, rank_usable
from .slices import cell_scope, slice_of
from .spill import NOTHING, moved_pools, spill_over


class Snapshot(NamedTuple):
    """One state of mind: inputs, verdicts on sites, and the plan of each service.

    `verdicts` are those for doors, `judged` those for every service.  `digest` stands for all that is answered:
    directors that decide alike have the same.  `frozen` says why nothing was decided anew, if so.
    """

    world: World
    ranges: Ranges
    map: Map
    health: Mapping[str, SiteHealth]
    overrides: Overrides
    verdicts: Mapping[str, Verdict]
    plans: Mapping[str, Plan]
    number: int
    changed_at_s: float
    digest: str
    judged: Mapping[str, Mapping[str, Verdict]]
    demand: Demand | None = None
    spill: Spill = NOTHING
    frozen: str = ""


def unknown_health(world: World) -> dict[str, SiteHealth]:
    """The health of all sites before the first probe."""
    return {ref.site.name: SiteHealth((DoorHealth(),) * ref.site.doors) for ref in _sites(world)}


def take_snapshot(
    world: World,
    ranges: Ranges,
    compiled: Map | None = None,
    health: Mapping[str, SiteHealth] | None = None,
    overrides: Overrides | None = None,
    number: int = 0,
    changed_at_s: float = 0.0,
    *,
    demand: Demand | None = None,
    spilled: Spill = NOTHING,
    frozen: str = "",
) -> Snapshot:
    """Decide for every cell.  Without `health` every site is taken to be well; without `demand`, to be empty.

    `spilled` is what had spilled over before; `changed_at_s` is now, a Unix time.
    """
    compiled = compiled or compile_map(world, ranges)
    health = health or unknown_health(world)
    overrides = overrides or Overrides()
    judged = judge_services(world, health, overrides)
    plans = plan_services(world, compiled.buckets, judged, overrides)
    spill = NOTHING
    if demand is not None and len(demand.cells) == len(plans["door"].cells):
        spill = spill_plan(compiled, plans["door"], judged["door"], overrides, demand, spilled, changed_at_s)
        plans["door"] = change_cells(plans["door"], moved_pools(plans["door"], spill.moved))
    digest = digest_of(compiled, plans, health)
    verdicts = judged["door"]
    known = (world, ranges, compiled, health, overrides, verdicts, plans, number, changed_at_s, digest)
    return Snapshot(*known, judged, demand, spill, frozen)


def spill_plan(
    compiled: Map,
    plan: Plan,
    verdicts: Mapping[str, Verdict],
    overrides: Overrides,
    demand: Demand,
    before: Spill = NOTHING,
    now_s: float = 0.0,
) -> Spill:
    """What spills over from the plan for doors.  Sites without weight, and canaries, take nobody else's."""
    closed = {name for name, weight in overrides.weights.items() if not weight} | overrides.canary.keys()

    def options(bucket: int) -> list[Group]:
        usable = rank_usable(compiled.buckets[bucket].groups, verdicts)
        open_ones = (Group(region, tuple(name for name in sites if name not in closed)) for region, sites in usable)
        return [group for group in open_ones if group.sites]

    return spill_over(plan, options, demand, before, now_s)


def decide_address(
    snapshot: Snapshot, address: Address, region: str | None = None, service: str = "door", *, told: bool = True
) -> tuple[Placed, Decision]:
    """Where an address belongs and is sent; with `region`, as if its traffic belonged there.

    `told` is False for a resolver that does not tell its client's network.
    """
    placed = place_address(snapshot.world, snapshot.ranges, address, told)
    part = _slice(address)
    if region is None:
        table, at = _range_of(snapshot.map, address, told)
        return placed, _decide_cell(snapshot, table.buckets[at], part, service)
    if region not in snapshot.world.regions:
        known = ", ".join(snapshot.world.regions)
        raise Refused("region_unknown", f"there is no region {region!r}; the world has {known}", place="region")
    placed = placed._replace(region=region, rule="the region was asked for")
    bucket = bucket_for(snapshot.world, region, placed.at)
    if bucket in snapshot.map.buckets:
        return placed, _decide_cell(snapshot, snapshot.map.buckets.index(bucket), part, service)
    verdicts, groups = snapshot.judged[service], groups_for(bucket, service)
    pool = cells_of(snapshot.world, region, groups, verdicts, snapshot.overrides)[part]
    return placed, decide(snapshot.world, bucket, verdicts, service, pool)


def _slice(address: Address) -> int:
    return slice_of(32 if address.version == 4 else 128, int(address))


def _range_of(compiled: Map, address: Address, told: bool) -> tuple[Table, int]:
    """The range that decides about an address, in its table: a resolver's own rule, or else its network's."""
    bits, number = (32, int(address)) if address.version == 4 else (128, int(address))
    if not told and find_resolver(compiled, bits, number) is not None:
        table = compiled.resolvers[bits == 128]
    else:
        table = compiled.v4 if bits == 32 else compiled.v6
    return table, find(table, number)


def _decide_cell(snapshot: Snapshot, bucket: int, part: int, service: str) -> Decision:
    pool = snapshot.plans[service].pool(bucket, part)
    return decide(snapshot.world, snapshot.map.buckets[bucket], snapshot.judged[service], service, pool)


def list_doors(snapshot: Snapshot, address: Address, sites: Sequence[str]) -> list[Door]:
    """The doors of `sites` in order; each site's own are turned by the address, so that clients spread over them."""
    url = door_url(snapshot.world, address)
    doors: list[Door] = []
    for name in sites:
        ref = snapshot.world.site(name)
        numbers = doors_of(snapshot.health[name])
        turn = (_spread(address) >> 16) % len(numbers)
        for number in numbers[turn:] + numbers[:turn]:
            ip = door_address(snapshot.world, ref, number)
            doors.append(Door(site=name, region=ref.region, city=ref.site.city, url=url, address=ip, port=Ports.DOOR))
    return doors


def spread_sites(decision: Decision, address: Address) -> tuple[str, ...]:
    """All usable sites, best first; those of equal nearness at the head are turned by the address."""
    turn = _spread(address) % len(decision.answer)
    head = decision.answer[turn:] + decision.answer[:turn]
    return head + tuple(name for name in decision.ordered if name not in head)


def _spread(address: Address) -> int:
    """A number that is always the same for an address, and evenly spread over addresses."""
    return int.from_bytes(blake2b(address.packed, digest_size=8).digest(), "big")


def door_url(world: World, address: Address) -> str:
    """The origin that a client at `address` opens: the port of its place on one machine, the doors' own otherwise."""
    for place in world.places:
        if address in ip_network(place.network):
            return f"https://{world.domain}:{place_port(world, place.port)}"
    return f"https://{world.domain}:{Ports.DOOR}"


def explain_address(
    snapshot: Snapshot, address: Address, region: str | None = None, service: str = "door", *, told: bool = True
) -> Explanation:
    """Every step from an address to the sites of a service, in words.

    `told` is False for a resolver that does not tell its client's network.
    """
    if service not in SERVICES:
        raise Refused("service_unknown", f"there is no service {service!r}, but {', '.join(SERVICES)}", place="name")
    placed, decision = decide_address(snapshot, address, region, service, told=told)
    part = _slice(address)
    table, at = _range_of(snapshot.map, address, told)
    number = table.buckets[at]
    length = cell_scope(table, at, int(address), snapshot.plans[service].is_split(number))
    found = country(placed.country)
    return Explanation(
        address=str(address),
        network=str(ip_network(f"{address}/{length}", strict=False)),
        country=placed.country,
        continent=CONTINENT_NAMES[found.continent] if found else None,
        rule=placed.rule,
        region=placed.region,
        reason=decision.reason,
        ttl_s=TTL_DEGRADED_S if decision.degraded else TTL_S,
        answer=list_doors(snapshot, address, decision.answer),
        sites=[_ranked(snapshot, placed, name, "", service) for name in decision.ordered],
        skipped=[_ranked(snapshot, placed, name, why, service) for name, why in decision.skipped],
        snapshot=snapshot.number,
        service=service,
        pool=list(decision.answer),
        slice=part,
        bucket=number if region is None else -1,
        frozen=snapshot.frozen,
        digest=snapshot.digest,
    )


def _ranked(snapshot: Snapshot, placed: Placed, name: str, why: str, service: str) -> RankedSite:
    ref = snapshot.world.site(name)
    km = round(distance_km(ref.site.at, placed.at)) if placed.at else None
    why = why or _nearness(ref.site, placed.country, km, service) + _wished(snapshot.overrides, name)
    return RankedSite(site=name, region=ref.region, city=ref.site.city, kind=ref.site.kind, km=km, why=why)


def _nearness(site: Site, code: str | None, km: int | None, service: str) -> str:
    counted = site.kind == "edge" and (service == "door" or km is None)
    surcharge = f", as an edge counted {EDGE_KM:.0f} km farther" if counted else ""
    return f"{km} km from {code}{surcharge}" if km is not None else f"distance unknown{surcharge}"


def _wished(overrides: Overrides, name: str) -> str:
    weight = f", weight {overrides.weights[name]} %" if name in overrides.weights else ""
    canary = f", a canary for {overrides.canary[name]} of 16 slices" if name in overrides.canary else ""
    return weight + canary


def _sites(world: World) -> list[SiteRef]:
    return [ref for ref in world.sites() if ref.site.kind != "witness"]


def stamp(at_s: float) -> str:
    """A Unix time as RFC 3339 in UTC, to the millisecond."""
    return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def why_text(explanation: Explanation) -> str:
    """An explanation on one line, as the TXT record says it."""
    where = explanation.country or "no known country"
    doors = " ".join(door.address for door in explanation.answer)
    skipped = "".join(f"; not {site.site}: {site.why}" for site in explanation.skipped)
    return (
        f"{explanation.network} is in {where}; rule: {explanation.rule}; region: {explanation.region}; "
        f"{explanation.reason}; doors: {doors}{skipped}; snapshot {explanation.snapshot}"
    )
