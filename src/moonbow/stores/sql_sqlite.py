"""The SQLite side of `sql.Sql`: one file, a connection that reads and one that writes.

WAL with synchronous FULL: what was committed survives the loss of power.  Several processes share the file; a writer
waits at most `BUSY_S` for the others.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from sqlalchemy import URL, Connection, Engine, MetaData, NullPool, create_engine, event
from sqlalchemy.exc import DBAPIError

from moonbow.base.errors import Broken, ConfigError, Unavailable
from moonbow.base.files import make_file

from .home import HomeRegion
from .migrations import Step, prepare

T = TypeVar("T")
BUSY_S = 2.0
AGAIN_S = 0.02  # between two tries to empty the log


class SqliteEngine:
    """`sql.Engine` on the file at `path`."""

    def __init__(self, path: Path, home: HomeRegion, metadata: Sequence[MetaData], steps: Sequence[Step]) -> None:
        self._reading, self._writing = threading.Lock(), threading.Lock()
        try:
            make_file(path)
            self._engine = _engine(path)
            self._writer = self._engine.connect().execution_options(writes=True)
            self._reader = self._engine.connect()
        except (OSError, DBAPIError) as error:
            raise ConfigError(f"{path}: cannot be opened: {error}") from error
        try:
            self.write(lambda db: prepare(db, home, metadata, steps))
        except BaseException:
            self.close()
            raise

    def read(self, work: Callable[[Connection], T]) -> T:
        with self._reading:
            return _translated(lambda: work(self._reader))

    def write(self, work: Callable[[Connection], T], repeatable: bool = True) -> T:
        with self._writing:
            return _translated(lambda: self._transact(work))

    def _transact(self, work: Callable[[Connection], T]) -> T:
        with self._writer.begin():
            return work(self._writer)

    def scrub(self) -> None:
        """Write the log back and empty it; `Unavailable` if somebody reads an older state for longer than `BUSY_S`."""
        with self._writing:  # which waits for the others, and so not with the connection that readers use
            _translated(self._empty_log)

    def _empty_log(self) -> None:
        ends_s = time.monotonic() + BUSY_S
        with self._engine.connect() as db:
            while _is_log_busy(db):  # at once if another process writes its log back; else after `BUSY_S`
                if time.monotonic() >= ends_s:
                    raise Unavailable("store_unavailable", "the log of the region's database cannot be emptied now")
                time.sleep(AGAIN_S)

    def close(self) -> None:
        with self._reading, self._writing:
            self._reader.close()
            self._writer.close()
            self._engine.dispose()


def _is_log_busy(db: Connection) -> bool:
    """Whether the log could not be emptied: SQLite answers so, and raises nothing."""
    [(busy, _, _)] = db.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").all()
    return bool(busy)


def _engine(path: Path) -> Engine:
    # The driver begins nothing by itself (isolation_level None), so that we say how a transaction begins.
    driver = {"timeout": BUSY_S, "isolation_level": None, "check_same_thread": False}
    engine = create_engine(URL.create("sqlite", database=str(path)), connect_args=driver, poolclass=NullPool)
    event.listen(engine, "connect", _set_up)
    event.listen(engine, "begin", _begin)
    return engine


def _set_up(db: sqlite3.Connection, _: object) -> None:
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA secure_delete = ON")  # what was erased is not left in free pages


def _begin(db: Connection) -> None:
    if db.get_execution_options().get("writes"):
        db.exec_driver_sql("BEGIN IMMEDIATE")


def _translated(work: Callable[[], T]) -> T:
    try:
        return work()
    except DBAPIError as error:
        if isinstance(error.orig, sqlite3.OperationalError):
            raise Unavailable("store_unavailable", f"the region's database does not answer: {error.orig}") from error
        raise Broken(f"the region's database is damaged: {error.orig}") from error
