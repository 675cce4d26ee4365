"""The shared plane's log and its present state, as tables of a region's directory file.

`shared_log` holds every origin's log, `shared` the latest record of each key and origin, `shared_head` how far each
log reaches.  A key that two origins wrote is decided when read (`federation.shared.newer`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import reduce

import msgspec

from moonbow.federation.shared import NOTHING, Head, decide_entry, key_of, newer
from moonbow.wire.shared import CompanyRegions, LogEntry, Login, PublicKey, SharedRecord

from .directory_file import DirectoryFile

SCHEMA = """
CREATE TABLE IF NOT EXISTS shared_head (
    origin TEXT PRIMARY KEY, epoch INTEGER NOT NULL, seq INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS shared_log (
    origin TEXT NOT NULL, epoch INTEGER NOT NULL, seq INTEGER NOT NULL, record BLOB NOT NULL,
    PRIMARY KEY (origin, epoch, seq)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS shared (
    kind TEXT NOT NULL, key TEXT NOT NULL, origin TEXT NOT NULL, record BLOB NOT NULL,
    PRIMARY KEY (kind, key, origin)) WITHOUT ROWID;
"""
_encode = msgspec.msgpack.Encoder().encode
_record: msgspec.msgpack.Decoder[SharedRecord] = msgspec.msgpack.Decoder(SharedRecord)


def find(db: sqlite3.Connection, kind: str, key: str) -> SharedRecord | None:
    """The record that counts for a key; None if there is none or it is gone."""
    rows = db.execute("SELECT record FROM shared WHERE kind = ? AND key = ?", (kind, key)).fetchall()
    if not rows:
        return None
    found = reduce(newer, (_record.decode(row[0]) for row in rows))
    return None if found.gone else found


def append(db: sqlite3.Connection, origin: str, drafts: Sequence[SharedRecord], now: float) -> list[LogEntry]:
    """Add records to the own log, inside a transaction of the caller; unchanged ones are left out."""
    added: list[LogEntry] = []
    head = _head(db, origin, Head(1, 0))
    for draft in drafts:
        kind, key = key_of(draft)
        rows = db.execute("SELECT origin, record FROM shared WHERE kind = ? AND key = ?", (kind, key)).fetchall()
        standing = {row[0]: _record.decode(row[1]) for row in rows}
        mine = standing.get(origin)
        if mine is not None and msgspec.structs.replace(draft, version=mine.version) == mine:
            continue
        highest = max((record.version for record in standing.values()), default=draft.version)
        record = msgspec.structs.replace(draft, version=max(highest + 1, int(now * 1000)))
        head = Head(head.epoch, head.seq + 1)
        _write(db, LogEntry(origin, head.epoch, head.seq, record))
        added.append(LogEntry(origin, head.epoch, head.seq, record))
    return added


def _head(db: sqlite3.Connection, origin: str, default: Head = NOTHING) -> Head:
    row = db.execute("SELECT epoch, seq FROM shared_head WHERE origin = ?", (origin,)).fetchone()
    return Head(*row) if row else default


def _write(db: sqlite3.Connection, entry: LogEntry) -> None:
    kind, key = key_of(entry.record)
    blob = _encode(entry.record)
    db.execute("INSERT INTO shared_log VALUES (?, ?, ?, ?)", (entry.origin, entry.epoch, entry.seq, blob))
    db.execute("INSERT OR REPLACE INTO shared VALUES (?, ?, ?, ?)", (kind, key, entry.origin, blob))
    db.execute("INSERT OR REPLACE INTO shared_head VALUES (?, ?, ?)", (entry.origin, entry.epoch, entry.seq))


def _forget(db: sqlite3.Connection, origin: str) -> None:
    for table in ("shared", "shared_log", "shared_head"):
        db.execute(f"DELETE FROM {table} WHERE origin = ?", (origin,))


class SharedSqlite:
    """`federation.shared.SharedLog` on a region's directory file."""

    def __init__(self, file: DirectoryFile) -> None:
        self._file = file
        self._region = file.home.name

    async def append(self, drafts: Sequence[SharedRecord], now: float) -> list[LogEntry]:
        return await self._file.write(lambda db: append(db, self._region, drafts, now))

    async def apply(self, origin: str, entries: Sequence[LogEntry]) -> Head:
        head = await self._file.read(lambda db: _head(db, origin))
        if all(decide_entry(head, entry) == "known" for entry in entries):
            return head
        return await self._file.write(lambda db: self._apply(db, origin, entries))

    def _apply(self, db: sqlite3.Connection, origin: str, entries: Sequence[LogEntry]) -> Head:
        assert origin != self._region, "nobody else writes the own log"
        head = _head(db, origin)
        for entry in entries:
            verdict = decide_entry(head, entry)
            if verdict == "restart":
                _forget(db, origin)
            if verdict in ("apply", "restart"):
                _write(db, entry)
                head = Head(entry.epoch, entry.seq)
        return head

    async def begin_epoch(self, beyond: Head, now: float) -> list[LogEntry]:
        return await self._file.write(lambda db: self._begin_epoch(db, beyond, now))

    def _begin_epoch(self, db: sqlite3.Connection, beyond: Head, now: float) -> list[LogEntry]:
        if _head(db, self._region) >= beyond:
            return []
        rows = db.execute("SELECT record FROM shared WHERE origin = ? ORDER BY kind, key", (self._region,)).fetchall()
        records = [_record.decode(row[0]) for row in rows]
        epoch = max(beyond.epoch, _head(db, self._region).epoch) + 1
        _forget(db, self._region)
        db.execute("INSERT INTO shared_head VALUES (?, ?, 0)", (self._region, epoch))
        return append(db, self._region, records, now)

    async def heads(self) -> dict[str, Head]:
        rows = await self._file.read(lambda db: db.execute("SELECT origin, epoch, seq FROM shared_head").fetchall())
        return {origin: Head(epoch, seq) for origin, epoch, seq in rows}

    async def tail(self, origin: str, epoch: int, after: int, limit: int) -> list[LogEntry]:
        def rows(db: sqlite3.Connection) -> list[LogEntry]:
            head = _head(db, origin)
            found = db.execute(
                "SELECT seq, record FROM shared_log WHERE origin = ? AND epoch = ? AND seq > ? ORDER BY seq LIMIT ?",
                (origin, head.epoch, after if epoch == head.epoch else 0, limit),
            )
            return [LogEntry(origin, head.epoch, seq, _record.decode(record)) for seq, record in found]

        return await self._file.read(rows)

    async def login(self, login_hash: str) -> Login | None:
        found = await self._file.read(lambda db: find(db, "login", login_hash))
        return found if isinstance(found, Login) else None

    async def company(self, ident: str) -> CompanyRegions | None:
        found = await self._file.read(lambda db: find(db, "company", ident))
        return found if isinstance(found, CompanyRegions) else None

    async def keys(self) -> list[PublicKey]:
        rows = await self._file.read(
            lambda db: db.execute("SELECT record FROM shared WHERE kind = 'key' ORDER BY key").fetchall()
        )
        found = [_record.decode(row[0]) for row in rows]
        return [key for key in found if isinstance(key, PublicKey) and not key.gone]
