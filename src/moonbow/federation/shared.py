"""The shared plane: what every region may know (logins' hashes, companies' regions, public keys), copied everywhere.

Each region appends to a log of its own, dense in (epoch, seq), and is the only one to do so; the others hold copies,
only ever extended at head + 1.  Live messages carry new entries; heads announced every 2 s find what was lost; the
origin is then asked for the tail.  Laws: nothing passes but the closed list of `wire.shared`; never from or to a
sealed region; a region speaks for itself only; whatever is lost, doubled or reordered on the way, copies converge.
A log that lost its end (a restored backup) begins a new epoch, and copies begin anew with it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Annotated, Literal, NamedTuple, Protocol

import msgspec

from moonbow.base.errors import Broken, Refused, Unavailable
from moonbow.base.ids import home
from moonbow.wire import subjects
from moonbow.wire.shared import CompanyRegions, LogEntry, Login, PublicKey, SharedRecord

LOG_OP = "directory.log"
ANNOUNCE_S = 2.0
PAGE_MAX = 500
PAGES_MAX = 1_000  # of one catch-up; the next announcement goes on from there
log = logging.getLogger("moonbow.federation")


class Head(NamedTuple):
    """How far a log reaches.  Order of tuples is order of history."""

    epoch: int
    seq: int


NOTHING = Head(0, 0)


class LogRequest(msgspec.Struct, frozen=True, array_like=True):
    """Asks an origin for its log after (`epoch`, `after`)."""

    epoch: int
    after: int
    limit: Annotated[int, msgspec.Meta(ge=1, le=PAGE_MAX)] = PAGE_MAX


class SharedLog(Protocol):
    """What the plane needs of a region's store.  Every method is one transaction."""

    async def append(self, drafts: Sequence[SharedRecord], now: float) -> list[LogEntry]:
        """Add records of this region with versions of their own; those that stand unchanged are left out."""
        ...

    async def apply(self, origin: str, entries: Sequence[LogEntry]) -> Head:
        """Extend the copy of `origin` by what fits; the head it has then."""
        ...

    async def begin_epoch(self, beyond: Head, now: float) -> list[LogEntry]:
        """If the own log does not reach `beyond`, write it anew in an epoch after that; the new log."""
        ...

    async def heads(self) -> dict[str, Head]: ...
    async def tail(self, origin: str, epoch: int, after: int, limit: int) -> list[LogEntry]:
        """Entries after (`epoch`, `after`), those just acknowledged at any site included; from the first one if the
        epoch is another."""
        ...

    async def login(self, login_hash: str) -> Login | None: ...
    async def company(self, ident: str) -> CompanyRegions | None: ...
    async def keys(self) -> list[PublicKey]:
        """The public keys that stand, of all regions, in order of region and kid."""
        ...


class PlaneBus(Protocol):
    """The part of the bus that the plane uses."""

    async def publish(self, subject: str, payload: bytes) -> None: ...
    async def listen(
        self, subject: str, handler: Callable[[str, bytes], Awaitable[None] | None], queue: str = ""
    ) -> None: ...
    async def request(self, region: str, op: str, payload: bytes, timeout_s: float = ...) -> bytes: ...
    def on_trouble(self, callback: Callable[[str], None]) -> None: ...


_entries = msgspec.msgpack.Decoder(list[LogEntry])
_heads = msgspec.msgpack.Decoder(dict[str, Head])
_request = msgspec.msgpack.Decoder(LogRequest)
_encode = msgspec.msgpack.Encoder().encode


def decide_entry(head: Head, entry: LogEntry) -> Literal["apply", "restart", "known", "gap"]:
    """What a copy that reaches `head` does with `entry` of the same origin."""
    if entry.epoch < head.epoch or (entry.epoch == head.epoch and entry.seq <= head.seq):
        return "known"
    if entry.epoch > head.epoch:
        return "restart" if entry.seq == 1 else "gap"
    return "apply" if entry.seq == head.seq + 1 else "gap"


def key_of(record: SharedRecord) -> tuple[str, str]:
    """Under which kind and key a record stands; of one origin the later one replaces the earlier.

    `Broken` for what is not of the closed list.
    """
    match record:
        case Login():
            return "login", record.hash
        case CompanyRegions():
            return "company", record.company
        case PublicKey():
            return "key", record.kid
        case _:  # what the types forbid must not pass either
            raise Broken(f"{type(record).__name__} is not of the closed list of what regions share")


def newer(a: SharedRecord, b: SharedRecord) -> SharedRecord:
    """Of two records of one key, the one that counts: the highest version; ties the same everywhere."""
    return max(a, b, key=lambda record: (record.version, _encode(record)))


def may_say(origin: str, record: SharedRecord, open_regions: frozenset[str]) -> bool:
    """Whether `origin` may write `record`: keys and companies of its own; logins that lead to open regions."""
    match record:
        case Login():
            return record.region in open_regions
        case CompanyRegions():
            return record.home == origin == home(record.company) and open_regions.issuperset(record.regions)
        case PublicKey():
            return record.region == origin == home(record.kid)


