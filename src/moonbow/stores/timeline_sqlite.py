"""The timeline in SQLite: one file a region, WAL, every commit synced, shared by all gateways of the region.

One thread a process writes (`timeline_thread`).  Writers of several processes queue on a file lock (the kernel wakes
the next one; SQLite's own waiting sleeps in steps).
Reads run on the caller's thread on a connection of their own: a page takes tens of microseconds, and WAL readers
wait for nobody.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from moonbow.base.errors import Broken, Unavailable
from moonbow.timeline.ports import Reads
from moonbow.vault.ports import Sealer

from .home import HomeRegion, bind_file
from .timeline_batch import Engine
from .timeline_rows import SCHEMA, VERSION, SqliteEngine, SqliteReads, open_connection
from .timeline_thread import WritingStore

P = ParamSpec("P")
T = TypeVar("T")
SCRUB_S = 0.5  # from an erasure to the emptying of the write-ahead log


class SqliteTimeline(WritingStore):
    """`timeline.ports.Store` on a SQLite file.  Callbacks run on the loop that opened it."""

    def __init__(self, path: Path, home: HomeRegion, sealer: Sealer) -> None:
        super().__init__(home.name)
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
        self._writing = SqliteEngine(self._writer, home.name, sealer, erased=self._erased)
        self._scrub_at: float | None = time.monotonic()  # a process that ended early may have left something to empty
        self._thread.start()

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

    async def read_latest(self, work: Callable[Concatenate[Reads, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """The same: there is one file."""
        return await self.read(work, *args, **kwargs)

    def close(self) -> None:
        """Commit what is waiting, then stop."""
        self._stop_writing()
        self._opened.close()

    # -- the writer's thread ---------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _engine(self) -> Generator[Engine]:
        with self._alone():
            self._began = time.monotonic()
            yield self._writing

    def _erased(self) -> None:
        if self._scrub_at is None:
            self._scrub_at = time.monotonic() + SCRUB_S

    def _chore(self, *, last: bool) -> float | None:
        """Move the log into the file and empty it: it may hold what has been erased.  Tried again while somebody reads
        an older state."""
        if self._scrub_at is not None and (last or time.monotonic() >= self._scrub_at):
            self._scrub()
        return None if self._scrub_at is None else max(0.0, self._scrub_at - time.monotonic())

    def _scrub(self) -> None:
        self._scrub_at = time.monotonic() + SCRUB_S
        with contextlib.suppress(sqlite3.Error), self._alone():
            self._writer.execute("PRAGMA busy_timeout = 20")
            try:
                (busy, _, _) = self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            finally:
                self._writer.execute("PRAGMA busy_timeout = 5000")
            if not busy:
                self._scrub_at = None
