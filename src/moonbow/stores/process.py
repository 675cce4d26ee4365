"""Opens the stores of a process's home region, on the engines that the world file names for it."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import MetaData

from moonbow.base.errors import ConfigError
from moonbow.directory.ports import Store as DirectoryStore
from moonbow.timeline.ports import Store as TimelineStore
from moonbow.vault.adapters.keyfile import RegionKeyFile
from moonbow.vault.adapters.signfile import SigningKeyFile
from moonbow.vault.erasing import Erasing
from moonbow.vault.plain import NoKeys
from moonbow.vault.ports import Keys, Sealer
from moonbow.vault.process import Vault
from moonbow.world import World, sql_way

from .directory_sql import DIRECTORY_TABLES, DirectorySql
from .erasures_sql import ERASURES, ErasuresSql
from .files_sql import FILES_TABLES, SqlFiles
from .home import HomeRegion
from .sql import Sql
from .timeline_sqlite import SqliteTimeline
from .vault_sql import KEYS, VaultSql


def open_timeline(world: World, state: Path, home: HomeRegion, site: str, sealer: Sealer) -> TimelineStore:
    """The region's timeline, for a process of `site`.  Call on the loop that will hear of its commits."""
    data = world.regions[home.name].data
    if data.mongodb is not None:  # drivers are brought in where they are used: each costs every process megabytes
        from .timeline_mongo import MongoTimeline

        return MongoTimeline(data.mongodb, home, sealer)
    if data.sql == "galera":
        from .mariadb_link import Nodes
        from .timeline_mariadb import MariaTimeline

        return MariaTimeline(Nodes.of(sql_way(world, state, home.name, site)), home, sealer)
    return SqliteTimeline(state / "regions" / home.name / "timeline.db", home, sealer)


def open_directory(world: World, state: Path, home: HomeRegion, site: str | None = None) -> DirectoryStore:
    """The region's directory, for a process of `site`, or of none in particular."""
    return DirectorySql(open_sql(world, state, home, "directory", *DIRECTORY_TABLES, site=site))


def open_files(world: World, state: Path, home: HomeRegion, site: str | None = None) -> SqlFiles:
    """The region's record of files."""
    return SqlFiles(open_sql(world, state, home, "files", FILES_TABLES, site=site))


def open_keys(world: World, state: Path, home: HomeRegion, site: str | None = None) -> Keys:
    """The keys of the region's people; none if its world file says `encrypted = false`."""
    if world.regions[home.name].data.encrypted:
        return open_vault(world, state, home, site)
    if _region_key(state, home).exists():
        raise ConfigError(f"regions.{home.name}.data.encrypted: false is for a region in which nothing is sealed yet")
    return NoKeys()


def open_vault(world: World, state: Path, home: HomeRegion, site: str | None = None) -> Vault:
    """The same with all that operators may do with keys; `ConfigError` if the region's key is missing."""
    if not world.regions[home.name].data.encrypted:
        raise ConfigError(f"regions.{home.name}.data.encrypted is false: there are no keys")
    rows, file = VaultSql(open_sql(world, state, home, "keys", KEYS, site=site)), _region_key(state, home)
    if not file.exists() and (wrapped := rows.companies()):
        raise ConfigError(f"{file} is missing, and {len(wrapped)} companies' keys are wrapped by it: bring it back")
    return Vault(home.name, rows, RegionKeyFile(file, home.name))


def open_erasing(world: World, state: Path, home: HomeRegion, keys: Keys, site: str | None = None) -> Erasing:
    """The region's erasures, noted beside its directory; whoever carries them out names the rooms to ask."""
    rows = ErasuresSql(open_sql(world, state, home, "directory", *DIRECTORY_TABLES, ERASURES, site=site))
    signing = SigningKeyFile(state / "regions" / home.name / "keys" / "receipt.key", home.name)
    return Erasing(home.name, rows, keys, signing)


def open_sql(
    world: World, state: Path, home: HomeRegion, name: str, *metadata: MetaData, site: str | None = None
) -> Sql:
    """Tables of the region: in a file called `name`, or in the one database of its cluster, by the nearest node."""
    if world.regions[home.name].data.sql == "galera":
        return Sql.galera(sql_way(world, state, home.name, site), home, *metadata)
    return Sql.sqlite(state / "regions" / home.name / f"{name}.db", home, *metadata)


def _region_key(state: Path, home: HomeRegion) -> Path:
    return state / "regions" / home.name / "keys" / "region.key"
