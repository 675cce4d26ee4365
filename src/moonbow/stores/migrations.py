"""How the tables of a region's SQL database came to be what they are, and how an older database becomes a newer one.

Both sites of a region serve while this runs, one of them perhaps still with the previous release.  So a change is made
in two releases: first it *expands* (a new table, a new column that may be empty or has a default, filled by what can
be run again), and only when no process of the old kind is left it *contracts*.  Every step is harmless to processes
of the version before it, and to itself: it may be run again after a crash in its middle.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import Column, Connection, Integer, MetaData, String, Table, inspect

from moonbow.base.errors import Broken, ConfigError

from .home import HomeRegion

_about = MetaData()
MADE_FOR = Table(
    "made_for", _about, Column("one", Integer, primary_key=True, autoincrement=False), Column("region", String(16))
)
LAYOUT = Table(
    "layout",
    _about,
    Column("one", Integer, primary_key=True, autoincrement=False),
    Column("version", Integer, nullable=False),
    Column("oldest", Integer, nullable=False),
)


@dataclass(frozen=True)
class Step:
    """From the version before to `version`.  `oldest` is the oldest program that the database then still serves."""

    version: int
    oldest: int
    change: Callable[[Connection], None]


STEPS: tuple[Step, ...] = ()


def prepare(db: Connection, home: HomeRegion, metadata: Sequence[MetaData], steps: Sequence[Step]) -> None:
    """Make the tables of `metadata`, or what is missing of them.  Call inside a lock that all who open it take.

    `ConfigError` if a newer program made the database such that this one cannot use it, `Broken` if it was made for
    another region.
    """
    old = inspect(db).has_table("made_for")
    _about.create_all(db)
    _bind(db, home)
    newest = max((step.version for step in steps), default=1)
    found = db.execute(LAYOUT.select()).first()
    version, oldest = (found.version, found.oldest) if found else (1 if old else newest, 1)
    if oldest > newest:
        raise ConfigError(f"the region's database is of layout {version}, and this release knows {newest}: upgrade it")
    for step in steps:
        if step.version > version:
            step.change(db)
            oldest = step.oldest
    for tables in metadata:
        tables.create_all(db)
    if found is None:
        db.execute(LAYOUT.insert().values(one=1, version=newest, oldest=oldest))
    elif newest > version:
        db.execute(LAYOUT.update().values(version=newest, oldest=oldest))


def _bind(db: Connection, home: HomeRegion) -> None:
    found = db.scalar(MADE_FOR.select().with_only_columns(MADE_FOR.c.region))
    if found is None:
        db.execute(MADE_FOR.insert().values(one=1, region=home.name))
    elif found != home.name:
        raise Broken(f"this store was made for region {found}, and this process is at home in {home.name}")
