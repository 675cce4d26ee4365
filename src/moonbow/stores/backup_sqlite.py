"""A region's SQLite files as backups see them: copied by SQLite's own backup, checked whole, counted.

A copy is one read transaction: it sees one committed state and no writer waits for it.  There is no point in time
between two copies to go back to.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path
from typing import Literal

from moonbow.base.errors import Broken, Unavailable

KEYS = "keys"
FIRST, LAST = "timeline", "directory"  # entries name people and files, which are copied after them
BUSY_S = 5.0
TABLES = "type = 'table' AND name NOT LIKE 'sqlite_%'"


class SqliteDatabases:
    """`backup.ports.Databases` for the files `*.db` in the folder of a region."""

    engine = "sqlite"

    def __init__(self, region: Path) -> None:
        self._region = region

    def names(self, kind: Literal["data", "keys"]) -> tuple[str, ...]:
        """The files' names without their ending."""
        found = {path.stem for path in self._region.glob("*.db")}
        if kind == "keys":
            return (KEYS,) if KEYS in found else ()
        return tuple(sorted(found - {KEYS}, key=lambda name: (name == LAST, name != FIRST, name)))

    def copy(self, name: str, into: Path) -> str:
        """Copy a file as it was committed last, while others write."""
        os.close(os.open(into, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        try:
            with _opened(f"file:{self._region / name}.db?mode=rw") as source, _opened(f"file:{into}") as target:
                source.backup(target)
                target.execute("PRAGMA journal_mode = DELETE")  # one file, complete
        except sqlite3.Error as error:
            raise Unavailable("store_unavailable", f"{name} cannot be copied: {error}") from error
        return ""

    def examine(self, name: str, copied: Path) -> tuple[dict[str, int], int | None]:
        """SQLite's own check of every page and index; rows per table, and the epoch of a timeline."""
        try:
            with _opened(f"file:{copied}?mode=ro&immutable=1") as db:
                said = [row[0] for row in db.execute("PRAGMA integrity_check(10)")]
                if said != ["ok"]:
                    raise Broken(f"{name} is damaged: {'; '.join(map(str, said))}")
                tables = [
                    row[0] for row in db.execute("SELECT name FROM sqlite_schema WHERE " + TABLES + " ORDER BY name")
                ]
                rows = {table: int(db.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0]) for table in tables}
                epoch = db.execute("SELECT epoch FROM meta").fetchone()[0] if name == FIRST else None
                return rows, epoch
        except sqlite3.Error as error:
            raise Broken(f"{name} is damaged: {error}") from error

    def differ(self, name: str, copied: Path) -> dict[str, tuple[int, int]]:
        """Per table that differs: how many rows are only in the copy, and how many only in the region."""
        with _opened(f"file:{self._region / name}.db?mode=rw") as db:
            db.execute("ATTACH ? AS copied", (f"file:{copied}?mode=ro&immutable=1",))
            tables = db.execute(f"SELECT name FROM copied.sqlite_schema WHERE {TABLES}").fetchall()
            counts = {
                table: (_only(db, "copied", "main", table), _only(db, "main", "copied", table)) for (table,) in tables
            }
        return {table: found for table, found in counts.items() if any(found)}

    def place(self, name: str, copied: Path, region: Path) -> None:
        """Move a copy to its place in a region's folder."""
        copied.rename(region / f"{name}.db")


def _only(db: sqlite3.Connection, here: str, there: str, table: str) -> int:
    rows = f'SELECT * FROM {here}."{table}" EXCEPT SELECT * FROM {there}."{table}"'
    return int(db.execute(f"SELECT count(*) FROM ({rows})").fetchone()[0])


def _opened(uri: str) -> contextlib.closing[sqlite3.Connection]:
    return contextlib.closing(sqlite3.connect(uri, uri=True, timeout=BUSY_S, isolation_level=None))
