"""Posts go to the site that commits to their room, over a real bus, and are committed here when it does not answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from bus_servers import Links, Servers, make_world, running
from moonbow.base.errors import Refused
from moonbow.bus.client import Bus
from moonbow.gateway.homes import Homes
from moonbow.timeline import transactions
from moonbow.timeline.homes import ANSWER_S, SILENT_S, decide_way, home_site
from support import eventually_async
from timeline_stores import HOME, SqliteAdapter, dense, make_room, new_post, person, room, rows, say

SITES = ("paris", "frankfurt", "madrid")
ADA, EVE = person(1), person(2)

names = st.lists(st.text("abcdefgh", min_size=1, max_size=8), min_size=1, max_size=6, unique=True)


@given(names, st.integers(0, 10_000), st.data())
def test_a_site_that_goes_moves_only_its_own_rooms(sites: list[str], number: int, data: st.DataObject) -> None:
    at = home_site(room(number), sites)
    assert home_site(room(number), sites[::-1]) == at, "whoever asks"
    gone = data.draw(st.sampled_from(sites))
    left = [site for site in sites if site != gone]
    if left and gone != at:
        assert home_site(room(number), left) == at


def test_rooms_are_spread_evenly() -> None:
    homes = [home_site(room(n), SITES) for n in range(3_000)]
    assert all(900 < homes.count(site) < 1_100 for site in SITES)


def test_why_a_post_goes_where() -> None:
    there = home_site(room(1), SITES)
    here = next(site for site in SITES if site != there)
    assert decide_way(room(1), HOME, here, SITES, {}, 10.0).site == there
    assert decide_way(room(1), HOME, there, SITES, {}, 10.0).site is None
    assert decide_way(room(1), HOME, here, SITES, {there: 10.1}, 10.0).site is None
    assert decide_way(room(1), HOME, here, SITES, {there: 9.9}, 10.0).site == there
    assert decide_way(room(1, "apac"), HOME, here, SITES, {}, 10.0).site is None


@pytest.fixture(scope="module")
def bus_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Servers, Links]]:
    with running(make_world(), tmp_path_factory.mktemp("homes"), "paris", "frankfurt") as started:
        yield started


class Side:
    """A gateway's way to the store at one site."""

    def __init__(self, site: str, bus: Bus, folder: Path) -> None:
        self.bus, self.store = bus, SqliteAdapter(folder).open()
        self.now = 0.0
        self.homes = Homes(self.store, bus, f"gwy_{site}", site, ("paris", "frankfurt"), lambda: self.now)
        self.running = asyncio.create_task(self.homes.run())

    async def stop(self) -> None:
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)


@asynccontextmanager
async def both(servers: Servers, folder: Path) -> AsyncIterator[tuple[Side, Side, str]]:
    """A gateway at each of two sites on one store, and a room whose home is the second one's."""
    buses = [
        await Bus.connect(servers.world, servers.state, servers.world.site(site), site)
        for site in ("paris", "frankfurt")
    ]
    near, far = (Side(site, bus, folder) for site, bus in zip(("paris", "frankfurt"), buses, strict=True))
    ident = next(room(n) for n in range(100) if home_site(room(n), ("paris", "frankfurt")) == "frankfurt")
    await make_room(near.store, ident, ADA)
    try:
        await eventually_async(lambda: _answers(near, ident), within_s=10)
        yield near, far, ident
    finally:
        await near.stop()
        await far.stop()
        near.homes.close()
        far.homes.close()
        for bus in buses:
            await bus.close()


async def _answers(near: Side, ident: str) -> bool:
    """Whether the other site takes what it is handed: the bus needs a moment to know who listens."""
    near.now += SILENT_S + 1
    before = _handed("answered")
    await say(near.homes, ADA, ident, near.now)
    return _handed("answered") > before


def _handed(outcome: str) -> float:
    return REGISTRY.get_sample_value("moonbow_gateway_handed_total", {"outcome": outcome}) or 0.0


def test_a_rooms_site_commits_for_the_others(bus_servers: tuple[Servers, Links], tmp_path: Path) -> None:
    async def go() -> None:
        async with both(bus_servers[0], tmp_path) as (near, far, ident):
            here, there = near.store.operations, far.store.operations
            answers = await asyncio.gather(*(say(near.homes, ADA, ident, f"a{n}") for n in range(200)))
            first = answers[0].seq or 0
            assert [answer.seq for answer in answers] == list(range(first, first + 200)), "in the order they were asked"
            assert near.store.operations == here
            assert far.store.operations == there + 200
            assert far.store.commits < there + 100, "in batches"
            again = await say(near.homes, ADA, ident, "a7")
            assert again == answers[7]
            assert (await say(near.homes, EVE, ident, "stranger")).code == "not_member"
            with pytest.raises(Refused, match="client_id_reused"):
                await say(near.homes, ADA, ident, "a7", "something else")
            own = await say(far.homes, ADA, ident, "own")
            assert own.state == "placed"
            await near.homes.write(transactions.redact, ADA, ident, own.entry or "")
            assert near.store.operations == here + 1, "what is no post is committed here"
            assert dense(await rows(near.store, ident))

    asyncio.run(go())


def test_a_site_that_does_not_answer_is_not_waited_for(bus_servers: tuple[Servers, Links], tmp_path: Path) -> None:
    async def go() -> None:
        async with both(bus_servers[0], tmp_path) as (near, far, ident):
            await far.stop()
            await far.bus.close()
            loop = asyncio.get_running_loop()
            began, here = loop.time(), near.store.operations
            answers = await asyncio.gather(*(say(near.homes, ADA, ident, f"b{n}") for n in range(50)))
            took = loop.time() - began
            assert {answer.state for answer in answers} == {"placed"}
            assert ANSWER_S * 0.9 < took < ANSWER_S + 2
            assert near.store.operations == here + 50
            began, silent = loop.time(), _handed("silent")
            await say(near.homes, ADA, ident, "at once")
            assert loop.time() - began < ANSWER_S * 0.9
            assert _handed("silent") == silent, "it was not asked"
            near.now += SILENT_S + 1
            assert (await say(near.homes, ADA, ident, "asked again")).state == "placed"
            assert _handed("silent") == silent + 1

    asyncio.run(go())


def test_an_answer_that_comes_too_late_places_nothing_twice(bus_servers: tuple[Servers, Links], tmp_path: Path) -> None:
    async def go() -> None:
        async with both(bus_servers[0], tmp_path) as (near, far, ident):
            before = len(await rows(near.store, ident))
            slow = asyncio.ensure_future(far.store.write(lambda tx: time.sleep(ANSWER_S * 2)))
            await asyncio.sleep(0.05)
            answer = await say(near.homes, ADA, ident, "late")
            await slow
            posted = new_post(ADA, ident, "late")
            assert await far.store.write(transactions.post, posted) == answer
            assert len(await rows(near.store, ident)) == before + 1

    asyncio.run(go())


def test_what_waits_at_the_end_is_committed_here(bus_servers: tuple[Servers, Links], tmp_path: Path) -> None:
    async def go() -> None:
        async with both(bus_servers[0], tmp_path) as (near, far, ident):
            await far.stop()
            await far.bus.close()
            waiting = [asyncio.ensure_future(say(near.homes, ADA, ident, f"c{n}")) for n in range(600)]
            await asyncio.sleep(0.05)
            await near.stop()
            assert {answer.state for answer in await asyncio.gather(*waiting)} == {"placed"}
            assert dense(await rows(near.store, ident))

    asyncio.run(go())
