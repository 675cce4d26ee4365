"""The Galera side of `sql.Sql`: the nodes of a region's sites, the own one first, and whole transactions run again.

Snapshot isolation on each node (`innodb_snapshot_isolation`) and first committer wins between them: of two
transactions that write one row, one is rolled back and run again here.  Writers wait until their node has what others
acknowledged (`wsrep_sync_wait`), because a session that moved to this site must not find its own past missing.
"""

from __future__ import annotations

import random
import ssl
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn, TypeVar

from sqlalchemy import URL, Connection, Engine, MetaData, create_engine, event, select
from sqlalchemy.engine.interfaces import IsolationLevel
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolEmpty

from moonbow.base.errors import Broken, ConfigError, Unavailable
from moonbow.world import SqlWay

from .client_tls import client_tls
from .home import HomeRegion
from .migrations import Step, made_for, prepare
from .policy import Standing, decide_failure

T = TypeVar("T")
THREADS_MAX = 4  # works at once; each node has at most as many connections for readers, and for writers
CONNECT_S = 1.0
ANSWER_S = 4.0  # of one statement; a commit waits up to 3 s for a node that has just died to be given up
GIVE_UP_S = 8.0  # of one work with all its runs
RUNS_MAX = 20
OPEN_S = 60.0
OPEN_RUNS_MAX = 1_000
LOCK_S = 60
CHANGE_S = 600.0  # of one change of a table
RECYCLE_S = 3_600  # before the node takes a silent connection for dead
WAIT_FOR_OTHERS = 7  # wsrep_sync_wait: before reads, before UPDATE and DELETE, before INSERT


class GaleraEngine:
    """`sql.Engine` on the nodes of a region."""

    def __init__(
        self,
        way: SqlWay,
        home: HomeRegion,
        metadata: Sequence[MetaData],
        steps: Sequence[Step],
        within_s: float,
    ) -> None:
        context = client_tls(way)
        self._readers = [_engine(way, host, context, "AUTOCOMMIT", ANSWER_S) for host in way.hosts]
        self._writers = [_engine(way, host, context, "REPEATABLE READ", ANSWER_S) for host in way.hosts]
        self._standing = Standing(len(way.hosts), ANSWER_S)

        def once(no: int) -> None:
            with _disposed(_engine(way, way.hosts[no], context, "AUTOCOMMIT", CHANGE_S)) as patient:
                _prepare(patient, home, metadata, steps)

        self._repeat(once, True, within_s, OPEN_RUNS_MAX)

    def read(self, work: Callable[[Connection], T]) -> T:
        def once(no: int) -> T:
            with self._readers[no].connect() as db:
                return work(db)

        return self._repeat(once, True)

    def write(self, work: Callable[[Connection], T], repeatable: bool = True) -> T:
        def once(no: int) -> T:
            with self._writers[no].connect() as db:
                result = work(db)
                _commit(db)
                return result

        return self._repeat(once, repeatable)

    def scrub(self) -> None:
        """Nothing: InnoDB purges and overwrites its undo and redo logs by itself, in its own time."""

    def close(self) -> None:
        for engine in (*self._readers, *self._writers):
            engine.dispose()

    def _repeat(
        self, once: Callable[[int], T], repeatable: bool, within_s: float = GIVE_UP_S, runs_max: int = RUNS_MAX
    ) -> T:
        """Run `once` with the number of a node until it succeeds, fails for good, or time and runs are used up."""
        ends_s = time.monotonic() + within_s
        run = 0
        while True:
            run += 1
            no = self._standing.choose(time.monotonic())
            if (due := self._standing.due(time.monotonic())) is not None and due != no:
                threading.Thread(target=self._look_at, args=(due,), name="look-at-node", daemon=True).start()
            try:
                result = once(no)
                self._standing.answered(no)
                return result
            except (DBAPIError, PoolEmpty, _AtCommit) as error:
                self._judge(error, no, repeatable)
                pause_s = random.uniform(0.5, 1.0) * min(0.5, 0.005 * 2 ** min(run, 7))
                if run >= runs_max or time.monotonic() + pause_s > ends_s:
                    detail = f"the region's database does not answer: {_said(error)}"
                    raise Unavailable("store_unavailable", detail) from error
            time.sleep(pause_s)

    def _look_at(self, no: int) -> None:
        """Whether a node that was in trouble serves again."""
        try:
            with self._readers[no].connect() as db:
                db.execute(_SERVES)
        except (DBAPIError, PoolEmpty):
            self._standing.failed(no, time.monotonic())
        else:
            self._standing.answered(no)

    def _judge(self, error: Exception, no: int, repeatable: bool) -> None:
        """Return if the work is to be run again; raise what it comes to otherwise."""
        verdict = decide_failure(_code(error), committing=isinstance(error, _AtCommit), repeatable=repeatable)
        if verdict == "elsewhere":
            self._standing.failed(no, time.monotonic())
        elif verdict != "again":
            _refuse(verdict, error)


