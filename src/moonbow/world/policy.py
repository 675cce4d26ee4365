"""Decisions that follow from a world alone: its faults, its addresses, its distances.

Laws: `problems` reports every semantic fault at once, each with its place; no two sites share an address.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from math import acos, cos, radians, sin
from pathlib import PurePosixPath

from .model import Region, SiteRef, World

_NAME = re.compile(r"[a-z][a-z0-9]{0,15}")
_DOMAIN = re.compile(r"([a-z0-9-]{1,63}\.)+[a-z]{2,63}")
CONTINENTS = frozenset({"AF", "AN", "AS", "EU", "NA", "OC", "SA"})
OPERATORS_MAX = 100
SITES_MAX = 120  # of one machine


class Ports:
    """The same ports on every site's own address.  Doors have addresses of their own, see `door_address`."""

    DOOR = 8443
    MESH = 8444
    DOOR_METRICS = 9901
    BUS = 4222
    BUS_ROUTES = 6222
    BUS_MONITOR = 8222
    BORDER = 4223
    BORDER_ROUTES = 7222
    BORDER_MONITOR = 8223
    REST = 7100  # + number of the gateway
    STREAM = 7200  # + number of the gateway
    DNS = 5300
    DIRECTOR = 5301  # the director's own HTTP: /status, /explain, /doors
    VIEWS = 5302  # directors among themselves
    WATCH = 5303  # audits by the clock: /metrics, at the world's own address
    DATA = 5310  # the agent that tends a site's data node: /healthz, /status, /metrics
    DATA_PEERS = 5311  # data agents of a region among themselves
    SQL = 3306
    SQL_CLUSTER = 4567  # Galera's group communication
    SQL_INCREMENT = 4568  # what a returning node missed
    SQL_SNAPSHOT = 4444  # everything, for a new node
    BACKUP = 5313  # the process that takes a region's backups: /healthz, /metrics
    OBJECTS_MASTER = 9333  # SeaweedFS; gRPC see `objects_grpc_port`
    OBJECTS_VOLUME = 9340
    OBJECTS_FILER = 9350
    OBJECTS_S3 = 9360
    OBJECTS_METRICS = 9370
    OBJECTS_GRPC = 20_000


def site_address(world: World, ref: SiteRef) -> str:
    """The site's own address: declared on real hosts, 127.<region>.<site>.1 on one machine."""
    return ref.site.address or f"127.{10 + 20 * world.slot + ref.region_no}.{1 + ref.site_no}.1"


def objects_grpc_port(world: World, ref: SiteRef, port: int) -> int:
    """The gRPC port beside one of `Ports.OBJECTS_*`: another one for every site, up to 25,759.

    SeaweedFS names sockets in /tmp by these ports alone, so no two sites of a machine may share one.
    """
    services = (Ports.OBJECTS_MASTER, Ports.OBJECTS_VOLUME, Ports.OBJECTS_FILER, Ports.OBJECTS_S3)
    number = [other.site.name for other in world.sites()].index(ref.site.name)
    return Ports.OBJECTS_GRPC + len(services) * (SITES_MAX * world.slot + number) + services.index(port)


def door_address(world: World, ref: SiteRef, door: int) -> str:
    """The address of one door of a site: its site's, with the last number counted up from 11."""
    head, _, _ = site_address(world, ref).rpartition(".")
    return f"{head}.{11 + door}"


def world_address(world: World) -> str:
    """Where what belongs to no site listens on one machine: the director and the forwarder's outgoing side."""
    return f"127.{10 + 20 * world.slot}.0.1"


def link_address(world: World, src: SiteRef, dst: SiteRef) -> str:
    """Where, on one machine, the sites of `src`'s side dial `dst`, so that the link between the two can be cut.

    Same ports as at `dst`: routes of bus and border, mesh.  127.<world>.<128 + number of src>.<1 + number of dst>.
    """
    numbers = {ref.site.name: number for number, ref in enumerate(world.sites())}
    return f"127.{10 + 20 * world.slot}.{128 + numbers[src.site.name]}.{1 + numbers[dst.site.name]}"


def place_port(world: World, port: int) -> int:
    """The forwarder's port of a place; worlds in other slots are 100 apart."""
    return port + 100 * world.slot


def distance_km(a: tuple[float, float], b: tuple[float, float]) -> float:
    """Great-circle distance of two (latitude, longitude) in degrees."""
    (lat1, lon1), (lat2, lon2) = ((radians(x), radians(y)) for x, y in (a, b))
    cosine = sin(lat1) * sin(lat2) + cos(lat1) * cos(lat2) * cos(lon1 - lon2)
    return 6371.0 * acos(max(-1.0, min(1.0, cosine)))


def nearest_sites(world: World, region: str, origin: SiteRef) -> tuple[SiteRef, ...]:
    """The primary sites of `region`, nearest to `origin` first; ties in file order."""
    return tuple(sorted(world.primaries(region), key=lambda ref: distance_km(ref.site.at, origin.site.at)))


