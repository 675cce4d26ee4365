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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from sqlalchemy import URL, Connection, Engine, MetaData, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolEmpty

from moonbow.base.errors import Broken, ConfigError, Unavailable

from .home import HomeRegion
from .migrations import Step, prepare
from .policy import choose_node, decide_failure

T = TypeVar("T")
THREADS_MAX = 8  # works at once; each node has as many connections for readers, and for writers
CONNECT_S = 1.0
ANSWER_S = 4.0  # of one statement; a commit waits up to 3 s for a node that has just died to be given up
GIVE_UP_S = 8.0  # of one work with all its runs
RUNS_MAX = 20
TROUBLE_S = 2.0  # for which a node that did not answer is asked only if no other one is left
OPEN_S = 60.0
LOCK_S = 30
WAIT_FOR_OTHERS = 7  # wsrep_sync_wait: before reads, before UPDATE and DELETE, before INSERT


@dataclass(frozen=True)
class Node:
    """Where a MariaDB node answers, and what we show it.  Without `ca` the way is not encrypted: for tests only."""

    host: str
    port: int = 3306
    user: str = "moonbow"
    password: str = ""
    database: str = "moonbow"
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None


class GaleraEngine:
    """`sql.Engine` on the nodes of a region."""

    def __init__(
        self, nodes: Sequence[Node], home: HomeRegion, metadata: Sequence[MetaData], steps: Sequence[Step]
    ) -> None:
        self._readers = [_engine(node, "AUTOCOMMIT", "") for node in nodes]
        self._writers = [_engine(node, "REPEATABLE READ", WRITER) for node in nodes]
        self._troubled_until_s = [0.0] * len(nodes)
        self._lock = threading.Lock()
        try:
            self._repeat(lambda no: _prepare(self._readers[no], home, metadata, steps), True, OPEN_S, 1_000)
        except BaseException:
            self.close()
            raise

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
            no = choose_node(self._troubled_until_s, time.monotonic())
            try:
                return once(no)
            except (DBAPIError, PoolEmpty, _AtCommit) as error:
                self._judge(error, no, repeatable)
                pause_s = random.uniform(0.5, 1.0) * min(0.5, 0.005 * 2 ** min(run, 7))
                if run >= runs_max or time.monotonic() + pause_s > ends_s:
                    detail = f"the region's database does not answer: {_said(error)}"
                    raise Unavailable("store_unavailable", detail) from error
            time.sleep(pause_s)

    def _judge(self, error: Exception, no: int, repeatable: bool) -> None:
        """Return if the work is to be run again; raise what it comes to otherwise."""
        verdict = decide_failure(_code(error), committing=isinstance(error, _AtCommit), repeatable=repeatable)
        if verdict == "elsewhere":
            self._troubled_until_s[no] = time.monotonic() + TROUBLE_S
        elif verdict != "again":
            _refuse(verdict, error)


class _AtCommit(Exception):
    """The commit itself failed; the cause says how."""


WRITER = f"SET SESSION wsrep_sync_wait = {WAIT_FOR_OTHERS}, SESSION innodb_snapshot_isolation = ON"


def _engine(node: Node, isolation: Any, set_up: str) -> Engine:
    url = URL.create(
        "mysql+pymysql", node.user, node.password, node.host, node.port, node.database, {"charset": "utf8mb4"}
    )
    driver = {"connect_timeout": CONNECT_S, "read_timeout": ANSWER_S, "write_timeout": ANSWER_S, "ssl": _tls(node)}
    engine = create_engine(
        url, connect_args=driver, isolation_level=isolation, pool_size=THREADS_MAX, max_overflow=0,
        pool_timeout=CONNECT_S, pool_reset_on_return=None if isolation == "AUTOCOMMIT" else "rollback",
    )  # fmt: skip
    if set_up:
        event.listen(engine, "connect", lambda db, _: _say(db, set_up))
    return engine


def _say(db: Any, statement: str) -> None:
    with db.cursor() as cursor:
        cursor.execute(statement)


def _tls(node: Node) -> ssl.SSLContext | None:
    """TLS in which both sides prove who they are; the node's certificate must bear the address it is asked at."""
    if node.ca is None:
        return None
    context = ssl.create_default_context(cafile=node.ca)
    if node.cert is not None:
        context.load_cert_chain(node.cert, node.key)
    return context


def _prepare(engine: Engine, home: HomeRegion, metadata: Sequence[MetaData], steps: Sequence[Step]) -> None:
    with engine.connect() as db:
        if not db.exec_driver_sql(f"SELECT GET_LOCK('moonbow.layout', {LOCK_S})").scalar():
            raise Unavailable("store_unavailable", "another process is still preparing the region's database")
        try:
            prepare(db, home, metadata, steps)
        finally:
            db.exec_driver_sql("SELECT RELEASE_LOCK('moonbow.layout')").all()


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
