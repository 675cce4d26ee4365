"""Who goes where: the countries of the world in groups sent alike, and what part of all clients they are.  Pure.

Laws: every country of the address map, and every network with a rule of its own, is in exactly one group; the parts of
all groups are one whole; so are the shares of each group.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from ipaddress import ip_network
from itertools import chain, islice
from math import atan2, cos, degrees, hypot, radians, sin
from typing import NamedTuple

from moonbow.wire.traffic import Flow, Share
from moonbow.world import World

from .addresses import Ranges
from .atlas import bucket_for, country_rule, find
from .geography import CONTINENT_NAMES, Point, country
from .model import SLICES, Map
from .snapshot import Snapshot

NOWHERE = "networks of no known country"


class Portion(NamedTuple):
    """Clients that are sent alike because they are in one place: a country, or a network with a rule of its own."""

    name: str  # of the group: a continent's, or the network
    country: str | None
    at: Point | None
    bucket: int
    weight: float


class Sizes:
    """How many IPv4 addresses each country has; counted once for each address map."""

    def __init__(self) -> None:
        self._ranges: Ranges | None = None
        self._sizes: tuple[int, ...] = ()

    def of(self, ranges: Ranges) -> tuple[int, ...]:
        """Addresses by number of the country in `ranges.countries`; 0 are those of nobody."""
        if ranges is not self._ranges:
            self._ranges, self._sizes = ranges, count_addresses(ranges)
        return self._sizes


def count_addresses(ranges: Ranges) -> tuple[int, ...]:
    """IPv4 addresses of each country."""
    sizes = [0] * len(ranges.countries)
    ends = chain(islice(ranges.v4, 1, None), (1 << 32,))
    for start, end, number in zip(ranges.v4, ends, ranges.v4_country, strict=True):
        sizes[number] += end - start
    return tuple(sizes)


def trace_flows(snapshot: Snapshot, sizes: Sequence[int], service: str = "door") -> list[Flow]:
    """Every group with its sites, the largest first.  `sizes` are the addresses of each country."""
    groups: defaultdict[tuple[str, str, tuple[tuple[str, float], ...], bool], list[Portion]] = defaultdict(list)
    shares = {number: _shares(snapshot, service, number) for number in range(len(snapshot.map.buckets))}
    found = list(_weighed(snapshot, list(_portions(snapshot.world, snapshot.ranges, snapshot.map, sizes))))
    for portion in found:
        to, degraded = shares[portion.bucket]
        groups[portion.name, snapshot.map.buckets[portion.bucket].region, to, degraded].append(portion)
    whole = sum(portion.weight for portion in found) or 1.0
    flows = [
        Flow(
            name=name,
            region=region,
            countries=sorted(portion.country for portion in portions if portion.country),
            at=_middle(portions),
            part=round(sum(portion.weight for portion in portions) / whole, 6),
            to=[Share(site=site, share=round(share, 6)) for site, share in to],
            degraded=degraded,
        )
        for (name, region, to, degraded), portions in groups.items()
    ]
    return sorted(flows, key=lambda flow: (-flow.part, flow.name))


def _portions(world: World, ranges: Ranges, compiled: Map, sizes: Sequence[int]) -> Iterator[Portion]:
    """Countries by their rules, then networks with rules of their own."""
    numbers = {bucket: number for number, bucket in enumerate(compiled.buckets)}
    for code_no, code in enumerate(ranges.countries):
        known = country(code) if code_no else None
        region, _ = country_rule(world, code if code_no else None)
        number = numbers.get(bucket_for(world, region, known.at if known else None))
        if number is not None:  # a country whose every address has another rule is not in the map
            name = CONTINENT_NAMES[known.continent] if known else NOWHERE
            weight = sizes[code_no] if code_no else 0  # nobody's addresses have no clients
            yield Portion(name, code if known else None, known.at if known else None, number, weight)
    for text in world.traffic.subnets:
        network = ip_network(text)
        table = compiled.v4 if network.version == 4 else compiled.v6
        number = table.buckets[find(table, int(network[0]))]
        size = network.num_addresses if network.version == 4 else 0
        yield Portion(text, None, None, number, float(size))


def _weighed(snapshot: Snapshot, portions: Sequence[Portion]) -> Iterator[Portion]:
    """With the clients that are foreseen, if anything is; a bucket's are spread over its portions by addresses."""
    demand = snapshot.demand
    if demand is None or not any(demand.cells):
        yield from portions
        return
    whole: defaultdict[int, float] = defaultdict(float)
    for portion in portions:
        whole[portion.bucket] += portion.weight
    for portion in portions:
        clients = sum(demand.cells[SLICES * portion.bucket : SLICES * portion.bucket + SLICES])
        part = portion.weight / whole[portion.bucket] if whole[portion.bucket] else 0.0
        yield portion._replace(weight=clients * part)


def _shares(snapshot: Snapshot, service: str, bucket: int) -> tuple[tuple[tuple[str, float], ...], bool]:
    """What part of a bucket each site has, the largest first; the sites of one pool share evenly."""
    plan = snapshot.plans[service]
    parts: defaultdict[str, float] = defaultdict(float)
    degraded = False
    for part in range(SLICES):
        pool = plan.pool(bucket, part)
        degraded = degraded or pool.degraded
        for site in pool.sites:
            parts[site] += 1 / SLICES / len(pool.sites)
    return tuple(sorted(parts.items(), key=lambda item: (-item[1], item[0]))), degraded


def _middle(portions: Sequence[Portion]) -> tuple[float, float] | None:
    """The weighted middle of where portions are, on the globe; null if they are nowhere."""
    x = y = z = 0.0
    for portion in portions:
        if portion.at is not None:
            lat, lon = map(radians, portion.at)
            weight = portion.weight + 1.0
            x, y, z = x + weight * cos(lat) * cos(lon), y + weight * cos(lat) * sin(lon), z + weight * sin(lat)
    if not (x or y or z):
        return None
    return round(degrees(atan2(z, hypot(x, y))), 1), round(degrees(atan2(y, x)), 1)