def plane_of(world: World, region: str | None = None) -> tuple[SiteRef, ...]:
    """The primary sites that share all planes with `region`: its own if it is sealed, else all unsealed regions'.

    Without a region those of the common planes, or of every region where all are sealed.
    """
    primaries = tuple(ref for ref in world.sites() if ref.site.kind == "primary")
    if region is not None and world.regions[region].sealed:
        return tuple(ref for ref in primaries if ref.region == region)
    return tuple(ref for ref in primaries if not world.regions[ref.region].sealed) or primaries


def problems(world: World) -> tuple[str, ...]:
    """Every semantic fault of a world, each as `place: what is wrong`."""
    return tuple(_problems(world))


def _problems(world: World) -> Iterator[str]:
    if not _NAME.fullmatch(world.name):
        yield f"name: {world.name!r} is not a short lower-case word"
    if not _DOMAIN.fullmatch(world.domain):
        yield f"domain: {world.domain!r} is not a lower-case domain name of two labels or more"
    if not 0 <= world.slot <= 11:
        yield f"slot: {world.slot} is not in 0..11"
    if not 1 <= len(world.regions) <= 20:
        yield f"regions: {len(world.regions)} given, 1 to 20 wanted"
    seen_sites: dict[str, str] = {}
    seen_addresses: dict[str, str] = {}
    for name, region in world.regions.items():
        place = f"regions.{name}"
        if not _NAME.fullmatch(name):
            yield f"{place}: a region's name is a lower-case word of at most 16 letters and digits"
        yield from _region_problems(world, name, region, seen_sites, seen_addresses)
    yield from _traffic_problems(world)
    seen_ports: dict[int, str] = {}
    for no, found in enumerate(world.places):
        place = f"places[{no}]"
        yield from _network_problems(f"{place}.network", found.network)
        if not 1024 <= found.port <= 60_000:
            yield f"{place}.port: {found.port} is not in 1024..60000"
        if found.port in seen_ports:
            yield f"{place}.port: {found.port} is taken by {seen_ports[found.port]}"
        seen_ports.setdefault(found.port, place)
    if not 250 <= world.director.probe_interval_ms <= 1000:
        yield f"director.probe_interval_ms: {world.director.probe_interval_ms} is not in 250..1000"
    if not 1 <= world.director.hold_max_s <= 3600:
        yield f"director.hold_max_s: {world.director.hold_max_s} is not in 1..3600"
    if not 0 <= world.audit.every_h <= 8760:
        yield f"audit.every_h: {world.audit.every_h} is not in 0..8760"
    yield from _backup_problems(world)
    if not 0 <= world.dns.workers <= 64:
        yield f"dns.workers: {world.dns.workers} is not in 0..64"
    if not 1 <= world.company.people_max <= 50:
        yield f"company.people_max: {world.company.people_max} is not in 1..50"
    yield from _files_problems(world)
    if len(world.operators) > OPERATORS_MAX:
        yield f"operators: {len(world.operators)} given, at most {OPERATORS_MAX} wanted"
    for no, login in enumerate(world.operators):
        if not 3 <= len(login) <= 254 or any(mark.isspace() for mark in login):
            yield f"operators[{no}]: {login!r} is not a login: 3 to 254 characters without spaces"


def _backup_problems(world: World) -> Iterator[str]:
    kept = world.backup
    for field, value, lowest, highest in (
        ("every_h", kept.every_h, 0.1, 168),
        ("keep_days", kept.keep_days, 1, 3660),
        ("keep_weeks", kept.keep_weeks, 0, 520),
        ("keys_keep_days", kept.keys_keep_days, 1, 365),
    ):
        if not lowest <= value <= highest:
            yield f"backup.{field}: {value} is not in {lowest}..{highest}"
    if kept.every_h > 0 and 24 * kept.keys_keep_days / kept.every_h > 4_000:
        yield "backup.keys_keep_days: more than 4000 archives of keys would stand; keep them shorter, or make fewer"
    if kept.every_h >= 24 * kept.keys_keep_days:
        yield "backup.keys_keep_days: the keys' archives would end before the next ones are made"


