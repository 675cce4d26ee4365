"""The timeline in a region's MariaDB Galera: every site writes, at its own node, and no site is needed.

One thread a process writes (`timeline_thread`).  A transaction that the cluster takes back is run again from its locks.
After a lost connection nobody knows whether the last one was committed: it is run again too, after a causal look for
the client ids in it, so what was committed answers as a replay does.
Reads run in a few threads on snapshots of their own; only `read_latest` waits for what other sites have acknowledged.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import queue
import random
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Concatenate, ParamSpec, TypeVar

import pymysql

from moonbow.base.errors import Broken, Unavailable
from moonbow.timeline import policy, transactions
from moonbow.timeline.model import Post
from moonbow.timeline.ports import Reads
from moonbow.vault.ports import Sealer

from .home import HomeRegion
from .mariadb_link import Again, Link, Lost, Nodes, fill
from .timeline_batch import BatchTx, Engine, Undone, Work, refused_write
from .timeline_mariadb_members import Members
from .timeline_mariadb_reads import MariaReads, More
from .timeline_mariadb_rows import SCHEMA, VERSION, MariaTx
from .timeline_thread import WritingStore

log = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")
READERS = 4  # threads, and connections, of one process
GIVE_UP_S = 8.0  # after which a batch that finds no cluster is answered so
PATIENT_S = 4.0  # that a cluster may take to agree who is left, before it is a sign of ill health
PAUSE_S_MAX = 0.2  # between two tries
READ_TRIES = 3
LOOKS = 64  # batches that look for their client ids first, after one of which an id was known
_MODE = "sql_mode = 'STRICT_ALL_TABLES'"
WRITING = (
    f"SET SESSION autocommit = 0, {_MODE}, tx_isolation = 'READ-COMMITTED', innodb_lock_wait_timeout = 3,"
    " idle_write_transaction_timeout = 2"
)
READING = f"SET SESSION {_MODE}, tx_isolation = 'REPEATABLE-READ', idle_readonly_transaction_timeout = 60"
SNAPSHOT = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY;"
LATEST = f"SET SESSION wsrep_sync_wait = 1;{SNAPSHOT}SET SESSION wsrep_sync_wait = 0;"


class MariaTimeline(WritingStore):
    """`timeline.ports.Store` on the nodes of one region."""

    def __init__(self, nodes: Nodes, home: HomeRegion, sealer: Sealer) -> None:
        super().__init__(home.name)
        self._sealer = sealer
        self._writing = MariaEngine(Link(nodes, WRITING), home.name, self._sealer)
        self._writing.prepare()
        self._links: queue.LifoQueue[Link] = queue.LifoQueue()
        for _ in range(READERS):
            self._links.put(Link(nodes, READING, several=True))
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="timeline-reader")
        self._thread.start()

    @property
    def retries(self) -> int:
        """How often a transaction was run again."""
        return self._writing.retries

    @property
    def place(self) -> int:
        """Which node the writer is connected to: 0 is the own site's."""
        return self._writing.link.place

    async def read(self, work: Callable[Concatenate[Reads, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work(reads, …)` on one consistent snapshot of the node that is in use."""
        return await self._read(SNAPSHOT, work, args, kwargs)

    async def read_latest(self, work: Callable[Concatenate[Reads, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """The same, on a snapshot that has all that was acknowledged at any site before the call."""
        return await self._read(LATEST, work, args, kwargs)

    def busy_s(self) -> float:
        """For how long the transaction under way has been running, beyond what a cluster that loses a site takes."""
        return max(0.0, super().busy_s() - PATIENT_S)

    def close(self) -> None:
        """Commit what is waiting, then stop."""
        self._stop_writing()
        self._readers.shutdown(wait=True, cancel_futures=True)
        self._writing.close()
        while not self._links.empty():
            self._links.get().drop()

    # -- reading -----------------------------------------------------------------------------------------------------

    async def _read(self, begin: str, work: Callable[..., T], args: Sequence[Any], kwargs: dict[str, Any]) -> T:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()

        def tell(result: Any, error: BaseException | None) -> None:
            if not answer.done():
                answer.set_exception(error) if error is not None else answer.set_result(result)

        def run() -> None:
            with self._link() as link:
                result, fault, is_open = None, None, True
                try:
                    result, is_open = _read_from(link, begin, self.region, self._sealer, work, args, kwargs)
                except BaseException as error:
                    fault = error
                with contextlib.suppress(RuntimeError):  # the loop has been closed
                    loop.call_soon_threadsafe(tell, result, fault)
                if is_open:
                    _end(link)

        with self._one_read():
            turn = self._readers.submit(run)
            try:
                return await answer
            finally:
                turn.cancel()  # whoever asked may have gone before its turn came

    @contextlib.contextmanager
    def _link(self) -> Generator[Link]:
        link = self._links.get()
        try:
            yield link
        finally:
            self._links.put(link)

    # -- the writer's thread -----------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _engine(self) -> Generator[Engine]:
        self._began = time.monotonic()
        yield self._writing


class _Stale(Exception):
    """Somebody would be refused on a state that may be a moment old."""


class MariaEngine:
    """`timeline_batch.Engine` on one link: runs again what the cluster took back, or what was lost on the way."""

    faults: tuple[type[Exception], ...] = (Again, pymysql.err.OperationalError)

    def __init__(self, link: Link, region: str, sealer: Sealer) -> None:
        self.link, self._region, self._sealer = link, region, sealer
        self.retries = self._looks = 0
        self._members = Members()

    def transact(self, works: list[Work], run: Callable[[BatchTx], None]) -> BatchTx:
        posts = [work.args[0] for work in works if work.work is transactions.post]
        latest = violated = False
        look, self._looks = self._looks > 0 or not posts, max(0, self._looks - 1)
        for pause_s in _pauses(GIVE_UP_S):
            try:
                return self._once(works, posts, run, latest=latest, look=look or latest)
            except _Stale:
                latest = True
                continue
            except Again as error:
                fault: Exception = error
            except Undone as undone:
                if violated or not isinstance(undone.__cause__, pymysql.err.IntegrityError):
                    raise
                if not look and not latest:  # one of the client ids, most likely
                    look, self._looks = True, LOOKS
                    continue
                # somebody else was first with a key: now they are seen
                violated, fault = True, undone
            except pymysql.err.OperationalError as error:
                raise Unavailable("store_unavailable", str(error)) from error
            latest = True
            self.retries += 1
            log.info("again", extra={"f": {"because": str(fault)}})
            time.sleep(pause_s)
        raise Unavailable("store_unavailable", "the region's database does not take this now")

    def _once(
        self, works: list[Work], posts: list[Post], run: Callable[[BatchTx], None], *, latest: bool, look: bool
    ) -> BatchTx:
        """One try.  What is written is sound on an older state too, by certification; a refusal writes to no stream, so
        it is said only after a look at the `latest`, for which the cluster is asked."""
        self.link.ready()
        if latest:
            self._members.forget()
        tx = MariaTx(self.link, self._region, self._sealer, time.time_ns() // 1_000_000, self._members)
        try:
            tx.begin(posts, latest=latest, look=look)
            run(tx)
            if not latest and any(policy.is_refusal(work.result, work.error) for work in works):
                raise _Stale
            tx.commit()
        except Lost:
            raise
        except BaseException as error:
            self._take_back()
            if isinstance(error, (pymysql.err.IntegrityError, pymysql.err.DataError)):
                raise refused_write(error) from error
            raise
        tx.remember()
        return tx

    def _take_back(self) -> None:
        try:
            self.link.run("ROLLBACK")
        except (Again, pymysql.Error):
            self.link.drop()

    def prepare(self) -> None:
        """Make the tables that are missing; `Broken` if they were made for another region or by another program."""
        for pause_s in _pauses(GIVE_UP_S):
            try:
                self.link.ready()
                found = self._made_for()
                break
            except Again:
                time.sleep(pause_s)
            except pymysql.Error as error:
                raise Unavailable("store_unavailable", str(error)) from error
        else:
            raise Unavailable("store_unavailable", "no node of the region's database answers")
        region, version = found
        if region != self._region:
            raise Broken(f"this store was made for region {region}, and this process is at home in {self._region}")
        if version != VERSION:
            raise Broken(f"this store has layout {version}, and this program reads and writes {VERSION}")

    def _made_for(self) -> tuple[str, int]:
        if not self.link.run("SHOW TABLES LIKE 'timeline\\_meta'")[-1]:
            for statement in SCHEMA.split(";")[:-1]:
                self.link.run(statement)
        if not self.link.run("SELECT 1 FROM timeline_meta")[-1]:
            self.link.run(fill("INSERT IGNORE INTO timeline_meta VALUES (1, ?, ?, 1)", (self._region, VERSION)))
        region, version = self.link.run("SELECT made_for, version FROM timeline_meta")[-1][0]
        self.link.run("COMMIT")
        return str(region), int(version)

    def close(self) -> None:
        """Give the connection back."""
        self.link.drop()


def _read_from(
    link: Link, begin: str, region: str, sealer: Sealer, work: Callable[..., T], args: Sequence[Any],
    kwargs: dict[str, Any],
) -> tuple[T, bool]:  # fmt: skip
    """The result of a read, begun again where a node went away under it, and whether a snapshot is still open."""
    alone = begin == SNAPSHOT
    for left in reversed(range(READ_TRIES)):
        try:
            link.ready()
            with contextlib.suppress(More):
                reads = MariaReads(link, region, sealer, begin, alone=alone)
                return work(reads, *args, **kwargs), reads.open
            reads = MariaReads(link, region, sealer, begin)
            return work(reads, *args, **kwargs), reads.open
        except Again as error:
            link.drop()
            if not left:
                raise Unavailable("store_unavailable", str(error)) from error
        except pymysql.Error as error:
            link.drop()
            raise Unavailable("store_unavailable", str(error)) from error
    raise AssertionError("unreachable")


def _end(link: Link) -> None:
    """End a snapshot: an open one would keep erased rows from being purged."""
    try:
        link.run("COMMIT")
    except (Again, pymysql.Error):
        link.drop()


def _pauses(within_s: float) -> Iterator[float]:
    """How long to wait before each next try, by chance, for about `within_s`."""
    until = time.monotonic() + within_s
    for tries in itertools.count(1):
        yield random.uniform(0, min(PAUSE_S_MAX, 0.004 * 2.0 ** min(tries, 10)))
        if time.monotonic() >= until:
            return
