"""The SQLite file of a region's directory: opening it, and one transaction at a time.

WAL with synchronous FULL: what was committed survives the loss of power.  Several gateways share the file; a writer
waits at most `BUSY_S` for the others.  Reads are tiny and run where they are asked; writes run in
a thread of their own.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from moonbow.base.errors import Broken, ConfigError, Unavailable
from moonbow.base.files import make_file

from .home import HomeRegion, bind_file

T = TypeVar("T")
BUSY_S = 2.0


class DirectoryFile:
    """A file of private data of `home`, open for this process."""

    def __init__(self, path: Path, home: HomeRegion, *schemas: str) -> None:
        self.home = home
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(1, "directory-store")
        try:
            make_file(path)
            self._writer = _connect(path)
            self._reader = _connect(path)
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(f"{path}: cannot be opened: {error}") from error
        self._transact(lambda db: _prepare(db, home, schemas))

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """The committed state, as one statement or a few that need not agree."""
        with self._lock:
            return _translated(lambda: work(self._reader))

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """`work` as one transaction, durable when this returns."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._transact, work)

    async def scrub(self) -> None:
        """Write the log back and empty it, so that what was erased is not left there either."""
        await asyncio.get_running_loop().run_in_executor(self._pool, self._scrub)

    def _scrub(self) -> None:
        _translated(lambda: self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall())

    def close(self) -> None:
        """Wait for a transaction under way, and close."""
        self._pool.shutdown()
        with self._lock:
            self._reader.close()
            self._writer.close()

    def _transact(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return _translated(lambda: _transaction(self._writer, work))


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA secure_delete = ON")  # what was erased is not left in free pages
    return db


def _prepare(db: sqlite3.Connection, home: HomeRegion, schemas: tuple[str, ...]) -> None:
    bind_file(db, home)
    for schema in schemas:
        for statement in filter(str.strip, schema.split(";")):
            db.execute(statement)


def _transaction(db: sqlite3.Connection, work: Callable[[sqlite3.Connection], T]) -> T:
    db.execute("BEGIN IMMEDIATE")
    try:
        result = work(db)
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")
    return result


def _translated(work: Callable[[], T]) -> T:
    try:
        return work()
    except sqlite3.OperationalError as error:
        raise Unavailable("store_unavailable", f"the directory's store does not answer: {error}") from error
    except sqlite3.DatabaseError as error:
        raise Broken(f"the directory's store is damaged: {error}") from error
