"""The map of the address space: which bucket (region, and order of sites) every network belongs to.  Pure.

Laws: every address of both families is in exactly one range; the most specific rule wins (subnet, country, continent,
default), and a resolver's own rule beats them all where it does not tell its client's network; neighbours differ; the
bucket is the same everywhere inside `scope`, and no shorter prefix has that property.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import blake2b
from heapq import merge
from ipaddress import ip_network
from itertools import chain, islice
from typing import NamedTuple

from moonbow.world import World, distance_km

from .addresses import Address, Ranges
from .geography import CONTINENT_NAMES, Point, country
from .model import Bucket, Group, Map, Table

EQUAL_KM = 250.0  # a site this little farther than the nearest is as good as it: about 2.5 ms there and back
EDGE_KM = 500.0  # an edge hands on to a primary, so it must be this much nearer to be preferred


class Placed(NamedTuple):
    """Where an address is: its country, the region its traffic belongs to, and the rule that says so."""

    country: str | None
    region: str
    rule: str

    @property
    def at(self) -> Point | None:
        """The middle of the country, if there is one."""
        found = country(self.country)
        return found.at if found else None


def weight_km(site: Point, kind: str, at: Point | None, edge_km: float = EDGE_KM) -> float:
    """How far a site counts as being from `at`: its distance, and a surcharge for an edge."""
    return (distance_km(site, at) if at else 0.0) + (edge_km if kind == "edge" else 0.0)


def rank_sites(world: World, region: str, at: Point | None, edge_km: float = EDGE_KM) -> tuple[Group, ...]:
    """The region's sites with doors, in groups of equal nearness to `at`; primaries first where `at` is unknown."""
    sites = [ref.site for ref in world.sites() if ref.region == region and ref.site.kind != "witness"]
    far = {site.name: weight_km(site.at, site.kind, at, edge_km if at else EDGE_KM) for site in sites}
    groups: list[list[str]] = []
    nearest = 0.0
    for name in sorted(far, key=far.__getitem__):
        if not groups or far[name] > nearest + EQUAL_KM:
            groups.append([])
            nearest = far[name]
        groups[-1].append(name)
    return tuple(Group(region, tuple(names)) for names in groups)


def bucket_for(world: World, region: str, at: Point | None) -> Bucket:
    """The bucket of clients at `at` that belong to `region`: its own sites, then those of its resilient regions."""
    others = () if world.regions[region].sealed else world.regions[region].resilient
    regions = (region, *(name for name in others if not world.regions[name].sealed))
    groups = tuple(group for name in regions for group in rank_sites(world, name, at))
    near = tuple(group for name in regions for group in rank_sites(world, name, at, 0.0))
    return Bucket(region, groups, near)


def country_rule(world: World, code: str | None) -> tuple[str, str]:
    """The region of a network that no subnet rule names, and the rule that says so."""
    traffic = world.traffic
    if code and code in traffic.countries:
        return traffic.countries[code], f"country {code}"
    found = country(code)
    if found and found.continent in traffic.continents:
        return traffic.continents[found.continent], f"continent {CONTINENT_NAMES[found.continent]}"
    return traffic.default, "default"


def place_address(world: World, ranges: Ranges, address: Address, told: bool = True) -> Placed:
    """Where one address belongs, found from the rules themselves, without the compiled map.

    `told` is False for a resolver that does not tell its client's network.
    """
    code = ranges.country(address)
    for kind, rules in (("resolver", {} if told else world.traffic.resolvers), ("subnet", world.traffic.subnets)):
        networks = [(ip_network(text), region) for text, region in rules.items()]
        matching = [(network, region) for network, region in networks if address in network]
        if matching:
            network, region = max(matching, key=lambda rule: rule[0].prefixlen)
            return Placed(code, region, f"{kind} {network}")
    return Placed(code, *country_rule(world, code))


def compile_map(world: World, ranges: Ranges) -> Map:
    """The whole address space in as few ranges and buckets as the world's traffic map allows."""
    buckets: dict[Bucket, int] = {}
    known: dict[tuple[int, str | None], int] = {}

    def number(code_no: int, region: str | None) -> int:
        found = known.get((code_no, region))
        if found is None:
            placed = Placed(ranges.countries[code_no] if code_no else None, "", "")
            bucket = bucket_for(world, region or country_rule(world, placed.country)[0], placed.at)
            found = known[code_no, region] = buckets.setdefault(bucket, len(buckets))
        return found

    def of_resolver(code_no: int, region: str | None) -> int:
        return number(code_no, region) if region else -1

    v4 = _table(32, _countries(ranges, 32), subnet_changes(world, 32), number)
    v6 = _table(128, _countries(ranges, 128), subnet_changes(world, 128), number)
    ruled = {bits: network_changes(world.traffic.resolvers, bits) for bits in (32, 128)}
    told4, told6 = (
        _table(bits, _countries(ranges, bits) if rules else (), rules, of_resolver) for bits, rules in ruled.items()
    )
    found = tuple(buckets)
    return Map(found, v4, v6, _digest(found, v4, v6, told4, told6), (told4, told6), _sizes(v4, len(found)))


