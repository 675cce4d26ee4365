"""The director's small HTTP server by itself: a page that fails takes nobody's place."""

from __future__ import annotations

import asyncio

import pytest

from moonbow.base.http import CONNECTIONS_MAX, HttpServer, Page
from support import free_port


def test_a_page_that_fails_ends_its_connection(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> Page:
        raise ValueError("no such number")

    async def ask(port: int, path: str) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
            async with asyncio.timeout(5):
                return await reader.read()
        except ConnectionResetError:
            return b""
        finally:
            writer.close()

    async def play() -> None:
        server = HttpServer(
            "127.0.0.1", free_port(), lambda path, _: fail() if path == "/bad" else Page(200, "a/b", b"x")
        )
        await server.open()
        try:
            for _ in range(CONNECTIONS_MAX + 1):
                assert await ask(server.port, "/bad") == b""
            assert (await ask(server.port, "/good")).endswith(b"x")
        finally:
            await server.close()

    asyncio.run(play())
    assert "no such number" in caplog.text
