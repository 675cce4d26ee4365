"""The sockets of the name server: UDP, and TCP with its limits (RFC 7766).  What to answer is `dns.Responder`'s."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Callable
from typing import cast

from moonbow.director.dns import Responder

RECEIVE_BUFFER_BYTES = 4 * 1_048_576
UDP_QUERY_BYTES_MAX = 4_096
TCP_QUERY_BYTES_MAX = 4_096
TCP_CONNECTIONS_MAX = 128
TCP_IDLE_S = 10.0
TCP_WAITING_BYTES_HIGH = 65_536
BIG_REPLY_BYTES = 512
BIG_REPLIES_PER_S = 100.0  # over UDP; beyond it they are truncated, so that nobody uses us to flood somebody else

Answer = Callable[[], Responder]


class Counts:
    """What happened so far, for the metrics."""

    def __init__(self) -> None:
        self.replies: Counter[tuple[str, int]] = Counter()  # (transport, rcode)
        self.silent: Counter[str] = Counter()
        self.truncated_flood = 0
        self.tcp_connections = 0
        self.tcp_refused = 0


class Budget:
    """A token bucket: `per_s` on average, as much again at once."""

    def __init__(self, per_s: float) -> None:
        self.per_s = per_s
        self._left = per_s
        self._at_s = 0.0

    def take(self, now_s: float) -> bool:
        """Whether one more is allowed now."""
        self._left = min(self.per_s, self._left + (now_s - self._at_s) * self.per_s)
        self._at_s = now_s
        if self._left < 1:
            return False
        self._left -= 1
        return True


class NameServer:
    """UDP and TCP on one address and port, asking `current` for the responder of the moment."""

    def __init__(self, address: str, port: int, current: Answer) -> None:
        self.address = address
        self.port = port
        self.current = current
        self.counts = Counts()
        self.streams: set[_Stream] = set()
        self._sockets: list[socket.socket] = []
        self._udp: asyncio.BaseTransport | None = None
        self._tcp: asyncio.Server | None = None

    def bind(self) -> None:
        """Take the addresses, so that questions wait in the kernel until `open`; OSError if they are taken."""
        family = socket.AF_INET6 if ":" in self.address else socket.AF_INET
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            sock = socket.socket(family, kind)
            self._sockets.append(sock)
            sock.setblocking(False)
            if kind == socket.SOCK_DGRAM:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
            else:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((self.address, self.port))

    async def open(self) -> None:
        """Answer from now on."""
        loop = asyncio.get_running_loop()
        udp, tcp = self._sockets
        self._udp, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self), sock=udp)
        self._tcp = await loop.create_server(lambda: _Stream(self), sock=tcp, backlog=128)

    async def close(self) -> None:
        """Stop listening and end what is connected."""
        if self._udp is not None:
            self._udp.close()
        if self._tcp is not None:
            self._tcp.close()
        for sock in self._sockets:
            sock.close()
        for stream in tuple(self.streams):
            stream.abort()

    def count(self, transport: str, reply: bytes | None) -> None:
        """Note one query and how it was answered."""
        if reply is None:
            self.counts.silent[transport] += 1
        else:
            self.counts.replies[transport, reply[3] & 0xF] += 1


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: NameServer) -> None:
        self._server = server
        self._big = Budget(BIG_REPLIES_PER_S)
        self._clock = asyncio.get_running_loop().time
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
        if len(data) > UDP_QUERY_BYTES_MAX or addr[1] == 0:
            self._server.count("udp", None)
            return
        responder, source = self._server.current(), cast(str, addr[0])
        reply = responder.respond(data, source)
        if reply is not None and len(reply) > BIG_REPLY_BYTES and not self._big.take(self._clock()):
            self._server.counts.truncated_flood += 1
            reply = responder.respond(data, source, small=True)
        self._server.count("udp", reply)
        if reply is not None and self._transport is not None:
            self._transport.sendto(reply, addr)


class _Stream(asyncio.Protocol):
    """One TCP connection: messages with a length in front, answered in order, as many as its reader keeps up with."""

    def __init__(self, server: NameServer) -> None:
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._waiting = bytearray()
        self._source = ""
        self._transport: asyncio.Transport | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._choked = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        if len(self._server.streams) >= TCP_CONNECTIONS_MAX or peer is None:
            self._server.counts.tcp_refused += 1
            self._transport.abort()
            return
        self._source = peer[0]
        self._server.streams.add(self)
        self._server.counts.tcp_connections = len(self._server.streams)
        self._transport.set_write_buffer_limits(high=TCP_WAITING_BYTES_HIGH)
        self._rearm()

    def data_received(self, data: bytes) -> None:
        self._waiting += data
        self._work()

    def pause_writing(self) -> None:
        self._choked = True
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._choked = False
        if self._transport is not None:
            self._transport.resume_reading()
        self._work()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._idle is not None:
            self._idle.cancel()
        self._server.streams.discard(self)
        self._server.counts.tcp_connections = len(self._server.streams)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _rearm(self) -> None:
        """A whole query renews the time to live; bytes alone do not, so a slow sender cannot hold a place."""
        if self._idle is not None:
            self._idle.cancel()
        self._idle = self._loop.call_later(TCP_IDLE_S, self.abort)

    def _work(self) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        at = 0
        while not self._choked and len(self._waiting) - at >= 2:
            size = int.from_bytes(self._waiting[at : at + 2], "big")
            if size > TCP_QUERY_BYTES_MAX:
                self.abort()
                return
            if len(self._waiting) - at - 2 < size:
                break
            reply = self._server.current().respond(bytes(self._waiting[at + 2 : at + 2 + size]), self._source, tcp=True)
            at += 2 + size
            self._server.count("tcp", reply)
            if reply is None:  # not a query: whoever speaks here speaks something else
                self.abort()
                return
            transport.write(len(reply).to_bytes(2, "big") + reply)
            self._rearm()
        del self._waiting[:at]
