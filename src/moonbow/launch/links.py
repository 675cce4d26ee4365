"""Which addresses join two sites on one machine, and what an operator's `cut A B` means.

Laws: a link exists only where the world lets two sites talk (a sealed region only with itself, an edge only as the one
who dials); every pair of directions is cut together; nothing here knows sockets.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from moonbow.base.errors import ConfigError
from moonbow.world import Place, Ports, SiteRef, World, door_address, link_address, place_port, site_address

Condition = Literal["open", "cut", "black_hole"]
Address = tuple[str, int]  # host, port


@dataclass(frozen=True)
class Link:
    """One listening address: `source`'s side of the way to `dest`, relayed to the first of `targets` that accepts."""

    source: str
    dest: str
    listen: Address
    targets: tuple[Address, ...]
    bind: str  # the address the relayed connection comes from


def place_address(world: World, place: Place) -> Address:
    """Where clients of a place on earth come in on this machine."""
    return "127.0.0.1", place_port(world, place.port)


def plan_links(world: World) -> tuple[Link, ...]:
    """Every link of the world, in file order."""
    return tuple(link for source in world.sites() for dest in world.sites() for link in _between(world, source, dest))


def _between(world: World, source: SiteRef, dest: SiteRef) -> Iterable[Link]:
    same_region = source.region == dest.region
    sealed = world.regions[source.region].sealed or world.regions[dest.region].sealed
    if source.site.name == dest.site.name or dest.site.kind != "primary" or source.site.kind == "witness":
        return
    if sealed and not same_region:
        return
    home, listen = site_address(world, dest), link_address(world, source, dest)
    doors = tuple((door_address(world, dest, number), Ports.MESH) for number in range(dest.site.doors))
    ways = [(Ports.MESH, doors)]
    if source.site.kind == "primary":
        buses = (Ports.BUS_ROUTES, Ports.BORDER_ROUTES) if same_region else (Ports.BORDER_ROUTES,)
        ways += ((port, ((home, port),)) for port in (*buses, Ports.VIEWS))
    for port, targets in ways:
        yield Link(source.site.name, dest.site.name, (listen, port), targets, bind=site_address(world, source))


def sites_called(world: World, name: str) -> frozenset[str]:
    """The sites that `name`, a site or a region, stands for; `ConfigError` naming what exists otherwise."""
    if name in world.regions:
        return frozenset(site.name for site in world.regions[name].sites)
    known = [ref.site.name for ref in world.sites()]
    if name in known:
        return frozenset({name})
    raise ConfigError(
        f"there is no site or region {name!r}; regions: {', '.join(world.regions)}; sites: {', '.join(known)}"
    )


def pairs_between(world: World, a: str, b: str) -> frozenset[frozenset[str]]:
    """The unordered pairs of sites between `a` and `b`, each a site or a region; `ConfigError` if there is none."""
    ones, others = sites_called(world, a), sites_called(world, b)
    pairs = frozenset(frozenset({one, other}) for one in ones for other in others if one != other)
    if not pairs:
        raise ConfigError(f"there is nothing to cut between {a!r} and {b!r}: they are the same place")
    return pairs
