"""One kept HTTP/1.1 connection: a question at a time, as cheap as a probe should be.

`await loop.create_connection(Line, …)` or `create_unix_connection` makes one.  Its end is noticed at once (`lost`),
before the next question is due.  The caller sets the time of an answer, and drops the line when that is up.
"""

from __future__ import annotations

import asyncio
from typing import cast

import httptools

ANSWER_BYTES_MAX = 262_144


class BadAnswer(ValueError):
    """The other side does not speak HTTP, or says too much."""


class Line(asyncio.Protocol):
    """A connection that asks.  An answer longer than `ANSWER_BYTES_MAX` or not in HTTP ends it."""

    def __init__(self) -> None:
        self.lost = asyncio.Event()
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._body = b""

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Status and body; `ConnectionError` if the other side goes away, `BadAnswer` if it speaks no HTTP."""
        if self._transport is None or self.lost.is_set():
            raise ConnectionResetError
        self._body = b""
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def abort(self) -> None:
        """End the connection without farewell."""
        self.lost.set()
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one, though not by inheritance

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._settle(BadAnswer(str(error)))
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()
        self._settle(ConnectionResetError())

    def on_body(self, body: bytes) -> None:
        self._body += body
        if len(self._body) > ANSWER_BYTES_MAX:
            self._settle(BadAnswer("too long"))
            self.abort()

    def on_message_complete(self) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result((self._parser.get_status_code(), self._body))
        if not self._parser.should_keep_alive():
            self.lost.set()
            if self._transport is not None:
                self._transport.close()

    def _settle(self, error: Exception) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)
