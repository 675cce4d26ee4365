"""The keys of one region: making, revoking, rotating and destroying them.

Settings: `encrypted` of the region's data in the world file; times are constants beside what they bound.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Sequence

import msgspec

from moonbow.base.errors import Refused
from moonbow.base.ids import new_id

from . import model
from .model import CompanyKey, PersonKey
from .policy import plan_retire, plan_rewrap
from .ports import KeyRows, RegionKey
from .ring import Ring

RETIRED_KEEP_S = 30 * 86_400.0  # a retired region key stays for as long as backups of keys may be restored

PEOPLE_MAX = 500  # of one question


class CompanyStatus(msgspec.Struct, frozen=True):
    """A company's key as operators see it."""

    company: str
    key: str
    region_key: str
    revoked: bool
    people: int
    destroyed: int


class Rotation(msgspec.Struct, frozen=True):
    """What a rotation did: the new region key, how many company keys it wraps anew, and the keys deleted for good."""

    key: str
    rewrapped: int
    dropped: tuple[str, ...]


class Vault:
    """`ports.Keys` of `region`, and `sealer`, which uses them.  `now` is seconds since 1970."""

    def __init__(self, region: str, rows: KeyRows, region_key: RegionKey, now: Callable[[], float] = time.time) -> None:
        self.region, self.sealer = region, Ring(rows, region_key)
        self._rows, self._region_key, self._now = rows, region_key, now

    async def provide(self, person: str, company: str) -> None:
        """See to it that a person has a key, and their company one to wrap it."""
        await asyncio.to_thread(self.make_key, person, company)

    async def provide_all(self, company: str, people: Sequence[str]) -> int:
        """The same for many people of one company; how many had none."""
        without = await asyncio.to_thread(self._rows.without, people)
        for person in without:
            await self.provide(person, company)
        return len(without)

    def make_key(self, person: str, company: str) -> None:
        """`provide`, for a thread that may wait."""
        row = self._rows.company(company) or self._rows.add_company(self._new_company(company))
        outer = self._region_key.unwrap(row.region_key, model.owner_of_company(company, row.key), row.wrapped)
        key = new_id("key", self.region)
        owner = model.owner_of_person(person, company, key)
        wrapped = model.wrap(outer, os.urandom(model.NONCE_BYTES), owner, os.urandom(model.KEY_BYTES))
        self._rows.add_person(PersonKey(person, company, key, wrapped))

    async def destroy(self, person: str) -> str | None:
        """Destroy a person's key; its id, None if they never had one."""
        key = await asyncio.to_thread(self._rows.destroy, person)
        await self._rows.scrub()
        return key

    async def destroy_all(self, people: Sequence[str]) -> int:
        """Destroy the keys of those of `people` who still have one, and leave the logs to `scrub`; how many had."""
        standing = await asyncio.to_thread(self._standing, people)
        for person in standing:
            await asyncio.to_thread(self._rows.destroy, person)
        return len(standing)

    async def scrub(self) -> None:
        """See to it that destroyed keys are not left in the engine's log."""
        await self._rows.scrub()

    async def revoke(self, company: str) -> None:
        """Make a company's texts unreadable.  `Refused` (404) `company_unknown`."""
        await self._set_revoked(company, True)

    async def restore(self, company: str) -> None:
        """Take a revocation back.  `Refused` (404) `company_unknown`."""
        await self._set_revoked(company, False)

    async def rotate(self) -> Rotation:
        """Let a new region key wrap every company's key.  Texts are not touched, and nobody waits.

        Keys retired by earlier rotations are deleted once no backup of keys may need them.
        """
        return await asyncio.to_thread(self._rotate)

    async def status(self) -> list[CompanyStatus]:
        """Every company's key."""
        counts = await asyncio.to_thread(self._rows.counts)
        return [
            CompanyStatus(row.company, row.key, row.region_key, row.revoked, *counts.get(row.company, (0, 0)))
            for row in await asyncio.to_thread(self._rows.companies)
        ]

    async def close(self) -> None:
        """Close the table."""
        await self._rows.close()

    def _standing(self, people: Sequence[str]) -> list[str]:
        starts = range(0, len(people), PEOPLE_MAX)
        return [person for start in starts for person in self._rows.standing(people[start : start + PEOPLE_MAX])]

    def _new_company(self, company: str) -> CompanyKey:
        key = new_id("key", self.region)
        owner = model.owner_of_company(company, key)
        return CompanyKey(company, key, *self._region_key.wrap(owner, os.urandom(model.KEY_BYTES)))

    def _rotate(self) -> Rotation:
        current = self._region_key.rotate()
        rewrapped = sum(self._rewrap(row) for row in plan_rewrap(self._rows.companies(), current))
        old = plan_retire(self._region_key.infos(), self._rows.companies(), self._now(), RETIRED_KEEP_S)
        if old:
            self._region_key.drop(old)
        return Rotation(current, rewrapped, tuple(old))

    def _rewrap(self, row: CompanyKey) -> bool:
        owner = model.owner_of_company(row.company, row.key)
        key = self._region_key.unwrap(row.region_key, owner, row.wrapped)
        region_key, wrapped = self._region_key.wrap(owner, key)
        return self._rows.rewrap(msgspec.structs.replace(row, region_key=region_key, wrapped=wrapped), row.region_key)

    async def _set_revoked(self, company: str, revoked: bool) -> None:
        if not await asyncio.to_thread(self._rows.set_revoked, company, revoked):
            raise Refused("company_unknown", f"no key of a company {company} rests in {self.region}", status=404)