class SharedPlane:
    """One gateway's part in the plane.  A sealed region's is alone: it keeps a log and tells nobody."""

    def __init__(
        self,
        region: str,
        open_regions: frozenset[str],
        store: SharedLog,
        bus: PlaneBus,
        on_change: Callable[[], None] = lambda: None,
        announce_s: float = ANNOUNCE_S,
    ) -> None:
        self.region = region
        self.peers = open_regions - {region} if region in open_regions else frozenset[str]()
        self.open_regions = open_regions if self.peers else frozenset({region})
        self.store = store
        self.refused_total = 0
        self.gaps_total = 0
        self._bus = bus
        self._on_change = on_change
        self._announce_s = announce_s
        self._wanted: set[str] = set()
        self._wake = asyncio.Event()
        self._locks = {peer: asyncio.Lock() for peer in self.peers}

    async def start(self) -> None:
        """Listen, and want the tail of every peer."""
        if not self.peers:
            return
        queue = f"shared-{self.region}"  # one gateway of the region writes what all of them read
        await self._bus.listen(subjects.shared("*", "log"), self._hear_log, queue)
        await self._bus.listen(subjects.shared("*", "heads"), self._hear_heads, queue)
        self._bus.on_trouble(lambda _: self._want(*self.peers))
        self._want(*self.peers)

    async def run(self) -> None:
        """Announce and catch up for as long as the process lives."""
        if not self.peers:
            return
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._announce())
            tasks.create_task(self._catch_up_wanted())

    async def append(self, drafts: Sequence[SharedRecord], now: float) -> None:
        """Write records of this region and tell the others."""
        await self.tell(await self.store.append(drafts, now))

    async def tell(self, entries: Sequence[LogEntry]) -> None:
        """Publish entries just committed.  What is lost here is found by the next announcement."""
        if entries:
            self._on_change()
        if not self.peers:
            return
        for start in range(0, len(entries), PAGE_MAX):
            try:
                await self._bus.publish(subjects.shared(self.region, "log"), _encode(entries[start : start + PAGE_MAX]))
            except Unavailable:
                return

    async def serve(self, caller: str, payload: bytes) -> bytes:
        """The own log, for a region that copies it."""
        if caller not in self.peers:
            raise Refused("not_yours", "nothing is shared with this region", status=403)
        try:
            ask = _request.decode(payload)
        except msgspec.DecodeError as error:
            raise Refused("request_malformed", "not a request for a log") from error
        return _encode(await self.store.tail(self.region, ask.epoch, ask.after, ask.limit))

    async def catch_up(self, origin: str) -> None:
        """Ask `origin` for what its copy lacks, to the end.  `Unavailable` when it does not answer."""
        if origin not in self.peers:
            return
        async with self._locks[origin]:
            for _ in range(PAGES_MAX):
                head = (await self.store.heads()).get(origin, NOTHING)
                answer = await self._bus.request(origin, LOG_OP, _encode(LogRequest(head.epoch, head.seq)))
                entries = self._admit(origin, answer)
                if not entries or await self._apply(origin, entries) == head or len(entries) < PAGE_MAX:
                    return

    def _admit(self, origin: str, payload: bytes) -> list[LogEntry]:
        """Entries that `origin` may say, up to the first that it may not."""
        try:
            entries = _entries.decode(payload)
        except msgspec.DecodeError:
            entries = []
            self._refuse(origin)
        for no, entry in enumerate(entries):
            if entry.origin != origin or not may_say(origin, entry.record, self.open_regions):
                self._refuse(origin)
                return entries[:no]
        return entries

    def _refuse(self, origin: str) -> None:
        self.refused_total += 1
        log.warning("shared entry refused", extra={"f": {"origin": origin}})

    async def _apply(self, origin: str, entries: Sequence[LogEntry]) -> Head:
        head = await self.store.apply(origin, entries)
        self._on_change()
        return head

    async def _hear_log(self, subject: str, payload: bytes) -> None:
        origin = subject.split(".")[1]
        if origin not in self.peers:
            return
        entries = self._admit(origin, payload)
        if entries and await self._apply(origin, entries) < Head(entries[-1].epoch, entries[-1].seq):
            self.gaps_total += 1
            self._want(origin)

    async def _hear_heads(self, subject: str, payload: bytes) -> None:
        origin = subject.split(".")[1]
        if origin not in self.peers:
            return
        try:
            theirs = _heads.decode(payload)
        except msgspec.DecodeError:
            self._refuse(origin)
            return
        ours = await self.store.heads()
        if theirs.get(origin, NOTHING) > ours.get(origin, NOTHING):
            self._want(origin)
        if (seen := theirs.get(self.region, NOTHING)) > ours.get(self.region, NOTHING):
            log.error("own log lost its end; a new epoch begins", extra={"f": {"epoch": seen.epoch, "seq": seen.seq}})
            await self.tell(await self.store.begin_epoch(seen, time.time()))

    def _want(self, *origins: str) -> None:
        self._wanted.update(origins)
        self._wake.set()

    async def _announce(self) -> None:
        while True:
            with suppress(Unavailable):  # said again in two seconds
                await self._bus.publish(subjects.shared(self.region, "heads"), _encode(await self.store.heads()))
            await asyncio.sleep(self._announce_s)

    async def _catch_up_wanted(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            wanted, self._wanted = self._wanted, set()
            for result in await asyncio.gather(*map(self.catch_up, wanted), return_exceptions=True):
                if isinstance(result, BaseException) and not isinstance(result, Unavailable | Refused):
                    raise result
