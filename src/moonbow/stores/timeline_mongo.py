"""The timeline in MongoDB: one database a region, on a replica set over the region's sites.

Every transaction is committed by a majority and journalled before it is answered; reads are snapshots of what a
majority has.  One thread a process writes (`timeline_thread`), a few others read: what is done in a transaction is the
same plain functions for every engine, so they run beside the loop with PyMongo's synchronous client.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Concatenate, ParamSpec, TypeVar

from pymongo import MongoClient, ReadPreference, WriteConcern
from pymongo.client_session import ClientSession
from pymongo.database import Database
from pymongo.errors import BulkWriteError, ConfigurationError, DuplicateKeyError, OperationFailure, PyMongoError
from pymongo.read_concern import ReadConcern

from moonbow.base.errors import Broken, ConfigError, Unavailable
from moonbow.timeline.model import Post
from moonbow.timeline.ports import Reads
from moonbow.vault.ports import Sealer

from .home import HomeRegion
from .timeline_batch import BatchTx, Engine, Work, refused_write
from .timeline_mongo_rows import LAYOUT, Document, MongoReads, MongoTx, prepare
from .timeline_thread import WritingStore

P = ParamSpec("P")
T = TypeVar("T")
SELECT_MS = 2_000  # for a primary to be found; an election takes longer than that only when there is no majority
ANSWER_MS = 5_000
READERS_MAX = 4
MEET_S = 8.0  # for a transaction that meets others again and again
TRIES_MAX = 5  # to learn whether a commit was taken
PAUSE_S, PAUSE_S_MAX = 0.005, 0.2  # after the first meeting, doubled each time, and spread by chance
JOURNALLED = WriteConcern(w="majority", j=True, wtimeout=ANSWER_MS)


class MongoEngine:
    """`timeline_batch.Engine` on one client."""

    faults: tuple[type[Exception], ...] = (PyMongoError,)

    def __init__(
        self, database: Database[Document], region: str, sealer: Sealer, began: Callable[[], None] = lambda: None
    ) -> None:
        self._database, self._region, self._sealer, self._began = database, region, sealer, began

    def transact(self, works: list[Work], run: Callable[[BatchTx], None]) -> BatchTx:
        """Run and commit; again when the server says that it met another transaction.  `began()` is told each time."""
        posts = [value for work in works for value in work.args if isinstance(value, Post)]
        try:
            with self._database.client.start_session() as session:
                return self._meeting(session, posts, run)
        except (DuplicateKeyError, BulkWriteError) as error:
            raise refused_write(error) from error
        except PyMongoError as error:
            raise Unavailable("store_unavailable", f"MongoDB does not take the transaction: {error}") from error

    def _meeting(self, session: ClientSession, posts: list[Post], run: Callable[[BatchTx], None]) -> MongoTx:
        until, pause_s = time.monotonic() + MEET_S, PAUSE_S
        while True:
            try:
                self._began()
                return self._attempt(session, posts, run)
            except PyMongoError as error:
                if not error.has_error_label("TransientTransactionError"):
                    raise
                if time.monotonic() > until:
                    raise Unavailable("busy", "too many writers meet in these rooms; try again soon") from error
            time.sleep(pause_s * random.random())
            pause_s = min(2 * pause_s, PAUSE_S_MAX)

    def _attempt(self, session: ClientSession, posts: list[Post], run: Callable[[BatchTx], None]) -> MongoTx:
        with session.start_transaction(ReadConcern("snapshot"), JOURNALLED, ReadPreference.PRIMARY):
            tx = MongoTx(self._database, session, self._region, self._sealer, time.time_ns() // 1_000_000)
            tx.foresee(posts)
            run(tx)
            tx.flush()
            self._commit(session)
        return tx

    @staticmethod
    def _commit(session: ClientSession) -> None:
        """Commit; where the outcome is unknown, ask again: the server knows the transaction by its number."""
        for _ in range(TRIES_MAX):
            try:
                return session.commit_transaction()
            except PyMongoError as error:
                if not error.has_error_label("UnknownTransactionCommitResult"):
                    raise
        raise Unavailable("store_unavailable", "MongoDB does not say whether it took the transaction")


class MongoTimeline(WritingStore):
    """`timeline.ports.Store` on a MongoDB replica set; `Unavailable` while it has no primary.

    `address` is a connection string; the database it names is used, or else `moonbow_<region>`.
    """

    def __init__(self, address: str, home: HomeRegion, sealer: Sealer) -> None:
        super().__init__(home.name)
        self._sealer = sealer
        try:
            self._client: MongoClient[Document] = MongoClient(
                address, serverSelectionTimeoutMS=SELECT_MS, connectTimeoutMS=SELECT_MS, socketTimeoutMS=ANSWER_MS,
                maxPoolSize=READERS_MAX + 2, retryWrites=True, appname="moonbow",
            )  # fmt: skip
        except (PyMongoError, ValueError) as error:
            raise ConfigError(f"regions.{home.name}.data.mongodb: {error}") from error
        try:
            self._database = self._open(home)
        except BaseException:
            self._client.close()
            raise
        self._readers = ThreadPoolExecutor(READERS_MAX, "timeline-reader")
        self._writing = MongoEngine(self._database, home.name, self._sealer, self._begin)
        self._thread.start()

    def _open(self, home: HomeRegion) -> Database[Document]:
        try:
            if "setName" not in self._client.admin.command("hello"):
                raise ConfigError(f"regions.{home.name}.data.mongodb: transactions need a replica set, if only of one")
            database = self._client.get_default_database(f"moonbow_{home.name}").with_options(
                write_concern=JOURNALLED, read_concern=ReadConcern("majority")
            )
            prepare(database)
            self._bind(database, home)
        except ConfigurationError as error:
            raise ConfigError(f"regions.{home.name}.data.mongodb: {error}") from error
        except PyMongoError as error:
            raise Unavailable("store_unavailable", f"MongoDB does not answer: {error}") from error
        return database

    @staticmethod
    def _bind(database: Database[Document], home: HomeRegion) -> None:
        """Write into a new database whose it is; `Broken` if it was made for another region or by another layout."""
        for name, value in (("region", home.name), ("layout", LAYOUT), ("epoch", 1)):
            database.meta.update_one({"_id": name}, {"$setOnInsert": {"value": value}}, upsert=True)
        found = {document["_id"]: document["value"] for document in database.meta.find()}
        region, layout = found["region"], found["layout"]
        if region != home.name:
            raise Broken(f"this store was made for region {region}, and this process is at home in {home.name}")
        if layout != LAYOUT:
            raise Broken(f"this store has layout {layout}, and this program reads and writes {LAYOUT}")

    async def read(self, work: Callable[Concatenate[Reads, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work(reads, …)` on one consistent snapshot, beside the loop."""
        with self._one_read():
            return await asyncio.get_running_loop().run_in_executor(
                self._readers, lambda: self._read(lambda reads: work(reads, *args, **kwargs))
            )

    async def read_latest(self, work: Callable[Concatenate[Reads, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """The same: the primary is asked, and it has what it acknowledged."""
        return await self.read(work, *args, **kwargs)

    def _read(self, work: Callable[[Reads], T]) -> T:
        try:
            with (
                self._client.start_session() as session,
                session.start_transaction(ReadConcern("snapshot"), JOURNALLED, ReadPreference.PRIMARY),
            ):
                return work(MongoReads(self._database, session, self.region, self._sealer))
        except (OperationFailure, PyMongoError) as error:
            raise Unavailable("store_unavailable", f"MongoDB does not answer: {error}") from error

    def close(self) -> None:
        """Commit what is waiting, then stop."""
        self._stop_writing()
        self._readers.shutdown()
        self._client.close()

    @contextlib.contextmanager
    def _engine(self) -> Generator[Engine]:
        yield self._writing

    def _begin(self) -> None:
        self._began = time.monotonic()
