"""The directory's store on SQLite: `directory.ports.Store` for one region, in one file.

People and credentials rest here only for the home region; `shared` (logins' hashes, companies' regions, public keys)
holds what every region may know.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from moonbow.base.ids import home
from moonbow.directory.model import CompanyRow, Credential, Family, PersonChange, PersonRow, Revocation, Turn
from moonbow.wire.shared import LogEntry

from . import directory_rows as rows
from . import shared_sqlite
from .directory_file import DirectoryFile
from .home import HomeRegion
from .shared_sqlite import SharedSqlite


class DirectorySqlite:
    """The store of one region's directory; several processes may have the same file open."""

    def __init__(self, path: Path, region: HomeRegion) -> None:
        self._file = DirectoryFile(path, region, rows.SCHEMA, shared_sqlite.SCHEMA)
        self._region = region.name
        self.shared = SharedSqlite(self._file)

    async def close(self) -> None:
        self._file.close()

    async def put_company(self, company: CompanyRow) -> None:
        await self._file.write(
            lambda db: db.execute("INSERT OR REPLACE INTO company VALUES (?, ?)", (company.id, company.name))
        )

    async def company(self, ident: str) -> CompanyRow | None:
        row = await self._one("SELECT id, name FROM company WHERE id = ?", ident)
        return CompanyRow(id=row[0], name=row[1]) if row else None

    async def create_person(self, person: PersonRow, password: str) -> None:
        assert home(person.id) == self._region, "a person rests at home only"
        await self._file.write(lambda db: rows.create_person(db, person, password))

    async def person(self, ident: str) -> PersonRow | None:
        row = await self._one(f"SELECT {rows.PERSON} FROM person WHERE id = ?", ident)
        return rows.person_of(row) if row else None

    async def people(
        self, company: str, query: str, after: tuple[str, str] | None, limit: int
    ) -> list[tuple[tuple[str, str], PersonRow]]:
        sort, ident = after or ("", "")
        found = await self._all(
            f"SELECT sort, {rows.PERSON} FROM person WHERE company = ? AND (sort, id) > (?, ?) AND instr(sort, ?) > 0 "
            "ORDER BY sort, id LIMIT ?",
            (company, sort, ident, rows.sort_key(query), limit),
        )
        return [((row[0], row[1]), rows.person_of(row[1:])) for row in found]

    async def everyone(self, after: str, limit: int) -> list[tuple[str, str]]:
        return await self._all("SELECT id, company FROM person WHERE id > ? ORDER BY id LIMIT ?", (after, limit))

    async def persons(self, idents: Sequence[str]) -> list[PersonRow]:
        marks = ", ".join("?" * len(idents))
        return [
            rows.person_of(row)
            for row in await self._all(f"SELECT {rows.PERSON} FROM person WHERE id IN ({marks})", idents)
        ]

    async def change_person(self, ident: str, change: PersonChange, spare_sid: str, now: float) -> list[Revocation]:
        return await self._file.write(lambda db: rows.change_person(db, ident, change, spare_sid, now))

    async def sessions(self, ident: str) -> int:
        row = await self._one("SELECT count(*) FROM family WHERE person = ?", ident)
        return int(row[0]) if row else 0

    async def erase_person(self, ident: str, now: float) -> list[Revocation]:
        found = await self._file.write(lambda db: rows.erase_person(db, ident, now))
        await self._file.scrub()
        return found

    async def erased(self) -> list[str]:
        return [row[0] for row in await self._all("SELECT person FROM erased ORDER BY at, person")]

    async def releases(self) -> list[tuple[str, str]]:
        return await self._all("SELECT login_hash, company FROM release ORDER BY no LIMIT 100")

    async def released(self, login_hash: str) -> None:
        await self._file.write(lambda db: db.execute("DELETE FROM release WHERE login_hash = ?", (login_hash,)))

    async def credential(self, login_hash: str) -> Credential | None:
        row = await self._one("SELECT login_hash, person, password FROM credential WHERE login_hash = ?", login_hash)
        return Credential(login_hash=row[0], person=row[1], password=row[2]) if row else None

    async def renew_hash(self, credential: Credential, password: str) -> None:
        await self._file.write(
            lambda db: db.execute(
                "UPDATE credential SET password = ? WHERE login_hash = ? AND password = ?",
                (password, credential.login_hash, credential.password),
            )
        )

    async def open_family(self, family: Family, families_max: int) -> list[Revocation]:
        return await self._file.write(lambda db: rows.open_family(db, family, families_max))

    async def turn_family(
        self, handle: str, decide: Callable[[Family | None], Turn], now: float
    ) -> tuple[Turn, Family | None, list[Revocation]]:
        return await self._file.write(lambda db: rows.turn_family(db, handle, decide, now))

    async def end_sessions(self, person: str, sid: str | None, now: float) -> list[Revocation]:
        return await self._file.write(lambda db: rows.end_sessions(db, person, sid, "", now))

    async def end_all_sessions(self) -> None:
        await self._file.write(lambda db: db.execute("DELETE FROM family"))

    async def revocations(self, after_no: int) -> list[Revocation]:
        found = await self._all(
            "SELECT no, person, sid, before_at FROM revocation WHERE no > ? ORDER BY no LIMIT 10000", (after_no,)
        )
        return [Revocation(no=no, person=person, sid=sid, before=before) for no, person, sid, before in found]

    async def prune(self, now: float) -> None:
        def work(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM revocation WHERE before_at < ?", (now - rows.KEEP_REVOCATION_S,))
            db.execute("DELETE FROM family WHERE expires_at < ?", (now,))

        await self._file.write(work)

    async def claim_login(
        self, company: str, login_hash: str, key_id: str, region: str, now: float
    ) -> list[LogEntry] | None:
        return await self._file.write(
            lambda db: rows.claim_login(db, self._region, company, login_hash, key_id, region, now)
        )

    async def release_login(self, company: str, login_hash: str, region: str, now: float) -> list[LogEntry]:
        return await self._file.write(lambda db: rows.release_login(db, self._region, company, login_hash, region, now))

    async def _one(self, sql: str, *values: object) -> tuple[Any, ...] | None:
        return await self._file.read(lambda db: db.execute(sql, values).fetchone())

    async def _all(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        return await self._file.read(lambda db: db.execute(sql, tuple(values)).fetchall())
