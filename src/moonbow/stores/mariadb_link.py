"""One connection to a region's MariaDB Galera at a time: to the own site's node, to a sister's if that does not answer.

Only who reads may send several statements in one packet: when the cluster takes a transaction back between two of them,
the server says nothing, and a COMMIT after them succeeds with nothing to commit (seen with MariaDB 10.11.19 and Galera
26.4.23, two nodes writing one row).  Source of the error numbers: MariaDB's list of error codes; Galera adds 1213
(certification), 1180 and 1047 (not in the majority).
"""

from __future__ import annotations

import contextlib
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeVar

import pymysql
from pymysql.connections import Connection
from pymysql.constants import CLIENT
from pymysql.converters import escape_string

from moonbow.world import SqlWay

from .client_tls import client_tls
from .mariadb_rows import BUFFER_BYTES, Rows

T = TypeVar("T")
CONNECT_S = 1.0  # for each step of the way in
ANSWER_S = 4.0  # a cluster that loses a site stands still for up to 3 s
RETURN_S = 5.0  # between two looks whether the own site's node is back
AGAIN = frozenset({1205, 1213, 1180})  # lock wait, deadlock or certification, commit refused
LOST = frozenset({1047, 1053, 1152, 1158, 1159, 1160, 1161, 1184, 1317, 1927, 2006, 2013, 2014, 2027, 2055, 4031})
SERVING = frozenset({"2", "4"})  # wsrep_local_state: donor, synced


class Again(Exception):
    """The transaction was taken back, and may be run again."""


class Lost(Again):
    """The connection is gone; what became of what was sent on it is not known."""


@dataclass
class Nodes:
    """How to reach a region's nodes, the own site's first."""

    hosts: tuple[tuple[str, int], ...]
    user: str
    database: str
    tls: ssl.SSLContext
    _seen_at: float = 0.0  # when the own site's node was last seen to serve
    _hung_at: float = 0.0  # when a link last waited for it in vain
    _look_at: float = 0.0
    _looking: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def of(cls, way: SqlWay) -> Nodes:
        """The nodes that a world's way to SQL names; `ConfigError` if its certificates cannot be read."""
        return cls(tuple((host, way.port) for host in way.hosts), way.user, way.database, client_tls(way))

    def open(self, session: str, *, several: bool = False) -> tuple[int, MariaConnection]:
        """A connection to the first node that serves, with its place in `hosts`; `Lost` if none does.

        `session` is its first statement; `several`: for questions of several statements, never for a transaction that
        writes.
        """
        fault: Exception | None = None
        places = range(len(self.hosts))
        for place in (*places[1:], 0) if self._hung_at > self._seen_at else places:
            try:
                return place, self._open(*self.hosts[place], session, several)
            except (pymysql.Error, OSError) as error:
                fault = error
        raise Lost(f"no node of the region answers: {fault}") from fault

    def own_hangs(self) -> None:
        """A link waited in vain for the own site's node: no other waits for it before it has been seen to serve."""
        self._hung_at = time.monotonic()

    def own_is_left(self, since: float) -> bool:
        """For who has been connected to the own node `since` then: whether it has hung meanwhile."""
        return self._hung_at > since

    def own_is_back(self, since: float) -> bool:
        """For who has been connected to a sister's node `since` then: whether the own one serves again, by a look now
        and then.  All links of a process go back together."""
        now = time.monotonic()
        with self._looking:
            if self._seen_at > since:
                return True
            if now >= self._look_at:
                self._look_at = now + RETURN_S
                threading.Thread(target=self._look, name="own-node", daemon=True).start()
        return False

    def _look(self) -> None:
        try:
            self._open(*self.hosts[0], "SET autocommit = 1", False).close()
        except (pymysql.Error, OSError):
            return
        self._seen_at = time.monotonic()

    def _open(self, host: str, port: int, session: str, several: bool) -> MariaConnection:
        connection = MariaConnection(
            host=host, port=port, user=self.user, database=self.database, ssl=self.tls, charset="utf8mb4",
            autocommit=True, client_flag=CLIENT.MULTI_STATEMENTS if several else 0, connect_timeout=CONNECT_S,
            read_timeout=CONNECT_S, write_timeout=ANSWER_S,
        )  # fmt: skip
        try:
            connection.ask(session)
            state = connection.ask("SHOW STATUS LIKE 'wsrep_local_state'")[0]
            if not state or state[0][1] not in SERVING:
                raise pymysql.err.OperationalError(1047, f"the node at {host} is not part of its cluster now")
        except BaseException:
            connection.close()
            raise
        connection.wait_for(ANSWER_S)
        return connection


