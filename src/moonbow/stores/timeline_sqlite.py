"""The timeline in SQLite: one file a region, WAL, every commit synced, shared by all gateways of the region.

One thread a process writes.  It takes what is waiting, and runs it as one transaction: the natural batch.  Writers of
several processes queue on a file lock (the kernel wakes the next one; SQLite's own waiting sleeps in steps).
Reads run on the caller's thread on a connection of their own: a page takes tens of microseconds, and WAL readers
wait for nobody.
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
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from moonbow.base import limits
from moonbow.base.errors import Broken, Unavailable
from moonbow.timeline.model import Fresh
from moonbow.timeline.ports import Callback, Reads, Tx
from moonbow.vault.ports import Sealer

from .home import HomeRegion, bind_file
from .timeline_batch import Work, run_batch
from .timeline_rows import SCHEMA, VERSION, SqliteReads, open_connection

log = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")
SCRUB_S = 0.5  # from an erasure to the emptying of the write-ahead log


class SqliteTimeline:
    """`timeline.ports.Store` on a SQLite file.  Callbacks run on the loop that opened it."""

    def __init__(self, path: Path, home: HomeRegion, sealer: Sealer) -> None:
        self.region = home.name
        self._sealer = sealer
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
        self._reads = SqliteReads(self._reader, home.name, sealer)
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
    def _alone(self) -> Generator[None]:
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
                now_ms = time.time_ns() // 1_000_000
                return run_batch(self._writer, self.region, self._sealer, works, now_ms, self._erased)
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
