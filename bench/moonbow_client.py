"""Light clients of a Moonbow world: they look at bytes instead of parsing them, so that the generator is cheap."""

from __future__ import annotations

import asyncio
import itertools
import re
import ssl
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import msgspec
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from .load import nothing

TEXT = WSMsgType.TEXT
DIAL_S = 10.0
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.I)
_numbers = itertools.count(1)


class Door(NamedTuple):
    """Where to dial and the name to expect there."""

    address: str
    port: int
    domain: str
    tls: ssl.SSLContext


class Person(NamedTuple):
    """Somebody who signed in once; any number of connections may use the token."""

    ident: str
    token: str


class WsLine(WSListener):
    """One WebSocket.  `frame(payload)` gets every frame when it is set: for what needs more than counting."""

    def __init__(self) -> None:
        self.acked: Callable[[], None] = nothing
        self.heard: Callable[[bytes], None] = nothing
        self.frame: Callable[[bytes], None] | None = None
        self.trouble: list[str] = []
        self.transport: WSTransport | None = None
        loop = asyncio.get_running_loop()
        self.welcome: asyncio.Future[bytes] = loop.create_future()
        self.synced: asyncio.Future[None] = loop.create_future()

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.transport = None
        for future in (self.welcome, self.synced):
            if not future.done():
                future.set_exception(ConnectionError(f"closed before it was signed on: {self.trouble}"))
                future.exception()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type is not TEXT:
            if frame.msg_type is WSMsgType.CLOSE:
                self.trouble.append(f"close {frame.get_close_code()} {frame.get_close_message()!r}")
                transport.disconnect()
            return
        payload = frame.get_payload_as_bytes()
        kind = payload[6:9]
        if kind in (b"row", b"bod"):
            at = payload.find(b'"text":"', 60)
            if at > 0:
                self.heard(payload[at + 8 : at + 27])
        elif kind == b"ack":
            if b'"state":"refused"' in payload:
                self.trouble.append(payload.decode())
            self.acked()
        elif kind == b"wel":
            self.welcome.set_result(payload)
        elif kind == b"syn":
            self.synced.set_result(None)
        elif kind == b"pro":
            self.trouble.append(payload.decode())
        if self.frame is not None:
            self.frame(payload)

    def say(self, where: bytes, text: bytes) -> None:
        """Post a message to a room."""
        assert self.transport is not None, self.trouble
        number = next(_numbers)
        self.transport.send(
            TEXT,
            b'{"t":"post","room":"%b","client_id":"00000000-0000-4000-8000-%012x","text":"%b"}' % (where, number, text),
        )

    def close(self) -> None:
        """Leave without ceremony."""
        if self.transport is not None:
            self.transport.disconnect(graceful=False)


async def dial(door: Door, person: Person, first: bytes = b'{"t":"hello"}') -> WsLine:
    """A connection that has been dialled and has sent its first frame; its answers are on their way."""
    line = WsLine()
    headers = {
        "Host": f"{door.domain}:{door.port}",
        "Authorization": f"Bearer {person.token}",
        "Sec-WebSocket-Protocol": "moonbow.v1",
    }
    async with asyncio.timeout(DIAL_S):
        transport, _ = await ws_connect(
            lambda: line, f"wss://{door.address}:{door.port}/v1/stream", ssl_context=door.tls,
            server_hostname=door.domain, extra_headers=headers, max_frame_size=8 * 1_048_576,
        )  # fmt: skip
    transport.send(TEXT, first)
    return line


async def connect(door: Door, person: Person) -> WsLine:
    """A connection that is signed on and live."""
    line = await dial(door, person)
    async with asyncio.timeout(DIAL_S):
        await line.synced
    return line


class Http(asyncio.Protocol):
    """One HTTP/1.1 connection, one request at a time."""

    def __init__(self, door: Door) -> None:
        self.door = door
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError("the door closed"))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        status = int(self._buffer[9:12])
        length = _LENGTH.search(self._buffer, 0, end)
        need = end + 4 + (int(length[1]) if length else 0)
        if len(self._buffer) >= need:
            body, self._buffer = self._buffer[end + 4 : need], self._buffer[need:]
            if self._answer is not None and not self._answer.done():
                self._answer.set_result((status, body))

    async def ask(self, method: str, path: str, token: str = "", body: object = None) -> tuple[int, bytes]:
        """Status and body of the answer; dials when there is no connection."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(DIAL_S):
            if self._transport is None:
                door = self.door
                await loop.create_connection(
                    lambda: self, door.address, door.port, ssl=door.tls, server_hostname=door.domain
                )
            assert self._transport is not None
            payload = b"" if body is None else msgspec.json.encode(body)
            head = f"{method} {path} HTTP/1.1\r\nHost: {self.door.domain}:{self.door.port}\r\n"
            if token:
                head += f"Authorization: Bearer {token}\r\n"
            if body is not None:
                head += f"Content-Type: application/json\r\nContent-Length: {len(payload)}\r\n"
            self._answer = loop.create_future()
            self._transport.write(head.encode() + b"\r\n" + payload)
            return await self._answer

    async def must(self, method: str, path: str, token: str = "", body: object = None) -> Any:
        """The parsed body of an answer below 300; tries again when told to wait or when a door is busy."""
        for attempt in range(20):
            status, said = await self.ask(method, path, token, body)
            if status < 300:
                return msgspec.json.decode(said) if said else None
            if status not in (429, 502, 503, 504):
                break
            await asyncio.sleep(0.1 * (attempt + 1))
        raise RuntimeError(f"{method} {path}: {status} {said.decode(errors='replace')}")

    def close(self) -> None:
        """Leave."""
        if self._transport is not None:
            self._transport.close()