def _sizes(table: Table, count: int) -> tuple[int, ...]:
    """How many addresses of a table are in each bucket."""
    sizes = [0] * count
    ends = chain(islice(table.starts, 1, None), (1 << table.bits,))
    for start, end, number in zip(table.starts, ends, table.buckets, strict=True):
        sizes[number] += end - start
    return tuple(sizes)


def _countries(ranges: Ranges, bits: int) -> Iterator[tuple[int, int]]:
    """(start, number of the country) along one family."""
    if bits == 32:
        return zip(ranges.v4, ranges.v4_country, strict=True)
    return zip((start << 64 for start in ranges.v6), ranges.v6_country, strict=True)


def _digest(buckets: tuple[Bucket, ...], *tables: Table) -> str:
    """A hash of a whole map."""
    found = blake2b(repr(buckets).encode(), digest_size=16)
    for table in tables:
        found.update(b"".join(start.to_bytes(table.bits // 8, "big") for start in table.starts))
        found.update(array("i", table.buckets).tobytes())
    return found.hexdigest()


def _table(
    bits: int,
    countries: Iterable[tuple[int, int]],
    subnets: Iterable[tuple[int, str | None]],
    number: Callable[[int, str | None], int],
) -> Table:
    """Lay the subnet rules over the countries; both are changes in rising order."""
    starts: list[int] = []
    numbers: list[int] = []
    code, region, at = 0, None, 0

    def settle() -> None:
        found = number(code, region)
        if not numbers or numbers[-1] != found:
            starts.append(at)
            numbers.append(found)

    by_country: Iterator[tuple[int, int, str | None]] = ((start, code, "") for start, code in countries)
    by_subnet: Iterator[tuple[int, int, str | None]] = ((start, -1, region) for start, region in subnets)
    for start, changed, rule in merge(by_country, by_subnet, key=lambda change: change[0]):
        if start != at:
            settle()
            at = start
        if changed < 0:
            region = rule
        else:
            code = changed
    settle()
    return Table(bits, starts, numbers)


def subnet_changes(world: World, bits: int) -> list[tuple[int, str | None]]:
    """Where the region of the subnet rules changes along one family, the most specific rule winning; None: no rule."""
    return network_changes(world.traffic.subnets, bits)


def network_changes(rules: Mapping[str, str], bits: int) -> list[tuple[int, str | None]]:
    """As `subnet_changes`, of any rules: network -> region."""
    networks = [(ip_network(text), region) for text, region in rules.items()]
    mine = [(int(net[0]), int(net[-1]) + 1, region) for net, region in networks if net.max_prefixlen == bits]
    changes: dict[int, str | None] = {}
    inside: list[tuple[int, int, str]] = []  # the rules around the present place, widest first
    for start, end, region in sorted(mine, key=lambda rule: (rule[0], -rule[1])):
        _leave(inside, changes, start)
        inside.append((start, end, region))
        changes[start] = region
    _leave(inside, changes, 1 << bits)
    changes.pop(1 << bits, None)
    return sorted(changes.items())


def _leave(inside: list[tuple[int, int, str]], changes: dict[int, str | None], before: int) -> None:
    while inside and inside[-1][1] <= before:
        _, end, _ = inside.pop()
        changes[end] = inside[-1][2] if inside else None


def find(table: Table, address: int) -> int:
    """The number of the range that holds `address`."""
    return bisect_right(table.starts, address) - 1


def find_resolver(compiled: Map, bits: int, address: int) -> int | None:
    """The bucket that a resolver's own rule gives it, for a query that tells no client's network; None: no rule."""
    table = compiled.resolvers[bits == 128]
    found = table.buckets[find(table, address)]
    return None if found < 0 else found


def scope(table: Table, at: int, address: int) -> int:
    """The length of the shortest prefix around `address` that lies within range `at` (RFC 7871, section 7.2.1)."""
    starts, longest = table.starts, 0
    if at:
        longest = table.bits + 1 - (address ^ (starts[at] - 1)).bit_length()
    if at + 1 < len(starts):
        longest = max(longest, table.bits + 1 - (address ^ starts[at + 1]).bit_length())
    return longest
