"""Who works here: a company's people over all its regions, read live, and names for ids.

Laws: a foreign person is never stored here, only remembered in memory for `REMEMBER_S`; a silent region is named, not
waited for.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Generic, TypeVar

from msgspec.structs import replace

from moonbow.base.errors import Refused, Unavailable
from moonbow.base.ids import home
from moonbow.base.limits import NAME_CHARS_MAX, PAGE_MAX
from moonbow.federation.shared import SharedPlane
from moonbow.wire.values import Person

from . import rpc
from .access import access_company, decide_access
from .cursors import Cursors
from .model import PersonRow, as_person
from .ports import Bus, Store

T = TypeVar("T")
REMEMBER_S = 60.0
REMEMBERED_MAX = 20_000
ASKED_MAX = 2_000
Tags = Callable[[Sequence[str]], Awaitable[Mapping[str, str]]]
Page = tuple[list[Person], str | None, list[str]]


async def no_tags(_people: Sequence[str]) -> Mapping[str, str]:
    """Nobody has a picture."""
    return {}


class People:
    """One gateway's view of people, its own region's from the store, others' from their homes."""

    def __init__(
        self, region: str, store: Store, plane: SharedPlane, bus: Bus, cursors: Cursors, now: Callable[[], float]
    ) -> None:
        self._region = region
        self._store = store
        self._plane = plane
        self._bus = bus
        self._cursors = cursors
        self._now = now
        self.tags: Tags = no_tags
        self._people: Remembered[Person] = Remembered(REMEMBERED_MAX, REMEMBER_S)
        self._companies: Remembered[str] = Remembered(REMEMBERED_MAX, REMEMBER_S)

    async def page(self, company: str, query: str, cursor: str | None, limit: int) -> Page:
        """People of a company whose name holds `query`, sorted by name; the next cursor; regions that were silent."""
        limit = max(1, min(limit, PAGE_MAX))
        after = self._cursors.open(cursor) if cursor else None
        ask = rpc.PeopleAsk(company, query[:NAME_CHARS_MAX], after, limit + 1)
        record = await self._store.shared.company(company)
        regions = sorted({*(record.regions if record else ()), self._region})
        answers = await asyncio.gather(*(self._page_of(region, ask) for region in regions))
        missing = [region for region, found in zip(regions, answers, strict=True) if found is None]
        merged = sorted((item for found in answers for item in found or ()), key=lambda item: item.key)
        more = self._cursors.seal(merged[limit - 1].key) if len(merged) > limit else None
        return [item.person for item in merged[:limit]], more, missing

    async def _page_of(self, region: str, ask: rpc.PeopleAsk) -> list[rpc.Found] | None:
        if region == self._region:
            return await self._own_page(ask)
        try:
            answer = await self._bus.request(region, rpc.PEOPLE, rpc.encode(ask))
            found = rpc.decode_answer(answer, list[rpc.Found], region)
        except (Unavailable, Refused):
            return None
        return [item for item in found if home(item.person.id) == region and item.person.company == ask.company]

    async def _own_page(self, ask: rpc.PeopleAsk) -> list[rpc.Found]:
        found = await self._store.people(ask.company, ask.query, ask.after, ask.limit)
        people = await self._shown([row for _, row in found])
        return [rpc.Found(key, person) for (key, _), person in zip(found, people, strict=True)]

    async def _shown(self, rows: Sequence[PersonRow]) -> list[Person]:
        """People of this region as colleagues see them."""
        tags = await self.tags([row.id for row in rows])
        return [replace(as_person(row), avatar=tags.get(row.id)) for row in rows]

    async def serve_people(self, caller: str, payload: bytes) -> bytes:
        """A page of this region's people for another region of their company."""
        ask = rpc.decode_ask(payload, rpc.PeopleAsk)
        await access_company(self._plane, caller, ask.company)
        return rpc.encode(await self._own_page(ask))

    async def names(self, idents: Iterable[str]) -> dict[str, str]:
        """Names of people anywhere; those unknown, erased or out of reach are left out."""
        return {ident: person.name for ident, person in (await self._find(idents))[0].items()}

    async def colleagues(self, company: str, idents: Iterable[str]) -> dict[str, Person]:
        """Those of `idents` who are of `company`.  `Unavailable` if a region that might know one does not answer."""
        found, silent = await self._find(idents)
        if silent:
            raise Unavailable("home_unreachable", f"region {silent[0]} does not answer", region=silent[0])
        return {ident: person for ident, person in found.items() if person.company == company}

    async def _find(self, idents: Iterable[str]) -> tuple[dict[str, Person], list[str]]:
        """People by id, from the store, from memory, or from their homes; and the regions that were silent."""
        now = self._now()
        found: dict[str, Person] = {}
        wanted: dict[str, list[str]] = {}
        for ident in list(dict.fromkeys(idents))[:ASKED_MAX]:
            if known := self._people.get(ident, now):
                found[ident] = known
            else:
                wanted.setdefault(home(ident), []).append(ident)
        own = wanted.pop(self._region, [])
        found |= {one.id: one for one in await self._shown(await self._store.persons(own))} if own else {}
        asks = [
            (region, some[start : start + rpc.PERSONS_MAX])
            for region, some in wanted.items()
            if region in self._plane.peers
            for start in range(0, len(some), rpc.PERSONS_MAX)
        ]
        answers = await asyncio.gather(*(self._ask(region, some) for region, some in asks))
        for answer in answers:
            self._people.keep(answer or {}, now)
            found |= answer or {}
        return found, [region for (region, _), answer in zip(asks, answers, strict=True) if answer is None]

    async def _ask(self, region: str, idents: list[str]) -> dict[str, Person] | None:
        try:
            answer = await self._bus.request(region, rpc.PERSONS, rpc.encode(rpc.PersonsAsk(idents)))
            found = rpc.decode_answer(answer, list[Person], region)
        except (Unavailable, Refused):
            return None
        return {person.id: person for person in found if person.id in idents}

    async def serve_persons(self, caller: str, payload: bytes) -> bytes:
        """Some of this region's people, of companies that the caller's region has people of."""
        ask = rpc.decode_ask(payload, rpc.PersonsAsk)
        rows = await self._store.persons(ask.people)
        companies = {row.company: await self._store.shared.company(row.company) for row in rows}
        return rpc.encode(await self._shown([row for row in rows if decide_access(caller, companies[row.company])]))

    async def may_see(self, caller: str, person: str) -> bool:
        """Whether region `caller` may be told of a person of ours: if it has people of their company."""
        rows = await self._store.persons([person])
        return bool(rows) and decide_access(caller, await self._store.shared.company(rows[0].company))

    async def company_name(self, company: str) -> str:
        """A company's name, from its home; empty while that is out of reach."""
        owner = home(company)
        if owner == self._region:
            row = await self._store.company(company)
            return row.name if row else ""
        known = self._companies.get(company, self._now())
        if known is not None:
            return known
        try:
            answer = await self._bus.request(owner, rpc.COMPANY, rpc.encode(rpc.CompanyAsk(company)))
            name = rpc.decode_answer(answer, str, owner)
        except (Unavailable, Refused):
            return ""
        self._companies.keep({company: name}, self._now())
        return name

    async def serve_company(self, caller: str, payload: bytes) -> bytes:
        """The name of a company of this region, for the regions it has people in."""
        ask = rpc.decode_ask(payload, rpc.CompanyAsk)
        await access_company(self._plane, caller, ask.company)
        return rpc.encode(await self.company_name(ask.company) if home(ask.company) == self._region else "")


class Remembered(Generic[T]):
    """Foreign values in memory, at most `kept_max` of them, each for `ttl_s`."""

    def __init__(self, kept_max: int, ttl_s: float) -> None:
        self._kept_max = kept_max
        self._ttl_s = ttl_s
        self._table: OrderedDict[str, tuple[T, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._table)

    def get(self, ident: str, now: float) -> T | None:
        """What was kept of `ident`, if lately."""
        kept = self._table.get(ident)
        return kept[0] if kept and now < kept[1] else None

    def keep(self, values: dict[str, T], asked_at: float) -> None:
        """Keep values whose asking began at `asked_at`."""
        for ident, value in values.items():
            self._table[ident] = (value, asked_at + self._ttl_s)
            self._table.move_to_end(ident)
        while len(self._table) > self._kept_max:
            self._table.popitem(last=False)
