"""The stores that the contract of the timeline is held against, and short ways to say what people do."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import tempfile
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pymongo import MongoClient

from moonbow.base.ids import base32
from moonbow.stores.home import HomeRegion
from moonbow.stores.mariadb_link import Nodes
from moonbow.stores.timeline_mariadb import MariaTimeline
from moonbow.stores.timeline_mariadb_rows import SCHEMA
from moonbow.stores.timeline_mongo import MongoTimeline
from moonbow.stores.timeline_mongo_rows import INDEXES
from moonbow.stores.timeline_sqlite import SqliteTimeline
from moonbow.timeline import transactions
from moonbow.timeline.model import Answer, Fresh, Post, Row, text_body
from moonbow.timeline.ports import Reads, Store, Tx
from moonbow.vault.plain import Plain
from moonbow.vault.ports import Sealer
from moonbow.world import load_world, sql_way
from vault_stage import vault_in

T = TypeVar("T")
HOME = "emea"


class Adapter(Protocol):
    """One engine: how to open a region's store, and every byte that it has at rest.

    `erases_late`: what was erased stays in a log of ours for a moment, and `resting` shows it.
    """

    name: str
    erases_late: bool
    sealed: bool  # then no text can be read in `resting`

    def open(self, region: str = HOME) -> Store: ...
    def resting(self) -> bytes: ...
    def writer(self) -> list[str]: ...


class SqliteAdapter:
    """The embedded store: one file and its log."""

    name = "sqlite"
    erases_late = True
    sealed = False

    def __init__(self, folder: Path) -> None:
        self.path = folder / "timeline.db"

    def sealer(self) -> Sealer:
        return Plain()

    def open(self, region: str = HOME) -> SqliteTimeline:
        return SqliteTimeline(self.path, HomeRegion(region), self.sealer())

    def resting(self) -> bytes:
        return b"".join(file.read_bytes() for file in sorted(self.path.parent.glob("timeline.*")))

    def writer(self) -> list[str]:
        """A program of its own that writes into this store (tests/timeline_writer.py)."""
        return [*WRITER, str(self.path.parent)]


class SealedSqliteAdapter(SqliteAdapter):
    """The same with its texts sealed, by keys of `person(1)` to `person(9)` that lie beside it."""

    name = "sqlite-sealed"
    sealed = True

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.vault = vault_in(folder, HOME)
        for number in range(1, 10):
            self.vault.make_key(person(number), f"org_{HOME}_{base32(1)}")

    def sealer(self) -> Sealer:
        return self.vault.sealer


class MariaAdapter:
    """MariaDB Galera: the node of one site of a region that runs.  Each one made begins with nothing."""

    name = "mariadb"
    erases_late = False
    sealed = False

    def __init__(self, state: Path, site: str, *, empty: bool = True) -> None:
        self.state, self.site = state, site
        self.world = load_world(state / "world.toml")
        self.nodes = Nodes.of(sql_way(self.world, state, HOME, site))
        if empty and self.ask("SHOW TABLES LIKE 'timeline\\_meta'")[0]:
            self.ask(*(f"DELETE FROM {table}" for table in TABLES))

    def open(self, region: str = HOME) -> MariaTimeline:
        return MariaTimeline(self.nodes, HomeRegion(region), Plain())

    def ask(self, *statements: str) -> list[Any]:
        """The rows of each statement."""
        _, connection = self.nodes.open("SET autocommit = 1")
        with connection:
            return [connection.ask(statement)[-1] for statement in statements]

    def resting(self) -> bytes:
        """Every value of every table.  The engine's own logs hold more, until they come round: there it is the sealing
        that protects a text."""
        return repr(self.ask(*(f"SELECT * FROM {table}" for table in TABLES))).encode()

    def writer(self) -> list[str]:
        return [*WRITER, f"{self.state}@{self.site}"]


class MongoAdapter:
    """A server that speaks MongoDB's wire protocol: a database of its own each, named in the connection string."""

    name = "mongodb"
    erases_late = False
    sealed = False

    def __init__(self, address: str) -> None:
        self.address = address

    @classmethod
    def new(cls, server: str) -> MongoAdapter:
        """On a server's address with a place for the database's name: one that nobody has used."""
        return cls(server.format(f"t{uuid.uuid4().hex[:12]}"))

    def open(self, region: str = HOME) -> MongoTimeline:
        return MongoTimeline(self.address, HomeRegion(region), Plain())

    def resting(self) -> bytes:
        """Every value of every document; of the engine's own files, see `MariaAdapter.resting`."""
        with MongoClient[dict[str, Any]](self.address) as client:
            database = client.get_default_database()
            return repr([list(database[name].find()) for name in INDEXES]).encode()

    def writer(self) -> list[str]:
        return [*WRITER, self.address]


