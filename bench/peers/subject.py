"""An XMPP server as a subject: the same operations as Moonbow's, in XMPP's own words."""

from __future__ import annotations

import asyncio
import ssl
import time

from ..load import nothing, pour
from ..meter import Meter
from ..model import Archive, CatchUp, Hall, Line, Pair
from .servers import HOST, Server
from .xmpp import XmppLine, connect, enter, history

CROWD = 300
READER, WRITER = CROWD, CROWD + 1
USERS = CROWD + 2
WINDOW = 50  # of the one occupant who fills a room


class XmppSubject:
    """Users 0 .. CROWD - 1 are the crowd.  `tls` None: plain."""

    def __init__(self, name: str, server: Server, tls: ssl.SSLContext | None, filled: bool) -> None:
        self.name, self.server, self.tls = name, server, tls
        self.meter = Meter(server.kinds)
        self.filled = filled  # whether the archive was filled in an earlier pass
        self._suffix = b"tls" if tls else b"plain"

    def _room(self, name: bytes) -> bytes:
        return b"%b@muc.%b" % (name, HOST.encode())

    async def _lines(self, numbers: list[int], *, manages: bool = False) -> list[XmppLine]:
        found: list[XmppLine] = []
        for some in (numbers[at : at + 20] for at in range(0, len(numbers), 20)):
            found += await asyncio.gather(*(connect(number, self.tls, manages=manages) for number in some))
        return found

    async def pairs(self, count: int) -> list[Pair]:
        senders = await self._lines([2 * no for no in range(count)], manages=True)
        receivers = await self._lines([2 * no + 1 for no in range(count)])
        await asyncio.sleep(1.0)
        return [
            Pair(sender, receiver, b"u%d@%b" % (receiver.number, HOST.encode()))
            for sender, receiver in zip(senders, receivers, strict=True)
        ]

    async def hall(self, members: int) -> Hall:
        room = self._room(b"hall" + self._suffix)
        lines = await self._lines(list(range(members)))
        await lines[0].make(room)
        for line in lines[1:]:
            await line.join(room)
        await asyncio.sleep(1.0)
        found: list[Line] = [*lines]
        return Hall(found[:4], found, room)

    async def idle(self, count: int) -> list[Line]:
        return [*await self._lines([no % CROWD for no in range(count)])]

    async def archive(self, size: int, clients: int) -> Archive:
        room = self._room(b"archive")
        began = time.perf_counter()
        if not self.filled:
            writer = await connect(0, self.tls)
            await writer.make(room)
            await self._pour(writer, room, size, WINDOW)
            writer.close()
        fill_s = time.perf_counter() - began
        lines = await self._lines([1 + no for no in range(clients)])
        for line in lines:
            await line.join(room)

        async def page(client: int) -> int:
            line, count = lines[client], 0
            over = asyncio.get_running_loop().create_future()

            def hear(_stamp: bytes) -> None:
                nonlocal count
                count += 1

            line.heard, line.finished = hear, lambda: over.set_result(None)
            line.write(history(room, 50))
            await asyncio.wait_for(over, 30.0)
            return count

        return Archive(size if not self.filled else 0, fill_s, page)

    async def _pour(self, line: XmppLine, room: bytes, total: int, window: int) -> None:
        """Fill a room as its only speaker: a message is there when it comes back."""
        line.heard = lambda _stamp: line.acked()
        await pour([line], room, total, window)
        line.heard = nothing

    async def missed(self, rooms: int, each: int) -> CatchUp:
        names = [self._room(b"missed%d%b" % (no, self._suffix)) for no in range(rooms)]
        writer, reader = await connect(WRITER, self.tls), await connect(READER, self.tls)
        for room in names:
            await writer.make(room)
            await reader.join(room)
        reader.close()
        await asyncio.sleep(1.5)
        since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()).encode()
        await asyncio.sleep(1.2)
        for room in names:
            await self._pour(writer, room, each, 10)
        await asyncio.sleep(1.0)
        ask = b"".join(enter(room, READER) + history(room, 100, since) for room in names)

        async def again() -> tuple[float, float]:
            wanted, open_queries = rooms * each, rooms
            over = asyncio.get_running_loop().create_future()

            def hear(_stamp: bytes) -> None:
                nonlocal wanted
                wanted -= 1

            def finish() -> None:
                nonlocal open_queries
                open_queries -= 1
                if open_queries == 0:
                    over.set_result(None)

            began = time.perf_counter()
            line = await connect(READER, self.tls)
            line.heard, line.finished = hear, finish
            signed_on = time.perf_counter()
            line.write(ask)
            await asyncio.wait_for(over, 30.0)
            ended = time.perf_counter()
            line.close()
            if wanted:
                raise RuntimeError(f"{self.name}: {wanted} of the missed messages did not come")
            return ended - began, ended - signed_on

        return CatchUp(rooms * each, again)
