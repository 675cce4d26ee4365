"""Who works here: a company's people over all its regions, read live, and names for ids.

Laws: a foreign person is never stored here, only remembered in memory for `NAME_TTL_S`; a silent region is named, not
waited for.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence

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

NAME_TTL_S = 60.0
NAMES_KEPT_MAX = 20_000
NAMES_ASKED_MAX = 2_000
Page = tuple[list[Person], str | None, list[str]]


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
        self._names = Remembered(NAMES_KEPT_MAX, NAME_TTL_S)

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
        return [rpc.Found(key, as_person(row)) for key, row in found]

    async def serve_people(self, caller: str, payload: bytes) -> bytes:
        """A page of this region's people for another region of their company."""
        ask = rpc.decode_ask(payload, rpc.PeopleAsk)
        await access_company(self._plane, caller, ask.company)
        return rpc.encode(await self._own_page(ask))

    async def names(self, idents: Iterable[str]) -> dict[str, str]:
        """Names of people anywhere; those unknown, erased or out of reach are left out."""
        now = self._now()
        found: dict[str, str] = {}
        wanted: dict[str, list[str]] = {}
        for ident in list(dict.fromkeys(idents))[:NAMES_ASKED_MAX]:
            name = self._names.get(ident, now)
            if name is not None:
                found[ident] = name
            else:
                wanted.setdefault(home(ident), []).append(ident)
        own = wanted.pop(self._region, [])
        found |= {row.id: row.name for row in await self._store.persons(own)} if own else {}
        asks = [
            (region, some[start : start + rpc.NAMES_MAX])
            for region, some in wanted.items()
            if region in self._plane.peers
            for start in range(0, len(some), rpc.NAMES_MAX)
        ]
        for answer in await asyncio.gather(*(self._foreign_names(region, some) for region, some in asks)):
            self._names.keep(answer, now)
            found |= answer
        return found

    async def _foreign_names(self, region: str, idents: list[str]) -> dict[str, str]:
        try:
            answer = await self._bus.request(region, rpc.NAMES, rpc.encode(rpc.NamesAsk(idents)))
            found = rpc.decode_answer(answer, dict[str, str], region)
        except (Unavailable, Refused):
            return {}
        return {ident: found[ident] for ident in idents if ident in found}

    async def serve_names(self, caller: str, payload: bytes) -> bytes:
        """Names of this region's people, of companies that the caller's region has people of."""
        ask = rpc.decode_ask(payload, rpc.NamesAsk)
        rows = await self._store.persons(ask.people)
        return rpc.encode({row.id: row.name for row in await self._for_caller(caller, rows)})

    async def _for_caller(self, caller: str, rows: Sequence[PersonRow]) -> list[PersonRow]:
        companies = {row.company: await self._store.shared.company(row.company) for row in rows}
        return [row for row in rows if decide_access(caller, companies[row.company])]

    async def company_name(self, company: str) -> str:
        """A company's name, from its home; empty while that is out of reach."""
        owner = home(company)
        if owner == self._region:
            row = await self._store.company(company)
            return row.name if row else ""
        known = self._names.get(company, self._now())
        if known is not None:
            return known
        try:
            answer = await self._bus.request(owner, rpc.COMPANY, rpc.encode(rpc.CompanyAsk(company)))
            name = rpc.decode_answer(answer, str, owner)
        except (Unavailable, Refused):
            return ""
        self._names.keep({company: name}, self._now())
        return name

    async def serve_company(self, caller: str, payload: bytes) -> bytes:
        """The name of a company of this region, for the regions it has people in."""
        ask = rpc.decode_ask(payload, rpc.CompanyAsk)
        await access_company(self._plane, caller, ask.company)
        return rpc.encode(await self.company_name(ask.company) if home(ask.company) == self._region else "")


class Remembered:
    """Names in memory, at most `kept_max` of them, each for `ttl_s`."""

    def __init__(self, kept_max: int, ttl_s: float) -> None:
        self._kept_max = kept_max
        self._ttl_s = ttl_s
        self._table: OrderedDict[str, tuple[str, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._table)

    def get(self, ident: str, now: float) -> str | None:
        """The name of `ident` if it was kept lately."""
        name, until = self._table.get(ident, ("", 0.0))
        return name if now < until else None

    def keep(self, names: dict[str, str], asked_at: float) -> None:
        """Keep names whose asking began at `asked_at`."""
        for ident, name in names.items():
            self._table[ident] = (name, asked_at + self._ttl_s)
            self._table.move_to_end(ident)
        while len(self._table) > self._kept_max:
            self._table.popitem(last=False)