_SERVES = select(made_for.c.one)  # refused where there is no majority


class _AtCommit(Exception):
    """The commit itself failed; the cause says how."""


SNAPSHOT = f"SET SESSION wsrep_sync_wait = {WAIT_FOR_OTHERS}, SESSION innodb_snapshot_isolation = ON"


def _engine(way: SqlWay, host: str, context: ssl.SSLContext, isolation: IsolationLevel, answer_s: float) -> Engine:
    url = URL.create("mysql+pymysql", way.user, None, host, way.port, way.database, {"charset": "utf8mb4"})
    driver = {"connect_timeout": CONNECT_S, "read_timeout": answer_s, "write_timeout": answer_s, "ssl": context}
    engine = create_engine(
        url, connect_args=driver, isolation_level=isolation, pool_size=THREADS_MAX, max_overflow=0,
        pool_timeout=ANSWER_S, pool_recycle=RECYCLE_S,
        pool_reset_on_return=None if isolation == "AUTOCOMMIT" else "rollback",
    )  # fmt: skip
    if isolation != "AUTOCOMMIT":
        event.listen(engine, "connect", lambda db, _: _say(db, SNAPSHOT))
    return engine


@contextmanager
def _disposed(engine: Engine) -> Generator[Engine]:
    try:
        yield engine
    finally:
        engine.dispose()


def _say(db: Any, statement: str) -> None:
    with db.cursor() as cursor:
        cursor.execute(statement)


def _prepare(engine: Engine, home: HomeRegion, metadata: Sequence[MetaData], steps: Sequence[Step]) -> None:
    with engine.connect() as db:
        if not db.exec_driver_sql(f"SELECT GET_LOCK('moonbow.layout', {LOCK_S})").scalar():
            raise Unavailable("store_unavailable", "another process is still preparing the region's database")
        prepare(db, home, metadata, steps)  # the lock ends with the connection, which nobody uses again


def _commit(db: Connection) -> None:
    try:
        db.commit()
    except DBAPIError as error:
        raise _AtCommit from error


def _code(error: BaseException) -> int:
    """The node's or the driver's number for what went wrong; 0 if there is none."""
    cause = error.__cause__ if isinstance(error, _AtCommit) else error
    found = cause.orig.args if isinstance(cause, DBAPIError) and cause.orig is not None else ()
    return found[0] if found and isinstance(found[0], int) else 0


def _said(error: BaseException) -> object:
    cause = error.__cause__ if isinstance(error, _AtCommit) else error
    return cause.orig if isinstance(cause, DBAPIError) else cause


def _refuse(verdict: str, error: Exception) -> NoReturn:
    match verdict:
        case "unknown":
            raise Unavailable("outcome_unknown", f"the connection was lost at the commit: {_said(error)}") from error
        case "config":
            raise ConfigError(f"the region's database refuses us: {_said(error)}") from error
        case _:
            raise Broken(f"the region's database: {_said(error)}") from error
