"""Operations of the timeline as transactions: as many as wait together, and each alone when one fails.

The same for every engine: an engine opens a transaction, lets the operations run in it, and commits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from moonbow.base.errors import Broken, MoonbowError, Unavailable
from moonbow.timeline.model import Fresh
from moonbow.timeline.ports import Callback, Tx


class Work:
    """One operation that waits for the writer: what to run, and whom to tell."""

    __slots__ = ("args", "done", "error", "result", "work")

    def __init__(self, work: Callable[..., Any], args: tuple[Any, ...], done: Callback) -> None:
        self.work, self.args, self.done = work, args, done
        self.result: Any = None
        self.error: BaseException | None = None


class BatchTx(Tx, Protocol):
    """An engine's transaction as a batch sees it.  `queued`: an outbox grew; `erased`: a text went."""

    queued: bool
    erased: bool

    def writes(self) -> int:
        """How much has been written so far; only whether it grew counts."""
        ...


class Engine(Protocol):
    """What runs transactions.  `faults` are its errors that are no operation's fault: they end the whole batch."""

    faults: tuple[type[Exception], ...]

    def transact(self, works: list[Work], run: Callable[[BatchTx], None]) -> BatchTx:
        """`run(tx)` in a transaction that is committed when this returns; `works` is what will be run, to foresee.

        May run it again when the engine took it back.  `Undone` from `run` takes it back and passes on; an engine that
        refuses what was written raises it too.  `Unavailable` when the engine does not answer.
        """
        ...


class Undone(Exception):
    """The transaction was taken back because of `cause`."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__(str(cause))
        self.cause = cause


def run_batch(engine: Engine, works: list[Work]) -> tuple[list[Fresh], bool]:
    """Run operations as one transaction; each gets its own result or error.

    Returns the rows to publish, and whether an outbox grew.  When one operation fails after it has written, all is
    taken back and each runs in a transaction of its own.
    """
    try:
        tx = engine.transact(works, lambda tx: _run_all(engine, tx, works))
        return tx.fresh, tx.queued
    except Undone as undone:
        if len(works) == 1:
            works[0].result, works[0].error = None, undone.cause
            return [], False
    except Unavailable as error:
        for work in works:
            work.result, work.error = None, error
        return [], False
    fresh: list[Fresh] = []
    queued = False
    for no, work in enumerate(works):
        more, more_queued = run_batch(engine, [work])
        fresh += more
        queued |= more_queued
        if isinstance(work.error, Unavailable) and work.error.code == "store_unavailable":
            for left in works[no + 1 :]:  # the engine is away: they need not each find that out
                left.result, left.error = None, work.error
            break
    return fresh, queued


def refused_write(error: Exception) -> Undone:
    """What an operation gets whose write the engine does not take."""
    return Undone(Broken(f"the store refuses this write: {error!r}"))


def _run_all(engine: Engine, tx: BatchTx, works: list[Work]) -> None:
    for work in works:
        work.result = work.error = None
        before = tx.writes()
        try:
            work.result = work.work(tx, *work.args)
        except MoonbowError as error:
            if tx.writes() != before:
                raise Undone(error) from error
            work.error = error
        except engine.faults:
            raise
        except Exception as error:
            raise refused_write(error) from error
