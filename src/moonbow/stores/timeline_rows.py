"""The timeline's tables in SQLite, and what is read and written in them.

Texts rest sealed with their author's key, each for its own entry.  A store from before that keeps its old ones as they
are: JSON objects, whose first byte no sealed text has.

Erased text leaves the disk.  `secure_delete` alone does not see to that: when SQLite splits or joins pages it leaves
copies of moved rows in the unused middle of pages.  So texts lie in a table that only grows at its end, whose rows
never move, and erasing overwrites them where they are; soon after, `timeline_sqlite` empties the write-ahead log.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from moonbow.timeline.model import (
    AnyEffect,
    Fresh,
    Known,
    Outgoing,
    Result,
    Row,
    Span,
    Stored,
    Stream,
    decode_effect,
    encode_effect,
)
from moonbow.vault.ports import Sealer

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
_UNSEALED = b"{"  # how every body begins that was kept before bodies were sealed
_ROW = "seq, kind, entry, author, target, no, at, gone, detail"


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


class SqliteReads:
    """`timeline.ports.Reads` on one connection."""

    def __init__(self, connection: sqlite3.Connection, region: str, sealer: Sealer) -> None:
        self.region = region
        self._sealer = sealer
        self._db = connection
        self._run = connection.execute

    def stream(self, ident: str) -> Stream | None:
        found = self._run(
            "SELECT id, key, head, no, creator, card, regions, pair FROM stream WHERE id = ?", (ident,)
        ).fetchone()
        return Stream(*found) if found else None

    def row(self, stream: Stream, seq: int) -> Row | None:
        found = self._run(f"SELECT {_ROW} FROM order_row WHERE stream = ? AND seq = ?", (stream.key, seq)).fetchone()
        return _row(stream.ident, found) if found else None

    def rows_after(self, stream: Stream, after: int, limit: int) -> list[Row]:
        found = self._run(
            f"SELECT {_ROW} FROM order_row WHERE stream = ? AND seq > ? ORDER BY seq LIMIT ?",
            (stream.key, after, limit),
        )
        return [_row(stream.ident, values) for values in found]

    def rows_before(self, stream: Stream, before: int, limit: int) -> list[Row]:
        found = self._run(
            f"SELECT {_ROW} FROM order_row WHERE stream = ? AND seq < ? ORDER BY seq DESC LIMIT ?",
            (stream.key, before, limit),
        ).fetchall()
        return [_row(stream.ident, values) for values in reversed(found)]

    def find_entry(self, entry: str) -> Row | None:
        found = self._run(
            "SELECT s.id, o.seq, o.kind, o.entry, o.author, o.target, o.no, o.at, o.gone, o.detail"
            " FROM order_row o JOIN stream s ON s.key = o.stream WHERE o.entry = ? AND o.kind = 'entry'",
            (entry,),
        ).fetchone()
        return _row(found[0], found[1:]) if found else None

    def entries_of(self, stream: Stream, author: str) -> list[Row]:
        found = self._run(
            f"SELECT {_ROW} FROM order_row WHERE stream = ? AND author = ? AND kind = 'entry' ORDER BY seq",
            (stream.key, author),
        )
        return [_row(stream.ident, values) for values in found]

    def own_messages_after(self, stream: Stream, author: str, after: int) -> int:
        found = self._run(
            "SELECT count(*) FROM order_row WHERE stream = ? AND seq > ? AND author = ? AND kind = 'entry'"
            " AND target IS NULL",
            (stream.key, after, author),
        ).fetchone()
        return int(found[0])

    def spans(self, stream: Stream, person: str) -> list[Span]:
        found = self._run(
            "SELECT joined, left FROM span WHERE stream = ? AND person = ? ORDER BY joined", (stream.key, person)
        )
        return [Span(*values) for values in found]

    def members(self, stream: Stream) -> list[tuple[str, int]]:
        return self._run(
            "SELECT person, joined FROM span WHERE stream = ? AND left IS NULL ORDER BY joined", (stream.key,)
        ).fetchall()

    def region_sees(self, stream: Stream, region: str, seq: int) -> bool:
        found = self._run(
            "SELECT 1 FROM span WHERE stream = ? AND person >= ? AND person < ? AND joined <= ?"
            " AND (left IS NULL OR left >= ?) LIMIT 1",
            (stream.key, f"usr_{region}_", f"usr_{region}`", seq, seq),
        ).fetchone()
        return found is not None

    def post(self, author: str, client_id: str) -> Known | None:
        found = self._run(
            "SELECT mark, entry, state, seq, code, early FROM post WHERE author = ? AND client_id = ?",
            (author, client_id),
        ).fetchone()
        return Known(*found) if found else None

    def bodies(self, entries: Sequence[str]) -> dict[str, Stored]:
        found: dict[str, Stored] = {}
        for start in range(0, len(entries), 500):
            some = entries[start : start + 500]
            marks = ",".join("?" * len(some))
            for entry, author, room, text in self._run(
                "SELECT entry, author, room, text FROM post LEFT JOIN body ON body.key = post.body"
                f" WHERE entry IN ({marks})",
                some,
            ):
                found[entry] = Stored(author, room, self._opened(author, entry, text))
        return found

    def _opened(self, author: str, entry: str, text: bytes | None) -> bytes | None:
        """A body as it was written; None if it is erased, or sealed with a key that may not be used any more."""
        if text is None or text.startswith(_UNSEALED):
            return text
        return self._sealer.open(author, entry, text)

    def seats(self, person: str) -> list[str]:
        return [room for (room,) in self._run("SELECT room FROM seat WHERE person = ?", (person,))]

    def seat(self, person: str, room: str) -> tuple[int, bool]:
        found = self._run("SELECT read, invited FROM seat WHERE person = ? AND room = ?", (person, room)).fetchone()
        return (found[0], bool(found[1])) if found else (0, False)

    def direct_room(self, pair: str) -> str | None:
        found = self._run("SELECT id FROM stream WHERE pair = ?", (pair,)).fetchone()
        return found[0] if found else None

    def heads(self, streams: Sequence[str]) -> dict[str, int]:
        found: dict[str, int] = {}
        for start in range(0, len(streams), 500):
            some = streams[start : start + 500]
            marks = ",".join("?" * len(some))
            found.update(self._run(f"SELECT id, head FROM stream WHERE id IN ({marks})", some))
        return found

    def copies(self, after: str, limit: int) -> list[tuple[str, int]]:
        """Rooms homed elsewhere, with the head of our copy, by id beyond `after`."""
        return self._run(
            "SELECT DISTINCT seat.room, coalesce(stream.head, 0) FROM seat LEFT JOIN stream ON stream.id = seat.room"
            " WHERE seat.room > ? AND substr(seat.room, 5, ?) <> ? ORDER BY seat.room LIMIT ?",
            (after, len(self.region) + 1, f"{self.region}_", limit),
        ).fetchall()

    def outbox_heads(self, dest: str, after: str, limit: int) -> list[str]:
        """Queues to a region that are not empty, by stream, beyond `after`."""
        found = self._run(
            "SELECT DISTINCT stream FROM outbox WHERE dest = ? AND stream > ? ORDER BY stream LIMIT ?",
            (dest, after, limit),
        )
        return [stream for (stream,) in found]

    def outgoing(self, dest: str, stream: str, limit: int) -> list[Outgoing]:
        found = self._run(
            "SELECT out_no, effect FROM outbox WHERE dest = ? AND stream = ? ORDER BY out_no LIMIT ?",
            (dest, stream, limit),
        )
        return [Outgoing(dest, stream, out_no, decode_effect(effect)) for out_no, effect in found]

    def applied(self, source: str, epoch: int, stream: str, out_no: int) -> Result | None:
        found = self._run(
            "SELECT state, seq, code FROM applied WHERE source = ? AND epoch = ? AND stream = ? AND out_no = ?",
            (source, epoch, stream, out_no),
        ).fetchone()
        return Result(*found) if found else None

    def applied_last(self, source: str, epoch: int, stream: str) -> int:
        found = self._run(
            "SELECT max(out_no) FROM applied WHERE source = ? AND epoch = ? AND stream = ?", (source, epoch, stream)
        ).fetchone()
        return found[0] or 0

    def is_gone(self, person: str) -> bool:
        return self._run("SELECT 1 FROM gone WHERE person = ?", (person,)).fetchone() is not None

    def epoch(self) -> int:
        return int(self._run("SELECT epoch FROM meta").fetchone()[0])


class SqliteTx(SqliteReads):
    """`timeline.ports.Tx`: reads that remember what they locked, and writes, inside BEGIN IMMEDIATE."""

    def __init__(self, connection: sqlite3.Connection, region: str, sealer: Sealer, now_ms: int) -> None:
        super().__init__(connection, region, sealer)
        self.now_ms = now_ms
        self.fresh: list[Fresh] = []
        self.queued = self.erased = False
        self._streams: dict[str, Stream | None] = {}
        self._spans: dict[tuple[int, str], list[Span]] = {}

    def stream(self, ident: str) -> Stream | None:
        if ident not in self._streams:
            self._streams[ident] = super().stream(ident)
        return self._streams[ident]

    def spans(self, stream: Stream, person: str) -> list[Span]:
        key = (stream.key, person)
        if key not in self._spans:
            self._spans[key] = super().spans(stream, person)
        return self._spans[key]

    def mark(self, author: str, text: bytes) -> bytes:
        return self._sealer.mark(author, text)

    def create_stream(self, ident: str, creator: str, pair: str | None) -> Stream:
        cursor = self._run("INSERT INTO stream VALUES (NULL, ?, 0, 0, ?, NULL, '', ?)", (ident, creator, pair))
        stream = Stream(ident, cursor.lastrowid or 0, 0, 0, creator, None, "", pair)
        self._streams[ident] = stream
        return stream

    def add_row(self, stream: Stream, row: Row) -> None:
        self._run(
            "INSERT INTO order_row VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (stream.key, row.seq, row.kind, row.entry, row.author, row.target, row.no, row.at, row.gone, row.detail),
        )

    def mark_gone(self, stream: Stream, seq: int) -> None:
        self._run("UPDATE order_row SET gone = 1 WHERE stream = ? AND seq = ?", (stream.key, seq))

    def open_span(self, stream: Stream, person: str, seq: int) -> None:
        self._spans.pop((stream.key, person), None)
        self._run("INSERT INTO span VALUES (?, ?, ?, NULL)", (stream.key, person, seq))

    def close_span(self, stream: Stream, person: str, seq: int) -> None:
        self._spans.pop((stream.key, person), None)
        self._run(
            "UPDATE span SET left = ? WHERE stream = ? AND person = ? AND left IS NULL", (seq, stream.key, person)
        )

    def add_post(
        self, author: str, client_id: str, mark: bytes, entry: str, room: str, state: str,
        seq: int | None, code: str | None, body: bytes | None,
    ) -> None:  # fmt: skip
        key = None
        if body is not None:
            sealed = self._sealer.seal(author, entry, body)
            key = self._run("INSERT INTO body(text) VALUES (?)", (sealed,)).lastrowid
        self._run(
            "INSERT INTO post VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (entry, author, client_id, mark, room, state, seq, code, state == "refused", key),
        )

    def set_fate(self, entry: str, state: str, seq: int | None, code: str | None) -> None:
        self._run("UPDATE post SET state = ?, seq = ?, code = ? WHERE entry = ?", (state, seq, code, entry))

    def erase_body(self, entry: str) -> None:
        self._erase("entry = ?", entry)

    def erase_author(self, author: str) -> list[str]:
        rooms = self._run(
            "SELECT DISTINCT room FROM post WHERE author = ? AND state <> 'refused' ORDER BY room", (author,)
        ).fetchall()
        self._erase("author = ?", author)
        return [room for (room,) in rooms]

    def _erase(self, which: str, value: str) -> None:
        """Overwrite texts in their place, and forget their marks, by which a text could be guessed."""
        done = self._run(
            f"UPDATE body SET text = zeroblob(length(text)) WHERE key IN (SELECT body FROM post WHERE {which})",
            (value,),
        )
        self.erased |= done.rowcount > 0
        self._run(f"UPDATE post SET body = NULL, mark = x'' WHERE {which}", (value,))

    def set_seat(self, person: str, room: str, *, read: int | None = None, invited: bool | None = None) -> None:
        self._run(
            "INSERT INTO seat VALUES (:person, :room, coalesce(:read, 0), coalesce(:invited, 0)) ON CONFLICT DO UPDATE"
            " SET read = coalesce(:read, read), invited = coalesce(:invited, invited)",
            {"person": person, "room": room, "read": read, "invited": invited},
        )

    def enqueue(self, dest: str, stream: str, effect: AnyEffect) -> None:
        self.queued = True
        (out_no,) = self._run(
            "INSERT INTO out_no VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET last = last + 1 RETURNING last",
            (dest, stream),
        ).fetchone()
        self._run("INSERT INTO outbox VALUES (?, ?, ?, ?)", (dest, stream, out_no, encode_effect(effect)))

    def dequeue(self, dest: str, stream: str, out_no: int) -> AnyEffect | None:
        found = self._run(
            "DELETE FROM outbox WHERE dest = ? AND stream = ? AND out_no = ? RETURNING effect", (dest, stream, out_no)
        ).fetchone()
        return decode_effect(found[0]) if found else None

    def set_applied(self, source: str, epoch: int, stream: str, out_no: int, result: Result) -> None:
        self._run(
            "INSERT INTO applied VALUES (?, ?, ?, ?, ?, ?, ?)",
            (source, epoch, stream, out_no, result.state, result.seq, result.code),
        )

    def trim_applied(self, source: str, epoch: int, stream: str, below: int) -> None:
        self._run(
            "DELETE FROM applied WHERE source = ? AND epoch = ? AND stream = ? AND out_no < ?",
            (source, epoch, stream, below),
        )

    def set_gone(self, person: str) -> None:
        self._run("INSERT OR IGNORE INTO gone VALUES (?)", (person,))

    def begin_epoch(self, epoch: int) -> list[Outgoing]:
        found = self._run("SELECT dest, stream, out_no, effect FROM outbox ORDER BY dest, stream, out_no").fetchall()
        for table in ("outbox", "out_no", "applied"):
            self._run(f"DELETE FROM {table}")
        self._run("UPDATE meta SET epoch = ?", (epoch,))
        return [Outgoing(dest, stream, out_no, decode_effect(effect)) for dest, stream, out_no, effect in found]

    def flush(self) -> None:
        """Write back the streams that changed; the last step before the commit."""
        changed = [s for s in self._streams.values() if s is not None and s.changed]
        if changed:
            self._db.executemany(
                "UPDATE stream SET head = ?, no = ?, card = ?, regions = ? WHERE key = ?",
                [(s.head, s.no, s.card, ",".join(s.regions), s.key) for s in changed],
            )


def _row(stream: str, values: Any) -> Row:
    seq, kind, entry, author, target, no, at, gone, detail = values
    return Row(stream, seq, kind, entry, author, target, no, at, bool(gone), detail)
