"""A TCP relay that can be held or cut: accepts at one address and passes each connection on to another.

Half-closes travel, a slow reader slows its writer, connections are bounded.  Bytes that arrive before the far side is
dialled are kept, because with uvloop `pause_reading` in `connection_made` does not hold them back.

Several reasons can stop reading at once, so they are kept as bits: `CHOKED`, the other side is slow; `EARLY`, much
arrived before the other side was dialled; `HELD`, the operator made a black hole.  A held relay delivers what the
kernel kept once it is released, as a network does that heals.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import cast

from .links import Address

DIAL_S = 1.0
EARLY_BYTES_MAX = 65_536
WRITE_BYTES_HIGH = 262_144
CHOKED, HELD, EARLY = 1, 2, 4

log = logging.getLogger("moonbow.launch")
Targets = Callable[[], Awaitable[Sequence[Address]]]


class Relay:
    """Connections accepted at `listen` go to the first of `targets()` that accepts within a second.

    `bind`: the address the onward connection comes from.  Beyond `connections_max` new ones are closed at once.
    """

    def __init__(self, listen: Address, targets: Targets, *, bind: str | None, connections_max: int) -> None:
        self.listen = listen
        self.targets = targets
        self.bind = bind
        self.connections_max = connections_max
        self.accepted_total = 0
        self.refused_total = 0
        self._server: asyncio.Server | None = None
        self._pairs: set[_Near] = set()
        self._released = asyncio.Event()
        self._released.set()

    async def open(self) -> None:
        """Listen; a relay that listens already is left as it is.  OSError if the address is taken."""
        if self._server is None:
            host, port = self.listen
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(lambda: _Near(self), host, port, backlog=512)

    def cut(self) -> None:
        """Refuse new connections and reset those that stand."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for pair in tuple(self._pairs):
            pair.abort()
        self._released.set()

    def hold(self) -> None:
        """Become a black hole: connections stay up, and nothing gets through."""
        self._released.clear()
        for pair in self._pairs:
            pair.hold(True)

    def release(self) -> None:
        """Let everything through again."""
        self._released.set()
        for pair in self._pairs:
            pair.hold(False)

    @property
    def held(self) -> bool:
        """Whether the relay is a black hole now."""
        return not self._released.is_set()

    @property
    def connections(self) -> int:
        """How many accepted connections stand."""
        return len(self._pairs)

    def opened(self, near: _Near) -> bool:
        """Take an accepted connection in; False if there are too many."""
        if len(self._pairs) >= self.connections_max:
            self.refused_total += 1
            return False
        self.accepted_total += 1
        self._pairs.add(near)
        return True

    def closed(self, near: _Near) -> None:
        """Both sides of the connection are gone."""
        self._pairs.discard(near)

    async def dial(self, near: _Near) -> _Far | None:
        """The far side of a new connection; None if nobody accepts."""
        await self._released.wait()
        loop = asyncio.get_running_loop()
        for host, port in await self.targets():
            try:
                async with asyncio.timeout(DIAL_S):
                    local = (self.bind, 0) if self.bind else None
                    _, far = await loop.create_connection(lambda: _Far(near), host, port, local_addr=local)
                    return far
            except OSError:  # refused, unreachable, timed out (TimeoutError is one): the next may do
                continue
        self.refused_total += 1
        return None


class _Side(asyncio.Protocol):
    """One end of a relayed connection; `peer` is the other."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.peer: _Side | None = None
        self.stopped = 0
        self.ended = False  # nothing more will come from this end
        self.gone = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is one, though not by inheritance
        self.transport.set_write_buffer_limits(high=WRITE_BYTES_HIGH)

    def data_received(self, data: bytes) -> None:
        peer = self.peer
        if peer is not None and peer.transport is not None:
            peer.transport.write(data)

    def eof_received(self) -> bool:
        self.ended = True
        if self.peer is not None:
            self.peer.finish()
            return not self.peer.ended
        return True

    def finish(self) -> None:
        """The other end will send no more: pass that on, and close when this end has finished too."""
        if self.transport is None or self.transport.is_closing():
            return
        if self.ended:
            self.transport.close()
        else:
            self.transport.write_eof()

    def pause_writing(self) -> None:
        if self.peer is not None:
            self.peer.stop(CHOKED)

    def resume_writing(self) -> None:
        if self.peer is not None:
            self.peer.go(CHOKED)

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone = True
        peer = self.peer
        if peer is not None and peer.transport is not None and not peer.gone:
            peer.go(CHOKED | HELD | EARLY)
            if exc is None:
                peer.transport.close()
            else:
                peer.transport.abort()

    def stop(self, reason: int) -> None:
        """Stop reading for `reason`."""
        if not self.stopped and self.transport is not None and not self.transport.is_closing():
            self.transport.pause_reading()
        self.stopped |= reason

    def go(self, reason: int) -> None:
        """`reason` no longer stops reading."""
        before, self.stopped = self.stopped, self.stopped & ~reason
        if before and not self.stopped and self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()


class _Near(_Side):
    """The accepted end: it dials, and keeps early bytes until the far end stands."""

    def __init__(self, relay: Relay) -> None:
        super().__init__()
        self.relay = relay
        self.early: list[bytes] | None = []
        self.early_bytes = 0
        self.dialling: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert self.transport is not None
        if not self.relay.opened(self):
            self.transport.abort()
            return
        self.dialling = asyncio.get_running_loop().create_task(self._join())

    async def _join(self) -> None:
        far = await self.relay.dial(self)
        assert self.transport is not None
        if far is None:
            self.transport.abort()
            return
        assert far.transport is not None
        if self.gone or far.gone:
            far.transport.abort()
            self.transport.close()
            return
        self.peer = far
        early, self.early = self.early, None
        far.transport.writelines(early or [])
        if self.ended:
            far.finish()
        if self.relay.held:
            self.hold(True)
        self.go(EARLY)

    def data_received(self, data: bytes) -> None:
        if self.early is None:
            super().data_received(data)
            return
        self.early.append(data)
        self.early_bytes += len(data)
        if self.early_bytes > EARLY_BYTES_MAX:
            self.stop(EARLY)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self.dialling is not None and self.peer is None:
            self.dialling.cancel()
        if self.peer is None or self.peer.gone:
            self.relay.closed(self)

    def hold(self, wanted: bool) -> None:
        """Stop or resume both directions."""
        for side in (self, self.peer):
            if side is not None:
                (side.stop if wanted else side.go)(HELD)

    def abort(self) -> None:
        """Reset both ends."""
        for side in (self, self.peer):
            if side is not None and side.transport is not None:
                side.transport.abort()


class _Far(_Side):
    """The dialled end."""

    def __init__(self, near: _Near) -> None:
        super().__init__()
        self.peer = near

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        assert isinstance(self.peer, _Near)
        if self.peer.gone:
            self.peer.relay.closed(self.peer)
