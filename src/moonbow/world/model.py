"""Frozen values of a world file, and their parsing.  Semantic faults are found by `policy.problems`."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from moonbow.base.errors import ConfigError

Policy = Literal["round_robin", "weighted", "sticky", "sticky+weighted"]


class Struct(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of the file's values: immutable, and a field that nobody knows is a fault."""


class Site(Struct, frozen=True):
    """A data-center.  `at` is (latitude, longitude) in degrees; `capacity` is connected clients.

    kind: `primary` serves a region; `edge` has doors and no data; `witness` only votes.
    `doors` and `gateways` are counts of processes.  `address` is the site's own address on real hosts;
    on one machine it follows from the site's place in the file.
    """

    name: str
    city: str
    at: tuple[float, float]
    kind: Literal["primary", "edge", "witness"] = "primary"
    doors: int = 1
    gateways: int = 1
    capacity: int = 10_000
    address: str | None = None


class RegionData(Struct, frozen=True, omit_defaults=True):
    """Which engine keeps what in a region.

    `sql`: directory, keys and files' records; `documents`: the timeline, in that SQL or in MongoDB at `mongodb`
    (a connection string); `objects`: what files hold.  `encrypted`: whether what people wrote is sealed at rest.
    """

    sql: Literal["sqlite", "galera"] = "sqlite"
    documents: Literal["sql", "mongodb"] = "sql"
    objects: Literal["directory", "seaweedfs"] = "directory"
    mongodb: str | None = None
    encrypted: bool = True


class Region(Struct, frozen=True):
    """Where data belongs.  `resilient` is the declared order of regions for traffic, never for data."""

    title: str
    sites: tuple[Site, ...]
    resilient: tuple[str, ...] = ()
    sealed: bool = False
    data: RegionData = RegionData()


class Traffic(Struct, frozen=True):
    """Which region a network belongs to for traffic; the most specific wins: subnet, country, continent, default.

    `resolvers` are networks of DNS resolvers: where one asks without telling its client's network, its rule beats all.
    """

    default: str
    continents: dict[str, str] = {}
    countries: dict[str, str] = {}
    subnets: dict[str, str] = {}
    resolvers: dict[str, str] = {}


class Geo(Struct, frozen=True, omit_defaults=True):
    """Where addresses are.  `database` is the absolute path of an operator's own country database (`.mmdb`)."""

    database: str | None = None


class Dns(Struct, frozen=True, omit_defaults=True):
    """Who answers DNS at a primary site: its director itself, or a Knot DNS that its director drives.

    `workers`: embedded, that many processes answer instead of the director's own, one for each core to use; 0: none.
    """

    engine: Literal["embedded", "knot"] = "embedded"
    workers: int = 0


class Balancing(Struct, frozen=True):
    """How a door spreads work over its gateways, per service."""

    rest: Policy = "round_robin"
    stream: Policy = "weighted"


class Place(Struct, frozen=True):
    """A place on earth that the local forwarder plays: clients of `network`, entering at `port` of this machine."""

    name: str
    network: str
    port: int


class Company(Struct, frozen=True):
    """The company that a first start makes, so that there is somebody to talk to."""

    name: str = "Lunar Rainbows"
    people_max: int = 6


class Director(Struct, frozen=True):
    """How the doors of sites are watched: each observer asks each door every `probe_interval_ms` (250 to 1000).

    What goes down again and again stays down longer each time, up to `hold_max_s` (1 to 3600).
    """

    probe_interval_ms: int = 500
    hold_max_s: float = 64.0


class Files(Struct, frozen=True, omit_defaults=True):
    """What is allowed in files.

    `scan` is a command that looks for viruses: an absolute path and its arguments; it gets a file on its standard input
    and ends with 0 (clean) or 1 (infected); anything else is no answer, and the file waits.  `deny` are media types,
    as the content says, that are refused.
    """

    scan: str | None = None
    deny: tuple[str, ...] = ()


class Audit(Struct, frozen=True, omit_defaults=True):
    """How often the residency of all data is audited, in hours (1 to 8760); 0: only when somebody asks."""

    every_h: int = 0


class Backup(Struct, frozen=True, omit_defaults=True):
    """How often each region is copied to another of its sites, and for how long copies are kept.

    `keep_days`: the last backup of each of the last so many days with one; `keep_weeks`: the same by weeks.
    `keys_keep_days`: the keys' archives end after so long, whatever happens: then nothing brings back the erased.
    """

    every_h: float = 24.0
    keep_days: int = 14
    keep_weeks: int = 8
    keys_keep_days: int = 30


class World(Struct, frozen=True):
    """One world.  `domain` is the name all doors answer to; `slot` keeps worlds on one machine apart (0..11).

    `operators` are the logins of those who may look into, and steer, where the world's traffic goes.
    """

    name: str
    domain: str
    regions: dict[str, Region]
    traffic: Traffic
    geo: Geo = Geo()
    dns: Dns = Dns()
    balancing: Balancing = Balancing()
    places: tuple[Place, ...] = ()
    company: Company = Company()
    director: Director = Director()
    files: Files = Files()
    audit: Audit = Audit()
    backup: Backup = Backup()
    operators: tuple[str, ...] = ()
    slot: int = 0

    def sites(self) -> tuple[SiteRef, ...]:
        """Every site with its region and its numbers, in file order."""
        return tuple(
            SiteRef(region, site, region_no, site_no)
            for region_no, (region, found) in enumerate(self.regions.items())
            for site_no, site in enumerate(found.sites)
        )

    def site(self, name: str) -> SiteRef:
        """The site called `name`; `ConfigError` naming the known ones otherwise."""
        for ref in self.sites():
            if ref.site.name == name:
                return ref
        known = ", ".join(ref.site.name for ref in self.sites())
        raise ConfigError(f"there is no site {name!r}; the world has {known}")

    def sites_called(self, name: str) -> tuple[SiteRef, ...]:
        """The one site called `name`, or all sites of the region called so; `ConfigError` naming the known ones."""
        if name in self.regions and not any(ref.site.name == name for ref in self.sites()):
            return tuple(ref for ref in self.sites() if ref.region == name)
        if not any(ref.site.name == name for ref in self.sites()):
            known = ", ".join([*self.regions, *(ref.site.name for ref in self.sites())])
            raise ConfigError(f"there is no site or region {name!r}; the world has {known}")
        return (self.site(name),)

    def primaries(self, region: str) -> tuple[SiteRef, ...]:
        """The primary sites of a region, in file order."""
        return tuple(ref for ref in self.sites() if ref.region == region and ref.site.kind == "primary")


class SiteRef(NamedTuple):
    """A site, the region it belongs to, and both their positions in the file."""

    region: str
    site: Site
    region_no: int
    site_no: int


def parse_world(text: str, source: str = "world file") -> World:
    """The world written in TOML `text`; `ConfigError` with the place of the first structural fault."""
    try:
        return msgspec.convert(tomllib.loads(text), World)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ConfigError(f"{source}: {error}") from error


def load_world(path: Path) -> World:
    """The world in the file at `path`, structurally and semantically sound, or `ConfigError` with every fault."""
    from .policy import problems

    try:
        text = path.read_text()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    world = parse_world(text, str(path))
    if found := problems(world):
        raise ConfigError(*(f"{path}: {problem}" for problem in found))
    return world
