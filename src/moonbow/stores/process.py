"""Opens the stores of a process's home region, on the engines that the world file names for it."""

from __future__ import annotations

from pathlib import Path

from moonbow.directory.ports import Store as DirectoryStore
from moonbow.files.ports import Catalogue
from moonbow.timeline.ports import Store as TimelineStore
from moonbow.world import World

from .directory_sqlite import DirectorySqlite
from .files_sql import TABLES as FILES
from .files_sql import SqlFiles
from .home import HomeRegion
from .sql import Sql
from .timeline_sqlite import SqliteTimeline


def open_timeline(world: World, state: Path, home: HomeRegion) -> TimelineStore:
    """The region's timeline.  Call on the loop that will hear of its commits."""
    return SqliteTimeline(state / "regions" / home.name / "timeline.db", home)


def open_directory(world: World, state: Path, home: HomeRegion) -> DirectoryStore:
    """The region's directory."""
    return DirectorySqlite(state / "regions" / home.name / "directory.db", home)


def open_files(world: World, state: Path, home: HomeRegion) -> Catalogue:
    """The region's record of files."""
    return SqlFiles(Sql.sqlite(state / "regions" / home.name / "files.db", home, FILES))
