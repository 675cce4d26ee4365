"""The table of keys of one region: `vault.ports.KeyRows` on SQLite or Galera, in a database of its own.

A destroyed key leaves the disk as an erased text does (`timeline_rows`): wrapped keys lie in a table that only grows at
its end, whose rows never move, and are overwritten where they are.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    and_,
    bindparam,
    func,
    insert,
    select,
    update,
)

from moonbow.vault.model import WRAPPED_BYTES, CompanyKey, PersonKey

from .sql import Sql
from .tables import COUNTED, KEPT, Number, insert_missing

ZEROS_BYTES = 2_000

KEYS = MetaData()
Id = String(64)
COMPANY = Table(
    "company_key",
    KEYS,
    Column("company", Id, primary_key=True),
    Column("key", Id, nullable=False),
    Column("region_key", Id, nullable=False),
    Column("wrapped", LargeBinary(WRAPPED_BYTES), nullable=False),
    Column("revoked", Boolean, nullable=False),
    **KEPT,
)
PERSON = Table(
    "person_key",
    KEYS,
    Column("person", Id, primary_key=True),
    Column("company", Id, nullable=False),
    Column("key", Id, nullable=False),
    Column("secret", Number),
    **KEPT,
)
SECRET = Table(
    "key_secret",
    KEYS,
    Column("no", Number, primary_key=True, autoincrement=True),
    Column("wrapped", LargeBinary(ZEROS_BYTES), nullable=False),
    **COUNTED,
)
CHANGES = Table(
    "key_changes",
    KEYS,
    Column("one", Integer, primary_key=True, autoincrement=False),
    Column("number", Number, nullable=False),
    **KEPT,
)
_FIND = (
    select(PERSON.c.company, PERSON.c.key, SECRET.c.wrapped, COMPANY)
    .select_from(
        PERSON.join(COMPANY, COMPANY.c.company == PERSON.c.company).outerjoin(SECRET, SECRET.c.no == PERSON.c.secret)
    )
    .where(PERSON.c.person == bindparam("person"))
)
_CHANGES = select(CHANGES.c.number)


class VaultSql:
    """The keys of the region of `sql`, which was opened with `KEYS`."""

    def __init__(self, sql: Sql) -> None:
        self._sql = sql
        sql.run(_prepare)

    def find(self, person: str) -> tuple[PersonKey, CompanyKey] | None:
        row = self._sql.look(lambda db: db.execute(_FIND, {"person": person}).first())
        if row is None:
            return None
        company, key, wrapped, *rest = row
        return PersonKey(person, company, key, wrapped), CompanyKey(*rest)

    def company(self, company: str) -> CompanyKey | None:
        return self._sql.look(lambda db: _company(db, company))

    def companies(self) -> list[CompanyKey]:
        rows = self._sql.look(lambda db: db.execute(select(COMPANY).order_by(COMPANY.c.company)).all())
        return [CompanyKey(*row) for row in rows]

    def counts(self) -> dict[str, tuple[int, int]]:
        """By company: people with a key, and keys destroyed."""
        asked = select(PERSON.c.company, func.count(PERSON.c.secret), func.count()).group_by(PERSON.c.company)
        rows = self._sql.look(lambda db: db.execute(asked).all())
        return {company: (standing, every - standing) for company, standing, every in rows}

    def without(self, people: Sequence[str]) -> list[str]:
        asked = select(PERSON.c.person).where(PERSON.c.person.in_(people))
        known = set(self._sql.look(lambda db: db.scalars(asked).all()))
        return [person for person in people if person not in known]

    def add_company(self, key: CompanyKey) -> CompanyKey:
        return self._sql.run(lambda db: _add_company(db, key))

    def add_person(self, key: PersonKey) -> None:
        self._sql.run(lambda db: _add_person(db, key))

    def standing(self, people: Sequence[str]) -> list[str]:
        asked = select(PERSON.c.person).where(PERSON.c.person.in_(people), PERSON.c.secret.is_not(None))
        return list(self._sql.look(lambda db: db.scalars(asked).all()))

    def destroy(self, person: str) -> str | None:
        return self._sql.run(lambda db: _destroy(db, person))

    async def scrub(self) -> None:
        await self._sql.scrub()

    def set_revoked(self, company: str, revoked: bool) -> bool:
        return self._sql.run(lambda db: _set_revoked(db, company, revoked))

    def rewrap(self, key: CompanyKey, before: str) -> bool:
        same = and_(COMPANY.c.company == key.company, COMPANY.c.region_key == before)
        values = {"region_key": key.region_key, "wrapped": key.wrapped}
        return self._sql.run(lambda db: db.execute(update(COMPANY).where(same).values(values)).rowcount > 0)

    def changes(self) -> int:
        return self._sql.look(lambda db: db.scalar(_CHANGES)) or 0

    async def close(self) -> None:
        await self._sql.close()


def _prepare(db: Connection) -> None:
    if db.execute(insert_missing(CHANGES).values(one=1, number=0)).rowcount:
        # Zeros split the table's root while no key is in it; from then on pages are only added at the end.
        db.execute(insert(SECRET), [{"wrapped": bytes(ZEROS_BYTES)}] * 3)


def _company(db: Connection, company: str) -> CompanyKey | None:
    row = db.execute(select(COMPANY).where(COMPANY.c.company == company)).first()
    return CompanyKey(*row) if row else None


def _add_company(db: Connection, key: CompanyKey) -> CompanyKey:
    found = _company(db, key.company)
    if found is None:
        values = (key.company, key.key, key.region_key, key.wrapped, key.revoked)
        db.execute(insert(COMPANY).values(values))
    return found or key


def _add_person(db: Connection, key: PersonKey) -> None:
    if db.scalar(select(PERSON.c.person).where(PERSON.c.person == key.person)) is None:
        made = db.execute(insert(SECRET).values(wrapped=key.wrapped)).inserted_primary_key
        db.execute(insert(PERSON).values((key.person, key.company, key.key, made[0] if made else None)))


def _destroy(db: Connection, person: str) -> str | None:
    row = db.execute(select(PERSON.c.key, PERSON.c.secret).where(PERSON.c.person == person)).first()
    if row is None:
        return None
    if row.secret is not None:
        db.execute(update(SECRET).where(SECRET.c.no == row.secret).values(wrapped=bytes(WRAPPED_BYTES)))
        db.execute(update(PERSON).where(PERSON.c.person == person).values(secret=None))
        _changed(db)
    return str(row.key)


def _set_revoked(db: Connection, company: str, revoked: bool) -> bool:
    db.execute(update(COMPANY).where(COMPANY.c.company == company).values(revoked=revoked))
    _changed(db)
    return _company(db, company) is not None


def _changed(db: Connection) -> None:
    db.execute(update(CHANGES).values(number=CHANGES.c.number + 1))
