"""What the transactions of the directory's store do, statement by statement, inside a transaction of the caller."""

from __future__ import annotations

import sqlite3
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from moonbow.base.errors import Refused
from moonbow.base.limits import ACCESS_TOKEN_S
from moonbow.directory.model import Family, PersonChange, PersonRow, Revocation, Turn
from moonbow.wire.shared import CompanyRegions, LogEntry, Login, SharedRecord

from . import shared_sqlite

SCHEMA = """
CREATE TABLE IF NOT EXISTS company (id TEXT PRIMARY KEY, name TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS person (
    id TEXT PRIMARY KEY, company TEXT NOT NULL, name TEXT NOT NULL, role TEXT NOT NULL,
    login TEXT NOT NULL, login_hash TEXT NOT NULL UNIQUE, made_at REAL NOT NULL, sort TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS person_by_name ON person (company, sort, id);
CREATE TABLE IF NOT EXISTS credential (
    login_hash TEXT PRIMARY KEY, person TEXT NOT NULL UNIQUE, password TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS family (
    handle TEXT PRIMARY KEY, sid TEXT NOT NULL UNIQUE, person TEXT NOT NULL, secret TEXT NOT NULL, previous TEXT,
    turned_at REAL NOT NULL, made_at REAL NOT NULL, expires_at REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS family_by_person ON family (person, made_at);
CREATE TABLE IF NOT EXISTS revocation (
    no INTEGER PRIMARY KEY AUTOINCREMENT, person TEXT NOT NULL, sid TEXT NOT NULL, before_at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS login_owner (login_hash TEXT PRIMARY KEY, company TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS release (
    no INTEGER PRIMARY KEY AUTOINCREMENT, login_hash TEXT NOT NULL, company TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS erased (person TEXT PRIMARY KEY, at REAL NOT NULL) WITHOUT ROWID
"""
PERSON = "id, company, name, role, login, login_hash, made_at"
FAMILY = "handle, sid, person, secret, previous, turned_at, made_at, expires_at"
KEEP_REVOCATION_S = 2.0 * ACCESS_TOKEN_S


def sort_key(name: str) -> str:
    """A name as it is sorted and searched: casefolded, without accents, its first 64 characters."""
    plain = unicodedata.normalize("NFKD", name.casefold())
    return "".join(char for char in plain if not unicodedata.combining(char))[:64]


def person_of(row: Sequence[Any]) -> PersonRow:
    return PersonRow(**dict(zip(PersonRow.__struct_fields__, row, strict=True)))


def family_of(row: Sequence[Any]) -> Family:
    return Family(**dict(zip(Family.__struct_fields__, row, strict=True)))


