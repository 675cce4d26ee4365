"""The way across a border on real servers: once to each, and standing while one of a region's sites goes and comes."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from bus_servers import Servers, make_world, running
from moonbow.base.errors import Unavailable
from moonbow.bus import Bus
from support import eventually, eventually_async

pytestmark = pytest.mark.engines
TEXT = """
name = "bustest"
domain = "moonbow.localhost"
slot = 2
[regions.emea]
title = "Europe"
sites = [{ name = "paris", city = "Paris", at = [48.9, 2.4] }, { name = "frankfurt", city = "F", at = [50.1, 8.7] }]
[regions.apac]
title = "Asia"
sites = [{ name = "singapore", city = "Singapore", at = [1.35, 103.8] }, { name = "tokyo", city = "T", at = [35.7, 139.7] }]
[regions.cn]
title = "China"
sealed = true
sites = [{ name = "shanghai", city = "Shanghai", at = [31.2, 121.5] }, { name = "beijing", city = "B", at = [39.9, 116.4] }]
[traffic]
default = "emea"
"""
SITES = ("paris", "frankfurt", "singapore", "tokyo")
SEALED = ("shanghai", "beijing")


@pytest.fixture
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with running(make_world(TEXT), tmp_path_factory.mktemp("state"), *SITES, *SEALED) as (found, _):
        yield found


def play(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, 45))


@asynccontextmanager
async def buses(servers: Servers, *sites: str) -> AsyncIterator[list[Bus]]:
    found = [
        await Bus.connect(servers.world, servers.state, servers.world.site(site), f"test-{site}") for site in sites
    ]
    try:
        yield found
    finally:
        for bus in found:
            await bus.close()


def serve_as(site: str) -> Any:
    async def serve(caller: str, op: str, payload: bytes) -> bytes:
        return f"{site} {caller} {op} ".encode() + payload

    return serve


async def answers(bus: Bus, region: str) -> bool:
    try:
        return bool(await bus.request(region, "test.warm", b""))
    except Unavailable:
        return False


def test_everybody_hears_once_and_of_a_group_one(servers: Servers) -> None:
    async def scenario() -> None:
        async with buses(servers, *SITES, *SEALED) as found:
            by_site = dict(zip((*SITES, *SEALED), found, strict=True))
            plain: Counter[tuple[str, bytes]] = Counter()
            group: Counter[bytes] = Counter()
            for site in ("singapore", "tokyo"):
                bus = by_site[site]

                def note(_subject: str, payload: bytes, site: str = site) -> None:
                    plain[site, payload] += 1

                await bus.listen("private.*.to.apac.plain", note)
                await bus.listen("shared.*.plain", note)
                await bus.listen("private.*.to.apac.live", lambda _, payload: group.update([payload]), "live")
                await bus.serve(serve_as(site))
            sealed: list[bytes] = []
            await by_site["shanghai"].serve(serve_as("shanghai"))
            for site in SEALED:
                await by_site[site].listen("shared.*.plain", lambda _, payload: sealed.append(payload))
            for site in ("paris", "frankfurt"):
                assert await by_site[site].request("apac", "test", b"first")  # the very first
            for number in range(200):
                for site in ("paris", "frankfurt"):
                    name = f"{site} {number}".encode()
                    await by_site[site].publish("private.emea.to.apac.plain", name)
                    await by_site[site].publish("private.emea.to.apac.live", name)
                    await by_site[site].publish("shared.emea.plain", b"shared " + name)
            said = {(await by_site["paris"].request("apac", "test", b"x"))[-11:] for _ in range(50)}
            assert said == {b"emea test x"}
            await eventually_async(lambda: len(group) == 400 and len(plain) == 2 * 800)
            assert set(group.values()) == set(plain.values()) == {1}
            await by_site["beijing"].publish("shared.cn.plain", b"sealed")
            assert await by_site["beijing"].request("cn", "test", b"y") == b"shanghai cn test y"
            await eventually_async(lambda: len(sealed) >= 2)
            assert sealed == [b"sealed"] * 2
            assert not any(payload == b"sealed" for _, payload in plain)

    play(scenario())


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_the_way_into_a_region_stands_while_one_of_its_sites_goes_and_comes(servers: Servers, how: str) -> None:
    """The processes of the site go first when it is stopped; all at once when it is killed."""

    async def scenario() -> None:
        async with buses(servers, "paris", "frankfurt", "tokyo") as (paris, frankfurt, tokyo):
            async with buses(servers, "singapore") as (singapore,):
                heard: Counter[bytes] = Counter()
                for bus, site in ((singapore, "singapore"), (tokyo, "tokyo")):
                    await bus.listen("private.*.to.apac.live", lambda _, payload: heard.update([payload]), "live")
                    await bus.serve(serve_as(site))
                for bus in (paris, frankfurt):
                    assert await answers(bus, "apac")
                number = signal.SIGTERM if how == "stopped" else signal.SIGKILL
                if how == "killed":
                    await asyncio.to_thread(servers.end, "singapore", number)
            await asyncio.to_thread(servers.end, "singapore", number)
            eventually(lambda: servers.routed("paris", "border") == {"frankfurt", "tokyo"})
            for count in range(100):
                for bus in (paris, frankfurt):
                    assert (await bus.request("apac", "test", b"x")).startswith(b"tokyo")
                    await bus.publish("private.emea.to.apac.live", f"{count} {id(bus)}".encode())
            await eventually_async(lambda: len(heard) == 200)
            assert set(heard.values()) == {1}

            await asyncio.to_thread(servers.start, "singapore")
            await eventually_async(lambda: asyncio.to_thread(servers.joined, *SITES))
            async with buses(servers, "singapore") as (singapore,):
                await paris.serve(serve_as("paris"))
                await singapore.serve(serve_as("singapore"))
                for _ in range(50):
                    for bus in (paris, frankfurt):
                        assert await bus.request("apac", "test", b"x")
                    assert await singapore.request("emea", "test", b"x") == b"paris apac test x"

    play(scenario())


def test_a_border_that_swallows_everything_is_left_for_its_sister(servers: Servers) -> None:
    async def scenario() -> None:
        async with buses(servers, "paris", "singapore", "tokyo") as (paris, singapore, tokyo):
            await singapore.serve(serve_as("singapore"))
            await tokyo.serve(serve_as("tokyo"))
            assert await answers(paris, "apac")
            servers.stop_signal("singapore", signal.SIGSTOP, "border")
            await eventually_async(
                lambda: asyncio.to_thread(lambda: servers.routed("paris", "border") == {"frankfurt", "tokyo"}),
                within_s=8,
            )
            await eventually_async(lambda: answers(paris, "apac"))
            servers.stop_signal("singapore", signal.SIGCONT, "border")

    play(scenario())


def test_who_withdraws_answers_what_came_and_leaves_the_rest_to_sisters(servers: Servers) -> None:
    async def scenario() -> None:
        async with buses(servers, "paris", "singapore", "tokyo") as (paris, singapore, tokyo):
            free = asyncio.Event()

            async def slow(_caller: str, _op: str, _payload: bytes) -> bytes:
                await free.wait()
                return b"singapore"

            await singapore.serve(slow)
            asked = asyncio.create_task(paris.request("apac", "test", b"x"))
            await eventually_async(lambda: singapore._serving)
            await tokyo.serve(serve_as("tokyo"))
            leaving = asyncio.create_task(singapore.withdraw())
            await eventually_async(lambda: not singapore._x._listening[-1][2])
            asyncio.get_running_loop().call_later(0.2, free.set)
            assert await asked == b"singapore"
            await leaving
            for _ in range(50):
                assert (await paris.request("apac", "test", b"x")).startswith(b"tokyo")

    play(scenario())
