"""A copy of a store for those who only look: consistent, of the store's own disk, gone when they have looked.

Looking at the live file would hold its write-ahead log open, and an erasure could not empty it meanwhile.  Never call
this in a process that has the same file open: closing a file drops all of a process's locks on it (fcntl(2)).
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

from moonbow.base.errors import Unavailable

COPY_PAGES = 2_048  # at a time, so that writers get their turn
COPY_PAUSE_S = 0.005
BUSY_S = 5.0


class SqliteSnapshot:
    """The tables of a copied file."""

    engine = "SQLite"

    def __init__(self, connection: sqlite3.Connection, size_bytes: int) -> None:
        self._db = connection
        self.size_bytes = size_bytes

    def tables(self) -> dict[str, tuple[str, ...]]:
        """Every table with its columns, but SQLite's own."""
        found = self._db.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
        )
        names = sorted(name for (name,) in found)
        return {name: self._columns(name) for name in names}

    def _columns(self, table: str) -> tuple[str, ...]:
        return tuple(row[1] for row in self._db.execute(f"PRAGMA table_info({_quoted(table)})"))

    def rows(self, table: str) -> Iterator[Sequence[object]]:
        """Every row of a table."""
        yield from self._db.execute(f"SELECT * FROM {_quoted(table)}")


def copy_sqlite(source: Path, target: Path) -> None:
    """Copy a database that others may be using, committed state only; `Unavailable` if it cannot be read."""
    try:
        with (
            contextlib.closing(sqlite3.connect(f"{source.as_uri()}?mode=ro", uri=True, timeout=BUSY_S)) as live,
            contextlib.closing(sqlite3.connect(target)) as copy,
        ):
            copy.execute("PRAGMA synchronous = OFF")  # it need not outlive a loss of power
            live.backup(copy, pages=COPY_PAGES, sleep=COPY_PAUSE_S)
            copy.execute("PRAGMA journal_mode = DELETE")  # one file, whole without a log beside it
    except sqlite3.Error as error:
        raise Unavailable("store_unavailable", f"{source.name} cannot be copied: {error}") from error


@contextlib.contextmanager
def look_at_sqlite(source: Path, target: Path) -> Generator[SqliteSnapshot]:
    """The tables of `source`, read from a copy at `target`, which is on the same disk and removed afterwards."""
    try:
        copy_sqlite(source, target)
        with contextlib.closing(sqlite3.connect(f"{target.as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
            try:
                yield SqliteSnapshot(connection, source.stat().st_size)
            except sqlite3.Error as error:
                raise Unavailable("store_unavailable", f"{source.name} cannot be read: {error}") from error
    finally:
        target.unlink(missing_ok=True)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
