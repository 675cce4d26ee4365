"""A small HTTP/1.1 server for a process's own pages, bounded in connections, sizes and time.

What takes its time is awaited, and its connection waits with it.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from typing import NamedTuple, cast
from urllib.parse import parse_qsl, urlsplit

import httptools

REQUEST_BYTES_MAX = 8_192
CONNECTIONS_MAX = 64
IDLE_S = 15.0
SHAKE_S = 2.0  # for a TLS handshake
PHRASES = {
    200: "OK",
    201: "Created",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    409: "Conflict",
    503: "Service Unavailable",
}

log = logging.getLogger("moonbow.http")


class Page(NamedTuple):
    """One answer."""

    status: int
    kind: str
    body: bytes


Serve = Callable[[str, dict[str, str]], Page | Awaitable[Page]]  # (path, query) -> page; must not fail
Act = Callable[[str, str, bytes, str], Awaitable[Page]]  # (method, path, body, authorization); must not fail


class HttpServer:
    """Pages of `serve` on one address and port.  POST and DELETE go to `act`; without it, and others, to nobody.

    With `tls` it speaks HTTPS, to those whom that lets in.
    """

    def __init__(
        self, address: str, port: int, serve: Serve, act: Act | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        self.address = address
        self.port = port
        self.serve = serve
        self.act = act
        self.tls = tls
        self.talks: set[_Talk] = set()
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Listen; OSError if the port is taken."""
        loop = asyncio.get_running_loop()
        shake_s = SHAKE_S if self.tls else None
        self._server = await loop.create_server(
            lambda: _Talk(self), self.address, self.port, backlog=64, ssl=self.tls, ssl_handshake_timeout=shake_s
        )

    async def close(self) -> None:
        """Stop listening and end what is connected."""
        if self._server is not None:
            self._server.close()
        for talk in tuple(self.talks):
            talk.end()


class _Talk(asyncio.Protocol):
    def __init__(self, server: HttpServer) -> None:
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._url = self._body = self._authorization = b""
        self._taken = 0
        self._acting: asyncio.Task[None] | None = None
        self._idle: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if len(self._server.talks) >= CONNECTIONS_MAX:
            self._transport.abort()
            return
        self._server.talks.add(self)
        self._rearm()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._idle is not None:
            self._idle.cancel()
        if self._acting is not None:
            self._acting.cancel()
        self._server.talks.discard(self)

    def data_received(self, data: bytes) -> None:
        self._taken += len(data)
        if self._taken > REQUEST_BYTES_MAX or self._acting is not None:  # nobody speaks while being answered
            self.end()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:  # its upgrade request is one of these, too: we speak HTTP/1.1 only
            self._reply(Page(400, "text/plain", b"not an HTTP request\n"), keep=False)

    def pause_writing(self) -> None:
        self.end()  # pages are small: who does not take one is not reading

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"authorization":
            self._authorization = value

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        url, body, key, self._taken = self._url, self._body, self._authorization.decode("latin-1"), 0
        self._url = self._body = self._authorization = b""
        if self._acting is not None:
            self.end()
            return
        keep = self._parser.should_keep_alive()
        method, act = self._parser.get_method().decode("ascii"), self._server.act
        if method != "GET" and (act is None or method not in ("POST", "DELETE")):
            self._reply(Page(405, "text/plain", b"only GET\n"), keep)
            return
        try:
            parts = urlsplit(url.decode("ascii"))
            query = dict(parse_qsl(parts.query, max_num_fields=16))
        except ValueError:
            self._reply(Page(400, "text/plain", b"not a URL\n"), keep)
            return
        work = self._server.serve(parts.path, query) if method == "GET" or act is None else None
        if isinstance(work, Page):
            self._reply(work, keep)
            return
        if work is None and act is not None:
            work = act(method, parts.path, body, key)
        assert work is not None
        self._acting = asyncio.get_running_loop().create_task(self._act(work, keep))

    async def _act(self, work: Awaitable[Page], keep: bool) -> None:
        if self._idle is not None:
            self._idle.cancel()
        try:
            page = await work
        except Exception:  # a page that fails must not hold its place for ever
            log.exception("page")
            self.end()
            return
        self._acting = None
        self._reply(page, keep)

    def end(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _rearm(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        self._idle = asyncio.get_running_loop().call_later(IDLE_S, self.end)

    def _reply(self, page: Page, keep: bool) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        head = (
            f"HTTP/1.1 {page.status} {PHRASES[page.status]}\r\ncontent-type: {page.kind}\r\n"
            f"content-length: {len(page.body)}\r\ncache-control: no-store\r\n"
            f"{'' if keep else 'connection: close' + chr(13) + chr(10)}\r\n"
        )
        transport.write(head.encode("ascii") + page.body)
        self._rearm()
        if not keep:
            transport.close()
