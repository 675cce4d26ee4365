"""Erasing a person, to its end: every room is asked, the key is destroyed, and a receipt is signed.

Laws: what is to be erased is noted before anything is; every step may be repeated; what was begun is finished by the
next start of any gateway; the receipt that was given first is the one that stands.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Protocol

import msgspec

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
    async def unfinished(self) -> list[str]: ...
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

    @property
    def public(self) -> PublicJwk:
        """The key that checks this region's receipts."""
        return self._signer.public

    def ask(self, store: str, room: Erasable) -> None:
        """Ask `room` as well, after those named before it."""
        self._rooms[store] = room

    async def begin(self, person: str, company: str, held: Counts) -> None:
        """Note that a person is to be erased, and what is `held` of them where it cannot be counted afterwards."""
        counts = {store: dict(found) for store, found in held.items()}
        await self._rows.begin(Erasure(person, company, self._now(), counts))

    async def finish(self, person: str) -> Erasure:
        """Carry out what was begun; the erasure with its receipt, the same one when asked again."""
        erasure = await self._rows.find(person)
        assert erasure is not None, "an erasure is noted before it is carried out"
        if erasure.receipt is not None:
            return erasure
        key = await self._keys.destroy(person)
        for store, room in self._rooms.items():
            erasure = await self._rows.note(person, store, await room.erase(person))
        receipt = compose(erasure, self._region, key, self._now())
        standing = await self._rows.finish(person, self._signer.sign(receipt))
        return msgspec.structs.replace(erasure, receipt=standing)

    async def again(self, erased: Sequence[str], back: Sequence[str]) -> None:
        """Finish what a crash left, and erase anew who came back with a backup.

        `erased` are all who ever were, as the directory knows; `back` those of them whom a room has again.
        """
        for person in back:
            for room in self._rooms.values():
                await room.erase(person)
        for person in dict.fromkeys([*await self._rows.unfinished(), *erased]):
            await self._keys.destroy(person)
            if await self._rows.find(person) is None:
                await self.begin(person, "", {})
            await self.finish(person)

    async def find(self, person: str) -> Erasure | None:
        """The erasure of a person, if there is one."""
        return await self._rows.find(person)

    async def close(self) -> None:
        """Close what is noted."""
        await self._rows.close()


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
        asked_at=_rfc3339(erasure.asked_at),
        done_at=_rfc3339(now),
        key=key,
        touched=tuple(sorted(touched, key=lambda found: (found.store, found.kind))),
    )


def _rfc3339(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
