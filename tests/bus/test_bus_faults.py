"""The bus when servers die or hang and links are cut: noticed, said, and over when the fault is over."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import time
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest

from bus_servers import Links, Servers, make_world, running
from moonbow.base.errors import Unavailable
from moonbow.bus import Bus
from moonbow.bus.policy import SERVERS
from moonbow.world import Ports, link_address, site_address
from support import eventually, eventually_async

pytestmark = pytest.mark.engines
PORTS = (Ports.BUS_ROUTES, Ports.BORDER_ROUTES)
SITES = ("paris", "frankfurt", "madrid", "singapore")


@pytest.fixture
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Servers, Links]]:
    with running(make_world(), tmp_path_factory.mktemp("state"), *SITES) as found:
        yield found


def play(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, 45))


async def connect(servers: Servers, site: str) -> Bus:
    return await Bus.connect(servers.world, servers.state, servers.world.site(site), f"test-{site}")


async def echo(_caller: str, _op: str, payload: bytes) -> bytes:
    return payload


async def answers(bus: Bus, region: str) -> bool:
    try:
        return await bus.request(region, "test.echo", b"x") == b"x"
    except Unavailable:
        return False


@pytest.mark.parametrize("fault", ["killed", "hung", "cut"])
def test_a_silent_region_fails_at_once_and_is_found_again(net: tuple[Servers, Links], fault: str) -> None:
    servers, links = net

    def begin() -> None:
        if fault == "killed":
            servers.kill("singapore")
        elif fault == "hung":
            servers.stop_signal("singapore", signal.SIGSTOP)
        else:
            for site in SITES[:3]:
                links.sever(site, "singapore")

    def end() -> None:
        if fault == "killed":
            servers.start("singapore")
        elif fault == "hung":
            servers.stop_signal("singapore", signal.SIGCONT)
        else:
            for site in SITES[:3]:
                links.heal(site, "singapore")

    async def scenario() -> None:
        paris, singapore = await connect(servers, "paris"), await connect(servers, "singapore")
        await singapore.serve(echo)
        await eventually_async(lambda: answers(paris, "apac"))
        said: list[str] = []
        paris.on_trouble(said.append)
        assert paris.silent_since("apac") is None
        await asyncio.to_thread(begin)
        with pytest.raises(Unavailable) as away:  # not more than the time given, whatever the fault
            await asyncio.wait_for(paris.request("apac", "test.echo", b"x"), 2.0)
        assert (away.value.code, away.value.region) == ("home_unreachable", "apac")
        await eventually_async(lambda: not paris.reachable("apac"), within_s=8)
        since = paris.silent_since("apac")
        assert since is not None
        assert time.time() - 30 < since <= time.time()
        requests = [paris.request("apac", "test.echo", b"x") for _ in range(1000)]
        results = await asyncio.wait_for(asyncio.gather(*requests, return_exceptions=True), 0.9)
        assert all(isinstance(result, Unavailable) for result in results)
        await asyncio.to_thread(end)
        await eventually_async(lambda: answers(paris, "apac"), within_s=20)
        assert "region apac was silent" in said
        assert paris.silent_since("apac") is None
        await paris.close()
        await singapore.close()

    play(scenario())


@pytest.mark.parametrize("hung", [False, True], ids=["killed", "hung"])
def test_a_process_moves_to_the_sisters_server_and_back_home(net: tuple[Servers, Links], hung: bool) -> None:
    servers, _ = net

    async def scenario() -> None:
        paris, frankfurt = await connect(servers, "paris"), await connect(servers, "frankfurt")
        heard: list[bytes] = []
        said: list[str] = []
        await paris.listen_region("live", lambda _, payload: heard.append(payload))
        paris.on_trouble(said.append)
        if hung:
            servers.stop_signal("paris", signal.SIGSTOP)
        else:
            servers.kill("paris")

        async def hears() -> bool:
            heard.clear()
            await frankfurt.publish_region("live", b"again")
            await asyncio.sleep(0.02)
            return bool(said) and bool(heard)

        await eventually_async(hears, within_s=12)
        await eventually_async(lambda: paris.connected)
        assert {"reconnected in R", "reconnected in X"} <= set(said)
        if hung:
            servers.stop_signal("paris", signal.SIGCONT)
        else:
            servers.start("paris")

        def at_home() -> bool:
            listed = [servers.varz("paris", "connz", server)["connections"] for server in SERVERS]
            return [[found.get("name") for found in connections] for connections in listed] == [["test-paris"]] * 2

        await eventually_async(lambda: asyncio.to_thread(at_home), within_s=20)
        await eventually_async(hears)
        await paris.close()
        await frankfurt.close()

    play(scenario())


def test_nothing_flows_around_a_cut_link(net: tuple[Servers, Links]) -> None:
    servers, links = net

    links.sever("paris", "frankfurt")
    links.sever("paris", "singapore")
    eventually(lambda: servers.routed("paris") == servers.routed("paris", "border") == {"madrid"})
    eventually(lambda: servers.routed("frankfurt") == {"madrid"})
    eventually(lambda: servers.routed("frankfurt", "border") == {"madrid", "singapore"})

    # Long enough for servers to try what gossip told them: frankfurt has heard of paris through madrid.
    ways = [("paris", "frankfurt", port) for port in PORTS] + [("paris", "singapore", Ports.BORDER_ROUTES)]
    before = links.refused.copy()
    eventually(lambda: all(links.refused[way] >= before[way] + 2 for way in ways), within_s=20)
    assert servers.routed("paris") == servers.routed("paris", "border") == {"madrid"}
    assert direct_connections(servers) == []

    links.heal("paris", "frankfurt")
    links.heal("paris", "singapore")
    eventually(lambda: servers.joined(*SITES), within_s=20)
    assert direct_connections(servers) == []


def direct_connections(servers: Servers) -> list[str]:
    """Connections from one server straight to another's own address instead of through a link."""
    world = servers.world
    own = {
        f"{site_address(world, ref)}:{port}"
        for ref in world.sites()
        for port in (Ports.BUS_ROUTES, Ports.BORDER_ROUTES)
    }
    pids = {f"pid={process.pid}," for process in servers.running.values()}
    listed = subprocess.run(["ss", "-Htnp", "state", "established"], capture_output=True, text=True, check=True).stdout
    found = [line.split() for line in listed.splitlines() if any(pid in line for pid in pids)]
    refs = [ref for ref in world.sites() if ref.site.kind == "primary"]
    linked = {link_address(world, a, b) for a in refs for b in refs if a != b}
    assert any(words[3].rpartition(":")[0] in linked for words in found)  # the control: it does see connections
    return [words[3] for words in found if words[3] in own]


