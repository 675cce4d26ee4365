"""The bus on real servers: round trips, borders, certificates, and that nothing can be stored."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client
from nats.errors import Error as NatsError

from bus_servers import Links, Servers, make_world, running
from moonbow.base.errors import Refused, Unavailable
from moonbow.bus import Bus
from moonbow.bus.connection import AbruptTransport
from moonbow.bus.policy import SERVERS, Server, server_urls
from moonbow.launch.pki import ensure_pki
from moonbow.world.policy import Ports, site_address
from support import eventually_async

pytestmark = pytest.mark.engines
SITES = ("paris", "frankfurt", "singapore")


@pytest.fixture(scope="module")
def bus_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Servers, Links]]:
    with running(make_world(), tmp_path_factory.mktemp("state"), *SITES) as found:
        yield found


@pytest.fixture
def servers(bus_servers: tuple[Servers, Links]) -> Servers:
    return bus_servers[0]


def play(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, 30))


async def connect(servers: Servers, site: str) -> Bus:
    return await Bus.connect(servers.world, servers.state, servers.world.site(site), f"test-{site}")


async def raw(servers: Servers, site: str, user: str, faults: list[str] | None = None) -> Client:
    """A connection to a site's server as a bus user, without our own client's good manners."""
    ref = servers.world.site(site)
    region = user.split("-")[-1]

    async def note(error: Exception) -> None:
        if faults is not None:
            faults.append(str(error))

    client = Client()
    client._transport = AbruptTransport()
    await client.connect(
        server_urls(servers.world, ref, "border" if "-x-" in user else "bus")[0],
        tls=context(servers.state, user),
        tls_handshake_first=True,
        allow_reconnect=False,
        connect_timeout=2,
        error_cb=note,
        inbox_prefix=f"_INBOX.{region}",
    )
    return client


def context(state: Path, user: str | None, authority: str = "mesh-ca") -> ssl.SSLContext:
    found = ssl.create_default_context(cafile=str(state / "pki" / f"{authority}.crt"))
    if user:
        found.load_cert_chain(state / "pki" / f"{user}.crt", state / "pki" / f"{user}.key")
    return found


def test_messages_reach_the_whole_region_and_no_other(servers: Servers) -> None:
    async def scenario() -> None:
        paris, frankfurt, singapore = [await connect(servers, site) for site in SITES]
        near: list[bytes] = []
        far: list[bytes] = []
        await frankfurt.listen_region("live", lambda _, payload: near.append(payload))
        await singapore.listen_region("live", lambda _, payload: far.append(payload))

        async def heard() -> bool:
            await paris.publish_region("live", b"here")
            return bool(near)

        await eventually_async(heard)
        assert far == []
        for bus in (paris, frankfurt, singapore):
            await bus.close()

    play(scenario())


def test_requests_and_errors_travel_between_regions(servers: Servers) -> None:
    async def handler(caller: str, op: str, payload: bytes) -> bytes:
        if op == "test.refuse":
            raise Refused("throttled", "slowly", status=429, place="login", retry_after_s=2.5)
        if op == "test.away":
            raise Unavailable("store_down", "no quorum", region="apac")
        if op == "test.break":
            raise ZeroDivisionError
        if op == "test.long":
            return b"x" * 2_000_000
        return f"{caller} {op} ".encode() + payload

    async def scenario() -> None:
        paris, singapore = await connect(servers, "paris"), await connect(servers, "singapore")
        await singapore.serve(handler)

        async def echoes() -> bool:
            try:
                return await paris.request("apac", "test.echo", b"hello") == b"emea test.echo hello"
            except Unavailable:
                return False

        await eventually_async(echoes)
        with pytest.raises(Refused) as refused:
            await paris.request("apac", "test.refuse", b"")
        error = refused.value
        assert (error.code, error.detail, error.status) == ("throttled", "slowly", 429)
        assert (error.place, error.retry_after_s) == ("login", 2.5)
        for op, code in (("test.away", "store_down"), ("test.break", "failed"), ("test.long", "failed")):
            with pytest.raises(Unavailable) as away:
                await paris.request("apac", op, b"")
            assert (away.value.code, away.value.region) == (code, "apac")
        assert await singapore.request("apac", "test.own", b"!") == b"apac test.own !"
        with pytest.raises(Unavailable, match="home_unreachable"):
            await paris.request("cn", "test.echo", b"")
        await paris.close()
        await singapore.close()

    play(scenario())


def test_a_foreign_region_cannot_listen_serve_or_forge(servers: Servers) -> None:
    async def scenario() -> None:
        faults: list[str] = []
        heard: list[str] = []
        spy = await raw(servers, "singapore", "bus-x-apac", faults)

        async def note(message: Any) -> None:
            heard.append(message.subject)
            await spy.publish(message.reply or "nowhere", b"+stolen")

        for subject in ("private.>", ">", "private.*.to.emea.>", "_INBOX.>", "_INBOX.emea.>", "$SYS.>"):
            await spy.subscribe(subject, cb=note)
        await spy.subscribe("private.emea.rpc.*.>", queue="rpc", cb=note)
        await spy.flush()

        paris, frankfurt = await connect(servers, "paris"), await connect(servers, "frankfurt")
        received: list[bytes] = []
        await paris.listen("private.*.to.emea.>", lambda _, payload: received.append(payload))
        await paris.listen("shared.emea.>", lambda _, payload: received.append(payload) if payload else None)
        served: list[str] = []

        async def serve(caller: str, op: str, payload: bytes) -> bytes:
            served.append(caller)
            return b"genuine"

        await paris.serve(serve)

        async def served_at_all() -> bool:
            with contextlib.suppress(Unavailable):
                return await frankfurt.request("emea", "test", b"") == b"genuine"
            return False

        await eventually_async(served_at_all)
        for subject in ("private.emea.to.emea.x", "private.cn.to.emea.x", "shared.emea.x", "private.emea.rpc.emea.x"):
            await spy.publish(subject, b"forged")
        for _ in range(40):
            assert await frankfurt.request("emea", "test", b"") == b"genuine"
        await frankfurt.publish("private.emea.to.cn.x", b"not for apac")
        await spy.publish("private.apac.to.emea.x", b"genuine")
        await eventually_async(lambda: received == [b"genuine"])
        await spy.flush()
        assert heard == []
        assert set(served) == {"emea"}
        assert len([fault for fault in faults if "permissions violation" in fault.lower()]) == 11
        for bus in (paris, frankfurt):
            await bus.close()
        await spy.close()

    play(scenario())


def greeting(servers: Servers, tls: ssl.SSLContext | None, server: Server = "bus") -> bytes:
    """What a server of paris says to somebody who knocks with these certificates; nothing if it hangs up."""
    host, port = server_urls(servers.world, servers.world.site("paris"), server)[0].removeprefix("tls://").split(":")
    said = b""
    with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 1) as plain:
        plain.settimeout(1)
        with tls.wrap_socket(plain, server_hostname=host) if tls else contextlib.nullcontext(plain) as stream:
            stream.sendall(b'CONNECT {"verbose":false}\r\nPING\r\n')
            while b"PONG" not in said and (data := stream.recv(4096)):
                said += data
    return said


def test_plain_anonymous_and_foreign_clients_and_users_of_other_regions_are_refused(
    servers: Servers, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other")
    ensure_pki(servers.world, other)
    foreign = context(servers.state, None)
    foreign.load_cert_chain(other / "pki" / "bus-r-emea.crt", other / "pki" / "bus-r-emea.key")
    assert b"PONG" in greeting(servers, context(servers.state, "bus-r-emea"))  # the control
    assert b"PONG" in greeting(servers, context(servers.state, "bus-x-emea"), "border")
    strangers: tuple[tuple[Server, str], ...] = (("bus", "bus-x-emea"), ("border", "bus-r-emea"))
    for server, own in strangers:
        for tls in (None, context(servers.state, None), foreign):
            assert greeting(servers, tls, server) == b""
        for user in ("mesh-paris", "bus-r-apac", "bus-x-apac", own):
            said = greeting(servers, context(servers.state, user), server)
            assert b"PONG" not in said
            assert b"Authorization Violation" in said


def server_greeting(servers: Servers, port: int, certificate: str, cluster: str) -> bytes:
    """What the server of paris says to somebody who knocks as another server."""
    address = site_address(servers.world, servers.world.site("paris"))
    said = b""
    with contextlib.suppress(OSError), socket.create_connection((address, port), 1) as plain:
        plain.settimeout(1)
        with context(servers.state, certificate).wrap_socket(plain, server_hostname=address) as stream:
            name = {"cluster": cluster}
            stream.sendall(
                b"CONNECT " + json.dumps({"verbose": False, "name": "intruder", **name}).encode() + b"\r\nPING\r\n"
            )
            while b"PONG" not in said and b"-ERR" not in said and (data := stream.recv(4096)):
                said += data
    return said


@pytest.mark.parametrize(
    ("port", "cluster", "certificate", "welcome"),
    [
        (Ports.BUS_ROUTES, "bus-emea", "mesh-frankfurt", True),
        (Ports.BUS_ROUTES, "bus-emea", "mesh-singapore", False),
        (Ports.BUS_ROUTES, "bus-emea", "bus-r-emea", False),
        (Ports.BORDER_ROUTES, "border", "mesh-singapore", True),
        (Ports.BORDER_ROUTES, "border", "bus-x-apac", False),
        (Ports.BORDER_ROUTES, "border", "bus-r-emea", False),
    ],
)
def test_only_a_node_may_pose_as_a_server(
    servers: Servers, port: int, cluster: str, certificate: str, welcome: bool
) -> None:
    refused = b"Authorization Violation" in server_greeting(servers, port, certificate, cluster)
    assert refused != welcome


def test_region_traffic_never_touches_the_border(servers: Servers) -> None:
    def sent() -> int:
        total = 0
        for site in SITES:
            for found in servers.varz(site, "routez", "border")["routes"]:
                total += found["in_msgs"] + found["out_msgs"]
        return total

    async def scenario() -> None:
        near = await raw(servers, "paris", "bus-r-emea")
        sister = await raw(servers, "frankfurt", "bus-r-emea")
        far = await raw(servers, "singapore", "bus-r-apac")
        heard = 0

        async def count(message: Any) -> None:
            nonlocal heard
            heard += message.data != b"warm"

        await sister.subscribe("live", cb=count)
        await far.subscribe("live", cb=count)
        await sister.flush()
        await far.flush()

        async def warm() -> bool:
            await near.publish("live", b"warm")
            await near.flush()
            return sister.stats["in_msgs"] > 0

        await eventually_async(warm)
        before = await asyncio.to_thread(sent)
        for _ in range(10_000):
            await near.publish("live", b"x" * 100)
        await near.flush()
        await eventually_async(lambda: heard == 10_000, within_s=15)
        assert await asyncio.to_thread(sent) == before
        for client in (near, sister, far):
            await client.close()

    play(scenario())


@pytest.mark.parametrize("user", ["bus-r-emea", "bus-x-emea"])
def test_nothing_can_be_stored(servers: Servers, user: str) -> None:
    async def scenario() -> None:
        client = await raw(servers, "paris", user)
        with pytest.raises((NatsError, TimeoutError)):
            await client.request("$JS.API.STREAM.CREATE.x", b'{"name":"x","subjects":["live"]}', timeout=0.5)
        await client.close()

    play(scenario())
    for site in SITES:
        assert all(servers.varz(site, "jsz", server).get("disabled") is True for server in SERVERS)
