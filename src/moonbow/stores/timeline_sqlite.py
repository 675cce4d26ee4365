"""The timeline in SQLite: one file a region, WAL, every commit synced, shared by all gateways of the region.

One thread a process writes.  It takes what is waiting, and runs it as one transaction: the natural batch.  Writers of
several processes queue on a file lock (the kernel wakes the next one; SQLite's own waiting sleeps in steps).
Reads run on the caller's thread on a connection of their own: a page takes tens of microseconds, and WAL readers
wait for nobody.

Erased text leaves the disk.  `secure_delete` alone does not see to that: when SQLite splits or joins pages it leaves
copies of moved rows in the unused middle of pages.  So texts lie in a table that only grows at its end, whose rows
never move, and erasing overwrites them where they are; soon after, the write-ahead log is emptied.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from moonbow.base import limits
from moonbow.base.errors import Broken, MoonbowError, Unavailable
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
from moonbow.timeline.ports import Callback, Reads, Tx

from .home import HomeRegion, bind_file

log = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")

VERSION = 1
SCRUB_S = 0.5  # from an erasure to the emptying of the write-ahead log
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

    def __init__(self, connection: sqlite3.Connection, region: str) -> None:
        self.region = region
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
            for entry, *stored in self._run(
                "SELECT entry, author, room, text FROM post LEFT JOIN body ON body.key = post.body"
                f" WHERE entry IN ({marks})",
                some,
            ):
                found[entry] = Stored(*stored)
        return found

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

    def __init__(self, connection: sqlite3.Connection, region: str, now_ms: int) -> None:
        super().__init__(connection, region)
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
        key = self._run("INSERT INTO body(text) VALUES (?)", (body,)).lastrowid if body is not None else None
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

    def flush(self) -> None:
        """Write back the streams that changed; the last step before the commit."""
        changed = [s for s in self._streams.values() if s is not None and s.changed]
        if changed:
            self._db.executemany(
                "UPDATE stream SET head = ?, no = ?, card = ?, regions = ? WHERE key = ?",
                [(s.head, s.no, s.card, ",".join(s.regions), s.key) for s in changed],
            )


class Work:
    """One operation that waits for the writer: what to run, and whom to tell."""

    __slots__ = ("args", "done", "error", "result", "work")

    def __init__(self, work: Callable[..., Any], args: tuple[Any, ...], done: Callback) -> None:
        self.work, self.args, self.done = work, args, done
        self.result: Any = None
        self.error: BaseException | None = None


class SqliteTimeline:
    """`timeline.ports.Store` on a SQLite file.  Callbacks run on the loop that opened it."""

    def __init__(self, path: Path, home: HomeRegion) -> None:
        self.region = home.name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with contextlib.ExitStack() as opened:
            opened.callback(os.close, self._lock)
            try:
                self._writer = opened.enter_context(contextlib.closing(open_connection(path)))
                self._prepare(home)
                self._reader = opened.enter_context(contextlib.closing(open_connection(path)))
            except sqlite3.Error as error:
                raise Unavailable("store_unavailable", str(error)) from error
            self._opened = opened.pop_all()
        self._reads = SqliteReads(self._reader, home.name)
        self._queue: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._publish: Callable[[list[Fresh], bool], None] = lambda fresh, queued: None
        self._began = 0.0
        self._closing = False
        self._scrub_at: float | None = time.monotonic()  # a process that ended early may have left something to empty
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._write_loop, name="timeline-writer", daemon=True)
        self._thread.start()
        self.commits = self.operations = 0

    def _prepare(self, home: HomeRegion) -> None:
        with self._alone():
            bind_file(self._writer, home)
            (version,) = self._writer.execute("PRAGMA user_version").fetchone()
            old = self._writer.execute("SELECT 1 FROM sqlite_schema WHERE name = 'meta'").fetchone() is not None
            if version != VERSION and (old or version):
                raise Broken(f"this store has layout {version}, and this program reads and writes {VERSION}")
            self._writer.executescript(SCHEMA)
            self._writer.execute("INSERT INTO meta SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM meta)")
            self._writer.execute(f"PRAGMA user_version = {VERSION}")

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """While no other process of the machine writes."""
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    def on_commit(self, publish: Callable[[list[Fresh], bool], None]) -> None:
        """Who is told, on the loop, of the rows of every commit and whether the outbox grew; the callers hear first."""
        self._publish = publish

    def submit(self, work: Callable[..., Any], args: tuple[Any, ...], done: Callback) -> None:
        """Run `work(tx, *args)` in the next transaction; `done(result, error)` follows on the loop.

        `Unavailable` with `busy` when too much is waiting already, with `closing` when it is too late.
        """
        if self._closing:
            raise Unavailable("closing", "this gateway is going; another one will do it")
        if self._queue.qsize() >= limits.COMMIT_QUEUE_MAX:
            raise Unavailable("busy", "too many writes are waiting here; try again in a moment")
        self._queue.put(Work(work, args, done))

    async def write(self, work: Callable[Concatenate[Tx, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work(tx, …)` in the next transaction and wait for its result."""
        future: asyncio.Future[T] = self._loop.create_future()

        def done(result: Any, error: BaseException | None) -> None:
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)

        self.submit(lambda tx: work(tx, *args, **kwargs), (), done)
        return await future

    async def read(self, work: Callable[Concatenate[Reads, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work(reads, …)` on one consistent snapshot."""
        try:
            self._reader.execute("BEGIN")
            try:
                return work(self._reads, *args, **kwargs)
            finally:
                self._reader.execute("COMMIT")
        except sqlite3.Error as error:
            raise Unavailable("store_unavailable", str(error)) from error

    def busy_s(self) -> float:
        """For how long the transaction under way has been running, waiting for other processes not counted."""
        began = self._began
        return time.monotonic() - began if began else 0.0

    def close(self) -> None:
        """Commit what is waiting, then stop."""
        self._closing = True
        self._queue.put(None)
        self._thread.join(timeout=5)
        self._opened.close()

    # -- the writer's thread ---------------------------------------------------------------------------------------

    def _write_loop(self) -> None:
        more = True
        while more:
            batch = self._take()
            more = None not in batch
            works = [work for work in batch if work is not None]
            if works:
                fresh, queued = self._commit(works)
                with contextlib.suppress(RuntimeError):  # the loop has been closed: nobody waits any more
                    self._loop.call_soon_threadsafe(self._finish, works, fresh, queued)
            if self._scrub_at is not None and (not more or time.monotonic() >= self._scrub_at):
                self._scrub()

    def _take(self) -> list[Work | None]:
        """What is waiting, at most one batch; nothing when it is time to empty the log."""
        timeout = None if self._scrub_at is None else max(0.0, self._scrub_at - time.monotonic())
        try:
            batch = [self._queue.get(timeout=timeout)]
        except queue.Empty:
            return []
        while len(batch) < limits.COMMIT_BATCH_MAX and not self._queue.empty():
            batch.append(self._queue.get())
        return batch

    def _commit(self, works: list[Work]) -> tuple[list[Fresh], bool]:
        try:
            with self._alone():
                self._began = time.monotonic()
                return run_batch(self._writer, self.region, works, time.time_ns() // 1_000_000, self._erased)
        except Exception as error:  # whatever it is, those who wait are told, and the writer lives
            log.exception("a batch failed")
            for work in works:
                work.result, work.error = None, Broken(f"the store could not write: {error!r}")
            return [], False
        finally:
            self._began = 0.0

    def _erased(self) -> None:
        if self._scrub_at is None:
            self._scrub_at = time.monotonic() + SCRUB_S

    def _scrub(self) -> None:
        """Move the log into the file and empty it: it may hold what has been erased.  Tried again while somebody reads
        an older state."""
        self._scrub_at = time.monotonic() + SCRUB_S
        with contextlib.suppress(sqlite3.Error), self._alone():
            self._writer.execute("PRAGMA busy_timeout = 20")
            try:
                (busy, _, _) = self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            finally:
                self._writer.execute("PRAGMA busy_timeout = 5000")
            if not busy:
                self._scrub_at = None

    def _finish(self, works: list[Work], fresh: list[Fresh], queued: bool) -> None:
        self.commits += 1
        self.operations += len(works)
        for work in works:
            try:
                work.done(work.result, work.error)
            except Exception:
                log.exception("an answer could not be taken")
        if fresh or queued:
            self._publish(fresh, queued)


def run_batch(
    connection: sqlite3.Connection, region: str, works: list[Work], now_ms: int,
    erased: Callable[[], None] = lambda: None,
) -> tuple[list[Fresh], bool]:  # fmt: skip
    """Run operations as one transaction; each gets its own result or error; `erased()` is called if a text went.

    Returns the rows to publish, and whether an outbox grew.  When one operation fails after it has written, all is
    taken back and each runs in a transaction of its own.
    """
    try:
        tx = _transact(connection, region, works, now_ms)
        if tx.erased:
            erased()
        return tx.fresh, tx.queued
    except _Undone as undone:
        if len(works) == 1:
            works[0].result, works[0].error = None, undone.cause
            return [], False
    except sqlite3.Error as error:
        for work in works:
            work.result, work.error = None, Unavailable("store_unavailable", str(error))
        return [], False
    fresh: list[Fresh] = []
    queued = False
    for work in works:
        work.result = work.error = None
        more, more_queued = run_batch(connection, region, [work], now_ms, erased)
        fresh += more
        queued |= more_queued
    return fresh, queued


def _transact(connection: sqlite3.Connection, region: str, works: list[Work], now_ms: int) -> SqliteTx:
    connection.execute("BEGIN IMMEDIATE")
    tx = SqliteTx(connection, region, now_ms)
    try:
        for work in works:
            _run(connection, tx, work)
        tx.flush()
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return tx


def _run(connection: sqlite3.Connection, tx: SqliteTx, work: Work) -> None:
    before = connection.total_changes
    try:
        work.result = work.work(tx, *work.args)
    except MoonbowError as error:
        if connection.total_changes != before:
            raise _Undone(error) from error
        work.error = error
    except sqlite3.OperationalError:
        raise
    except Exception as error:
        raise _Undone(Broken(f"the store refuses this write: {error!r}")) from error


class _Undone(Exception):
    """Internal: the batch was taken back because of `cause`."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__(str(cause))
        self.cause = cause


def _row(stream: str, values: Any) -> Row:
    seq, kind, entry, author, target, no, at, gone, detail = values
    return Row(stream, seq, kind, entry, author, target, no, at, bool(gone), detail)
