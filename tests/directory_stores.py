"""The directory's store on each engine, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from galera_cluster import Cluster
from moonbow.stores.directory_sql import DIRECTORY_TABLES, DirectorySql
from moonbow.stores.erasures_sql import ERASURES
from moonbow.stores.files_sql import FILES_TABLES
from moonbow.stores.home import HomeRegion
from moonbow.stores.sql import Sql
from moonbow.stores.vault_sql import KEYS
from moonbow.world import SqlWay

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
    """A region's cluster; every second view of it is from another site."""

    def __init__(self, way: SqlWay) -> None:
        self.way = way

    def open(self, home: HomeRegion = EMEA) -> DirectorySql:
        hosts = self.way.hosts
        self.way = self.way._replace(hosts=hosts[1:] + hosts[:1])
        return DirectorySql(Sql.galera(self.way, home, *DIRECTORY_TABLES))


def emptied(cluster: Cluster, *sites: str) -> SqlWay:
    """The way to the nodes of `sites`, where nothing but timelines has rows any more."""
    tables = (*DIRECTORY_TABLES, FILES_TABLES, KEYS, ERASURES)
    names = {"made_for", *(table.name for metadata in tables for table in metadata.tables.values())}
    with cluster.connect(sites[0], autocommit=False) as db, db.cursor() as cursor:
        cursor.execute("SET foreign_key_checks = 0")
        cursor.execute("SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()")
        for table in names.intersection(name for (name,) in cursor.fetchall()):
            cursor.execute(f"DELETE FROM `{table}`")
        db.commit()
    way = cluster.way(sites[0])
    return way._replace(hosts=way.hosts[: len(sites)])


def open_directory_at(path: Path, home: HomeRegion) -> DirectorySql:
    """The store in an SQLite file."""
    return DirectorySql(Sql.sqlite(path, home, *DIRECTORY_TABLES))
