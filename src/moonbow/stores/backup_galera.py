"""A region's MariaDB Galera as backups see it: a dump of the first node that serves, and back into an empty cluster.

A dump is logical on purpose.  It holds the rows that stand and nothing else, so the keys' table can be kept apart, and
no page brings back what was overwritten; a copy of files (`mariabackup`) or a binary log would.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Literal, NamedTuple

import pymysql

from moonbow.base.errors import Broken, ConfigError, Unavailable
from moonbow.world import SqlWay

from . import mariadb_dump
from .mariadb_link import Lost, MariaConnection, Nodes
from .vault_sql import KEYS

DATA, KEY_ROWS = "sql", "keys"
PEOPLE_MAX = 10_000_000
_TABLES = "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() ORDER BY table_name"
_HISTORY, _NUMBER = "wsrep_cluster_state_uuid", "wsrep_last_committed"
_POSITION = f"SHOW STATUS WHERE Variable_name IN ('{_HISTORY}', '{_NUMBER}')"
_LATEST = "SET SESSION wsrep_sync_wait = 1"  # the node has what any other has acknowledged before it answers


class _Node(NamedTuple):
    """A node that serves, by the way to it alone; its tables, and how much of the cluster's history it has."""

    way: SqlWay
    tables: tuple[str, ...]
    position: str


class GaleraDatabases:
    """`backup.ports.Databases` for the database at the end of `way`, whose account need only read to be copied."""

    engine = "galera"

    def __init__(self, way: SqlWay) -> None:
        self._way = way

    def names(self, kind: Literal["data", "keys"]) -> tuple[str, ...]:
        """One dump of everything, and one of the keys' tables; nothing of what no process has made yet."""
        name = DATA if kind == "data" else KEY_ROWS
        return (name,) if _part(name, self._node().tables) else ()

    def copy(self, name: str, into: Path) -> str:
        """Dump one part; the cluster's position, `history:number`, that is in it at least."""
        node = self._node()
        mariadb_dump.dump(node.way, _part(name, node.tables), into)
        return node.position

    def examine(self, name: str, copied: Path) -> tuple[dict[str, int], int | None]:
        """Whether the dump came to its end; rows per table, and the epoch of the timeline."""
        rows = mariadb_dump.count(copied)
        meta = mariadb_dump.row(copied, "timeline_meta")
        try:
            return rows, int(meta.rpartition(",")[2]) if meta else None
        except ValueError:
            raise Broken(f"{name} is damaged: {meta!r} ends with no epoch") from None

    def differ(self, name: str, copied: Path) -> dict[str, tuple[int, int]]:
        """Per table that differs: how many rows are only in the copy, and how many only in the region."""
        now = copied.with_name(f"{copied.name}.now")
        try:
            self.copy(name, now)
            return mariadb_dump.differ(copied, now)
        finally:
            now.unlink(missing_ok=True)

    def place(self, name: str, copied: Path, region: Path) -> None:
        """Load a copy into the empty cluster, and compare every row with it; the copy is used up."""
        node = self._node()
        if found := _part(name, node.tables):
            raise ConfigError(f"the database at {node.way.hosts[0]} is not empty: it has {found[0]}")
        mariadb_dump.load(node.way, copied)
        if differing := self.differ(name, copied):
            raise Broken(f"{name}: the database holds other rows than were given to it: {differing}")
        copied.unlink()

    def erased(self) -> list[str]:
        """Everybody ever erased, in the order of their erasure."""
        with closing(self._open()[1]) as connection:
            if not _ask(connection, "SHOW TABLES LIKE 'erased'"):
                return []
            rows = _ask(connection, f"SELECT person FROM erased ORDER BY at, person LIMIT {PEOPLE_MAX}")
        return [str(person) for (person,) in rows]

    def _node(self) -> _Node:
        way, connection = self._open()
        with closing(connection):
            tables = tuple(str(name) for (name,) in _ask(connection, _TABLES))
            said = {str(name): value for name, value in _ask(connection, _POSITION)}
        return _Node(way, tables, f"{said[_HISTORY]}:{said[_NUMBER]}")

    def _open(self) -> tuple[SqlWay, MariaConnection]:
        try:
            place, connection = Nodes.of(self._way).open(_LATEST)
        except Lost as error:
            raise Unavailable(
                "store_unavailable", f"{error}; the region must run for this: moonbow status, moonbow up"
            ) from error
        return self._way._replace(hosts=(self._way.hosts[place],)), connection


def _part(name: str, tables: Sequence[str]) -> tuple[str, ...]:
    return tuple(table for table in tables if (table in KEYS.tables) == (name == KEY_ROWS))


def _ask(connection: MariaConnection, sql: str) -> Sequence[Sequence[object]]:
    try:
        return connection.ask(sql)[-1]
    except (pymysql.Error, OSError) as error:
        raise Unavailable("store_unavailable", f"the region's database does not answer: {error}") from error
