"""All the director knows at one moment, and what follows from it for every bucket and for one address.  Pure."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from ipaddress import ip_network
from typing import NamedTuple

from moonbow.base.errors import Refused
from moonbow.wire.traffic import DirectorStatus, DoorStatus, Explanation, RankedSite, SiteStatus
from moonbow.wire.values import Door
from moonbow.world import Ports, Site, SiteRef, World, distance_km, door_address, place_port

from .addresses import Address, Ranges
from .atlas import EDGE_KM, Placed, bucket_for, compile_map, find, place_address, scope
from .geography import CONTINENT_NAMES, country
from .model import SERVICES, Decision, DoorHealth, Map, Overrides, Plan, SiteHealth, Verdict
from .policy import TTL_DEGRADED_S, TTL_S, decide, doors_of, judge_sites, plan_services


class Snapshot(NamedTuple):
    """One state of mind: inputs, verdicts on sites, and the plan of each service.

    `digest` stands for all that is answered: directors that decide alike have the same.
    """

    world: World
    ranges: Ranges
    map: Map
    health: Mapping[str, SiteHealth]
    overrides: Overrides
    verdicts: Mapping[str, Verdict]
    decisions: Sequence[Decision]
    plans: Mapping[str, Plan]
    number: int
    changed_at_s: float
    digest: str


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
) -> Snapshot:
    """Decide for every bucket.  Without `health` every site is taken to be well."""
    compiled = compiled or compile_map(world, ranges)
    health = health or unknown_health(world)
    overrides = overrides or Overrides()
    verdicts = judge_sites(world, health, overrides)
    decisions = tuple(decide(world, bucket, verdicts) for bucket in compiled.buckets)
    plans = plan_services(world, compiled.buckets, health, overrides)
    digest = digest_of(compiled, plans, health)
    return Snapshot(
        world, ranges, compiled, health, overrides, verdicts, decisions, plans, number, changed_at_s, digest
    )


def digest_of(compiled: Map, plans: Mapping[str, Plan], health: Mapping[str, SiteHealth]) -> str:
    """A hash of what is answered: the map, each service's sites by cell, and the doors named of each site."""
    found = blake2b(compiled.digest.encode(), digest_size=8)
    for service in SERVICES:
        plan = plans[service]
        found.update(repr((service, [(pool.sites, pool.degraded) for pool in plan.pools])).encode())
        found.update(array("I", plan.cells).tobytes())
    found.update(repr([(name, doors_of(site)) for name, site in sorted(health.items())]).encode())
    return found.hexdigest()


def decide_address(snapshot: Snapshot, address: Address, region: str | None = None) -> tuple[Placed, Decision]:
    """Where an address belongs and is sent; with `region`, as if its traffic belonged there."""
    placed = place_address(snapshot.world, snapshot.ranges, address)
    if region is None:
        table = snapshot.map.v4 if address.version == 4 else snapshot.map.v6
        return placed, snapshot.decisions[table.buckets[find(table, int(address))]]
    if region not in snapshot.world.regions:
        known = ", ".join(snapshot.world.regions)
        raise Refused("region_unknown", f"there is no region {region!r}; the world has {known}", place="region")
    placed = placed._replace(region=region, rule="the region was asked for")
    return placed, decide(snapshot.world, bucket_for(snapshot.world, region, placed.at), snapshot.verdicts)


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


def explain_address(snapshot: Snapshot, address: Address, region: str | None = None) -> Explanation:
    """Every step from an address to its doors, in words."""
    placed, decision = decide_address(snapshot, address, region)
    table = snapshot.map.v4 if address.version == 4 else snapshot.map.v6
    length = scope(table, find(table, int(address)), int(address))
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
        sites=[_ranked(snapshot, placed, name, "") for name in decision.ordered],
        skipped=[_ranked(snapshot, placed, name, why) for name, why in decision.skipped],
        snapshot=snapshot.number,
    )


def _ranked(snapshot: Snapshot, placed: Placed, name: str, why: str) -> RankedSite:
    ref = snapshot.world.site(name)
    km = round(distance_km(ref.site.at, placed.at)) if placed.at else None
    why = why or _nearness(ref.site, placed.country, km)
    return RankedSite(site=name, region=ref.region, city=ref.site.city, kind=ref.site.kind, km=km, why=why)


def _nearness(site: Site, code: str | None, km: int | None) -> str:
    surcharge = f", as an edge counted {EDGE_KM:.0f} km farther" if site.kind == "edge" else ""
    return f"{km} km from {code}{surcharge}" if km is not None else f"distance unknown{surcharge}"


def describe(snapshot: Snapshot) -> DirectorStatus:
    """The state of all sites, as `/status` shows it."""
    return DirectorStatus(
        world=snapshot.world.name,
        domain=snapshot.world.domain,
        snapshot=snapshot.number,
        changed_at=stamp(snapshot.changed_at_s),
        addresses=snapshot.ranges.source,
        buckets=len(snapshot.map.buckets),
        sites=[_site_status(snapshot, ref) for ref in _sites(snapshot.world)],
    )


def _site_status(snapshot: Snapshot, ref: SiteRef) -> SiteStatus:
    name, verdict = ref.site.name, snapshot.verdicts[ref.site.name]
    down, drain = name in snapshot.overrides.down, name in snapshot.overrides.drain
    return SiteStatus(
        site=name,
        region=ref.region,
        city=ref.site.city,
        kind=ref.site.kind,
        healthy=not verdict.trouble,
        why=verdict.why,
        override="down" if down else "drain" if drain else None,
        doors=[
            DoorStatus(
                address=door_address(snapshot.world, ref, number),
                port=Ports.DOOR,
                up=door.up is not False,
                why=door.why,
                since=stamp(door.since_s) if door.since_s else None,
            )
            for number, door in enumerate(snapshot.health[name].doors)
        ],
    )


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
