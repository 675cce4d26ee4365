"""How the tables of a region's SQL database came to be what they are, and how an older database becomes a newer one.

Both sites of a region serve while this runs, one of them perhaps still with the release before.  So what is changed is
changed in two releases.  The first *expands*: it adds tables, indexes (both are made when they are missing and need no
step), or columns that may be empty, and fills them; the second *contracts*, when nobody uses the old ones any more.

Laws: a step does no harm to a program of the version before it, nor to itself when it is run again, at two sites at
once or after a crash in its middle (MariaDB commits each change of a table by itself); the version only grows; a
program refuses a database whose `oldest` is newer than itself, and works with every other.

On Galera a change of a table is put in the one order of all commits (`wsrep_osu_method = TOI`, the default): every
node makes it between the same two transactions, and commits wait for it everywhere.  Hence `ALGORITHM=INSTANT`, which
changes the definition alone and fails where the whole table would have to be written again; such a change needs a
table of its own, filled beside the old one.  (RSU, one node after the other, would let the sites differ meanwhile.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Connection, Integer, MetaData, String, Table, inspect, select, update
from sqlalchemy.schema import CreateColumn, CreateIndex, CreateTable

from moonbow.base.errors import Broken, ConfigError

from .home import HomeRegion
from .tables import insert_missing

_about = MetaData()
made_for = Table(
    "made_for",
    _about,
    Column("one", Integer, primary_key=True, autoincrement=False),
    Column("region", String(16), nullable=False),
)
layout = Table(
    "layout",
    _about,
    Column("one", Integer, primary_key=True, autoincrement=False),
    Column("version", Integer, nullable=False),
    Column("oldest", Integer, nullable=False),
)


NAMES = {
    "sqlite": "SELECT CASE type WHEN 'index' THEN tbl_name || '.' || name ELSE name END FROM sqlite_schema",
    "mysql": "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() "
    "UNION SELECT CONCAT(table_name, '.', index_name) FROM information_schema.statistics "
    "WHERE table_schema = DATABASE()",
}


@dataclass(frozen=True)
class Step:
    """From the version before to `version`, by `change`, which may meet a database without the tables it is about.

    `oldest`: programs that know no version as new as this one cannot work with the database any more.
    """

    version: int
    change: Callable[[Connection], None]
    oldest: int = 1


def add_column(column: Column[Any]) -> Callable[[Connection], None]:
    """Add `column`, which may be empty or has a default of the engine's (`server_default`), to its table."""

    def change(db: Connection) -> None:
        found = inspect(db)
        name = column.table.name
        if not found.has_table(name) or column.name in {known["name"] for known in found.get_columns(name)}:
            return
        definition = CreateColumn(column).compile(dialect=db.dialect)
        # A sister site may be doing the same; SQLite has one writer, and no such words.
        words = ("IF NOT EXISTS ", ", ALGORITHM=INSTANT") if db.dialect.name == "mysql" else ("", "")
        db.exec_driver_sql(f"ALTER TABLE {name} ADD COLUMN {words[0]}{definition}{words[1]}")

    return change


def _count_on(db: Connection) -> None:
    """Revocations were numbered by SQLite itself; now a row of `counter` does it, and must not begin anew."""
    if db.dialect.name == "sqlite" and inspect(db).has_table("counter"):
        db.exec_driver_sql(
            "INSERT OR IGNORE INTO counter (name, last) SELECT name, seq FROM sqlite_sequence WHERE name = 'revocation'"
        )


_file = Table("file", MetaData(), Column("client_id", String(36)))
STEPS = (Step(2, _count_on), Step(3, add_column(_file.c.client_id)))


def prepare(db: Connection, home: HomeRegion, metadata: Sequence[MetaData], steps: Sequence[Step]) -> None:
    """Make what is missing of the tables of `metadata`, and bring older ones up to the newest of `steps`.

    Call where no two of one node do it at once.  `ConfigError` if only a newer program can work with the database,
    `Broken` if it was made for another region.
    """
    standing = _standing(db)
    _make_tables(db, _about, standing)
    _bind(db, home)
    newest = max((step.version for step in steps), default=1)
    first = 1 if made_for.name in standing else newest  # the first release kept no account of layouts
    db.execute(insert_missing(layout), {"one": 1, "version": first, "oldest": 1})
    version, oldest = db.execute(select(layout.c.version, layout.c.oldest)).one()
    if oldest > newest:
        raise ConfigError(
            f"the region's database has layout {version}, for releases that know {oldest}; this one knows {newest}"
        )
    for tables in metadata:
        _make_tables(db, tables, standing)
    for step in sorted(steps, key=lambda step: step.version):
        if step.version > version:
            step.change(db)
            _reach(db, step)
    for tables in metadata:
        _make_indexes(db, tables, standing)


def _standing(db: Connection) -> frozenset[str]:
    """The names of all tables, and of all indexes behind that of their table: an index may be called as another table.

    Asked in one go, because every start of a process asks.
    """
    return frozenset(db.exec_driver_sql(NAMES[db.dialect.name]).scalars())


def _make_tables(db: Connection, metadata: MetaData, standing: frozenset[str]) -> None:
    for table in metadata.sorted_tables:
        if table.name not in standing:
            db.execute(CreateTable(table, if_not_exists=True))


def _make_indexes(db: Connection, metadata: MetaData, standing: frozenset[str]) -> None:
    for table in metadata.sorted_tables:
        for index in table.indexes:
            if f"{table.name}.{index.name}" not in standing:
                db.execute(CreateIndex(index, if_not_exists=True))


def _reach(db: Connection, step: Step) -> None:
    here = update(layout).where(layout.c.version < step.version)
    db.execute(here.values(version=step.version))
    db.execute(update(layout).where(layout.c.oldest < step.oldest).values(oldest=step.oldest))


def _bind(db: Connection, home: HomeRegion) -> None:
    db.execute(insert_missing(made_for), {"one": 1, "region": home.name})
    found = db.scalar(select(made_for.c.region))
    if found != home.name:
        raise Broken(f"this store was made for region {found}, and this process is at home in {home.name}")