def create_person(db: sqlite3.Connection, person: PersonRow, password: str) -> None:
    if db.execute("SELECT 1 FROM person WHERE login_hash = ?", (person.login_hash,)).fetchone():
        raise Refused("login_taken", "this login is taken", status=409, place="$.login")
    values = (*msgspec.structs.astuple(person), sort_key(person.name))
    db.execute(f"INSERT INTO person ({PERSON}, sort) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)
    db.execute("INSERT INTO credential VALUES (?, ?, ?)", (person.login_hash, person.id, password))


def change_person(
    db: sqlite3.Connection, ident: str, change: PersonChange, spare_sid: str, now: float
) -> list[Revocation]:
    if change.name is not None:
        db.execute("UPDATE person SET name = ?, sort = ? WHERE id = ?", (change.name, sort_key(change.name), ident))
    if change.role is not None:
        db.execute("UPDATE person SET role = ? WHERE id = ?", (change.role, ident))
    if change.password is None:
        return []
    db.execute("UPDATE credential SET password = ? WHERE person = ?", (change.password, ident))
    return end_sessions(db, ident, None, spare_sid, now)


def erase_person(db: sqlite3.Connection, ident: str, now: float) -> list[Revocation]:
    row = db.execute("SELECT login_hash, company FROM person WHERE id = ?", (ident,)).fetchone()
    if row is None:
        return []
    db.execute("INSERT INTO release (login_hash, company) VALUES (?, ?)", row)
    db.execute("INSERT OR IGNORE INTO erased VALUES (?, ?)", (ident, now))
    db.execute("DELETE FROM credential WHERE person = ?", (ident,))
    db.execute("DELETE FROM person WHERE id = ?", (ident,))
    return end_sessions(db, ident, None, "", now)


def open_family(db: sqlite3.Connection, family: Family, families_max: int) -> list[Revocation]:
    if not db.execute("SELECT 1 FROM person WHERE id = ?", (family.person,)).fetchone():
        raise Refused("sign_in_refused", "the login or the password is wrong", status=401)
    surplus = db.execute(
        "SELECT sid FROM family WHERE person = ? ORDER BY made_at DESC, sid DESC LIMIT -1 OFFSET ?",
        (family.person, families_max - 1),
    ).fetchall()
    db.execute(f"INSERT INTO family ({FAMILY}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", msgspec.structs.astuple(family))
    return [ended for (sid,) in surplus for ended in end_sessions(db, family.person, sid, "", family.made_at)]


def turn_family(
    db: sqlite3.Connection, handle: str, decide: Callable[[Family | None], Turn], now: float
) -> tuple[Turn, Family | None, list[Revocation]]:
    row = db.execute(f"SELECT {FAMILY} FROM family WHERE handle = ?", (handle,)).fetchone()
    family = family_of(row) if row else None
    turn = decide(family)
    if family is None or turn.verdict == "replayed":
        return turn, family, []
    if turn.family is None:
        return turn, family, end_sessions(db, family.person, family.sid, "", now)
    db.execute(
        f"INSERT OR REPLACE INTO family ({FAMILY}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        msgspec.structs.astuple(turn.family),
    )
    return turn, family, []


def end_sessions(db: sqlite3.Connection, person: str, sid: str | None, spare_sid: str, now: float) -> list[Revocation]:
    """End one session, or all of a person but `spare_sid`."""
    rows = db.execute(
        "DELETE FROM family WHERE person = ? AND sid != ? AND (sid = ? OR ? IS NULL) RETURNING sid",
        (person, spare_sid, sid, sid),
    ).fetchall()
    return [_revoke(db, person, ended, now) for (ended,) in rows]


def _revoke(db: sqlite3.Connection, person: str, sid: str, now: float) -> Revocation:
    cursor = db.execute("INSERT INTO revocation (person, sid, before_at) VALUES (?, ?, ?)", (person, sid, now))
    return Revocation(no=cursor.lastrowid or 0, person=person, sid=sid, before=now)


def claim_login(
    db: sqlite3.Connection, origin: str, company: str, login_hash: str, key_id: str, region: str, now: float
) -> list[LogEntry] | None:
    standing = shared_sqlite.find(db, "login", login_hash)
    owner = db.execute("SELECT company FROM login_owner WHERE login_hash = ?", (login_hash,)).fetchone()
    if isinstance(standing, Login) and (owner != (company,) or standing.region != region):
        return None
    found = shared_sqlite.find(db, "company", company)
    regions = found.regions if isinstance(found, CompanyRegions) else ()
    drafts: list[SharedRecord] = [Login(hash=login_hash, key_id=key_id, region=region, version=0)]
    if region not in regions:
        everywhere = tuple(sorted({*regions, region}))
        drafts.insert(0, CompanyRegions(company=company, home=origin, regions=everywhere, version=0))
    db.execute("INSERT OR REPLACE INTO login_owner VALUES (?, ?)", (login_hash, company))
    return shared_sqlite.append(db, origin, drafts, now)


def release_login(
    db: sqlite3.Connection, origin: str, company: str, login_hash: str, region: str, now: float
) -> list[LogEntry]:
    standing = shared_sqlite.find(db, "login", login_hash)
    owner = db.execute("SELECT company FROM login_owner WHERE login_hash = ?", (login_hash,)).fetchone()
    if owner != (company,) or not isinstance(standing, Login) or standing.region != region:
        return []
    db.execute("DELETE FROM login_owner WHERE login_hash = ?", (login_hash,))
    return shared_sqlite.append(db, origin, [msgspec.structs.replace(standing, gone=True)], now)