TABLES = re.findall(r"CREATE TABLE IF NOT EXISTS (\w+)", SCHEMA)
WRITER = [sys.executable, str(Path(__file__).with_name("timeline_writer.py"))]


def adapter_at(where: str) -> Adapter:
    """The store that a writer was told to write to: a folder, a state and a site of it, or a connection string."""
    if where.startswith("mongodb://"):
        return MongoAdapter(where)
    state, _, site = where.partition("@")
    if site:
        return MariaAdapter(Path(state), site, empty=False)
    return (SealedSqliteAdapter if (Path(where) / "keys.db").exists() else SqliteAdapter)(Path(where))


def person(number: int, region: str = HOME) -> str:
    return f"usr_{region}_{base32(number)}"


def room(number: int, region: str = HOME) -> str:
    return f"rom_{region}_{base32(number)}"


def key(name: object) -> str:
    """A client id that belongs to a name."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, str(name)))


def new_post(author: str, place: str, name: object, text: str = "") -> Post:
    return Post(author, place, key(name), text_body(text or str(name)))


def play(adapter: Adapter, scenario: Callable[[Store], Awaitable[T]], region: str = HOME) -> T:
    """Run a scenario on a store that is opened for it and closed after it."""

    async def go() -> T:
        store = adapter.open(region)
        try:
            return await scenario(store)
        finally:
            store.close()

    return asyncio.run(go())


async def say(store: Store, author: str, place: str, name: object, text: str = "") -> Answer:
    return await store.write(transactions.post, new_post(author, place, name, text))


async def make_room(store: Store, ident: str, *people: str) -> str:
    return await store.write(transactions.create_room, ident, people[0], people[1:])


async def rows(store: Store, ident: str) -> list[Row]:
    return await store.read(all_rows, ident)


def all_rows(reads: Reads, ident: str) -> list[Row]:
    stream = reads.stream(ident)
    return reads.rows_after(stream, 0, 1_000_000) if stream is not None else []


async def texts(store: Store, entries: list[str]) -> list[str | None]:
    """The texts of entries, in their order; None for what is not or no longer there."""
    found = await store.read(lambda reads: reads.bodies(entries))
    return [_text(found[entry].body) if entry in found else None for entry in entries]


def _text(body: bytes | None) -> str | None:
    return None if body is None else str(json.loads(body)["text"])


def dense(found: list[Row]) -> bool:
    return [row.seq for row in found] == list(range(1, len(found) + 1))


@contextmanager
def quick_folder() -> Iterator[Path]:
    """A folder in memory, where there is some: for trying the order of things, not the disk."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


class Published:
    """Everything that a store told its process to publish."""

    def __init__(self, store: Store) -> None:
        self.fresh: list[Fresh] = []
        self.queued = 0
        store.on_commit(self._take)

    def _take(self, fresh: list[Fresh], queued: bool) -> None:
        self.fresh += fresh
        self.queued += queued


def failing_after_write(error: Exception, ident: str) -> Callable[[Tx], None]:
    """An operation that writes, and then fails."""

    def work(tx: Tx) -> None:
        tx.create_stream(ident, person(1), None)
        raise error

    return work
