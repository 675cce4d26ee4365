"""One region's SQL database for what is not the timeline, on SQLite or on MariaDB Galera, by SQLAlchemy Core.

The same tables and statements run on both.  On SQLite, transactions of one file run one after the other.  On Galera
each sees a snapshot, on whatever node; of two that write the same row the one that commits first wins, and the other
one is run again.  Two that *read* what the other writes do not see each other: let both write the row that must not
change (or insert under one key).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, TypeVar

from sqlalchemy import Connection, MetaData

from moonbow.base.errors import Unavailable
from moonbow.world import SqlWay

from .home import HomeRegion
from .migrations import STEPS, Step
from .sql_galera import OPEN_S, THREADS_MAX, GaleraEngine
from .sql_sqlite import SqliteEngine

T = TypeVar("T")
WAITING_MAX = 1_000  # works handed over and not yet done; beyond it callers are told to come again


class Engine(Protocol):
    """What `Sql` needs of an engine.  Both may be called from any thread."""

    def read(self, work: Callable[[Connection], T]) -> T: ...
    def write(self, work: Callable[[Connection], T], repeatable: bool) -> T: ...
    def scrub(self) -> None: ...
    def close(self) -> None: ...


class Sql:
    """The private data of `home`, open for this process.

    `work` is called with a connection and gives a value; it reads its results to their end and does not commit.  It
    may be called again, from the start, so it changes nothing but the database.
    Raises `Unavailable` when the engine does not answer in time, `Broken` when it is damaged, `Broken` on opening what
    was made for another region, and what `work` raises; what raised was rolled back.
    """

    def __init__(self, home: HomeRegion, engine: Engine, threads: int, reads_wait: bool) -> None:
        self.home = home
        self._engine = engine
        self._reads_wait = reads_wait
        self._threads = ThreadPoolExecutor(threads, "sql")
        self._waiting = 0

    @classmethod
    def sqlite(cls, path: Path, home: HomeRegion, *metadata: MetaData, steps: Sequence[Step] = STEPS) -> Sql:
        """The file at `path`, made if it is missing, with the tables of `metadata` as the newest of `steps` wants."""
        return cls(home, SqliteEngine(path, home, metadata, steps), threads=1, reads_wait=False)

    @classmethod
    def galera(
        cls,
        way: SqlWay,
        home: HomeRegion,
        *metadata: MetaData,
        steps: Sequence[Step] = STEPS,
        within_s: float = OPEN_S,
    ) -> Sql:
        """The region's cluster, asked at the first host of `way` that answers: the own site's comes first.

        Waits for one that does, because a region may be starting; `Unavailable` if that takes too long.
        """
        engine = GaleraEngine(way, home, metadata, steps, within_s)
        return cls(home, engine, threads=THREADS_MAX, reads_wait=True)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """The committed state, as one statement or a few that need not agree.

        On Galera, what another node has just acknowledged may be missing for some milliseconds.
        """
        if self._reads_wait:
            return await self._hand_over(lambda: self._engine.read(work))
        return self._engine.read(work)

    async def write(self, work: Callable[[Connection], T], *, repeatable: bool = True) -> T:
        """`work` as one transaction, durable when this returns.  It sees everything acknowledged before, anywhere.

        `repeatable`: run twice, it does what it does once (then the result is that of the last run).  A connection
        lost at the commit leaves open whether it stands; what is not repeatable then raises `Unavailable`
        (`outcome_unknown`), everything else is run again.
        """
        return await self._hand_over(lambda: self._engine.write(work, repeatable))

    def run(self, work: Callable[[Connection], T], *, repeatable: bool = True) -> T:
        """`write`, for a thread that may wait."""
        return self._engine.write(work, repeatable)

    def look(self, work: Callable[[Connection], T]) -> T:
        """`read`, for a thread that may wait."""
        return self._engine.read(work)

    async def scrub(self) -> None:
        """See to it that what was erased is not left in this engine's log either, where that is in our hands.

        `Unavailable` while somebody still reads an older state.
        """
        await self._hand_over(self._engine.scrub)

    async def close(self) -> None:
        """Wait for what is under way, and close."""
        await asyncio.to_thread(self.shut)

    def shut(self) -> None:
        """`close`, for a thread that may wait."""
        self._threads.shutdown()
        self._engine.close()

    async def _hand_over(self, call: Callable[[], T]) -> T:
        if self._waiting >= WAITING_MAX:
            raise Unavailable("store_unavailable", "too much is waiting for the region's database")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, call)
        finally:
            self._waiting -= 1
