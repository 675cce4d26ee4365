"""Directors tell each other what they see: over real TLS, through real links that are cut, and from liars."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from moonbow.director.adapters.views import Keys, Peers, speaker
from moonbow.launch.relay import Relay
from moonbow.wire.views import VIEW_BYTES_MAX, SeenDoor, SiteLoad, SiteView, encode_view
from moonbow.world import Ports, World, link_address, site_address
from support import eventually_async

from .conftest import shipped

pytestmark = pytest.mark.slow

NAMES = ("paris", "frankfurt", "singapore", "tokyo")


def view_of(name: str, number: int = 1) -> SiteView:
    door = SeenDoor(True, "answers", 0, 3, 1.0)
    return SiteView(name, number, {"paris": [door, door]}, "", SiteLoad(12, 0.5, 0.0))


class Plane:
    """The directors' connections of the laptop world, each with what it heard."""

    def __init__(self, world: World, state: Path) -> None:
        self.world, self.state = world, state
        self.heard: dict[str, dict[str, SiteView]] = {name: {} for name in NAMES}
        self.tells = {name: view_of(name) for name in NAMES}
        self.peers: dict[str, Peers] = {}
        self.running: dict[str, asyncio.Task[None]] = {}
        self.links: dict[frozenset[str], list[Relay]] = {}

    async def open_links(self) -> None:
        for one in map(self.world.site, NAMES):
            for other in map(self.world.site, NAMES):
                if one is other or one.site.name == other.site.name:
                    continue
                target = (site_address(self.world, other), Ports.VIEWS)

                async def targets(target: tuple[str, int] = target) -> tuple[tuple[str, int], ...]:
                    return (target,)

                listen = (link_address(self.world, one, other), Ports.VIEWS)
                relay = Relay(listen, targets, bind=None, connections_max=8)
                await relay.open()
                self.links.setdefault(frozenset({one.site.name, other.site.name}), []).append(relay)

    def start(self, name: str, keys_of: str | None = None) -> Peers:
        others = tuple(self.world.site(other) for other in NAMES if other != name)
        keys = Keys.load(self.state / "pki", keys_of or name)
        heard = self.heard[name].__setitem__
        peers = Peers(self.world, self.world.site(name), others, keys, lambda: self.tells[name], heard)
        self.peers[name] = peers
        self.running[name] = asyncio.create_task(peers.run())
        return peers

    def push(self, view: SiteView) -> None:
        self.tells[view.observer] = view
        self.peers[view.observer].push()

    async def stop(self, name: str) -> None:
        self.running.pop(name).cancel()
        await asyncio.sleep(0)

    def between(self, *names: str) -> list[Relay]:
        return self.links[frozenset(names)]


def in_a_plane(state: Path, play: Callable[[Plane], Awaitable[None]]) -> None:
    async def whole() -> None:
        plane = Plane(shipped("laptop")[0], state)
        await plane.open_links()
        try:
            await play(plane)
        finally:
            for task in plane.running.values():
                task.cancel()
            await asyncio.gather(*plane.running.values(), return_exceptions=True)
            for relays in plane.links.values():
                for relay in relays:
                    relay.cut()

    asyncio.run(whole())


def test_everybody_hears_everybody_over_one_connection_a_pair(state: Path) -> None:
    async def play(plane: Plane) -> None:
        for name in NAMES:
            plane.start(name)
        await eventually_async(lambda: all(len(plane.heard[name]) == 3 for name in NAMES))
        assert plane.heard["tokyo"]["paris"] == view_of("paris")
        assert sum(relay.connections for relays in plane.links.values() for relay in relays) == 6
        plane.push(view_of("paris", 2))
        await eventually_async(lambda: all(plane.heard[name]["paris"].number == 2 for name in NAMES[1:]))

    in_a_plane(state, play)


def test_a_view_is_repeated_and_a_peer_that_returns_gets_the_newest(state: Path) -> None:
    async def play(plane: Plane) -> None:
        plane.start("paris")
        plane.start("tokyo")
        await eventually_async(lambda: plane.heard["tokyo"])
        plane.heard["tokyo"].clear()
        await eventually_async(lambda: plane.heard["tokyo"])
        await plane.stop("tokyo")
        await eventually_async(lambda: not plane.peers["paris"].lines)
        plane.push(view_of("paris", 7))
        plane.start("tokyo")
        await eventually_async(lambda: plane.heard["tokyo"]["paris"].number == 7, within_s=10)

    in_a_plane(state, play)


def test_a_cut_is_noticed_and_a_healed_link_used_again(state: Path) -> None:
    async def play(plane: Plane) -> None:
        for name in ("paris", "tokyo"):
            plane.start(name)
        await eventually_async(lambda: plane.peers["paris"].lines and plane.peers["tokyo"].lines)
        for relay in plane.between("paris", "tokyo"):
            relay.cut()
        await eventually_async(lambda: not plane.peers["paris"].lines and not plane.peers["tokyo"].lines)
        for relay in plane.between("paris", "tokyo"):
            await relay.open()
        await eventually_async(lambda: plane.peers["paris"].lines and plane.peers["tokyo"].lines, within_s=10)

    in_a_plane(state, play)


