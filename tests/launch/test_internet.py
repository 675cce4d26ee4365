"""Places find their door by DNS, links join and part sites, and all of it obeys its control socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import dns.flags
import dns.message
import dns.rrset
import msgspec
import pytest
import uvloop

from moonbow.base.errors import ConfigError
from moonbow.launch.control import ask, serve_lines
from moonbow.launch.internet import Internet
from moonbow.launch.links import place_address
from moonbow.launch.resolve import Resolver, addresses_in, question
from moonbow.world import Ports, door_address, link_address, load_world, site_address
from support import eventually_async

WORLD = msgspec.structs.replace(load_world(Path("worlds/laptop.toml")), slot=4)
PARIS, TOKYO, CAPETOWN = (WORLD.site(name) for name in ("paris", "tokyo", "capetown"))


class NameServer(asyncio.DatagramProtocol):
    """Answers every question with `addresses`, and remembers the client subnets it was told."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses
        self.subnets: list[str] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        query = dns.message.from_wire(data)
        self.subnets += [option.to_text() for option in query.options]
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.AA
        if self.addresses:
            answer.answer.append(dns.rrset.from_text(query.question[0].name, 5, "IN", "A", *self.addresses))
        self.transport.sendto(answer.to_wire(), addr)


@asynccontextmanager
async def _name_server(host: str, *addresses: str) -> AsyncIterator[NameServer]:
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(lambda: NameServer(*addresses), (host, Ports.DNS))
    try:
        yield server
    finally:
        transport.close()


