"""Opens the stores of a process's home region, on the engines that the world file names for it."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import MetaData

from moonbow.directory.ports import Store as DirectoryStore
from moonbow.files.ports import Catalogue
from moonbow.timeline.ports import Store as TimelineStore
from moonbow.world import World, sql_way

from .directory_sql import DIRECTORY_TABLES, DirectorySql
from .files_sql import FILES_TABLES, SqlFiles
from .home import HomeRegion
from .sql import Sql
from .timeline_sqlite import SqliteTimeline


def open_timeline(world: World, state: Path, home: HomeRegion) -> TimelineStore:
    """The region's timeline.  Call on the loop that will hear of its commits."""
    return SqliteTimeline(state / "regions" / home.name / "timeline.db", home)


def open_directory(world: World, state: Path, home: HomeRegion, site: str | None = None) -> DirectoryStore:
    """The region's directory, for a process of `site`, or of none in particular."""
    return DirectorySql(open_sql(world, state, home, "directory", *DIRECTORY_TABLES, site=site))


def open_files(world: World, state: Path, home: HomeRegion, site: str | None = None) -> Catalogue:
    """The region's record of files."""
    return SqlFiles(open_sql(world, state, home, "files", FILES_TABLES, site=site))


def open_sql(
    world: World, state: Path, home: HomeRegion, name: str, *metadata: MetaData, site: str | None = None
) -> Sql:
    """Tables of the region: in a file called `name`, or in the one database of its cluster, by the nearest node."""
    if world.regions[home.name].data.sql == "galera":
        return Sql.galera(sql_way(world, state, home.name, site), home, *metadata)
    return Sql.sqlite(state / "regions" / home.name / f"{name}.db", home, *metadata)