class MariaConnection(Connection):  # type: ignore[misc]  # it has no types
    """PyMySQL's, which answers several questions at once."""

    _sock: ssl.SSLSocket
    _result: Rows

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._rfile = self._sock.makefile("rb", BUFFER_BYTES)  # nothing is on its way between two statements

    def _read_query_result(self, unbuffered: bool = False) -> Any:
        self._result = result = Rows(self)
        result.read()
        if result.server_status is not None:
            self.server_status = result.server_status
        return result.affected_rows

    def wait_for(self, answer_s: float) -> None:
        """How long to wait for an answer from now on."""
        self._read_timeout = answer_s

    def ask(self, sql: str) -> list[Sequence[Any]]:
        """The rows of each statement of `sql`."""
        self.query(sql)
        found: list[Sequence[Any]] = [self._result.rows or ()]
        while self._result.has_next:
            self.next_result()
            found.append(self._result.rows or ())
        return found

    def change(self, sql: str) -> int:
        """How many rows a statement changed."""
        return int(self.query(sql))

    def abandon(self) -> None:
        """Close, whatever the server says to it."""
        with contextlib.suppress(pymysql.Error, OSError):
            self.close()


class Link:
    """A connection that is made again when it is lost; for one thread at a time.  `session` sets what it is for."""

    def __init__(self, nodes: Nodes, session: str, *, several: bool = False) -> None:
        self._nodes, self._session, self._several = nodes, session, several
        self._connection: MariaConnection | None = None
        self.place, self._since = 0, 0.0

    def ready(self) -> None:
        """Between transactions: see that there is a connection, to the own site's node if that serves (again)."""
        if self._connection is not None:
            moves = self._nodes.own_is_back if self.place else self._nodes.own_is_left
            if moves(self._since):
                self.drop()
        if self._connection is None:
            self.place, self._connection = self._nodes.open(self._session, several=self._several)
            self._since = time.monotonic()

    def run(self, sql: str) -> list[Sequence[Any]]:
        """The rows of each statement of `sql`.  `Again`, `Lost`, or the driver's error."""
        return self._answer(lambda connection: connection.ask(sql))

    def change(self, sql: str) -> int:
        """How many rows a statement changed.  Raises as `run`."""
        return self._answer(lambda connection: connection.change(sql))

    def _answer(self, ask: Callable[[MariaConnection], T]) -> T:
        if self._connection is None:
            raise Lost("not connected")
        try:
            return ask(self._connection)
        except (pymysql.OperationalError, pymysql.InternalError, pymysql.InterfaceError, OSError) as error:
            code = error.args[0] if error.args else 0
            if code in AGAIN:
                raise Again(str(error)) from error
            if code in LOST or not isinstance(error, pymysql.OperationalError):
                if not self.place and isinstance(error.__context__, TimeoutError):
                    self._nodes.own_hangs()
                self.drop()
                raise Lost(str(error)) from error
            raise

    def drop(self) -> None:
        """Close the connection without ado; the server takes back what was not committed."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abandon()


def fill(sql: str, values: Sequence[object]) -> str:
    """A statement with its `?` filled in."""
    parts = _parts(sql)
    if len(parts) != len(values) + 1:
        raise ValueError(f"{len(values)} values for {len(parts) - 1} places")
    text = [parts[0]]
    for value, part in zip(values, parts[1:], strict=True):
        text += (literal(value), part)
    return "".join(text)


def literal(value: Any) -> str:
    """A value as MariaDB reads it in a statement, with backslash escapes on."""
    kind = type(value)  # a statement of a batch has some two thousand values
    if kind is str:
        return f"'{value}'" if "'" not in value and "\\" not in value else f"'{escape_string(value)}'"
    if value is None:
        return "NULL"
    if kind is int or kind is bool:
        return str(int(value))
    if kind is bytes:
        return f"x'{value.hex()}'"
    raise TypeError(f"{kind.__name__} has no place in a statement")


@lru_cache(maxsize=1024)
def _parts(sql: str) -> list[str]:
    return sql.split("?")
