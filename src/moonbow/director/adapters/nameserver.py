"""The sockets of the name server: UDP, and TCP with its limits (RFC 7766).  What to answer is the desk's business.

UDP here is asyncio's, for a process that has other work, too; `datagrams` serves the same sockets faster.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Sequence
from typing import cast

from moonbow.director.desk import Desk
from moonbow.director.dns import packed

RECEIVE_BUFFER_BYTES = 4 * 1_048_576
UDP_QUERY_BYTES_MAX = 4_096
TCP_QUERY_BYTES_MAX = 4_096
TCP_CONNECTIONS_MAX = 128
TCP_IDLE_S = 10.0
TCP_WAITING_BYTES_HIGH = 65_536
TICK_S = 1.0


class NameServer:
    """UDP and TCP on one port of one or more addresses of either family.  Port 0 takes a free one: see `port`."""

    def __init__(self, addresses: Sequence[str], port: int, desk: Desk, *, share_port: bool = False) -> None:
        self.addresses = tuple(addresses)
        self.port = port
        self.desk = desk
        self.streams: set[_Stream] = set()
        self._share_port = share_port
        self._udp: list[socket.socket] = []
        self._tcp: list[socket.socket] = []
        self._open: list[asyncio.BaseTransport | asyncio.Server] = []
        self._ticking: asyncio.Task[None] | None = None

    def bind(self) -> list[socket.socket]:
        """Take the addresses, so that questions wait in the kernel until they are served; OSError if they are taken.

        The UDP sockets.  With `share_port` other processes may take the same ones, and the kernel shares out the work.
        """
        for address in self.addresses:
            for kind, found in ((socket.SOCK_DGRAM, self._udp), (socket.SOCK_STREAM, self._tcp)):
                sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
                found.append(sock)
                sock.setblocking(False)
                if sock.family == socket.AF_INET6:
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                if kind == socket.SOCK_DGRAM:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
                else:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if self._share_port:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                sock.bind((address, self.port))
                self.port = sock.getsockname()[1]
        return self._udp

    async def open(self) -> None:
        """Answer from now on, UDP as well as TCP, and keep the desk's time."""
        loop = asyncio.get_running_loop()
        for sock in self._udp:
            transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self.desk), sock=sock)
            self._open.append(transport)
        self._ticking = asyncio.create_task(self._tick())
        await self.open_streams()

    async def open_streams(self) -> None:
        """Answer over TCP from now on; UDP and the time are somebody else's."""
        loop = asyncio.get_running_loop()
        for sock in self._tcp:
            self._open.append(await loop.create_server(lambda: _Stream(self), sock=sock, backlog=128))

    async def close(self) -> None:
        """Stop listening and end what is connected."""
        if self._ticking is not None:
            self._ticking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._ticking
        for opened in self._open:
            opened.close()
        for sock in (*self._udp, *self._tcp):
            sock.close()
        for stream in tuple(self.streams):
            stream.abort()

    async def _tick(self) -> None:
        while True:
            self.desk.tick(time.time())
            await asyncio.sleep(TICK_S)


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
        if len(data) > UDP_QUERY_BYTES_MAX or addr[1] == 0:
            return
        reply = self._desk.handle(data, packed(cast(str, addr[0])))
        if reply is not None and self._transport is not None:
            self._transport.sendto(reply, addr)


class _Stream(asyncio.Protocol):
    """One TCP connection: messages with a length in front, answered in order, as many as its reader keeps up with."""

    def __init__(self, server: NameServer) -> None:
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._waiting = bytearray()
        self._source = b""
        self._transport: asyncio.Transport | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._choked = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        if len(self._server.streams) >= TCP_CONNECTIONS_MAX or peer is None:
            self._server.desk.counts.tcp_refused += 1
            self._transport.abort()
            return
        self._source = packed(peer[0])
        self._server.streams.add(self)
        self._server.desk.tcp_connections = len(self._server.streams)
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
        self._server.desk.tcp_connections = len(self._server.streams)

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
            reply = self._server.desk.handle_stream(bytes(self._waiting[at + 2 : at + 2 + size]), self._source)
            at += 2 + size
            if reply is None:  # not a query: whoever speaks here speaks something else
                self.abort()
                return
            transport.write(len(reply).to_bytes(2, "big") + reply)
            self._rearm()
        del self._waiting[:at]