def test_a_slow_listener_is_told_of_its_losses(net: tuple[Servers, Links]) -> None:
    servers, _ = net

    async def scenario() -> None:
        paris, frankfurt = await connect(servers, "paris"), await connect(servers, "frankfurt")
        said: list[str] = []
        paris.on_trouble(said.append)
        free = asyncio.Event()

        async def stuck(_subject: str, _payload: bytes) -> None:
            await free.wait()

        await paris.listen_region("live", stuck)

        def drops() -> float:
            labels = {"account": "R", "kind": "SlowConsumerError"}
            return paris.registry.get_sample_value("moonbow_bus_errors_total", labels) or 0

        async def dropped() -> bool:
            await frankfurt.publish_region("live", b"x" * 1_000_000)
            return drops() > 30

        await eventually_async(dropped, within_s=20)
        await eventually_async(lambda: said)
        assert set(said) == {"slow consumer in R"}
        assert len(said) < drops() / 2
        assert paris.connected

        # So fast that the server gives up on us first: it closes the connection, and that is told too.
        for _ in range(100):
            await frankfurt.publish_region("live", b"x" * 1_000_000)
        await eventually_async(lambda: "reconnected in R" in said or drops() > 100)
        free.set()
        await paris.close()
        await frankfurt.close()

    play(scenario())