def test_a_black_hole_ends_the_connection(state: Path) -> None:
    async def play(plane: Plane) -> None:
        for name in ("paris", "tokyo"):
            plane.start(name)
        await eventually_async(lambda: plane.peers["paris"].lines and plane.peers["tokyo"].lines)
        for relay in plane.between("paris", "tokyo"):
            relay.hold()
        await eventually_async(lambda: not plane.peers["paris"].lines and not plane.peers["tokyo"].lines, within_s=15)

    in_a_plane(state, play)


def test_who_shows_another_sites_certificate_is_not_heard(state: Path) -> None:
    async def play(plane: Plane) -> None:
        plane.start("paris")
        plane.start("tokyo", keys_of="capetown")
        await eventually_async(lambda: plane.peers["paris"].counts.refused)
        assert not plane.heard["paris"]
        assert not plane.heard["tokyo"]

    in_a_plane(state, play)


async def dial(plane: Plane, own: str, other: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    address = site_address(plane.world, plane.world.site(other))
    context = Keys.load(plane.state / "pki", own).client
    return await asyncio.open_connection(address, Ports.VIEWS, ssl=context, server_hostname=address)


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(b"\xff\xff\xff\xff", id="endless"),
        pytest.param((VIEW_BYTES_MAX + 1).to_bytes(4, "big"), id="too long"),
        pytest.param(b"\x00\x00\x00\x04\xc1\xc1\xc1\xc1", id="no msgpack"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="http"),
        pytest.param(b"\x00\x00\x00\x00", id="empty"),
        pytest.param(
            (lambda said: len(said).to_bytes(4, "big") + said)(encode_view(view_of("paris"))), id="for somebody else"
        ),
        pytest.param(
            (lambda said: len(said).to_bytes(4, "big") + said)(
                encode_view(SiteView("tokyo", 1, {}, "", SiteLoad(-1, 7.0, 0.0)))
            ),
            id="impossible load",
        ),
    ],
)
def test_nonsense_ends_the_connection_and_nothing_else(state: Path, frame: bytes) -> None:
    async def play(plane: Plane) -> None:
        peers = plane.start("frankfurt")
        plane.start("singapore")
        await eventually_async(lambda: "singapore" in plane.heard["frankfurt"])
        reader, writer = await dial(plane, "tokyo", "frankfurt")
        writer.write(frame)
        async with asyncio.timeout(5):
            with contextlib.suppress(ConnectionError):
                while await reader.read(65_536):
                    pass
        writer.close()
        assert peers.counts.refused == 1
        assert set(plane.heard["frankfurt"]) == {"singapore"}
        assert set(peers.lines) == {"singapore"}

    in_a_plane(state, play)


def test_a_peer_that_reads_nothing_gets_one_view_and_not_a_queue(state: Path) -> None:
    async def play(plane: Plane) -> None:
        peers = plane.start("frankfurt")
        big = {f"site{number}": view_of("x").doors["paris"] for number in range(2_500)}
        reader, writer = await eventually_async(lambda: dial(plane, "tokyo", "frankfurt"))
        await eventually_async(lambda: "tokyo" in peers.lines)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        for number in range(400):
            plane.push(SiteView("frankfurt", number, big))
            await asyncio.sleep(0)
        assert peers.counts.sent < 200
        writer.transport.resume_reading()  # type: ignore[attr-defined]
        newest = encode_view(SiteView("frankfurt", 399, big))
        async with asyncio.timeout(10):
            while await reader.readexactly(int.from_bytes(await reader.readexactly(4), "big")) != newest:
                pass
        writer.close()

    in_a_plane(state, play)


def test_without_a_certificate_nobody_gets_in(state: Path) -> None:
    async def play(plane: Plane) -> None:
        peers = plane.start("frankfurt")
        address = site_address(plane.world, plane.world.site("frankfurt"))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

        async def try_it() -> bool:
            try:
                reader, writer = await asyncio.open_connection(address, Ports.VIEWS, ssl=context)
            except ssl.SSLError:
                return True
            try:
                return not await reader.read(1)
            except (ssl.SSLError, ConnectionResetError):
                return True
            finally:
                writer.close()

        assert await eventually_async(try_it)
        assert not peers.lines

    in_a_plane(state, play)


def test_a_certificate_speaks_for_the_site_in_its_spiffe_name() -> None:
    sites = {"paris": "emea", "tokyo": "apac"}

    def named(*names: tuple[str, str]) -> str | None:
        return speaker({"subjectAltName": names}, sites)

    assert named(("DNS", "x"), ("URI", "spiffe://moonbow/region/emea/site/paris")) == "paris"
    assert named(("URI", "spiffe://moonbow/region/apac/site/paris")) is None
    assert named(("DNS", "spiffe://moonbow/region/emea/site/paris")) is None
    assert named(("URI", "spiffe://moonbow/region/emea/site/berlin")) is None
    assert speaker(None, sites) is None
