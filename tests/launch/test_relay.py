"""The forwarder and the links on real sockets: bytes, half-close, back-pressure, cut, black hole, heal."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop

from moonbow.launch.links import Address
from moonbow.launch.relay import Relay
from support import eventually_async, free_port

NEAR, FAR = "127.90.1.1", "127.90.2.1"
Echo = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
        writer.write(b"end")
    except OSError:
        pass
    finally:
        writer.close()


@asynccontextmanager
async def _world(
    serve: Echo = _echo, *, bind: str | None = None, most: int = 100, extra: tuple[Address, ...] = ()
) -> AsyncIterator[Relay]:
    """A relay in front of a server; `extra` addresses are tried first."""
    server = await asyncio.start_server(serve, FAR, 0)
    target: Address = server.sockets[0].getsockname()

    async def targets() -> tuple[Address, ...]:
        return (*extra, target)

    relay = Relay((NEAR, free_port(NEAR)), targets, bind=bind, connections_max=most)
    await relay.open()
    try:
        yield relay
    finally:
        relay.cut()
        server.close()
        await eventually_async(lambda: relay.connections == 0)


def _run(main: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await main

    uvloop.run(bounded())


async def _say(relay: Relay, data: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection(*relay.listen)
    writer.write(data)
    assert await reader.readexactly(len(data)) == data
    return reader, writer


def test_bytes_and_the_half_close_travel_both_ways() -> None:
    async def main() -> None:
        async with _world() as relay:
            data = os.urandom(3_000_000)
            reader, writer = await asyncio.open_connection(*relay.listen)
            writer.write(data)
            writer.write_eof()
            assert await reader.read() == data + b"end"
            await eventually_async(lambda: relay.connections == 0)
            writer.close()

    _run(main())


def test_early_bytes_reach_a_server_that_answers_late() -> None:
    async def main() -> None:
        async with _world() as relay:
            relay.hold()
            reader, writer = await asyncio.open_connection(*relay.listen)
            writer.write(b"x" * 200_000)
            await eventually_async(lambda: relay.connections == 1)
            relay.release()
            assert len(await reader.readexactly(200_000)) == 200_000
            writer.close()

    _run(main())


def test_the_next_target_is_tried_and_the_source_address_is_the_one_asked_for() -> None:
    peers: list[str] = []

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peers.append(writer.get_extra_info("peername")[0])
        await _echo(reader, writer)

    async def main() -> None:
        async with _world(note, bind="127.90.0.77", extra=((FAR, free_port(FAR)),)) as relay:
            _, writer = await _say(relay, b"hello")
            writer.close()

    _run(main())
    assert peers == ["127.90.0.77"]


def test_nobody_there_is_a_closed_connection_not_a_hang() -> None:
    async def main() -> None:
        async def nowhere() -> tuple[Address, ...]:
            return ((FAR, free_port(FAR)),)

        relay = Relay((NEAR, free_port(NEAR)), nowhere, bind=None, connections_max=5)
        await relay.open()
        reader, writer = await asyncio.open_connection(*relay.listen)
        assert await _until_gone(reader)
        writer.close()
        relay.cut()
        assert relay.refused_total == 1

    _run(main())


def test_too_many_connections_are_refused_and_the_others_live() -> None:
    async def main() -> None:
        async with _world(most=2) as relay:
            kept = [await _say(relay, b"a") for _ in range(2)]
            reader, writer = await asyncio.open_connection(*relay.listen)
            assert await _until_gone(reader)
            writer.close()
            for reader, writer in kept:
                writer.write(b"still")
                assert await reader.readexactly(5) == b"still"
                writer.close()

    _run(main())


def test_a_slow_reader_slows_its_writer() -> None:
    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                writer.write(b"x" * 65_536)
                sent.append(65_536)
                await writer.drain()
        except OSError:
            writer.close()

    sent: list[int] = []

    async def main() -> None:
        async with _world(flood) as relay:
            reader, writer = await asyncio.open_connection(*relay.listen, limit=65_536)
            before = -1
            while before != len(sent):  # grows until every buffer on the way is full, then stands still
                before = len(sent)
                await asyncio.sleep(0.3)
            assert sum(sent) < 64_000_000
            for _ in range(4):
                await reader.readexactly(1_000_000)
            await eventually_async(lambda: len(sent) > before)
            writer.transport.abort()

    _run(main())


def test_a_cut_resets_and_refuses_and_heals() -> None:
    async def main() -> None:
        async with _world() as relay:
            reader, writer = await _say(relay, b"before")
            relay.cut()
            assert await _until_gone(reader)
            writer.close()
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(*relay.listen)
            await relay.open()
            _, writer = await _say(relay, b"after")
            writer.close()

    _run(main())


def test_a_black_hole_keeps_connections_and_lets_nothing_through() -> None:
    async def main() -> None:
        async with _world() as relay:
            reader, writer = await _say(relay, b"before")
            relay.hold()
            writer.write(b"lost?")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await reader.read(5)
            relay.release()
            assert await reader.readexactly(5) == b"lost?"
            writer.close()

    _run(main())


async def _until_gone(reader: asyncio.StreamReader) -> bool:
    try:
        return await reader.read() == b""
    except ConnectionResetError:
        return True
