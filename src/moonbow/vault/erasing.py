"""Erasing a person, to its end: every room is asked, the key is destroyed, and a receipt is signed.

Laws: what is to be erased is noted before anything is; every step may be repeated; what was begun goes on when whoever
asked for it has gone, and what was cut short is taken up by a gateway that runs; nothing is signed before the logs are
empty; the receipt that was given first is the one that stands.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Protocol

import msgspec

from moonbow.base.errors import Unavailable

from .ports import Erasable, Keys
from .receipts import PublicJwk, Receipt, Touched

Counts = Mapping[str, Mapping[str, int]]  # store -> class -> how many


class Erasure(msgspec.Struct, frozen=True):
    """The erasure of a person, as it stands; `receipt` is None while it is under way.  Times are seconds since 1970."""

    person: str
    company: str
    asked_at: float
    counts: dict[str, dict[str, int]]
    receipt: str | None = None


class ErasureRows(Protocol):
    """Where a region notes its erasures.  Every method is one transaction."""

    async def begin(self, erasure: Erasure) -> Erasure:
        """Note that a person is to be erased; what stands if it was noted before."""
        ...

    async def note(self, person: str, store: str, counts: Mapping[str, int]) -> Erasure:
        """Note what a store has erased: of each class, the greater of this and what was noted before."""
        ...

    async def finish(self, person: str, receipt: str) -> str:
        """Keep the receipt; the one that stands."""
        ...

    async def find(self, person: str) -> Erasure | None: ...
    async def without(self, people: Sequence[str]) -> list[str]:
        """Those of `people` whose erasure was never noted."""
        ...

    async def unfinished(self) -> list[str]: ...
    async def scrub(self) -> None:
        """See to it that what the directory, which rests beside this, has erased is not left in the log either.

        `Unavailable` while that cannot be done.
        """
        ...

    async def close(self) -> None: ...


class Signer(Protocol):
    """Signs receipts for a region."""

    @property
    def public(self) -> PublicJwk: ...
    def sign(self, receipt: Receipt) -> str: ...


class Erasing:
    """The erasures of one region, as one process carries them out."""

    def __init__(
        self, region: str, rows: ErasureRows, keys: Keys, signer: Signer, now: Callable[[], float] = time.time
    ) -> None:
        self._region, self._rows, self._keys, self._signer, self._now = region, rows, keys, signer, now
        self._rooms: dict[str, Erasable] = {}
        self._logs: list[Callable[[], Awaitable[None]]] = [keys.scrub, rows.scrub]
        self._under_way: dict[str, asyncio.Task[Erasure]] = {}
        self._logs_due = False

    @property
    def public(self) -> PublicJwk:
        """The key that checks this region's receipts."""
        return self._signer.public

    def ask(self, store: str, room: Erasable, scrub: Callable[[], Awaitable[None]] | None = None) -> None:
        """Ask `room` as well, after those named before it; `scrub` empties its log once its counts are noted."""
        self._rooms[store] = room
        if scrub is not None:
            self._logs.append(scrub)

    async def begin(self, person: str, company: str, held: Counts) -> None:
        """Note that a person is to be erased, and what is `held` of them where it cannot be counted afterwards."""
        counts = {store: dict(found) for store, found in held.items()}
        await self._rows.begin(Erasure(person, company, self._now(), counts))

    async def finish(self, person: str) -> Erasure:
        """Carry out what was begun; the erasure with its receipt, the same one when asked again.

        Cancelled, it goes on by itself: an answer that is late must not cut an erasure short.
        """
        under_way = self._under_way.get(person)
        if under_way is None:
            under_way = self._under_way[person] = asyncio.create_task(self._carry_out(person), name="erasure")
            under_way.add_done_callback(lambda done: self._ended(person, done))
        return await asyncio.shield(under_way)

    async def again(self, erased: Sequence[str], back: Sequence[str]) -> None:
        """Erase anew who came back with a backup.

        `erased` are all who ever were, as the directory knows; `back` those of them whom a room has again.
        """
        for person in back:
            for room in self._rooms.values():
                await room.erase(person)
        await self._keys.destroy_all(erased)
        for person in await self._rows.without(erased):
            await self.begin(person, "", {})
        self._logs_due = True

    async def empty_logs(self) -> None:
        """Empty the logs of what `again` erased; nothing once that is done."""
        if self._logs_due:
            await self._scrub()
            self._logs_due = False

    async def unfinished(self) -> list[str]:
        """Whose erasure was begun and has no receipt yet, the first asked for first."""
        return await self._rows.unfinished()

    async def find(self, person: str) -> Erasure | None:
        """The erasure of a person, if there is one."""
        return await self._rows.find(person)

    async def close(self) -> None:
        """Leave what is under way to the next who takes it up, and close what is noted."""
        under_way = list(self._under_way.values())
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        await self._rows.close()

    async def _carry_out(self, person: str) -> Erasure:
        erasure = await self._rows.find(person)
        if erasure is None:  # noted before it is carried out; another database node may show it a moment later
            raise Unavailable("store_unavailable", "this erasure is not noted here yet")
        if erasure.receipt is not None:
            return erasure
        key = await self._keys.destroy(person)
        for store, room in self._rooms.items():
            erasure = await self._rows.note(person, store, await room.erase(person))
        await self._scrub()
        receipt = compose(erasure, self._region, key, self._now())
        standing = await self._rows.finish(person, self._signer.sign(receipt))
        return msgspec.structs.replace(erasure, receipt=standing)

    async def _scrub(self) -> None:
        for scrub in self._logs:
            await scrub()

    def _ended(self, person: str, done: asyncio.Task[Erasure]) -> None:
        del self._under_way[person]
        if not done.cancelled():
            done.exception()  # told to whoever still waits; if nobody does, it is taken up again


def compose(erasure: Erasure, region: str, key: str | None, now: float) -> Receipt:
    """What the receipt of an erasure says."""
    touched = [
        Touched(store, kind, count) for store, counts in erasure.counts.items() for kind, count in counts.items()
    ]
    if key is not None:
        touched.append(Touched("vault", "key", 1))
    return Receipt(
        person=erasure.person,
        region=region,
        asked_at=rfc3339(erasure.asked_at),
        done_at=rfc3339(now),
        key=key,
        touched=tuple(sorted(touched, key=lambda found: (found.store, found.kind))),
    )


def rfc3339(at: float) -> str:
    """A time, seconds since 1970, as people and programs read it."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