@asynccontextmanager
async def _named(host: str, port: int, name: str) -> AsyncIterator[None]:
    """A server that says its name to whoever connects, and then echoes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("peername")[0]
        writer.write(f"{name} {peer}\n".encode())
        while data := await reader.read(100):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(serve, host, port)
    try:
        yield
    finally:
        server.close()


@asynccontextmanager
async def _internet(tmp_path: Path) -> AsyncIterator[Internet]:
    (tmp_path / "world").mkdir()
    internet = Internet(WORLD, tmp_path)
    await internet.start()
    try:
        async with serve_lines(internet.socket, internet.answer):
            yield internet
    finally:
        internet.stop()
        relays = [*internet.places.values(), *(relay for _, relay in internet.links)]
        await eventually_async(lambda: not any(relay.connections for relay in relays))


async def _hear(host: str, port: int) -> str:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        return (await reader.readline()).decode().strip()
    except ConnectionResetError:
        return ""
    finally:
        writer.close()


def _run(main: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(30):
            await main

    uvloop.run(bounded())


def test_a_place_goes_to_the_door_that_the_director_names(tmp_path: Path) -> None:
    async def main() -> None:
        door, other = door_address(WORLD, TOKYO, 0), door_address(WORLD, TOKYO, 1)
        europe = place_address(WORLD, WORLD.places[0])
        async with AsyncExitStack() as stack:
            server = await stack.enter_async_context(_name_server(site_address(WORLD, PARIS), door))
            await stack.enter_async_context(_named(other, Ports.DOOR, "second"))
            await stack.enter_async_context(_internet(tmp_path))
            assert await _hear(*europe) == ""  # it does not listen yet
            assert server.subnets == ["ECS 194.2.0.0/24 scope/0"]
            await stack.enter_async_context(_named(door, Ports.DOOR, "first"))
            assert await _hear(*europe) == "first 127.90.0.101"
            server.addresses = (door_address(WORLD, PARIS, 0), other)  # of which the one does not listen
            await eventually_async(lambda: _hears(europe, "second"))

    _run(main())


async def _hears(address: tuple[str, int], name: str) -> bool:
    return (await _hear(*address)).startswith(name)


def test_without_a_director_the_last_answer_holds(tmp_path: Path) -> None:
    async def main() -> None:
        door, africa = door_address(WORLD, CAPETOWN, 0), place_address(WORLD, WORLD.places[2])
        async with _named(door, Ports.DOOR, "edge"), _internet(tmp_path):
            assert await _hear(*africa) == ""  # nobody was ever named
            async with _name_server(site_address(WORLD, PARIS), door):
                await eventually_async(lambda: _hears(africa, "edge"))
            await asyncio.sleep(0.3)  # longer than an answer is kept
            assert await _hear(*africa) == "edge 127.90.0.103"

    _run(main())


def test_answers_are_kept_for_a_moment_and_asked_for_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with _name_server("127.90.0.1", "127.0.0.9") as server:
            resolver = Resolver([("127.90.0.1", Ports.DNS)], "door.example.org", "2001:db8::/48", 8443)
            found = await asyncio.gather(*(resolver.doors() for _ in range(50)))
            assert set(found) == {(("127.0.0.9", 8443),)}
            assert server.subnets == ["ECS 2001:db8::/48 scope/0"]

    _run(main())


def test_a_silent_director_is_passed_over_and_not_asked_first_again(tmp_path: Path) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        silent, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, ("127.90.0.1", Ports.DNS))
        async with _name_server("127.90.0.3", "127.0.0.9") as server:
            three = [(f"127.90.0.{number}", Ports.DNS) for number in (1, 2, 3)]  # silent, refusing, answering
            resolver = Resolver(three, "door.example.org", "192.0.2.0/24", 8443)
            assert await resolver.doors() == (("127.0.0.9", 8443),)
            assert resolver.directors[0] == three[2]
            assert len(server.subnets) == 1
        silent.close()

    _run(main())


def test_garbage_is_no_answer() -> None:
    asked = question("door.example.org", "192.0.2.0/24")
    assert addresses_in(b"", asked) == ()
    assert addresses_in(b"\0" * 40, asked) == ()
    assert addresses_in(question("other.example.org", "192.0.2.0/24").to_wire(), asked) == ()


def test_a_link_leads_to_the_site_and_comes_from_the_other(tmp_path: Path) -> None:
    async def main() -> None:
        link, home = link_address(WORLD, PARIS, TOKYO), site_address(WORLD, TOKYO)
        async with _named(home, Ports.BORDER_ROUTES, "tokyo"), _internet(tmp_path):
            assert await _hear(link, Ports.BORDER_ROUTES) == f"tokyo {site_address(WORLD, PARIS)}"
            with pytest.raises(ConnectionRefusedError):
                await _hear(link, Ports.BUS_ROUTES)  # routes join sites of one region only

    _run(main())


def test_regions_are_parted_and_joined(tmp_path: Path) -> None:
    async def main() -> None:
        to_tokyo, to_paris = link_address(WORLD, PARIS, TOKYO), link_address(WORLD, TOKYO, PARIS)
        async with AsyncExitStack() as stack:
            for ref in (PARIS, TOKYO):
                await stack.enter_async_context(_named(site_address(WORLD, ref), Ports.BORDER_ROUTES, ref.site.name))
            internet = await stack.enter_async_context(_internet(tmp_path))
            standing, writer = await asyncio.open_connection(to_tokyo, Ports.BORDER_ROUTES)
            await standing.readline()

            async def tell(**request: object) -> dict[str, object]:
                return await asyncio.to_thread(ask, internet.socket, request, 5.0)

            done = await tell(op="cut", a="emea", b="apac")
            assert done["condition"] == "cut"
            assert ["paris", "tokyo"] in done["pairs"]  # type: ignore[operator]
            assert await _is_reset(standing)
            writer.close()
            for link in (to_tokyo, to_paris):
                with pytest.raises(ConnectionRefusedError):
                    await _hear(link, Ports.BORDER_ROUTES)
            assert len((await tell(op="show"))["cuts"]) == 6  # type: ignore[arg-type]
            await tell(op="heal", a="paris", b="tokyo")
            assert await _hear(to_tokyo, Ports.BORDER_ROUTES) != ""
            await tell(op="heal")
            assert (await tell(op="show"))["cuts"] == []

    _run(main())


async def _is_reset(reader: asyncio.StreamReader) -> bool:
    try:
        return await reader.read() == b""
    except ConnectionResetError:
        return True


def test_a_black_hole_is_silent_and_heals(tmp_path: Path) -> None:
    async def main() -> None:
        link = link_address(WORLD, PARIS, TOKYO)
        async with _named(site_address(WORLD, TOKYO), Ports.BORDER_ROUTES, "tokyo"), _internet(tmp_path) as internet:
            await asyncio.to_thread(ask, internet.socket, {"op": "cut", "a": "paris", "b": "tokyo", "black_hole": True})
            reader, writer = await asyncio.open_connection(link, Ports.BORDER_ROUTES)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await reader.readline()
            await asyncio.to_thread(ask, internet.socket, {"op": "heal"})
            assert (await reader.readline()).startswith(b"tokyo")
            writer.close()

    _run(main())


def test_wrong_requests_are_refused_with_the_known_names(tmp_path: Path) -> None:
    async def main() -> None:
        async with _internet(tmp_path) as internet:
            with pytest.raises(ConfigError, match="regions: emea, apac"):
                await asyncio.to_thread(ask, internet.socket, {"op": "cut", "a": "paris", "b": "mars"})
            with pytest.raises(ConfigError, match="does not know"):
                await asyncio.to_thread(ask, internet.socket, {"op": "dance"})

    _run(main())
    assert not (tmp_path / "world" / "internet.sock").exists()


def test_a_taken_address_is_named(tmp_path: Path) -> None:
    async def main() -> None:
        host, port = place_address(WORLD, WORLD.places[0])
        async with _named(host, port, "squatter"):
            internet = Internet(WORLD, tmp_path)
            with pytest.raises(ConfigError, match=f"{host}:{port}"):
                await internet.start()
            internet.stop()

    _run(main())
