"""A light XMPP client: no XML parser, one regular expression over what comes."""

from __future__ import annotations

import asyncio
import base64
import re
import ssl
from collections.abc import Callable
from typing import cast

from ..load import nothing
from .servers import HOST, PLAIN, TLS

WAIT_S = 30.0
PASSWORD = b"lantern-harbour-quartz"
TOKEN_BYTES_MAX = 512  # of the longest thing that is looked for
HEADER = (
    b"<?xml version='1.0'?><stream:stream to='%b' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"
    b" version='1.0'>" % HOST.encode()
)
ASK_ACK = b"<r xmlns='urn:xmpp:sm:3'/>"
_SEEN = re.compile(
    rb"<body>(?P<stamp>\d{19}) |<a [^>]*?h=['\"](?P<h>\d+)['\"][^>]*>|(?P<ask><r xmlns[^>]*>)|(?P<fin><fin[ >])"
    rb"|(?P<stanza><(?:message|iq|presence)[ >])"
)


class XmppLine(asyncio.Protocol):
    """One connection.  `finished()` is called for each archive query that has been answered."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.acked: Callable[[], None] = nothing
        self.heard: Callable[[bytes], None] = nothing
        self.finished: Callable[[], None] = nothing
        self.manages = False  # the stream: asks for an acknowledgement after every message (XEP-0198)
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._until: tuple[tuple[bytes, ...], asyncio.Future[bytes]] | None = None
        self._acknowledged = self._stanzas = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._until is not None and not self._until[1].done():
            self._until[1].set_exception(ConnectionError(f"closed: {self._buffer[-500:]!r}"))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._until is not None:
            for token in self._until[0]:
                if token in self._buffer:
                    said, future = self._buffer, self._until[1]
                    self._until, self._buffer = None, b""
                    if not future.done():
                        future.set_result(said)
                    return
            return
        end = 0
        for match in _SEEN.finditer(self._buffer):
            end = match.end()
            kind = match.lastgroup
            if kind == "stamp":
                self.heard(match["stamp"])
            elif kind == "stanza":
                self._stanzas += 1
            elif kind == "h":
                self._take_ack(int(match["h"]))
            elif kind == "fin":
                self.finished()
            elif self.manages:
                self.write(b"<a xmlns='urn:xmpp:sm:3' h='%d'/>" % self._stanzas)
        self._buffer = self._buffer[max(end, len(self._buffer) - TOKEN_BYTES_MAX) :]

    def _take_ack(self, handled: int) -> None:
        news, self._acknowledged = handled - self._acknowledged, handled
        for _ in range(news):
            self.acked()

    def write(self, data: bytes) -> None:
        """Send as it is."""
        assert self._transport is not None, f"u{self.number} was disconnected: {self._buffer!r}"
        self._transport.write(data)

    async def ask(self, data: bytes, *tokens: bytes) -> bytes:
        """Send, and wait until one of `tokens` has come; what came until then."""
        future = asyncio.get_running_loop().create_future()
        self._until = (tokens, future)
        self.write(data)
        try:
            async with asyncio.timeout(WAIT_S):
                return cast(bytes, await future)
        except TimeoutError:
            raise TimeoutError(f"u{self.number} waited for {tokens}: {self._buffer[-800:]!r}") from None

    def say(self, where: bytes, text: bytes) -> None:
        kind = b"groupchat" if b"@muc." in where else b"chat"
        self.write(
            b"<message to='%b' type='%b' id='m%b'><body>%b</body></message>" % (where, kind, text[:19], text)
            + (ASK_ACK if self.manages else b"")
        )

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    async def join(self, room: bytes, *codes: bytes) -> None:
        """Enter a room without its history."""
        found = [quote for code in codes or (b"110",) for quote in (b"code='%b'" % code, b'code="%b"' % code)]
        await self.ask(enter(room, self.number), *found)

    async def make(self, room: bytes) -> None:
        """Make a room, with the server's defaults, and be in it."""
        await self.join(room, b"201")
        await self.ask(
            b"<iq type='set' id='made' to='%b'><query xmlns='http://jabber.org/protocol/muc#owner'>"
            b"<x xmlns='jabber:x:data' type='submit'/></query></iq>" % room,
            b"made",
        )


def enter(room: bytes, number: int) -> bytes:
    """The presence that enters a room."""
    return (
        b"<presence to='%b/n%d'><x xmlns='http://jabber.org/protocol/muc'><history maxstanzas='0'/></x></presence>"
        % (room, number)
    )  # fmt: skip


def history(room: bytes, size: int, since: bytes = b"") -> bytes:
    """A query of a room's archive: its newest `size`, or `size` since a time."""
    if since:
        form = (
            b"<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'><value>urn:xmpp:mam:2</value>"
            b"</field><field var='start'><value>%b</value></field></x>" % since
        )
        before = b""
    else:
        form, before = b"", b"<before/>"
    return (
        b"<iq type='set' id='page' to='%b'><query xmlns='urn:xmpp:mam:2'>%b"
        b"<set xmlns='http://jabber.org/protocol/rsm'><max>%d</max>%b</set></query></iq>" % (room, form, size, before)
    )  # fmt: skip


async def connect(number: int, tls: ssl.SSLContext | None, *, manages: bool = False) -> XmppLine:
    """A connection of user `number` that is signed on and present."""
    line = XmppLine(number)
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(WAIT_S):
        if tls is None:
            await loop.create_connection(lambda: line, "127.0.0.1", PLAIN)
        else:
            await loop.create_connection(lambda: line, "127.0.0.1", TLS, ssl=tls, server_hostname=HOST)
    await line.ask(HEADER, b"</stream:features>")
    secret = base64.b64encode(b"\0u%d\0%b" % (number, PASSWORD))
    start = b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>%b</auth>"
    said = await line.ask(start % secret, b"<success", b"<failure")
    if b"<failure" in said:
        raise RuntimeError(f"u{number} was refused: {said!r}")
    await line.ask(HEADER, b"</stream:features>")
    await line.ask(b"<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>", b"</iq>")
    line.write(b"<presence/>")
    if manages:
        await line.ask(b"<enable xmlns='urn:xmpp:sm:3'/>", b"<enabled")
        line.manages = True
    return line


async def register(count: int) -> None:
    """Make users 0 .. count - 1 on a plain connection."""
    line = XmppLine(0)
    await asyncio.get_running_loop().create_connection(lambda: line, "127.0.0.1", PLAIN)
    await line.ask(HEADER, b"</stream:features>")
    for number in range(count):
        said = await line.ask(
            b"<iq type='set' id='r%d'><query xmlns='jabber:iq:register'><username>u%d</username><password>%b</password>"
            b"</query></iq>" % (number, number, PASSWORD),
            b"r%d" % number,
        )
        if b"error" in said:
            raise RuntimeError(f"u{number} was not registered: {said!r}")
    line.close()
