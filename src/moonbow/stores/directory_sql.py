"""The directory's store: `directory.ports.Store` for one region, in its SQL database.

People and credentials rest here only for the home region; `shared` (logins' hashes, companies' regions, public keys)
holds what every region may know.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from sqlalchemy import BindParameter, Connection, Executable, Row, and_, bindparam, delete, func, or_, select, update

from moonbow.base.ids import home
from moonbow.directory.model import CompanyRow, Credential, Family, PersonChange, PersonRow, Revocation, Turn
from moonbow.wire.shared import LogEntry

from . import directory_rows as rows
from .directory_tables import DIRECTORY, company, credential, erased, family, person, release, revocation
from .shared_sql import SHARED, SharedSql
from .sql import Sql
from .tables import Replace

DIRECTORY_TABLES = (DIRECTORY, SHARED)
REVOCATIONS_MAX = 10_000
RELEASES_MAX = 100

_ident: BindParameter[str] = bindparam("ident")
_hash: BindParameter[str] = bindparam("hash")
_put_company = Replace(company)
_company = select(company.c.id, company.c.name).where(company.c.id == _ident)
_person = select(*rows.PERSON).where(person.c.id == _ident)
_persons = select(*rows.PERSON).where(person.c.id.in_(bindparam("idents", expanding=True)))
_beyond = and_(
    person.c.sort >= bindparam("sort"),  # said apart, because MariaDB finds its way by this alone
    or_(person.c.sort > bindparam("sort"), person.c.id > bindparam("ident")),
)
_people = (
    select(*rows.PERSON, person.c.sort)
    .where(person.c.company == bindparam("of"), _beyond, func.instr(person.c.sort, bindparam("part")) > 0)
    .order_by(person.c.sort, person.c.id)
    .limit(bindparam("limit"))
)
_everyone = (
    select(person.c.id, person.c.company).where(person.c.id > _ident).order_by(person.c.id).limit(bindparam("limit"))
)
_sessions = select(func.count().label("number")).where(family.c.person == _ident)
_erased = select(erased.c.person).order_by(erased.c.at, erased.c.person)
_releases = select(release.c.login_hash, release.c.company).order_by(release.c.no).limit(RELEASES_MAX)
_released = delete(release).where(release.c.login_hash == _hash)
_credential = select(credential.c.login_hash, credential.c.person, credential.c.password).where(
    credential.c.login_hash == _hash
)
_renew_hash = (
    update(credential)
    .where(credential.c.login_hash == _hash, credential.c.password == bindparam("old"))
    .values(password=bindparam("new"))
)
_revocations = (
    select(revocation.c.no, revocation.c.person, revocation.c.sid, revocation.c.before_at)
    .where(revocation.c.no > bindparam("after"))
    .order_by(revocation.c.no)
    .limit(REVOCATIONS_MAX)
)
_prune_revocations = delete(revocation).where(revocation.c.before_at < bindparam("until"))
_end_all_sessions = delete(family)
_prune_families = delete(family).where(family.c.expires_at < bindparam("until"))


class DirectorySql:
    """The store of one region's directory; several processes, at several sites, may have it open.

    `sql` holds `DIRECTORY_TABLES`; closing this closes it.
    """

    def __init__(self, sql: Sql) -> None:
        self._sql = sql
        self._region = sql.home.name
        self.shared = SharedSql(sql)

    async def close(self) -> None:
        await self._sql.close()

    async def put_company(self, company: CompanyRow) -> None:
        await self._write(_put_company, msgspec.structs.asdict(company))

    async def company(self, ident: str) -> CompanyRow | None:
        row = await self._one(_company, {"ident": ident})
        return CompanyRow(id=row.id, name=row.name) if row else None

    async def create_person(self, person: PersonRow, password: str) -> None:
        assert home(person.id) == self._region, "a person rests at home only"
        await self._sql.write(lambda db: rows.create_person(db, person, password))

    async def person(self, ident: str) -> PersonRow | None:
        row = await self._one(_person, {"ident": ident})
        return rows.person_of(row) if row else None

    async def people(
        self, company: str, query: str, after: tuple[str, str] | None, limit: int
    ) -> list[tuple[tuple[str, str], PersonRow]]:
        sort, ident = after or ("", "")
        values = {"of": company, "sort": sort, "ident": ident, "part": rows.sort_key(query), "limit": limit}
        return [((row.sort, row.id), rows.person_of(row)) for row in await self._all(_people, values)]

    async def everyone(self, after: str, limit: int) -> list[tuple[str, str]]:
        return [(row.id, row.company) for row in await self._all(_everyone, {"ident": after, "limit": limit})]

    async def persons(self, idents: Sequence[str]) -> list[PersonRow]:
        return [rows.person_of(row) for row in await self._all(_persons, {"idents": list(idents)})]

    async def change_person(self, ident: str, change: PersonChange, spare_sid: str, now: float) -> list[Revocation]:
        return await self._sql.write(lambda db: rows.change_person(db, ident, change, spare_sid, now))

    async def sessions(self, ident: str) -> int:
        row = await self._one(_sessions, {"ident": ident})
        return int(row.number) if row else 0

    async def erase_person(self, ident: str, now: float) -> list[Revocation]:
        return await self._sql.write(lambda db: rows.erase_person(db, ident, now))

    async def erased(self) -> list[str]:
        return [row.person for row in await self._all(_erased, {})]

    async def releases(self) -> list[tuple[str, str]]:
        return [(row.login_hash, row.company) for row in await self._all(_releases, {})]

    async def released(self, login_hash: str) -> None:
        await self._write(_released, {"hash": login_hash})

    async def credential(self, login_hash: str) -> Credential | None:
        row = await self._one(_credential, {"hash": login_hash})
        return Credential(login_hash=row.login_hash, person=row.person, password=row.password) if row else None

    async def renew_hash(self, credential: Credential, password: str) -> None:
        await self._write(_renew_hash, {"hash": credential.login_hash, "old": credential.password, "new": password})

    async def open_family(self, family: Family, families_max: int) -> list[Revocation]:
        return await self._sql.write(lambda db: rows.open_family(db, family, families_max))

    async def turn_family(
        self, handle: str, decide: Callable[[Family | None], Turn], now: float
    ) -> tuple[Turn, Family | None, list[Revocation]]:
        return await self._sql.write(lambda db: rows.turn_family(db, handle, decide, now))

    async def end_sessions(self, person: str, sid: str | None, now: float) -> list[Revocation]:
        return await self._sql.write(lambda db: rows.end_sessions(db, person, sid, "", now))

    async def end_all_sessions(self) -> None:
        await self._write(_end_all_sessions, {})

    async def revocations(self, after_no: int) -> list[Revocation]:
        found = await self._all(_revocations, {"after": after_no})
        return [Revocation(no=row.no, person=row.person, sid=row.sid, before=row.before_at) for row in found]

    async def prune(self, now: float) -> None:
        def work(db: Connection) -> None:
            db.execute(_prune_revocations, {"until": now - rows.KEEP_REVOCATION_S})
            db.execute(_prune_families, {"until": now})

        await self._sql.write(work)

    async def claim_login(
        self, company: str, login_hash: str, key_id: str, region: str, now: float
    ) -> list[LogEntry] | None:
        return await self._sql.write(
            lambda db: rows.claim_login(db, self._region, company, login_hash, key_id, region, now)
        )

    async def release_login(self, company: str, login_hash: str, region: str, now: float) -> list[LogEntry]:
        return await self._sql.write(lambda db: rows.release_login(db, self._region, company, login_hash, region, now))

    async def _write(self, statement: Executable, values: dict[str, Any]) -> None:
        await self._sql.write(lambda db: db.execute(statement, values))

    async def _one(self, statement: Executable, values: dict[str, Any]) -> Row[Any] | None:
        return await self._sql.read(lambda db: db.execute(statement, values).first())

    async def _all(self, statement: Executable, values: dict[str, Any]) -> Sequence[Row[Any]]:
        return await self._sql.read(lambda db: db.execute(statement, values).all())
