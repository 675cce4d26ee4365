"""Presence over real buses: gateways of one region, and two regions."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine, Iterator
from typing import Any

import msgspec
import pytest

from bus_servers import Links, Servers, make_world, running
from moonbow.base.errors import Refused, Unavailable
from moonbow.base.ids import new_id
from moonbow.bus import Bus
from moonbow.presence import Presence
from moonbow.wire.presence import AskStates
from moonbow.wire.values import Presence as Seen
from support import eventually_async

pytestmark = pytest.mark.engines
SITES = ("paris", "frankfurt", "singapore")
ANN, BOB = new_id("usr", "emea"), new_id("usr", "emea")
LI = new_id("usr", "apac")


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Servers, Links]]:
    with running(make_world(), tmp_path_factory.mktemp("state"), *SITES) as found:
        yield found


class Gateway:
    """Bus and presence of one gateway, and what it was told."""

    def __init__(self, servers: Servers, site: str) -> None:
        self.servers, self.site = servers, site
        self.told: list[Seen] = []

    async def start(self, serve: bool = True) -> Gateway:
        world = self.servers.world
        ref = world.site(self.site)
        self.bus = await Bus.connect(world, self.servers.state, ref, f"presence-{self.site}")
        self.name = new_id("gwy", ref.region)
        self.presence = Presence(world, ref.region, self.bus, self.name)
        self.presence.on_change(self.told.extend)
        if serve:
            await self.bus.serve(self.presence.serve)
        await self.presence.start()
        return self

    async def close(self) -> None:
        await self.presence.close()
        await self.bus.close()

    async def crash(self) -> None:
        """Gone without a goodbye."""
        for task in self.presence._tasks:
            task.cancel()
        await self.bus.close()

    async def sees(self, person: str, state: str, text: str = "") -> bool:
        found = (await self.presence.states([person]))[0]
        return (found.state, found.text) == (state, text)


def play(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, 60))


def test_a_region_sees_its_people_and_outlives_a_gateway(net: tuple[Servers, Links]) -> None:
    async def scenario() -> None:
        paris, frankfurt = await Gateway(net[0], "paris").start(), await Gateway(net[0], "frankfurt").start()
        await eventually_async(lambda: paris.presence.live_gateways() == sorted([paris.name, frankfurt.name]))
        paris.presence.connected(ANN, "ses_1", "online")
        paris.presence.set_wish(ANN, "busy", "writing")
        await eventually_async(lambda: frankfurt.sees(ANN, "busy", "writing"))
        await eventually_async(lambda: [seen.text for seen in frankfurt.told][-1:] == ["writing"])
        assert str(frankfurt.told[-1].since).endswith("Z")
        frankfurt.presence.set_wish(ANN, "invisible", "")
        await eventually_async(lambda: paris.sees(ANN, "offline"))
        assert paris.presence.own(ANN).state == "invisible"
        paris.presence.set_wish(ANN, "dnd", "writing")
        await eventually_async(lambda: frankfurt.sees(ANN, "dnd", "writing"))

        third = await Gateway(net[0], "frankfurt").start()
        assert await third.sees(ANN, "dnd", "writing")
        frankfurt.told.clear()
        await paris.crash()
        third.presence.connected(ANN, "ses_2", "online")
        await eventually_async(lambda: len(third.presence.live_gateways()) == 2, within_s=8)
        await eventually_async(lambda: len(third.presence._core.leases.gateways) == 2, within_s=10)
        assert await frankfurt.sees(ANN, "dnd", "writing")
        assert "offline" not in {seen.state for seen in frankfurt.told}
        third.presence.disconnected("ses_2")
        await eventually_async(lambda: frankfurt.sees(ANN, "offline"))
        await frankfurt.close()
        await third.close()

    play(scenario())


def test_regions_hear_of_the_people_they_ask_for_and_of_nobody_else(net: tuple[Servers, Links]) -> None:
    async def scenario() -> None:
        paris, frankfurt = await Gateway(net[0], "paris").start(), await Gateway(net[0], "frankfurt").start()
        far = await Gateway(net[0], "singapore").start()
        crossing: list[bytes] = []
        await far.bus.listen("private.*.to.apac.presence", lambda _, payload: crossing.append(payload))
        paris.presence.connected(ANN, "ses_1")
        paris.presence.connected(BOB, "ses_2")

        async def watches() -> bool:
            return [seen.state for seen in await far.presence.watch("ses_9", [ANN, LI])] == ["online", "offline"]

        await eventually_async(watches)
        paris.presence.set_wish(ANN, "away", "lunch")
        paris.presence.set_wish(BOB, "busy", "secret")
        await eventually_async(lambda: ("away", "lunch") in [(seen.state, seen.text) for seen in far.told])
        frankfurt.presence.set_wish(ANN, "invisible", "hidden")
        await eventually_async(lambda: far.told[-1].state == "offline")
        assert {seen.person for seen in far.told} == {ANN}
        assert not any(BOB.encode() in payload or b"hidden" in payload for payload in crossing)

        # Whoever speaks for the region dies: the other goes on, and says what was not said meanwhile.
        leader = min(paris, frankfurt, key=lambda gateway: gateway.name)
        other = frankfurt if leader is paris else paris
        other.presence.connected(ANN, "ses_3")
        await leader.crash()
        other.presence.set_wish(ANN, "dnd", "still here")
        await eventually_async(lambda: (far.told[-1].state, far.told[-1].text) == ("dnd", "still here"), within_s=15)
        for gateway in (other, far):
            await gateway.close()

    play(scenario())


def test_a_silent_region_is_unknown_and_known_again(net: tuple[Servers, Links]) -> None:
    servers = net[0]

    async def scenario() -> None:
        paris, far = await Gateway(servers, "paris").start(), await Gateway(servers, "singapore").start()
        far.presence.connected(LI, "ses_1")
        await paris.presence.watch("ses_2", [LI])
        await eventually_async(lambda: paris.sees(LI, "online"))
        servers.stop_signal("singapore", signal.SIGSTOP)
        try:
            await eventually_async(lambda: paris.sees(LI, "unknown"), within_s=10)
            assert "offline" not in {seen.state for seen in paris.told}
        finally:
            servers.stop_signal("singapore", signal.SIGCONT)
        await eventually_async(lambda: paris.sees(LI, "online"), within_s=20)
        assert [seen.state for seen in paris.told if seen.person == LI][-2:] == ["unknown", "online"]
        assert (await paris.presence.states([new_id("usr", "cn")]))[0].state == "unknown"
        await paris.close()
        await far.close()

    play(scenario())


def test_what_another_region_may_ask(net: tuple[Servers, Links]) -> None:
    async def scenario() -> None:
        paris, far = await Gateway(net[0], "paris").start(), await Gateway(net[0], "singapore").start()

        async def asks(op: str, people: list[str]) -> str:
            try:
                await paris.bus.request("apac", op, msgspec.msgpack.encode(AskStates(tuple(people))))
            except (Refused, Unavailable) as error:
                return error.code
            return "answered"

        async def answered() -> bool:
            return await asks("presence.states", [LI]) == "answered"

        await eventually_async(answered)
        assert await asks("presence.states", [ANN]) == "not_here"
        assert await asks("presence.states", ["x"]) == "id_malformed"
        assert await asks("presence.states", [LI] * 501) == "malformed"
        assert await asks("presence.everybody", [LI]) == "operation_unknown"
        with pytest.raises(Refused, match="too_many"):
            await paris.presence.states([ANN] * 501)
        for state, text, code in (("gone", "", "state_unknown"), ("busy", "x" * 141, "text_too_long")):
            with pytest.raises(Refused, match=code):
                paris.presence.set_wish(ANN, state, text)
        await paris.close()
        await far.close()

    play(scenario())
