"""Walks the tables of a region's stores: every row belongs here, every table and column is known."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from moonbow.base.errors import Unavailable
from moonbow.base.ids import home
from moonbow.stores.snapshot import SqliteSnapshot, look_at_sqlite
from moonbow.stores.snapshot_galera import GaleraSnapshot, look_at_node
from moonbow.world import SqlWay, World, names_way, sql_way

from . import policy
from .book import Book
from .catalogue import STORES, Table
from .files import Seen
from .model import Finding, Progress
from .policy import Here
from .ports import Store, Tables

TELL_ROWS = 20_000


@dataclass(frozen=True)
class SqliteStore:
    """A store in a SQLite file; it is looked at in a copy that lies beside the region's other files for the audit."""

    state: Path
    place: str
    store: str
    region: str
    copy: Path
    site: str = ""

    @contextmanager
    def look(self) -> Generator[SqliteSnapshot]:
        """See `ports.Store.look`."""
        self.copy.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with look_at_sqlite(self.state / self.place, self.copy) as found:
            yield found


@dataclass(frozen=True)
class GaleraStore:
    """What one site's node of a region's cluster holds: the region's own tables, or the names of its objects."""

    way: SqlWay
    region: str
    site: str
    store: str = "cluster"

    @property
    def place(self) -> str:
        """Its node, by the site's name."""
        return f"{self.site}/sql" if self.store == "cluster" else f"{self.site}/sql/{self.store}"

    @contextmanager
    def look(self) -> Generator[GaleraSnapshot]:
        """See `ports.Store.look`."""
        with look_at_node(self.way) as found:
            yield found


@dataclass(frozen=True)
class MongoStore:
    """A region's timeline in MongoDB, wherever that runs: it is no site's."""

    address: str
    region: str
    store: str = "mongodb"
    site: str = ""

    @property
    def place(self) -> str:
        """The region's; its address may hold a password."""
        return f"{self.region}/mongodb"

    @contextmanager
    def look(self) -> Generator[Tables]:
        """See `ports.Store.look`."""
        from moonbow.stores.snapshot_mongo import look_at_mongo  # its driver costs every audit megabytes

        with look_at_mongo(self.address, self.region) as found:
            yield found


def stores_in(world: World, state: Path, seen: list[Seen]) -> Iterator[Store]:
    """The stores among the files that were met, the nodes of regions that have a cluster, and their MongoDB."""
    for file in seen:
        if file.where.file.content == "sqlite":
            region = file.where.region
            copy = state / "regions" / region / "audit" / f"copy-{Path(file.path).name}"
            yield SqliteStore(state, file.path, file.where.file.store, region, copy)
    for region, found in world.regions.items():
        for ref in world.primaries(region) if found.data.sql == "galera" else ():
            way = sql_way(world, state, region, ref.site.name)
            yield GaleraStore(way._replace(hosts=way.hosts[:1]), region, ref.site.name)
        for ref in world.primaries(region) if found.data.objects == "seaweedfs" else ():
            way = names_way(world, state, region, ref.site.name)
            yield GaleraStore(way._replace(hosts=way.hosts[:1]), region, ref.site.name, "objects")
        if found.data.mongodb is not None:
            yield MongoStore(found.data.mongodb, region)


def walk_store(world: World, store: Store, book: Book) -> None:
    """Judge every row of a store."""
    try:
        with store.look() as tables:
            layout = tables.tables()
            for table, fault in policy.judge_layout(store.store, layout):
                book.found(policy.as_finding(fault, store.place, store.region, table))
            here = _here(world, store, tables, layout)
            for table in layout:
                if (known := STORES[store.store].get(table)) is not None:
                    _walk_table(store, tables, table, layout[table], known, here, book)
            if {"body", "post"} <= layout.keys():
                _walk_bodies(store, tables, layout, book)
    except Unavailable as error:
        if store.site:  # a node that does not run: its files are searched all the same
            book.held("rows_unseen", store.place, None, str(error), store.region)
        else:
            book.found(Finding(code="unreadable", place=store.place, said=str(error), at=store.region))


def _here(world: World, store: Store, tables: Tables, layout: dict[str, tuple[str, ...]]) -> Here:
    """Which foreign rooms may rest here: those that somebody of this region has a seat in, or was ever in."""
    if not {"stream", "span", "seat"} <= layout.keys():
        return policy.here_in(world, store.region, frozenset(), frozenset())
    members = {row["stream"] for row in _named(tables, layout, "span") if _is_ours(row["person"], store.region)}
    key, ident = ("key", "id") if "key" in layout["stream"] else ("_id", "_id")  # SQL's, MongoDB's
    names = {row[key]: row[ident] for row in _named(tables, layout, "stream")}
    seats = {row["room"] for row in _named(tables, layout, "seat") if _is_ours(row["person"], store.region)}
    streams = {str(names[key]) for key in members if key in names} | {str(room) for room in seats}
    keys = frozenset(key for key in names if isinstance(key, int))
    return policy.here_in(world, store.region, frozenset(streams), keys)


def _is_ours(person: object, region: str) -> bool:
    return isinstance(person, str) and policy.ID.fullmatch(person) is not None and home(person) == region


def _named(tables: Tables, layout: dict[str, tuple[str, ...]], table: str) -> Iterator[dict[str, object]]:
    for row in tables.rows(table):
        yield dict(zip(layout[table], row, strict=True))


def _walk_table(
    store: Store, tables: Tables, name: str, columns: Sequence[str], known: Table, here: Here, book: Book
) -> None:  # fmt: skip
    count = 0
    for row in tables.rows(name):
        count += 1
        if (fault := policy.judge_row(known, columns, row, here)) is not None:
            book.found(policy.as_finding(fault, store.place, store.region, name, _key(known, columns, row)))
        if count % TELL_ROWS == 0:
            book.tell(Progress(stage=f"reading {store.place}", done=count, total=0))
    book.saw_table(
        known.data, name, tables.engine, store.region, store.site, f"{store.place}:{name}", known.retention, count
    )


def _key(table: Table, columns: Sequence[str], row: Sequence[object]) -> str:
    """What names a row: ids and numbers only."""
    values = dict(zip(columns, row, strict=True))
    parts = (values.get(column) for column in table.key)
    shown = (str(part) for part in parts if isinstance(part, int) or policy.ID.fullmatch(str(part)))
    return " ".join(shown)


def _walk_bodies(store: Store, tables: Tables, layout: dict[str, tuple[str, ...]], book: Book) -> None:
    """Texts that nobody of this region wrote: a body is its post's, and an erased one is zeros."""
    mine, theirs = ("key", "body") if "key" in layout["body"] else ("entry", "entry")  # SQLite's, MariaDB's
    posts = {row[theirs] for row in _named(tables, layout, "post")}
    for row in _named(tables, layout, "body"):
        if row[mine] not in posts and _says(row["text"]):
            fault = policy.Fault("orphan_body", "is a text that belongs to no post of this region")
            book.found(policy.as_finding(fault, store.place, store.region, "body", str(row[mine])))


def _says(text: object) -> bool:
    """Whether anything is left of a text: an erased one is zeros."""
    return any(text) if isinstance(text, bytes) else bool(text)