def _region_problems(
    world: World, name: str, region: Region, seen_sites: dict[str, str], seen_addresses: dict[str, str]
) -> Iterator[str]:
    place = f"regions.{name}"
    yield from _data_problems(place, region)
    if not any(site.kind == "primary" for site in region.sites):
        yield f"{place}.sites: a region needs at least one primary site"
    if len(region.sites) > 200:
        yield f"{place}.sites: {len(region.sites)} given, at most 200 wanted"
    for no, other in enumerate(region.resilient):
        if other not in world.regions:
            yield f"{place}.resilient[{no}]: there is no region {other!r}"
        elif other == name:
            yield f"{place}.resilient[{no}]: a region cannot be its own fallback"
        elif region.sealed or world.regions[other].sealed:
            yield f"{place}.resilient[{no}]: a sealed region never falls out or in"
    for no, site in enumerate(region.sites):
        spot = f"{place}.sites[{no}]"
        if not _NAME.fullmatch(site.name):
            yield f"{spot}.name: {site.name!r} is not a short lower-case word"
        if site.name in seen_sites:
            yield f"{spot}.name: {site.name!r} is taken by {seen_sites[site.name]}"
        seen_sites.setdefault(site.name, spot)
        latitude, longitude = site.at
        if not (-90 <= latitude <= 90 and -180 <= longitude <= 180):
            yield f"{spot}.at: {list(site.at)} is not a latitude in -90..90 and a longitude in -180..180"
        for field, value, highest in (("doors", site.doors, 8), ("gateways", site.gateways, 16)):
            if not 1 <= value <= highest:
                yield f"{spot}.{field}: {value} is not in 1..{highest}"
        if not 1 <= site.capacity <= 10_000_000:
            yield f"{spot}.capacity: {site.capacity} is not in 1..10000000"
        if site.address is not None:
            try:
                ip_address(site.address)
            except ValueError:
                yield f"{spot}.address: {site.address!r} is not an IP address"
            else:
                if site.address in seen_addresses:
                    yield f"{spot}.address: {site.address} is taken by {seen_addresses[site.address]}"
                seen_addresses.setdefault(site.address, spot)


def _data_problems(place: str, region: Region) -> Iterator[str]:
    """A cluster needs an odd vote: two primaries and a witness in a third place, or three primaries."""
    data = region.data
    primaries = sum(site.kind == "primary" for site in region.sites)
    witnesses = sum(site.kind == "witness" for site in region.sites)
    for field, engine in (("sql", data.sql), ("objects", data.objects)):
        if engine in ("galera", "seaweedfs") and not (primaries >= 2 and (primaries + witnesses) % 2):
            yield (
                f"{place}.data.{field}: {engine} wants two primary sites or more and, with the witness, an odd number"
                f" of sites; here are {primaries} and {witnesses}"
            )
    if data.objects == "seaweedfs" and data.sql != "galera":
        yield f'{place}.data.objects: seaweedfs keeps the names of objects in the cluster of sql = "galera"'
    if (data.documents == "mongodb") != (data.mongodb is not None):
        yield f'{place}.data.mongodb: a connection string goes with documents = "mongodb", and the other way round'
    if data.mongodb is not None and not data.mongodb.startswith(("mongodb://", "mongodb+srv://")):
        yield f"{place}.data.mongodb: not a connection string (mongodb://host:port/?replicaSet=name)"


def _files_problems(world: World) -> Iterator[str]:
    scan = world.files.scan
    if scan is not None:
        try:
            words = shlex.split(scan)
        except ValueError as error:
            yield f"files.scan: {scan!r} cannot be read as a command: {error}"
        else:
            if not words or not PurePosixPath(words[0]).is_absolute() or not scan.isprintable():
                yield f"files.scan: {scan!r} does not begin with the absolute path of a program"
    for no, kind in enumerate(world.files.deny):
        if not re.fullmatch(r"[a-z]+/[a-z0-9.+-]{1,100}", kind):
            yield f"files.deny[{no}]: {kind!r} is not a media type such as application/java-archive"


def _traffic_problems(world: World) -> Iterator[str]:
    rules = [("traffic.default", world.traffic.default)]
    rules += [(f"traffic.continents.{key}", region) for key, region in world.traffic.continents.items()]
    rules += [(f"traffic.countries.{key}", region) for key, region in world.traffic.countries.items()]
    rules += [(f'traffic.subnets."{key}"', region) for key, region in world.traffic.subnets.items()]
    rules += [(f'traffic.resolvers."{key}"', region) for key, region in world.traffic.resolvers.items()]
    for place, region in rules:
        if region not in world.regions:
            yield f"{place}: there is no region {region!r}"
    for key in world.traffic.continents:
        if key not in CONTINENTS:
            yield f"traffic.continents.{key}: a continent is one of {', '.join(sorted(CONTINENTS))}"
    for key in world.traffic.countries:
        if not re.fullmatch(r"[A-Z]{2}", key):
            yield f"traffic.countries.{key}: a country is two capital letters (ISO 3166-1)"
    for key in world.traffic.subnets:
        yield from _network_problems(f'traffic.subnets."{key}"', key)
    for key in world.traffic.resolvers:
        yield from _network_problems(f'traffic.resolvers."{key}"', key)
    database = world.geo.database
    if database is not None and not (PurePosixPath(database).is_absolute() and database.isprintable()):
        yield f"geo.database: {database!r} is not an absolute path"


def _network_problems(place: str, text: str) -> Iterator[str]:
    try:
        ip_network(text)
    except ValueError as error:
        yield f"{place}: {error}"
