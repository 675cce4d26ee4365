"""What is noted of a region's erasures, beside its directory: `vault.erasing.ErasureRows` on SQLite or Galera."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from sqlalchemy import Column, Connection, Double, MetaData, String, Table, Text, and_, insert, select, update

from moonbow.vault.erasing import Erasure

from .sql import Sql
from .tables import KEPT

PEOPLE_MAX = 500  # of one question
ERASURES = MetaData()
ERASURE = Table(
    "erasure",
    ERASURES,
    Column("person", String(64), primary_key=True),
    Column("company", String(64), nullable=False),
    Column("asked_at", Double, nullable=False),
    Column("counts", Text, nullable=False),
    Column("receipt", Text),
    **KEPT,
)
_encode = msgspec.json.Encoder().encode
_counts = msgspec.json.Decoder(dict[str, dict[str, int]])


class ErasuresSql:
    """The erasures of the region of `sql`, which was opened with `ERASURES`."""

    def __init__(self, sql: Sql) -> None:
        self._sql = sql

    async def begin(self, erasure: Erasure) -> Erasure:
        return await self._sql.write(lambda db: _begin(db, erasure))

    async def note(self, person: str, store: str, counts: Mapping[str, int]) -> Erasure:
        return await self._sql.write(lambda db: _note(db, person, store, counts))

    async def finish(self, person: str, receipt: str) -> str:
        return await self._sql.write(lambda db: _finish(db, person, receipt))

    async def find(self, person: str) -> Erasure | None:
        return await self._sql.read(lambda db: _find(db, person))

    async def without(self, people: Sequence[str]) -> list[str]:
        known: set[str] = set()
        for start in range(0, len(people), PEOPLE_MAX):
            known |= await self._noted(people[start : start + PEOPLE_MAX])
        return [person for person in people if person not in known]

    async def scrub(self) -> None:
        await self._sql.scrub()

    async def unfinished(self) -> list[str]:
        asked = select(ERASURE.c.person).where(ERASURE.c.receipt.is_(None)).order_by(ERASURE.c.asked_at)
        return list(await self._sql.read(lambda db: db.scalars(asked).all()))

    async def close(self) -> None:
        await self._sql.close()

    async def _noted(self, people: Sequence[str]) -> set[str]:
        asked = select(ERASURE.c.person).where(ERASURE.c.person.in_(people))
        return set(await self._sql.read(lambda db: db.scalars(asked).all()))


def _find(db: Connection, person: str) -> Erasure | None:
    row = db.execute(select(ERASURE).where(ERASURE.c.person == person)).first()
    if row is None:
        return None
    return Erasure(row.person, row.company, row.asked_at, _counts.decode(row.counts), row.receipt)


def _standing(db: Connection, person: str) -> Erasure:
    found = _find(db, person)
    assert found is not None, "an erasure is noted before it is carried out"
    return found


def _begin(db: Connection, erasure: Erasure) -> Erasure:
    found = _find(db, erasure.person)
    if found is None:
        counts = _encode(erasure.counts).decode()
        db.execute(insert(ERASURE).values((erasure.person, erasure.company, erasure.asked_at, counts, None)))
    return found or erasure


def _note(db: Connection, person: str, store: str, counts: Mapping[str, int]) -> Erasure:
    noted = _standing(db, person).counts
    before = noted.get(store, {})
    noted[store] = {kind: max(before.get(kind, 0), counts.get(kind, 0)) for kind in [*before, *counts]}
    db.execute(update(ERASURE).where(ERASURE.c.person == person).values(counts=_encode(noted).decode()))
    return _standing(db, person)


def _finish(db: Connection, person: str, receipt: str) -> str:
    first = and_(ERASURE.c.person == person, ERASURE.c.receipt.is_(None))
    db.execute(update(ERASURE).where(first).values(receipt=receipt))
    return str(_standing(db, person).receipt)
