"""DNS, bootstrap, doors and gateways act on one decision: when a director keeps clients from a site, they are moved."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import dns.edns
import dns.message
import dns.query
import pytest

from conftest_gateway import Scene, hello
from moonbow.gateway.doors import Doors
from moonbow.launch.control import ask
from moonbow.world import Ports, World, load_world, site_address
from support import eventually

pytestmark = pytest.mark.engines
AFRICA = "196.10.52.0"


def named(scene: Scene, director: str) -> set[str]:
    """The addresses that a site's director gives to clients in Africa."""
    option = dns.edns.ECSOption(AFRICA, 24)
    asked = dns.message.make_query(f"door.{scene.world.domain}", "A", use_edns=0, options=[option])
    host = site_address(scene.world, scene.world.site(director))
    found = dns.query.udp(asked, host, port=Ports.DNS, timeout=1).answer
    return {record.address for rrset in found for record in rrset if rrset.rdtype == dns.rdatatype.A}


def doors_of(scene: Scene, site: str) -> list[str]:
    """The sites of the doors in the bootstrap that a client gets at a site."""
    with scene.rest(site) as rest:
        return [door["site"] for door in rest.get("/v1/bootstrap").json()["doors"]]


def tell(scene: Scene, **request: Any) -> dict[str, Any]:
    return dict(ask(scene.state / "control.sock", request, 30.0))


def test_who_came_by_a_drained_door_is_asked_to_come_in_elsewhere(scene: Scene) -> None:
    token = scene.sign_in("paris", scene.person("emea"))["access_token"]

    async def story() -> None:
        by_edge, _ = await hello(scene, "capetown", token)
        by_home, _ = await hello(scene, "frankfurt", token)
        order = await asyncio.to_thread(
            tell, scene, op="order", kind="drain", target="capetown", why="new cables", for_s=60, wait=False
        )
        try:
            said = await by_edge.wait("migrate", reason="door")
            assert said["within_s"] > 0
            edge = scene.address("capetown")
            for site in ("paris", "frankfurt", "singapore", "tokyo"):
                await asyncio.to_thread(eventually, lambda site=site: edge not in named(scene, site))
            assert "capetown" not in await asyncio.to_thread(doors_of, scene, "paris")
            with scene.rest("capetown") as rest:
                await asyncio.to_thread(eventually, lambda: rest.get("/healthz").status_code == 503)
            assert not [frame for frame in by_home.frames if frame["t"] == "migrate"]
        finally:
            ident = order["order"]["id"]
            await asyncio.to_thread(tell, scene, op="undo", id=ident, wait=False)
            await by_edge.leave()
            await by_home.leave()
        await asyncio.to_thread(eventually, lambda: edge in named(scene, "tokyo"), 10)

    asyncio.run(story())


@pytest.fixture
def world(tmp_path: Path) -> World:
    path = tmp_path / "world.toml"
    path.write_text((Path(__file__).parents[2] / "worlds" / "laptop.toml").read_text())
    return load_world(path)


def test_a_gateway_follows_its_director_and_without_one_the_operator(world: World, tmp_path: Path) -> None:
    async def story() -> None:
        doors = Doors(world, world.site("paris"), {"emea": "Europe", "apac": "Asia"})
        try:
            assert doors.going(tmp_path) == frozenset()
            (tmp_path / "overrides.json").write_text('{"drain": ["tokyo"], "down": ["capetown"], "orders": []}')
            assert doors.going(tmp_path) == {"tokyo", "capetown"}
            folder = tmp_path / "sites" / "paris" / "director"
            folder.mkdir(parents=True)
            (folder / "verdicts.json").write_text('{"drain": ["singapore"], "down": [], "number": 3, "sites": {}}')
            assert doors.going(tmp_path) == {"singapore"}
            os.utime(folder / "verdicts.json", (1e9, 1e9))
            assert doors.going(tmp_path) == {"singapore"}, "a director has a moment to follow"
            os.utime(tmp_path / "overrides.json", (1e9 + 1, 1e9 + 1))
            assert doors.going(tmp_path) == {"tokyo", "capetown"}, "a director that is gone keeps nobody away for ever"
            os.utime(folder / "verdicts.json")
            assert doors.going(tmp_path) == {"singapore"}
            (folder / "verdicts.json").write_text("torn")
            assert doors.going(tmp_path) == {"tokyo", "capetown"}
        finally:
            await doors.close()

    asyncio.run(story())


def test_bootstrap_asks_its_own_director_first_then_sisters_then_nobody(world: World) -> None:
    async def story() -> None:
        doors = Doors(world, world.site("frankfurt"), {"emea": "Europe", "apac": "Asia"})
        try:
            hosts = [site_address(world, world.site(name)) for name in ("frankfurt", "paris", "tokyo", "singapore")]
            assert [origin.split("/")[2].split(":")[0] for origin in doors.directors] == hosts
        finally:
            await doors.close()

    asyncio.run(story())
