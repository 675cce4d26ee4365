"""The way out: who may read a file, and its bytes, from this region's objects or live from another region's.

Bytes of another region are never stored here: they pass through memory, `CHUNK_BYTES` at a time, and only for a reader
who by both regions' word may see an entry that carries the file.  Laws: the region that asks vouches for its reader;
the one that answers tells nothing of a file to a region without a person who may see it; every chunk is asked for, and
decided upon, anew, so a redaction ends a download that is under way.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Protocol, TypeVar

import msgspec
from prometheus_client import Counter

from moonbow.base.errors import Refused, Unavailable
from moonbow.base.ids import home
from moonbow.federation.border import region_of
from moonbow.federation.model import UNREADABLE
from moonbow.timeline.ports import Store

from . import policy
from .model import Described, File, Sight, Span
from .ports import Bus
from .shelf import Shelf, unknown
from .uploads import SMALL

SENT = Counter("moonbow_files_sent_bytes", "Bytes given to readers", ["where"])
CHUNK_BYTES = 262_144
IN_FLIGHT = 4
TRIES_MAX = 6  # at one chunk, and at a place that our copy or theirs does not know yet
PAUSE_S = 0.25
ASK_S = 4.0
OPEN_OP, READ_OP = "files.open", "files.read"
SMALL_BYTES_MAX = 262_144
SIGHTS_MAX = 100
T = TypeVar("T")


class OpenAsk(msgspec.Struct, frozen=True, array_like=True):
    """What a file of yours is, and by which entries our person `reader` may see it."""

    file: str
    reader: str


class Opened(msgspec.Struct, frozen=True, array_like=True):
    """The answer.  `waiting`: there may be another entry in a moment."""

    file: Described | None
    sights: list[Sight]
    waiting: bool = False


class ReadAsk(msgspec.Struct, frozen=True, array_like=True):
    """Bytes of a file, by the entry through which `reader` sees it.  `small`: the whole thumbnail."""

    file: str
    reader: str
    sight: Sight
    start: int
    size: int
    small: bool = False


pack = msgspec.msgpack.Encoder().encode


class Content(Protocol):
    """A file that may be read: what it is, and its bytes."""

    about: Described

    def read(self, span: Span) -> AsyncGenerator[bytes]:
        """A piece of it, in order."""
        ...

    async def small(self) -> bytes:
        """Its thumbnail, a WebP."""
        ...


class OwnContent:
    """A file of this region; `check` raises once its reader may not read it any more."""

    def __init__(self, shelf: Shelf, file: File, about: Described, check: Callable[[], Awaitable[object]]) -> None:
        self.shelf, self.file, self.about, self.check = shelf, file, about, check

    async def read(self, span: Span) -> AsyncGenerator[bytes]:
        begun = False
        async with aclosing(self.shelf.read(self.file, span)) as pieces:
            async for some in pieces:
                if begun:
                    await self.check()
                begun = True
                SENT.labels("own").inc(len(some))
                yield some

    async def small(self) -> bytes:
        return await small(self.shelf, self.file)


class FarContent:
    """A file of another region, for one reader of ours and by one entry."""

    def __init__(self, bus: Bus, about: Described, reader: str, sight: Sight) -> None:
        self.bus, self.about, self.reader, self.sight = bus, about, reader, sight
        self.owner = home(about.id)

    async def read(self, span: Span) -> AsyncGenerator[bytes]:
        starts = range(span.start, span.start + span.size, CHUNK_BYTES)
        ahead: list[asyncio.Task[bytes]] = []
        try:
            for no in range(len(starts)):
                while len(ahead) < IN_FLIGHT and no + len(ahead) < len(starts):
                    start = starts[no + len(ahead)]
                    size = min(CHUNK_BYTES, span.start + span.size - start)
                    ahead.append(asyncio.create_task(self._chunk(start, size)))
                chunk = await ahead.pop(0)
                SENT.labels("abroad").inc(len(chunk))
                yield chunk
        finally:
            for task in ahead:
                task.cancel()
            await asyncio.gather(*ahead, return_exceptions=True)

    async def small(self) -> bytes:
        return await self._ask(ReadAsk(self.about.id, self.reader, self.sight, 0, 0, small=True))

    async def _chunk(self, start: int, size: int) -> bytes:
        chunk = await self._ask(ReadAsk(self.about.id, self.reader, self.sight, start, size))
        if len(chunk) != size:
            raise Unavailable("answer_malformed", f"{self.owner} gave {len(chunk)} bytes", region=self.owner)
        return chunk

    async def _ask(self, ask: ReadAsk) -> bytes:
        """Asked again for as long as a site over there may be going and another one coming."""
        for left in reversed(range(TRIES_MAX)):
            try:
                return await self.bus.request(self.owner, READ_OP, pack(ask), ASK_S)
            except Unavailable as error:
                if left == 0:
                    raise held(self.owner) from error
                await asyncio.sleep(PAUSE_S)
        raise unknown()


class Reading:
    """One gateway's share of giving files out, to its own people and to other regions."""

    def __init__(
        self, shelf: Shelf, timeline: Store, bus: Bus, regions: Sequence[str], clock: Callable[[], float] = time.time
    ) -> None:
        self.shelf, self.timeline, self.bus, self.clock = shelf, timeline, bus, clock
        self.region, self.regions = timeline.region, frozenset(regions)

    async def open(self, reader: str, ident: str) -> Content:
        """A file that a person of this region may read; `Refused` (404) for everything else.

        `Unavailable` (`file_held`) when its region cannot be reached.
        """
        if home(ident) == self.region:
            return await self._open_own(reader, ident)
        if home(ident) not in self.regions:
            raise unknown()
        for _ in range(TRIES_MAX):
            opened = await self._ask_open(reader, ident)
            mine = await self.timeline.read(policy.seen, reader, opened.sights[:SIGHTS_MAX])
            if opened.file is not None and mine:
                return FarContent(self.bus, opened.file, reader, mine[0])
            if not opened.waiting and not opened.sights:
                break
            await asyncio.sleep(PAUSE_S)
        raise unknown()

    async def _open_own(self, reader: str, ident: str) -> Content:
        file = await self._own(reader, ident)
        return OwnContent(self.shelf, file, await self.describe(file), lambda: self._own(reader, ident))

    async def _own(self, reader: str, ident: str) -> File:
        """A file of this region that a person of ours may read now."""
        file = await self._ready(ident)
        if file is None or (file.owner != reader and not (await self._sights(file, reader))[0]):
            raise unknown()
        return file

    async def _ready(self, ident: str) -> File | None:
        """A file of this region that can be read at all."""
        file = await self.shelf.catalogue.file(ident)
        if file is None or file.state != "ready":
            file = await self.shelf.catalogue.file(ident, fresh=True)
        if file is None or file.state != "ready" or policy.is_over(file, self.clock()):
            return None
        return file

    async def _sights(self, file: File, reader: str) -> tuple[list[Sight], bool]:
        """The entries by which a person may read a file, and whether there may be another one in a moment."""
        found: list[Sight] = []
        waiting = False
        for fresh in (False, True):
            shares = await self.shelf.catalogue.shares(file.id, fresh=fresh)
            found, waiting = await self.timeline.read(policy.seen_by_share, file.id, file.owner, reader, shares)
            if found:
                break
        return found, waiting

    async def describe(self, file: File) -> Described:
        """What readers are told of a file."""
        [name] = await self.shelf.names_of([file])
        return Described(file.id, name, file.type, file.size, file.width, file.height, file.thumbnail)

    async def _ask_open(self, reader: str, ident: str) -> Opened:
        there = home(ident)
        try:
            answer = await self.bus.request(there, OPEN_OP, pack(OpenAsk(ident, reader)), ASK_S)
            opened = msgspec.msgpack.decode(answer, type=Opened)
        except (Unavailable, *UNREADABLE) as error:
            raise held(there) from error
        if opened.file is not None and (opened.file.id != ident or not policy.is_described(opened.file)):
            raise Unavailable("answer_malformed", f"{there} answered with another file", region=there)
        return opened

    # -- for other regions -----------------------------------------------------------------------------------------

    async def serve_open(self, caller: str, payload: bytes) -> bytes:
        """What a file is, for a region with a reader who may see it; nothing otherwise."""
        ask = _decode(payload, OpenAsk)
        self._check(caller, ask.file, ask.reader)
        file = await self._ready(ask.file)
        if file is None:
            return pack(Opened(None, []))
        found, waiting = await self._sights(file, ask.reader)
        return pack(Opened(await self.describe(file) if found else None, found[:SIGHTS_MAX], waiting))

    async def serve_read(self, caller: str, payload: bytes) -> bytes:
        """A piece of a file, for a region whose reader may see the entry that it names."""
        ask = _decode(payload, ReadAsk)
        self._check(caller, ask.file, ask.reader)
        file = await self._ready(ask.file)
        if file is None or ask.sight.entry not in {one.entry for one in (await self._sights(file, ask.reader))[0]}:
            raise unknown()
        if ask.small:
            return await small(self.shelf, file) if file.thumbnail else b""
        if not (0 <= ask.start < file.size and 0 < ask.size <= min(CHUNK_BYTES, file.size - ask.start)):
            raise Refused("malformed", "no such piece of the file")
        chunk = b"".join([some async for some in self.shelf.read(file, Span(ask.start, ask.size))])
        SENT.labels("border").inc(len(chunk))
        return chunk

    def _check(self, caller: str, ident: str, reader: str) -> None:
        if region_of(ident, "fil") != self.region or region_of(reader, "usr") != caller:
            raise Refused("forbidden", "a region asks for its own people, where the file rests", status=403)


async def small(shelf: Shelf, file: File) -> bytes:
    """The thumbnail of a file of this region."""
    return await shelf.get(file.owner, f"{file.id}/{SMALL}", f"{file.id}/{SMALL}")


def held(region: str) -> Unavailable:
    """What a reader is told when a file's region cannot be asked."""
    return Unavailable("file_held", f"the file rests in {region}, which cannot be reached now", region=region)


def _decode(payload: bytes, kind: type[T]) -> T:
    try:
        return msgspec.msgpack.decode(payload, type=kind)
    except UNREADABLE as error:
        raise Refused("malformed", str(error)) from error
