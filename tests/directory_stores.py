"""The directory's store on each engine, for tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from moonbow.stores.directory_sql import DIRECTORY_TABLES, DirectorySql
from moonbow.stores.home import HomeRegion
from moonbow.stores.sql import Node, Sql

EMEA = HomeRegion("emea")


class Backing(Protocol):
    """One engine with a database that was empty when the test began; every `open` is another process's view of it."""

    def open(self, home: HomeRegion = EMEA) -> DirectorySql: ...


class OnSqlite:
    """A file, its log beside it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def open(self, home: HomeRegion = EMEA) -> DirectorySql:
        return open_directory_at(self.path, home)


class OnGalera:
    """A cluster; every second view of it is from another site."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes = tuple(nodes)

    def open(self, home: HomeRegion = EMEA) -> DirectorySql:
        self.nodes = self.nodes[1:] + self.nodes[:1]
        return DirectorySql(Sql.galera(self.nodes, home, *DIRECTORY_TABLES))


def open_directory_at(path: Path, home: HomeRegion) -> DirectorySql:
    """The store in an SQLite file."""
    return DirectorySql(Sql.sqlite(path, home, *DIRECTORY_TABLES))
