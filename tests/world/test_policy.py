"""What follows from a world: its faults one by one, addresses that never meet, distances."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moonbow.world import (
    Region,
    Site,
    World,
    distance_km,
    door_address,
    link_address,
    load_world,
    nearest_sites,
    place_port,
    problems,
    site_address,
    world_address,
)

LAPTOP = load_world(Path("worlds/laptop.toml"))
PLANET = load_world(Path("worlds/planet.toml"))
ENGINES = load_world(Path("worlds/laptop-engines.toml"))


@dataclass(frozen=True)
class Fault:
    """One change to a sound world, and the place at which it must be found."""

    place: str
    change: Callable[[dict[str, Any]], object]


def _site(world: dict[str, Any], **fields: object) -> None:
    world["regions"]["emea"]["sites"][0].update(fields)


FAULTS = [
    Fault("backup.every_h", lambda world: world.update(backup={"every_h": 0})),
    Fault("backup.keys_keep_days", lambda world: world.update(backup={"keys_keep_days": 0})),
    Fault("backup.keys_keep_days", lambda world: world.update(backup={"keys_keep_days": 365, "every_h": 1})),
    Fault("backup.keys_keep_days", lambda world: world.update(backup={"keys_keep_days": 1, "every_h": 24})),
    Fault("name", lambda world: world.update(name="Big World")),
    Fault("domain", lambda world: world.update(domain="localhost")),
    Fault("slot", lambda world: world.update(slot=12)),
    Fault("regions.Bad", lambda world: world["regions"].update(Bad=world["regions"].pop("apac"))),
    Fault("regions.emea.sites", lambda world: [site.update(kind="edge") for site in world["regions"]["emea"]["sites"]]),
    Fault("regions.emea.resilient[0]", lambda world: world["regions"]["emea"].update(resilient=["mars"])),
    Fault("regions.emea.resilient[0]", lambda world: world["regions"]["emea"].update(resilient=["emea"])),
    Fault("regions.emea.resilient[0]", lambda world: world["regions"]["apac"].update(sealed=True, resilient=[])),
    Fault("regions.emea.sites[0].name", lambda world: _site(world, name="Paris!")),
    Fault("regions.emea.sites[1].name", lambda world: _site(world, name="frankfurt")),
    Fault("regions.emea.sites[0].at", lambda world: _site(world, at=[91, 0])),
    Fault("regions.emea.sites[0].doors", lambda world: _site(world, doors=0)),
    Fault("regions.emea.sites[0].gateways", lambda world: _site(world, gateways=17)),
    Fault("regions.emea.sites[0].capacity", lambda world: _site(world, capacity=0)),
    Fault("regions.emea.sites[0].address", lambda world: _site(world, address="here")),
    Fault("regions.emea.data.sql", lambda world: world["regions"]["emea"]["data"].update(sql="galera")),
    Fault("regions.emea.data.objects", lambda world: world["regions"]["emea"]["data"].update(objects="seaweedfs")),
    Fault("regions.emea.data.mongodb", lambda world: world["regions"]["emea"]["data"].update(documents="mongodb")),
    Fault(
        "regions.emea.data.mongodb",
        lambda world: world["regions"]["emea"]["data"].update(documents="mongodb", mongodb="http://mongo"),
    ),
    Fault("traffic.default", lambda world: world["traffic"].update(default="mars")),
    Fault("traffic.continents.XX", lambda world: world["traffic"].update(continents={"XX": "emea"})),
    Fault("traffic.continents.AS", lambda world: world["traffic"].update(continents={"AS": "mars"})),
    Fault("traffic.countries.Germany", lambda world: world["traffic"].update(countries={"Germany": "emea"})),
    Fault('traffic.resolvers."8.8.8.8/8"', lambda world: world["traffic"].update(resolvers={"8.8.8.8/8": "emea"})),
    Fault('traffic.resolvers."8.8.8.8"', lambda world: world["traffic"].update(resolvers={"8.8.8.8": "mars"})),
    Fault("geo.database", lambda world: world.update(geo={"database": "GeoLite2-Country.mmdb"})),
    Fault('traffic.subnets."300.0.0.0/8"', lambda world: world["traffic"].update(subnets={"300.0.0.0/8": "emea"})),
    Fault("places[0].network", lambda world: world["places"][0].update(network="192.0.2.1/24")),
    Fault("places[0].port", lambda world: world["places"][0].update(port=80)),
    Fault("places[1].port", lambda world: world["places"][1].update(port=8443)),
    Fault("files.scan", lambda world: world.update(files={"scan": "clamdscan -"})),
    Fault("files.scan", lambda world: world.update(files={"scan": '/usr/bin/clamdscan "'})),
    Fault("files.scan", lambda world: world.update(files={"scan": ""})),
    Fault("files.deny[1]", lambda world: world.update(files={"deny": ["text/html", "exe"]})),
    Fault("operators[1]", lambda world: world.update(operators=["ada@lunar.example", "an operator"])),
    Fault("operators", lambda world: world.update(operators=[f"person{no}" for no in range(101)])),
    Fault("company.people_max", lambda world: world["company"].update(people_max=0)),
    Fault("director.probe_interval_ms", lambda world: world.update(director={"probe_interval_ms": 100})),
    Fault("director.hold_max_s", lambda world: world.update(director={"hold_max_s": 0.5})),
    Fault("audit.every_h", lambda world: world.update(audit={"every_h": 9000})),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.place)
def test_one_fault_is_found_at_its_place(fault: Fault) -> None:
    fields = msgspec.to_builtins(LAPTOP)
    fault.change(fields)
    places = {problem.partition(": ")[0] for problem in problems(msgspec.convert(fields, World))}
    assert fault.place in places


def test_seaweedfs_keeps_names_in_galera() -> None:
    fields = msgspec.to_builtins(ENGINES)
    fields["regions"]["emea"]["data"]["sql"] = "sqlite"
    (problem,) = problems(msgspec.convert(fields, World))
    assert problem.startswith("regions.emea.data.objects: ")


def _big(slot: int) -> World:
    """As many regions and sites as one machine takes."""
    regions = {
        f"r{region}": Region(
            title="", sites=tuple(Site(name=f"s{region}x{number}", city="", at=(0, 0), doors=8) for number in range(6))
        )
        for region in range(20)
    }
    return World(name="big", domain="a.b", regions=regions, traffic=LAPTOP.traffic, slot=slot)


@pytest.mark.parametrize("world", [LAPTOP, PLANET, _big(0), _big(11)], ids=lambda world: f"{world.name}{world.slot}")
def test_no_two_things_share_an_address(world: World) -> None:
    sites = world.sites()
    addresses = [
        world_address(world),
        *(site_address(world, ref) for ref in sites),
        *(door_address(world, ref, number) for ref in sites for number in range(ref.site.doors)),
        *(link_address(world, a, b) for a in sites for b in sites if a is not b),
    ]
    assert len(set(addresses)) == len(addresses)
    assert all(0 <= int(part) <= 255 for part in chain.from_iterable(address.split(".") for address in addresses))


def test_worlds_in_other_slots_never_meet() -> None:
    def taken(slot: int) -> set[object]:
        world = msgspec.structs.replace(PLANET, slot=slot)
        sites = world.sites()
        links = {link_address(world, a, b) for a in sites for b in sites}
        ports = {place_port(world, place.port) for place in world.places}
        return {world_address(world), *(site_address(world, ref) for ref in sites), *links, *ports}

    sets = [taken(slot) for slot in range(12)]
    assert sum(map(len, sets)) == len(set().union(*sets))


def test_real_hosts_keep_their_own_address() -> None:
    fields = msgspec.to_builtins(LAPTOP)
    fields["regions"]["emea"]["sites"][0]["address"] = "192.0.2.9"
    world = msgspec.convert(fields, World)
    assert site_address(world, world.site("paris")) == "192.0.2.9"
    assert door_address(world, world.site("paris"), 1) == "192.0.2.12"


points = st.tuples(st.floats(-90, 90), st.floats(-180, 180))


@given(points, points)
def test_distance_is_symmetric_and_at_most_half_around(a: tuple[float, float], b: tuple[float, float]) -> None:
    assert 0 <= distance_km(a, b) <= 20_016
    assert distance_km(a, b) == pytest.approx(distance_km(b, a))


def test_known_distances() -> None:
    assert distance_km((48.9, 2.4), (1.35, 103.8)) == pytest.approx(10_730, rel=0.01)  # Paris to Singapore


def test_nearest_sites_are_primary_and_in_order() -> None:
    capetown = LAPTOP.site("capetown")
    assert [ref.site.name for ref in nearest_sites(LAPTOP, "emea", capetown)] == ["paris", "frankfurt"]
    assert [ref.site.name for ref in nearest_sites(LAPTOP, "apac", capetown)] == ["singapore", "tokyo"]
