"""What a director learns inside its own site: from gateways, doors, and the processes of its group."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from moonbow.director.adapters.site import GroupCpu, OwnSite, parse_stats
from moonbow.world import Ports, site_address
from support import eventually, eventually_async

from .conftest import shipped


def test_counters_are_found_by_the_end_of_their_names() -> None:
    text = (
        b"http.door.downstream_cx_active: 3\nhttp.door.downstream_rq_5xx: 0\n"
        b"http.door.downstream_rq_completed: 17\nhttp.door.downstream_rq_time: P0(nan,1)\n\n\xff: 4\n"
    )
    assert parse_stats(text) == {
        "downstream_cx_active": 3, "downstream_rq_5xx": 0, "downstream_rq_completed": 17, "�": 4,
    }  # fmt: skip
    assert parse_stats(b"") == {}


def test_cpu_is_that_of_the_group() -> None:
    burning = subprocess.Popen([sys.executable, "-c", "while True: pass"], process_group=0)
    try:
        busy, idle = GroupCpu(burning.pid), GroupCpu(2**22 + 1)
        assert busy.share() == 0
        assert idle.share() == 0
        eventually(lambda: busy.share() > 0.05)
        assert idle.share() == 0
    finally:
        burning.kill()
        burning.wait()


class Gateways:
    """The two counters and the health of a site, as its gateway and door say them on real sockets."""

    def __init__(self, state: Path) -> None:
        self.world = shipped("laptop")[0]
        self.ref = self.world.site("paris")
        self.socket = state / "sites" / "paris" / "door0" / "admin.sock"
        self.says: str | None = "200 ok"
        self.active, self.answered, self.failed = 9, 100, 0

    async def open(self) -> list[asyncio.Server]:
        self.socket.parent.mkdir(exist_ok=True)
        return [
            await asyncio.start_server(self._gateway, site_address(self.world, self.ref), Ports.REST),
            await asyncio.start_unix_server(self._door, str(self.socket)),
        ]

    async def _talk(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, say: Callable[[], tuple[str, str] | None]
    ) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                answer = say()
                if answer is None:
                    await asyncio.sleep(3600)
                    return
                status, body = answer
                writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode())
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _gateway(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def say() -> tuple[str, str] | None:
            status, _, body = (self.says or "").partition(" ")
            return (status, body) if self.says else None

        await self._talk(reader, writer, say)

    async def _door(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def say() -> tuple[str, str]:
            head = "http.door.downstream_"
            return "200", (
                f"{head}cx_active: {self.active}\n{head}rq_5xx: {self.failed}\n{head}rq_completed: {self.answered}\n"
            )

        await self._talk(reader, writer, say)


def in_a_site(state: Path, play: Callable[[Gateways, OwnSite], Awaitable[None]]) -> None:
    async def whole() -> None:
        site = Gateways(state)
        servers = await site.open()
        own = OwnSite(site.world, site.ref, state, probers=4)
        try:
            await play(site, own)
        finally:
            own.close()
            for server in servers:
                server.close()

    asyncio.run(whole())


def test_clients_and_errors_are_counted_and_probers_are_no_clients(state: Path) -> None:
    async def play(site: Gateways, own: OwnSite) -> None:
        await own.read()
        assert own.load is not None
        assert (own.load.connections, own.load.errors, own.load.capacity) == (5, 0.0, site.ref.site.capacity)
        site.active, site.answered, site.failed = 2, 110, 10
        await own.read()
        assert (own.load.connections, own.load.errors) == (0, 0.0), "ten answers say nothing of errors"
        site.answered, site.failed = 200, 50
        await own.read()
        assert own.load.errors == 0.5
        site.answered, site.failed = 3, 3
        await own.read()
        assert own.load.errors == 0.0, "a door that started anew counts from nothing"

    in_a_site(state, play)


@pytest.mark.parametrize(
    ("says", "why"), [("503 store", "store"), ("503 bus", "bus"), (None, "does not answer")], ids=str
)
def test_a_site_whose_gateways_are_in_trouble_says_so(state: Path, says: str | None, why: str) -> None:
    async def play(site: Gateways, own: OwnSite) -> None:
        await own.read()
        assert own.trouble == ""
        site.says = says
        await own.read()
        assert own.trouble == "", "once is no trouble yet"
        await own.read()
        assert own.trouble == f"its gateways say: {why}"
        site.says = "200 ok"

        async def well() -> bool:
            await own.read()
            return own.trouble == ""

        await eventually_async(well)

    in_a_site(state, play)


def test_who_was_never_there_is_no_trouble_and_no_load(state: Path) -> None:
    async def play() -> None:
        world = shipped("laptop")[0]
        own = OwnSite(world, world.site("tokyo"), state, probers=0)
        for _ in range(3):
            await own.read()
        assert own.load is None
        assert own.trouble == "", "it starts, and its doors say so"
        own.close()

    asyncio.run(play())
