"""The timeline's tables in SQLite, and transactions over them.

Erased text leaves the disk.  `secure_delete` alone does not see to that: when SQLite splits or joins pages it leaves
copies of moved rows in the unused middle of pages.  So texts lie in a table that only grows at its end, whose rows
never move, and erasing overwrites them where they are; soon after, `timeline_sqlite` empties the write-ahead log.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from moonbow.base.errors import Unavailable
from moonbow.vault.ports import Sealer

from .timeline_batch import BatchTx, Work
from .timeline_sql import SqlReads, SqlTx

VERSION = 1
SCHEMA = """
CREATE TABLE IF NOT EXISTS meta(epoch INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS stream(key INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, head INTEGER NOT NULL,
    no INTEGER NOT NULL, creator TEXT NOT NULL, card TEXT, regions TEXT NOT NULL, pair TEXT UNIQUE);
CREATE TABLE IF NOT EXISTS order_row(stream INTEGER NOT NULL, seq INTEGER NOT NULL, kind TEXT NOT NULL, entry TEXT,
    author TEXT, target TEXT, no INTEGER NOT NULL, at INTEGER NOT NULL, gone INTEGER NOT NULL DEFAULT 0, detail TEXT,
    PRIMARY KEY(stream, seq)) WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS order_entry ON order_row(entry) WHERE kind = 'entry';
CREATE TABLE IF NOT EXISTS span(stream INTEGER NOT NULL, person TEXT NOT NULL, joined INTEGER NOT NULL, left INTEGER,
    PRIMARY KEY(stream, person, joined)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS post(entry TEXT PRIMARY KEY, author TEXT NOT NULL, client_id TEXT NOT NULL,
    mark BLOB NOT NULL, room TEXT NOT NULL, state TEXT NOT NULL, seq INTEGER, code TEXT, early INTEGER NOT NULL,
    body INTEGER) WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS post_client ON post(author, client_id);
CREATE TABLE IF NOT EXISTS seat(person TEXT NOT NULL, room TEXT NOT NULL, read INTEGER NOT NULL,
    invited INTEGER NOT NULL, PRIMARY KEY(person, room)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS outbox(dest TEXT NOT NULL, stream TEXT NOT NULL, out_no INTEGER NOT NULL,
    effect BLOB NOT NULL, PRIMARY KEY(dest, stream, out_no)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS out_no(dest TEXT NOT NULL, stream TEXT NOT NULL, last INTEGER NOT NULL,
    PRIMARY KEY(dest, stream)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS applied(source TEXT NOT NULL, epoch INTEGER NOT NULL, stream TEXT NOT NULL,
    out_no INTEGER NOT NULL, state TEXT NOT NULL, seq INTEGER, code TEXT,
    PRIMARY KEY(source, epoch, stream, out_no)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS gone(person TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS body(key INTEGER PRIMARY KEY, text BLOB NOT NULL);
INSERT INTO body(text) SELECT zeroblob(2000) FROM (VALUES (1), (2), (3)) WHERE NOT EXISTS (SELECT 1 FROM body);
"""  # the zeros split the table's root while nobody's text is in it; from then on pages are only added at the end


def open_connection(path: Path) -> sqlite3.Connection:
    """A connection with the settings that make a commit durable before it returns."""
    connection = sqlite3.connect(
        path, isolation_level=None, timeout=5.0, check_same_thread=False, cached_statements=256
    )
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute("PRAGMA cache_size = -4096")
    return connection


class SqliteReads(SqlReads):
    """`timeline.ports.Reads` on one connection."""

    def __init__(self, connection: sqlite3.Connection, region: str, sealer: Sealer) -> None:
        super().__init__(region, sealer)
        self._run = connection.execute

    def _all(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        return self._run(sql, values).fetchall()

    def _one(self, sql: str, values: Sequence[Any] = ()) -> Any:
        return self._run(sql, values).fetchone()


class SqliteTx(SqlTx):
    """`timeline.ports.Tx` inside BEGIN IMMEDIATE."""

    def __init__(self, connection: sqlite3.Connection, region: str, sealer: Sealer, now_ms: int) -> None:
        super().__init__(region, sealer, now_ms)
        self._db = connection
        self._run = connection.execute

    def _all(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        return self._run(sql, values).fetchall()

    def _do(self, sql: str, values: Sequence[Any] = ()) -> int:
        return self._run(sql, values).rowcount

    def _insert(self, table: str, *values: Any) -> None:
        self._run(f"INSERT INTO {table} VALUES ({_MARKS[len(values)]})", values)

    def writes(self) -> int:
        return self._db.total_changes

    def _new_stream(self, ident: str, creator: str, pair: str | None) -> int:
        cursor = self._run("INSERT INTO stream VALUES (NULL, ?, 0, 0, ?, NULL, '', ?)", (ident, creator, pair))
        return cursor.lastrowid or 0

    def _keep_text(self, entry: str, sealed: bytes) -> int | None:
        return self._run("INSERT INTO body(text) VALUES (?)", (sealed,)).lastrowid

    def _wipe(self, which: str, value: str) -> int:
        """Overwrite texts in their place."""
        return self._do(
            f"UPDATE body SET text = zeroblob(length(text)) WHERE key IN (SELECT body FROM post WHERE {which})",
            (value,),
        )

    def set_seat(self, person: str, room: str, *, read: int | None = None, invited: bool | None = None) -> None:
        self._run(
            "INSERT INTO seat VALUES (:person, :room, coalesce(:read, 0), coalesce(:invited, 0)) ON CONFLICT DO UPDATE"
            " SET read = coalesce(:read, read), invited = coalesce(:invited, invited)",
            {"person": person, "room": room, "read": read, "invited": invited},
        )

    def _next_out_no(self, dest: str, stream: str) -> int:
        (out_no,) = self._one(
            "INSERT INTO out_no VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET last = last + 1 RETURNING last",
            (dest, stream),
        )
        return int(out_no)

    def set_gone(self, person: str) -> None:
        self._run("INSERT OR IGNORE INTO gone VALUES (?)", (person,))

    def flush(self) -> None:
        """Write back the streams that changed; the last step before the commit."""
        if changed := self._changed():
            self._db.executemany(
                "UPDATE stream SET head = ?, no = ?, card = ?, regions = ? WHERE key = ?",
                [(s.head, s.no, s.card, ",".join(s.regions), s.key) for s in changed],
            )


class SqliteEngine:
    """`timeline_batch.Engine` on one connection.  `erased()` is called when a text went."""

    faults: tuple[type[Exception], ...] = (sqlite3.OperationalError,)

    def __init__(
        self, connection: sqlite3.Connection, region: str, sealer: Sealer, *,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000, erased: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        self._db, self._region, self._sealer = connection, region, sealer
        self._now_ms, self._erased = now_ms, erased

    def transact(self, works: list[Work], run: Callable[[BatchTx], None]) -> BatchTx:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            tx = SqliteTx(self._db, self._region, self._sealer, self._now_ms())
            try:
                run(tx)
                tx.flush()
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise Unavailable("store_unavailable", str(error)) from error
        if tx.erased:
            self._erased()
        return tx


_MARKS = [",".join("?" * count) for count in range(12)]
