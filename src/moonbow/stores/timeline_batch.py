"""Operations on the timeline's tables as transactions: as many as wait together, and each alone when one fails."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

from moonbow.base.errors import Broken, MoonbowError, Unavailable
from moonbow.timeline.model import Fresh
from moonbow.timeline.ports import Callback
from moonbow.vault.ports import Sealer

from .timeline_rows import SqliteTx


class Work:
    """One operation that waits for the writer: what to run, and whom to tell."""

    __slots__ = ("args", "done", "error", "result", "work")

    def __init__(self, work: Callable[..., Any], args: tuple[Any, ...], done: Callback) -> None:
        self.work, self.args, self.done = work, args, done
        self.result: Any = None
        self.error: BaseException | None = None


def run_batch(
    connection: sqlite3.Connection, region: str, sealer: Sealer, works: list[Work], now_ms: int,
    erased: Callable[[], None] = lambda: None,
) -> tuple[list[Fresh], bool]:  # fmt: skip
    """Run operations as one transaction; each gets its own result or error; `erased()` is called if a text went.

    Returns the rows to publish, and whether an outbox grew.  When one operation fails after it has written, all is
    taken back and each runs in a transaction of its own.
    """
    try:
        tx = _transact(connection, region, sealer, works, now_ms)
        if tx.erased:
            erased()
        return tx.fresh, tx.queued
    except _Undone as undone:
        if len(works) == 1:
            works[0].result, works[0].error = None, undone.cause
            return [], False
    except sqlite3.Error as error:
        for work in works:
            work.result, work.error = None, Unavailable("store_unavailable", str(error))
        return [], False
    fresh: list[Fresh] = []
    queued = False
    for work in works:
        work.result = work.error = None
        more, more_queued = run_batch(connection, region, sealer, [work], now_ms, erased)
        fresh += more
        queued |= more_queued
    return fresh, queued


def _transact(connection: sqlite3.Connection, region: str, sealer: Sealer, works: list[Work], now_ms: int) -> SqliteTx:
    connection.execute("BEGIN IMMEDIATE")
    tx = SqliteTx(connection, region, sealer, now_ms)
    try:
        for work in works:
            _run(connection, tx, work)
        tx.flush()
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return tx


def _run(connection: sqlite3.Connection, tx: SqliteTx, work: Work) -> None:
    before = connection.total_changes
    try:
        work.result = work.work(tx, *work.args)
    except MoonbowError as error:
        if connection.total_changes != before:
            raise _Undone(error) from error
        work.error = error
    except sqlite3.OperationalError:
        raise
    except Exception as error:
        raise _Undone(Broken(f"the store refuses this write: {error!r}")) from error


class _Undone(Exception):
    """Internal: the batch was taken back because of `cause`."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__(str(cause))
        self.cause = cause
