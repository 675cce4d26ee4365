"""One node of a region's cluster for those who only look: a consistent view that is read only, and who may enter."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, NullPool, create_engine
from sqlalchemy.exc import DBAPIError

from moonbow.base.errors import Broken, ConfigError, Unavailable
from moonbow.world import SqlWay

from .client_tls import client_tls
from .home import HomeRegion
from .sql import Sql

CONNECT_S = 2.0
ANSWER_S = 30.0
ROWS = 2_000  # fetched at a time
REFUSED = frozenset({1044, 1045, 1698})  # access denied
_BEGIN = (
    "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
    "START TRANSACTION READ ONLY, WITH CONSISTENT SNAPSHOT",
)
_COLUMNS = (
    "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = DATABASE()"
    " ORDER BY table_name, ordinal_position"
)


class GaleraSnapshot:
    """The tables of the database on one node, as they stood when the view was opened."""

    engine = "MariaDB"
    size_bytes = 0  # its files are counted where they lie

    def __init__(self, db: Connection) -> None:
        self._db = db

    def tables(self) -> dict[str, tuple[str, ...]]:
        """Every table with its columns."""
        found: dict[str, tuple[str, ...]] = {}
        for table, column in self._db.exec_driver_sql(_COLUMNS):
            found[table] = (*found.get(table, ()), column)
        return found

    def rows(self, table: str) -> Iterator[Sequence[object]]:
        """Every row of a table, some at a time."""
        name = table.replace("`", "``")
        options = {"stream_results": True, "yield_per": ROWS}
        for row in self._db.exec_driver_sql(f"SELECT * FROM `{name}`", execution_options=options):
            yield tuple(row)


@contextlib.contextmanager
def look_at_node(way: SqlWay) -> Generator[GaleraSnapshot]:
    """The tables on the first host of `way`; `Unavailable` if it does not serve."""
    engine = _engine(way)
    try:
        with engine.connect() as db:
            for statement in _BEGIN:
                db.exec_driver_sql(statement)
            yield GaleraSnapshot(db)
    except DBAPIError as error:
        raise Unavailable("store_unavailable", f"the node does not serve: {error.orig}") from error
    finally:
        engine.dispose()


def is_refused(way: SqlWay, certificate: Path, key: Path) -> tuple[bool | None, str]:
    """Whether the first host of `way` refuses who shows this certificate; None if it cannot be asked."""
    try:
        engine = _engine(way._replace(cert=certificate, key=key))
        with engine.connect():
            return False, "lets them in"
    except DBAPIError as error:
        code = error.orig.args[0] if error.orig is not None and error.orig.args else None
        cause = error.orig.__cause__ if error.orig is not None else None
        refused = code in REFUSED or isinstance(cause, ssl.SSLError) or "SSL" in str(error.orig)
        return (True if refused else None), str(error.orig)


def is_bound(way: SqlWay, home: HomeRegion) -> tuple[bool | None, str]:
    """Whether the database of `way` refuses to open for a process at home in `home`, another region."""
    try:
        opened = Sql.galera(way, home)
    except Broken as error:
        return True, str(error)
    except (ConfigError, Unavailable) as error:
        return None, str(error)
    opened.shut()
    return False, f"opens for a process of {home.name}"


def _engine(way: SqlWay) -> Engine:
    url = URL.create("mysql+pymysql", way.user, None, way.hosts[0], way.port, way.database, {"charset": "utf8mb4"})
    driver = {"connect_timeout": CONNECT_S, "read_timeout": ANSWER_S, "write_timeout": ANSWER_S, "ssl": client_tls(way)}
    return create_engine(url, connect_args=driver, poolclass=NullPool, isolation_level="AUTOCOMMIT")
