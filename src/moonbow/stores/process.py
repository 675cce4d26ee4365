"""Opens the stores of a process's home region, on the engines that the world file names for it."""

from __future__ import annotations

from pathlib import Path

from moonbow.directory.ports import Store as DirectoryStore
from moonbow.timeline.ports import Store as TimelineStore
from moonbow.world import World, sql_way

from .directory_sqlite import DirectorySqlite
from .home import HomeRegion
from .mariadb_link import Nodes
from .timeline_mariadb import MariaTimeline
from .timeline_sqlite import SqliteTimeline


def open_timeline(world: World, state: Path, home: HomeRegion, site: str) -> TimelineStore:
    """The region's timeline, for a process of `site`.  Call on the loop that will hear of its commits."""
    data = world.regions[home.name].data
    if data.sql == "galera" and data.documents == "sql":
        return MariaTimeline(Nodes.of(sql_way(world, state, home.name, site)), home)
    return SqliteTimeline(state / "regions" / home.name / "timeline.db", home)


def open_directory(world: World, state: Path, home: HomeRegion) -> DirectoryStore:
    """The region's directory."""
    return DirectorySqlite(state / "regions" / home.name / "directory.db", home)
