"""Opens the stores of a process's home region, on the engines that the world file names for it."""

from __future__ import annotations

from pathlib import Path

from moonbow.base.errors import ConfigError
from moonbow.directory.ports import Store as DirectoryStore
from moonbow.timeline.ports import Store as TimelineStore
from moonbow.vault.adapters.keyfile import RegionKeyFile
from moonbow.vault.adapters.signfile import SigningKeyFile
from moonbow.vault.erasing import Erasing
from moonbow.vault.plain import NoKeys
from moonbow.vault.ports import Keys, Sealer
from moonbow.vault.process import Vault
from moonbow.world import World

from . import erasures_sql, vault_sql
from .directory_sqlite import DirectorySqlite
from .erasures_sql import ErasuresSql
from .home import HomeRegion
from .sql import Sql
from .timeline_sqlite import SqliteTimeline
from .vault_sql import VaultSql


def open_timeline(world: World, state: Path, home: HomeRegion, sealer: Sealer) -> TimelineStore:
    """The region's timeline.  Call on the loop that will hear of its commits."""
    return SqliteTimeline(state / "regions" / home.name / "timeline.db", home, sealer)


def open_directory(world: World, state: Path, home: HomeRegion) -> DirectoryStore:
    """The region's directory."""
    return DirectorySqlite(state / "regions" / home.name / "directory.db", home)


def open_keys(world: World, state: Path, home: HomeRegion) -> Keys:
    """The keys of the region's people; none if its world file says `encrypted = false`."""
    folder = state / "regions" / home.name
    if world.regions[home.name].data.encrypted:
        return open_vault(world, state, home)
    if (folder / "keys.db").exists():
        raise ConfigError(f"regions.{home.name}.data.encrypted: false is for a region in which nothing is sealed yet")
    return NoKeys()


def open_vault(world: World, state: Path, home: HomeRegion) -> Vault:
    """The same with all that operators may do with keys; `ConfigError` if the region's key is missing."""
    folder = state / "regions" / home.name
    if not world.regions[home.name].data.encrypted:
        raise ConfigError(f"regions.{home.name}.data.encrypted is false: there are no keys")
    file, rows = folder / "keys" / "region.key", VaultSql(Sql.sqlite(folder / "keys.db", home, vault_sql.TABLES))
    if not file.exists() and (wrapped := rows.companies()):
        raise ConfigError(f"{file} is missing, and {len(wrapped)} companies' keys are wrapped by it: bring it back")
    return Vault(home.name, rows, RegionKeyFile(file, home.name))


def open_erasing(world: World, state: Path, home: HomeRegion, keys: Keys) -> Erasing:
    """The region's erasures; whoever carries them out names the rooms to ask."""
    folder = state / "regions" / home.name
    rows = ErasuresSql(Sql.sqlite(folder / "directory.db", home, erasures_sql.TABLES))
    return Erasing(home.name, rows, keys, SigningKeyFile(folder / "keys" / "receipt.key", home.name))
